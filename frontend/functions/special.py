"""Elementwise functions that are several ops: exact near 0 and without overflow."""

from __future__ import annotations

import math
from typing import Any

from ...ir.dtypes import DType, c128, f64
from ..apply import elementwise
from ..autocast import autocasts
from ..construct import as_tensor
from ..tensor import Tensor, here
from .arguments import cast, operand, promoted, takes_out
from .complex import complex_acosh, complex_asinh
from .logic import isinf, logical_and, logical_or, signbit
from .math import (
    abs,
    add,
    cast_float,
    clamp,
    eq,
    erf,
    exp,
    ge,
    gt,
    le,
    log,
    log1p,
    lt,
    maximum,
    mul,
    neg,
    pow,
    sin,
    sqrt,
    sub,
    true_divide,
    where,
)
from .reduction import wide

_INF = math.inf


@takes_out
def hypot(input: Any, other: Any) -> Tensor:
    """sqrt(input**2 + other**2) without overflow on the way."""
    a, b = promoted(input, other, promote="float")
    larger = maximum(abs(a), abs(b))
    plain = logical_or(eq(larger, 0), isinf(larger))
    scale = elementwise("stop_gradient", where(plain, 1, larger))
    x, y = true_divide(a, scale), true_divide(b, scale)
    length = mul(sqrt(add(mul(x, x), mul(y, y))), scale)
    return where(logical_or(isinf(a), isinf(b)), _INF, length)


def stop_gradient(input: Any) -> Tensor:
    """input, through which no gradient flows: a copy, where `detach()` shares the memory."""
    return elementwise("stop_gradient", operand(input))


def log_sigmoid(input: Any) -> Tensor:
    """log(sigmoid(x)), exact for large |x|."""
    return sub(minimum_zero(input), log1p(exp(neg(abs(input)))))


def minimum_zero(input: Any) -> Tensor:
    """min(x, 0), with the gradient 1/2 at 0 (that of smooth functions built on it)."""
    return elementwise("minimum", operand(input), 0)


@takes_out
def logaddexp(input: Any, other: Any) -> Tensor:
    """log(exp(input) + exp(other)) without overflow."""
    x, y = promoted(input, other, promote="float")
    gap = where(eq(x, y), 0, sub(x, y))
    return add(maximum(x, y), log1p(exp(neg(abs(gap)))))


@takes_out
def logaddexp2(input: Any, other: Any) -> Tensor:
    """log2(2 ** input + 2 ** other) without overflow."""
    ln2 = math.log(2.0)
    x, y = promoted(input, other, promote="float")
    return true_divide(logaddexp(mul(x, ln2), mul(y, ln2)), ln2)


@takes_out
def asinh(input: Any) -> Tensor:
    """The inverse hyperbolic sine."""
    x = cast_float(input)
    if here(x).spec.dtype.is_complex:
        return complex_asinh(x)
    below = signbit(x)
    a = where(below, neg(x), x)
    large = gt(a, 1e4)
    b = where(large, 1.0, a)
    square_ = mul(b, b)
    small = log1p(add(b, true_divide(square_, add(sqrt(add(square_, 1)), 1))))
    result = where(large, add(log(where(large, a, 1.0)), math.log(2.0)), small)
    return where(below, neg(result), result)


@takes_out
def acosh(input: Any) -> Tensor:
    """The inverse hyperbolic cosine; NaN below 1."""
    x = cast_float(input)
    if here(x).spec.dtype.is_complex:
        return complex_acosh(x)
    large = gt(x, 1e4)
    t = sub(where(large, 1.0, x), 1)
    small = log1p(add(t, sqrt(add(mul(t, t), mul(t, 2)))))
    return where(large, add(log(where(large, x, 1.0)), math.log(2.0)), small)


@takes_out
def atanh(input: Any) -> Tensor:
    """The inverse hyperbolic tangent; NaN outside [-1, 1]."""
    x = cast_float(input)
    return mul(sub(log1p(x), log1p(neg(x))), 0.5)


arcsinh, arccosh, arctanh = asinh, acosh, atanh


@takes_out
def logit(input: Any, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), of x clamped to [eps, 1 - eps] where eps is given."""
    x = cast_float(input)
    if eps is not None:
        x = clamp(x, eps, 1 - eps)
    return log(true_divide(x, sub(1, x)))


@takes_out
def sinc(input: Any) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0."""
    x = cast_float(input)
    zero = eq(x, 0)
    angle = mul(where(zero, 1.0, x), math.pi)
    return where(zero, 1.0, true_divide(sin(angle), angle))


@takes_out
def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), 0 where input is 0 (and other is not NaN), with the slopes there."""
    x, y = promoted(input, other, promote="float")
    zero = logical_and(eq(x, 0), logical_or(le(y, 0), isinf(y)))
    return where(zero, 0.0, mul(x, log(where(zero, 1.0, y))))


@takes_out
def float_power(input: Any, exponent: Any) -> Tensor:
    """input ** exponent in float64, or complex128 where one is complex."""
    x, _ = promoted(input, exponent)
    wide = c128 if here(x).spec.dtype.is_complex else f64
    return pow(_widened(input, wide), _widened(exponent, wide))


def _widened(value: Any, dtype: DType) -> Tensor:
    return cast(value, dtype) if isinstance(value, Tensor) else as_tensor(value, dtype)


@takes_out
def ldexp(input: Any, other: Any) -> Tensor:
    """input * 2 ** other."""
    x, y = promoted(input, other, promote="float")
    return mul(x, pow(2.0, y))


@takes_out
def deg2rad(input: Any) -> Tensor:
    """Degrees as radians."""
    return mul(cast_float(input), math.pi / 180)


@takes_out
def rad2deg(input: Any) -> Tensor:
    """Radians as degrees."""
    return mul(cast_float(input), 180 / math.pi)


# Giles, "Approximating the erfinv function", GPU Computing Gems, 2011: float32's coefficients.
_ERFINV_CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                  -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_ERFINV_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
                -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    result: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        result = add(mul(x, result), coefficient)
    return result


@autocasts
@takes_out
def erfinv(input: Any) -> Tensor:
    """The inverse of erf on (-1, 1); inf at 1, NaN outside.

    M. Giles, "Approximating the erfinv function", 2011; float64 by two Newton steps from there.
    """
    given = cast_float(input)
    x = wide(given)
    edge = ge(abs(x), 1)
    inside = where(edge, 0.0, x)
    w = neg(log1p(neg(mul(inside, inside))))
    centre = _polynomial(_ERFINV_CENTRE, sub(w, 2.5))
    tail = _polynomial(_ERFINV_TAIL, sub(sqrt(where(lt(w, 5.0), 9.0, w)), 3.0))
    result = mul(where(lt(w, 5.0), centre, tail), inside)
    if here(x).spec.dtype.itemsize == 8:
        for _ in range(2):
            slope = mul(exp(neg(mul(result, result))), 2 / math.sqrt(math.pi))
            result = sub(result, true_divide(sub(erf(result), inside), slope))
    # A factor, so that the slope is inf and NaN there, too.
    at_edge = mul(x, where(edge, where(eq(abs(x), 1), _INF, math.nan), 1.0))
    return cast(where(edge, at_edge, result), here(given).spec.dtype)
