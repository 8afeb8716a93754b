"""Tiles of a `contract` for a processor with a matrix unit, which multiplies tiles of 16-bit floats
(`ir/ops/matrix.py`): whether that pays, register tile, cache blocks, how each operand is copied."""

from __future__ import annotations

from ..ir.dims import Dim
from ..ir.graph import Node
from ..ir.ops.matrix import DEEP, SIDE
from ..ir.schedule import ContractSchedule
from ..ir.target import Target
from .contract_operands import Side
from .schedule_contract import DOT_ROWS, Chooser, ceil, panels

MOST_DEEP = 2048  # terms of a block
PASSING_DEEP = 512  # the same of columns that are packed to be used once, while they are near
COLUMN_BLOCKS = 4  # times L2: packed columns of one thread
COLUMN_COST = 2  # of packing a column, in rows
MATRIX_TASK = 1 << 21  # multiply-adds that are worth a task
UNKNOWN = 256  # an extent that is a symbol
FEW = 32  # columns beside which rows are read in place: one panel
PACKED = 0.3  # cycles in which an element is copied into a panel
WINDOW = 1.7  # the same where vectors cross the ends of runs, as the lines of an image
SUMS = 2.5  # cycles in which 16 sums go through memory


def schedule_matrix(node: Node, target: Target) -> ContractSchedule | None:
    """The schedule of a `contract` node; None where the target has no unit that multiplies these
    operands, or where it would be mostly idle."""
    if node.attrs["dtype"].name not in target.matrix:
        return None
    return _MatrixChooser(node, target).choose_matrix()


class _MatrixChooser(Chooser):
    def choose_matrix(self) -> ContractSchedule | None:
        if self._in_place(self.columns, self.rows):
            self.swap, self.rows, self.columns = not self.swap, self.columns, self.rows
        direct = self._in_place(self.rows, self.columns)
        if not self._pays(direct):
            return None
        mr, nr = self._sides()
        passing = not direct and isinstance(self.rows.extent, int) and self.rows.extent <= mr
        kc = self._block_of_terms(PASSING_DEEP if passing else MOST_DEEP)
        mc, nc = self._matrix_blocks(mr, nr, kc, passing)
        piece = 0 if direct else self._piece(mr, nr, kc, mc)
        return ContractSchedule(
            mr, nr, kc, mc, nc, self.lanes, self.swap,
            "direct" if direct else self._form(self.rows), self._form(self.columns),
            matrix=True, piece=piece,
        )  # fmt: skip

    def _in_place(self, side: Side, other: Side) -> bool:
        """Whether an operand serves as rows where it lies: it is read once, and consists of whole
        tiles whose terms are neighbours."""
        own, columns, depth = side.extent, other.extent, self.depth
        if not (isinstance(own, int) and isinstance(columns, int) and isinstance(depth, int)):
            return False
        once = DOT_ROWS < columns <= FEW and columns < own
        whole = own % SIDE == 0 and depth % DEEP == 0 and depth > 0
        return once and whole and self._strides(side)[1] == 1

    def _pays(self, direct: bool) -> bool:
        """Whether copying both operands and multiplying whole tiles takes less time than products
        of float32, which may read operands in place."""
        m, n, k = self._extents()
        if 0 in (m, n, k):
            return False
        tiles = ceil(m, SIDE) * ceil(n, SIDE) * ceil(k, DEEP) * SIDE
        each = [WINDOW if side.own_runs > 1 else PACKED for side in (self.rows, self.columns)]
        copied = ((0 if direct else each[0] * m) + each[1] * n) * ceil(k, DEEP) * DEEP
        here = tiles + copied + SUMS * m * ceil(n, SIDE)
        plain = m * n * k / (2 * self.lanes)
        return here < plain

    def _extents(self) -> tuple[int, int, int]:
        sizes = (self.rows.extent, self.columns.extent, self.depth)
        m, n, k = (d if isinstance(d, int) else UNKNOWN for d in sizes)
        return m, n, k

    def _sides(self) -> tuple[int, int]:
        """Two tiles of the unit along each side, so that each that is read serves two."""
        m, n = (self._tiles(side.extent) for side in (self.rows, self.columns))
        if m == 1:
            return SIDE, SIDE * min(2, n)  # lines of memory, where they are packed
        if n == 1:
            return SIDE * min(3, m), SIDE
        return 2 * SIDE, 2 * SIDE

    def _tiles(self, extent: Dim) -> int:
        return max(1, ceil(extent, SIDE)) if isinstance(extent, int) else 2

    def _block_of_terms(self, most: int) -> int:
        if not isinstance(self.depth, int):
            return MOST_DEEP // 2
        blocks = max(1, ceil(self.depth, most))
        return ceil(ceil(self.depth, blocks), DEEP) * DEEP if blocks > 1 else self.depth

    def _piece(self, mr: int, nr: int, kc: int, mc: int) -> int:
        """Terms of a panel of columns that stay in L1, beside rows that pass by; 0: all."""
        near = self.target.l1 // 3 // (2 * nr * DEEP) * DEEP
        return near if mc > mr and kc > near * 3 // 2 else 0

    def _matrix_blocks(self, mr: int, nr: int, kc: int, passing: bool) -> tuple[int, int]:
        """(mc, nc): rows that stay in L2 while one panel of columns after the other passes by;
        columns that do where they are `passing`, used once. The threads share the side that takes
        longer to pack, since each packs all of the other one."""
        deep = 2 * ceil(kc, DEEP) * DEEP
        rows_fit = max(1, self.target.l2 // 2 // (deep * mr))
        room = self.target.l2 // 2 if passing else COLUMN_BLOCKS * self.target.l2
        columns_fit = max(1, room // (deep * nr))
        m_panels, n_panels = panels(self.rows.extent, mr), panels(self.columns.extent, nr)
        m_most, n_most = min(m_panels, rows_fit), min(n_panels, columns_fit)
        wanted = self._matrix_tasks()
        if m_panels * mr > COLUMN_COST * n_panels * nr:
            m_most = self._shared(m_panels, m_most, wanted)
        else:
            n_most = self._shared(n_panels, n_most, wanted)
        m_blocks, n_blocks = ceil(m_panels, m_most), ceil(n_panels, n_most)
        return ceil(m_panels, m_blocks) * mr, ceil(n_panels, n_blocks) * nr

    def _matrix_tasks(self) -> int:
        """Tasks for each point of the batch: one for each thread, none too small."""
        batch = self.batch if isinstance(self.batch, int) else UNKNOWN
        m, n, k = self._extents()
        worth = max(1, m * n * k // MATRIX_TASK)
        return min(ceil(self.target.threads, max(1, batch)), worth)
