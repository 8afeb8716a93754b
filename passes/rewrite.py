"""Reads one program and builds another: the loop that every pass has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.builder import Recording, Rewriting
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops.base import Kind, Op

# What stands for `node` on its new operands: a value (or the tuple of them), or None to keep it.
NodeRule = Callable[[Node, tuple[Value, ...]], Any]


def keep(node: Node, operands: tuple[Value, ...]) -> None:
    """The rule that changes nothing itself, for builders that do."""
    return None


def rewrite(graph: Graph, rule: NodeRule = keep, builder: Recording | None = None) -> Graph:
    """`graph` built anew through `builder` (a `Rewriting` one if none is given), node by node.

    `rule(node, operands)` runs with the builder active and may emit what it likes, at the line of
    `node`. Parameters, names of values and regions are carried over.
    """
    builder = Rewriting() if builder is None else builder
    new: dict[Value, Value] = {}
    with builder:
        for param in graph.params:
            new[param] = builder.param(param.type, param.name)
        _rewrite_nodes(graph, rule, builder, new)
    yields = [new[v] for v in graph.yields]
    return builder.finish(graph.name, yields, level=graph.level, outs=graph.outs)


def _rewrite_nodes(
    region: Region, rule: NodeRule, builder: Recording, new: dict[Value, Value]
) -> None:
    for node in region.nodes:
        builder.line = node.line
        operands = tuple([new[v] for v in node.operands])
        found = rule(node, operands)
        if found is None:
            regions = tuple([_rewrite_region(node.op, r, rule, builder, new) for r in node.regions])
            builder.line = node.line  # not that of the last node inside
            found = builder.emit(node.op, operands, node.attrs, regions)
        results: Sequence[Value] = (found,) if isinstance(found, Value) else found
        for old, value in zip(node.results, results, strict=True):
            new[old] = value
            if value.name is None:
                value.name = old.name


def _rewrite_region(
    op: Op, region: Region, rule: NodeRule, builder: Recording, new: dict[Value, Value]
) -> Region:
    params, closed = region.params, op.kind is Kind.CONTROL
    names = [p.name for p in params]
    with builder.region([p.type for p in params], names, closed=closed) as opened:
        new.update(zip(params, opened.params, strict=True))
        _rewrite_nodes(region, rule, builder, new)
        opened.yield_(*(new[v] for v in region.yields))
    return opened.closed
