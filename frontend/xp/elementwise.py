"""Elementwise functions: sley's own, with positional arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dtypes import f64, i32, i64
from ..apply import apply
from ..functions import complex, logic, math, special
from ..functions.arguments import as_input, cast
from ..tensor import Tensor


def _named(function: Callable[..., Any], name: str, source: Callable[..., Any]) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = source.__doc__
    return function


def _one(name: str, source: Callable[..., Any]) -> Callable[[Any], Tensor]:
    def function(x: Any, /) -> Tensor:
        return source(x)

    return _named(function, name, source)


def _two(name: str, source: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    def function(x1: Any, x2: Any, /) -> Tensor:
        return source(x1, x2)

    return _named(function, name, source)


abs = _one("abs", math.abs)
acos = _one("acos", math.acos)
acosh = _one("acosh", special.acosh)
asin = _one("asin", math.asin)
asinh = _one("asinh", special.asinh)
atan = _one("atan", math.atan)
atanh = _one("atanh", special.atanh)
bitwise_invert = _one("bitwise_invert", logic.bitwise_not)
ceil = _one("ceil", math.ceil)
conj = _one("conj", complex.conj)
cos = _one("cos", math.cos)
cosh = _one("cosh", math.cosh)
exp = _one("exp", math.exp)
expm1 = _one("expm1", math.expm1)
floor = _one("floor", math.floor)
imag = _one("imag", complex.imag)
isfinite = _one("isfinite", logic.isfinite)
isinf = _one("isinf", logic.isinf)
isnan = _one("isnan", logic.isnan)
log = _one("log", math.log)
log1p = _one("log1p", math.log1p)
log2 = _one("log2", math.log2)
log10 = _one("log10", math.log10)
logical_not = _one("logical_not", logic.logical_not)
negative = _one("negative", math.neg)
positive = _one("positive", math.positive)
real = _one("real", complex.real)
reciprocal = _one("reciprocal", math.reciprocal)
round = _one("round", math.round)
sign = _one("sign", math.sgn)
signbit = _one("signbit", logic.signbit)
sin = _one("sin", math.sin)
sinh = _one("sinh", math.sinh)
sqrt = _one("sqrt", math.sqrt)
square = _one("square", math.square)
tan = _one("tan", math.tan)
tanh = _one("tanh", math.tanh)
trunc = _one("trunc", math.trunc)

add = _two("add", math.add)
atan2 = _two("atan2", math.atan2)
bitwise_and = _two("bitwise_and", math.bitwise_and)
bitwise_left_shift = _two("bitwise_left_shift", math.bitwise_left_shift)
bitwise_or = _two("bitwise_or", math.bitwise_or)
bitwise_right_shift = _two("bitwise_right_shift", math.bitwise_right_shift)
bitwise_xor = _two("bitwise_xor", math.bitwise_xor)
copysign = _two("copysign", math.copysign)
divide = _two("divide", math.true_divide)
equal = _two("equal", math.eq)
floor_divide = _two("floor_divide", math.floor_divide)
greater = _two("greater", math.gt)
greater_equal = _two("greater_equal", math.ge)
hypot = _two("hypot", special.hypot)
less = _two("less", math.lt)
less_equal = _two("less_equal", math.le)
logaddexp = _two("logaddexp", special.logaddexp)
logical_and = _two("logical_and", logic.logical_and)
logical_or = _two("logical_or", logic.logical_or)
logical_xor = _two("logical_xor", logic.logical_xor)
maximum = _two("maximum", math.maximum)
minimum = _two("minimum", math.minimum)
multiply = _two("multiply", math.mul)
not_equal = _two("not_equal", math.ne)
pow = _two("pow", math.pow)
remainder = _two("remainder", math.remainder)
subtract = _two("subtract", math.sub)


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """`x` with what is below `min` or above `max` replaced by these, in the dtype of `x`."""
    if min is None and max is None:
        return as_input(x).clone()
    return cast(math.clamp(x, min, max), x.dtype)


def nextafter(x1: Any, x2: Any, /) -> Tensor:
    """The number next to `x1` towards `x2`, of float32 or float64. Its gradient is 0.

    Raises:
        DTypeError: another dtype.
    """
    joined = math.maximum(x1, x2)  # of the dtype and shape; NaN where one is
    x = math.where(True, x1, joined).detach()
    y = math.where(True, x2, joined).detach()
    word = i64 if joined.dtype is f64 else i32
    up = math.gt(y, x)
    # Away from 0 the bits count up; next to 0 is the smallest number, with the sign of the way.
    away = logic.logical_not(logic.logical_xor(up, math.gt(x, 0)))
    bits = apply("bitcast", [x.clone()], dtype=word)
    moved = apply("bitcast", [math.where(away, bits + 1, bits - 1)], dtype=x.dtype)
    least = apply("bitcast", [cast(up, word) * 0 + 1], dtype=x.dtype)
    moved = math.where(math.eq(x, 0), math.where(up, least, -least), moved)
    found = math.where(math.eq(x, y), y, moved)
    return math.where(logic.isnan(joined), joined.detach(), found)
