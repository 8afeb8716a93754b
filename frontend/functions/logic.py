"""Elementwise tests, and logic of truth values."""

from __future__ import annotations

import math
from typing import Any

from ...ir.dtypes import bool_
from ..apply import apply, elementwise
from ..tensor import Tensor, here
from .arguments import as_input, cast, operand, promoted, takes_out
from .creation import full_like
from .info import finfo
from .math import abs, add, eq, le, lt, maximum, minimum, mul, ne, reciprocal, sub, where
from .reduction import all

_INF = math.inf


def _is_inexact(input: Any) -> bool:
    return isinstance(input, (float, complex)) or (
        isinstance(input, Tensor) and here(input).spec.dtype.is_inexact
    )


def isnan(input: Any) -> Tensor:
    """Whether each element is NaN; of a complex one, whether a part is."""
    value = operand(input)
    return (
        ne(value, value) if _is_inexact(value) else full_like(as_input(value), False, dtype=bool_)
    )


def isinf(input: Any) -> Tensor:
    """Whether each element is inf or -inf; of a complex one, whether a part is."""
    value = operand(input)
    if isinstance(value, Tensor) and here(value).spec.dtype.is_complex:
        return logical_or(isinf(value.real), isinf(value.imag))
    return (
        eq(abs(value), _INF)
        if _is_inexact(value)
        else full_like(as_input(value), False, dtype=bool_)
    )


def isfinite(input: Any) -> Tensor:
    """Whether each element is neither inf nor NaN; of a complex one, whether both parts are so."""
    value = operand(input)
    if isinstance(value, Tensor) and here(value).spec.dtype.is_complex:
        return logical_and(isfinite(value.real), isfinite(value.imag))
    return (
        lt(abs(value), _INF)
        if _is_inexact(value)
        else full_like(as_input(value), True, dtype=bool_)
    )


@takes_out
def signbit(input: Any) -> Tensor:
    """Whether each element is negative; -0.0 is."""
    value = operand(input)
    if not _is_inexact(value):
        return lt(value, 0)
    return where(eq(value, 0), lt(reciprocal(value), 0), lt(value, 0))


@takes_out
def isposinf(input: Any) -> Tensor:
    """Whether it is +inf."""
    return eq(operand(input), _INF)


@takes_out
def isneginf(input: Any) -> Tensor:
    """Whether it is -inf."""
    return eq(operand(input), -_INF)


def isreal(input: Any) -> Tensor:
    """Whether the imaginary part is 0, as it is of real numbers."""
    tensor = as_input(input)
    if here(tensor).spec.dtype.is_complex:
        return eq(tensor.imag, 0)
    return elementwise("bit_not", cast(elementwise("mul", cast(tensor, bool_), False), bool_))


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether |input - other| <= atol + rtol * |other|; infinities of one sign are close."""
    x, y = promoted(input, other)
    if here(x).spec.dtype is bool_:
        return eq(x, y)
    near = le(abs(sub(x, y)), add(mul(abs(y), rtol), atol))
    close = logical_or(eq(x, y), logical_and(near, isfinite(y)))
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close (see `isclose`). A Python bool: eager only."""
    return bool(all(isclose(input, other, rtol, atol, equal_nan)))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and elements. A Python bool: eager only."""
    if here(input).spec.shape != here(other).spec.shape:
        return False
    return bool(all(eq(input, other)))


# Logic


def _truth(input: Any) -> Tensor:
    return cast(as_input(input), bool_)


@takes_out
def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both are not 0."""
    return elementwise("bit_and", _truth(input), _truth(other))


@takes_out
def logical_or(input: Any, other: Any) -> Tensor:
    """Whether one is not 0."""
    return elementwise("bit_or", _truth(input), _truth(other))


@takes_out
def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether exactly one is not 0."""
    return elementwise("bit_xor", _truth(input), _truth(other))


@takes_out
def logical_not(input: Any) -> Tensor:
    """Whether it is 0."""
    return elementwise("bit_not", _truth(input))


@takes_out
def bitwise_not(input: Any) -> Tensor:
    """Every bit inverted; the logical not of a bool."""
    return elementwise("bit_not", operand(input))


@takes_out
def fmax(input: Any, other: Any) -> Tensor:
    """The larger; where one is NaN, the other."""
    return where(isnan(input), other, where(isnan(other), input, maximum(input, other)))


@takes_out
def fmin(input: Any, other: Any) -> Tensor:
    """The smaller; where one is NaN, the other."""
    return where(isnan(input), other, where(isnan(other), input, minimum(input, other)))


@takes_out
def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN, inf and -inf replaced: by 0 and the largest and smallest finite numbers unless given."""
    dtype = here(input).spec.dtype
    if dtype.is_complex:
        parts = (nan_to_num(part, nan, posinf, neginf) for part in (input.real, input.imag))
        return apply("complex", list(parts))
    if not dtype.is_float:
        return input.clone()
    limits = finfo(dtype)
    result = where(isnan(input), nan, input)
    result = where(eq(input, _INF), limits.max if posinf is None else posinf, result)
    return where(eq(input, -_INF), limits.min if neginf is None else neginf, result)
