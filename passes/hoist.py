"""Hoist: what every turn of a loop would compute alike is computed once, before the loop.

Before:
    %y = scan(%w, %x) {consts=1, carries=1} (%v, %h) { yield mul(%h, broadcast(reduce_sum(%v))) }
After:
    %s = reduce_sum(%w)
    %y = scan(%s, %x) {consts=1, carries=1} (%t, %h) { yield mul(%h, broadcast(%t)) }

Views and numbers stay inside, where kernels read through them; so do ops that may fail, since a
loop may have no turns, and other control flow.

A weight that each turn would have to pack is laid out before the loop, in panels (`panels.py`), or,
where it fills none and few rows are multiplied with it, transposed: each turn reads it in place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops.base import Kind
from ..ir.ops.contraction import DOT_GENERAL
from ..ir.ops.view import TRANSPOSE
from ..ir.target import AnyTarget
from .narrow import narrow
from .panels import laid_in_panels, packs, product_of_panels, takes_panels
from .regions import emit, inserted, with_consts

_STAYS = (Kind.HOST, Kind.CONTROL)
_FREE = (Kind.VIEW, Kind.SOURCE)
_CHEAP = (*_FREE, Kind.ELEMENTWISE)
LOOPS = ("scan", "while")


def hoist(graph: Graph, target: AnyTarget) -> Graph:
    """`graph` itself where no loop computes what it need not, else a program with the same
    parameters and results."""
    hoister = _Hoister(target)
    loops = [node for node in graph.walk() if node.op.name in LOOPS]
    if not any(_invariant(loop, ())[1] or _weights(loop, target) for loop in loops):
        return graph
    for param in graph.params:
        hoister.new[param] = hoister.builder.param(param.type, param.name)
    hoister.nodes(graph)
    yields = [hoister.new[v] for v in graph.yields]
    return narrow(hoister.builder.finish(graph.name, yields))


def _weights(loop: Node, target: AnyTarget) -> set[Node]:
    """The products of the body whose weight, a const, would be packed in each turn."""
    body = loop.regions[-1]
    consts = set(body.params[: loop.attrs["consts"]])
    return {
        node
        for node in body.nodes
        if node.op is DOT_GENERAL and node.operands[1] in consts and packs(node, target)
    }


def _invariant(loop: Node, laid: Collection[Value]) -> tuple[set[Value], list[Value]]:
    """What of the body is the same in each turn: all such values, and those that the rest of the
    body reads (through views, but for `laid`) and that are not there already, in order."""
    body = loop.regions[-1]
    same = set(body.params[: loop.attrs["consts"]])
    numbers: set[Value] = set()  # that follow from the text of the program, for little
    for node in body.nodes:
        if node.op.kind not in _STAYS and all(v in same for v in node.operands):
            same.update(node.results)
            if node.op.kind in _CHEAP and all(v in numbers for v in node.operands):
                numbers.update(node.results)
    candidates = same - numbers
    wanted: dict[Value, None] = {}
    for node in body.nodes:
        if same.isdisjoint(node.results):
            for operand in node.operands:
                _reach(operand, candidates, wanted, laid)
    for value in body.yields:
        _reach(value, candidates, wanted, laid)
    return same, list(wanted)


def _reach(
    value: Value, same: set[Value], wanted: dict[Value, None], laid: Collection[Value]
) -> None:
    """Enters what `value` is a view of, where that is computed and the same in each turn."""
    pending = [value]
    while pending:
        value = pending.pop()
        if value.node is None or value not in same:
            continue
        if value.node.op.kind in _FREE and value not in laid:
            pending.extend(value.node.operands)
        else:
            wanted[value] = None


class _Hoister:
    def __init__(self, target: AnyTarget) -> None:
        self.builder = Recording()
        self.new: dict[Value, Value] = {}
        self.target = target
        self.weights: set[Node] = set()  # products of the regions at hand whose weight is laid out
        self.laid: set[Value] = set()

    def nodes(self, region: Region) -> None:
        for node in region.nodes:
            operands = [self.new[v] for v in node.operands]
            found = self.node(node, operands)
            for old, value in zip(node.results, found, strict=True):
                self.new[old] = value
                value.name = value.name or old.name

    def node(self, node: Node, operands: Sequence[Value]) -> Sequence[Value]:
        if node in self.weights:
            return (self.laid_out(node, operands),)
        if node.op.name in LOOPS:
            self.weights |= _weights(node, self.target)
        # Inner loops first: what leaves them may leave this one, too.
        regions = tuple(self.region(r, (), 0) for r in node.regions)
        if node.op.name not in LOOPS:
            return emit(self.builder, node, operands, node.attrs, regions)
        inner = Node(node.op, tuple(operands), node.attrs, (), regions, node.line)
        same, wanted = _invariant(inner, self.laid)
        if not wanted:
            return emit(self.builder, node, operands, node.attrs, regions)
        consts, body = node.attrs["consts"], regions[-1]
        outside = dict(zip(body.params[:consts], operands, strict=False))
        self.compute(body, same, wanted, outside)
        given = inserted(operands, consts, [outside[v] for v in wanted])
        closed = tuple(self.region(r, wanted, consts) for r in regions)
        return emit(self.builder, node, given, with_consts(node, len(wanted)), closed)

    def laid_out(self, node: Node, operands: Sequence[Value]) -> Value:
        """A product whose weight is laid out first."""
        x, w = operands
        builder = self.builder
        builder.line = node.line
        if takes_panels(node, self.target):
            (contracted,) = node.attrs["rhs_contract"]
            panels = laid_in_panels(builder, w, contracted, self.target)
            self.laid.add(panels)
            return product_of_panels(builder, node, x, panels)
        weight: Value = builder.emit(TRANSPOSE, (w,), {"perm": (1, 0)})
        self.laid.add(weight)
        attrs = {**node.attrs, "rhs_contract": (0,)}
        result: Value = builder.emit(DOT_GENERAL, (x, weight), attrs)
        return result

    def compute(
        self, body: Region, same: set[Value], wanted: Sequence[Value], outside: dict[Value, Value]
    ) -> None:
        """Emits the nodes of `body` that `wanted` follow from; `outside` tells what stands for
        their values."""
        needed = set(wanted)
        for node in reversed(body.nodes):
            if not needed.isdisjoint(node.results):
                needed.update(node.operands)
        for node in body.nodes:
            if not (same.isdisjoint(node.results) or needed.isdisjoint(node.results)):
                operands = [outside[v] for v in node.operands]
                found = emit(self.builder, node, operands, node.attrs, node.regions)
                outside.update(zip(node.results, found, strict=True))
                self.laid.update(outside[v] for v in node.results if v in self.laid)

    def region(self, region: Region, more: Sequence[Value], position: int) -> Region:
        """`region` built anew, with further parameters for the values `more` at `position`."""
        types = inserted([p.type for p in region.params], position, [v.type for v in more])
        names = inserted([p.name for p in region.params], position, [v.name for v in more])
        with self.builder.region(types, names, closed=True) as opened:
            params = list(opened.params)
            given = params[position : position + len(more)]
            del params[position : position + len(more)]
            self.new.update(zip(region.params, params, strict=True))
            known = dict(zip(more, given, strict=True))
            self.inside(region, known)
            opened.yield_(*(self.new[v] for v in region.yields))
        return opened.closed

    def inside(self, region: Region, known: dict[Value, Value]) -> None:
        """The nodes of a region, but those whose values are given."""
        if not known:
            self.nodes(region)
            return
        self.new.update(known)
        needed = set(region.yields)
        for node in reversed(region.nodes):
            if not (needed.isdisjoint(node.results) or any(v in known for v in node.results)):
                needed.update(node.operands)
        for node in region.nodes:
            if any(v in known for v in node.results) or needed.isdisjoint(node.results):
                continue
            operands = [self.new[v] for v in node.operands]
            found = emit(self.builder, node, operands, node.attrs, node.regions)
            for old, value in zip(node.results, found, strict=True):
                self.new[old] = value
                value.name = value.name or old.name
