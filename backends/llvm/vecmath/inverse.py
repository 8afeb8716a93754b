"""asin, acos, atan, atan2."""

from __future__ import annotations

from .coefficients import COEFFICIENTS
from .constants import PI, split
from .exponential import odd_polynomial
from .writer import Value, Writer


def _from(w: Writer, fraction_of_pi: int, x: Value) -> Value:
    """pi / fraction - x"""
    high, low = split(w.dtype, PI / fraction_of_pi)
    return high - (x - low)


def _asin_parts(w: Writer, x: Value) -> tuple[Value, Value]:
    """Whether |x| > 1/2, and asin of |x|, or there asin(sqrt((1 - |x|) / 2))."""
    size = w.abs(x)
    big = size > 0.5
    half = (1.0 - size) * 0.5
    z = w.select(big, half, size * size)
    u = w.select(big, w.sqrt(half), size)
    return big, w.mad(u * z, w.polynomial(z, COEFFICIENTS["asin", w.dtype]), u)


def asin(w: Writer, x: Value) -> Value:
    big, p = _asin_parts(w, x)
    return w.copysign(w.select(big, _from(w, 2, p + p), p), x)


def acos(w: Writer, x: Value) -> Value:
    big, p = _asin_parts(w, x)
    double = p + p
    outer = w.select(x > 0.0, double, _from(w, 1, double))
    return w.select(big, outer, _from(w, 2, w.copysign(p, x)))


def atan(w: Writer, x: Value) -> Value:
    size = w.abs(x)
    big = size > 1.0
    q = w.select(big, w.constant(1.0), size) / w.select(big, size, 1.0)
    p = odd_polynomial(w, q, "atan")
    return w.copysign(w.select(big, _from(w, 2, p), p), x)


def atan2(w: Writer, y: Value, x: Value) -> Value:
    high, wide = w.abs(y), w.abs(x)
    steep = high > wide
    top, bottom = w.select(steep, wide, high), w.select(steep, high, wide)
    q = top / bottom
    q = w.select(w.eq(bottom, 0.0), top, w.select(w.eq(top, bottom), 1.0, q))
    p = odd_polynomial(w, q, "atan")
    p = w.select(steep, _from(w, 2, p), p)
    p = w.select(w.as_int(x) < 0, _from(w, 1, p), p)
    return w.copysign(p, y)
