"""Split reductions: a long one with few results is cut into blocks, which threads can share.

Before: `%s = launch(%x) {kernel}`, where the kernel folds a million elements to one.
After: a launch that folds each of a fixed number of blocks, and one that folds what these gave (and
what fills no block) and does what the kernel did with it.

The number of blocks follows from the sizes alone, so that results are the same for any number of
threads. Shorter sums also round less.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.access import Expressions, axes, axis_extents, coefficient
from ..ir.builder import Recording
from ..ir.dims import Dim, Slot, of_atom, product
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.kernel import INDEX
from ..ir.types import tensor_type
from .kernel_pieces import Pieces, as_tuple, launched_in_turn
from .rewrite import rewrite

BLOCK = 1 << 15  # elements that are worth a task
MOST = 32  # blocks of one result
FEW = 8  # results that leave threads without work
FEW_COLUMNS = 1024  # the same, where vectors run over them


def split_reductions(graph: Graph) -> Graph:
    """`graph` with its long reductions to few results split; itself where there is none."""
    known: dict[Graph, tuple[Graph, Graph] | None] = {}
    for node in graph.walk():
        kernel = node.attrs["kernel"] if node.op.name == "launch" else None
        if kernel is not None and kernel not in known:
            known[kernel] = _split(kernel)
    if not any(known.values()):
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        halves = known[node.attrs["kernel"]] if node.op.name == "launch" else None
        return None if halves is None else launched_in_turn(node, operands, halves)

    return rewrite(graph, rule, Recording())


def _split(kernel: Graph) -> tuple[Graph, Graph] | None:
    """(the kernel of the blocks, the kernel of the rest); None where `kernel` is left whole.

    Parameters with one name are one buffer.
    """
    outer = [node for node in kernel.nodes if node.regions]
    names = [p.name for p in kernel.params]
    if len(outer) != 1 or outer[0].op.name != "parallel" or len(set(names)) < len(names):
        return None
    (loop,) = outer
    inside = [node for node in loop.regions[0].nodes if node.regions]
    if len(inside) != 1 or inside[0].op.name != "reduce":
        return None
    (reduction,) = inside
    if any(v.type.shape for v in reduction.operands) or any(
        n.regions for n in reduction.regions[0].nodes
    ):
        return None
    extents = reduction.attrs["extents"]
    results, points = product(loop.attrs["extents"]), product(extents)
    if not (isinstance(results, int) and isinstance(points, int)):
        return None
    few = FEW_COLUMNS if _folds_columns(loop, kernel) else FEW
    blocks = min(MOST, results * points // BLOCK, max(extents))
    if not 0 < results <= few or blocks < 2 or points < MOST:
        return None
    return _Halves(kernel, loop, reduction, blocks).made()


def _folds_columns(loop: Node, kernel: Graph) -> bool:
    """Whether results lie beside each other in what is read."""
    expressions = Expressions(axis_extents(kernel))
    last = axes(loop)[0][-1]
    loads = [n for n in loop.regions[0].walk() if n.op.name == "load" and n.operands[0].type.shape]
    return any(coefficient(expressions.offset(n), last) == 1 for n in loads)


class _Halves(Pieces):
    """Writes both kernels. The axis of the reduction that is cut is its longest."""

    def __init__(self, kernel: Graph, loop: Node, reduction: Node, blocks: int) -> None:
        super().__init__(kernel)
        self.loop = loop
        self.reduction = reduction
        self.extents: tuple[int, ...] = reduction.attrs["extents"]
        self.axis = self.extents.index(max(self.extents))
        self.blocks = blocks
        self.size = self.extents[self.axis] // blocks
        self.rest = self.extents[self.axis] - blocks * self.size

    def made(self) -> tuple[Graph, Graph]:
        return self._first(), self._second()

    def _parts(self) -> list[Value]:
        """Buffers for what the blocks give."""
        shape = (self.blocks, *self.loop.attrs["extents"])
        return [
            self.builder.param(tensor_type(v.type.dtype, shape), f"part{number}")
            for number, v in enumerate(self.reduction.results)
        ]

    def _first(self) -> Graph:
        """parallel block, results { reduce the block; store it }"""
        self.begin()
        parts = self._parts()
        needed = self._needed()
        with self.builder:
            self.copy(n for n in self.kernel.nodes if n is not self.loop)
            body = self.loop.regions[0]
            extents = (self.blocks, *self.loop.attrs["extents"])
            with self.builder.region([INDEX] * len(extents)) as opened:
                block, *point = opened.params
                self.new.update(zip(body.params, point, strict=True))
                self.copy(n for n in body.nodes if n in needed)
                found = self._reduced(self.size, block)
                index = self._index(2, [block, *point], extents)
                for part, value in zip(parts, found, strict=True):
                    self.builder.emit(OPS["store"], (part, value, block, *point), {"index": index})
            self._emit("parallel", extents, (opened.closed,))
        return self.finish(f"{self.kernel.name}_blocks", len(parts))

    def _second(self) -> Graph:
        """The kernel as it was, but for what it folds."""
        self.begin()
        parts = self._parts()
        outs = [self.builder.param(p.type, p.name) for p in self.kernel.out_params]
        self.new.update(zip(self.kernel.out_params, outs, strict=True))
        with self.builder:
            self.copy(n for n in self.kernel.nodes if n is not self.loop)
            body = self.loop.regions[0]
            with self.builder.region([p.type for p in body.params]) as opened:
                self.new.update(zip(body.params, opened.params, strict=True))
                for node in body.nodes:
                    if node is not self.reduction:
                        self.copy([node])
                        continue
                    found = self._joined_parts(parts, opened.params)
                    if self.rest:
                        found = self._join(found, self._reduced(self.rest, None))
                    self.new.update(zip(node.results, found, strict=True))
            self._emit("parallel", self.loop.attrs["extents"], (opened.closed,))
        return self.finish(f"{self.kernel.name}_joined", len(outs))

    def _needed(self) -> set[Node]:
        """The nodes of the loop's body on which the reduction depends."""
        used: set[Value] = set(_read(self.reduction))
        found: set[Node] = set()
        for node in reversed(self.loop.regions[0].nodes):
            if node is not self.reduction and any(v in used for v in node.results):
                found.add(node)
                used.update(node.operands)
        return found

    def _reduced(self, size: int, block: Value | None) -> tuple[Value, ...]:
        """The reduction over `size` points of its longest axis: those of a block, or those behind
        all of them."""
        body, combine = self.reduction.regions
        axis = self.axis
        extents = (*self.extents[:axis], size, *self.extents[axis + 1 :])
        with self.builder.region([p.type for p in body.params]) as opened:
            self.new.update(zip(body.params, opened.params, strict=True))
            self.builder.line = self.reduction.line
            inner = opened.params[axis]
            operands = [inner] if block is None else [inner, block]
            start: Dim = self.blocks * self.size
            if block is not None:
                start = of_atom(Slot(1, self.blocks)) * self.size
            expr = start + of_atom(Slot(0, size))
            place = self.builder.emit(OPS["index"], operands, {"expr": expr})
            self.new[body.params[axis]] = place
            self.copy(body.nodes)
            opened.yield_(*(self.new.get(v, v) for v in body.yields))
        return self._fold(extents, opened.closed, combine)

    def _joined_parts(self, parts: Sequence[Value], point: Sequence[Value]) -> tuple[Value, ...]:
        """What the blocks gave, folded."""
        extents = (self.blocks, *self.loop.attrs["extents"])
        with self.builder.region([INDEX]) as opened:
            where = [*opened.params, *point]
            index = self._index(1, where, extents)
            opened.yield_(
                *(self.builder.emit(OPS["load"], (p, *where), {"index": index}) for p in parts)
            )
        return self._fold((self.blocks,), opened.closed, self.reduction.regions[1])

    def _fold(self, extents: Sequence[int], body: Region, combine: Region) -> tuple[Value, ...]:
        with self.builder.region([p.type for p in combine.params]) as opened:
            self.new.update(zip(combine.params, opened.params, strict=True))
            self.copy(combine.nodes)
            opened.yield_(*(self.new[v] for v in combine.yields))
        start = [self.new[v] for v in self.reduction.operands]
        return self._emit("reduce", extents, (body, opened.closed), start)

    def _join(self, left: Sequence[Value], right: Sequence[Value]) -> tuple[Value, ...]:
        combine = self.reduction.regions[1]
        self.new.update(zip(combine.params, (*left, *right), strict=True))
        self.copy(combine.nodes)
        return tuple(self.new[v] for v in combine.yields)

    def _emit(
        self,
        name: str,
        extents: Sequence[Dim],
        regions: tuple[Region, ...],
        operands: Sequence[Value] = (),
    ) -> tuple[Value, ...]:
        attrs = {"extents": tuple(extents)}
        self.builder.line = self.reduction.line
        return as_tuple(self.builder.emit(OPS[name], operands, attrs, regions))

    @staticmethod
    def _index(first: int, values: Sequence[Value], extents: Sequence[Dim]) -> tuple[Dim, ...]:
        """One slot for each of the values, the operands from number `first` on."""
        return tuple(
            0 if n == 1 else of_atom(Slot(first + number, n))
            for number, (_, n) in enumerate(zip(values, extents, strict=True))
        )


def _read(node: Node) -> list[Value]:
    inside = [v for region in node.regions for n in region.walk() for v in n.operands]
    return [*node.operands, *inside, *(v for region in node.regions for v in region.yields)]
