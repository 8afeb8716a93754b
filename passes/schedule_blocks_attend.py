"""Blocks of attention kernels on a GPU."""

from __future__ import annotations

from ..ir.block_schedule import AttendBlocks
from ..ir.dims import Dim, product
from ..ir.graph import Node
from ..ir.numerics import EXACT, Numerics

SMALLEST = 16  # of a side that tensor cores multiply
WIDEST = 256  # features of a block, which is never walked over


def schedule_attend_blocks(node: Node, numerics: Numerics = EXACT) -> tuple[AttendBlocks, int]:
    """The blocks of an `attend` or `attend_gradient`, and warps.

    Raises:
        NotImplementedError: features that do not fit in a block, elements of 64 bits, or keys in
            parts.
    """
    attrs = node.attrs
    if "parts" in attrs:
        raise NotImplementedError("an attention whose keys are in parts")
    features, width = _block(product(attrs["features"])), _block(product(attrs["width"]))
    if features is None or width is None or attrs["dtype"].bits == 64:
        raise NotImplementedError("attention with many or symbolic features, or in float64")
    large = max(features, width) > 128
    tf32 = numerics.tf32 and attrs["dtype"].name == "f32"
    if attrs["dtype"].is_low_precision:
        queries, keys = (128, 64) if node.op.name == "attend" and not large else (64, 64)
        keys = 32 if large else keys
    elif tf32:
        backward = node.op.name != "attend"
        queries = 32 if large or (backward and max(features, width) > 64) else 64
        keys = 16 if large and backward else 32
    else:  # multiplied by scalar instructions, from registers
        queries, keys = (16, 16) if large else (32, 32)
    queries = _at_most(queries, product(attrs["queries"]))
    keys = _at_most(keys, product(attrs["keys"]))
    warps = 8 if queries >= 64 or large else 4
    precision = "tf32" if tf32 else "ieee"
    return AttendBlocks(queries, keys, features, width, precision), warps


def _block(extent: Dim) -> int | None:
    """A block that holds all of an axis; None where there is none."""
    if not isinstance(extent, int) or extent > WIDEST:
        return None
    return max(SMALLEST, 1 << max(0, extent - 1).bit_length())


def _at_most(size: int, extent: Dim) -> int:
    """A shorter block where the axis is short."""
    if isinstance(extent, int):
        size = min(size, max(SMALLEST, 1 << max(0, extent - 1).bit_length()))
    return size
