"""Gradients of reductions and of cumulative ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.dims import product
from ...ir.dtypes import f32, i32, i64
from ...ir.graph import Node, Value, full
from ...ir.ops import elementwise as ew
from ...ir.ops.reduction import (
    CUMMAX,
    CUMPROD,
    CUMSUM,
    REDUCE_MIN,
    REDUCE_SUM,
    highest,
    kept_axes,
    lowest,
)
from ...ir.ops.source import IOTA
from ...ir.ops.view import PAD
from ...ir.types import TensorType, tensor_type
from .rule import (
    Cotangent,
    NotDifferentiable,
    Rule,
    conj,
    inverse,
    reshaped,
    scattered_along,
    size_value,
    sole,
    spread,
    transposed,
    zeros,
)

Cotangents = Sequence[Value | None]


def _reduce_sum(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = sole(cotangents)
    return (spread(g, node.operands[0].type, node.attrs["axes"]),)


def _reduce_prod(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """Each element gets the product of all others, exact where some are 0: what stands before it
    times what stands after it."""
    g, (x,), axes = sole(cotangents), node.operands, node.attrs["axes"]
    order = kept_axes(x.type.ndim, axes) + tuple(axes)
    moved = transposed(x, order)
    kept = len(order) - len(axes)
    count = product(x.type.shape[a] for a in axes)
    flat = reshaped(moved, (*moved.type.shape[:kept], count))
    others = _exclusive(flat, kept, reverse=False) * _exclusive(flat, kept, reverse=True)
    placed = transposed(reshaped(others, moved.type.shape), inverse(order))
    return (spread(g, x.type, axes) * conj(placed),)


def _exclusive(x: Value, axis: int, reverse: bool) -> Value:
    """The products of all elements before each one along `axis` (`reverse`: after it)."""
    inclusive = CUMPROD(x, axis=axis, reverse=reverse)
    one = tuple(1 if a == axis else 0 for a in range(x.type.ndim))
    back = tuple(-n for n in one)
    low, high = (back, one) if reverse else (one, back)
    ones = full(tensor_type(x.type.dtype), 1)
    return PAD(inclusive, ones, low=low, high=high, interior=(0,) * x.type.ndim)


def _reduce_extreme(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (x,), (y,) = sole(cotangents), node.operands, node.results
    axes = node.attrs["axes"]
    if not axes:
        return (g,)
    hits = ew.EQ(x, spread(y, x.type, axes))
    if node.attrs["ties"] == "even":
        return (_share(g, hits, x.type, axes),)
    position = _positions(x.type, axes)
    missing = full(position.type, highest(position.type.dtype))
    first = REDUCE_MIN(ew.WHERE(hits, position, missing), axes=axes, ties="first")
    chosen = ew.EQ(position, spread(first, position.type, axes))
    return (ew.WHERE(chosen, spread(g, x.type, axes), zeros(x.type)),)


def _share(g: Value, hits: Value, like: TensorType, axes: Sequence[int]) -> Value:
    """`g` in equal shares for the elements that `hits` names."""
    # More than 65504 hits would be inf in f16, so narrow types are counted in f32.
    dtype = f32 if like.dtype.is_low_precision else like.dtype
    count = REDUCE_SUM(ew.CAST(hits, dtype=dtype), axes=axes)
    part = (g if g.type.dtype is dtype else ew.CAST(g, dtype=dtype)) / count
    part = part if dtype is like.dtype else ew.CAST(part, dtype=like.dtype)
    return ew.WHERE(hits, spread(part, like, axes), zeros(like))


def _positions(like: TensorType, axes: Sequence[int]) -> Value:
    """The index of each element, counted over the flattened `axes`, as i32 if that holds it."""
    count = product(like.shape[a] for a in axes)
    dtype = i32 if isinstance(count, int) and count < 2**31 else i64
    total: Value | None = None
    for k, axis in enumerate(axes):
        part = IOTA(shape=like.shape, axis=axis, dtype=dtype)
        if k < len(axes) - 1:
            stride = product(like.shape[a] for a in axes[k + 1 :])
            part = part * size_value(stride, dtype, like.shape)
        total = part if total is None else total + part
    assert total is not None
    return total


def _cumsum(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = sole(cotangents)
    return (CUMSUM(g, axis=node.attrs["axis"], reverse=not node.attrs["reverse"]),)


def _cumprod(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """With y the prefix products, x_j gets sum over i >= j of g_i y_i / x_j; at the first zero
    the same with that zero left out of y, and after it nothing. (Second derivatives are exact only
    where no element is 0.)"""
    g, (x,), (y,) = sole(cotangents), node.operands, node.results
    along: dict[str, Any] = {"axis": node.attrs["axis"], "reverse": node.attrs["reverse"]}
    back = {**along, "reverse": not along["reverse"]}
    nought, one = zeros(x.type), full(x.type, 1)
    is_zero = ew.EQ(x, nought)
    seen = CUMSUM(ew.CAST(is_zero, dtype=i64), **along)
    none_yet = ew.EQ(seen, full(seen.type, 0))
    first = ew.BIT_AND(is_zero, ew.EQ(seen, full(seen.type, 1)))
    before = CUMSUM(g * conj(y), **back) / conj(ew.WHERE(none_yet, x, one))
    without = CUMPROD(ew.WHERE(first, one, x), **along)
    at_zero = CUMSUM(g * conj(without), **back)
    return (ew.WHERE(none_yet, before, ew.WHERE(first, at_zero, nought)),)


def _cummax(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """All goes to the latest of the elements that equal the maximum (or are NaN), as in PyTorch:
    added up by row and position of that element."""
    g, (x,), (y,) = sole(cotangents), node.operands, node.results
    axis, reverse, shape = node.attrs["axis"], node.attrs["reverse"], x.type.shape
    sets_it = ew.BIT_OR(ew.EQ(x, y), ew.NE(x, x))
    place = IOTA(shape=shape, axis=axis, dtype=i64)
    place = -place if reverse else place
    source = CUMMAX(
        ew.WHERE(sets_it, place, full(place.type, lowest(i64))), axis=axis, reverse=reverse
    )
    source = -source if reverse else source
    return (scattered_along(g, source, axis),)


REDUCTION: dict[str, Rule | NotDifferentiable] = {
    "reduce_sum": _reduce_sum,
    "reduce_prod": _reduce_prod,
    "reduce_max": _reduce_extreme,
    "reduce_min": _reduce_extreme,
    "cumsum": _cumsum,
    "cumprod": _cumprod,
    "cummax": _cummax,
}
