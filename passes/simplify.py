"""Simplify: folds constants, merges equal nodes, removes what has no effect.

Before:
    %0 = broadcast(constant 1) {shape=[N, 4]}   %1 = mul(%x, %0)
    %2 = transpose(%1) {perm=[1, 0]}            %3 = transpose(%2) {perm=[1, 0]}
    %4 = exp(%x)                                yield %3
After:
    yield %x

Every result keeps its bits, NaN, infinities, -0 and rounding included (of a NaN, only that it is
one). The one exception is `pow` by a small whole number, which has no exact definition: it
becomes products. The rules for each op stand in `simplify_elementwise` and `simplify_view`; each
looks at a fixed number of nodes, so the pass is linear. The body of a `call` takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir.builder import Builder, Rewriting
from ..ir.graph import Graph, Value
from ..ir.ops.base import Kind, Op
from .dead import prune
from .narrow import narrow
from .rewrite import rewrite
from .simplify_elementwise import ELEMENTWISE, narrowed
from .simplify_view import VIEW


def _values(operands: tuple[Value, ...], attrs: Mapping[str, Any]) -> Any:
    """Of `custom_gradient`: the gradients have been taken, what is left are its values."""
    values = operands[len(attrs["wanted"]) + attrs["saved"] :]
    return values[0] if len(values) == 1 else values


RULES = {**ELEMENTWISE, **VIEW, "custom_gradient": _values}


def simplify(graph: Graph) -> Graph:
    """A tensor program with the same parameters and results as `graph`, and fewer nodes."""
    graph = rewrite(graph, builder=Rewriting(simplified), inlined=("call",))
    return narrow(graph) if any(node.regions for node in graph.nodes) else prune(graph)


def simplified(
    builder: Builder, op: Op, operands: tuple[Value, ...], attrs: Mapping[str, Any]
) -> Value | None:
    """The rule of a `Rewriting` builder that simplifies as it goes."""
    rule = RULES.get(op.name)
    if rule is not None:
        found = rule(operands, attrs)
        if found is not None:
            return found
    if op.kind is Kind.ELEMENTWISE:
        return narrowed(op, operands, attrs)
    return None
