"""Tiles of a `contract` for a processor with a matrix unit, which multiplies tiles of 16-bit floats
(`ir/ops/matrix.py`): whether that pays, register tile, cache blocks, how each operand is copied."""

from __future__ import annotations

from ..ir.dims import Dim
from ..ir.graph import Node
from ..ir.ops.matrix import DEEP, SIDE
from ..ir.schedule import ContractSchedule
from ..ir.target import Target
from .schedule_contract import Chooser, ceil, panels

MOST_DEEP = 2048  # terms of a block
STEP = 4.0  # cycles of a tile's 32 terms, for each of its rows or columns that is read
UNKNOWN = 256  # an extent that is a symbol
PACKED = 0.2  # cycles in which an element is copied into a panel
SUMS = 2.5  # cycles in which 16 sums go through memory


def schedule_matrix(node: Node, target: Target) -> ContractSchedule | None:
    """The schedule of a `contract` node; None where the target has no unit that multiplies these
    operands, or where it would be mostly idle."""
    if node.attrs["dtype"].name not in target.matrix:
        return None
    return _MatrixChooser(node, target).choose_matrix()


class _MatrixChooser(Chooser):
    def choose_matrix(self) -> ContractSchedule | None:
        if not self._pays():
            return None
        mr, nr = self._sides()
        kc = self._block_of_terms()
        mc, nc = self._matrix_blocks(mr, nr, kc)
        return ContractSchedule(
            mr, nr, kc, mc, nc, self.lanes, self.swap, self._form(self.rows),
            self._form(self.columns), matrix=True,
        )  # fmt: skip

    def _pays(self) -> bool:
        """Whether copying both operands and multiplying whole tiles takes less time than products
        of float32, which may read operands in place."""
        m, n, k = self._extents()
        if 0 in (m, n, k):
            return False
        tiles = ceil(m, SIDE) * ceil(n, SIDE) * ceil(k, DEEP) * SIDE
        copied = PACKED * (m + n) * ceil(k, DEEP) * DEEP
        here = tiles + copied + SUMS * m * ceil(n, SIDE)
        plain = m * n * k / (2 * self.lanes)
        return here < plain

    def _extents(self) -> tuple[int, int, int]:
        sizes = (self.rows.extent, self.columns.extent, self.depth)
        m, n, k = (d if isinstance(d, int) else UNKNOWN for d in sizes)
        return m, n, k

    def _sides(self) -> tuple[int, int]:
        """Two tiles of the unit along each side, so that each that is read serves two; where one
        side has only one, three along the other."""
        m, n = (self._tiles(side.extent) for side in (self.rows, self.columns))
        if m == 1:
            return SIDE, SIDE * min(3, n)
        if n == 1:
            return SIDE * min(3, m), SIDE
        return 2 * SIDE, 2 * SIDE

    def _tiles(self, extent: Dim) -> int:
        return max(1, ceil(extent, SIDE)) if isinstance(extent, int) else 2

    def _block_of_terms(self) -> int:
        if not isinstance(self.depth, int):
            return MOST_DEEP // 2
        blocks = max(1, ceil(self.depth, MOST_DEEP))
        return ceil(ceil(self.depth, blocks), DEEP) * DEEP if blocks > 1 else self.depth

    def _matrix_blocks(self, mr: int, nr: int, kc: int) -> tuple[int, int]:
        """(mc, nc): rows that stay in L2 while one panel of columns after the other passes by, and
        enough tasks for the threads."""
        deep = 2 * ceil(kc, DEEP) * DEEP
        rows_fit = max(1, self.target.l2 // 2 // (deep * mr))
        columns_fit = max(1, self.target.l2 // (deep * nr))
        m_panels, n_panels = panels(self.rows.extent, mr), panels(self.columns.extent, nr)
        m_most, n_most = min(m_panels, rows_fit), min(n_panels, columns_fit)
        wanted = self._tasks_wanted(kc)
        if m_panels * mr >= n_panels * nr:
            m_most = self._shared(m_panels, m_most, ceil(wanted, ceil(n_panels, n_most)))
        else:
            n_most = self._shared(n_panels, n_most, ceil(wanted, ceil(m_panels, m_most)))
        m_blocks, n_blocks = ceil(m_panels, m_most), ceil(n_panels, n_most)
        return ceil(m_panels, m_blocks) * mr, ceil(n_panels, n_blocks) * nr
