"""Products of tiles of 16-bit floats by a processor's matrix unit: an op of loops."""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import f32
from ..types import TensorType
from .base import Attrs, Kind, define, need
from .kernel import INDEX, _structural

SIDE = 16  # rows, and columns, of a tile of sums
DEEP = 32  # terms of a sum that are added at once
MOST_TILES = 8  # of sums and both operands


def _tile_product(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    rows, columns, sums, *places = types
    high, wide = attrs["tiles"]
    need(rows.dtype is columns.dtype, f"tile_product of {rows} and {columns}")
    need(rows.dtype.is_low_precision, f"tile_product of {rows.dtype.name}")
    need(sums.dtype is f32, f"tile_product sums in f32, not in {sums.dtype.name}")
    need(all(t is INDEX for t in places), f"places and steps are i64, not {places}")
    need(min(high, wide) >= 1, f"tiles is {attrs['tiles']}")
    need(high * wide + high + wide <= MOST_TILES, f"{high} x {wide} tiles of sums are too many")
    return ()


TILE_PRODUCT = define(
    "tile_product",
    Kind.LOOP,
    _tile_product,
    _structural,
    """(rows, columns, sums, at_rows, at_columns, at_sums, steps): adds to the block of
    `tiles` x 16 sums the products of 32 terms for each of `steps`; `fresh`: the sums begin at 0.
    Row i has its terms at rows[at_rows + i * row + step * next ..], 32 side by side. Column j has
    terms k and k + 1, k even, at columns[at_columns + k * width + 2 * j ..]. Sums lie at
    sums[at_sums + i * width + j]; all places are flat. Products are exact, sums float32 in any
    order, and denormal numbers may count as 0.""",
    arity=7,
    attributes=("tiles", "row", "next", "width", "fresh"),
)
