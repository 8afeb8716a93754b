"""Reductions and prefixes."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import DType, u64
from ..functions import joining, prefix, reduction, statistics
from ..functions.creation import full
from ..tensor import Tensor


def _summed(x: Tensor, dtype: DType | None) -> DType | None:
    """Unsigned integers are summed in uint64, signed ones in int64."""
    return u64 if dtype is None and x.dtype.kind == "uint" else dtype


def sum(
    x: Tensor, /, *, axis: Any = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    """The sum over axes, all unless given."""
    return reduction.sum(x, axis, keepdims, dtype=_summed(x, dtype))


def prod(
    x: Tensor, /, *, axis: Any = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    """The product over axes, all unless given."""
    return reduction.prod(x, axis, keepdims, dtype=_summed(x, dtype))


def mean(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over axes, all unless given."""
    return reduction.mean(x, axis, keepdims)


def max(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The greatest element over axes, all unless given."""
    return reduction.amax(x, axis, keepdims)


def min(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The least element over axes, all unless given."""
    return reduction.amin(x, axis, keepdims)


def all(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over axes are true."""
    return reduction.all(x, axis, keepdims)


def any(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether some element over axes is true."""
    return reduction.any(x, axis, keepdims)


def var(
    x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """The variance over axes: squares divided by the count less `correction`."""
    return statistics.var(x, axis, keepdim=keepdims, correction=correction)


def std(
    x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """The root of `var`."""
    return statistics.std(x, axis, keepdim=keepdims, correction=correction)


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None,
    include_initial: bool = False,
) -> Tensor:  # fmt: skip
    """Sums of the elements up to each one along an axis (of a vector: its own); with
    `include_initial` a 0 before them."""
    place = 0 if axis is None else axis
    found = reduction.cumsum(x, place, dtype=_summed(x, dtype))
    return _with_first(found, place, 0) if include_initial else found


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None,
    include_initial: bool = False,
) -> Tensor:  # fmt: skip
    """Products of the elements up to each one along an axis (of a vector: its own); with
    `include_initial` a 1 before them."""
    place = 0 if axis is None else axis
    found = reduction.cumprod(x, place, dtype=_summed(x, dtype))
    return _with_first(found, place, 1) if include_initial else found


def _with_first(found: Tensor, axis: int, value: int) -> Tensor:
    sizes = list(found.shape)
    sizes[axis] = 1
    return joining.cat([full(sizes, value, dtype=found.dtype), found], axis)


def diff(
    x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The `n`-th differences of neighbours along an axis."""
    return prefix.diff(x, n, axis, prepend, append)
