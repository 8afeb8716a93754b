"""Decompose: composite ops become simpler ones, so that later passes and backends know fewer.

Before: `%0 = sign(%x)  %1 = rng_bits(%seed, %offset) {shape=[N], bits=32}`
After: compares and wheres; `random_bits` of an iota.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.dims import product
from ..ir.dtypes import i64
from ..ir.gpu_target import GpuTarget
from ..ir.graph import Graph, Node, Value, full
from ..ir.ops import elementwise as ew
from ..ir.ops.attention import sizes_of
from ..ir.ops.base import Kind
from ..ir.ops.source import IOTA
from ..ir.ops.view import BROADCAST, RESHAPE
from ..ir.target import AnyTarget
from ..ir.types import tensor_type
from .attention_primitives import attention, attention_gradient
from .dead import prune
from .rewrite import rewrite
from .schedule_blocks_attend import WIDEST

FEW_QUERIES = 8
MOST_FEATURES = 1024  # beside which the blocks of a kernel do not fit the cache

Lowering = Callable[[Node, tuple[Value, ...]], Any]


def decompose(graph: Graph, target: AnyTarget) -> Graph:
    """A tensor program with the same parameters and, bit by bit, results as `graph`."""

    def lower(node: Node, operands: tuple[Value, ...]) -> Any:
        lowering = LOWERINGS.get(node.op.name)
        return None if lowering is None or has_kernel(node, target) else lowering(node, operands)

    return prune(rewrite(graph, lower))


def has_kernel(node: Node, target: AnyTarget) -> bool:
    """Whether later passes take the node as it is: an attention (or its gradient) whose features
    and width are numbers. On a GPU they fit in a block, and are multiplied by tensor cores. On a
    CPU there are queries enough for the lanes of its vectors: with few of them the weights are
    small, and products that read each key and value in place, once, are faster.
    """
    if node.op.kind is not Kind.ATTENTION:
        return False
    sizes = sizes_of(*(v.type for v in node.operands[:3]))
    if not (isinstance(sizes.features, int) and isinstance(sizes.width, int)):
        return False
    found = (sizes.features, sizes.width)
    if isinstance(target, GpuTarget):
        double = node.operands[0].type.dtype.bits == 64
        return not double and min(found) > 0 and max(found) <= WIDEST
    few = isinstance(sizes.queries, int) and sizes.queries <= FEW_QUERIES
    return not few and min(found) > 0 and max(found) <= MOST_FEATURES


def _sign(node: Node, operands: tuple[Value, ...]) -> Value:
    """1, -1, or x itself where that is 0 or NaN; +0 for -0."""
    (x,) = operands
    nought, one = full(x.type, 0), full(x.type, 1)
    above = ew.GT(x, nought)
    if x.type.dtype.kind == "uint":
        return ew.WHERE(above, one, nought)
    rest = ew.WHERE(ew.LT(x, nought), full(x.type, -1), x + nought)
    return ew.WHERE(above, one, rest)


def _rng_bits(node: Node, operands: tuple[Value, ...]) -> Value:
    """Element e of the draw by its number: see `rng_bits`."""
    shape = tuple(node.attrs["shape"])
    line = tensor_type(i64, (product(shape),))
    seed, offset = (BROADCAST(v, shape=line.shape, dims=()) for v in operands)
    element = IOTA(shape=line.shape, axis=0, dtype=i64)
    bits = ew.RANDOM_BITS(seed, offset, element, bits=node.attrs["bits"])
    return bits if shape == line.shape else RESHAPE(bits, shape=shape)


LOWERINGS: dict[str, Lowering] = {
    "sign": _sign,
    "rng_bits": _rng_bits,
    "attention": lambda node, operands: attention(operands, node.attrs),
    "attention_gradient": lambda node, operands: attention_gradient(operands, node.attrs),
}
