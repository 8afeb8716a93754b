"""One register tile: the product of two panels, and what the `out` region makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, minimum
from ....ir.graph import Value
from ....ir.literal import Literal
from .blocks import Place, compare, fixed, lane_places, loop_over, when
from .dots import Rows, dot
from .microkernel import Reader, multiply
from .prefetch import prefetch
from .product import Product, Scratch
from .scope import Expander, Scope, Vector

PADDED = 32  # of so many rows one may be computed that there is not


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile lies.

    Attributes:
        m, n: its first row and column.
        row_panel, column_panel: their panels in the packed blocks.
        base: where its sums begin in `Scratch.tiles`.
        block, k0, count: the block of k, its first k and how many.
    """

    m: Dim
    n: Dim
    row_panel: Dim
    column_panel: Dim
    base: Dim
    block: Dim
    k0: Dim
    count: Dim


class Tiles:
    """Emits the tiles of a product."""

    def __init__(self, expander: Expander, product: Product, scratch: Scratch) -> None:
        self.expander = expander
        self.product = product
        self.scratch = scratch
        self.schedule = product.schedule
        self.lanes = product.schedule.lanes
        self.padded = self._is_padded()

    def _is_padded(self) -> bool:
        """Whether the last rows are summed by the tile of all others, with rows that nobody uses:
        little more is computed so, and one loop less compiled."""
        total, full = self.product.rows.total, self.schedule.mr
        if not self.schedule.registers or self.product.rows.form == "direct":
            return False
        return isinstance(total, int) and total > full and -total % full * PADDED <= total

    def compute(self, scope: Scope, tile: Tile) -> None:
        """Adds a block of k to the tile; after the last one, what is made of it."""
        expander = self.expander
        multiply = self._dot if self.product.columns.form == "dots" else self._multiply
        for height, fits in self._heights(tile.m):
            with when(expander, fits):
                multiply(scope, tile, height)
        if not self.schedule.registers:
            with when(expander, self.last(tile.block)):
                self.finish(scope, tile)

    def last(self, block: Dim) -> Value | None:
        """Whether a block of k is the last one; None where there is one."""
        if self.product.single:
            return None
        return compare(self.expander, "eq", block, self.product.blocks_k - 1)

    # ------------------------------------------------------------------ sums

    def _heights(self, m: Dim) -> list[tuple[int, Value | None]]:
        """Register tiles for the rows from m on, and when to take which: a lower one for the last
        rows where nothing stands for those past the end; some where the number of rows is a symbol,
        which may be much less than a tile's."""
        full, total = self.schedule.mr, self.product.rows.total
        expander, left = self.expander, fixed(self.expander, total - m)
        if isinstance(total, int):
            direct = self.product.rows.form == "direct"
            exact = direct or (self.schedule.registers and not self.padded)
            rest = total % full if exact else 0
            if not rest:
                return [(full, None)]
            if total < full:
                return [(rest, None)]
            return [
                (full, compare(expander, "ge", left, full)),
                (rest, compare(expander, "lt", left, full)),
            ]
        heights = sorted({full, (full + 1) // 2, (full + 3) // 4}, reverse=True)
        found: list[tuple[int, Value | None]] = []
        for height, lower in zip(heights, [*heights[1:], 0], strict=True):
            fits = compare(expander, "gt", left, lower)
            if height != full:
                small = compare(expander, "le", left, height)
                fits = expander.emit("bit_and", fits, small)
            found.append((height, fits))
        return found

    def _dot(self, scope: Scope, tile: Tile, height: int) -> None:
        """The first `height` rows of a tile, as dot products."""
        product, depth = self.product, self.scratch.depth
        base = fixed(self.expander, tile.row_panel * (self.schedule.mr * depth))
        rows = Rows(product.rows, tile.m, self.scratch.rows, base, depth)
        dot(
            self.expander, scope, rows, height, product.columns, tile.n, self.scratch.tiles,
            self.schedule.nr,
        )  # fmt: skip

    def _multiply(self, scope: Scope, tile: Tile, height: int) -> None:
        """The first `height` rows of a tile."""
        if self.schedule.prefetch:
            with when(self.expander, self.last(tile.block)):
                prefetch(self.expander, scope, self.product, (tile.m, tile.n), height)
        for width, fits in self._widths(tile.n):
            with when(self.expander, fits):
                self._multiply_columns(scope, tile, (height, width))

    def _widths(self, n: Dim) -> list[tuple[int, Value | None]]:
        """Register tiles for the columns from n on: a narrower one for the last columns."""
        full, total = self.schedule.nr, self.product.columns.total
        if not self.schedule.narrow or not isinstance(total, int):
            return [(full, None)]
        expander, rest = self.expander, -(-(total % full) // self.lanes) * self.lanes
        if rest in (0, full):
            return [(full, None)]
        if total < full:
            return [(rest, None)]
        left = fixed(expander, total - n)
        return [
            (full, compare(expander, "ge", left, full)),
            (rest, compare(expander, "lt", left, full)),
        ]

    def _multiply_columns(self, scope: Scope, tile: Tile, size: tuple[int, int]) -> None:
        """The first rows and columns of a tile, so many as `size` says."""
        if self.scratch.columns is not None:
            self._sum(scope, tile, size, self._columns(tile, size[1], self.scratch.columns), False)
            return
        operand = self.product.columns
        starts = [tile.n + v for v in range(0, size[1], self.lanes)]
        unrolled = len(operand.k.runs) > 1
        for places in lane_places(
            self.expander, operand.own, starts, operand.total, self.lanes, self.schedule.nr
        ):
            self._sum(scope, tile, size, self._columns_in_place(scope, tile, places), unrolled)

    def _sum(
        self, scope: Scope, tile: Tile, size: tuple[int, int], columns: Reader, unrolled: bool
    ) -> None:
        start, rows = self._begin(tile, size), self._rows(scope, tile, size[0])
        sums = multiply(self.expander, tile.count, start, rows, columns, unrolled, self._together())
        if not self.schedule.registers:
            self._keep(tile, size, sums)
            return
        if not self.padded:
            self._finish_registers(scope, tile, size, sums)
            return
        left, full = fixed(self.expander, self.product.rows.total - tile.m), size[0]
        with when(self.expander, compare(self.expander, "ge", left, full)):
            self._finish_registers(scope, tile, size, sums)
        with when(self.expander, compare(self.expander, "lt", left, full)):
            self._keep(tile, size, sums)
            self.finish(scope, tile)

    def _keep(self, tile: Tile, size: tuple[int, int], sums: Sequence[Value]) -> None:
        """Leaves the sums in scratch."""
        for place, value in zip(self._places(tile, size), sums, strict=True):
            self._store(place, value)

    def _places(self, tile: Tile, size: tuple[int, int]) -> list[Dim]:
        """Where the vectors of sums lie in scratch."""
        columns = range(0, size[1], self.lanes)
        return [tile.base + (r * self.schedule.nr + v) for r in range(size[0]) for v in columns]

    def _begin(self, tile: Tile, size: tuple[int, int]) -> list[Value]:
        """The accumulators at the begin of a block of k."""
        expander, places = self.expander, self._places(tile, size)
        zero = expander.emit("constant", value=Literal(np.zeros((), self.product.acc.numpy)))
        zeros = expander.widen(zero, self.lanes)
        if self.product.single:
            return [zeros] * len(places)
        with when(expander, compare(expander, "eq", tile.block, 0)):
            for place in places:
                self._store(place, zeros)
        return [self._load(place) for place in places]

    def _load(self, place: Dim) -> Value:
        return self.expander.access("load", (self.scratch.tiles,), place, lanes=self.lanes)

    def _store(self, place: Dim, value: Value) -> None:
        self.expander.access("store", (self.scratch.tiles, value), place, lanes=self.lanes)

    # ------------------------------------------------------------------ operands

    def _together(self) -> int:
        """Turns of k that are written out together: one run, where rows with two are read in
        place, so that nothing is divided."""
        rows = self.product.rows
        if rows.form != "direct" or len(rows.k.runs) < 2:
            return 1
        size = rows.k.sizes[-1]
        assert isinstance(size, int), "rows in place have a known last run"
        return size

    def _rows(self, scope: Scope, tile: Tile, height: int) -> Reader:
        """Scalars of a packed panel, or of the operand where it lies."""
        expander, buffer, width = self.expander, self.scratch.rows, self.scratch.row_width
        if buffer is None:
            return self.product.rows.rows(expander, scope, tile.m, height, tile.k0)
        base = fixed(expander, tile.row_panel * (self.scratch.depth * width))
        by_rows = self.product.rows.form == "rows"
        step, row = (1, self.scratch.depth) if by_rows else (width, 1)

        def read(k: Dim) -> Iterator[Value]:
            for r in range(height):
                yield expander.access("load", (buffer,), base + k * step + r * row)

        return read

    def _columns(self, tile: Tile, read_width: int, buffer: Value) -> Reader:
        """The first `read_width` columns of a packed panel, as vectors."""
        expander, width = self.expander, self.schedule.nr
        base = fixed(expander, tile.column_panel * (self.scratch.depth * width))

        def read(k: Dim) -> list[Value]:
            starts = [base + k * width + v for v in range(0, read_width, self.lanes)]
            if self.schedule.ahead:
                for start in starts:
                    expander.access("prefetch", (buffer,), start + self.schedule.ahead * width)
            return [expander.access("load", (buffer,), s, lanes=self.lanes) for s in starts]

        return read

    def _columns_in_place(self, scope: Scope, tile: Tile, places: list[Place]) -> Reader:
        """Vectors of the operand where it lies."""
        expander, operand = self.expander, self.product.columns

        def element(k: Dim, positions: list[Dim], vector: Vector) -> Value:
            inner = scope.inner(vector)
            operand.own.bind(inner, positions)
            operand.k.bind(inner, operand.k.split(tile.k0 + k))
            return expander.widen(operand.element(expander, inner), self.lanes)

        return lambda k: [element(k, positions, vector) for positions, vector in places]

    # ------------------------------------------------------------------ results

    def _finish_registers(
        self, scope: Scope, tile: Tile, size: tuple[int, int], sums: Sequence[Value]
    ) -> None:
        """Runs the `out` region on each vector of sums, written out."""
        expander, lanes, width = self.expander, self.lanes, self.schedule.nr
        result, total = self.product.result, self.product.columns.total
        starts = [tile.n + v for v in range(0, size[1], lanes)]
        for places in lane_places(expander, result.columns, starts, total, lanes, width):
            left = iter(sums)
            for r in range(size[0]):
                positions = result.rows.split(tile.m + r)
                for columns, vector in places:
                    inner = scope.inner(vector)
                    result.rows.bind(inner, positions)
                    result.columns.bind(inner, columns)
                    inner.values[result.region.params[-1]] = next(left)
                    expander.run_nodes(result.region, inner)

    def finish(self, scope: Scope, tile: Tile) -> None:
        """Runs the `out` region over the tile."""
        expander, lanes, width = self.expander, self.lanes, self.schedule.nr
        result, total = self.product.result, self.product.columns.total
        starts = [tile.n + v for v in range(0, width, lanes)]
        rows = fixed(expander, minimum(self.schedule.mr, self.product.rows.total - tile.m))
        for places in lane_places(expander, result.columns, starts, total, lanes, width):

            def row(r: Dim, places: list = places) -> None:
                positions = [fixed(expander, p) for p in result.rows.split(tile.m + r)]
                for v, (columns, vector) in enumerate(places):
                    inner = scope.inner(vector)
                    result.rows.bind(inner, positions)
                    result.columns.bind(inner, columns)
                    found = self._load(tile.base + r * width + v * lanes)
                    inner.values[result.region.params[-1]] = found
                    expander.run_nodes(result.region, inner)

            loop_over(expander, rows, row)
