"""Values out of nothing: constants, counters, sizes and random bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..dims import Expr
from ..dtypes import i64, u32, u64
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, define, need, refuse_float8

Types = Sequence[TensorType]

# Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
PHILOX_ROUNDS = 10
PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: Sequence[np.ndarray], key: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Four uint32 words for a counter of four and a key of two words (broadcast)."""
    c = [np.asarray(w, np.uint64) for w in counter]
    k = [np.asarray(w, np.uint64) for w in key]
    low = np.uint64(0xFFFFFFFF)
    for turn in range(PHILOX_ROUNDS):
        if turn:
            k = [(w + np.uint64(step)) & low for w, step in zip(k, PHILOX_WEYL, strict=True)]
        a = c[0] * np.uint64(PHILOX_MULTIPLIERS[0])
        b = c[2] * np.uint64(PHILOX_MULTIPLIERS[1])
        shift = np.uint64(32)
        c = [(b >> shift) ^ c[1] ^ k[0], b & low, (a >> shift) ^ c[3] ^ k[1], a & low]
    return [w.astype(np.uint32) for w in c]


def philox_bits(seed: np.ndarray, offset: np.ndarray, element: np.ndarray, bits: int) -> np.ndarray:
    """Element number `element` of a draw, see `rng_bits`; all three are i64 and broadcast."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    key, draw, number = (
        np.asarray(a).astype(np.int64).view(np.uint64) for a in (seed, offset, element)
    )
    counter = [number & low, number >> shift, draw & low, draw >> shift]
    words = philox(counter, [key & low, key >> shift])
    if bits == 32:
        return words[0]
    return words[0].astype(np.uint64) | (words[1].astype(np.uint64) << shift)


def _eval_bits(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    shape = tuple(attrs["shape"])
    element = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    return [np.asarray(philox_bits(arrays[0], arrays[1], element, attrs["bits"]))]


def _infer_bits(types: Types, attrs: Attrs) -> Types:
    scalar = tensor_type(i64, ())
    need(list(types) == [scalar, scalar], f"seed and offset are 0-d i64, got {list(types)}")
    need(attrs["bits"] in (32, 64), f"bits={attrs['bits']} is not 32 or 64")
    return (tensor_type(u32 if attrs["bits"] == 32 else u64, tuple(attrs["shape"])),)


def _infer_iota(types: Types, attrs: Attrs) -> Types:
    shape = tuple(attrs["shape"])
    need(0 <= attrs["axis"] < len(shape), f"axis {attrs['axis']} of shape {list(shape)}")
    dtype, result = attrs["dtype"], tensor_type(attrs["dtype"], shape)
    refuse_float8("iota", result)
    need(dtype.kind not in ("bool", "complex"), f"iota of {dtype.public}")
    return (result,)


def _eval_iota(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    shape, axis = tuple(attrs["shape"]), attrs["axis"]
    counted = np.arange(shape[axis]).astype(attrs["dtype"].numpy, copy=False)
    if len(shape) == 1:
        return [counted]
    result = np.empty(shape, counted.dtype)
    result[...] = counted.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return [result]


def _eval_size(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    expr = attrs["expr"]
    if isinstance(expr, Expr):
        raise ValueError(f"the sizes in {expr} are not known")
    return [np.asarray(expr, np.int64)]


CONSTANT = define(
    "constant", Kind.SOURCE,
    lambda types, attrs: (attrs["value"].type,),
    lambda arrays, attrs: [attrs["value"].array],
    "The array `value` (an `ir.literal.Literal`).", arity=0, attributes=("value",),
)  # fmt: skip
IOTA = define(
    "iota", Kind.SOURCE, _infer_iota, _eval_iota,
    "0, 1, 2, ... along `axis`, the same along the others.",
    arity=0, attributes=("shape", "axis", "dtype"),
    element=lambda attrs, index: index[attrs["axis"]],
)  # fmt: skip
SIZE = define(
    "size", Kind.SOURCE, lambda types, attrs: (tensor_type(i64, ()),), _eval_size,
    "The integer expression `expr` over size symbols, as a 0-d i64.", arity=0,
    attributes=("expr",), element=lambda attrs, index: attrs["expr"],
)  # fmt: skip
RNG_BITS = define(
    "rng_bits", Kind.SOURCE, _infer_bits, _eval_bits,
    """Random bits that depend on (seed, offset, element) alone: element e of draw `offset` is word
    0 (32 bits) or words 0 and 1 (64 bits, word 1 high) of Philox4x32-10 with the key `seed` and
    the counter (e low, e high, offset low, offset high). (Salmon et al., SC 2011.)""",
    arity=2, attributes=("shape", "bits"), cost=80,
)  # fmt: skip
