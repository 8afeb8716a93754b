"""Gradients of whole programs: a closed graph in, a graph out.

Before:      `graph @f(%x) { %0 = exp(%x)  yield %0 }`.
After `vjp`: `graph @f_vjp(%x, %1) { %0 = exp(%x)  %2 = mul(%1, %0)  yield %2 }`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.builder import Recording
from ...ir.graph import Graph, Value, full
from .backward import backward
from .forward import forward
from .rule import zeros


def vjp(graph: Graph) -> Graph:
    """The program that multiplies cotangents with the derivative of `graph`.

    Parameters: those of `graph`, then a cotangent for each of its results that is a float.
    Results: a cotangent for each parameter that is a float, zeros where no path leads to it.
    """
    builder = _continued(graph)
    seeds: list[Value | None] = [
        builder.param(value.type) if value.type.dtype.is_inexact else None for value in graph.yields
    ]
    return builder.finish(f"{graph.name}_vjp", _gradients(builder, graph, seeds))


def jvp(graph: Graph) -> Graph:
    """The results of `graph`, and their derivatives along directions of its parameters.

    Parameters: those of `graph`, then a tangent for each of them that is a float.
    Results: those of `graph`, then a tangent for each of them that is a float.
    """
    builder = _continued(graph)
    tangents = [
        builder.param(param.type) if param.type.dtype.is_inexact else None for param in graph.params
    ]
    with builder:
        found = forward(graph.params, tangents, graph.yields)
        moved = [
            zeros(value.type) if tangent is None else tangent
            for value, tangent in zip(graph.yields, found, strict=True)
            if value.type.dtype.is_inexact
        ]
    return builder.finish(f"{graph.name}_jvp", [*graph.yields, *moved])


def value_and_grad(graph: Graph) -> Graph:
    """The results of `graph`, then the gradients of the sum of the first one's elements with
    respect to each parameter that is a float.

    Raises:
        TypeError: the first result is not a float.
    """
    first = graph.yields[0]
    if not first.type.dtype.is_float:
        raise TypeError(f"gradients are taken of floats; the first result is {first.type}")
    builder = _continued(graph)
    with builder:
        seeds: list[Value | None] = [full(first.type, 1), *[None] * (len(graph.yields) - 1)]
    found = _gradients(builder, graph, seeds)
    return builder.finish(f"{graph.name}_grad", [*graph.yields, *found])


def _continued(graph: Graph) -> Recording:
    """A builder that has recorded `graph`, whose nodes it shares."""
    builder = Recording()
    builder.params, builder.nodes = list(graph.params), list(graph.nodes)
    return builder


def _gradients(builder: Recording, graph: Graph, seeds: Sequence[Value | None]) -> list[Value]:
    wrt = [param for param in graph.params if param.type.dtype.is_inexact]
    with builder:
        found = backward(graph.yields, seeds, wrt)
        return [zeros(p.type) if g is None else g for p, g in zip(wrt, found, strict=True)]
