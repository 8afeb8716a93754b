"""Decompose: composite ops become simpler ones, so that later passes and backends know fewer.

Before: `%0 = sign(%x)  %1 = rng_bits(%seed, %offset) {shape=[N], bits=32}`
After: compares and wheres; ten rounds of products and exclusive ors on an iota.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.dims import product
from ..ir.dtypes import u32, u64
from ..ir.graph import Graph, Node, Value, full
from ..ir.ops import elementwise as ew
from ..ir.ops.source import IOTA, PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL
from ..ir.ops.view import BROADCAST, RESHAPE
from ..ir.types import TensorType, tensor_type
from .dead import prune
from .rewrite import rewrite

Lowering = Callable[[Node, tuple[Value, ...]], Value]


def decompose(graph: Graph) -> Graph:
    """A tensor program with the same parameters and, bit by bit, results as `graph`."""
    return prune(rewrite(graph, _lower))


def _lower(node: Node, operands: tuple[Value, ...]) -> Value | None:
    lowering = LOWERINGS.get(node.op.name)
    return None if lowering is None else lowering(node, operands)


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
    """Philox4x32-10 in 64-bit words: see `rng_bits` and `ir.ops.source.philox`."""
    seed, offset = (ew.BITCAST(v, dtype=u64) for v in operands)
    shape = tuple(node.attrs["shape"])
    count = product(shape)
    line = tensor_type(u64, (count,))
    element = IOTA(shape=line.shape, axis=0, dtype=u64)
    low, shift = 0xFFFFFFFF, 32
    words = [
        _and(element, low),
        _shifted(element, shift),
        _spread(_and(offset, low), line),
        _spread(_shifted(offset, shift), line),
    ]
    key = [_and(seed, low), _shifted(seed, shift)]
    for turn in range(PHILOX_ROUNDS):
        if turn:
            key = [_and(k + step, low) for k, step in zip(key, PHILOX_WEYL, strict=True)]
        words = _philox_round(words, [_spread(k, line) for k in key])
    bits = words[0]
    if node.attrs["bits"] == 64:
        bits = ew.BIT_OR(bits, ew.SHIFT_LEFT(words[1], full(line, shift)))
    else:
        bits = ew.CAST(bits, dtype=u32)
    return bits if shape == (count,) else RESHAPE(bits, shape=shape)


def _philox_round(words: Sequence[Value], key: Sequence[Value]) -> list[Value]:
    first, second = (words[i] * m for i, m in zip((0, 2), PHILOX_MULTIPLIERS, strict=True))
    return [
        ew.BIT_XOR(ew.BIT_XOR(_shifted(second, 32), words[1]), key[0]),
        _and(second, 0xFFFFFFFF),
        ew.BIT_XOR(ew.BIT_XOR(_shifted(first, 32), words[3]), key[1]),
        _and(first, 0xFFFFFFFF),
    ]


def _and(x: Value, mask: int) -> Value:
    return ew.BIT_AND(x, full(x.type, mask))


def _shifted(x: Value, by: int) -> Value:
    return ew.SHIFT_RIGHT(x, full(x.type, by))


def _spread(scalar: Value, like: TensorType) -> Value:
    return BROADCAST(scalar, shape=like.shape, dims=())


LOWERINGS: dict[str, Lowering] = {"sign": _sign, "rng_bits": _rng_bits}
