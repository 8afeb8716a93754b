"""Attention that was written out in one program, and whose gradient is taken in another.

Before: `%o, %weights = forward(%q, %k, %v)` and `%dq, .. = back(%g, %weights, ..)`: the weights
leave the first program, so they are in memory.
After: one program of both, with attention and its gradient as ops, which the caller cuts again. Of
the first half the second one now needs operands, the result and the sums of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Value
from ..ir.ops.attention import ATTENTION_GRADIENT, operand_count
from ..ir.ops.base import Kind
from .attention import recognise_attention
from .inline import repeat
from .simplify import simplify

_CHEAP = (Kind.ELEMENTWISE, Kind.VIEW, Kind.SOURCE)
STEPS = 12  # nodes that are looked at between a product and the softmax before it
_THROUGH = ("mul", "where", "reshape", "broadcast", "transpose", "cast", "stop_gradient")


def attention_across(
    forward: Graph, count: int, back: Graph, given: Sequence[Value]
) -> Graph | None:
    """A program of the parameters of `forward` and the first ones of `back`, which yields the first
    `count` results of `forward` and all of `back`, with attention as ops; None where none is found
    together with its gradient.

    Args:
        given: values of `forward` that the last parameters of `back` stand for.
    """
    if not any(_weighs(node) for node in forward.nodes):
        return None
    builder = Recording()
    new: dict[Value, Value] = {}
    own = back.params[: len(back.params) - len(given)]
    with builder:
        for param in (*forward.params, *own):
            new[param] = builder.param(param.type, param.name)
        repeat(forward.nodes, new)
        new.update(zip(back.params[len(own) :], [new[v] for v in given], strict=True))
        repeat(back.nodes, new)
    yields = [new[v] for v in (*forward.yields[:count], *back.yields)]
    joint = simplify(builder.finish(forward.name, yields))
    found = recognise_attention(joint)
    return found if _gradients(found) > _gradients(joint) else None


def told_again(graph: Graph, params: Sequence[Value]) -> set[Value]:
    """The values that masks and factors of the gradients in `graph` are made of, as far as `params`
    and sources alone tell them: elements that kernels compute where they need them."""
    known: dict[Value, bool] = dict.fromkeys(params, True)

    def told(value: Value) -> bool:
        if value not in known:
            node = value.node
            known[value] = (
                node is not None and node.op.kind in _CHEAP and all(map(told, node.operands))
            )
        return known[value]

    for node in graph.nodes:
        if node.op is ATTENTION_GRADIENT:
            for value in node.operands[3 : operand_count(node.attrs)]:
                told(value)
    return {value for value, is_told in known.items() if is_told and value.node is not None}


def _gradients(graph: Graph) -> int:
    return sum(node.op is ATTENTION_GRADIENT for node in graph.nodes)


def _weighs(product: Node) -> bool:
    """Whether an operand of a product comes from a quotient of exponentials, at first sight."""
    if product.op.name != "dot_general":
        return False
    pending, seen = list(product.operands), 0
    while pending and seen < STEPS:
        node, seen = pending.pop().node, seen + 1
        if node is None:
            continue
        if node.op.name == "div":
            made = node.operands[0].node
            if made is not None and made.op.name == "exp":
                return True
        if node.op.name in (*_THROUGH, "div"):
            pending += node.operands
    return False
