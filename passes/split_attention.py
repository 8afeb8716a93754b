"""Split attention: the gradient of few heads is cut into parts of the keys, which threads share.

Before: %q, %k, %v = attention_gradient(..)               // f32[1, 8, 2048, 64] each
After:  %p, %k, %v = attention_gradient(..) {parts=2}     // %p: f32[2, 1, 8, 2048, 64]
        %q = reduce_sum(%p) {axes=[0]}

A part of the keys has their cotangents to itself; what it adds to those of the queries is added up
afterwards. How many parts there are follows from the sizes alone: so results are equal for any
number of threads.
"""

from __future__ import annotations

from ..ir.dims import product
from ..ir.graph import Graph, Node, Value
from ..ir.ops.attention import ATTENTION_GRADIENT, part_size, sizes_of
from ..ir.ops.elementwise import CAST
from ..ir.ops.reduction import REDUCE_SUM
from .rewrite import rewrite

TASKS = 16  # that are enough
KEYS = 256  # of a part, at least: so many products for each element that is added up afterwards
WORTH = 1 << 20  # multiply-adds of one product, of which it is worth several threads


def split_attention(graph: Graph) -> Graph:
    """`graph` itself where there is no such gradient, else a program with the same parameters and
    results."""
    if not any(_parts(node) > 1 for node in graph.walk()):
        return graph
    return rewrite(graph, _split)


def _parts(node: Node) -> int:
    if node.op is not ATTENTION_GRADIENT:
        return 1
    sizes = sizes_of(*(operand.type for operand in node.operands[:3]))
    tasks, keys = product(sizes.batch), sizes.keys
    work = product((*sizes.scores, sizes.features))
    if not (isinstance(tasks, int) and isinstance(keys, int) and isinstance(work, int)):
        return 1
    if work < WORTH:
        return 1
    parts = max(1, min(-(-TASKS // tasks), keys // KEYS))
    return -(-keys // part_size(keys, parts))  # none of them empty


def _split(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    parts = _parts(node)
    if parts == 1:
        return None
    of_query, of_key, of_value = ATTENTION_GRADIENT(*operands, **node.attrs, parts=parts)
    total: Value = REDUCE_SUM(of_query, axes=(0,))
    dtype = node.results[0].type.dtype
    return total if total.type.dtype is dtype else CAST(total, dtype=dtype), of_key, of_value
