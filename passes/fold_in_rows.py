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
from dataclasses import dataclass
from typing import Any

from ..ir.access import Expressions, axes, axis_extents
from ..ir.builder import Recording
from ..ir.dims import Dim, Slot, of_atom, product
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.base import Kind
from ..ir.ops.kernel import INDEX
from ..ir.parts import flat_number
from ..ir.sugar import NEUTRAL
from ..ir.types import TensorType, tensor_type
from .rewrite import rewrite

NARROWEST = 64  # columns that are worth a loop of vectors for each row
FEWEST = 64  # rows
PARTS = 32  # of many rows, as long as none is longer than
LONGEST = 512  # rows: the rounding error of a sum grows with them
SHORTEST = 16


def fold_in_rows(graph: Graph) -> Graph:
    """`graph` with its folds of columns where their rows are computed; itself without any."""
    plans: dict[Node, _Plan] = {}
    for region in _regions(graph):
        for plan in _plans(region):
            plans.update(dict.fromkeys((plan.rows, *(f.node for f in plan.folds)), plan))
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
        if node is plan.rows:
            found = _tuple(node.op(*operands, kernel=first))
            given = iter(found)
            count = len(found) - len(plan.folds)
            parts.update(zip((f.node for f in plan.folds), found[count:], strict=True))
            # Of what is no longer stored nothing reads the value that stands here.
            return tuple(found[-1] if k in plan.dropped else next(given) for k in plan.results)
        number = [f.node for f in plan.folds].index(node)
        names = dict(zip((p.name for p in node.attrs["kernel"].inputs), operands, strict=True))
        names[seconds[number].inputs[0].name] = parts[node]
        return _tuple(
            node.op(*(names[p.name] for p in seconds[number].inputs), kernel=seconds[number])
        )

    return rewrite(graph, rule, Recording())


def _regions(graph: Graph) -> Iterable[Region]:
    """The program, and the regions of its loops and branches."""
    yield graph
    for node in graph.walk():
        if node.op.name != "launch":
            yield from node.regions


def _tuple(found: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return (found,) if isinstance(found, Value) else found


# What is folded where ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fold:
    """A launch whose kernel folds columns: its outer loop, the reduction, and for each parameter
    that this loads, the operand (non-negative) or result (~number) of the rows' launch."""

    node: Node
    loop: Node
    reduction: Node
    sources: tuple[tuple[Value, int], ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A launch of rows and the folds that it takes over.

    Attributes:
        inner: the loop over the columns of a row at whose points elements are joined.
        dropped: numbers of the results that nothing else reads.
    """

    rows: Node
    inner: Node
    folds: tuple[_Fold, ...]
    dropped: frozenset[int]

    @property
    def results(self) -> range:
        return range(len(self.rows.results))

    @property
    def key(self) -> tuple:
        folds = tuple((f.node.attrs["kernel"], tuple(k for _, k in f.sources)) for f in self.folds)
        return self.rows.attrs["kernel"], folds, self.dropped


def _plans(region: Region) -> list[_Plan]:
    """The folds of a region; each launch is part of one at most."""
    readers: dict[Value, list[Node]] = {}
    for node in region.nodes:
        for value in dict.fromkeys((*node.operands, *_inside(node))):
            readers.setdefault(value, []).append(node)
    position = {node: k for k, node in enumerate(region.nodes)}
    taken: set[Node] = set()
    found: list[_Plan] = []
    for node in region.nodes:
        inner = _inner_loop(node) if node not in taken else None
        if inner is None:
            continue
        reading = {r for v in (*node.operands, *node.results) for r in readers.get(v, ())}
        later = sorted(
            (r for r in reading if position[r] > position[node]), key=position.__getitem__
        )
        folds = [f for r in later if r not in taken for f in _folds(r, node, inner)]
        if not folds:
            continue
        folding = {f.node for f in folds}
        taken |= folding | {node}
        dropped = frozenset(
            k for k, v in enumerate(node.results)
            if v not in region.yields and set(readers.get(v, ())) <= folding
            and all(v not in _others(f) for f in folds)
        )  # fmt: skip
        found.append(_Plan(node, inner, tuple(folds), dropped))
    return found


def _inside(node: Node) -> list[Value]:
    inside = [n for region in node.regions for n in region.walk()]
    return [v for n in inside for v in n.operands]


def _others(fold: _Fold) -> set[Value]:
    """What a fold reads elsewhere than in its reduction."""
    used, inputs = _others_params(fold), fold.node.attrs["kernel"].inputs
    return {o for p, o in zip(inputs, fold.node.operands, strict=True) if p in used}


def _single_loop(node: Node) -> Node | None:
    """The one outermost loop of a launched kernel, if that is a `parallel`."""
    if node.op.name != "launch" or node.attrs.get("schedule") is not None:
        return None
    kernel = node.attrs["kernel"]
    names = [p.name for p in kernel.params]
    loops = [n for n in kernel.nodes if n.regions]
    if len(loops) != 1 or loops[0].op.name != "parallel" or len(set(names)) < len(names):
        return None
    return None if any(n.op.name in ("atomic", "for") for n in kernel.walk()) else loops[0]


def _inner_loop(node: Node) -> Node | None:
    """The last loop over the columns of a row, of a kernel that reduces long rows."""
    loop = _single_loop(node)
    if loop is None or not any(n.op.name == "reduce" for n in loop.regions[0].nodes):
        return None
    rows = product(loop.attrs["extents"])
    inner = [n for n in loop.regions[0].nodes if n.op.name == "parallel"]
    if not inner or any(n.regions for n in inner[-1].regions[0].nodes):
        return None
    columns = product(inner[-1].attrs["extents"])
    if isinstance(rows, int) and rows < FEWEST:
        return None
    return None if isinstance(columns, int) and columns < NARROWEST else inner[-1]


def _folds(node: Node, rows: Node, inner: Node) -> list[_Fold]:
    """`node` as a fold of what the launch `rows` reads or stores at the points of `inner`."""
    loop = _single_loop(node)
    if loop is None:
        return []
    inside = [n for n in loop.regions[0].nodes if n.regions]
    if [n.op.name for n in inside] != ["reduce"] or len(inside[0].results) != 1:
        return []
    (reduction,) = inside
    outer = _single_loop(rows)
    assert outer is not None
    same = product(reduction.attrs["extents"]) == product(outer.attrs["extents"])
    columns = product(inner.attrs["extents"])
    if not same or product(loop.attrs["extents"]) != columns or not _is_plain(node, reduction):
        return []
    expressions = Expressions(axis_extents(node.attrs["kernel"]))
    where = flat_number(reduction) * columns + flat_number(loop)
    operands = dict(zip(node.attrs["kernel"].inputs, node.operands, strict=True))
    stored = _stored(rows, outer, inner)
    sources: dict[Value, int] = {}
    for load in (n for n in reduction.regions[0].nodes if n.op.name == "load"):
        value = operands.get(load.operands[0])
        if value is None or load.attrs.get("guarded") or expressions.offset(load) != where:
            return []
        if value in rows.operands:
            sources[load.operands[0]] = rows.operands.index(value)
        elif value in rows.results and rows.results.index(value) in stored:
            sources[load.operands[0]] = ~rows.results.index(value)
        else:
            return []
    return [_Fold(node, loop, reduction, tuple(sources.items()))] if sources else []


def _is_plain(node: Node, reduction: Node) -> bool:
    """Whether the elements are made of loads and constants alone, and one op joins two."""
    body, combine = reduction.regions
    if any(v.type.shape for v in reduction.operands) or len(combine.nodes) != 1:
        return False
    (join,) = combine.nodes
    if join.op.name not in NEUTRAL or set(join.operands) != set(combine.params):
        return False
    made = {n.results[0] for n in body.nodes}
    made |= {n.results[0] for n in node.attrs["kernel"].walk() if n.op.name == "constant"}
    for inner in body.nodes:
        if inner.op.name in ("load", "index", "constant"):
            continue
        if inner.op.kind is not Kind.ELEMENTWISE or any(v not in made for v in inner.operands):
            return False
        if any(v.node is not None and v.node.op.name == "index" for v in inner.operands):
            return False
    return combine.yields == join.results and body.yields[0] in made


def _stored(rows: Node, outer: Node, inner: Node) -> dict[int, Node]:
    """Of the results that are stored point by point in `inner`, the stores."""
    kernel = rows.attrs["kernel"]
    expressions = Expressions(axis_extents(kernel))
    where = flat_number(outer) * product(inner.attrs["extents"]) + flat_number(inner)
    stores = [n for n in kernel.walk() if n.op.name == "store"]
    found: dict[int, Node] = {}
    for number, out in enumerate(kernel.out_params):
        mine = [n for n in stores if n.operands[0] is out]
        if len(mine) != 1 or mine[0] not in inner.regions[0].nodes or mine[0].attrs.get("guarded"):
            continue
        if expressions.offset(mine[0]) == where:
            found[number] = mine[0]
    return found


def _rows_of_a_part(rows: Dim) -> int:
    if not isinstance(rows, int):
        return 2 * PARTS
    return min(LONGEST, max(SHORTEST, rows // PARTS))


# Both kernels -----------------------------------------------------------------------------------


class _Writer:
    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.kernel = plan.rows.attrs["kernel"]
        outer = _single_loop(plan.rows)
        assert outer is not None
        self.outer = outer
        self.rows = product(outer.attrs["extents"])
        self.columns = product(plan.inner.attrs["extents"])
        self.size = _rows_of_a_part(self.rows)
        self.count = (self.rows + self.size - 1) // self.size
        self.stored = _stored(plan.rows, outer, plan.inner)
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
            results = _tuple(self.builder.emit(node.op, operands, node.attrs, regions))
            self.new.update(zip(node.results, results, strict=True))

    def _copied(self, node: Node, region: Region) -> Region:
        with self.builder.region([p.type for p in region.params]) as opened:
            self.new.update(zip(region.params, opened.params, strict=True))
            self._copy(region.nodes)
            if node is self.plan.inner:
                for fold, part in zip(self.plan.folds, self.parts, strict=True):
                    self._join(fold, part)
            opened.yield_(*(self.new[v] for v in region.yields))
        return opened.closed

    def _join(self, fold: _Fold, part: Value) -> None:
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
        for node in (self.outer, self.plan.inner):
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
        used = _others_params(fold)
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

    def _fold_parts(self, fold: _Fold, part: Value) -> None:
        with self.builder.region([INDEX]) as opened:
            values = [opened.params[0]]
            index: Dim = 0
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
        attrs = {"extents": (self.count,)}
        regions = (opened.closed, joined.closed)
        found = self.builder.emit(fold.reduction.op, start, attrs, regions)
        self.new[fold.reduction.results[0]] = found


def _others_params(fold: _Fold) -> set[Value]:
    """The buffers that a fold reads elsewhere than in its reduction."""
    kernel = fold.node.attrs["kernel"]
    within = {n for region in fold.reduction.regions for n in region.walk()}
    return {v for n in kernel.walk() if n not in within for v in n.operands}


def _fresh(name: str, taken: set[str | None]) -> str:
    while name in taken:
        name += "_"
    return name
