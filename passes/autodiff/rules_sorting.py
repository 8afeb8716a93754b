"""The gradient of sorting: each element's cotangent goes back to where the element stood."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Node, Value
from .rule import Cotangent, NotDifferentiable, Rule, scattered_along

Cotangents = Sequence[Value | None]


def _sort(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = cotangents[0]
    assert g is not None, "the indices are integers and have no cotangent"
    return (scattered_along(g, node.results[1], node.attrs["axis"]),)


SORTING: dict[str, Rule | NotDifferentiable] = {"sort": _sort}
