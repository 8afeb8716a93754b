"""rsqrt and pow.

float32's pow computes in float64; float64's has the logarithm as an unevaluated sum of two floats.
"""

from __future__ import annotations

from fractions import Fraction

from .coefficients import COEFFICIENTS
from .constants import LN2, split
from .exponential import exp
from .formats import F64, INF, NAN
from .logarithm import exponent_and_rest, reduce
from .writer import Value, Writer


def rsqrt(w: Writer, x: Value) -> Value:
    if not (w.has_avx512 and w.dtype == "f32"):
        return 1.0 / w.sqrt(x)
    y = w.rsqrt_estimate(x)
    error = w.fma(-(x * y), y, 1.0)
    return w.select(w.is_nan(error), y, w.mad(y * 0.5, error, y))  # NaN at zero and infinity too


def pow(w: Writer, x: Value, y: Value) -> Value:
    size = w.abs(x)
    magnitude = (_magnitude32 if w.dtype == "f32" else _magnitude64)(w, size, y)
    whole, odd = _integrality(w, y)
    result = w.flip(magnitude, w.select(odd, w.sign_of(x), 0))
    finite_negative = w.select(x < 0.0, size, INF) < INF
    invalid = w.select(finite_negative, w.select(whole, w.constant(0.0), 1.0), 0.0) > 0.0
    result = w.select(invalid, NAN, result)
    result = w.select(w.eq(x, 1.0), w.constant(1.0), result)
    return w.select(w.eq(y, 0.0), w.constant(1.0), result)


def _integrality(w: Writer, y: Value) -> tuple[Value, Value]:
    """Whether y is an integer, and whether an odd one."""
    top = 2.0**w.format.mantissa  # from here on there are no fractions
    size = w.abs(y)

    def is_whole(v: Value) -> Value:
        return w.eq(w.select(v < top, (v + top) - top, v), v)

    whole, half_whole = is_whole(size), is_whole(size * 0.5)
    return whole, w.emit(f"xor {w.type('i1')} {whole.ref}, {half_whole.ref}", "i1")


def _magnitude32(w: Writer, size: Value, y: Value) -> Value:
    """size**y = 2**(y log2(size)) for size >= 0"""
    wide, power = w.convert("fpext", size, "f64"), w.convert("fpext", y, "f64")
    if w.has_avx512:
        k, f = reduce(w, wide)
    else:  # no subnormals: they became normal
        k, m = exponent_and_rest(w, wide)
        k, f = w.integer_to_float(k), m - 1.0
    log2 = w.mad(f, w.polynomial(f, COEFFICIENTS["pow32_log2", "f64"]), k)
    if not w.has_avx512:
        log2 = w.select(w.eq(wide, 0.0), -INF, w.select(wide < INF, log2, wide))
    power = w.at_most(w.at_least(power, -(2.0**40)), 2.0**40)  # so that 1**inf is 1
    e = w.at_most(w.at_least(power * log2, -200.0), 200.0)
    n, bits = w.nearest(e, 1.0, F64.bias)
    p = w.polynomial(e - n, COEFFICIENTS["pow32_exp2", "f64"])
    return w.convert("fptrunc", p * w.as_float(bits << F64.mantissa), "f32")


def _magnitude64(w: Writer, size: Value, y: Value) -> Value:
    high, low = _log_in_two(w, size)
    high = w.select(w.eq(size, 0.0), -INF, w.select(size < INF, high, size))
    y = w.at_most(w.at_least(y, -(2.0**65)), 2.0**65)
    e, error = w.two_product(y, high)
    error = w.select(w.abs(e) < 2000.0, w.mad(y, low, error), 0.0)
    return exp(w, e, error)


THIRD = Fraction(1, 3)
LN2_HIGH = Fraction(int(LN2 * 2**40), 2**40)  # times any exponent this is exact


def _log_in_two(w: Writer, x: Value) -> tuple[Value, Value]:
    """log(x) to about 66 bits: k ln 2 + 2 atanh(s), s = (m - 1) / (m + 1).

    atanh(s) is s + s z (1/3 + z g(z)), z = s*s.
    """
    k, f = reduce(w, x)
    d = f + 2.0
    d_low = f - (d - 2.0)
    reciprocal = 1.0 / d
    s = f * reciprocal
    s_low = w.fma(-s, d_low, w.fma(-s, d, f)) * reciprocal
    z, z_low = w.two_product(s, s)
    z_low = w.mad(s + s, s_low, z_low)
    third, third_low = split(w.dtype, THIRD)
    q, q_low = w.fast_two_sum(
        w.constant(third), z * w.polynomial(z, COEFFICIENTS["pow_log", w.dtype])
    )
    q_low = q_low + third_low
    t, t_low = w.two_product(z, q)
    t_low = w.mad(z, q_low, w.mad(z_low, q, t_low))
    p, p_low = w.two_product(s, t)
    p_low = w.mad(s, t_low, w.mad(s_low, t, p_low))
    high, low = w.fast_two_sum(s, p)
    low = (low + p_low) + s_low
    sum_high, sum_low = w.fast_two_sum(k * float(LN2_HIGH), high + high)
    sum_low = sum_low + w.mad(k, float(LN2 - LN2_HIGH), low + low)
    return w.fast_two_sum(sum_high, sum_low)
