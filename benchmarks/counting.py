"""What a traced program cannot do without: operations of its contractions, bytes of its borders."""

from __future__ import annotations

import math
from typing import Any


def count(program: Any) -> tuple[int, int]:
    """(floating point operations of products and convolutions, bytes of parameters and results).
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
    inner = [_flops(region) for region in node.regions]
    if not inner:
        return 0
    return max(inner) * (node.attrs["length"] if name == "scan" else 1)
