"""Folds over rows are taken while the rows are computed.

Before: `%y, %t = launch(%x, %g) {rows}` and `%s = launch(%t) {sums of columns}`, as the gradient of
a layer norm's scale is one.
After: the kernel of the rows joins each element to the part of its rows, by `atomic`s of which
those of one task meet, and the other kernel folds the parts. What only it read is never stored.

How many rows make a part follows from the sizes alone, so that results are the same for any number
of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..ir.access import axes
from ..ir.builder import Recording
from ..ir.dims import Dim, Slot, of_atom, product
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.kernel import INDEX
from ..ir.types import TensorType, tensor_type
from .kernel_pieces import as_tuple
from .rewrite import rewrite
from .row_folds import Fold, Plan, others_params, plans_of

PARTS = 32  # of many rows, as long as none is longer than
LONGEST = 512  # rows: the rounding error of a sum grows with them
SHORTEST = 16


def fold_in_rows(graph: Graph) -> Graph:
    """`graph` with its folds of columns where their rows are computed; itself without any."""
    plans: dict[Node, Plan] = {}
    for region in _regions(graph):
        for plan in plans_of(region):
            plans.update(dict.fromkeys((plan.node, *(f.node for f in plan.folds)), plan))
    if not plans:
        return graph
    made: dict[tuple, tuple[Graph, list[Graph]]] = {}
    parts: dict[Node, Value] = {}

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        plan = plans.get(node)
        if plan is None:
            return None
        if plan.key not in made:
            made[plan.key] = _Writer(plan).kernels()
        first, seconds = made[plan.key]
        if node is plan.node:
            found = as_tuple(node.op(*operands, kernel=first))
            given = iter(found)
            count = len(found) - len(plan.folds)
            parts.update(zip((f.node for f in plan.folds), found[count:], strict=True))
            # Of what is no longer stored nothing reads the value that stands here.
            return tuple(found[-1] if k in plan.dropped else next(given) for k in plan.results)
        number = [f.node for f in plan.folds].index(node)
        names = dict(zip((p.name for p in node.attrs["kernel"].inputs), operands, strict=True))
        names[seconds[number].inputs[0].name] = parts[node]
        return as_tuple(
            node.op(*(names[p.name] for p in seconds[number].inputs), kernel=seconds[number])
        )

    return rewrite(graph, rule, Recording())


def _regions(graph: Graph) -> Iterable[Region]:
    """The program, and the regions of its loops and branches."""
    yield graph
    for node in graph.walk():
        if node.op.name != "launch":
            yield from node.regions


def _rows_of_a_part(rows: Dim) -> int:
    if not isinstance(rows, int):
        return 2 * PARTS
    return min(LONGEST, max(SHORTEST, rows // PARTS))


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.kernel = plan.rows.kernel
        self.outer, self.inner = plan.rows.outer, plan.rows.inner
        self.rows = product(self.outer.attrs["extents"])
        self.columns = product(self.inner.attrs["extents"])
        self.size = _rows_of_a_part(self.rows)
        self.count = (self.rows + self.size - 1) // self.size
        self.stored = plan.rows.stored()
        self.skipped = {self.stored[k] for k in plan.dropped}
        self.parts: list[Value] = []
        self.builder = Recording()
        self.new: dict[Value, Value] = {}

    def kernels(self) -> tuple[Graph, list[Graph]]:
        """The kernel of the rows, and those that fold its parts."""
        return self._first(), [self._second(k) for k in range(len(self.plan.folds))]

    def _first(self) -> Graph:
        builder = self.builder
        for param in self.kernel.inputs:
            self.new[param] = builder.param(param.type, param.name)
        for number, out in enumerate(self.kernel.out_params):
            if number not in self.plan.dropped:
                self.new[out] = builder.param(out.type, out.name)
        names = {p.name for p in self.kernel.params}
        for number, fold in enumerate(self.plan.folds):
            (part,) = fold.reduction.operands
            name = _fresh(f"part{number}", names)
            self.parts.append(builder.param(self._part_type(part), name))
        with builder:
            self._copy(self.kernel.nodes)
        outs = len(self.kernel.out_params) - len(self.plan.dropped) + len(self.parts)
        return builder.finish(f"{self.kernel.name}_folding", level="kernel", outs=outs)

    def _part_type(self, value: Value) -> TensorType:
        return tensor_type(value.type.dtype, (self.count, self.columns))

    def _copy(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node in self.skipped:
                continue
            regions = tuple(self._copied(node, region) for region in node.regions)
            self.builder.line = node.line
            operands = [self.new[v] for v in node.operands]
            results = as_tuple(self.builder.emit(node.op, operands, node.attrs, regions))
            self.new.update(zip(node.results, results, strict=True))

    def _copied(self, node: Node, region: Region) -> Region:
        with self.builder.region([p.type for p in region.params]) as opened:
            self.new.update(zip(region.params, opened.params, strict=True))
            if node is not self.inner:
                self._copy(region.nodes)
            else:
                # Elements are read before anything is stored: a result may lie where they do.
                self._copy(n for n in region.nodes if n.op.name != "store")
                for fold, part in zip(self.plan.folds, self.parts, strict=True):
                    self._join(fold, part)
                self._copy(n for n in region.nodes if n.op.name == "store")
            opened.yield_(*(self.new[v] for v in region.yields))
        return opened.closed

    def _join(self, fold: Fold, part: Value) -> None:
        """The element of a fold, joined to the part of its row."""
        sources, new = dict(fold.sources), dict[Value, Value]()
        read = {v for node in fold.reduction.regions[0].nodes for v in node.operands}
        for node in fold.node.attrs["kernel"].walk():
            if node.op.name == "constant" and node.results[0] in read:
                new.update(zip(node.results, [self._emit(node, ())], strict=True))
        for node in fold.reduction.regions[0].nodes:
            if node.op.name in ("index", "constant"):
                continue
            if node.op.name == "load":
                found = self._source(sources[node.operands[0]])
            else:
                found = self._emit(node, [new[v] for v in node.operands])
            new[node.results[0]] = found
        element = new[fold.reduction.regions[0].yields[0]]
        axes_, row, column = self._point(2)
        combine = fold.reduction.regions[1].nodes[0].op.name
        attrs = {"index": (row // self.size, column), "combine": combine}
        self.builder.line = fold.reduction.line
        self.builder.emit(OPS["atomic"], (part, element, *axes_), attrs)

    def _emit(self, node: Node, operands: Sequence[Value]) -> Value:
        self.builder.line = node.line
        found: Value = self.builder.emit(node.op, operands, node.attrs)
        return found

    def _source(self, number: int) -> Value:
        """What the kernel stores in result ~number at a point, or operand `number` there."""
        if number < 0:
            return self.new[self.stored[~number].operands[1]]
        buffer = self.new[self.kernel.inputs[number]]
        axes_, row, column = self._point(1)
        rest = row * self.columns + column
        index: list[Dim] = []
        for extent in reversed(buffer.type.shape[1:]):
            index.insert(0, rest % extent)
            rest = rest // extent
        attrs = {"index": (rest, *index)}
        found: Value = self.builder.emit(OPS["load"], (buffer, *axes_), attrs)
        return found

    def _point(self, first: int) -> tuple[list[Value], Dim, Dim]:
        """(axes of the rows and columns, number of the row, of the column) over slots."""
        numbers: list[Dim] = []
        values: list[Value] = []
        for node in (self.outer, self.inner):
            flat: Dim = 0
            for axis, extent in zip(*axes(node), strict=True):
                place: Dim = 0
                if extent != 1:
                    place = of_atom(Slot(first + len(values), extent))
                    values.append(self.new[axis])
                flat = flat * extent + place
            numbers.append(flat)
        return values, numbers[0], numbers[1]

    def _second(self, number: int) -> Graph:
        """The kernel of a fold, over the parts."""
        fold = self.plan.folds[number]
        kernel = fold.node.attrs["kernel"]
        self.builder, self.new = Recording(), {}
        (start,) = fold.reduction.operands
        name = _fresh("part", {p.name for p in kernel.params})
        part = self.builder.param(self._part_type(start), name)
        used = others_params(fold)
        for param in kernel.params:
            if param in used or param in kernel.out_params:
                self.new[param] = self.builder.param(param.type, param.name)
        with self.builder:
            for node in kernel.nodes:
                if node is not fold.loop:
                    self._copy([node])
                    continue
                with self.builder.region([p.type for p in node.regions[0].params]) as opened:
                    self.new.update(zip(node.regions[0].params, opened.params, strict=True))
                    for inner in node.regions[0].nodes:
                        if inner is fold.reduction:
                            self._fold_parts(fold, part)
                        else:
                            self._copy([inner])
                self.builder.emit(node.op, (), node.attrs, (opened.closed,))
        return self.builder.finish(f"{kernel.name}_folded", level="kernel", outs=kernel.outs)

    def _fold_parts(self, fold: Fold, part: Value) -> None:
        extents = (self.count, self.columns) if fold.whole else (self.count,)
        with self.builder.region([INDEX] * len(extents)) as opened:
            values = list(opened.params)
            index: Dim = of_atom(Slot(2, self.columns)) if fold.whole else 0
            for axis, extent in zip(*axes(fold.loop), strict=True):
                place: Dim = 0
                if extent != 1:
                    values.append(self.new[axis])
                    place = of_atom(Slot(len(values), extent))
                index = index * extent + place
            place = of_atom(Slot(1, self.count))
            attrs: dict[str, Any] = {"index": (place, index)}
            opened.yield_(self.builder.emit(OPS["load"], (part, *values), attrs))
        combine = fold.reduction.regions[1]
        with self.builder.region([p.type for p in combine.params]) as joined:
            self.new.update(zip(combine.params, joined.params, strict=True))
            self._copy(combine.nodes)
            joined.yield_(*(self.new[v] for v in combine.yields))
        self.builder.line = fold.reduction.line
        start = [self.new[v] for v in fold.reduction.operands]
        attrs = {"extents": extents}
        regions = (opened.closed, joined.closed)
        found = self.builder.emit(fold.reduction.op, start, attrs, regions)
        self.new[fold.reduction.results[0]] = found


def _fresh(name: str, taken: set[str | None]) -> str:
    while name in taken:
        name += "_"
    return name
