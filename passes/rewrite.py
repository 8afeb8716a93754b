"""Reads one program and builds another: the loop that every pass has in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..ir.builder import Recording, Rewriting
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops.base import Kind, Op

# What stands for `node` on its new operands: a value (or the tuple of them), or None to keep it.
NodeRule = Callable[[Node, tuple[Value, ...]], Any]


def keep(node: Node, operands: tuple[Value, ...]) -> None:
    """The rule that changes nothing itself, for builders that do."""
    return None


def rewrite(
    graph: Graph,
    rule: NodeRule = keep,
    builder: Recording | None = None,
    inlined: Collection[str] = (),
) -> Graph:
    """`graph` built anew through `builder` (a `Rewriting` one if none is given), node by node.

    `rule(node, operands)` runs with the builder active and may emit what it likes, at the line of
    `node`. Parameters, names of values and regions are carried over. The only region of an op
    whose name is in `inlined` takes the place of the node.
    """
    builder = Rewriting() if builder is None else builder
    run = _Rewriter(rule, builder, inlined)
    with builder:
        for param in graph.params:
            run.new[param] = builder.param(param.type, param.name)
        run.nodes(graph)
    yields = [run.new[v] for v in graph.yields]
    return builder.finish(graph.name, yields, level=graph.level, outs=graph.outs)


class _Rewriter:
    def __init__(self, rule: NodeRule, builder: Recording, inlined: Collection[str]) -> None:
        self.rule = rule
        self.builder = builder
        self.inlined = inlined
        self.new: dict[Value, Value] = {}

    def nodes(self, region: Region) -> None:
        builder, new = self.builder, self.new
        for node in region.nodes:
            builder.line = node.line
            operands = tuple([new[v] for v in node.operands])
            found = self.rule(node, operands)
            if found is None:
                found = self.node(node, operands)
            results: Sequence[Value] = (found,) if isinstance(found, Value) else found
            for old, value in zip(node.results, results, strict=True):
                new[old] = value
                if value.name is None:
                    value.name = old.name

    def node(self, node: Node, operands: tuple[Value, ...]) -> Any:
        if node.op.name in self.inlined:
            (region,) = node.regions
            self.new.update(zip(region.params, operands, strict=True))
            self.nodes(region)
            return tuple([self.new[v] for v in region.yields])
        regions = tuple([self.region(node.op, r) for r in node.regions])
        self.builder.line = node.line  # not that of the last node inside
        return self.builder.emit(node.op, operands, node.attrs, regions)

    def region(self, op: Op, region: Region) -> Region:
        params, closed = region.params, op.kind is Kind.CONTROL
        names = [p.name for p in params]
        with self.builder.region([p.type for p in params], names, closed=closed) as opened:
            self.new.update(zip(params, opened.params, strict=True))
            self.nodes(region)
            opened.yield_(*(self.new[v] for v in region.yields))
        return opened.closed
