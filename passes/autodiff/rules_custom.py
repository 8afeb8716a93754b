"""The gradient that a program says itself."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Node, Value
from ..inline import inline
from .rule import Cotangent, GradientError, NotDifferentiable, Rule, zeros


def _custom_gradient(node: Node, cotangents: Sequence[Value | None]) -> Sequence[Cotangent]:
    wanted, saved = node.attrs["wanted"], node.attrs["saved"]
    first = len(wanted)
    if "refuses" in node.attrs:
        place = f" ({node.line})" if node.line is not None else ""
        raise GradientError(f"{node.attrs['refuses']}{place}")
    given = [
        zeros(result.type) if cotangent is None else cotangent
        for result, cotangent in zip(node.results, cotangents, strict=True)
    ]
    kept = node.operands[first : first + saved]
    found = iter(inline(node.regions[0], [*kept, *node.results, *given]))
    of_inputs = [next(found) if is_wanted else None for is_wanted in wanted]
    return [*of_inputs, *[None] * (len(node.operands) - first)]


CUSTOM: dict[str, Rule | NotDifferentiable] = {"custom_gradient": _custom_gradient}
