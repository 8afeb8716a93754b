"""exp, exp2, expm1, sigmoid, tanh, sinh, cosh.

exp is p * s * s: the argument is reduced by an even multiple of ln 2, so one power of two s = 2**m
serves twice; the product overflows and rounds to subnormals by itself. What is smaller than any of
these is made 0 before it is scaled: a product that underflows takes some hundred times longer.
"""

from __future__ import annotations

import math
from fractions import Fraction

from .coefficients import COEFFICIENTS
from .constants import LN2, nearest, split
from .writer import Value, Writer

LOG2E = 1 / math.log(2)


def exp(w: Writer, x: Value, low: Value | None = None) -> Value:
    """e**(x + low)"""
    if not w.has_avx512:
        p, s = exp_parts(w, x, low)
        return _or_zero(w, x, p) * s * s
    n, _ = w.nearest(w.at_most(x, _limit(w)), LOG2E)
    p = exp_polynomial(w, _rest(w, x, n, LN2, low), "exp")
    return w.scale(_or_zero(w, x, p), n)


def exp_parts(w: Writer, x: Value, low: Value | None = None) -> tuple[Value, Value]:
    """p and s with e**(x + low) = p * s * s."""
    f, limit = w.format, _limit(w)
    x = w.at_most(w.at_least(x, -limit), limit)
    m, bits = w.nearest(x, LOG2E / 2, f.bias)
    p = exp_polynomial(w, _rest(w, x, m, 2 * LN2, low), "exp_wide")
    return p, w.as_float(bits << f.mantissa)


def negative_exp(
    w: Writer, x: Value, low: Value | None = None, factor: Value | None = None
) -> Value:
    """factor * e**(x + low), x <= 0: scaled up, where nothing is subnormal, then down."""
    f = w.format
    up, given = (f.bias + 1) // 2, x
    x = w.at_least(x, -(f.bias + f.mantissa + 2) * math.log(2))
    n, bits = w.nearest(x, LOG2E, f.bias + up)
    p = exp_polynomial(w, _rest(w, x, n, LN2, low), "exp")
    if factor is not None:
        p = p * factor
    p = _or_zero(w, given, p)
    if w.has_avx512:
        return w.scale(p, n)
    return p * w.as_float(bits << f.mantissa) * 2.0**-up


def _limit(w: Writer) -> float:
    """A number from which on e**x is infinite, and e**-x is 0."""
    return 2 * (w.format.bias - 2) * math.log(2)


def _or_zero(w: Writer, x: Value, p: Value) -> Value:
    """p, or 0 where e**x is less than half of the smallest subnormal number."""
    return w.select(x < -(w.format.bias + w.format.mantissa) * math.log(2), 0.0, p)


def _rest(w: Writer, x: Value, n: Value, step: Fraction, low: Value | None = None) -> Value:
    """x - n step + low, the step in two parts."""
    high, rest = split(w.dtype, step)
    r = w.fma(n, -rest, w.fma(n, -high, x))
    return r if low is None else r + low


def exp_polynomial(w: Writer, r: Value, name: str) -> Value:
    """1 + (r + r*r g(r)): the addition of r before that of 1 keeps the error near half a unit."""
    return w.mad(r * r, w.polynomial(r, COEFFICIENTS[name, w.dtype]), r) + 1.0


def exp2(w: Writer, x: Value) -> Value:
    f = w.format
    limit = 2.0 * (f.bias - 1)
    x = w.at_most(w.at_least(x, -limit), limit)
    if w.has_avx512:
        n, _ = w.nearest(x, 1.0)
        return w.scale(w.polynomial(x - n, (1.0, *COEFFICIENTS["exp2", w.dtype])), n)
    m, bits = w.nearest(x, 0.5, f.bias)
    r = w.mad(m, -2.0, x)
    p = w.polynomial(r, (1.0, *COEFFICIENTS["exp2_wide", w.dtype]))
    s = w.as_float(bits << f.mantissa)
    return p * s * s


def expm1(w: Writer, x: Value) -> Value:
    """2**n (p + 1) - 1 with p = e**r - 1; at half size, since 2**n alone can overflow."""
    f = w.format
    v = w.at_least(x, -(f.mantissa + 3) * math.log(2))
    v = w.at_most(v, (f.bias + 1.3) * math.log(2))
    n, bits = w.nearest(v, LOG2E, f.bias - 1)
    r = _rest(w, v, n, LN2)
    p = w.mad(r * r, w.polynomial(r, COEFFICIENTS["expm1", w.dtype]), r)
    s = w.as_float(bits << f.mantissa)
    half = w.fma(s, p, s - 0.5)
    return w.select(w.abs(x) < 2.0 ** -(f.mantissa + 2), x, half + half)


def sigmoid(w: Writer, x: Value) -> Value:
    """With t = e**-|x|, s = t / (1 + t): 1 - s, or t - t s, which damps the quotient's error."""
    t = negative_exp(w, w.as_float(w.as_int(x) | w.format.sign))
    s = w.quotient(t, t + 1.0)
    top = w.select(x > 0.0, 1.0, t)
    return w.mad(-top, s, top)


def odd_polynomial(w: Writer, x: Value, name: str) -> Value:
    """x + x z g(z), z = x*x"""
    z = x * x
    return w.mad(x * z, w.polynomial(z, COEFFICIENTS[name, w.dtype]), x)


def tanh(w: Writer, x: Value) -> Value:
    """A polynomial near zero, 1 - 2 / (e**2x + 1) beyond."""
    f = w.format
    near = odd_polynomial(w, x, "tanh")
    size = w.abs(x)
    v = w.at_most(size, 9.2 if w.dtype == "f32" else 19.2)
    v = v + v
    n, bits = w.nearest(v, LOG2E)
    if w.dtype == "f32":
        r = w.fma(n, -nearest(w.dtype, LN2), v)  # n is small, and 1 - 2 / (t + 1) damps t's error
    else:
        r = _rest(w, v, n, LN2)
    p = exp_polynomial(w, r, "exp")
    t = w.scale(p, n) if w.has_avx512 else w.as_float(w.as_int(p) + (bits << f.mantissa))
    far = 1.0 - w.quotient(w.constant(2.0), t + 1.0)
    return w.copysign(w.select(size > 0.7, far, near), x)  # near zero the polynomial loses -0


def _half_exp(w: Writer, size: Value) -> Value:
    p, s = exp_parts(w, size)
    return (p * s) * (s * 0.5)


def sinh(w: Writer, x: Value) -> Value:
    near = odd_polynomial(w, x, "sinh")
    size = w.abs(x)
    e = _half_exp(w, size)
    return w.select(size > 1.0, w.copysign(e - 0.25 / e, x), near)


def cosh(w: Writer, x: Value) -> Value:
    e = _half_exp(w, w.abs(x))
    return e + 0.25 / e
