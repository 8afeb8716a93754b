"""Ints and slices of an index: places along one axis, whose size may be a symbol."""

from __future__ import annotations

import operator
from typing import Any

from ..ir.dims import Dim, Expr, floordiv
from .context import ambient
from .errors import IndexingError
from .symint import dim_or_none


def position(number: Dim, size: Dim, axis: int) -> Dim:
    """The index of one element from the front.

    Raises:
        IndexingError: it is out of range.
    """
    if isinstance(number, int) and isinstance(size, int):
        if not -size <= number < size:
            raise IndexingError(
                f"index {number} is out of range for axis {axis} of size {size}",
                hint="indices go from -size to size - 1",
            )
        return number + size if number < 0 else number
    trace = ambient.trace
    assert trace is not None, "a symbolic size outside of a trace"
    if trace.decide(number, "<", 0):
        number = number + size
    if trace.decide(number, "<", 0) or not trace.decide(number, "<", size):
        raise IndexingError(
            f"index {number} is out of range for axis {axis} of size {size}",
            hint="indices go from -size to size - 1",
        )
    return number


def slice_bounds(item: slice, size: Dim) -> tuple[Dim, Dim, int]:
    """start, number of elements and step of a slice of an axis, as Python's slices have them.

    Raises:
        IndexingError: the step is 0.
    """
    step = 1 if item.step is None else _integer(item.step)
    if step == 0:
        raise IndexingError("the step of a slice cannot be 0")
    low, high = (_bound(item.start), _bound(item.stop))
    if isinstance(size, int) and not isinstance(low, Expr) and not isinstance(high, Expr):
        first, last, step = slice(low, high, step).indices(size)
        return first, len(range(first, last, step)), step
    trace = ambient.trace
    assert trace is not None, "a symbolic size outside of a trace"
    begin, end = _clamped(low, size, step, True), _clamped(high, size, step, False)
    span = end - begin if step > 0 else begin - end
    if trace.decide(span, "<", 0):
        return 0, 0, step
    return begin, floordiv(span + abs(step) - 1, abs(step)), step


def _bound(value: Any) -> Dim | None:
    if value is None:
        return None
    dim = dim_or_none(value)
    return _integer(value) if dim is None else dim


def _integer(value: Any) -> int:
    """What stands in a slice, as an int.

    Raises:
        IndexingError: it is no integer.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise IndexingError(f"a slice takes integers, not a {type(value).__name__}") from None


def _clamped(bound: Dim | None, size: Dim, step: int, is_start: bool) -> Dim:
    """A bound of a slice, counted from the front and within the axis."""
    trace = ambient.trace
    assert trace is not None
    first: Dim = 0 if step > 0 else -1
    last: Dim = size if step > 0 else size - 1
    if bound is None:
        return first if is_start == (step > 0) else last
    if trace.decide(bound, "<", 0):
        bound = bound + size
        if trace.decide(bound, "<", first):
            return first
    return last if trace.decide(bound, ">", last) else bound
