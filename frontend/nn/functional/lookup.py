"""Lookups: rows of a table, and sums of them."""

from __future__ import annotations

import math
from typing import Any

from ....ir.dtypes import i64
from ...apply import apply, elementwise, value_of
from ...context import ambient, setting
from ...errors import ArgumentError, DTypeError, IndexingError, ShapeError, UnsupportedError
from ...functions.arguments import cast, reshaped, shape_of, spelled, with_ones
from ...functions.creation import full, zeros
from ...functions.logic import logical_and
from ...functions.math import add, clamp, eq, gt, mul, ne, sub, true_divide, where
from ...functions.reduction import amax, any, cumsum, sum
from ...functions.select import index_add
from ...functions.statistics import norm
from ...tensor import Tensor, here


def _check(input: Tensor, name: str, sparse: bool) -> None:
    if here(input).spec.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            f"{name}: indices are {here(input).spec.dtype.public}",
            hint="swap the arguments, or cast with .to(sley.int64)",
        )
    if sparse:
        raise UnsupportedError(f"{name}: gradients are dense", hint="leave sparse=False")


def _counts(input: Tensor, weight: Tensor) -> Tensor:
    """How often each row is named, in the dtype of the table."""
    flat, dtype = reshaped(input, (-1,)), here(weight).spec.dtype
    one = cast(eq(flat, flat), dtype)
    return index_add(zeros(spelled(shape_of(weight)[0]), dtype=dtype), 0, flat, one)


def _renormed(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that `input` names, in place, to a norm of at most `max_norm`."""
    with setting(grad_enabled=False):
        lengths = norm(weight, norm_type, 1)
        large = logical_and(gt(lengths, max_norm), gt(_counts(input, weight), 0))
        factor = where(large, true_divide(max_norm, add(lengths, 1e-7)), 1.0)
        weight.copy_(mul(weight, with_ones(factor, (1,))))


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` [n, d] that the integers of `input` name: [..., d].

    Args:
        padding_idx: this row gets no gradient.
        max_norm: rows that are named and longer are scaled to it, in place, by `norm_type`.
        scale_grad_by_freq: gradients are divided by how often a row is named.

    Raises:
        IndexingError: a number is out of range.
        UnsupportedError: a sparse gradient.
    """
    _check(input, "embedding", sparse)
    if max_norm is not None:
        _renormed(weight, input, max_norm, norm_type)
    rows = _rows(weight, input, "embedding")
    if scale_grad_by_freq:
        count = with_ones(apply("gather", [_counts(input, weight), input], axis=0), (input.ndim,))
        still = elementwise("stop_gradient", rows)
        rows = add(still, true_divide(sub(rows, still), count))
    if padding_idx is None:
        return rows
    padded = with_ones(eq(input, _row(padding_idx, weight, "embedding")), (input.ndim,))
    return where(padded, elementwise("stop_gradient", rows), rows)


def _rows(weight: Tensor, input: Tensor, name: str) -> Tensor:
    """The rows that `input` names; one that is not there is told as of the function `name`."""
    if ambient.trace is not None:
        ambient.trace.builder.check(value_of(input), here(weight).spec.shape[0], name)
    try:
        return apply("gather", [weight, input], axis=0)
    except IndexingError as error:
        raise IndexingError(error.message.replace("gather", name, 1)) from None


def _row(index: int, weight: Tensor, name: str) -> Any:
    """The number of a row, counted from the end where it is negative."""
    count = spelled(shape_of(weight)[0])
    if not (-count <= index and index < count):
        raise ArgumentError(f"{name}: padding_idx={index} of {count} rows")
    return count + index if index < 0 else index


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of rows of `weight` [n, d]: of bags of B indices of one length, [B, L],
    or of a vector of indices [I] that is cut at `offsets` [B]; gives [B, d], 0 for empty bags.

    Args:
        mode: "sum", "mean" or "max".
        per_sample_weights: of the shape of `input`; scales the rows (with "sum").
        include_last_offset: `offsets` is [B + 1] and ends with I.
        padding_idx: this row does not count. Others as of `embedding`.

    Raises:
        ShapeError: `offsets` with [B, L], or none with [I].
        ArgumentError: another mode, or weights with another mode than "sum".
        IndexingError: an index is out of range.
    """
    _check(input, "embedding_bag", sparse)
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError(f"embedding_bag: mode={mode!r} is not 'sum', 'mean' or 'max'")
    if per_sample_weights is not None and mode != "sum":
        raise ArgumentError(f"embedding_bag: per_sample_weights with mode={mode!r}")
    if scale_grad_by_freq and mode == "max":
        raise ArgumentError("embedding_bag: scale_grad_by_freq with mode='max'")
    if (input.ndim == 2) != (offsets is None) or input.ndim not in (1, 2):
        raise ShapeError(
            f"embedding_bag of {here(input).spec} {'without' if offsets is None else 'with'} "
            "offsets",
            hint="indices are [B, L], or [I] with offsets [B]",
        )
    rows = embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        if shape_of(per_sample_weights) != shape_of(input):
            raise ShapeError(
                f"embedding_bag: weights {here(per_sample_weights).spec} of {here(input).spec}"
            )
        rows = mul(rows, with_ones(per_sample_weights, (input.ndim,)))
    counted = eq(input, input)
    if padding_idx is not None:
        counted = ne(input, _row(padding_idx, weight, "embedding_bag"))
    if offsets is None:
        return _of_rows(rows, counted, mode)
    return _of_bags(rows, counted, offsets, mode, include_last_offset)


def _of_rows(rows: Tensor, counted: Tensor, mode: str) -> Tensor:
    """[B, L, d] over L."""
    mask = with_ones(counted, (2,))
    if mode == "max":
        length = shape_of(rows)[1]
        if isinstance(length, int) and length == 0:
            return sum(rows, 1)
        best = amax(where(mask, rows, -math.inf), 1)
        return where(any(mask, 1), best, 0)
    total = sum(where(mask, rows, 0), 1)
    return total if mode == "sum" else _per_element(total, sum(cast(mask, total.dtype), 1))


def _per_element(total: Tensor, count: Tensor) -> Tensor:
    return true_divide(total, clamp(count, min=1))


def _of_bags(
    rows: Tensor, counted: Tensor, offsets: Tensor, mode: str, include_last: bool
) -> Tensor:
    """[I, d] over the parts that begin at `offsets`."""
    if offsets.ndim != 1 or here(offsets).spec.dtype.kind not in ("int", "uint"):
        raise ShapeError(f"embedding_bag: offsets are {here(offsets).spec}, not int64[B]")
    total, width = (spelled(n) for n in shape_of(rows))
    bags = spelled(shape_of(offsets)[0]) - (1 if include_last else 0)
    begins = offsets[:bags]
    marks = index_add(zeros(total + 1, dtype=i64), 0, begins, cast(eq(begins, begins), i64))
    bag = sub(cumsum(marks, 0)[:total], 1)  # the last one that begins here or before
    mask = with_ones(counted, (1,))
    if mode == "max":
        low = full((bags, width), -math.inf, dtype=rows.dtype)
        given = where(mask, rows, -math.inf)
        best = apply("scatter", [low, bag, given], axis=0, combine="maximum")
        return where(eq(best, -math.inf), 0, best)
    empty = zeros(bags, width, dtype=rows.dtype)
    added = index_add(empty, 0, bag, where(mask, rows, 0))
    if mode == "sum":
        return added
    counts = index_add(zeros(bags, dtype=rows.dtype), 0, bag, cast(counted, rows.dtype))
    return _per_element(added, with_ones(counts, (1,)))
