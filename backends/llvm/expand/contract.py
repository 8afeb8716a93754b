"""`contract` as loops: blocks of packed panels, register tiles, and the rest on the tile.

One task computes a block of mc x nc results. For each block of kc it packs what it needs of both
operands (what the task before has packed already stays), then walks the tiles: the product of
two panels is summed in registers and left in scratch, from where, after the last block of k, the
`out` region takes it, vector by vector.

The operand whose axis runs over the lanes of vectors is the *columns*, the other one, whose
elements are broadcast, the *rows*; the schedule says which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....ir.dims import Dim, Var, minimum, of_atom
from ....ir.graph import Node, Value
from .blocks import ceil_div, depends_on, fixed, loop_over, when
from .dots import Rows, copy_rows
from .matrix_tiles import MatrixColumn
from .packing import Operand, Panel, pack
from .pairs import pack_columns, pack_rows
from .product import IN_PLACE, Product
from .scope import Expander, Scope
from .taps import expand_taps
from .tiles import Tile, Tiles
from .windows import expand_windows

# Of k, with which all panels are filled before the next, so that rows of memory are read on and on:
# a multiple of the terms that a matrix unit adds at once.
SLAB = 32
COLUMNS, ROWS = 0, 1  # the slots of `Scratch.packed`


def expand_contract(expander: Expander, scope: Scope, node: Node) -> None:
    """The loops of a `contract`, the outermost one over tasks.

    Raises:
        ValueError: the node has no tiles.
    """
    nest = expander.nests[node]
    if nest.windows is not None:
        expand_windows(expander, scope, node, nest.windows)
        return
    if nest.taps is not None:
        expand_taps(expander, scope, node, nest.taps)
        return
    chosen = nest.contract
    if chosen is None:
        raise ValueError("a contract needs a schedule of panels, windows or taps")
    product = Product(node, chosen)
    if product.tasks == 0:
        return
    _Tasks(expander, product).run(scope)


@dataclass(frozen=True, slots=True)
class _Block:
    """What a task computes in one block of k.

    Attributes:
        batch, m, n, k: numbers of the block.
        m0, n0, k0: its first row, column and k.
        m_panels, n_panels, count: how many panels and k it has.
    """

    batch: Dim
    m: Dim
    n: Dim
    k: Dim
    m0: Dim
    n0: Dim
    k0: Dim
    m_panels: Dim
    n_panels: Dim
    count: Dim


class _Tasks:
    def __init__(self, expander: Expander, product: Product) -> None:
        self.expander = expander
        self.product = product
        self.schedule = product.schedule
        self.scratch = product.allocate(expander)
        self.tiles = Tiles(expander, product, self.scratch)

    def run(self, scope: Scope) -> None:
        """The loop over tasks: rows fastest, so that packed columns stay for the next one."""
        expander, product = self.expander, self.product
        for slot in (COLUMNS, ROWS):
            expander.access("store", (self.scratch.packed, expander.integer(-1)), slot)

        def turn(variable: Value, _: list[Value]) -> Sequence[Value]:
            number = of_atom(Var(variable, product.tasks))
            rest = fixed(expander, number // product.blocks_m)
            batch = fixed(expander, rest // product.blocks_n)
            m = fixed(expander, number - rest * product.blocks_m)
            n = fixed(expander, rest - batch * product.blocks_n)
            self._task(scope.inner(), batch, m, n)
            return ()

        expander.loop(0, product.tasks, 1, (), turn, parallel=True)

    def _task(self, scope: Scope, batch: Dim, m: Dim, n: Dim) -> None:
        expander, product = self.expander, self.product
        for axes in (product.rows.batch, product.columns.batch, product.result.batch):
            axes.bind(scope, [fixed(expander, p) for p in axes.split(batch)])
        if product.single:
            self._block(scope, batch, m, n, 0)
            return
        loop_over(expander, product.blocks_k, lambda k: self._block(scope, batch, m, n, k))

    def _block(self, scope: Scope, batch: Dim, m: Dim, n: Dim, k: Dim) -> None:
        """The part of the sums that belongs to one block of k."""
        schedule, product = self.schedule, self.product
        m0, n0 = fixed(self.expander, m * schedule.mc), fixed(self.expander, n * schedule.nc)
        k0 = k * schedule.kc
        count = product.depth if product.single else minimum(schedule.kc, product.depth - k0)
        block = _Block(
            batch, m, n, k, m0, n0, k0,
            self._panels(product.rows.total - m0, schedule.mc, schedule.mr),
            self._panels(product.columns.total - n0, schedule.nc, schedule.nr),
            fixed(self.expander, count),
        )  # fmt: skip
        scope = scope.inner()
        self._pack_columns(scope, block)
        self._pack_rows(scope, block)

        def column(j: Dim) -> None:
            loop_over(self.expander, block.m_panels, lambda i: self._tile(scope, block, i, j))

        def row(i: Dim) -> None:
            loop_over(self.expander, block.n_panels, lambda j: self._tile(scope, block, i, j))

        if schedule.matrix:
            loop_over(self.expander, block.n_panels, lambda j: self._column(scope, block, j))
        elif schedule.along_rows:
            loop_over(self.expander, block.m_panels, row)
        else:
            loop_over(self.expander, block.n_panels, column)

    def _panels(self, left: Dim, most: int, size: int) -> Dim:
        """Panels of `size` in a block of `most` of which `left` exist."""
        return fixed(self.expander, minimum(most // size, ceil_div(left, size)))

    def _column(self, scope: Scope, block: _Block, j: Dim) -> None:
        """The tiles of a panel of columns by the matrix unit: a piece of it serves all rows before
        the next one does."""

        def at(i: Dim) -> Tile:
            return self._place(block, i, j)

        columns = MatrixColumn(self.expander, scope, self.product, self.scratch)
        columns.multiply(block.m_panels, block.count, block.k, at)
        with when(self.expander, self.tiles.last(block.k)):
            finish = self.tiles.finish
            loop_over(self.expander, block.m_panels, lambda i: finish(scope.inner(), at(i)))

    def _tile(self, scope: Scope, block: _Block, i: Dim, j: Dim) -> None:
        self.tiles.compute(scope.inner(), self._place(block, i, j))

    def _place(self, block: _Block, i: Dim, j: Dim) -> Tile:
        schedule, expander = self.schedule, self.expander
        base: Dim = 0
        if not self.product.single:
            number = j * block.m_panels + i
            base = fixed(expander, number * (schedule.mr * schedule.nr))
        elif schedule.matrix:
            base = fixed(expander, i * (schedule.mr * schedule.nr))
        return Tile(
            m=fixed(expander, block.m0 + i * schedule.mr),
            n=fixed(expander, block.n0 + j * schedule.nr),
            row_panel=i, column_panel=j, base=base, block=block.k, k0=block.k0,
            count=block.count,
        )  # fmt: skip

    # ------------------------------------------------------------------ packing

    def _pack_columns(self, scope: Scope, block: _Block) -> None:
        columns, buffer, width = self.product.columns, self.scratch.columns, self.schedule.nr
        if columns.form in IN_PLACE or buffer is None:
            return

        def panel(j: Dim, first: Dim, count: Dim) -> None:
            base = (j * self.scratch.depth + first) * width
            where = Panel(
                buffer, base, width, block.n0 + j * width, width, block.k0 + first, count, width,
                self.scratch.depth, columns.total % width == 0,
            )  # fmt: skip
            fill = pack_columns if self.schedule.matrix else pack
            fill(self.expander, scope.inner(), columns, where)

        number = block.n, self.product.blocks_n
        with when(self.expander, self._stale(COLUMNS, columns, block, number)):
            self._fill(columns, block, block.n_panels, panel)

    def _fill(
        self, operand: Operand, block: _Block, panels: Dim, panel: Callable[[Dim, Dim, Dim], None]
    ) -> None:
        """`panel(number, first k of the block, count)` for all panels and all of k: a few k of all
        panels at a time where neighbours in memory lie in several panels."""
        expander, count = self.expander, block.count
        whole = isinstance(count, int) and count <= SLAB
        if whole or operand.form != "across" or len(operand.own.runs) > 1:
            loop_over(expander, panels, lambda number: panel(number, 0, count))
            return

        def slab(turn: Dim) -> None:
            first = fixed(expander, turn * SLAB)
            left = SLAB if count % SLAB == 0 else fixed(expander, minimum(SLAB, count - first))
            loop_over(expander, panels, lambda number: panel(number, first, left))

        loop_over(expander, ceil_div(count, SLAB), slab)

    def _pack_rows(self, scope: Scope, block: _Block) -> None:
        rows, scratch, height = self.product.rows, self.scratch, self.schedule.mr
        buffer = scratch.rows
        if buffer is None:
            return

        def panel(i: Dim, first: Dim, count: Dim) -> None:
            base = (i * scratch.depth + first) * scratch.row_width
            where = Panel(
                buffer, base, scratch.row_width, block.m0 + i * height, height, block.k0 + first,
                count, height, scratch.depth, rows.total % height == 0,
            )  # fmt: skip
            fill = pack_rows if self.schedule.matrix else pack
            fill(self.expander, scope.inner(), rows, where)

        number = block.m, self.product.blocks_m
        with when(self.expander, self._stale(ROWS, rows, block, number)):
            if self.product.columns.form == "dots":
                copied = Rows(rows, block.m0, buffer, 0, scratch.depth)
                copy_rows(self.expander, scope, copied, block.m_panels * height)
            else:
                self._fill(rows, block, block.m_panels, panel)

    def _stale(self, slot: int, operand: Operand, block: _Block, number: tuple[Dim, Dim]) -> Value:
        """Whether the panels hold another block than this one; from now on they hold it.

        `number` is (the block's own number, how many there are).
        """
        expander, packed = self.expander, self.scratch.packed
        batch = block.batch if depends_on(operand.region, operand.batch.variables) else 0
        key = (batch * number[1] + number[0]) * self.product.blocks_k + block.k
        wanted = expander.materialise(key)
        stale = expander.emit("ne", expander.access("load", (packed,), slot), wanted)
        expander.access("store", (packed, wanted), slot)
        return stale
