"""Reductions, and prefixes, over axes. `dim` may be one axis, several, or None for all."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...ir.dtypes import DType, bool_, f32, i64, u8
from ..apply import apply, elementwise
from ..autocast import autocasts
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor, here, normal_axis
from .arguments import (
    array_names,
    axes_of,
    cast,
    count_of,
    reshaped,
    shape_of,
    spelled,
    takes_out,
    with_ones,
)
from .creation import iota
from .math import maximum, where


class ValuesIndices(NamedTuple):
    """What `max`, `min`, `cummax`, `cummin` along an axis return."""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """What `aminmax` returns."""

    min: Tensor
    max: Tensor


def reduce(op: str, input: Tensor, axes: tuple[int, ...], keepdim: bool, **attrs: Any) -> Tensor:
    if not axes and input.ndim == 0:
        result = apply(op, [reshaped(input, (1,))], axes=(0,), **attrs)
    else:
        result = apply(op, [input], axes=axes, **attrs)
    return with_ones(result, axes) if keepdim else result


def _summed_dtype(input: Tensor, dtype: DType | None) -> DType:
    """The dtype of sums and products: integers and bools are counted in int64."""
    own = here(input).spec.dtype
    return dtype or (own if own.is_inexact else i64)


@autocasts
@array_names
def sum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over `dim`; integers and bools in int64, halves summed in float32."""
    operand = cast(input, _summed_dtype(input, dtype))
    return reduce("reduce_sum", operand, axes_of(input, dim), keepdim)


@array_names
def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum with NaN taken as 0."""
    return sum(_nan_as_zero(input), dim, keepdim, dtype=dtype)


def _nan_as_zero(input: Tensor) -> Tensor:
    if not here(input).spec.dtype.is_inexact:
        return input
    return where(elementwise("ne", input, input), 0, input)


def wide(input: Tensor) -> Tensor:
    """`input` in the dtype that statistics are computed in: float32 for float16 and bfloat16."""
    return cast(input, f32) if here(input).spec.dtype.is_low_precision else input


def floating(input: Tensor, name: str, dtype: DType | None = None) -> DType:
    """The dtype of a mean of `input`."""
    result = dtype or here(input).spec.dtype
    if not result.is_inexact:
        raise DTypeError(
            f"{name}: a result of {result.public} cannot hold it", hint="cast with .float() first"
        )
    return result


@array_names
def mean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over `dim`, computed in float32 for float16 and bfloat16.

    Raises:
        DTypeError: `input` is not floating point and no `dtype` is given.
    """
    result = floating(input, "mean", dtype)
    return cast(mean_over(wide(cast(input, dtype)), axes_of(input, dim), keepdim), result)


def mean_over(operand: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    total = reduce("reduce_sum", operand, axes, keepdim)
    return elementwise("div", total, count_of(operand, axes))


@array_names
def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over the elements that are not NaN."""
    result = floating(input, "nanmean", dtype)
    operand = wide(cast(input, dtype))
    there = cast(elementwise("eq", operand, operand), operand.dtype)
    total = sum(_nan_as_zero(operand), dim, keepdim)
    return cast(elementwise("div", total, sum(there, dim, keepdim)), result)


@autocasts
@array_names
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product over `dim`; integers and bools in int64."""
    operand = cast(input, _summed_dtype(input, dtype))
    return reduce("reduce_prod", operand, axes_of(input, dim), keepdim)


# Extremes


@array_names
def amax(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The largest over `dim`, NaN if one is; equal ones share the gradient."""
    return _extreme("reduce_max", input, dim, keepdim, "even")


@array_names
def amin(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The smallest over `dim`, NaN if one is; equal ones share the gradient."""
    return _extreme("reduce_min", input, dim, keepdim, "even")


def _extreme(op: str, input: Tensor, dim: Any, keepdim: bool, ties: str) -> Tensor:
    axes = axes_of(input, dim)
    for axis in axes:
        size = shape_of(input)[axis]
        if isinstance(size, int) and size == 0:
            raise ArgumentError(f"{op[7:]} over axis {axis}, which has no elements")
    return reduce(op, input, axes, keepdim, ties=ties)


@takes_out
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The smallest and the largest over `dim`: (min, max)."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


@array_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; along `dim` (values, indices), the index of the first of equal ones; of
    two tensors, `maximum`.

    Raises:
        ArgumentError: there are no elements.
    """
    if isinstance(dim, Tensor):
        return maximum(input, dim)
    return _chosen("reduce_max", "argmax", input, dim, keepdim)


@array_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; else as `max`."""
    if isinstance(dim, Tensor):
        return elementwise("minimum", input, dim)
    return _chosen("reduce_min", "argmin", input, dim, keepdim)


def _chosen(reduce: str, arg: str, input: Tensor, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        return _extreme(reduce, input, None, False, "even")
    axis = normal_axis(dim, input.ndim)
    values = _extreme(reduce, input, axis, keepdim, "first")
    return ValuesIndices(values, _position(arg, input, axis, keepdim))


@array_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """int64: the index of the (first) largest element along `dim`, or in the flattened tensor."""
    return _position("argmax", input, dim, keepdim)


@array_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """int64: the index of the (first) smallest element along `dim`, or in the flattened tensor."""
    return _position("argmin", input, dim, keepdim)


def _position(op: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    operand = cast(input, i64) if here(input).spec.dtype is bool_ else input
    return reduce(op, operand, axes_of(input, dim), keepdim)


@array_names
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether one element over `dim` is not 0."""
    operand = cast(input, bool_)
    return reduce("reduce_max", operand, axes_of(input, dim), keepdim, ties="first")


@array_names
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over `dim` are not 0."""
    operand = cast(input, bool_)
    return reduce("reduce_min", operand, axes_of(input, dim), keepdim, ties="first")


@array_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """int64: how many elements over `dim` are not 0."""
    return sum(cast(input, bool_), dim)


# Prefixes


def _prefixes(op: str, input: Tensor, dim: int, dtype: DType | None) -> Tensor:
    operand = cast(input, _summed_dtype(input, dtype))
    if operand.ndim == 0:
        normal_axis(dim, 0)
        return operand.clone()
    return apply(op, [operand], axis=normal_axis(dim, input.ndim), reverse=False)


@autocasts
@array_names
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """All prefix sums along `dim`; integers and bools in int64."""
    return _prefixes("cumsum", input, dim, dtype)


@autocasts
@array_names
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """All prefix products along `dim`; integers and bools in int64."""
    return _prefixes("cumprod", input, dim, dtype)


@array_names
def cummax(input: Tensor, dim: int) -> ValuesIndices:
    """(values, indices): the largest of each prefix along `dim`, and where its last copy stands."""
    return _running(input, dim, None)


@array_names
def cummin(input: Tensor, dim: int) -> ValuesIndices:
    """(values, indices): the smallest of each prefix along `dim`; else as `cummax`."""
    # The op that turns the order around: of integers -x would overflow at the smallest.
    return _running(input, dim, "neg" if here(input).spec.dtype.is_float else "bit_not")


def _running(input: Tensor, dim: int, turn: str | None) -> ValuesIndices:
    """The prefixes' extremes: largest, or smallest where `turn` reverses the order."""
    axis, own = normal_axis(dim, input.ndim), here(input).spec.dtype
    if input.ndim == 0:
        return ValuesIndices(input.clone(), iota((1,), 0)[0])
    operand = cast(input, u8) if own is bool_ else input
    turned = operand if turn is None else elementwise(turn, operand)
    values = apply("cummax", [turned], axis=axis, reverse=False)
    values = values if turn is None else elementwise(turn, values)
    return ValuesIndices(cast(values, own), _last_places(operand, values, axis))


def _last_places(input: Tensor, values: Tensor, axis: int) -> Tensor:
    """Where the element that each prefix's extreme is equal to (or is NaN) stands last."""
    hits = elementwise("eq", input, values)
    if here(input).spec.dtype.is_float:
        hits = elementwise("bit_or", hits, elementwise("ne", input, input))
    place = iota([spelled(n) for n in shape_of(input)], axis)
    marked = where(elementwise("stop_gradient", hits), place, -1)
    return apply("cummax", [marked], axis=axis, reverse=False)
