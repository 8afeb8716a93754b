"""`contract` as loops: blocks of packed panels, register tiles, and the rest on the tile.

One task computes a block of mc x nc results. For each block of kc it packs what it needs of both
operands (what the task before has packed already stays), then walks the tiles: the product of
two panels is summed in registers and left in scratch, from where, after the last block of k, the
`out` region takes it, vector by vector.

The operand whose axis runs over the lanes of vectors is the *columns*, the other one, whose
elements are broadcast, the *rows*; the schedule says which is which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, Var, maximum, minimum, of_atom, product
from ....ir.dtypes import i64
from ....ir.graph import Node, Region, Value
from ....ir.literal import Literal
from ....ir.schedule import ContractSchedule
from .blocks import (
    Axes,
    ceil_div,
    compare,
    depends_on,
    fixed,
    joined_axes,
    lane_places,
    when,
)
from .dots import Rows, copy_rows, dot
from .microkernel import multiply
from .packing import Operand, Panel, pack
from .scope import Expander, Scope, Vector


def expand_contract(expander: Expander, scope: Scope, node: Node) -> None:
    """The loops of a `contract`, the outermost one over tasks.

    Raises:
        ValueError: the node has no `ContractSchedule`.
    """
    chosen = expander.nests[node].contract
    if chosen is None:
        raise ValueError("a contract needs a ContractSchedule")
    _Product(expander, node, chosen).tasks(scope)


@dataclass(frozen=True, slots=True)
class _Block:
    """What one task computes: from row m0 and column n0 on, for batch point `batch`."""

    batch: Dim
    m0: Dim
    n0: Dim


class _Product:
    def __init__(self, expander: Expander, node: Node, schedule: ContractSchedule) -> None:
        self.expander = expander
        self.schedule = schedule
        self.acc = node.attrs["acc"]
        self.lanes = schedule.lanes
        lhs, rhs, self.out = node.regions
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        left = _split_axes(lhs, batch, m, k)
        right = _split_axes(rhs, batch, k, n)
        out = _split_axes(self.out, batch, m, n)
        self.depth = product(k)
        rows = Operand(
            lhs, left[1], left[2], product(m), self.depth, self.acc, self.lanes, schedule.rows
        )
        columns = Operand(
            rhs, right[2], right[1], product(n), self.depth, self.acc, self.lanes,
            schedule.columns,
        )  # fmt: skip
        self.row_batch, self.column_batch, self.out_batch = left[0], right[0], out[0]
        self.out_rows, self.out_columns = out[1], out[2]
        if schedule.swap:
            rows, columns = _retyped(columns, schedule.rows), _retyped(rows, schedule.columns)
            self.row_batch, self.column_batch = right[0], left[0]
            self.out_rows, self.out_columns = out[2], out[1]
        self.rows, self.columns = rows, columns
        self.batch = product(batch)
        self.blocks_m = ceil_div(rows.total, schedule.mc)
        self.blocks_n = ceil_div(columns.total, schedule.nc)
        self.blocks_k = maximum(1, ceil_div(self.depth, schedule.kc))

    # ------------------------------------------------------------------ scratch

    def _allocate(self) -> None:
        expander, schedule = self.expander, self.schedule
        deep = min(self.depth, schedule.kc) if isinstance(self.depth, int) else schedule.kc
        self.panel_depth = -(-deep // self.lanes) * self.lanes
        self.row_width = -(-schedule.mr // self.lanes) * self.lanes
        self.single = self.blocks_k == 1
        if schedule.rows != "direct":
            rows = schedule.mc // schedule.mr * self.row_width
            self.row_panels = expander.alloc((rows * self.panel_depth,), self.acc)
        if schedule.columns not in ("direct", "dots"):
            self.column_panels = expander.alloc((schedule.nc * self.panel_depth,), self.acc)
        tiles = 1 if self.single else schedule.mc // schedule.mr * (schedule.nc // schedule.nr)
        self.tile_size = schedule.mr * schedule.nr
        self.tiles = expander.alloc((tiles * self.tile_size,), self.acc)
        self.packed = expander.alloc((2,), i64)  # which blocks the panels hold

    # ------------------------------------------------------------------ tasks

    def tasks(self, scope: Scope) -> None:
        expander = self.expander
        total = self.batch * self.blocks_n * self.blocks_m
        if total == 0:
            return
        self._allocate()
        for slot in (0, 1):
            expander.access("store", (self.packed, expander.integer(-1)), slot)

        def turn(variable: Value, _: list[Value]) -> tuple[()]:
            number = of_atom(Var(variable, total))
            rest = fixed(expander, number // self.blocks_m)
            batch = fixed(expander, rest // self.blocks_n)
            m0 = (number - rest * self.blocks_m) * self.schedule.mc
            n0 = (rest - batch * self.blocks_n) * self.schedule.nc
            block = _Block(batch, fixed(expander, m0), fixed(expander, n0))
            self._task(scope.inner(), block)
            return ()

        expander.loop(0, total, 1, (), turn, parallel=True)

    def _task(self, scope: Scope, block: _Block) -> None:
        for axes in (self.row_batch, self.column_batch, self.out_batch):
            positions = [fixed(self.expander, p) for p in axes.split(block.batch)]
            axes.bind(scope, positions)
        if self.single:
            self._depth_block(scope, block, 0)
            return

        def turn(variable: Value, _: list[Value]) -> tuple[()]:
            self._depth_block(scope.inner(), block, of_atom(Var(variable, self.blocks_k)))
            return ()

        self.expander.loop(0, self.blocks_k, 1, (), turn)

    def _depth_block(self, scope: Scope, block: _Block, number: Dim) -> None:
        """The part of the sum that belongs to one block of k."""
        schedule, expander = self.schedule, self.expander
        k0 = number * schedule.kc
        count = self.depth if self.single else minimum(schedule.kc, self.depth - k0)
        count = fixed(expander, count)
        m_panels = self._panels(self.rows.total - block.m0, schedule.mc, schedule.mr)
        n_panels = self._panels(self.columns.total - block.n0, schedule.nc, schedule.nr)
        self._pack_columns(scope, block, number, (k0, count), n_panels)
        self._pack_rows(scope, block, number, (k0, count), m_panels)

        def column(j: Dim) -> None:
            def row(i: Dim) -> None:
                self._tile(scope.inner(), block, number, (k0, count), (i, j, m_panels))

            self._for(m_panels, row)

        self._for(n_panels, column)

    def _panels(self, left: Dim, most: int, size: int) -> Dim:
        """Panels of `size` in a block of `most` of which `left` exist."""
        return fixed(self.expander, minimum(most // size, ceil_div(left, size)))

    def _for(self, count: Dim, body) -> None:  # type: ignore[no-untyped-def]
        def turn(variable: Value, _: list[Value]) -> tuple[()]:
            body(of_atom(Var(variable)))
            return ()

        self.expander.loop(0, count, 1, (), turn)

    # ------------------------------------------------------------------ packing

    def _pack_columns(
        self, scope: Scope, block: _Block, number: Dim, depth: tuple[Dim, Dim], panels: Dim
    ) -> None:
        if self.columns.form in ("direct", "dots"):
            return
        schedule = self.schedule
        blocks = (block.n0 // schedule.nc, self.blocks_n)
        stale = self._stale(0, self.columns, self.column_batch, block.batch, blocks, number)
        with when(self.expander, stale):

            def panel(j: Dim) -> None:
                base = j * (self.panel_depth * schedule.nr)
                start = block.n0 + j * schedule.nr
                where = Panel(
                    self.column_panels, base, schedule.nr, start, schedule.nr, *depth, schedule.nr
                )
                pack(self.expander, scope.inner(), self.columns, where)

            self._for(panels, panel)

    def _pack_rows(
        self, scope: Scope, block: _Block, number: Dim, depth: tuple[Dim, Dim], panels: Dim
    ) -> None:
        if self.rows.form == "direct":
            return
        schedule = self.schedule
        blocks = (block.m0 // schedule.mc, self.blocks_m)
        stale = self._stale(1, self.rows, self.row_batch, block.batch, blocks, number)
        with when(self.expander, stale):
            if self.columns.form == "dots":
                copy_rows(self.expander, scope, self.rows, self._copied_rows())
                return

            def panel(i: Dim) -> None:
                base = i * (self.panel_depth * self.row_width)
                start = block.m0 + i * schedule.mr
                where = Panel(
                    self.row_panels, base, self.row_width, start, schedule.mr, *depth, schedule.mr
                )
                pack(self.expander, scope.inner(), self.rows, where)

            self._for(panels, panel)

    def _copied_rows(self) -> Rows:
        return Rows(self.row_panels, self.panel_depth, self.schedule.mr)

    def _stale(
        self,
        slot: int,
        operand: Operand,
        batch_axes: Axes,
        batch: Dim,
        blocks: tuple[Dim, Dim],
        number: Dim,
    ) -> Value:
        """Whether the panels hold another block than this one; from now on they hold it."""
        expander = self.expander
        point = batch if depends_on(operand.region, batch_axes.variables) else 0
        key = (point * blocks[1] + blocks[0]) * self.blocks_k + number
        wanted = expander.materialise(key)
        stale = expander.emit("ne", expander.access("load", (self.packed,), slot), wanted)
        expander.access("store", (self.packed, wanted), slot)
        return stale

    # ------------------------------------------------------------------ tiles

    def _tile(
        self,
        scope: Scope,
        block: _Block,
        number: Dim,
        depth: tuple[Dim, Dim],
        place: tuple[Dim, Dim, Dim],
    ) -> None:
        """One register tile: its product and, after the last block of k, what is made of it."""
        schedule, expander = self.schedule, self.expander
        i, j, m_panels = place
        m, n = (
            fixed(expander, block.m0 + i * schedule.mr),
            fixed(expander, block.n0 + j * schedule.nr),
        )
        base: Dim = 0
        if not self.single:
            base = fixed(expander, (j * m_panels + i) * self.tile_size)
        if self.columns.form == "dots":
            copied = self._copied_rows()
            dot(expander, scope, copied, self.columns, n, self.tiles, schedule.nr)
            self._finish(scope, base, m, n)
            return
        for height, fits in self._heights(m):
            with when(expander, fits):
                self._multiply(scope, base, number, depth[0], depth[1], (m, i), (n, j), height)
        last = None
        if not self.single:
            last = compare(expander, "eq", number, self.blocks_k - 1)
        with when(expander, last):
            self._finish(scope, base, m, n)

    def _heights(self, m: Dim) -> list[tuple[int, Value | None]]:
        """Register tiles for the rows from m on, and when to take which: lower ones where the
        number of rows is a symbol, which may be much less than a tile's."""
        full = self.schedule.mr
        if isinstance(self.rows.total, int):
            return [(full, None)]
        expander, left = self.expander, fixed(self.expander, self.rows.total - m)
        heights = sorted({full, -(-full // 2), -(-full // 4)}, reverse=True)
        found: list[tuple[int, Value | None]] = []
        for height, lower in zip(heights, [*heights[1:], 0], strict=True):
            fits = compare(expander, "gt", left, lower)
            if height != full:
                small = compare(expander, "le", left, height)
                fits = expander.emit("bit_and", fits, small)
            found.append((height, fits))
        return found

    def _multiply(
        self,
        scope: Scope,
        base: Dim,
        number: Dim,
        k0: Dim,
        count: Dim,
        row: tuple[Dim, Dim],
        column: tuple[Dim, Dim],
        height: int,
    ) -> None:
        """The first `height` rows of a tile: a block of k is added to what is in scratch."""
        expander = self.expander
        tile = multiply(
            expander, count, self._begin(base, number, height),
            self._row_reader(scope, *row, k0, height), self._column_reader(scope, *column, k0),
        )  # fmt: skip
        for position, value in enumerate(tile):
            where = base + position * self.lanes
            expander.access("store", (self.tiles, value), where, lanes=self.lanes)

    def _begin(self, base: Dim, number: Dim, height: int) -> list[Value]:
        """The accumulators at the begin of a block of k."""
        expander, count = self.expander, height * self.schedule.nr // self.lanes
        zero = expander.emit("constant", value=Literal(np.zeros((), self.acc.numpy)))
        zeros = expander.widen(zero, self.lanes)
        if self.single:
            return [zeros] * count
        with when(expander, compare(expander, "eq", number, 0)):
            for position in range(count):
                where = base + position * self.lanes
                expander.access("store", (self.tiles, zeros), where, lanes=self.lanes)
        return [
            expander.access("load", (self.tiles,), base + p * self.lanes, lanes=self.lanes)
            for p in range(count)
        ]

    def _row_reader(self, scope: Scope, m: Dim, i: Dim, k0: Dim, height: int):  # type: ignore[no-untyped-def]
        expander, schedule = self.expander, self.schedule
        if self.rows.form == "direct":
            last = self.rows.total - 1
            exact = self.rows.total % schedule.mr == 0
            rows = [m + r if exact else fixed(expander, minimum(m + r, last))
                    for r in range(schedule.mr)]  # fmt: skip

            def read(k: Dim) -> list[Value]:
                return [self._direct(scope.inner(), self.rows, row, k0 + k) for row in rows]

            return read
        base = fixed(expander, i * (self.panel_depth * self.row_width))

        def packed(k: Dim) -> list[Value]:
            start = base + k * self.row_width
            return [expander.access("load", (self.row_panels,), start + r) for r in range(height)]

        return packed

    def _column_reader(self, scope: Scope, n: Dim, j: Dim, k0: Dim):  # type: ignore[no-untyped-def]
        expander, schedule, lanes = self.expander, self.schedule, self.lanes
        if self.columns.form == "direct":
            iota = expander.emit("lanes", expander.integer(0), lanes=lanes)
            exact = self.columns.total % schedule.nr == 0
            vectors = []
            for start in (n + v for v in range(0, schedule.nr, lanes)):
                mask = None
                if not exact:
                    ends = expander.materialise(start), expander.materialise(self.columns.total)
                    mask = expander.emit("mask", *ends, lanes=lanes)
                vectors.append((start + of_atom(Var(iota, lanes)), Vector(lanes, iota, mask)))

            def read(k: Dim) -> list[Value]:
                return [
                    expander.widen(
                        self._direct(scope.inner(vector), self.columns, at, k0 + k), lanes
                    )
                    for at, vector in vectors
                ]

            return read
        base = fixed(expander, j * (self.panel_depth * schedule.nr))

        def packed(k: Dim) -> list[Value]:
            start = base + k * schedule.nr
            return [
                expander.access("load", (self.column_panels,), start + v, lanes=lanes)
                for v in range(0, schedule.nr, lanes)
            ]

        return packed

    def _direct(self, scope: Scope, operand: Operand, own: Dim, k: Dim) -> Value:
        """An operand's element, read where it lies."""
        operand.own.bind(scope, operand.own.split(own))
        operand.k.bind(scope, operand.k.split(k))
        return operand.element(self.expander, scope)

    # ------------------------------------------------------------------ results

    def _finish(self, scope: Scope, base: Dim, m: Dim, n: Dim) -> None:
        """Runs the `out` region over the tile at rows m and columns n."""
        expander, schedule, lanes = self.expander, self.schedule, self.lanes
        starts = [n + v for v in range(0, schedule.nr, lanes)]
        rows = fixed(expander, minimum(schedule.mr, self.rows.total - m))
        total = self.columns.total
        for places in lane_places(expander, self.out_columns, starts, total, lanes, schedule.nr):

            def row(r: Dim, places: list = places) -> None:
                positions = [fixed(expander, p) for p in self.out_rows.split(m + r)]
                for v, (columns, vector) in enumerate(places):
                    inner = scope.inner(vector)
                    self.out_rows.bind(inner, positions)
                    self.out_columns.bind(inner, columns)
                    where = base + r * schedule.nr + v * lanes
                    inner.values[self.out.params[-1]] = expander.access(
                        "load", (self.tiles,), where, lanes=lanes
                    )
                    expander.run_nodes(self.out, inner)

            self._for(rows, row)


def _split_axes(region: Region, *groups: tuple[Dim, ...]) -> list[Axes]:
    """`Axes` of a region whose first parameters are those of `groups`."""
    extents: dict[Value, Dim] = {}
    variables: list[list[Value]] = []
    position = 0
    for group in groups:
        variables.append(list(region.params[position : position + len(group)]))
        extents.update(zip(variables[-1], group, strict=True))
        position += len(group)
    return joined_axes(region, extents, variables)


def _retyped(operand: Operand, form: str) -> Operand:
    return Operand(
        operand.region, operand.own, operand.k, operand.total, operand.depth, operand.dtype,
        operand.lanes, form,
    )  # fmt: skip
