"""A tile of sums by the processor's matrix unit: the product of two panels (`pairs.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....ir.dims import Dim
from ....ir.graph import Value
from ....ir.ops.matrix import DEEP, SIDE
from .blocks import compare, fixed, when
from .product import Product, Scratch
from .scope import Expander

if TYPE_CHECKING:
    from .tiles import Tile


def multiply_tiles(expander: Expander, product: Product, scratch: Scratch, tile: Tile) -> None:
    """Adds a block of k to the sums of a tile in scratch, which all begin at 0 where there is only
    one block. Tiles of the unit that lie past the end are left out."""
    schedule, deep = product.schedule, scratch.depth
    rows, columns = scratch.rows, scratch.columns
    assert rows is not None and columns is not None, "the matrix unit reads panels"
    at = (
        tile.row_panel * (deep * schedule.mr), tile.column_panel * (deep * schedule.nr), tile.base,
        (tile.count + (DEEP - 1)) // DEEP,
    )  # fmt: skip
    numbers = [expander.materialise(dim) for dim in at]
    for high, is_high in _sizes(expander, tile.m, product.rows.total, schedule.mr):
        with when(expander, is_high):
            for wide, is_wide in _sizes(expander, tile.n, product.columns.total, schedule.nr):
                with when(expander, is_wide):
                    expander.emit(
                        "tile_product", rows, columns, scratch.tiles, *numbers,
                        tiles=(high, wide), row=DEEP, next=DEEP * schedule.mr, width=schedule.nr,
                        fresh=product.single,
                    )  # fmt: skip


def _sizes(expander: Expander, first: Dim, total: Dim, full: int) -> list[tuple[int, Value | None]]:
    """Tiles of the unit along one side of a tile of `full` rows or columns that begins at `first`,
    and when to take so many."""
    most = full // SIDE
    if isinstance(total, int):
        rest = -(-(total % full) // SIDE) or most
        if rest == most or total <= full:
            return [(rest, None)]
        wanted = [rest, most]
    else:
        wanted = list(range(1, most + 1))
    left, found = fixed(expander, total - first), []
    for size, lower in zip(wanted, [0, *wanted], strict=False):
        fits = compare(expander, "gt", left, lower * SIDE) if lower else None
        if size != most:
            below = compare(expander, "le", left, size * SIDE)
            fits = below if fits is None else expander.emit("bit_and", fits, below)
        found.append((size, fits))
    return found
