"""Decides how a kernel becomes programs that work on blocks, for a GPU.

Before: a kernel with named axes. After: the same kernel and a `BlockSchedule`. The decision reads
the kernel's accesses and the target's description alone; any extent may be symbolic.
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
from ..ir.block_schedule import BlockNest, BlockSchedule, grid_node
from ..ir.dims import Dim, product
from ..ir.gpu_target import GpuTarget
from ..ir.graph import Graph, Node
from ..ir.kernel_symbols import kernel_symbols
from ..ir.numerics import EXACT, Numerics
from ..ir.ops.attend import AXES
from ..ir.schedule import scheduled_nodes
from .schedule_blocks_attend import schedule_attend_blocks
from .schedule_blocks_contract import schedule_contract_blocks

LOOP = 1024  # elements of a block of a loop: 8 of a thread, which fill two accesses of 16 bytes
LONGEST_ROW = 16384  # elements of a row that is kept in registers
WALKED = 2048  # elements of a block of longer rows
SHORT = 32  # points of an inner node that are walked one at a time
ARRANGED = 128  # elements of a row that is put in order, of a warp: 4 of a thread
COLUMNS, ROWS = 64, 32  # of a block that folds rows to columns
SIDE = 32  # of a block in which what is contiguous changes
LOOPS = ("parallel", "reduce", "row", "cumulate", "arrange")
WIDE = 1 << 31  # elements of a buffer whose offsets need more than 32 bits


def schedule_blocks(kernel: Graph, target: GpuTarget, numerics: Numerics = EXACT) -> BlockSchedule:
    """The schedule of `kernel` for `target`."""
    return _Scheduler(kernel, target, numerics).run()


class _Scheduler:
    def __init__(self, kernel: Graph, target: GpuTarget, numerics: Numerics) -> None:
        self.kernel = kernel
        self.target = target
        self.numerics = numerics
        self.expressions = Expressions(axis_extents(kernel))
        self.nests: dict[Node, BlockNest] = {}
        self.elements = LOOP  # of a block, in the largest nest
        self.warps: int | None = None  # where a nest asks for a number
        self.stages = 1

    def run(self) -> BlockSchedule:
        outer = grid_node(self.kernel)
        for node in self.kernel.nodes:
            if node is outer:
                self._grid(node)
            elif node.regions:
                self._inside(node, WALKED, whole=False)
        nests = tuple(self.nests[node] for node in scheduled_nodes(self.kernel))
        warps = self.warps or min(32, max(4, self.elements // 512))
        return BlockSchedule(nests, warps, self.stages, self._wide())

    def _wide(self) -> bool:
        if kernel_symbols(self.kernel):
            return True
        sizes = [product(p.type.shape) for p in self.kernel.params]
        return any(isinstance(n, int) and n >= WIDE for n in sizes)

    # ------------------------------------------------------------------ the grid

    def _grid(self, node: Node) -> None:
        """The outermost node: a loop, or rows or columns that programs fold."""
        if node.op.name == "many":
            self.nests[node] = BlockNest(((0,),), (LOOP,))
            return
        if node.op.name == "contract":
            tiles, self.warps, self.stages = schedule_contract_blocks(
                node, self.target, self.numerics
            )
            self.nests[node] = BlockNest(contract=tiles)
            for region in node.regions:
                for inner in region.nodes:
                    self._one_by_one(inner)
            return
        if node.op.name in AXES:
            blocks, self.warps = schedule_attend_blocks(node, self.numerics)
            self.nests[node] = BlockNest(attend=blocks)
            return
        if node.op.name != "parallel":
            raise NotImplementedError(f"the GPU backend has no kernels with the op {node.op.name}")
        inside = list(scheduled_nodes(node.regions[0]))
        longest = max((_size(n) for n in inside), default=0)
        points = product(axes(node)[1])
        few = isinstance(points, int) and points <= SHORT < points * longest
        names = {n.op.name for n in inside}
        if longest <= SHORT and not few and names.isdisjoint(("cumulate", "arrange")):
            self._loop(node)
            for inner in node.regions[0].nodes:
                self._one_by_one(inner)
        elif "arrange" not in names and self._folds_columns(node):
            self._columns(node)
        else:
            self._rows(node, longest)

    def _groups(self, node: Node) -> tuple[tuple[int, ...], ...]:
        variables, extents = axes(node)
        found = self._accesses(node)
        dims = [a.offset for a in found] + list(index_uses(node.regions[0], self.expressions))
        return collapse(variables, extents, dims)

    def _accesses(self, node: Node) -> list[Access]:
        rows = {n for n in node.regions[0].walk() if n.op.name == "row"}
        return accesses(node.regions[0], self.expressions, rows)

    def _loop(self, node: Node) -> None:
        groups, extents = self._groups(node), axes(node)[1]
        pair = self._turned(node, groups)
        if pair is not None:
            block = tuple(SIDE if g in pair else 1 for g in range(len(groups)))
            self.nests[node] = BlockNest(groups, block)
            return
        last = product(extents[a] for a in groups[-1]) if groups else 1
        if len(groups) > 1 and isinstance(last, int) and last < LOOP // 4:
            groups = (tuple(a for group in groups for a in group),)
            last = product(extents[a] for a in groups[0])
        size = min(LOOP, _power(last)) if isinstance(last, int) else LOOP
        block = (1,) * (len(groups) - 1) + (size,) if groups else ()
        self.nests[node] = BlockNest(groups, block)

    def _turned(self, node: Node, groups: Sequence[tuple[int, ...]]) -> tuple[int, int] | None:
        """The last group and another one along which an access is contiguous that is not along
        the last: what is contiguous is turned in a block of both."""
        variables, extents = axes(node)
        if len(groups) < 2 or _one(product(extents[a] for a in groups[-1]), SIDE):
            return None
        along = variables[groups[-1][-1]]
        for access in self._accesses(node):
            if coefficient(access.offset, along) in (0, 1):
                continue
            for position, group in enumerate(groups[:-1]):
                size = product(extents[a] for a in group)
                if coefficient(access.offset, variables[group[-1]]) == 1 and not _one(size, SIDE):
                    return position, len(groups) - 1
        return None

    # ------------------------------------------------------------------ rows and columns

    def _folds_columns(self, node: Node) -> bool:
        """Whether what is read inside lies contiguous along the outer axes, not the inner ones."""
        variables, _ = axes(node)
        groups = self._groups(node)
        if not groups:
            return False
        outer = variables[groups[-1][-1]]
        along, across = 0, 0
        for inner in node.regions[0].nodes:
            if not inner.regions:
                continue
            params, extents = axes(inner)
            last = [p for p, n in zip(params, extents, strict=True) if n != 1]
            for access in self._accesses(inner):
                across += coefficient(access.offset, outer) == 1
                along += bool(last) and coefficient(access.offset, last[-1]) == 1
        return across > along

    def _columns(self, node: Node) -> None:
        groups, extents = self._groups(node), axes(node)[1]
        last = product(extents[a] for a in groups[-1])
        size = min(COLUMNS, _power(last)) if isinstance(last, int) else COLUMNS
        self.nests[node] = BlockNest(groups, (1,) * (len(groups) - 1) + (size,))
        self.elements = max(self.elements, size * ROWS)
        for inner in node.regions[0].nodes:
            self._inside(inner, ROWS, whole=False)

    def _rows(self, node: Node, longest: int) -> None:
        groups, extents = self._groups(node), axes(node)[1]
        whole = longest <= LONGEST_ROW
        size = _power(longest) if whole else WALKED
        rows = 1
        if whole and size < LOOP and groups:
            last = product(extents[a] for a in groups[-1])
            most = _power(last) if isinstance(last, int) else LOOP
            rows = min(LOOP // size, most)
        self.nests[node] = BlockNest(groups, (1,) * (len(groups) - 1) + (rows,) * bool(groups))
        self.elements = max(self.elements, rows * size)
        if any(n.op.name == "arrange" for n in scheduled_nodes(node.regions[0])):
            self.warps = min(32, max(4, rows * size // ARRANGED))
        for inner in node.regions[0].nodes:
            self._inside(inner, size, whole)

    def _inside(self, node: Node, size: int, whole: bool) -> None:
        """A node inside of a program: in one block of `size` where that is `whole`, else in a walk
        over blocks. What is inside of it in turn is walked one by one."""
        if node in self.nests or not node.regions:
            return
        if node.op.name not in LOOPS:
            for inner in node.regions[0].nodes:
                self._inside(inner, size, whole)
            return
        group = tuple(a for a, n in enumerate(axes(node)[1]) if n != 1)
        extent = product(axes(node)[1])
        keep = node.op.name == "row" and whole
        if not group:
            self.nests[node] = BlockNest(keep=False)
        else:
            self.nests[node] = BlockNest((group,), (size,), walk=not whole, keep=keep)
        if whole and group and isinstance(extent, int) and _power(extent) < size:
            self.nests[node] = BlockNest((group,), (_power(extent),), keep=keep)
        for region in node.regions[:1]:
            for inner in region.nodes:
                self._one_by_one(inner)

    def _one_by_one(self, node: Node) -> None:
        """A node whose points follow each other, each for all elements of the block around."""
        if node in self.nests or not node.regions:
            return
        if node.op.name in LOOPS:
            group = tuple(a for a, n in enumerate(axes(node)[1]) if n != 1)
            self.nests[node] = BlockNest((group,), (1,), walk=True) if group else BlockNest()
        for inner in node.regions[0].nodes:
            self._one_by_one(inner)


def _size(node: Node) -> int:
    """The points of a node; very many where they are not known."""
    size = product(axes(node)[1])
    return size if isinstance(size, int) else WIDE


def _power(count: int) -> int:
    """The least power of two that is not below `count`."""
    return 1 << max(0, count - 1).bit_length()


def _one(size: Dim, least: int) -> bool:
    return isinstance(size, int) and size < least
