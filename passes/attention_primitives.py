"""Attention in primitives: products and a softmax, with the matrix of weights in memory.

What gradients of higher order are taken of, and what `decompose` makes of those that no kernel
covers. Each function emits through the active builder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir.builder import Recording
from ..ir.dtypes import DType, i64
from ..ir.graph import Region, Value, full
from ..ir.ops import elementwise as ew
from ..ir.ops.attention import (
    hidden_of,
    operand_count,
    optional,
    scale_of,
    stays_hidden,
    wide,
)
from ..ir.ops.contraction import DOT_GENERAL
from ..ir.ops.reduction import REDUCE_MAX, REDUCE_SUM
from ..ir.ops.source import IOTA
from ..ir.ops.view import BROADCAST
from ..ir.types import TensorType

Attrs = Mapping[str, Any]
Emitted = Callable[[Sequence[Value], Attrs], Sequence[Value]]


def attention(operands: Sequence[Value], attrs: Attrs) -> tuple[Value, Value]:
    """The two results of an `attention` of these operands."""
    dtype = operands[0].type.dtype
    scores = _scores(operands, attrs)
    last = scores.type.ndim - 1
    top = REDUCE_MAX(ew.STOP_GRADIENT(scores), axes=(last,), ties="first")
    empty = None
    if attrs["safe"]:
        empty = ew.EQ(top, full(top.type, -math.inf))
        top = ew.WHERE(empty, full(top.type, 0), top)
        scores = ew.WHERE(_along(empty, scores.type), full(scores.type, 0), scores)
    weights = ew.EXP(scores - _along(top, scores.type))
    total = REDUCE_SUM(weights, axes=(last,))
    sums = top + ew.LOG(total)
    weights = weights / _along(total, weights.type)
    if empty is not None:
        weights = ew.WHERE(_along(empty, weights.type), full(weights.type, 0), weights)
        sums = ew.WHERE(empty, full(sums.type, math.inf), sums)
    _, factor = optional(operands, attrs)
    if factor is not None:
        weights = weights * factor
    return _cast(_weighted(weights, _cast(operands[2], weights.type.dtype)), dtype), sums


def attention_gradient(operands: Sequence[Value], attrs: Attrs) -> tuple[Value, Value, Value]:
    """The three results of an `attention_gradient` of these operands."""
    count = operand_count(attrs)
    _, factor = optional(operands[:count], attrs)
    dtype = operands[0].type.dtype
    middle = wide(dtype)
    query, key = (_cast(v, middle) for v in operands[:2])
    cotangent = _cast(operands[count + 2], middle)
    weights, inner = _pulled_scores(operands, attrs)
    if factor is not None:
        weights = weights * factor
    inner = inner * full(inner.type, scale_of(attrs))
    found = (_weighted(inner, key), _shared(inner, query, key), _shared(weights, cotangent, key))
    of_query, of_key, of_value = (_cast(v, dtype) for v in found)
    return of_query, of_key, of_value


def optional_gradients(
    operands: Sequence[Value], attrs: Attrs
) -> tuple[Value | None, Value | None]:
    """The cotangents of mask and factor, as `attention_gradient` gives those of the others."""
    count = operand_count(attrs)
    mask, factor = optional(operands[:count], attrs)
    middle = wide(operands[0].type.dtype)
    weights, inner = _pulled_scores(operands, attrs)
    of_mask = of_factor = None
    if mask is not None and mask.type.dtype.is_float:
        of_mask = _cast(inner, mask.type.dtype)
    if factor is not None:
        value, cotangent = (_cast(operands[k], middle) for k in (2, count + 2))
        of_factor = weights * _product(cotangent, value)
    return of_mask, of_factor


def as_region(types: Sequence[TensorType], emit: Emitted, attrs: Attrs) -> Region:
    """`emit(operands, attrs)`, one of the functions above, as a closed region."""
    builder = Recording()
    params = tuple(Value(t) for t in types)
    with builder:
        yields = tuple(emit(params, attrs))
    return Region(params, tuple(builder.nodes), yields)


def total_gradient(operands: Sequence[Value], attrs: Attrs) -> tuple[Value, Value, Value]:
    """As `attention_gradient`, with what the attention gives computed again: so a derivative
    of it is that of query, key and value by every path."""
    count = operand_count(attrs)
    cotangent = operands[count + 2]
    result, sums = attention(operands[:count], attrs)
    given = (*operands[:count], sums, row_means(result, cotangent), cotangent)
    return attention_gradient(given, attrs)


def row_means(result: Value, cotangent: Value) -> Value:
    """The mean of each row's cotangents of weights, under the weights: sums along V of the result
    times its cotangent."""
    middle = wide(result.type.dtype)
    return REDUCE_SUM(
        _cast(result, middle) * _cast(cotangent, middle), axes=(result.type.ndim - 1,)
    )


def _scores(operands: Sequence[Value], attrs: Attrs) -> Value:
    """query keyᵀ scale + mask; -inf where a query does not see a key."""
    middle = wide(operands[0].type.dtype)
    query, key = (_cast(v, middle) for v in operands[:2])
    scores = _product(query, key)
    scores = scores * full(scores.type, scale_of(attrs))
    mask, _ = optional(operands, attrs)
    if mask is not None:
        if mask.type.dtype.is_float:
            scores = scores + _cast(mask, middle)
        else:
            scores = ew.WHERE(mask, scores, full(scores.type, hidden_of(attrs)))
    if attrs["causal"]:
        shape = scores.type.shape
        row, column = (IOTA(shape=shape, axis=len(shape) - k, dtype=i64) for k in (2, 1))
        scores = ew.WHERE(ew.GE(row, column), scores, full(scores.type, -math.inf))
    return scores


def _pulled_scores(operands: Sequence[Value], attrs: Attrs) -> tuple[Value, Value]:
    """(the weights, the cotangent of the masked scores)."""
    count = operand_count(attrs)
    _, factor = optional(operands[:count], attrs)
    middle = wide(operands[0].type.dtype)
    value = _cast(operands[2], middle)
    sums, mean, cotangent = (_cast(v, middle) for v in operands[count:])
    scores = _scores(operands[:count], attrs)
    weights = ew.EXP(scores - _along(sums, scores.type))
    inner = _product(cotangent, value)
    if factor is not None:
        inner = inner * factor
    inner = weights * (inner - _along(mean, inner.type))
    mask, _ = optional(operands[:count], attrs)
    if mask is not None and stays_hidden(mask.type, attrs):
        inner = ew.WHERE(mask, inner, full(inner.type, 0))
    return weights, inner


def _cast(value: Value, dtype: DType) -> Value:
    return value if value.type.dtype is dtype else ew.CAST(value, dtype=dtype)


def _along(rows: Value, like: TensorType) -> Value:
    """What each row has one of, for every element of a row."""
    return BROADCAST(rows, shape=like.shape, dims=tuple(range(rows.type.ndim)))


def _product(left: Value, right: Value) -> Value:
    """[batch, groups, L, D] times [batch, S, D]: [batch, groups, L, S]."""
    batch = tuple(range(right.type.ndim - 2))
    return DOT_GENERAL(
        left, right, lhs_contract=(left.type.ndim - 1,), rhs_contract=(right.type.ndim - 1,),
        lhs_batch=batch, rhs_batch=batch,
    )  # fmt: skip


def _weighted(weights: Value, right: Value) -> Value:
    """[batch, groups, L, S] times [batch, S, D]: [batch, groups, L, D]."""
    batch = tuple(range(right.type.ndim - 2))
    return DOT_GENERAL(
        weights, right, lhs_contract=(weights.type.ndim - 1,), rhs_contract=(len(batch),),
        lhs_batch=batch, rhs_batch=batch,
    )  # fmt: skip


def _shared(weights: Value, left: Value, like: Value) -> Value:
    """[batch, groups, L, S] and [batch, groups, L, D], summed over groups and L: [batch, S, D]."""
    first = like.type.ndim - 2
    rows = tuple(range(first, left.type.ndim - 1))
    return DOT_GENERAL(
        weights, left, lhs_contract=rows, rhs_contract=rows,
        lhs_batch=tuple(range(first)), rhs_batch=tuple(range(first)),
    )  # fmt: skip
