"""Tiles of a `contract` for a target: register tile, cache blocks, how each operand is read."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.access import Expressions, accesses, axis_extents, coefficient
from ..ir.dims import Dim, product
from ..ir.graph import Node, Region, Value
from ..ir.ops.base import Kind
from ..ir.schedule import ContractSchedule
from ..ir.target import Target
from .contract_operands import Side, innermost, side_of, strided

BLOCK_DEEP = 1024  # of k, where the panels of all of it do not stay in L2
UNKNOWN_DEEP = 512  # the block of k where K is a symbol
COLUMN_BYTES = 2 << 20  # of packed columns of one thread, where L2 is smaller
ROW_BYTES = 16 << 20  # of packed rows that stay for the whole batch
TASK = 1 << 18  # multiply-adds that are worth a task
READ = 4  # of them in the time in which an element of an operand comes from L2
DOT_ROWS = 4  # rows of a product that is computed as dot products
DOT_TILE = 6  # of them in a tile
MOST_DOT_ROWS = 16  # the same where the sum is long
DOT_SUMS = 8  # terms of a dot product that cost as much as adding up its lanes, for each row
TURNED_DEEP = 32  # terms that are worth storing a result across its rows
MOST_VECTORS = 16  # of a tile
DIRECT_DEEP = 32  # k of a block whose columns are read in place: whole pages of few rows
UNROLLED = 32  # terms of a sum that are written out, so that k is a number
FEW_PANELS = 4  # of columns, that read any rows along k in place
LONG_ROW = 2048  # bytes along which memory is read ahead
NEAR_PANELS = 8  # of columns, that read near rows in place
NEAR_BYTES = 1024  # from one k to the next of an operand that is read in place
SET_BYTES = 2048  # between rows that share a set of the first cache
FEW_TILES = 48  # for which such rows are not packed
RUN, RUN_BYTES = 16, 256  # terms of a run of rows in place; bytes from one to the next row
WRITTEN_OUT = 256  # scalar instructions for the results of a tile
WASTE = 16  # one vector of so many may be empty
UNEVEN = 0.02  # of its work that the slowest thread may have more, for more blocks to share
LATENCY = 4  # cycles of a multiply-add
OVERHEAD = 2.5  # cycles of a turn of k beside its multiply-adds
AHEAD = 8  # turns of k in which a line comes from L2
UNKNOWN_PANELS = 8  # panels of a block where the extent is a symbol


def schedule_contract(node: Node, target: Target) -> ContractSchedule:
    """The schedule of a `contract` node.

    The side whose axis is contiguous in the first result runs over the lanes ("columns").
    """
    return Chooser(node, target).choose()


class Chooser:
    def __init__(self, node: Node, target: Target) -> None:
        self.target = target
        attrs = node.attrs
        batch, m, n, k = (tuple(attrs[name]) for name in ("batch", "m", "n", "k"))
        b = len(batch)
        self.batch, self.depth = product(batch), product(k)
        self.size = attrs["acc"].itemsize
        self.lanes = target.lanes(attrs["acc"])
        lhs, rhs, out = node.regions
        left = side_of(lhs, lhs.params[b : b + len(m)], lhs.params[b + len(m) :], m, k)
        right = side_of(rhs, rhs.params[b + len(k) :], rhs.params[b : b + len(k)], n, k)
        m_params, n_params = out.params[b : b + len(m)], out.params[b + len(m) : -1]
        self.swap = self._swapped(out, m_params, n_params, m, n) or self._turned(left, right)
        self.rows, self.columns = (right, left) if self.swap else (left, right)
        self.out = out
        read = {o for n in (rhs if self.swap else lhs).walk() for o in n.operands}
        self.rows_change = bool(read & set((rhs if self.swap else lhs).params[:b]))

    def _swapped(
        self,
        out: Region,
        m_params: Sequence[Value],
        n_params: Sequence[Value],
        m: Sequence[Dim],
        n: Sequence[Dim],
    ) -> bool:
        """Whether m, not n, is contiguous in the results."""
        extents = {**axis_extents(out), **dict(zip((*m_params, *n_params), (*m, *n), strict=True))}
        stores = [a for a in accesses(out, Expressions(extents)) if a.writes]
        if not stores or product(m) == 1:
            return False
        along_n = strided([stores[0]], innermost(n_params, n)) == 0
        along_m = strided([stores[0]], innermost(m_params, m)) == 0
        if product(n) == 1:
            return along_m
        return along_m and not along_n

    def _turned(self, left: Side, right: Side) -> bool:
        """Whether the columns fill no vector, and the rows are read in place as columns. Beside dot
        products, whose few rows are read again for each, three quarters of a vector are enough."""
        m, n, lanes = left.extent, right.extent, self.lanes
        if not isinstance(n, int) or not 0 < n <= lanes or (isinstance(m, int) and m < 2 * n):
            return False
        if not isinstance(self.depth, int) or self.depth < TURNED_DEEP:
            return False
        if max(left.own_runs, left.k_runs, right.k_runs) > 1 or not left.own:
            return False
        along = strided(left.accesses, left.k[-1]) == 0 and lanes > 1 and 4 * n <= 3 * lanes
        return along or strided(left.accesses, left.own[-1]) == 0

    def choose(self) -> ContractSchedule:
        panel = self._panel()
        mr, vectors = self._tile(panel // self.lanes)
        nr = vectors * self.lanes
        rows, columns = self._form(self.rows), self._form(self.columns)
        kc = self._depth_block(nr)
        if panel:
            columns = "direct"
        elif columns == "along" and self._dots_fit():
            assert isinstance(self.depth, int)
            mr, columns, nr, kc = self._dot_rows(), "dots", self.lanes, max(1, self.depth)
            rows = "direct" if rows == "along" and self.rows.k_runs <= 1 else "across"
        elif columns == "across" and self._reads_once(mr) and self._direct_fits():
            columns = "direct"
            if max(self.columns.own_runs, self.columns.k_runs) > 1:
                nr = self.lanes  # each vector for itself: few cross the end of a run
            elif self._is_large():
                kc = min(kc, DIRECT_DEEP)
        elif columns == "across" and self._near(self.columns):
            columns = "direct"
        if rows == "along":
            rows = "rows"  # single elements are read from anywhere: no need to transpose
        if columns != "dots" and self._rows_in_place(nr, kc):
            rows = "direct"
        elif columns in ("across", "along") and self._runs_in_place(nr):
            rows, run = "direct", self.rows.last_run
            assert isinstance(run, int), "the last run of rows in place is known"
            kc = ceil(kc, run) * run  # a block has whole runs
        # A panel of rows stays in L1 while all columns of a block pass by, and results are written
        # along their rows.
        along_rows = (
            columns != "dots" and kc == self.depth and 3 * mr * kc * self.size <= 2 * self.target.l1
        )
        mc, nc = self._blocks(mr, nr, kc, columns, along_rows)
        return ContractSchedule(
            mr, nr, kc, mc, nc, self.lanes, self.swap, rows, columns,
            registers=columns != "dots" and kc == self.depth and self._written_out(mr * vectors),
            narrow=columns != "dots" and self._wastes(nr),
            along_rows=along_rows,
            prefetch=not along_rows and self._result_is_large(),
            ahead=AHEAD if kc * nr * self.size > self.target.l1 else 0,
        )  # fmt: skip

    # ------------------------------------------------------------------ register tile

    def _panel(self) -> int:
        """Columns that lie side by side for each k, one k after the other, as `panels` lays weights
        out, where they fit a register tile; else 0."""
        side = self.columns
        if not side.plain or side.own_runs != 2 or side.k_runs != 1:
            return 0
        width, (access,) = side.last_own, side.accesses
        own, k = (coefficient(access.offset, axes[-1]) for axes in (side.own, side.k))
        if not isinstance(width, int) or (own, k) != (1, width) or width % self.lanes:
            return 0
        return width if width <= 4 * self.lanes else 0

    def _tile(self, given: int) -> tuple[int, int]:
        """(rows, vectors of columns) whose accumulators, with the vectors of one step, fit the
        registers: the tile with the fewest cycles for all rows and columns. So many vectors as
        `given`, unless that is 0."""
        registers, lanes = self.target.registers, self.lanes
        # For the broadcast element; a product that is rounded; NEON loads elements by the four.
        spare = (2 if self.target.fma else 4) if registers < 32 or lanes >= 8 else 5
        usual = 2 if registers < 32 or lanes >= 8 else 3
        most = usual
        if isinstance(self.columns.extent, int):
            most = max(1, min(MOST_VECTORS, ceil(self.columns.extent, lanes)))
        best: tuple[float, int, int, int] | None = None
        for vectors in [given] if given else range(1, most + 1):
            mr = min((registers - spare - vectors) // vectors, 16)
            if mr < 1 and self.rows.extent == 1 and vectors + spare <= registers:
                mr = 1  # each vector of columns is used once, from memory
            if mr < 1:
                break
            if isinstance(self.rows.extent, int):
                count = max(1, ceil(self.rows.extent, mr))
                mr = max(1, ceil(self.rows.extent, count))
            cost = self._cycles(mr, vectors), abs(vectors - usual), mr, vectors
            best = cost if best is None else min(best, cost)
        assert best is not None, "a tile of one vector always fits"
        return best[2:]

    def _cycles(self, mr: int, vectors: int) -> float:
        """Of one step of k over all tiles, for each row."""
        rows = self.rows.extent if isinstance(self.rows.extent, int) else UNKNOWN_PANELS * mr
        columns, width = self.columns.extent, vectors * self.lanes
        if not isinstance(columns, int):
            columns = UNKNOWN_PANELS * width
        whole = panels(columns, width)
        cycles = whole * _step(mr, vectors)
        if self._wastes(width):
            rest = ceil(columns % width, self.lanes)
            cycles += _step(mr, rest) - _step(mr, vectors)
        return cycles * panels(rows, mr) / (rows or 1)

    def _wastes(self, width: int) -> bool:
        """Whether much of the vectors of panels of this width would be empty."""
        columns = self.columns.extent
        if not isinstance(columns, int) or columns == 0:
            return False
        taken = panels(columns, width) * width
        return (taken - ceil(columns, self.lanes) * self.lanes) * WASTE >= taken

    # ------------------------------------------------------------------ cache blocks

    def _depth_block(self, nr: int) -> int:
        """All of k while its panels stay in L2, else blocks: what is packed for one of them
        serves more of the other operand."""
        if not isinstance(self.depth, int):
            return UNKNOWN_DEEP
        fits = self.target.l2 // (3 if self._serves_batch() else 8) // (nr * self.size)
        if self.depth <= max(fits, BLOCK_DEEP):
            return max(1, self.depth)
        blocks = ceil(self.depth, BLOCK_DEEP)
        return ceil(ceil(self.depth, blocks), self.lanes) * self.lanes

    def _blocks(self, mr: int, nr: int, kc: int, columns: str, along_rows: bool) -> tuple[int, int]:
        """(mc, nc): what fits the caches, and enough tasks for the threads."""
        stay = kc == self.depth and self._serves_batch()
        room = ROW_BYTES if stay else self.target.l2 // 2
        rows_fit = max(1, room // (kc * self.size * mr))
        room = self.target.l2 // 2 if along_rows else max(COLUMN_BYTES, self.target.l2)
        columns_fit = max(1, room // (kc * self.size * nr))
        if columns == "direct":  # the tiles are what stays in the cache
            columns_fit = max(1, self.target.l2 // 4 // (mr * self.size * nr))
        m_panels, n_panels = panels(self.rows.extent, mr), panels(self.columns.extent, nr)
        m_most, n_most = min(m_panels, rows_fit), min(n_panels, columns_fit)
        wanted = self._tasks_wanted(kc)
        if m_panels * mr >= n_panels * nr:
            m_most = self._shared(m_panels, m_most, ceil(wanted, ceil(n_panels, n_most)))
        else:
            n_most = self._shared(n_panels, n_most, ceil(wanted, ceil(m_panels, m_most)))
        m_blocks, n_blocks = ceil(m_panels, m_most), ceil(n_panels, n_most)
        return ceil(m_panels, m_blocks) * mr, ceil(n_panels, n_blocks) * nr

    def _shared(self, count: int, most: int, wanted: int) -> int:
        """How many of `count` panels are a block, at most `most`: for about `wanted` blocks, unless
        fewer or more of them leave the slowest thread less to do."""
        if wanted <= 1:
            return most
        usual = min(most, ceil(count, wanted))
        slowest = {
            size: ceil(ceil(count, size), self.target.threads) * size
            for size in range(max(1, usual // 2), most + 1)
        }
        enough = min(slowest.values()) * (1 + UNEVEN)
        even = (size for size in slowest if slowest[size] <= enough)
        return min(even, key=lambda size: abs(size - usual))

    def _serves_batch(self) -> bool:
        """Whether packed rows can serve one point of the batch after the other."""
        enough = not isinstance(self.batch, int) or self.batch >= 4 * self.target.threads
        return enough and not self.rows_change

    def _tasks_wanted(self, kc: int) -> int:
        """Tasks for each point of the batch: enough to share out, none too small, and no more than
        threads where each reads pieces of rows in place (long ones come faster) or packs the other
        operand again, block of k by block."""
        sizes = (self.batch, self.rows.extent, self.columns.extent, self.depth)
        batch, m, n, k = (d if isinstance(d, int) else 64 for d in sizes)
        worth = max(1, max(m * n, READ * (m + n)) * k // TASK)
        each = 1 if kc < k else 4
        wanted = ceil(each * self.target.threads, max(1, batch))
        return 1 if self.target.threads == 1 else min(wanted, worth)

    # ------------------------------------------------------------------ operands

    def _form(self, side: Side) -> str:
        """Vectors over the panel's own axis, or over k where that has fewer strided loads."""
        if not side.k or self._short(side.last_run):
            return "across"
        own = strided(side.accesses, side.own[-1] if side.own else None)
        along = strided(side.accesses, side.k[-1])
        return "along" if along < own else "across"

    def _near(self, side: Side) -> bool:
        """Whether an operand is read where it lies as fast as from panels: it is small, nothing is
        computed for an element, and few rows of it share a page, or a set of the first cache."""
        size = side.extent * self.depth * self.size
        if not isinstance(size, int) or 2 * size > self.target.l2:
            return False
        own, k = self._strides(side)
        if own == 1:
            return 0 < k * self.size <= NEAR_BYTES
        return k == 1 and own * self.size % SET_BYTES != 0 and side is self.rows

    def _strides(self, side: Side) -> tuple[int, int]:
        """Of an operand whose elements are read as they are: how far neighbours of its own axis
        and of k lie apart; (0, 0) where that is not one known number for each."""
        if not side.plain or max(side.own_runs, side.k_runs) > 1 or not (side.own and side.k):
            return 0, 0
        (access,) = side.accesses
        own, k = (coefficient(access.offset, axes[-1]) for axes in (side.own, side.k))
        return (own, k) if isinstance(own, int) and isinstance(k, int) else (0, 0)

    def _rows_in_place(self, nr: int, kc: int) -> bool:
        """Whether single elements are read where the rows lie: a few times along long rows, or
        often where that is near, or where rows follow one another as in a panel."""
        rows, columns, depth = self.rows.extent, self.columns.extent, self.depth
        if not (isinstance(rows, int) and isinstance(columns, int) and isinstance(depth, int)):
            return False
        if columns <= FEW_PANELS * nr and self._strides(self.rows)[1] == 1:
            size = rows * depth * self.size
            return depth * self.size >= LONG_ROW or 2 * size <= self.target.l2
        if self._strides(self.rows) == (depth, 1) and kc == depth:
            return depth * self.size % SET_BYTES != 0
        return columns <= NEAR_PANELS * nr and self._near(self.rows)

    def _runs_in_place(self, nr: int) -> bool:
        """Whether rows whose terms lie in short runs, as weights with their channels exchanged do,
        are read where they lie: those of a tile share lines of the cache, and panels would serve
        few tiles."""
        side = self.rows
        columns = self.columns.extent * self.batch
        if not isinstance(columns, int) or columns > FEW_TILES * nr:
            return False
        if not side.plain or side.own_runs > 1 or side.k_runs != 2 or not (side.own and side.k):
            return False
        run, (access,) = side.last_run, side.accesses
        if not isinstance(run, int) or not isinstance(self.depth, int) or run > RUN:
            return False
        own, k = (coefficient(access.offset, axes[-1]) for axes in (side.own, side.k))
        if not isinstance(own, int) or not isinstance(k, int):
            return False
        return abs(k) * run <= own and own * self.size <= RUN_BYTES

    def _written_out(self, registers: int) -> bool:
        """Whether little enough is made of the sums to be written out for each register."""
        nodes = self.out.nodes
        cost = sum(max(1, n.op.cost) if n.op.kind is Kind.ELEMENTWISE else 1 for n in nodes)
        plain = not any(node.regions for node in nodes)
        return plain and isinstance(self.rows.extent, int) and registers * cost <= WRITTEN_OUT

    def _result_is_large(self) -> bool:
        """Whether what is written does not stay in L2."""
        size = product([self.batch, self.rows.extent, self.columns.extent, self.size])
        return not isinstance(size, int) or size > self.target.l2

    def _is_large(self) -> bool:
        """Whether the columns do not stay in L2."""
        size = self.columns.extent * self.depth * self.size
        return not isinstance(size, int) or 2 * size > self.target.l2

    def _reads_once(self, mr: int) -> bool:
        """Whether one tile has all rows, or two where the columns are much: what is copied would be
        used once or twice."""
        most = 2 * mr if self._is_large() and self.columns.own_runs <= 1 else mr
        return isinstance(self.rows.extent, int) and self.rows.extent <= most

    def _direct_fits(self) -> bool:
        """Whether nothing is divided where columns are read in the loop over k: that has one run,
        or is written out."""
        if self.columns.own_runs <= 1 and self.columns.k_runs <= 1:
            return True
        return isinstance(self.depth, int) and self.depth <= UNROLLED

    def _dots_fit(self) -> bool:
        """Whether both operands are multiplied in vectors over k: few rows, whose lanes cost less
        to add up than the columns to transpose."""
        rows, depth = self.rows.extent, self.depth
        runs = max(self.columns.k_runs, self.rows.k_runs, self.columns.own_runs)
        if runs > 1 or self.lanes == 1 or not (isinstance(rows, int) and isinstance(depth, int)):
            return False
        if rows <= DOT_ROWS:
            return True
        small = 4 * rows * depth * self.size <= self.target.l2
        return small and rows <= MOST_DOT_ROWS and DOT_SUMS * rows <= depth

    def _dot_rows(self) -> int:
        """Rows of a tile of dot products, with which two columns or more fit the registers."""
        rows = self.rows.extent
        assert isinstance(rows, int), "the rows of dot products are known"
        most = min(DOT_TILE, (self.target.registers - 3) // 2)
        return max(1, ceil(rows, max(1, ceil(rows, most))))

    def _short(self, extent: Dim) -> bool:
        """Whether vectors over k would mostly not lie within its innermost run."""
        return isinstance(extent, int) and 2 * extent <= self.lanes


def _step(mr: int, vectors: int) -> float:
    """Cycles of a tile's turn of k: two multiply-adds each, no fewer than their latency asks for,
    and what comes on top of them."""
    step = max(mr * vectors / 2, LATENCY) + OVERHEAD + vectors / 4 + max(0, vectors - 4) / 2
    return step + (vectors == 1)  # each broadcast element serves one multiply-add


def ceil(a: int, b: int) -> int:
    return (a + b - 1) // b


def panels(extent: Dim, size: int) -> int:
    return max(1, ceil(extent, size)) if isinstance(extent, int) else UNKNOWN_PANELS
