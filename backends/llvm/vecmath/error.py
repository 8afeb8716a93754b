"""erf and erfc."""

from __future__ import annotations

from .coefficients import COEFFICIENTS
from .exponential import negative_exp
from .writer import Value, Writer


def _near(w: Writer, x: Value) -> Value:
    """erf for |x| <= 1: x + x g(x*x)"""
    return w.mad(x, w.polynomial(x * x, COEFFICIENTS["erf", w.dtype]), x)


def _far_erfc(w: Writer, size: Value) -> Value:
    """erfc for 0.5 <= x: e**(-x*x) g((x - 4) / (x + 4)) / (1 + 2x)"""
    size = w.at_most(size, 11.0 if w.dtype == "f32" else 28.0)
    g = w.polynomial((size - 4.0) / (size + 4.0), COEFFICIENTS["erfcx", w.dtype])
    square, low = w.two_product(size, size)
    return negative_exp(w, -square, -low, factor=g / (size + size + 1.0))


def erf(w: Writer, x: Value) -> Value:
    size = w.abs(x)
    if w.dtype == "f32":
        u = w.at_most(size, 4.0) - 2.5
        far = w.polynomial(u, COEFFICIENTS["erf_far", w.dtype]) + 1.0
    else:
        far = 1.0 - _far_erfc(w, size)
    return w.select(size > 1.0, w.copysign(far, x), _near(w, x))


def erfc(w: Writer, x: Value) -> Value:
    size = w.abs(x)
    tail = _far_erfc(w, size)
    far = w.select(x > 0.0, tail, 2.0 - tail)
    return w.select(size > 0.5, far, 1.0 - _near(w, x))
