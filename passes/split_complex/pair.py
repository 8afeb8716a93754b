"""A complex value as two real ones, and the arithmetic of such pairs.

Overflow, special values and the signs of zeros are those of numpy: multiplication is the textbook
one, division is R. L. Smith's ("Algorithm 116: Complex division", CACM 1962).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...ir.dtypes import DType, f32, u32, u64
from ...ir.graph import Value, full
from ...ir.ops import elementwise as ew


class Pair(NamedTuple):
    """The real and the imaginary part of a value, of one real type."""

    re: Value
    im: Value

    @property
    def dtype(self) -> DType:
        return self.re.type.dtype


# Real values


def where(condition: Value, x: Value | float, y: Value | float) -> Value:
    """One of both may be a number."""
    like = x if isinstance(x, Value) else y
    assert isinstance(like, Value)
    sides = [v if isinstance(v, Value) else full(like.type, v) for v in (x, y)]
    return ew.WHERE(condition, *sides)


def is_number(x: Value, number: float) -> Value:
    return ew.EQ(x, full(x.type, number))


def is_infinite(x: Value) -> Value:
    return is_number(ew.ABS(x), math.inf)


def is_finite(x: Value) -> Value:
    return ew.LT(ew.ABS(x), full(x.type, math.inf))


def above(x: Value, number: float) -> Value:
    return ew.GT(x, full(x.type, number))


def copysign(size: Value, sign: Value) -> Value:
    """The magnitude of `size` with the sign of `sign`, also of -0."""
    words = u32 if size.type.dtype is f32 else u64
    top = 1 << (words.bits - 1)
    bits, signs = (ew.BITCAST(v, dtype=words) for v in (size, sign))
    kept = ew.BIT_AND(bits, full(bits.type, top - 1))
    taken = ew.BIT_AND(signs, full(signs.type, top))
    return ew.BITCAST(ew.BIT_OR(kept, taken), dtype=size.type.dtype)


def ordered(z: Pair) -> tuple[Value, Value]:
    """The larger and the smaller of |re| and |im|; both NaN if one is."""
    a, b = ew.ABS(z.re), ew.ABS(z.im)
    return ew.MAXIMUM(a, b), ew.MINIMUM(a, b)


# Complex values


def real_pair(x: Value) -> Pair:
    """A real value as a complex one."""
    return Pair(x, full(x.type, 0))


def choose(condition: Value, x: Pair, y: Pair) -> Pair:
    return Pair(where(condition, x.re, y.re), where(condition, x.im, y.im))


def add(x: Pair, y: Pair) -> Pair:
    return Pair(x.re + y.re, x.im + y.im)


def negate(z: Pair) -> Pair:
    return Pair(-z.re, -z.im)


def multiply(x: Pair, y: Pair) -> Pair:
    return Pair(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)


def divide(x: Pair, y: Pair) -> Pair:
    """By the quotient of the smaller part of y over the larger one, so that nothing overflows on
    the way; by 0 each part is divided by 0."""
    a, b = ew.ABS(y.re), ew.ABS(y.im)
    by_real = ew.GE(a, b)
    large, small = where(by_real, y.re, y.im), where(by_real, y.im, y.re)
    first, second = where(by_real, x.re, x.im), where(by_real, x.im, x.re)
    ratio = small / large
    scale = 1.0 / (large + small * ratio)
    turned = first * ratio
    re = (first + second * ratio) * scale
    im = where(by_real, second - turned, turned - second) * scale
    zero = ew.BIT_AND(is_number(a, 0), is_number(b, 0))
    return Pair(where(zero, x.re / a, re), where(zero, x.im / a, im))


def length(z: Pair) -> Value:
    """|z| without overflow; inf where a part is, even beside a NaN."""
    large, small = ordered(z)
    ratio = small / where(is_number(large, 0), 1.0, large)
    found = large * ew.SQRT(ratio * ratio + 1)
    return where(ew.BIT_OR(is_infinite(z.re), is_infinite(z.im)), math.inf, found)


def equal(x: Pair, y: Pair) -> Value:
    return ew.BIT_AND(ew.EQ(x.re, y.re), ew.EQ(x.im, y.im))


def not_equal(x: Pair, y: Pair) -> Value:
    return ew.BIT_OR(ew.NE(x.re, y.re), ew.NE(x.im, y.im))
