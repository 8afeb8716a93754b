"""Complex programs become real ones: see `split`."""

from .split import split_complex

__all__ = ["split_complex"]
