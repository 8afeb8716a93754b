"""Split products: the very many terms of few sums are cut into parts, which threads share.

Before: %y = dot_general(%a, %b)                          // f32[64, 64], each of 65536 terms
After:  %p = dot_general(reshape(%a), reshape(%b))        // f32[8, 64, 64], each of 8192 terms
        %y = reduce_sum(%p) {axes=[0]}

How many parts there are follows from the sizes alone: so results are equal for any number of
threads.
"""

from __future__ import annotations

from typing import Any

from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import DOT_GENERAL
from ..ir.ops.reduction import REDUCE_SUM
from ..ir.ops.view import RESHAPE
from .rewrite import rewrite

MOST_PARTS = 8
MOST_RESULTS = 1 << 13  # beside which there are no tiles to share
MOST_SIDE = 256  # rows or columns
LEAST_TERMS = 1024  # of a part
READ = 16  # elements of the operands for each that is added up afterwards
WORTH = 1 << 22  # multiply-adds, and
WORTH_READ = 1 << 20  # elements of the operands, of which one is worth several threads


def split_products(graph: Graph) -> Graph:
    """`graph` itself where there is no such product, else a program with the same parameters and
    results."""
    if not any(_parts(node)[1] > 1 for node in graph.walk()):
        return graph
    return rewrite(graph, _split)


def _parts(node: Node) -> tuple[int, int]:
    """(which pair of the summed axes is cut, into how many parts); 1 part where none is."""
    if node.op is not DOT_GENERAL or node.results[0].type.dtype.is_low_precision:
        return 0, 1
    lhs, rhs = (operand.type.shape for operand in node.operands)
    if not all(isinstance(n, int) and n > 0 for n in (*lhs, *rhs)):
        return 0, 1
    summed = [lhs[axis] for axis in node.attrs["lhs_contract"]]
    results, terms = _product(node.results[0].type.shape), _product(summed)
    sides = _product(lhs) // terms, _product(rhs) // terms  # batch included
    if results > MOST_RESULTS or max(sides) > MOST_SIDE:
        return 0, 1
    read = terms * sum(sides)
    if results * terms < WORTH and read < WORTH_READ:
        return 0, 1
    most = min(MOST_PARTS, terms // LEAST_TERMS, read // (READ * results))
    # The first axis that can be cut into most parts.
    found = [
        (max((p for p in range(1, most + 1) if n % p == 0), default=1), -pair)
        for pair, n in enumerate(summed)
        if isinstance(n, int)
    ]
    parts, pair = max(found, default=(1, 0))
    return -pair, parts


def _product(sizes: Any) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found


def _split(node: Node, operands: tuple[Value, ...]) -> Value | None:
    pair, parts = _parts(node)
    if parts == 1:
        return None
    attrs = dict(node.attrs)
    cut = []
    for side, operand in zip(("lhs", "rhs"), operands, strict=True):
        axis = attrs[f"{side}_contract"][pair]
        shape: list[Dim] = list(operand.type.shape)
        shape[axis : axis + 1] = [parts, operand.type.shape[axis] // parts]
        cut.append(RESHAPE(operand, shape=tuple(shape)))
        for name in (f"{side}_contract", f"{side}_batch"):
            attrs[name] = tuple(a + (a >= axis) for a in attrs[name])
        attrs[f"{side}_batch"] = (axis, *attrs[f"{side}_batch"])
    found: Value = REDUCE_SUM(DOT_GENERAL(*cut, **attrs), axes=(0,))
    return found
