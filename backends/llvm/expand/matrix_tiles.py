"""Tiles of sums by the processor's matrix unit: the products of panels that `pairs` has packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ....ir.dims import Dim, minimum
from ....ir.graph import Value
from ....ir.literal import Literal
from ....ir.ops.matrix import DEEP, SIDE
from .blocks import ceil_div, compare, fixed, loop_over, when
from .product import Product, Scratch
from .scope import Expander, Scope

if TYPE_CHECKING:
    from .tiles import Tile

At = Callable[[Dim], "Tile"]  # number of a panel of rows -> its tile


class MatrixColumn:
    """The tiles of one panel of columns."""

    def __init__(
        self, expander: Expander, scope: Scope, product: Product, scratch: Scratch
    ) -> None:
        self.expander = expander
        self.scope = scope
        self.product = product
        self.scratch = scratch
        self.schedule = product.schedule

    def multiply(self, panels: Dim, count: Dim, block: Dim, at: At) -> None:
        """Adds block number `block` of k, of `count` terms, to the sums in scratch of so many
        `panels` of rows, piece by piece. The first sums begin at 0."""
        expander, piece = self.expander, self.schedule.piece
        number = ceil_div(count, piece) if piece else 1
        first = minimum(count, piece) if piece else count
        single = self.product.single
        if not single:
            with when(expander, compare(expander, "eq", block, 0)):
                loop_over(expander, panels, lambda i: self._clear(at(i)))
        loop_over(expander, panels, lambda i: self._tiles(at(i), 0, first, single))

        def further(turn: Dim) -> None:
            begin = fixed(expander, (turn + 1) * piece)
            left = fixed(expander, minimum(piece, count - begin))
            loop_over(expander, panels, lambda i: self._tiles(at(i), begin, left, False))

        if number != 1:
            loop_over(expander, number - 1, further)

    def _clear(self, tile: Tile) -> None:
        zero = self.expander.emit("constant", value=Literal(np.zeros((), self.product.acc.numpy)))
        zeros, lanes = self.expander.widen(zero, self.schedule.lanes), self.schedule.lanes
        for place in range(0, self.schedule.mr * self.schedule.nr, lanes):
            where = tile.base + place
            self.expander.access("store", (self.scratch.tiles, zeros), where, lanes=lanes)

    def _tiles(self, tile: Tile, begin: Dim, count: Dim, fresh: bool) -> None:
        """The terms from `begin` on, without tiles of the unit that lie past the end."""
        expander, product, schedule = self.expander, self.product, self.schedule
        rows, at_rows, steps_of_rows = self._rows(tile, begin)
        columns = self.scratch.columns
        assert columns is not None, "the matrix unit reads columns from panels"
        at_columns = (tile.column_panel * self.scratch.depth + begin) * schedule.nr
        steps = ceil_div(count, DEEP)
        numbers = [expander.materialise(d) for d in (at_rows, at_columns, tile.base, steps)]
        for high, is_high in _sizes(expander, tile.m, product.rows.total, schedule.mr):
            with when(expander, is_high):
                for wide, is_wide in _sizes(expander, tile.n, product.columns.total, schedule.nr):
                    with when(expander, is_wide):
                        expander.emit(
                            "tile_product", rows, columns, self.scratch.tiles, *numbers,
                            tiles=(high, wide), **steps_of_rows, width=schedule.nr, fresh=fresh,
                        )  # fmt: skip

    def _rows(self, tile: Tile, begin: Dim) -> tuple[Value, Dim, dict[str, int]]:
        """(buffer, place, how far neighbours lie apart) of the rows from term `begin` on."""
        buffer, mr = self.scratch.rows, self.schedule.mr
        if buffer is not None:
            place = (tile.row_panel * self.scratch.depth + begin) * mr
            return buffer, place, {"row": DEEP, "next": DEEP * mr}
        operand, k = self.product.rows, fixed(self.expander, tile.k0 + begin)
        buffer, place = operand.place(self.expander, self.scope, tile.m, k)
        _, below = operand.place(self.expander, self.scope, tile.m + 1, k)
        row = below - place
        assert isinstance(row, int), "rows that are read in place lie at a known distance"
        return buffer, place, {"row": row, "next": DEEP}


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
