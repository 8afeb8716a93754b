"""log, log2, log10, log1p, asinh, acosh, atanh.

x = 2**k (1 + f) with f in [-1/4, 1/2); the logarithm of 1 + f is a polynomial whose leading term
is exact.
"""

from __future__ import annotations

from .coefficients import COEFFICIENTS
from .constants import LN2, LOG10_2, nearest, split
from .formats import FORMATS, INF, NAN
from .writer import Value, Writer


def exponent_and_rest(w: Writer, x: Value) -> tuple[Value, Value]:
    """The integer k and m with x = 2**k m, 3/4 <= m < 3/2, for a normal x > 0."""
    f = FORMATS[x.kind]
    bits = w.as_int(x)
    k = (bits - f.bits(0.75)) >> f.mantissa
    return k, w.as_float(bits - (k << f.mantissa))


def reduce(w: Writer, x: Value) -> tuple[Value, Value]:
    """k as a float and f, for finite x > 0; on AVX-512 for all x: specials come by themselves."""
    if w.has_avx512:
        m = w.significand(x)
        return w.exponent(x) - w.exponent(m), m - 1.0
    f = w.format
    tiny = x < f.smallest
    x = w.select(tiny, x * 2.0 ** (f.mantissa + 1), x)
    k, m = exponent_and_rest(w, x)
    exponent = w.integer_to_float(k) - w.select(tiny, w.constant(f.mantissa + 1), 0.0)
    return exponent, m - 1.0


def with_specials(w: Writer, x: Value, result: Value) -> Value:
    """-inf at zero, NaN below, inf and NaN pass through."""
    if w.has_avx512:
        return result
    result = w.select(x < INF, result, x)
    return w.select(x > 0.0, result, w.select(w.eq(x, 0.0), w.constant(-INF), NAN))


def _log_near_one(w: Writer, f: Value) -> Value:
    """log(1+f)"""
    return w.mad(f * f, w.polynomial(f, COEFFICIENTS["log", w.dtype]), f)


def _ln2(w: Writer) -> float:
    return nearest(w.dtype, LN2)


def log(w: Writer, x: Value) -> Value:
    k, f = reduce(w, x)
    return with_specials(w, x, w.mad(k, _ln2(w), _log_near_one(w, f)))


def log2(w: Writer, x: Value) -> Value:
    k, f = reduce(w, x)
    return with_specials(w, x, k + w.mad(f, w.polynomial(f, COEFFICIENTS["log2", w.dtype]), f))


def log10(w: Writer, x: Value) -> Value:
    k, f = reduce(w, x)
    near = w.mad(f, w.polynomial(f, COEFFICIENTS["log10", w.dtype]), f * 0.5)
    high, low = split(w.dtype, LOG10_2)
    return with_specials(w, x, w.mad(k, high, w.mad(k, low, near)))


def log1p(w: Writer, x: Value) -> Value:
    """As log of u = 1 + x; what u lost in rounding returns, scaled by 2**-k, in f."""
    f = w.format
    u = x + 1.0
    lost = x - (u - 1.0)
    if w.has_avx512:
        k, rest = reduce(w, u)
        lost = w.select(u < INF, lost, 0.0)
        near = _log_near_one(w, rest + w.scale(lost, w.at_most(-k, f.mantissa + 2)))
        return w.copysign(w.mad(k, _ln2(w), near), x)
    k, m = exponent_and_rest(w, u)
    scale = f.bits(1.0) - (k << f.mantissa)
    scale = w.as_float(w.select(scale > 0, scale, 0))
    near = _log_near_one(w, w.mad(lost, scale, m - 1.0))
    result = w.mad(w.integer_to_float(k), _ln2(w), near)
    return w.copysign(with_specials(w, u, result), x)


def asinh(w: Writer, x: Value) -> Value:
    size = w.abs(x)
    big = size > 2.0 ** (w.format.mantissa + 2)
    square = size * size
    v = size + square / (w.sqrt(square + 1.0) + 1.0)
    result = log1p(w, w.select(big, size, v)) + w.select(big, w.constant(_ln2(w)), 0.0)
    return w.copysign(result, x)


def acosh(w: Writer, x: Value) -> Value:
    big = x > 2.0 ** (w.format.mantissa + 2)
    t = x - 1.0
    v = t + w.sqrt(w.mad(t, t, t + t))
    result = log1p(w, w.select(big, x, v)) + w.select(big, w.constant(_ln2(w)), 0.0)
    return w.select(x < 1.0, NAN, result)


def atanh(w: Writer, x: Value) -> Value:
    size = w.abs(x)
    return w.copysign(log1p(w, (size + size) / (1.0 - size)) * 0.5, x)
