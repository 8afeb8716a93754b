"""Which kernels fold columns of what a kernel of rows reads or stores."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.access import Expressions, axis_extents
from ..ir.dims import product
from ..ir.graph import Node, Region, Value
from ..ir.ops.base import Kind
from ..ir.parts import flat_number
from ..ir.sugar import NEUTRAL

NARROWEST = 64  # columns that are worth a loop of vectors for each row
FEWEST = 64  # rows


@dataclass(frozen=True, slots=True)
class Fold:
    """A launch whose kernel folds columns: its outer loop, the reduction, and for each parameter
    that this loads, the operand (non-negative) or result (~number) of the rows' launch."""

    node: Node
    loop: Node
    reduction: Node
    sources: tuple[tuple[Value, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A launch of rows and the folds that it takes over.

    Attributes:
        inner: the loop over the columns of a row at whose points elements are joined.
        dropped: numbers of the results that nothing else reads.
    """

    rows: Node
    inner: Node
    folds: tuple[Fold, ...]
    dropped: frozenset[int]

    @property
    def results(self) -> range:
        return range(len(self.rows.results))

    @property
    def key(self) -> tuple:
        folds = tuple((f.node.attrs["kernel"], tuple(k for _, k in f.sources)) for f in self.folds)
        return self.rows.attrs["kernel"], folds, self.dropped


def plans_of(region: Region) -> list[Plan]:
    """The folds of a region; each launch is part of one at most."""
    readers: dict[Value, list[Node]] = {}
    for node in region.nodes:
        for value in dict.fromkeys((*node.operands, *_inside(node))):
            readers.setdefault(value, []).append(node)
    position = {node: k for k, node in enumerate(region.nodes)}
    taken: set[Node] = set()
    found: list[Plan] = []
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
        found.append(Plan(node, inner, tuple(folds), dropped))
    return found


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


def _inner_loop(node: Node) -> Node | None:
    """The last loop over the columns of a row, of a kernel that reduces long rows."""
    loop = single_loop(node)
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


def _folds(node: Node, rows: Node, inner: Node) -> list[Fold]:
    """`node` as a fold of what the launch `rows` reads or stores at the points of `inner`."""
    loop = single_loop(node)
    if loop is None:
        return []
    inside = [n for n in loop.regions[0].nodes if n.regions]
    if [n.op.name for n in inside] != ["reduce"] or len(inside[0].results) != 1:
        return []
    (reduction,) = inside
    outer = single_loop(rows)
    assert outer is not None
    same = product(reduction.attrs["extents"]) == product(outer.attrs["extents"])
    columns = product(inner.attrs["extents"])
    if not same or product(loop.attrs["extents"]) != columns or not _is_plain(node, reduction):
        return []
    expressions = Expressions(axis_extents(node.attrs["kernel"]))
    where = flat_number(reduction) * columns + flat_number(loop)
    operands = dict(zip(node.attrs["kernel"].inputs, node.operands, strict=True))
    at_points = stored(rows, outer, inner)
    sources: dict[Value, int] = {}
    for load in (n for n in reduction.regions[0].nodes if n.op.name == "load"):
        value = operands.get(load.operands[0])
        if value is None or load.attrs.get("guarded") or expressions.offset(load) != where:
            return []
        if value in rows.operands:
            sources[load.operands[0]] = rows.operands.index(value)
        elif value in rows.results and rows.results.index(value) in at_points:
            sources[load.operands[0]] = ~rows.results.index(value)
        else:
            return []
    return [Fold(node, loop, reduction, tuple(sources.items()))] if sources else []


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


def stored(rows: Node, outer: Node, inner: Node) -> dict[int, Node]:
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


def others_params(fold: Fold) -> set[Value]:
    """The buffers that a fold reads elsewhere than in its reduction."""
    kernel = fold.node.attrs["kernel"]
    within = {n for region in fold.reduction.regions for n in region.walk()}
    return {v for n in kernel.walk() if n not in within for v in n.operands}
