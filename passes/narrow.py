"""Dead code through loops and branches: results that nobody reads, and what only they need; of
equal results of a loop one is enough.

Before: `%a, %ys = scan(%h, %xs) {..} (%c, %x) { %y = exp(%x)  yield add(%c, %x), %y }`, %ys unread.
After:  `%a = scan(%h, %xs) {..} (%c, %x) { yield add(%c, %x) }`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import make_node
from ..ir.graph import Graph, Node, Region, Value


def narrow(graph: Graph) -> Graph:
    """`graph` without the nodes, carries, ys, operands and parameters of regions that its results
    do not depend on. Its own parameters stay, read or not: they are the signature."""
    live = _Live()
    live.region(graph, [True] * len(graph.yields))
    values = {p: p for p in graph.params}
    nodes = live.rebuilt(graph.nodes, values)
    yields = tuple(values[v] for v in graph.yields)
    return Graph(graph.name, graph.params, nodes, yields, level=graph.level, outs=graph.outs)


class _Live:
    """Which values are read, and what of each loop and branch is kept.

    Attributes:
        read: the values that the results depend on, those inside of regions included.
        kept: for each loop and branch, which of its results stay.
        same: results of loops -> the result that has the same elements and stays instead.
    """

    def __init__(self) -> None:
        self.read: set[Value] = set()
        self.kept: dict[Node, list[bool]] = {}
        self.same: dict[Value, Value] = {}

    def region(self, region: Region, wanted: Sequence[bool]) -> None:
        """Note what the yields that are wanted depend on."""
        self.read.update(v for v, w in zip(region.yields, wanted, strict=True) if w)
        for node in reversed(region.nodes):
            if node.results and not any(v in self.read for v in node.results):
                continue
            rule = _RULES.get(node.op.name)
            if rule is None:
                for inner in node.regions:
                    self.region(inner, [True] * len(inner.yields))
                self.read.update(node.operands)
            else:
                rule(self, node)

    def scan(self, node: Node) -> None:
        (body,), consts, carries = node.regions, node.attrs["consts"], node.attrs["carries"]
        carried = body.params[consts : consts + carries]
        kept = [v in self.read for v in node.results]
        self._stack_once(node, kept)
        while True:
            self.region(body, kept)
            more = [k for k, p in enumerate(carried) if p in self.read and not kept[k]]
            if not more:
                break
            for k in more:
                kept[k] = True
        self.kept[node] = kept
        for k, (param, operand) in enumerate(zip(body.params, node.operands, strict=True)):
            if kept[k - consts] if consts <= k < consts + carries else param in self.read:
                self.read.add(operand)

    def _stack_once(self, node: Node, kept: list[bool]) -> None:
        """Of ys that each turn gives the same value the first one stays."""
        first: dict[Value, int] = {}
        for k in range(node.attrs["carries"], len(kept)):
            one = first.setdefault(node.regions[0].yields[k], k)
            if one != k and kept[k]:
                self.same[node.results[k]] = node.results[one]
                kept[one], kept[k] = True, False

    def loop(self, node: Node) -> None:
        (condition, body), consts = node.regions, node.attrs["consts"]
        self.region(condition, [True])
        kept = [
            value in self.read or param in self.read
            for value, param in zip(node.results, condition.params[consts:], strict=True)
        ]
        while True:
            self.region(body, kept)
            more = [k for k, p in enumerate(body.params[consts:]) if p in self.read and not kept[k]]
            if not more:
                break
            for k in more:
                kept[k] = True
        self.kept[node] = kept
        pairs = zip(condition.params, body.params, node.operands, strict=True)
        for k, (one, other, operand) in enumerate(pairs):
            if kept[k - consts] if k >= consts else one in self.read or other in self.read:
                self.read.add(operand)

    def branch(self, node: Node) -> None:
        kept = [v in self.read for v in node.results]
        for region in node.regions:
            self.region(region, kept)
        self.kept[node] = kept
        self.read.add(node.operands[0])
        params = zip(*(region.params for region in node.regions), strict=True)
        for operand, pair in zip(node.operands[1:], params, strict=True):
            if any(p in self.read for p in pair):
                self.read.add(operand)

    # Building

    def rebuilt(self, nodes: Sequence[Node], values: dict[Value, Value]) -> tuple[Node, ...]:
        """The nodes that are read, narrowed; `values` learns what stands for their results."""
        made = []
        for node in nodes:
            if node.results and not any(v in self.read for v in node.results):
                continue
            new = self._node(node, values)
            results = iter(new.results)
            kept = self.kept.get(node) or [True] * len(node.results)
            for old, stays in zip(node.results, kept, strict=True):
                if stays:
                    values[old] = next(results)
                    values[old].name = values[old].name or old.name
                elif old in self.same:
                    values[old] = values[self.same[old]]
            made.append(new)
        return tuple(made)

    def _node(self, node: Node, values: dict[Value, Value]) -> Node:
        rule = _BUILDERS.get(node.op.name)
        if rule is not None:
            return rule(self, node, values)
        operands = [values[v] for v in node.operands]
        regions = tuple(self._region(r, list(r.params), list(r.yields)) for r in node.regions)
        if not node.regions and all(a is b for a, b in zip(operands, node.operands, strict=True)):
            return node
        return make_node(node.op, operands, node.attrs, regions, node.line)

    def _region(self, region: Region, params: Sequence[Value], yields: Sequence[Value]) -> Region:
        """`region` with some of its parameters and yields."""
        values = {p: p for p in params}
        nodes = self.rebuilt(region.nodes, values)
        return Region(tuple(params), nodes, tuple(values[v] for v in yields))

    def narrow_scan(self, node: Node, values: dict[Value, Value]) -> Node:
        (body,), kept = node.regions, self.kept[node]
        consts, carries = node.attrs["consts"], node.attrs["carries"]
        stays = [
            kept[k - consts] if consts <= k < consts + carries else p in self.read
            for k, p in enumerate(body.params)
        ]
        attrs = {
            **node.attrs,
            "consts": sum(stays[:consts]),
            "carries": sum(kept[:carries]),
        }
        region = self._region(body, _some(body.params, stays), _some(body.yields, kept))
        operands = [values[v] for v in _some(node.operands, stays)]
        return make_node(node.op, operands, attrs, (region,), node.line)

    def narrow_loop(self, node: Node, values: dict[Value, Value]) -> Node:
        (condition, body), kept, consts = node.regions, self.kept[node], node.attrs["consts"]
        pairs = zip(condition.params, body.params, strict=True)
        stays = [
            kept[k - consts] if k >= consts else one in self.read or other in self.read
            for k, (one, other) in enumerate(pairs)
        ]
        regions = (
            self._region(condition, _some(condition.params, stays), condition.yields),
            self._region(body, _some(body.params, stays), _some(body.yields, kept)),
        )
        operands = [values[v] for v in _some(node.operands, stays)]
        return make_node(node.op, operands, {"consts": sum(stays[:consts])}, regions, node.line)

    def narrow_branch(self, node: Node, values: dict[Value, Value]) -> Node:
        kept = self.kept[node]
        pairs = zip(*(region.params for region in node.regions), strict=True)
        stays = [any(p in self.read for p in pair) for pair in pairs]
        regions = tuple(
            self._region(region, _some(region.params, stays), _some(region.yields, kept))
            for region in node.regions
        )
        operands = [values[v] for v in _some(node.operands, [True, *stays])]
        return make_node(node.op, operands, node.attrs, regions, node.line)


def _some(values: Sequence[Value], which: Sequence[bool]) -> list[Value]:
    return [v for v, is_in in zip(values, which, strict=True) if is_in]


_RULES = {"scan": _Live.scan, "while": _Live.loop, "cond": _Live.branch}
_BUILDERS = {
    "scan": _Live.narrow_scan,
    "while": _Live.narrow_loop,
    "cond": _Live.narrow_branch,
}
