"""What a traced program cannot do without: operations of its products, bytes of its borders."""

from __future__ import annotations

import math
from typing import Any


def count(program: Any) -> tuple[int, int]:
    """(floating point operations of products, convolutions and attention, bytes of parameters and
    results).
    Sizes must be numbers; of a conditional the dearer branch counts."""
    borders = [*program.params, *program.yields]
    return _flops(program), sum(v.type.dtype.itemsize * math.prod(v.type.shape) for v in borders)


def _flops(region: Any) -> int:
    return sum(map(_of_node, region.nodes))


def _of_node(node: Any) -> int:
    name = node.op.name
    if name == "dot_general":
        lhs, (out,) = node.operands[0].type.shape, node.results
        contracted = math.prod(lhs[axis] for axis in node.attrs["lhs_contract"])
        return 2 * contracted * math.prod(out.type.shape)
    if name == "conv":
        weight, (out,) = node.operands[1].type.shape, node.results
        zeros = math.prod(node.attrs["lhs_dilation"])  # products with what lies between
        return 2 * math.prod(weight[1:]) * math.prod(out.type.shape) // zeros
    if name in ("attention", "attention_gradient"):
        return _of_attention(node)
    inner = [_flops(region) for region in node.regions]
    if not inner:
        return 0
    return max(inner) * (node.attrs["length"] if name == "scan" else 1)


def _of_attention(node: Any) -> int:
    """Two products with an element for each score, or five; half of each where that is causal."""
    query, key, value = (v.type.shape for v in node.operands[:3])
    features, width = query[-1], value[-1]
    if node.op.name == "attention":
        each = features + width
    else:
        each = 3 * features + 2 * width
    found = 2 * math.prod(query[:-1]) * key[-2] * each
    return found // 2 if node.attrs["causal"] else found
