"""Attention: softmax(query keyᵀ scale + mask) factor value, without the matrix of weights.

The one composite that stays an op down to the kernel level (Vaswani et al., 2017; Rabe and Staats,
2021; Dao et al., 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..dims import Dim
from ..dtypes import DType, f32, is_half
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, define, need

Types = Sequence[TensorType]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sizes:
    """The axes of an attention.

    Attributes:
        batch: axes that all operands share.
        groups: axes of the queries that share a key and a value.
        queries, keys, features, width: L, S, E and V.
    """

    batch: tuple[Dim, ...]
    groups: tuple[Dim, ...]
    queries: Dim
    keys: Dim
    features: Dim
    width: Dim

    @property
    def rows(self) -> tuple[Dim, ...]:
        """The shape of what there is one of for each query."""
        return (*self.batch, *self.groups, self.queries)

    @property
    def scores(self) -> tuple[Dim, ...]:
        return (*self.rows, self.keys)


def sizes_of(query: TensorType, key: TensorType, value: TensorType) -> Sizes:
    """The axes of an attention of such operands."""
    batch = key.shape[:-2]
    return Sizes(
        batch, query.shape[len(batch) : -2], query.shape[-2], key.shape[-2], key.shape[-1],
        value.shape[-1],
    )  # fmt: skip


def wide(dtype: DType) -> DType:
    """What weights and sums are computed in."""
    return f32 if dtype.is_low_precision else dtype


def optional(operands: Sequence[T], attrs: Attrs) -> tuple[T | None, T | None]:
    """(mask, factor) among the operands of an attention."""
    rest = list(operands[3:])
    mask = rest.pop(0) if attrs["masked"] else None
    return mask, rest.pop(0) if attrs["factored"] else None


def operand_count(attrs: Attrs) -> int:
    """Query, key, value, and mask and factor where there are any."""
    return 3 + bool(attrs["masked"]) + bool(attrs["factored"])


def scale_of(attrs: Attrs) -> float:
    """The factor of the scores."""
    return float(attrs["scale"].array)


def hidden_of(attrs: Attrs) -> float:
    """The score where a bool mask is false."""
    return float(attrs["hidden"].array)


def stays_hidden(mask: TensorType | None, attrs: Attrs) -> bool:
    """Whether a query may give weight to keys that the mask hides: where it hides all of them. No
    gradient passes there."""
    return mask is not None and mask.dtype.kind == "bool" and hidden_of(attrs) != -np.inf


def _infer(types: Types, attrs: Attrs) -> Types:
    need(len(types) == operand_count(attrs), f"attention of {len(types)} operands")
    query, key, value = types[:3]
    need(
        query.dtype.is_float and key.dtype is query.dtype and value.dtype is query.dtype,
        f"attention of {query}, {key}, {value}: floats of one dtype",
    )
    need(
        key.ndim >= 2 and key.ndim == value.ndim and query.ndim >= key.ndim,
        f"attention of {query}, {key}, {value}: [batch, groups, L, E], [batch, S, E or V]",
    )
    count = key.ndim - 2
    need(query.shape[:count] == key.shape[:-2], f"attention: batch axes of {query} and {key}")
    need(key.shape[:-1] == value.shape[:-1], f"attention: {key} for the values {value}")
    need(query.shape[-1] == key.shape[-1], f"attention: features of {query} and {key}")
    sizes = sizes_of(query, key, value)
    mask, factor = optional(types, attrs)
    if mask is not None:
        need(
            mask.dtype.kind == "bool" or mask.dtype in (query.dtype, wide(query.dtype)),
            f"attention: a mask {mask} for {query}",
        )
        need(mask.shape == sizes.scores, f"attention: a mask {mask}, the scores {sizes.scores}")
    if factor is not None:
        wanted = tensor_type(wide(query.dtype), sizes.scores)
        need(factor is wanted, f"attention: a factor {factor}, expected {wanted}")
    return (
        tensor_type(query.dtype, (*sizes.rows, sizes.width)),
        tensor_type(wide(query.dtype), sizes.rows),
    )


def _spread(array: np.ndarray, groups: int) -> np.ndarray:
    """A key or value with axes of extent 1 for the `groups` of queries that share it."""
    return array.reshape(array.shape[:-2] + (1,) * groups + array.shape[-2:])


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if is_half(array.dtype) else array


def _scores(arrays: Sequence[np.ndarray], attrs: Attrs) -> np.ndarray:
    """query keyᵀ scale + mask; -inf where a query does not see a key."""
    query, key = (_wide(a) for a in arrays[:2])
    key = _spread(key, query.ndim - key.ndim)
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * query.dtype.type(scale_of(attrs))
    mask, _ = optional(arrays, attrs)
    if mask is not None:
        if mask.dtype == np.bool_:
            scores = np.where(mask, scores, scores.dtype.type(hidden_of(attrs)))
        else:
            scores = scores + _wide(mask)
    if attrs["causal"]:
        seen = np.arange(scores.shape[-2])[:, None] >= np.arange(scores.shape[-1])
        scores = np.where(seen, scores, scores.dtype.type(-np.inf))
    return scores


def _evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    dtype = arrays[0].dtype
    scores = _scores(arrays, attrs)
    top = scores.max(-1, keepdims=True, initial=-np.inf).astype(scores.dtype)
    top = np.where(np.isneginf(top), 0, top) if attrs["safe"] else top
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    empty = (total == 0) if attrs["safe"] else np.zeros_like(total, bool)
    weights /= np.where(empty, 1, total)
    with np.errstate(divide="ignore"):
        sums = np.where(empty, np.inf, top + np.log(total))[..., 0]
    _, factor = optional(arrays, attrs)
    if factor is not None:
        weights *= factor
    value = _wide(arrays[2])
    result = np.matmul(weights, _spread(value, scores.ndim - value.ndim))
    return [result.astype(dtype, copy=False), sums.astype(scores.dtype, copy=False)]


ATTENTION = define(
    "attention", Kind.ATTENTION, _infer, _evaluate,
    "softmax(query keyᵀ scale + mask) factor value of [batch, groups, L, E], [batch, S, E], "
    "[batch, S, V] -> [batch, groups, L, V], and the logarithm of each row's sum of exponentials "
    "[batch, groups, L]. `scale`: a literal f64; mask (`masked`): bool, false where a score "
    "is the literal `hidden`, or added; factor (`factored`): times the weights. Both have the "
    "shape of the scores [batch, groups, L, S]. `causal`: query i sees the keys j <= i. `safe`: a "
    "query that sees none gives 0, not NaN",
    attributes=("scale", "hidden", "causal", "safe", "masked", "factored"),
)  # fmt: skip


def _infer_gradient(types: Types, attrs: Attrs) -> Types:
    count = operand_count(attrs)
    need(len(types) == count + 3, f"attention_gradient of {len(types)} operands")
    results = _infer(types[:count], attrs)
    result, sums = results
    need(
        list(types[count:]) == [sums, sums, result],
        f"attention_gradient: {list(types[count:])}, expected {[sums, sums, result]}",
    )
    query, key, value = types[:3]
    if "parts" not in attrs:
        return query, key, value
    parts, keys = attrs["parts"], key.shape[-2]
    need(
        parts >= 1 and isinstance(keys, int) and (parts - 1) * part_size(keys, parts) < keys,
        f"attention_gradient: {keys} keys in {parts} parts",
    )
    return tensor_type(wide(query.dtype), (parts, *query.shape)), key, value


def part_size(keys: int, parts: int) -> int:
    """How many of the keys each part has; the last one has what is left."""
    return -(-keys // parts)


def _evaluate_gradient(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    count = operand_count(attrs)
    query, key, value = (_wide(a) for a in arrays[:3])
    sums, mean, cotangent = (_wide(a) for a in arrays[count:])
    groups = query.ndim - key.ndim
    _, factor = optional(arrays[:count], attrs)
    weights = np.exp(_scores(arrays[:count], attrs) - sums[..., None])
    wide_key, wide_value = _spread(key, groups), _spread(value, groups)
    inner = np.matmul(cotangent, np.swapaxes(wide_value, -1, -2))
    dropped = weights
    if factor is not None:
        inner, dropped = inner * factor, weights * factor
    inner = weights * (inner - mean[..., None])
    mask, _ = optional(arrays[:count], attrs)
    if mask is not None and mask.dtype == np.bool_:
        inner = np.where(mask, inner, inner.dtype.type(0))
    inner *= inner.dtype.type(scale_of(attrs))
    first = key.ndim - 2
    shared = tuple(range(first, first + groups))
    found = (
        _of_query(inner, wide_key, attrs),
        np.matmul(np.swapaxes(inner, -1, -2), query).sum(shared),
        np.matmul(np.swapaxes(dropped, -1, -2), cotangent).sum(shared),
    )
    dtypes = [a.dtype for a in arrays[:3]]
    if "parts" in attrs:
        dtypes[0] = inner.dtype
    return [g.astype(dtype, copy=False) for g, dtype in zip(found, dtypes, strict=True)]


def _of_query(inner: np.ndarray, key: np.ndarray, attrs: Attrs) -> np.ndarray:
    """The cotangent of the query, or what each part of the keys adds to it."""
    if "parts" not in attrs:
        return np.matmul(inner, key)
    size = part_size(key.shape[-2], attrs["parts"])
    cuts = [slice(first, first + size) for first in range(0, key.shape[-2], size)]
    return np.stack([np.matmul(inner[..., cut], key[..., cut, :]) for cut in cuts])


ATTENTION_GRADIENT = define(
    "attention_gradient", Kind.ATTENTION, _infer_gradient, _evaluate_gradient,
    "the cotangents of query, key and value: the operands of an `attention`, its second result, "
    "the sums along V of its first result times that one's cotangent, and this cotangent. With "
    "`parts` the first result has one more axis in front: what each of so many parts of the keys "
    "adds to it, in the type of weights",
    attributes=("scale", "hidden", "causal", "safe", "masked", "factored", "parts"),
    optional=("parts",),
)  # fmt: skip
