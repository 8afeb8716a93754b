"""Differences, sums of areas and logarithms of sums along an axis."""

from __future__ import annotations

import math

from ..apply import elementwise
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, normal_axis
from ..viewing import narrow_view
from .arguments import array_names, cast, shape_of, spelled
from .creation import full
from .joining import cat
from .math import cast_float
from .reduction import cumsum, sum, wide
from .shape import movedim
from .special import logaddexp


@array_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(x))) along `dim`, without overflow: a `scan` by `logaddexp`."""
    from ..control import scan

    floats = cast_float(input)
    axis = normal_axis(dim, input.ndim)
    if input.ndim == 0:
        return floats.clone()
    rows = movedim(wide(floats), axis, 0)
    lowest = full(list(rows.shape[1:]), -math.inf, dtype=rows.dtype)

    def turn(total: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        total = logaddexp(total, x)
        return total, total

    found = scan(turn, lowest, rows)[1]
    return cast(movedim(found, 0, axis), floats.dtype)


@array_names
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The differences between neighbours along `dim`, taken `n` times, of what stands between
    `prepend` and `append`; of bools, whether they differ.

    Raises:
        ArgumentError: n is negative.
        ShapeError: `input` is 0-d.
    """
    if n < 0:
        raise ArgumentError(f"diff: n={n}")
    if input.ndim == 0:
        raise ShapeError("diff of a 0-d tensor")
    axis = normal_axis(dim, input.ndim)
    parts = [p for p in (prepend, input, append) if p is not None]
    result = cat(parts, axis) if len(parts) > 1 else input
    for _ in range(n):
        later, earlier = _neighbours(result, axis)
        result = elementwise("ne" if result.dtype.kind == "bool" else "sub", later, earlier)
    return result if n or len(parts) > 1 else input.clone()


def _neighbours(input: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """(all but the first, all but the last) along `axis`."""
    size = spelled(shape_of(input)[axis])
    if isinstance(size, int) and size == 0:
        return input, input
    return narrow_view(input, axis, 1, size - 1), narrow_view(input, axis, 0, size - 1)


def _areas(y: Tensor, x: Tensor | None, dx: float | None, dim: int) -> tuple[Tensor, int]:
    """The area under each piece between neighbours along `dim`."""
    if x is not None and dx is not None:
        raise ArgumentError("trapezoid: both x and dx are given")
    if y.ndim == 0:
        raise ShapeError("an integral of a 0-d tensor", hint="y needs an axis of places")
    axis = normal_axis(dim, y.ndim)
    later, earlier = _neighbours(y, axis)
    both = elementwise("add", later, earlier)
    if x is None:
        return elementwise("mul", both, (1.0 if dx is None else dx) / 2), axis
    widths = diff(x, dim=-1 if x.ndim == 1 else axis)
    if x.ndim == 1:
        result = elementwise("mul", movedim(both, axis, -1), widths)
        return elementwise("mul", movedim(result, -1, axis), 0.5), axis
    return elementwise("mul", elementwise("mul", both, widths), 0.5), axis


@array_names
def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The integral along `dim` by the trapezoidal rule, over places `x` or at distances `dx` (1).

    Raises:
        ArgumentError: both x and dx are given.
    """
    areas, axis = _areas(y, x, dx, dim)
    return sum(areas, axis)


trapz = trapezoid


@array_names
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """As `trapezoid`, from the first element to each of the others."""
    areas, axis = _areas(y, x, dx, dim)
    return cumsum(areas, axis)
