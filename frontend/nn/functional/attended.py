"""What `scaled_dot_product_attention` and attention of several heads have in common: the op, and
the same in primitives for those who ask for the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.literal import Literal
from ....ir.ops.attention import wide
from ...apply import apply, broadcast_shapes, elementwise
from ...device import beside_first
from ...errors import DTypeError, ShapeError
from ...functions.arguments import cast, reshaped, shape_of, spelled
from ...functions.creation import full, iota, zeros
from ...functions.joining import repeat_interleave
from ...functions.math import add, eq, mul, where
from ...functions.matrix import matmul
from ...functions.random import keep_mask
from ...functions.reduction import reduce
from ...functions.shape import transpose
from ...tensor import Tensor, here
from ...viewing import expand_view
from .activation import softmax
from .normalization import check_probability, dropout


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float,
    is_causal: bool, scale: Any, grouped: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(query keyᵀ scale + mask) value. With `grouped` the heads of the query (axis -3) are
    a multiple of those of key and value.

    Raises:
        ShapeError, DTypeError: the operands do not fit.
    """
    _need_matrices(query, key, value)
    if grouped:
        key, value = _same_heads(query, key, value)
    *left, length, _ = shape_of(query)
    heads = shape_of(key)[-3] if grouped else None
    batch = _common_batch(query, key, value, grouped)
    sizes = [*batch, spelled(length), spelled(shape_of(key)[-2])]
    if not isinstance(scale, (int, float, type(None))):
        query, scale = mul(query, scale), 1.0
    query, scale = _scaled(query, scale)
    operands = [_expanded(query, batch)]
    groups: list[Any] = []
    if grouped and heads is not None and left[-1] != heads:
        shared = spelled(heads)
        groups = [shared, spelled(left[-1]) // shared]
        operands = [_in_groups(operands[0], groups)]
        operands += [_expanded(t, [*batch[:-1], shared]) for t in (key, value)]
    else:
        operands += [_expanded(t, batch) for t in (key, value)]
    dtype = here(query).spec.dtype
    further = []
    if mask is not None:
        further.append(expand_view(_as_mask(mask, dtype), sizes))
    check_probability(dropout_p, "dropout")
    if dropout_p > 0:
        further.append(_kept(query, dropout_p, sizes))
    operands += [_in_groups(t, groups) if groups else t for t in further]
    result = apply(
        "attention", operands, scale=Literal(np.float64(scale)),
        hidden=Literal(np.float64(-math.inf)), causal=is_causal, safe=True,
        masked=mask is not None, factored=bool(dropout_p > 0),
    )[0]  # fmt: skip
    return reshaped(result, [*sizes[:-1], spelled(shape_of(value)[-1])]) if groups else result


def _need_matrices(query: Tensor, key: Tensor, value: Tensor) -> None:
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.ndim < 2:
            raise ShapeError(f"scaled_dot_product_attention: {name} is {here(tensor).spec}",
                             hint="it takes [..., length, features]")  # fmt: skip


def _same_heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Key and value with equal numbers of heads, which divide those of the query."""
    if min(query.ndim, key.ndim, value.ndim) < 3:
        raise ShapeError("scaled_dot_product_attention: enable_gqa of tensors without heads",
                         hint="it takes [..., heads, length, features]")  # fmt: skip
    wanted, *own = (spelled(shape_of(t)[-3]) for t in (query, key, value))
    for heads in own:
        if wanted % heads:
            raise ShapeError(
                f"scaled_dot_product_attention: {wanted} heads of the query, {heads} of key or "
                "value",
                hint="the heads of the query are a multiple of those of key and value",
            )
    if own[0] == own[1]:
        return key, value
    key, value = (
        repeat_interleave(t, wanted // heads, -3)
        for t, heads in zip((key, value), own, strict=True)
    )
    return key, value


def _common_batch(query: Tensor, key: Tensor, value: Tensor, grouped: bool) -> list[Any]:
    """What the axes of the scores but the last two are; of `grouped` heads those of the query."""
    end = -3 if grouped else -2
    batch = broadcast_shapes([shape_of(t)[:end] for t in (query, key, value)], "attention")
    return [*map(spelled, batch), *map(spelled, shape_of(query)[end:-2])]


def _expanded(tensor: Tensor, batch: Sequence[Any]) -> Tensor:
    sizes = [*batch, *(spelled(n) for n in shape_of(tensor)[-2:])]
    return expand_view(tensor, sizes)


def _in_groups(tensor: Tensor, groups: Sequence[Any]) -> Tensor:
    """[..., heads, a, b] as [..., shared heads, heads of a group, a, b]."""
    sizes = [spelled(n) for n in shape_of(tensor)]
    return reshaped(tensor, [*sizes[:-3], *groups, *sizes[-2:]])


def _scaled(query: Tensor, scale: float | None) -> tuple[Tensor, float]:
    """The query, and what the scores are multiplied by; a scale that follows from a symbolic
    size is in the query."""
    if scale is not None:
        return query, float(scale)
    width = spelled(shape_of(query)[-1])
    if isinstance(width, int):
        return query, width**-0.5 if width else 1.0
    return mul(query, width**-0.5), 1.0


def _as_mask(mask: Tensor, dtype: Any) -> Tensor:
    own = here(mask).spec.dtype
    if own.kind == "bool" or own is wide(dtype):
        return mask
    if not own.is_float:
        raise DTypeError(
            f"scaled_dot_product_attention: the mask is {own.public}",
            hint="a mask is bool, or floating point and added to the scores",
        )
    return cast(mask, dtype)


@beside_first
def _kept(query: Tensor, p: float, sizes: Sequence[Any]) -> Tensor:
    """What dropout multiplies the weights by: 0 or 1 / (1 - p)."""
    dtype = wide(here(query).spec.dtype)
    if p == 1:
        return zeros(sizes, dtype=dtype)
    return where(keep_mask(query, p, sizes), full([], 1 / (1 - p), dtype=dtype), 0)


def attended_with_weights(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The attention and its weights, which take memory."""
    width = spelled(shape_of(query)[-1])
    scores = mul(matmul(query, transpose(key, -2, -1)), width**-0.5)
    sizes = [spelled(n) for n in shape_of(scores)[-2:]]
    if is_causal:
        seen = elementwise("ge", iota(sizes, 0), iota(sizes, 1))
        weights = softmax(where(seen, scores, -math.inf), -1)
    elif mask is None:
        weights = softmax(scores, -1)
    else:
        weights = _masked_softmax(_masked(scores, mask))
    weights = dropout(weights, dropout_p, dropout_p > 0)
    return matmul(weights, value), weights


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    mask = _as_mask(mask, here(scores).spec.dtype)
    if here(mask).spec.dtype.kind == "bool":
        return where(mask, scores, -math.inf)
    return add(scores, mask)


def _masked_softmax(scores: Tensor) -> Tensor:
    """softmax of rows, 0 (with the gradient 0) for those that are -inf throughout."""
    top = reduce("reduce_max", elementwise("stop_gradient", scores), (scores.ndim - 1,), True,
                 ties="first")  # fmt: skip
    empty = eq(top, -math.inf)
    return where(empty, 0, softmax(where(empty, 0, scores), -1))
