"""Which kernels fold columns, or all, of what another reads or stores at the points of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.access import Expressions, axis_extents
from ..ir.dims import Dim, product
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.base import Kind
from ..ir.ops.kernel import INDEX
from ..ir.parts import flat_number
from ..ir.sugar import NEUTRAL
from .kernel_pieces import Pieces

NARROWEST = 64  # columns that are worth a loop of vectors for each row
FEWEST = 64  # rows
WIDEST = 1 << 13  # columns of a row that is cut off a loop: its part stays in the cache


@dataclass(frozen=True, slots=True)
class Fold:
    """A launch whose kernel folds columns: its outer loop, the reduction, and for each parameter
    that this loads, the operand (non-negative) or result (~number) of the rows' launch.

    Attributes:
        whole: all columns are folded to one result.
    """

    node: Node
    loop: Node
    reduction: Node
    sources: tuple[tuple[Value, int], ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """A kernel of rows.

    Attributes:
        outer: the loop over them.
        inner: the last loop over the columns of a row, at whose points elements are joined.
    """

    kernel: Graph
    outer: Node
    inner: Node

    def stored(self) -> dict[int, Node]:
        """Of the results that are stored point by point in `inner`, the stores."""
        expressions = Expressions(axis_extents(self.kernel))
        columns = product(self.inner.attrs["extents"])
        where = flat_number(self.outer) * columns + flat_number(self.inner)
        stores = [n for n in self.kernel.walk() if n.op.name == "store"]
        found: dict[int, Node] = {}
        for number, out in enumerate(self.kernel.out_params):
            mine = [n for n in stores if n.operands[0] is out]
            if len(mine) != 1 or mine[0] not in self.inner.regions[0].nodes:
                continue
            if not mine[0].attrs.get("guarded") and expressions.offset(mine[0]) == where:
                found[number] = mine[0]
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """A launch of rows and the folds that it takes over.

    Attributes:
        rows: what it launches, if need be with its loop cut into rows and columns.
        dropped: numbers of the results that nothing else reads.
    """

    node: Node
    rows: Rows
    folds: tuple[Fold, ...]
    dropped: frozenset[int]

    @property
    def results(self) -> range:
        return range(len(self.node.results))

    @property
    def key(self) -> tuple:
        folds = tuple((f.node.attrs["kernel"], tuple(k for _, k in f.sources)) for f in self.folds)
        return self.rows.kernel, folds, self.dropped


def plans_of(region: Region) -> list[Plan]:
    """The folds of a region; each launch is part of one at most."""
    readers: dict[Value, list[Node]] = {}
    for node in region.nodes:
        for value in dict.fromkeys((*node.operands, *_inside(node))):
            readers.setdefault(value, []).append(node)
    folding: dict[Value, list[Node]] = {}  # of the readers those that do nothing but fold
    for node in region.nodes:
        if _folding(node) is not None:
            for value in dict.fromkeys(node.operands):
                folding.setdefault(value, []).append(node)
    position = {node: k for k, node in enumerate(region.nodes)}
    known: dict[Graph, list[Rows]] = {}
    taken: set[Node] = set()
    found: list[Plan] = []
    for node in region.nodes:
        if node in taken or single_loop(node) is None:
            continue
        reading = {r for v in (*node.operands, *node.results) for r in folding.get(v, ())}
        later = sorted(
            (r for r in reading if position[r] > position[node] and r not in taken),
            key=position.__getitem__,
        )
        if not later:
            continue
        kernel = node.attrs["kernel"]
        if kernel not in known:
            known[kernel] = _ways(node)
        rows, folds = _most_folds(known[kernel], node, later)
        if rows is None:
            continue
        joined = {f.node for f in folds}
        taken |= joined | {node}
        dropped = frozenset(
            k for k, v in enumerate(node.results)
            if v not in region.yields and set(readers.get(v, ())) <= joined
            and all(v not in _others(f) for f in folds)
        )  # fmt: skip
        found.append(Plan(node, rows, tuple(folds), dropped))
    return found


def _most_folds(
    ways: Sequence[Rows], node: Node, later: Sequence[Node]
) -> tuple[Rows | None, list[Fold]]:
    """The way to see the launch `node` as rows that takes over the most folds, and these."""
    best: tuple[Rows | None, list[Fold]] = None, []
    for rows in ways:
        folds = [f for r in later for f in _folds(r, node, rows)]
        if len(folds) > len(best[1]):
            best = rows, folds
    return best


def _inside(node: Node) -> list[Value]:
    inside = [n for region in node.regions for n in region.walk()]
    return [v for n in inside for v in n.operands]


def _others(fold: Fold) -> set[Value]:
    """What a fold reads elsewhere than in its reduction."""
    used, inputs = others_params(fold), fold.node.attrs["kernel"].inputs
    return {o for p, o in zip(inputs, fold.node.operands, strict=True) if p in used}


def single_loop(node: Node) -> Node | None:
    """The one outermost loop of a launched kernel, if that is a `parallel`."""
    if node.op.name != "launch" or node.attrs.get("schedule") is not None:
        return None
    kernel = node.attrs["kernel"]
    names = [p.name for p in kernel.params]
    loops = [n for n in kernel.nodes if n.regions]
    if len(loops) != 1 or loops[0].op.name != "parallel" or len(set(names)) < len(names):
        return None
    return None if any(n.op.name in ("atomic", "for") for n in kernel.walk()) else loops[0]


def _ways(node: Node) -> list[Rows]:
    """The kernel of a launch as rows: one that reduces long rows as it is, of one that has points
    alone each cut of its axes."""
    loop, kernel = single_loop(node), node.attrs["kernel"]
    assert loop is not None
    nodes = loop.regions[0].nodes
    if not any(n.regions for n in nodes):
        extents = loop.attrs["extents"]
        cuts = [k for k in range(len(extents) - 1, 0, -1) if _are_long(extents[:k], extents[k:])]
        cuts = [k for k in cuts if _at_most(extents[k:], WIDEST)]
        return [_Cut(kernel, loop).at(k) for k in cuts]
    inner = [n for n in nodes if n.op.name == "parallel"]
    if not inner or not any(n.op.name == "reduce" for n in nodes):
        return []
    if any(n.regions for n in inner[-1].regions[0].nodes):
        return []
    if not _are_long(loop.attrs["extents"], inner[-1].attrs["extents"]):
        return []
    return [Rows(kernel, loop, inner[-1])]


def _are_long(rows: Sequence[Dim], columns: Sequence[Dim]) -> bool:
    """Whether there are rows and columns enough, or may be."""
    many, long = product(rows), product(columns)
    if isinstance(many, int) and many < FEWEST:
        return False
    return not isinstance(long, int) or long >= NARROWEST


def _at_most(extents: Sequence[Dim], most: int) -> bool:
    size = product(extents)
    return isinstance(size, int) and size <= most


class _Cut(Pieces):
    """Writes a kernel of one loop over points as one over rows and, inside, one over columns."""

    def __init__(self, kernel: Graph, loop: Node) -> None:
        super().__init__(kernel)
        self.loop = loop

    def at(self, axis: int) -> Rows:
        """The columns are the axes from number `axis` on."""
        self.begin()
        for out in self.kernel.out_params:
            self.new[out] = self.builder.param(out.type, out.name)
        extents, params = self.loop.attrs["extents"], self.loop.regions[0].params
        with self.builder:
            self.copy(n for n in self.kernel.nodes if n is not self.loop)
            self.builder.line = self.loop.line
            with self.builder.region([INDEX] * axis) as outside:
                self.new.update(zip(params[:axis], outside.params, strict=True))
                with self.builder.region([INDEX] * (len(params) - axis)) as inside:
                    self.new.update(zip(params[axis:], inside.params, strict=True))
                    self.copy(self.loop.regions[0].nodes)
                columns = {"extents": extents[axis:]}
                self.builder.emit(OPS["parallel"], (), columns, (inside.closed,))
            rows = {"extents": extents[:axis]}
            self.builder.emit(OPS["parallel"], (), rows, (outside.closed,))
        outs = len(self.kernel.out_params)
        made = self.builder.finish(self.kernel.name, level="kernel", outs=outs)
        (outer,) = (n for n in made.nodes if n.regions)
        return Rows(made, outer, outer.regions[0].nodes[-1])


def _folding(node: Node) -> Node | None:
    """The reduction of a launch that does nothing else than fold."""
    loop = single_loop(node)
    inside = [] if loop is None else [n for n in loop.regions[0].nodes if n.regions]
    if [n.op.name for n in inside] != ["reduce"] or len(inside[0].results) != 1:
        return None
    return inside[0]


def _folds(node: Node, launch: Node, rows: Rows) -> list[Fold]:
    """`node` as a fold of what `launch` reads or stores at the points of its rows."""
    loop, reduction = single_loop(node), _folding(node)
    if loop is None or reduction is None or not _is_plain(node, reduction):
        return []
    columns = product(rows.inner.attrs["extents"])
    points, results = product(reduction.attrs["extents"]), product(loop.attrs["extents"])
    number = product(rows.outer.attrs["extents"])
    whole = results == 1 and points == number * columns
    if not whole and (points != number or results != columns):
        return []
    expressions = Expressions(axis_extents(node.attrs["kernel"]))
    where = flat_number(reduction) * (1 if whole else columns)
    if not whole:
        where = where + flat_number(loop)
    operands = dict(zip(node.attrs["kernel"].inputs, node.operands, strict=True))
    at_points = rows.stored()
    sources: dict[Value, int] = {}
    for load in (n for n in reduction.regions[0].nodes if n.op.name == "load"):
        value = operands.get(load.operands[0])
        if value is None or load.attrs.get("guarded") or expressions.offset(load) != where:
            return []
        if value in launch.operands:
            sources[load.operands[0]] = launch.operands.index(value)
        elif value in launch.results and launch.results.index(value) in at_points:
            sources[load.operands[0]] = ~launch.results.index(value)
        else:
            return []
    return [Fold(node, loop, reduction, tuple(sources.items()), whole)] if sources else []


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


def others_params(fold: Fold) -> set[Value]:
    """The buffers that a fold reads elsewhere than in its reduction."""
    kernel = fold.node.attrs["kernel"]
    within = {n for region in fold.reduction.regions for n in region.walk()}
    return {v for n in kernel.walk() if n not in within for v in n.operands}
