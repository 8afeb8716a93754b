"""`sley.utils`: what trains and feeds models besides layers. `utils.data` is `sley.data`."""

from .. import data
from . import checkpoint

__all__ = ["checkpoint", "data"]
