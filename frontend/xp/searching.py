"""Places, order and sets of elements."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..functions import ordering, reduction, select, shape
from ..functions.counting import searchsorted as _searchsorted
from ..functions.counting import unique
from ..functions.gathering import isin as _isin
from ..functions.math import where as _where
from ..tensor import Tensor


class UniqueAll(NamedTuple):
    """What `unique_all` returns: x.flatten()[indices] is `values`, values[inverse_indices] is x."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The place of the first greatest element along an axis, or in the flattened array."""
    return _kept(reduction.argmax(x, axis, keepdims and axis is not None), x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The place of the first least element along an axis, or in the flattened array."""
    return _kept(reduction.argmin(x, axis, keepdims and axis is not None), x, axis, keepdims)


def count_nonzero(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0."""
    return reduction.sum(x != 0, axis, keepdims)


def _kept(found: Tensor, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    return found.reshape((1,) * x.ndim) if keepdims and axis is None else found


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not 0, a tensor for each axis."""
    return tuple(select.nonzero(x, as_tuple=True))


def where(condition: Tensor, x1: Any, x2: Any, /) -> Tensor:
    """Elements of `x1` where the condition holds, else of `x2`."""
    return _where(condition, x1, x2)


def searchsorted(
    x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """The places in a sorted `x1` at which `x2` would keep the order."""
    return _searchsorted(x1, x2, side=side, sorter=sorter)


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Whether each element of `x1` is among those of `x2`, or is not."""
    return _isin(x1, x2, invert=invert)


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The slices of `x` at `indices` along an axis, which may be left out of a vector."""
    at = indices.reshape((-1,))
    found = select.index_select(x, 0 if axis is None else axis, at)
    if indices.ndim == 1:
        return found
    place = 0 if axis is None else axis % x.ndim
    return found.reshape((*x.shape[:place], *indices.shape, *x.shape[place + 1 :]))


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The elements of `x` at `indices` along an axis, the other axes going together."""
    return select.take_along_dim(x, indices, axis)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along an axis."""
    return ordering.sort(x, axis, descending, stable=stable).values


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """The places of the elements in order along an axis."""
    return ordering.argsort(x, axis, descending, stable=stable)


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct elements, ascending."""
    return unique(x)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The distinct elements, and how often each occurs."""
    return UniqueCounts(*unique(x, return_counts=True))


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The distinct elements, and for each element of `x` the place among them."""
    return UniqueInverse(*unique(x, return_inverse=True))


def unique_all(x: Tensor, /) -> UniqueAll:
    """The distinct elements, where each occurs first, the place of each element of `x` among them,
    and how often each occurs."""
    values, inverse, counts = unique(x, return_inverse=True, return_counts=True)
    order = ordering.argsort(shape.flatten(inverse), 0, stable=True)
    first = reduction.cumsum(counts, 0) - counts
    return UniqueAll(values, select.index_select(order, 0, first), inverse, counts)
