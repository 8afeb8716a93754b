"""What is known of a kernel's values before they are written."""

from __future__ import annotations

from ....ir.dims import Dim, lower, upper
from ....ir.graph import Node, Value


def load_of(value: Value) -> Node | None:
    """The load that gives a value: 0 where its guard is false, even if that is said once more."""
    node = value.node
    if node is None or node.op.name == "load":
        return node
    if node.op.name != "where":
        return None
    guard, loaded, other = (v.node for v in node.operands)
    if loaded is None or loaded.op.name != "load" or not loaded.attrs.get("guarded"):
        return None
    if guard is None or loaded.operands[-1].node is not guard or other is None:
        return None
    zero = other.op.name == "constant" and not other.attrs["value"].array.tobytes().strip(b"\0")
    return loaded if zero else None


def fits_32_bits(dim: Dim) -> bool:
    """Whether an index is known to be so, with room for the elements behind the end of an axis that
    a block has."""
    low, high = lower(dim), upper(dim)
    return isinstance(low, int) and isinstance(high, int) and max(-low, high) < 1 << 30
