"""The gradient of attention: one op more, which recomputes the weights from the sums of their rows.

Its own gradient, and those of mask and factor, are taken of attention in primitives.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Node, Region, Value
from ...ir.ops.attention import ATTENTION_GRADIENT, operand_count
from ..attention_primitives import (
    as_region,
    attention,
    optional_gradients,
    row_means,
    total_gradient,
)
from ..inline import inline
from .pulling import Pull
from .rule import NotDifferentiable, RegionRule, Rule

Cotangents = Sequence[Value | None]


def _attention(node: Node, cotangents: Cotangents, wanted: Sequence[bool]) -> Cotangents:
    g, of_sums = cotangents
    if g is None or of_sums is not None:
        return _through(as_region(_types(node), attention, node.attrs), node, cotangents, wanted)
    result, sums = node.results
    operands = (*node.operands, sums, row_means(result, g), g)
    found: list[Value | None] = [None] * len(wanted)
    if any(wanted[:3]):
        found[:3] = ATTENTION_GRADIENT(*operands, **node.attrs)
    if any(wanted[3:]):
        rest = optional_gradients(operands, node.attrs)
        present = (node.attrs["masked"], node.attrs["factored"])
        found[3:] = [value for value, there in zip(rest, present, strict=True) if there]
    return found


def _attention_gradient(node: Node, cotangents: Cotangents, wanted: Sequence[bool]) -> Cotangents:
    """Of the attention's operands and the cotangent; what comes through the others is in these."""
    count = operand_count(node.attrs)
    own = [w and not count <= k < count + 2 for k, w in enumerate(wanted)]
    return _through(as_region(_types(node), total_gradient, node.attrs), node, cotangents, own)


def _types(node: Node) -> list:
    return [v.type for v in node.operands]


def _through(
    region: Region, node: Node, cotangents: Cotangents, wanted: Sequence[bool]
) -> Cotangents:
    """The way back through `region`, which computes what `node` does."""
    pull = Pull(region, [c is not None for c in cotangents], wanted)
    reached = [g is not None for g in pull.found]
    if not any(reached):
        return [None] * len(wanted)
    operands = [*node.operands, *pull.given(cotangents)]
    found = iter(inline(pull.closed(reached), operands))
    return [next(found) if is_reached else None for is_reached in reached]


ATTENTION: dict[str, Rule | RegionRule | NotDifferentiable] = {
    "attention": RegionRule(_attention),
    "attention_gradient": RegionRule(_attention_gradient),
}
