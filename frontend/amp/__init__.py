"""Mixed precision: `autocast` for the forward pass, `GradScaler` for gradients in float16."""

from .autocast import autocast, get_autocast_dtype, is_autocast_available, is_autocast_enabled
from .scaler import GradScaler

__all__ = [
    "GradScaler",
    "autocast",
    "get_autocast_dtype",
    "is_autocast_available",
    "is_autocast_enabled",
]
