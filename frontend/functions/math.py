"""Elementwise functions, with PyTorch's promotion and broadcasting."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from ...ir.dtypes import bool_
from ...ir.ops import OPS
from ..apply import elementwise
from ..autocast import POLICIES, autocasts
from ..context import ambient
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor, here
from .arguments import as_input, cast, operand, promoted, takes_out

_INF = math.inf


def _named(function: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return takes_out(autocasts(function) if name in POLICIES else function)


def _unary(name: str, formula: str, op_name: str | None = None) -> Callable[[Any], Tensor]:
    """A function of floats; integers and bools become the default dtype first."""
    op = OPS[op_name or name]

    def function(input: Any) -> Tensor:
        return elementwise(op, operand(input), promote="float")

    doc = f"{formula}, elementwise. Integers become the default dtype."
    return _named(function, name, doc)


def _rounding(name: str, formula: str) -> Callable[[Any], Tensor]:
    """A function that changes nothing in integers."""
    op = OPS[name]

    def function(input: Any) -> Tensor:
        tensor = as_input(input)
        return elementwise(op, tensor) if here(tensor).spec.dtype.is_inexact else tensor.clone()

    return _named(function, name, f"{formula}, elementwise; integers stay as they are.")


def _binary(
    name: str, formula: str, op_name: str | None = None, promote: str = "default"
) -> Callable[[Any, Any], Tensor]:
    op = OPS[op_name or name]

    def function(input: Any, other: Any) -> Tensor:
        return elementwise(op, operand(input), operand(other), promote=promote)

    doc = f"{formula}, elementwise, with broadcasting and type promotion."
    return _named(function, name, doc)


def _comparison(name: str, symbol: str) -> Callable[[Any, Any], Tensor]:
    return _binary(name, f"Whether input {symbol} other (a bool tensor)")


sqrt = _unary("sqrt", "The square root")
rsqrt = _unary("rsqrt", "1 / sqrt(x)")
exp = _unary("exp", "e ** x")
exp2 = _unary("exp2", "2 ** x")
expm1 = _unary("expm1", "e ** x - 1, exact near 0")
log = _unary("log", "The natural logarithm")
log2 = _unary("log2", "The logarithm to the base 2")
log10 = _unary("log10", "The logarithm to the base 10")
log1p = _unary("log1p", "log(1 + x), exact near 0")
sin = _unary("sin", "The sine of radians")
cos = _unary("cos", "The cosine of radians")
tan = _unary("tan", "The tangent of radians")
asin = _unary("asin", "The arc sine in radians")
acos = _unary("acos", "The arc cosine in radians")
atan = _unary("atan", "The arc tangent in radians")
sinh = _unary("sinh", "The hyperbolic sine")
cosh = _unary("cosh", "The hyperbolic cosine")
tanh = _unary("tanh", "The hyperbolic tangent")
erf = _unary("erf", "The error function, 2/sqrt(pi) * integral of exp(-t*t) from 0 to x")
sigmoid = _unary("sigmoid", "1 / (1 + exp(-x))")
floor = _rounding("floor", "The largest integer <= x")
ceil = _rounding("ceil", "The smallest integer >= x")
trunc = fix = _rounding("trunc", "x without its fraction")

mul = multiply = _binary("mul", "input * other")
true_divide = _binary("true_divide", "input / other", "div", "float")
floor_divide = _binary("floor_divide", "floor(input / other)", "floor_div")
remainder = _binary("remainder", "input - floor(input / other) * other, of the sign of other")
maximum = _binary("maximum", "The larger of both, NaN if one is")
minimum = _binary("minimum", "The smaller of both, NaN if one is")
atan2 = arctan2 = _binary("atan2", "The angle of the point (other, input)", promote="float")
bitwise_and = _binary("bitwise_and", "The bits set in both", "bit_and")
bitwise_or = _binary("bitwise_or", "The bits set in either", "bit_or")
bitwise_xor = _binary("bitwise_xor", "The bits set in one of both", "bit_xor")
bitwise_left_shift = _binary("bitwise_left_shift", "input << other", "shift_left")
bitwise_right_shift = _binary("bitwise_right_shift", "input >> other", "shift_right")
eq = _comparison("eq", "==")
ne = not_equal = _comparison("ne", "!=")
lt = less = _comparison("lt", "<")
le = less_equal = _comparison("le", "<=")
gt = greater = _comparison("gt", ">")
ge = greater_equal = _comparison("ge", ">=")
arcsin, arccos, arctan = asin, acos, atan


# Arithmetic


def _scaled(input: Any, other: Any, alpha: Any, name: str) -> tuple[Any, Any]:
    """input and alpha * other; alpha is of the dtype of both and takes no part in promotion."""
    if isinstance(alpha, int) and alpha == 1:
        return operand(input), operand(other)
    x, y = promoted(input, other)
    dtype = here(y).spec.dtype
    if isinstance(alpha, float) and not dtype.is_inexact:
        raise DTypeError(
            f"{name}: alpha={alpha} is no integer, and the operands are {dtype.public}",
            hint=f"multiply first: {name}(input, alpha * other)",
        )
    return x, cast(mul(y, alpha), dtype)


@takes_out
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other, with broadcasting and type promotion.

    Raises:
        DTypeError: alpha is a float, and neither operand.
    """
    return elementwise("add", *_scaled(input, other, alpha, "add"))


@takes_out
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other, as `add`."""
    return elementwise("sub", *_scaled(input, other, alpha, "sub"))


subtract = sub


@takes_out
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


@takes_out
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; with `rounding_mode` "floor" or "trunc" rounded so, integers staying integers.

    Raises:
        ArgumentError: another rounding mode.
    """
    if rounding_mode is None:
        return true_divide(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise ArgumentError(f"div: rounding_mode={rounding_mode!r} is not None, 'floor' or 'trunc'")
    rest = fmod(input, other)
    if here(rest).spec.dtype.is_inexact:
        x, y = promoted(input, other)
        # Rounded it is flat, also where the quotient is not finite.
        return trunc(true_divide(x.detach(), y.detach()))
    return floor_divide(sub(input, rest), other)


divide = div


@takes_out
def fmod(input: Any, other: Any) -> Tensor:
    """The rest of the division rounded to 0: of the sign of input.

    Raises:
        DTypeError: an operand is complex, or both are bools.
    """
    x, y = promoted(input, other)
    dtype = here(x).spec.dtype
    if dtype.is_complex:
        raise DTypeError(f"fmod of {dtype.public}: complex numbers have no order")
    if dtype.kind == "uint":
        return remainder(x, y)
    below = _below(x)
    rest = remainder(where(below, neg(x), x), abs(y))  # abs() has no slope at 0
    return where(below, neg(rest), rest)


@autocasts
@takes_out
def pow(input: Any, exponent: Any) -> Tensor:
    """input ** exponent.

    Raises:
        DTypeError: integers to the power of a negative Python int.
    """
    base, power = operand(input), operand(exponent)
    if isinstance(power, int) and power < 0:
        if isinstance(base, Tensor) and not here(base).spec.dtype.is_inexact:
            raise DTypeError("integers to a negative integer power", hint="use a float exponent")
    return elementwise("pow", base, power)


@takes_out
def square(input: Any) -> Tensor:
    """input * input; of bools in int64."""
    x = as_input(input)
    return pow(x, 2) if here(x).spec.dtype is bool_ else mul(x, x)


@takes_out
def neg(input: Any) -> Tensor:
    """-input."""
    return elementwise("neg", operand(input))


negative = neg


def positive(input: Tensor) -> Tensor:
    """input itself."""
    return input


@takes_out
def abs(input: Any) -> Tensor:
    """The absolute value; of a complex number its (real) length."""
    return elementwise("abs", operand(input))


absolute = abs


@takes_out
def sign(input: Any) -> Tensor:
    """-1, 0 or 1; NaN for NaN; of a bool itself; complex numbers have `sgn`."""
    tensor = as_input(input)
    if here(tensor).spec.dtype.kind == "bool":
        return tensor.clone()
    return elementwise("sign", tensor)


@takes_out
def sgn(input: Any) -> Tensor:
    """As `sign`; of a complex number its direction, input / abs(input), 0 at 0."""
    tensor = as_input(input)
    if not here(tensor).spec.dtype.is_complex:
        return sign(tensor)
    length = elementwise("abs", tensor)
    zero = eq(length, 0)
    return true_divide(tensor, where(zero, 1.0, length))


@autocasts
@takes_out
def reciprocal(input: Any) -> Tensor:
    """1 / input."""
    return true_divide(1, operand(input))


@takes_out
def round(input: Any, *, decimals: int = 0) -> Tensor:
    """The nearest integer (or the nearest number with so many decimals), ties to even."""
    tensor = as_input(input)
    if not here(tensor).spec.dtype.is_inexact:
        return tensor.clone()
    if decimals == 0:
        return elementwise("round", tensor)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals < 0:
        return mul(elementwise("round", true_divide(tensor, scale)), scale)
    return true_divide(elementwise("round", mul(tensor, scale)), scale)


@takes_out
def frac(input: Any) -> Tensor:
    """input - trunc(input)."""
    return sub(input, trunc(input))


@takes_out
def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return add(input, mul(sub(end, input), weight))


@takes_out
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return add(input, mul(tensor1, tensor2), alpha=value)


@takes_out
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return add(input, true_divide(tensor1, tensor2), alpha=value)


@takes_out
def copysign(input: Any, other: Any) -> Tensor:
    """The magnitude of input with the sign of other (also of -0)."""
    x, y = promoted(input, other, promote="float")
    size = abs(x)
    return where(_below(y), neg(size), size)


def _below(x: Tensor) -> Tensor:
    """Whether each element is negative; -0 is."""
    below = lt(x, 0)
    return where(eq(x, 0), lt(reciprocal(x), 0), below) if here(x).spec.dtype.is_float else below


def cast_float(input: Any) -> Tensor:
    """`input` as floats: integers and bools become the default dtype."""
    tensor = as_input(input)
    return (
        tensor
        if here(tensor).spec.dtype.is_inexact
        else cast(tensor, ambient.context.default_dtype)
    )


@takes_out
def heaviside(input: Any, values: Any) -> Tensor:
    """0 below 0, 1 above 0, `values` at 0."""
    step = cast(gt(input, 0), as_input(input).dtype)
    return where(eq(input, 0), values, step)


# Bounds and choices


@takes_out
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where the condition (bool) holds, else other. With the condition alone: the indices
    of its true elements, one int64 tensor for each axis (eager only).

    Raises:
        DTypeError: the condition is not bool.
        TraceError: the form with one argument in a trace.
    """
    if input is None and other is None:
        from .select import nonzero

        return nonzero(condition, as_tuple=True)
    return elementwise("where", as_input(condition), operand(input), operand(other), conditions=1)


def where_self(input: Any, condition: Any, other: Any) -> Tensor:
    """input where the condition (bool) holds, else other."""
    return where(condition, input, other)


@takes_out
def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """input, but at least `min` and at most `max` (numbers or tensors), NaN where one of them is.
    The gradient passes where input lies within, both ends included.

    Raises:
        ArgumentError: neither bound is given.
    """
    if min is None and max is None:
        raise ArgumentError("clamp needs min or max")
    result = operand(input)
    if min is not None:
        low = operand(min)
        result = where(_or_nan(lt(result, low), low), low, result)
    if max is not None:
        high = operand(max)
        result = where(_or_nan(gt(result, high), high), high, result)
    return result


def _or_nan(holds: Tensor, bound: Any) -> Tensor:
    """`holds`, and everywhere where the bound is NaN."""
    if isinstance(bound, Tensor):
        floating = here(bound).spec.dtype.is_inexact
        return elementwise("bit_or", holds, ne(bound, bound)) if floating else holds
    return elementwise("eq", holds, holds) if bound != bound else holds


clip = clamp


@takes_out
def clamp_min(input: Any, min: Any) -> Tensor:
    """input, but at least `min`."""
    return clamp(input, min=min)


@takes_out
def clamp_max(input: Any, max: Any) -> Tensor:
    """input, but at most `max`."""
    return clamp(input, max=max)
