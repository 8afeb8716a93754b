"""Distinct elements, how often each occurs, and places in sorted sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...ir.dims import product
from ...ir.dtypes import f64, i32, i64, is_foreign, is_half
from ...ir.types import tensor_type
from ..apply import apply, as_type, elementwise
from ..context import ambient
from ..errors import ArgumentError, DTypeError, ShapeError, TraceError
from ..moves import beside
from ..promotion import promote_types
from ..symint import SymInt
from ..tensor import Tensor, elements, here, normal_axis
from .arguments import array_names, as_input, cast, reshaped, shape_of, spelled, takes_out
from .creation import linspace, zeros
from .math import where
from .reduction import amax, amin, sum
from .select import gather, in_range, linear_place, scatter_add


class Histogram(NamedTuple):
    """What `histogram` returns."""

    hist: Tensor
    bin_edges: Tensor


def _eager(name: str, what: str, hint: str) -> None:
    """Raise in a trace, where `what` is not known."""
    if ambient.trace is not None:
        raise TraceError(f"{name}: {what} depends on data", hint=hint)


# Distinct elements

_COUNT = "the number of distinct elements"
_HINT = "call it outside of the compiled function; with sort() equal elements stand side by side"


@array_names
def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements in ascending order; with `dim` the distinct slices along it. With
    `return_inverse` also which of them each element is, with `return_counts` also how often each
    occurs. Eager only. NaN equals nothing.

    Raises:
        TraceError: in a trace the number of elements is not known.
    """
    _eager("unique", _COUNT, _HINT)
    rows = _rows(input, dim)
    order = np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(rows.shape[0])
    begins = _begins(rows[order])
    number = np.cumsum(begins) - 1
    inverse = np.empty(len(order), np.int64)
    inverse[order] = number
    return _distinct(input, dim, order[begins], inverse, begins, return_inverse, return_counts)


@array_names
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The elements (with `dim` the slices along it) that differ from the one before. Else as
    `unique`. Eager only.

    Raises:
        TraceError: in a trace the number of elements is not known.
    """
    _eager("unique_consecutive", _COUNT, _HINT)
    begins = _begins(_rows(input, dim))
    inverse = np.cumsum(begins) - 1
    places = np.flatnonzero(begins)
    return _distinct(input, dim, places, inverse, begins, return_inverse, return_counts)


def _rows(input: Tensor, dim: int | None) -> np.ndarray:
    """[n, m]: each element, or each slice along `dim`, as one row."""
    array = elements(input)
    if is_half(array.dtype) or is_foreign(array.dtype):
        array = array.astype(np.float32)
    if dim is None:
        return array.reshape(-1, 1)
    moved = np.moveaxis(array, normal_axis(dim, input.ndim), 0)
    return moved.reshape(moved.shape[0], int(np.prod(moved.shape[1:])))


def _begins(rows: np.ndarray) -> np.ndarray:
    """Which rows differ from the one before."""
    begins = np.ones(rows.shape[0], bool)
    begins[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return begins


def _distinct(
    input: Tensor, dim: int | None, places: np.ndarray, inverse: np.ndarray, begins: np.ndarray,
    return_inverse: bool, return_counts: bool,
) -> Any:  # fmt: skip
    """The elements at `places`, and what else is asked for."""
    axis = 0 if dim is None else normal_axis(dim, input.ndim)
    flat = reshaped(input.detach(), (-1,)) if dim is None else input.detach()
    results = [apply("gather", [flat, beside(places.astype(np.int64), input)], axis=axis)]
    if return_inverse:
        shape = tuple(input.shape) if dim is None else (-1,)
        results.append(beside(inverse.astype(np.int64).reshape(shape), input))
    if return_counts:
        ends = np.append(np.flatnonzero(begins), len(begins))
        results.append(beside(np.diff(ends).astype(np.int64), input))
    return results[0] if len(results) == 1 else tuple(results)


# How often


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number 0, 1, 2, ... occurs in a 1-d tensor of integers, at least `minlength`
    of them; with `weights` the sum of the weights (float64 unless float32). Eager only.

    Raises:
        TraceError: in a trace the largest number is not known.
        ArgumentError: a number or `minlength` is negative.
        ShapeError: `input` is not 1-d, or `weights` of another shape.
    """
    _eager(
        "bincount", "the number of bins",
        "where the n numbers are known: sley.zeros(n, dtype=sley.int64)"
        ".scatter_add(0, x, sley.ones_like(x))",
    )  # fmt: skip
    if here(input).spec.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"bincount counts integers, got {input.dtype.public}")
    if input.ndim != 1:
        raise ShapeError(f"bincount takes a 1-d tensor, got the shape {list(input.shape)}")
    if weights is not None and weights.shape != input.shape:
        raise ShapeError(f"bincount: weights {list(weights.shape)}, numbers {list(input.shape)}")
    if minlength < 0 or (input.numel() and elements(input).min() < 0):
        raise ArgumentError("bincount takes numbers and a minlength that are 0 or more")
    largest = int(elements(input).max()) + 1 if input.numel() else 0
    bins = max(largest, int(minlength))
    if weights is None:
        each = elementwise("add", cast(elementwise("mul", input, 0), i64), 1)
    else:
        each = weights if weights.dtype.public == "float32" else cast(weights, f64)
    return scatter_add(zeros(bins, dtype=each.dtype), 0, cast(input, i64), each)


@takes_out
def histc(input: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals between `min` and `max` (where they
    are equal: between the smallest and the largest element), the last one closed; of the dtype of
    `input`.

    Raises:
        ArgumentError: there are no bins, or max is less than min.
        DTypeError: `input` is not floating point.
    """
    if not here(input).spec.dtype.is_float:
        raise DTypeError(f"histc takes floats, got {input.dtype.public}")
    flat = reshaped(input.detach(), (spelled(product(shape_of(input))),))
    low, high = _range("histc", flat, bins, None if min == max else (min, max), 1)
    return _binned(flat, bins, low, high, None)


def _range(name: str, flat: Tensor, bins: Any, given: Any, margin: float) -> tuple[Any, Any]:
    """The bounds of all bins; where they are equal, `margin` further apart."""
    if bins <= 0:
        raise ArgumentError(f"{name}: {bins} bins")
    if given is not None:
        low, high = given
        if low > high:
            raise ArgumentError(f"{name}: the range {low} .. {high}")
        return (low - margin, high + margin) if low == high else (low, high)
    if shape_of(flat)[0] == 0:
        return 0.0, 1.0
    low, high = amin(flat), amax(flat)
    alone = elementwise("eq", low, high)
    return (
        where(alone, elementwise("sub", low, margin), low),
        where(alone, elementwise("add", high, margin), high),
    )


def _binned(flat: Tensor, bins: Any, low: Any, high: Any, weight: Tensor | None) -> Tensor:
    """The number (or weight) of elements in each interval between `low` and `high`."""
    inside = elementwise("bit_and", elementwise("ge", flat, low), elementwise("le", flat, high))
    span = elementwise("sub", as_input(high), low)
    share = elementwise("div", elementwise("mul", elementwise("sub", flat, low), bins), span)
    place = cast(where(inside, share, 0.0), i64)
    place = elementwise("minimum", place, bins - 1)
    dtype = here(flat).spec.dtype
    each = cast(inside, dtype)
    if weight is not None:
        each = where(inside, cast(weight, dtype), 0.0)
    return apply("scatter", [zeros(bins, dtype=dtype), place, each], axis=0, combine="add")


@takes_out
def histogram(
    input: Tensor, bins: Any, *, range: Sequence[float] | None = None,
    weight: Tensor | None = None, density: bool = False,
) -> Histogram:  # fmt: skip
    """(hist, bin_edges): how many elements (or how much `weight`) lie in each bin, the last one
    closed. `bins` is their number, equal intervals of `range` (or of the elements), or their
    edges in ascending order. `density`: divided by total and width.

    Raises:
        ArgumentError: there are no bins, or a range that descends.
        DTypeError: `input` is not floating point.
        ShapeError: `weight` has another shape.
    """
    dtype = here(input).spec.dtype
    if not dtype.is_float:
        raise DTypeError(f"histogram takes floats, got {dtype.public}")
    if weight is not None and shape_of(weight) != shape_of(input):
        raise ShapeError(f"histogram: weights {weight.shape} of elements {input.shape}")
    count = spelled(product(shape_of(input)))
    flat = reshaped(input.detach(), (count,))
    each = None if weight is None else reshaped(weight.detach(), (count,))
    if isinstance(bins, Tensor):
        edges = cast(bins, dtype)
        hist = _between_edges(flat, edges, each)
    else:
        low, high = _range("histogram", flat, bins, range, 0.5)
        hist = _binned(flat, bins, low, high, each)
        steps = linspace(0.0, 1.0, bins + 1, dtype=dtype)
        span = elementwise("sub", as_input(high), low)
        up = elementwise("add", elementwise("mul", steps, span), low)
        down = elementwise("sub", high, elementwise("mul", elementwise("sub", 1, steps), span))
        edges = cast(where(elementwise("lt", steps, 0.5), up, down), dtype)
    if density:
        widths = elementwise("sub", edges[1:], edges[:-1])
        hist = elementwise("div", hist, elementwise("mul", widths, sum(hist)))
    return Histogram(hist, edges)


def _between_edges(flat: Tensor, edges: Tensor, weight: Tensor | None) -> Tensor:
    if edges.ndim != 1 or shape_of(edges)[0] == 1:
        raise ShapeError(f"histogram: edges of shape {list(shape_of(edges))}, not of two or more")
    count = spelled(shape_of(edges)[0])
    place = elementwise("sub", searchsorted(edges, flat, right=True), 1)
    at_end = elementwise("eq", flat, edges[count - 1])
    place = elementwise("where", at_end, count - 2, place, conditions=1)
    inside = elementwise(
        "bit_and", elementwise("ge", place, 0), elementwise("lt", place, count - 1)
    )
    dtype = here(flat).spec.dtype
    each = cast(inside, dtype) if weight is None else where(inside, cast(weight, dtype), 0.0)
    place = elementwise("where", inside, place, 0, conditions=1)
    return apply("scatter", [zeros(count - 1, dtype=dtype), place, each], axis=0, combine="add")


# Places in sorted sequences


@takes_out
def searchsorted(
    sorted_sequence: Tensor, values: Any, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """int64: before which element of the last axis of `sorted_sequence` each value belongs, so that
    the order stays; before equal ones, with `right` (or side="right") behind them. A sequence
    [.., n] takes values [.., m] with equal leading axes, a 1-d one values of any shape. `sorter`
    says in which order the sequence ascends.

    Raises:
        ShapeError: leading axes that differ.
        ArgumentError: `side` is neither "left" nor "right", or contradicts `right`.
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ArgumentError(f"searchsorted: side={side!r} with right={right}")
    wanted = as_input(values)
    sequence = sorted_sequence.detach()
    if sequence.ndim == 0:
        raise ShapeError("searchsorted in a 0-d tensor", hint="the sequence is 1-d or more")
    if sorter is not None:
        sequence = gather(sequence, -1, sorter)
    lead = shape_of(sequence)[:-1]
    if sequence.ndim > 1 and shape_of(wanted)[:-1] != lead:
        raise ShapeError(
            f"searchsorted: values {list(shape_of(wanted))} in {list(shape_of(sequence))}",
            hint="the axes before the last must be equal, or the sequence 1-d",
        )
    dtype = promote_types(here(sequence).spec.dtype, here(wanted).spec.dtype)
    found = _bisected(cast(sequence, dtype), cast(wanted.detach(), dtype), right or side == "right")
    return cast(found, i32) if out_int32 else found


def _bisected(sequence: Tensor, wanted: Tensor, right: bool) -> Tensor:
    """By halves: the place lies in [low, high] after each step."""
    size = spelled(shape_of(sequence)[-1])
    low = as_type(0, tensor_type(i64, shape_of(wanted)))
    if not isinstance(size, SymInt) and size == 0:
        return low
    high = elementwise("add", low, size)
    # As many halvings as bring any size to 0; of a size that varies, any that memory can hold.
    steps = 40 if isinstance(size, SymInt) else int(size).bit_length()
    flat = reshaped(sequence, (spelled(product(shape_of(sequence))),))
    for _ in range(steps):
        middle = elementwise("shift_right", elementwise("add", low, high), 1)
        inside = in_range(elementwise("minimum", middle, size - 1))
        if sequence.ndim > 1:
            inside = linear_place(sequence, sequence.ndim - 1, inside)
        held = apply("gather", [flat, inside], axis=0)
        # Written so that NaN, of either side, belongs to the end.
        goes_on = elementwise("bit_not", elementwise("gt" if right else "ge", held, wanted))
        goes_on = elementwise("bit_and", goes_on, elementwise("lt", low, high))
        low = where(goes_on, elementwise("add", middle, 1), low)
        high = where(goes_on, high, elementwise("minimum", middle, high))
    return low


@takes_out
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """int64: in which of the buckets between the ascending, 1-d `boundaries` each element lies:
    boundaries[i - 1] < x <= boundaries[i], with `right` <= and <.

    Raises:
        ShapeError: `boundaries` is not 1-d.
    """
    if boundaries.ndim != 1:
        raise ShapeError(f"bucketize: boundaries of shape {list(shape_of(boundaries))}, not 1-d")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
