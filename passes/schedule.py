"""Decides how a kernel becomes loops for a target: which axes collapse, which is vectorised.

Before: a kernel with named axes. After: the same kernel and a `Schedule` (`ir/schedule.py`). The
decision reads the kernel's accesses and the target's description alone; any extent may be symbolic.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.access import (
    Access,
    Expressions,
    accesses,
    axes,
    axis_extents,
    coefficient,
    collapse,
    index_uses,
)
from ..ir.dims import Dim, product
from ..ir.graph import Graph, Node, Region
from ..ir.ops.attend import AXES
from ..ir.parts import rows_of_a_part
from ..ir.scattering import scattering
from ..ir.schedule import Nest, Schedule, scheduled_nodes
from ..ir.target import Target
from .kernel_facts import cost_of, rounds, strides_along
from .schedule_attend import schedule_attend
from .schedule_columns import repeated_rows, rows_of_a_turn, shared_rows
from .schedule_contract import schedule_contract
from .schedule_cuts import cut_groups, cuts, numbers, pays
from .schedule_matrix import schedule_matrix
from .schedule_rows import Inlining
from .schedule_taps import schedule_taps
from .schedule_tasks import TILE, grain, task_elements
from .schedule_windows import schedule_windows

LARGEST_WINDOW = 256  # points of a fold whose columns are passed over vector by vector
SMALL_REDUCTION = 16  # points of an inner reduction that is not worth a vector loop of its own
LINE = 64  # bytes of a line of the cache
MOST_TURNED = 16  # side of a square that is transposed in registers
BLOCK = 256  # vectors added up before a partial sum joins the total


def schedule(kernel: Graph, target: Target) -> Schedule:
    """The schedule of `kernel` for `target`."""
    return _Scheduler(kernel, target).run()


class _Scheduler:
    def __init__(self, kernel: Graph, target: Target) -> None:
        self.kernel = kernel
        self.target = target
        self.expressions = Expressions(axis_extents(kernel))
        self.rows = Inlining(kernel, target, self.expressions)
        self.inlined = self.rows.inlined
        self.nests: dict[Node, Nest] = {}
        self.outermost = next(scheduled_nodes(kernel), None)

    def run(self) -> Schedule:
        self.rows.choose(self.kernel)
        self._visit(self.kernel, vectorised=False)
        nests = tuple(self.nests[node] for node in scheduled_nodes(self.kernel))
        leaf = self.outermost is not None and self._leaf(self.outermost.regions[0])
        task = task_elements(self.kernel, self.target, self.nests, leaf)
        return Schedule(nests, task=task, grain=grain(self.kernel, self.target, self.nests))

    # ------------------------------------------------------------------ loops

    def _visit(self, region: Region, vectorised: bool) -> None:
        for node in region.nodes:
            if axes(node)[0] or node.op.name in ("parallel", "reduce", "row"):
                self._nest(node, vectorised)
                continue
            if node.op.name == "many":
                lanes = 1 if vectorised else self._unrolled(node.regions[0])
                tail = self._tail(node.regions[0], lanes)
                self.nests[node] = Nest(((0,),), None if vectorised else 0, lanes, tail)
                vectorised_inside = True
            elif node.op.name in AXES:
                self.nests[node] = Nest(attend=schedule_attend(node, self.target))
                vectorised_inside = True
            elif node.op.name == "contract":
                self.nests[node] = self._product(node)
                vectorised_inside = True
            else:
                vectorised_inside = vectorised
            for inner in node.regions:
                self._visit(inner, vectorised_inside)

    def _product(self, node: Node) -> Nest:
        matrix = schedule_matrix(node, self.target)
        if matrix is not None:
            return Nest(contract=matrix)
        taps = schedule_taps(node, self.target)
        if taps is not None:
            return Nest(taps=taps)
        windows = schedule_windows(node, self.target)
        if windows is not None:
            return Nest(windows=windows)
        return Nest(contract=schedule_contract(node, self.target))

    def _nest(self, node: Node, vectorised: bool) -> None:
        if node is self.outermost and (self._sweep(node) or self._scatter(node) or self._cut(node)):
            return
        variables, extents = axes(node)
        body = node.regions[0]
        found = accesses(body, self.expressions, self.inlined)
        dims = [a.offset for a in found] + list(index_uses(body, self.expressions))
        groups = collapse(variables, extents, dims)
        recompute = node in self.inlined
        vector = None
        if not vectorised and (not recompute or node.op.name == "cumulate"):
            vector = self._vector_group(node, groups, found)
            if vector is not None:
                groups, vector = self._merged(body, extents, groups, vector)
        lanes, tail, tile, turn = 1, 1, None, 0
        if vector is not None:
            extent = product(extents[axis] for axis in groups[vector])
            lanes = self._lanes(node, extent)
            tail = self._tail(body, lanes)
            if node is self.outermost and self._leaf(body):
                tile = self._tile(node, groups, vector, found)
                turn = 0 if tile is None else self._side(node, groups, (vector, tile[0]), found)
            if turn:
                assert tile is not None
                lanes, tail = turn, turn if self.target.masks else 1
                tile = tile[0], TILE * turn
        block = BLOCK if node.op.name == "reduce" and rounds(node.regions[1]) else 0
        together = 0
        if node is self.outermost and vector is None:
            together = rows_of_a_part(self.kernel) or 0
        self.nests[node] = Nest(
            groups, vector, lanes, tail, tile, block, recompute, turn=turn, together=together
        )
        for inner in node.regions:
            self._visit(inner, vectorised or vector is not None)

    def _sweep(self, node: Node) -> bool:
        """Schedules the outermost loop and what is inside as passes over the rows of columns, if
        it folds what is strided along its vectors, and reads all else contiguously."""
        (variables, extents), body = axes(node), node.regions[0]

        def cost(row: Node) -> int | None:
            later = body.nodes[body.nodes.index(row) + 1 :]
            return cost_of(row.regions[0]) if self.rows.repeatable(row, later) else None

        rows = None if node.op.name != "parallel" else repeated_rows(body, cost)
        if rows is None or self._leaf(body) or all(n.op.name != "reduce" for n in body.nodes):
            return False
        found = accesses(body, self.expressions, self.inlined | rows)
        offsets = [a.offset for a in found]
        groups = collapse(variables, extents, [*offsets, *index_uses(body, self.expressions)])
        if groups != collapse(variables, extents, offsets) and not self._is_long(body):
            return False  # places of a window, of which each looks whether there is one
        vector = self._vector_group(node, groups, found)
        if vector is None or strides_along(body, variables[groups[vector][-1]], found)[0]:
            return False
        self.inlined |= rows
        inside = [n for n in body.nodes if n.op.name in ("reduce", "parallel")]
        native = self._native(body)
        lanes = self._shortened(2 * native, native, product(extents[a] for a in groups[vector]))
        spent = max(cost_of(n.regions[0]) for n in inside) + max(
            (cost_of(r.regions[0]) for r in rows), default=0
        )
        sweep = rows_of_a_turn(spent, [n for loop in inside for n in axes(loop)[1]])
        tail = min(lanes, native) if self.target.masks else 1
        self.nests[node] = Nest(groups, vector, lanes, tail, sweep=sweep)
        self._visit(body, vectorised=True)
        return True

    def _is_long(self, body: Region) -> bool:
        """Whether what loops inside has many more points than a window."""
        sizes = [product(axes(inner)[1]) for inner in scheduled_nodes(body)]
        return any(not isinstance(size, int) or size > LARGEST_WINDOW for size in sizes)

    def _scatter(self, node: Node) -> bool:
        """Schedules the outermost loop as rows that tasks share, if it scatters what lies beside
        each other along its vectors."""
        found = scattering(node)
        if found is None:
            return False
        (variables, extents), body = axes(node), node.regions[0]
        touched = accesses(body, self.expressions, self.inlined)
        groups = collapse(variables, extents, [a.offset for a in touched])
        vector = self._vector_group(node, groups, touched)
        if vector is None or strides_along(body, variables[groups[vector][-1]], touched)[0]:
            return False
        native = self._native(body)
        sizes = [product(extents[axis] for axis in group) for group in groups]
        columns = sizes.pop(vector)
        lanes = self._shortened(4 * native, native, columns)
        tail = min(lanes, native) if self.target.masks else 1
        itemsize = found.store.operands[0].type.dtype.itemsize
        (rows,) = axes(found.copy)[1]
        shared = shared_rows(self.target, rows, columns, product(sizes), itemsize)
        self.nests[node] = Nest(groups, vector, lanes, tail, shared=shared)
        self._visit(body, vectorised=True)
        return True

    def _cut(self, node: Node) -> bool:
        """Schedules the outermost loop as pieces, if it reads other parts of other operands on
        either side of a border."""
        for chosen in cuts(node, self.expressions):
            touched = accesses(node.regions[0], self.expressions)
            groups = cut_groups(node, chosen, self.expressions, touched)
            vector = self._vector_group(node, groups, touched)
            if vector is None or self._tile(node, groups, vector, touched) is not None:
                continue
            native = self._native(node.regions[0])
            if pays(node, chosen, self.expressions, groups[vector], native):
                lanes = self._lanes(node, product(axes(node)[1][axis] for axis in groups[vector]))
                tail = self._tail(node.regions[0], lanes)
                where = tuple(numbers(node, chosen, group) for group in groups)
                self.nests[node] = Nest(groups, vector, lanes, tail, cuts=where)
                return True
        return False

    def _vector_group(
        self, node: Node, groups: Sequence[tuple[int, ...]], found: Sequence[Access]
    ) -> int | None:
        """The group with the fewest accesses that are neither uniform nor contiguous; None where
        it is better to leave the vectors to the loops inside."""
        variables, extents = axes(node)
        body = node.regions[0]
        best: tuple[float, int, int] | None = None
        for position, group in enumerate(groups):
            strided, contiguous, scattered = strides_along(body, variables[group[-1]], found)
            if scattered:
                continue
            extent = product(extents[axis] for axis in group)
            tiny = isinstance(extent, int) and extent < 4
            score = (strided + 2 * tiny, -contiguous, -position)
            if best is None or score < best:
                best = score
        if best is None or _holds_rows(node):
            return None
        strided, contiguous, position = best
        if strided and not self._leaf(body):
            return None
        if strided and not contiguous and not self.target.masks:
            return None
        return -position

    def _merged(
        self,
        body: Region,
        extents: Sequence[Dim],
        groups: Sequence[tuple[int, ...]],
        vector: int,
    ) -> tuple[tuple[tuple[int, ...], ...], int]:
        """The groups with those before a short vectorised one joined to it, until it fills a
        register. Its indices are divisions then, but constants in each lane."""
        native, merged = self._native(body), list(groups)
        while vector > 0:
            extent = product(extents[axis] for axis in merged[vector])
            adjacent = merged[vector - 1][-1] < merged[vector][0]
            if not isinstance(extent, int) or not adjacent:
                break
            if extent >= native or native % max(1, extent):
                break
            merged[vector - 1 : vector + 1] = [merged[vector - 1] + merged[vector]]
            vector -= 1
        return tuple(merged), vector

    def _tile(
        self,
        node: Node,
        groups: Sequence[tuple[int, ...]],
        vector: int,
        found: Sequence[Access],
    ) -> tuple[int, int] | None:
        """A group along which an access is contiguous that is strided along the vector: a
        transposition. A line of the cache holds that many of its points."""
        variables, _ = axes(node)
        across = variables[groups[vector][-1]]
        for access in found:
            if coefficient(access.offset, across) in (0, 1):
                continue
            for position, group in enumerate(groups):
                if position != vector and coefficient(access.offset, variables[group[-1]]) == 1:
                    return position, max(1, LINE // access.node.operands[0].type.dtype.itemsize)
        return None

    def _side(
        self,
        node: Node,
        groups: Sequence[tuple[int, ...]],
        pair: tuple[int, int],
        found: Sequence[Access],
    ) -> int:
        """The side of the squares in which a tile is transposed; 0 where it is not: of bits, of
        what is stored across, too, and of axes that are shorter than a vector."""
        variables, extents = axes(node)
        side = min(self._native(node.regions[0]), MOST_TURNED)
        sizes = [product(extents[axis] for axis in groups[g]) for g in pair]
        if any(isinstance(n, int) and n < side for n in sizes) or len(groups[pair[0]]) > 1:
            return 0
        along, across = (variables[groups[g][-1]] for g in pair)
        for access in found:
            strided = coefficient(access.offset, along) not in (0, 1)
            if strided and (access.writes or coefficient(access.offset, across) != 1):
                return 0
            if strided and access.node.operands[0].type.dtype.kind == "bool":
                return 0
            if strided and access.node not in node.regions[0].nodes:
                return 0
        return side if side > 1 else 0

    def _leaf(self, body: Region) -> bool:
        """Whether what loops inside is too short to be worth vectors."""
        for node in scheduled_nodes(body):
            size = product(axes(node)[1])
            if not isinstance(size, int) or size > SMALL_REDUCTION:
                return False
        return True

    # ------------------------------------------------------------------ vectors

    def _lanes(self, node: Node, extent: Dim) -> int:
        """Lanes of the loop over `extent`: several registers where that hides latency, fewer
        where the extent is short."""
        native = self._native(node.regions[0])
        wide = native if node.op.name == "cumulate" else self._unrolled(node.regions[0])
        if node.op.name == "parallel" and not self._leaf(node.regions[0]):
            wide = self._column_lanes(node.regions[0], native, extent)
        return self._shortened(wide, native, extent)

    def _shortened(self, wide: int, native: int, extent: Dim) -> int:
        """At most `wide` lanes, fewer where the extent is short."""
        if not isinstance(extent, int):
            return wide
        while wide > native and extent < wide:
            wide //= 2
        while wide > 1 and extent <= wide // 2:
            wide //= 2
        if not self.target.masks:
            while wide > max(1, extent):
                wide //= 2
        return wide

    def _tail(self, body: Region, lanes: int) -> int:
        """Lanes of the loop over what fills no vector of `lanes`."""
        return min(lanes, self._native(body)) if self.target.masks else 1

    def _native(self, body: Region) -> int:
        """Lanes of one register of the widest element that is loaded, stored or yielded."""
        lanes = [
            self.target.lanes(value.type.dtype)
            for node in body.walk()
            for value in (*node.operands, *node.results)
            if value.type.dtype.is_float and (value.node is not None)
        ]
        if lanes:
            return min(lanes)
        stored = [n.operands[0].type.dtype for n in body.walk() if n.op.name == "store"]
        stored += [v.type.dtype for v in body.yields]
        return min(map(self.target.lanes, stored), default=1)

    def _unrolled(self, body: Region) -> int:
        """Lanes of a loop over `body` of unknown length: several registers, as far as what is
        live at a time stays in registers."""
        native, cost = self._native(body), cost_of(body)
        live = 2 + len(body.yields) + sum(n.op.name == "load" for n in body.walk())
        most = max(1, self.target.registers // live)
        wanted = 4 if cost <= 6 else 2 if cost <= 24 or self.target.registers >= 32 else 1
        return native * min(wanted, 1 << (most.bit_length() - 1))

    def _column_lanes(self, body: Region, native: int, extent: Dim) -> int:
        """Lanes of columns that are reduced side by side: long pieces of each row, with enough of
        them for all threads."""
        held = max((len(n.operands) for n in body.walk() if n.op.name == "reduce"), default=1)
        if any(n.op.name in ("row", "cumulate") and n not in self.inlined for n in body.walk()):
            return native  # each lane has a row in scratch
        wide = native * max(1, self.target.registers // (4 * held))
        wide = 1 << (wide.bit_length() - 1)
        if isinstance(extent, int):
            while wide > native and extent < wide * 2 * self.target.threads:
                wide //= 2
        return wide


def _holds_rows(node: Node) -> bool:
    """Whether a reduction's accumulators are row-local values: it is run point by point."""
    return node.op.name == "reduce" and any(v.type.shape for v in node.operands)
