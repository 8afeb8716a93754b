"""Variances and norms over axes."""

from __future__ import annotations

import builtins
import math
from typing import Any

from ...ir.dtypes import DType, bool_
from ..apply import apply, elementwise
from ..autocast import autocasts
from ..errors import ArgumentError
from ..tensor import Tensor, here
from .arguments import array_names, axes_of, cast, count_of, reshaped, shape_of, spelled
from .math import cast_float, exp, log, where
from .reduction import amax, amin, floating, mean_over, reduce, sum, wide


def _moments(input: Tensor, dim: Any, correction: Any) -> tuple[Tensor, Tensor]:
    """Variance and mean with axes kept, in the dtype of `wide`."""
    axes = axes_of(input, dim)
    operand = wide(input)
    centre = mean_over(operand, axes, True)
    offset = elementwise("sub", operand, centre)
    squares = reduce("reduce_sum", _squared_size(offset), axes, True)
    count: Any = count_of(input, axes)
    if isinstance(count, int) and isinstance(correction, (int, float)):
        freedom: Any = float(builtins.max(count - correction, 0))
    else:
        freedom = elementwise("maximum", elementwise("sub", count, correction), 0)
    return elementwise("div", squares, freedom), centre


def _squared_size(input: Tensor) -> Tensor:
    """|x|**2, which is real."""
    if not here(input).spec.dtype.is_complex:
        return elementwise("mul", input, input)
    parts = [apply(part, [input]) for part in ("real", "imag")]
    return elementwise("add", *(elementwise("mul", part, part) for part in parts))


def _without(result: Tensor, input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """The kept axes of size 1 dropped again."""
    if keepdim:
        return result
    axes = axes_of(input, dim)
    shape = shape_of(result)
    return reshaped(result, [spelled(n) for a, n in enumerate(shape) if a not in axes])


def _correction(unbiased: bool | None, correction: Any) -> Any:
    if unbiased is not None:
        return 1 if unbiased else 0
    return 1 if correction is None else correction


def _own_forms(dim: Any, unbiased: bool | None) -> tuple[Any, bool | None]:
    """var(x, True) means `unbiased`, as in PyTorch."""
    return (None, dim) if isinstance(dim, bool) else (dim, unbiased)


@array_names
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> Tensor:
    """The variance over `dim`: squared distances from the mean, summed, over n - correction (1)."""
    return var_mean(input, dim, unbiased, keepdim, correction=correction)[0]


@array_names
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> Tensor:
    """The square root of `var`, with the gradient 0 where it is 0."""
    return std_mean(input, dim, unbiased, keepdim, correction=correction)[0]


@array_names
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """(variance, mean) over `dim`."""
    dim, unbiased = _own_forms(dim, unbiased)
    dtype = floating(input, "var")
    variance, centre = _moments(input, dim, _correction(unbiased, correction))
    return (
        cast(_without(variance, input, dim, keepdim), dtype.to_real()),
        cast(_without(centre, input, dim, keepdim), dtype),
    )


@array_names
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) over `dim`."""
    dim, unbiased = _own_forms(dim, unbiased)
    dtype = floating(input, "std")
    variance, centre = _moments(input, dim, _correction(unbiased, correction))
    return (
        cast(_root(_without(variance, input, dim, keepdim)), dtype.to_real()),
        cast(_without(centre, input, dim, keepdim), dtype),
    )


@autocasts
@array_names
def logsumexp(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `dim`, without overflow; of complex numbers, too."""
    operand = wide(cast_float(input))
    axes = axes_of(input, dim)
    size = operand.real if operand.dtype.is_complex else operand
    top = elementwise("stop_gradient", reduce("reduce_max", size, axes, True, ties="first"))
    top = where(elementwise("eq", elementwise("abs", top), math.inf), 0, top)
    total = reduce("reduce_sum", exp(elementwise("sub", operand, top)), axes, True)
    result = elementwise("add", log(total), top)
    return cast(_without(result, input, dim, keepdim), cast_float(input).dtype)


@autocasts
@array_names
def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The p-norm over `dim`: (sum |x|**p) ** (1/p); "fro" is p = 2, inf the largest, 0 the number
    of elements that are not 0.

    Raises:
        DTypeError: `input` is not floating point.
        ArgumentError: p is neither a number nor "fro".
    """
    order = 2 if p in (None, "fro") else p
    if not isinstance(order, (int, float)):
        raise ArgumentError(f"norm: p={p!r} is neither a number nor 'fro'")
    result = floating(input, "norm", dtype).to_real()
    operand = wide(cast(input, dtype))
    return cast(_norm(operand, float(order), dim, keepdim), result)


def _norm(operand: Tensor, order: float, dim: Any, keepdim: bool) -> Tensor:
    size = elementwise("abs", operand)
    if order == math.inf:
        return amax(size, dim, keepdim)
    if order == -math.inf:
        return amin(size, dim, keepdim)
    if order == 0:
        return sum(cast(cast(operand, bool_), size.dtype), dim, keepdim)
    if order == 1:
        return sum(size, dim, keepdim)
    if order == 2:
        return _root(sum(_squared_size(operand), dim, keepdim))
    powers = elementwise("pow", size, order) if order > 1 else _low_powers(size, order)
    return _root(sum(powers, dim, keepdim), 1 / order)


def _low_powers(size: Tensor, order: float) -> Tensor:
    """size ** order for order < 1, with the gradient 0 (not NaN) at 0."""
    zero = elementwise("eq", size, 0)
    powers = elementwise("pow", where(zero, 1, size), order)
    return where(zero, 0.0 if order > 0 else math.inf, powers)


def _root(total: Tensor, exponent: float = 0.5) -> Tensor:
    """total ** exponent, with the gradient 0 (not NaN) at 0."""
    zero = elementwise("eq", total, 0)
    inside = where(zero, 1, total)
    root = elementwise("sqrt", inside) if exponent == 0.5 else elementwise("pow", inside, exponent)
    return where(zero, 0.0 if exponent > 0 else math.inf, root)
