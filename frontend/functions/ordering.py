"""What follows from the order of the elements along an axis: sorting, the largest ones, medians,
quantiles. Each is one `sort` and what stands around it."""

from __future__ import annotations

from typing import Any

from ...ir.dims import product
from ...ir.dtypes import f32, f64, i64
from ...ir.types import tensor_type
from ..apply import apply, as_type, elementwise
from ..context import ambient
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..symint import SymInt
from ..tensor import Tensor, elements, here, normal_axis
from ..viewing import narrow_view
from .arguments import array_names, cast, plain_size, reshaped, shape_of, spelled
from .creation import iota
from .math import where
from .reduction import ValuesIndices, all, argmax, count_nonzero
from .select import in_range, linear_place
from .shape import movedim, unsqueeze


def _sorted(input: Tensor, axis: int, descending: bool = False) -> ValuesIndices:
    """As the op, and of a 0-d tensor as of one with a single element."""
    if input.ndim == 0:
        values, indices = apply("sort", [reshaped(input, (1,))], axis=0, descending=descending)
        return ValuesIndices(reshaped(values, ()), reshaped(indices, ()))
    return ValuesIndices(*apply("sort", [input], axis=axis, descending=bool(descending)))


@array_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False
) -> ValuesIndices:
    """(values, indices) along `dim`: the elements in ascending (or descending) order, and where
    each stood. NaN counts as the largest. The order of equal elements is always kept."""
    return _sorted(input, normal_axis(dim, input.ndim), descending)


@array_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """int64: where along `dim` each element of the sorted tensor stood."""
    return sort(input, dim, descending, stable).indices


def msort(input: Tensor) -> Tensor:
    """The elements in ascending order along the first axis."""
    return sort(input, 0).values


@array_names
def topk(
    input: Tensor, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesIndices:
    """(values, indices) of the `k` largest (or smallest) elements along `dim`, in that order
    (whatever `sorted` says). NaN counts as the largest.

    Raises:
        IndexingError: k is negative or larger than the size of the axis.
    """
    axis, count = normal_axis(dim, input.ndim), plain_size(k)
    size = spelled(shape_of(input)[axis]) if input.ndim else 1
    if not isinstance(count, SymInt) and (count < 0 or count > size):
        raise IndexingError(f"topk: k={k} of an axis of size {size}")
    values, indices = _sorted(input, axis, largest)
    if input.ndim == 0:
        return ValuesIndices(values, indices)
    return ValuesIndices(
        narrow_view(values, axis, 0, count).clone(), narrow_view(indices, axis, 0, count).clone()
    )


@array_names
def kthvalue(input: Tensor, k: Any, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(values, indices) of the k-th smallest element along `dim`; the smallest is the first.

    Raises:
        IndexingError: there is no k-th element.
    """
    axis, place = normal_axis(dim, input.ndim), plain_size(k)
    size = spelled(shape_of(input)[axis]) if input.ndim else 1
    if not isinstance(place, SymInt) and not 1 <= place <= size:
        raise IndexingError(f"kthvalue: k={k} of an axis of size {size}", hint="k counts from 1")
    found = _sorted(input, axis)
    if input.ndim == 0:
        return found
    return ValuesIndices(*(_at(part, axis, place - 1, keepdim) for part in found))


def _at(input: Tensor, axis: int, place: Any, keepdim: bool) -> Tensor:
    """A copy of the elements at one place of `axis`."""
    taken = narrow_view(input, axis, place, 1)
    return taken.clone() if keepdim else _without(taken, axis)


def _without(input: Tensor, axis: int) -> Tensor:
    """A copy without `axis`, of size 1."""
    sizes = [spelled(n) for a, n in enumerate(shape_of(input)) if a != axis]
    return reshaped(input, sizes).clone()


def _picked(input: Tensor, axis: int, place: Tensor) -> Tensor:
    """input[.., place[.., j, ..], ..] along `axis`, for places that are known to be in range."""
    flat = reshaped(input, (spelled(product(shape_of(input))),))
    return apply("gather", [flat, in_range(linear_place(input, axis, place))], axis=0)


def _numbers(input: Tensor) -> Tensor:
    """Which elements are not NaN."""
    return elementwise("stop_gradient", elementwise("eq", input, input))


# Medians


@array_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of all elements; along `dim` (values, indices). Of two in the middle the lower
    one, NaN where there is one. The gradient goes to the element chosen.

    Raises:
        IndexingError: the axis has no elements.
    """
    return _median(input, dim, keepdim, ignore_nan=False)


@array_names
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """As `median`, of the elements that are not NaN; NaN where all are."""
    return _median(input, dim, keepdim, ignore_nan=True)


def _median(input: Tensor, dim: int | None, keepdim: bool, ignore_nan: bool) -> Any:
    if dim is None:
        flat = reshaped(input, (spelled(product(shape_of(input))),))
        return _median(flat, 0, False, ignore_nan).values
    axis = normal_axis(dim, input.ndim)
    if input.ndim == 0:
        return ValuesIndices(input.clone(), iota((1,), 0)[0])
    size = spelled(shape_of(input)[axis])
    if not isinstance(size, SymInt) and size == 0:
        raise IndexingError(f"median over axis {axis}, which has no elements")
    values, indices = _sorted(input, axis)
    if not here(input).spec.dtype.is_float:
        place = (size - 1) // 2
        return ValuesIndices(_at(values, axis, place, keepdim), _at(indices, axis, place, keepdim))
    numbers = unsqueeze(count_nonzero(_numbers(input), axis), axis)
    if ignore_nan:
        middle = elementwise("floor_div", elementwise("sub", numbers, 1), 2)
        places = elementwise("maximum", middle, 0)
    else:
        whole = elementwise("eq", numbers, size)
        places = elementwise("where", whole, (size - 1) // 2, numbers, conditions=1)
    found = [_picked(part, axis, places) for part in (values, indices)]
    return ValuesIndices(*(part if keepdim else _without(part, axis) for part in found))


@array_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(values, indices): the element that is most frequent along `dim`, of several the smallest,
    and where it stands last.

    Raises:
        IndexingError: the axis has no elements.
    """
    axis = normal_axis(dim, input.ndim)
    if input.ndim == 0:
        return ValuesIndices(input.clone(), iota((1,), 0)[0])
    sizes = [spelled(n) for n in shape_of(input)]
    if not isinstance(sizes[axis], SymInt) and sizes[axis] == 0:
        raise IndexingError(f"mode over axis {axis}, which has no elements")
    values, indices = _sorted(input, axis)
    place = iota(sizes, axis)
    first = narrow_view(values, axis, 0, 1)
    before = narrow_view(values, axis, 0, sizes[axis] - 1)
    previous = apply("concat", [first, before], axis=axis)
    begins = elementwise("stop_gradient", elementwise("ne", values, previous))
    start = apply("cummax", [where(begins, place, 0)], axis=axis, reverse=False)
    longest = argmax(elementwise("sub", place, start), axis, keepdim=True)
    found = [_picked(part, axis, longest) for part in (values, indices)]
    return ValuesIndices(*(part if keepdim else _without(part, axis) for part in found))


# Quantiles

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@array_names
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """The q-quantiles along `dim` (of all elements without one), NaN where there is one. For a 1-d
    `q` the results stand along a new first axis. Between two elements as `interpolation` says:
    "linear", "lower", "higher", "midpoint" or "nearest".

    Raises:
        ArgumentError: q is not in [0, 1], or another interpolation.
        DTypeError: `input` is neither float32 nor float64, or `q` of another dtype.
    """
    return _quantile(input, q, dim, keepdim, interpolation, ignore_nan=False)


@array_names
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """As `quantile`, of the elements that are not NaN."""
    return _quantile(input, q, dim, keepdim, interpolation, ignore_nan=True)


def _quantile(
    input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool
) -> Tensor:
    wanted = _wanted(input, q, interpolation)
    ndim = input.ndim
    axis = normal_axis(dim, ndim) if dim is not None else 0
    if dim is None or ndim == 0:
        ranked = reshaped(input, (spelled(product(shape_of(input))),))
    else:
        ranked = movedim(input, axis, -1)
    size = spelled(shape_of(ranked)[-1])
    if not isinstance(size, SymInt) and size == 0:
        raise ArgumentError("quantile of no elements")
    found = _between(ranked, size, reshaped(wanted, (-1,)), interpolation, ignore_nan)
    found = movedim(found, -1, 0)
    if keepdim and dim is None:
        found = reshaped(found, (-1, *(1 for _ in range(ndim))))
    elif keepdim and ndim:
        found = unsqueeze(found, axis + 1)
    if wanted.ndim == 0:
        found = _without(found, 0)
    return found


def _wanted(input: Tensor, q: Any, interpolation: str) -> Tensor:
    """`q` as a tensor of the dtype of `input`, checked."""
    dtype = here(input).spec.dtype
    if interpolation not in _INTERPOLATIONS:
        raise ArgumentError(
            f"quantile: interpolation={interpolation!r} is not of {_INTERPOLATIONS}"
        )
    if dtype not in (f32, f64):
        raise DTypeError(f"quantile takes float32 and float64, got {dtype.public}")
    if isinstance(q, Tensor):
        if here(q).spec.dtype is not dtype:
            raise DTypeError(f"quantile: q is {q.dtype.public}, the tensor {dtype.public}")
        if q.ndim > 1:
            raise ShapeError(f"quantile: q is a number or 1-d, not of shape {list(shape_of(q))}")
        known = None if ambient.trace is not None else elements(q)
        if known is not None and known.size and not ((known >= 0) & (known <= 1)).all():
            raise ArgumentError("quantile: q is not in [0, 1]")
        return q
    if not 0 <= q <= 1:
        raise ArgumentError(f"quantile: q={q} is not in [0, 1]")
    return as_type(q, tensor_type(dtype))


def _between(
    ranked: Tensor, size: Any, wanted: Tensor, interpolation: str, ignore_nan: bool
) -> Tensor:
    """The quantiles `wanted` [Q] along the last axis of `ranked` [.., n]: [.., Q]."""
    numbers = _numbers(ranked)
    ordered = _sorted(ranked, ranked.ndim - 1).values
    if ignore_nan:
        last = elementwise("sub", count_nonzero(numbers, -1), 1)
        last = unsqueeze(elementwise("maximum", last, 0), -1)
        ranks = elementwise("mul", wanted, cast(last, wanted.dtype))
    else:
        ranks = elementwise("mul", wanted, size - 1)
        whole = all(numbers, -1, keepdim=True)
        ranks = elementwise("where", whole, ranks, size - 1, conditions=1)
    rounding = {"lower": "floor", "higher": "ceil", "nearest": "round"}.get(interpolation)
    if rounding is not None:
        return _picked(ordered, ranked.ndim - 1, cast(elementwise(rounding, ranks), i64))
    below = elementwise("floor", ranks)
    low = _picked(ordered, ranked.ndim - 1, cast(below, i64))
    high = _picked(ordered, ranked.ndim - 1, cast(elementwise("ceil", ranks), i64))
    weight: Any = 0.5 if interpolation == "midpoint" else elementwise("sub", ranks, below)
    gap = elementwise("sub", high, low)
    near_low = elementwise("add", low, elementwise("mul", weight, gap))
    near_high = elementwise("sub", high, elementwise("mul", elementwise("sub", 1, weight), gap))
    near = elementwise("where", elementwise("lt", weight, 0.5), near_low, near_high, conditions=1)
    # Between equal infinities there is no gap.
    return where(elementwise("eq", low, high), low, near)
