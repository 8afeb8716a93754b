"""Tensors joined, cut into views, repeated and turned around."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dims import maximum
from ...ir.types import tensor_type
from ..apply import apply, as_type, equal_dims
from ..autocast import autocasts
from ..errors import ArgumentError, ShapeError
from ..moves import beside
from ..promotion import result_type
from ..tensor import Tensor, dims_of, elements, here, normal_axis
from ..viewing import expand_view, narrow_view
from .arguments import (
    array_names,
    as_input,
    reshaped,
    shape_of,
    sizes_of,
    spelled_shape,
    takes_out,
)
from .select import index_select
from .shape import ravel, transpose, unsqueeze


def _promoted(tensors: Sequence[Any], name: str) -> list[Tensor]:
    parts = [as_input(t) for t in tensors]
    if not parts:
        raise ArgumentError(f"{name} of no tensors")
    dtype = result_type(*parts)
    return [as_type(p, tensor_type(dtype, shape_of(p))) for p in parts]


@autocasts
@array_names
def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """The tensors one after the other along `dim`; dtypes are promoted.

    Raises:
        ShapeError: other sizes differ, or one is 0-d.
        ArgumentError: there are none.
    """
    parts = _promoted(tensors, "cat")
    # As in PyTorch, a 1-d tensor without elements joins with anything.
    kept = [p for p in parts if shape_of(p) != (0,)] or parts[:1]
    if kept[0].ndim == 0:
        raise ShapeError("cat of a 0-d tensor", hint="use stack()")
    axis = normal_axis(dim, kept[0].ndim)
    if any(p.ndim != kept[0].ndim for p in kept):
        raise ShapeError(f"cat of tensors with {[p.ndim for p in kept]} axes")
    _check_alike(kept, "cat", axis)
    return apply("concat", kept, axis=axis)


def _check_alike(parts: list[Tensor], name: str, axis: int | None = None) -> None:
    """Compare sizes, but for `axis`; a trace notes which of them it takes to be equal."""
    first = shape_of(parts[0])
    for part in parts[1:]:
        for a, (x, y) in enumerate(zip(first, shape_of(part), strict=True)):
            if a != axis and not equal_dims(x, y):
                raise ShapeError(
                    f"{name} of {here(parts[0]).spec} and {here(part).spec}: axis {a} differs",
                    hint="all sizes must be equal"
                    + ("" if axis is None else f" but of axis {axis}"),
                )


concat = concatenate = cat


@autocasts
@array_names
def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """The tensors, of one shape, side by side along a new axis `dim`.

    Raises:
        ShapeError: the shapes differ.
    """
    parts = _promoted(tensors, "stack")
    axis = normal_axis(dim, parts[0].ndim + 1)
    if any(p.ndim != parts[0].ndim for p in parts):
        raise ShapeError(
            f"stack of the shapes {[list(shape_of(p)) for p in parts]}",
            hint="all must have one shape; cat() joins along an axis that they have",
        )
    _check_alike(parts, "stack")
    return cat([unsqueeze(p, axis) for p in parts], axis)


def atleast_1d(input: Tensor) -> Tensor:
    """A 0-d tensor as 1-d."""
    return reshaped(input, (1,)) if input.ndim == 0 else input


def atleast_2d(input: Tensor) -> Tensor:
    """A tensor with fewer axes as a matrix of one row."""
    return unsqueeze(atleast_1d(input), 0) if input.ndim < 2 else input


def atleast_3d(input: Tensor) -> Tensor:
    """A tensor with fewer axes as [1, n, 1] or [n, m, 1]."""
    return unsqueeze(atleast_2d(input), -1) if input.ndim < 3 else input


@takes_out
def hstack(tensors: Sequence[Any]) -> Tensor:
    """`cat` along axis 1, of 1-d tensors along axis 0."""
    parts = [atleast_1d(as_input(t)) for t in tensors]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


@takes_out
def vstack(tensors: Sequence[Any]) -> Tensor:
    """`cat` along axis 0 of matrices; 1-d tensors are rows."""
    return cat([atleast_2d(as_input(t)) for t in tensors], 0)


@takes_out
def dstack(tensors: Sequence[Any]) -> Tensor:
    """`cat` along axis 2."""
    return cat([atleast_3d(as_input(t)) for t in tensors], 2)


@array_names
def narrow(input: Tensor, dim: int, start: Any, length: Any) -> Tensor:
    """`length` elements of axis `dim` from `start` on: a view.

    Raises:
        IndexingError: they do not lie within the axis.
    """
    return narrow_view(input, dim, start, length)


@array_names
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The slice number `index` of axis `dim`, which goes: a view."""
    axis = normal_axis(dim, input.ndim)
    return input[(slice(None),) * axis + (index,)]


@array_names
def split(input: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views along `dim` of a given size (the last may be smaller), or of the given sizes.

    Raises:
        ArgumentError: the sizes do not add up to that of the axis.
    """
    axis = _axis_of(input, dim, "split")
    size: Any = spelled_shape(input)[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        sections = list(split_size_or_sections)
        total: Any = 0
        for section in sections:
            total = total + section
        if not total == size:
            raise ArgumentError(f"split: sections {sections} of an axis of size {size}")
    else:
        step, size = split_size_or_sections, int(size)
        if step < 1:
            raise ArgumentError(f"split: parts of size {step}")
        sections = [min(step, size - at) for at in range(0, size, step)] or [0]
    return _sections(input, axis, sections)


def _axis_of(input: Tensor, dim: int, name: str) -> int:
    """The axis that is cut or turned.

    Raises:
        ShapeError: the tensor has none.
    """
    axis = normal_axis(dim, input.ndim)
    if input.ndim == 0:
        raise ShapeError(f"{name} of a 0-d tensor: it has no axes", hint="reshape(1) gives it one")
    return axis


def _sections(input: Tensor, axis: int, sections: Sequence[Any]) -> tuple[Tensor, ...]:
    parts, start = [], 0
    for section in sections:
        parts.append(narrow_view(input, axis, start, section))
        start = start + section
    return tuple(parts)


@array_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most so many views of equal size along `dim` (the last may be smaller)."""
    axis = _axis_of(input, dim, "chunk")
    if chunks < 1:
        raise ArgumentError(f"chunk: {chunks} chunks")
    size: Any = spelled_shape(input)[axis]
    if isinstance(size, int) and size == 0:
        return _sections(input, axis, [0] * chunks)
    if not isinstance(size, int) and size % chunks == 0:
        return _sections(input, axis, [size // chunks] * chunks)
    return split(input, max(1, math.ceil(int(size) / chunks)), axis)


@array_names
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views along `dim`: so many of nearly equal size, or cut at the given indices."""
    axis = _axis_of(input, dim, "tensor_split")
    size = int(spelled_shape(input)[axis])
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1:
            raise ArgumentError(f"tensor_split: {indices_or_sections} sections")
        base, extra = divmod(size, indices_or_sections)
        return _sections(input, axis, [base + (k < extra) for k in range(indices_or_sections)])
    cuts = [slice(None, i).indices(size)[1] for i in indices_or_sections]
    edges = [0, *cuts, size]
    return tuple(
        narrow_view(input, axis, min(a, b), max(b - a, 0)) for a, b in itertools.pairwise(edges)
    )


@array_names
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along `dim`, as views without that axis."""
    axis = _axis_of(input, dim, "unbind")
    return tuple(select(input, axis, i) for i in range(spelled_shape(input)[axis]))


# Repeating and turning


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The tensor copied so often along each axis; more numbers than axes add axes in front.

    Raises:
        ShapeError: fewer numbers than axes.
    """
    times = sizes_of(repeats)
    if len(times) < input.ndim:
        raise ShapeError(f"repeat: {len(times)} numbers for {input.ndim} axes")
    sizes = [1] * (len(times) - input.ndim) + spelled_shape(input)
    paired = reshaped(input, [n for size in sizes for n in (1, size)])
    spread = expand_view(paired, [n for pair in zip(times, sizes) for n in pair])
    return _copied(spread, [k * n for k, n in zip(times, sizes)])


def _copied(input: Tensor, shape: Sequence[Any]) -> Tensor:
    """The elements under another shape in memory of their own."""
    return apply("reshape", [input], shape=dims_of(shape))


def tile(input: Tensor, *dims: Any) -> Tensor:
    """As `repeat`; numbers for the first axes may be left out."""
    times = sizes_of(dims)
    return repeat(input, *((1,) * (input.ndim - len(times)) + tuple(times)))


@array_names
def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Each element (or slice along `dim`) `repeats` times in a row; a tensor of numbers, one for
    each, eager only."""
    if dim is None:
        input, dim = ravel(input), 0
    axis = normal_axis(dim, input.ndim)
    sizes = spelled_shape(input)
    if isinstance(repeats, Tensor):
        places = np.repeat(np.arange(sizes[axis]), elements(repeats))
        return index_select(input, axis, beside(places.astype(np.int64), input))
    paired = reshaped(input, [*sizes[: axis + 1], 1, *sizes[axis + 1 :]])
    spread = expand_view(paired, [*sizes[: axis + 1], repeats, *sizes[axis + 1 :]])
    return _copied(spread, [*sizes[:axis], sizes[axis] * repeats, *sizes[axis + 1 :]])


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved by `shifts` places along `dims` (of the flattened tensor: None), those that
    leave at one end coming back at the other."""
    if dims is None:
        return reshaped(roll(ravel(input), shifts, 0), spelled_shape(input))
    steps = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
    axes = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(steps) != len(axes):
        raise ArgumentError(f"roll: {len(steps)} shifts along {len(axes)} axes")
    for step, dim in zip(steps, axes):
        axis = normal_axis(dim, input.ndim)
        if input.ndim == 0:
            continue
        size = spelled_shape(input)[axis]
        if isinstance(size, int) and size == 0:
            continue
        cut = (size - step) % size
        tail = narrow_view(input, axis, cut, size - cut)
        input = apply("concat", [tail, narrow_view(input, axis, 0, cut)], axis=axis)
    return input


def flip(input: Tensor, *dims: Any) -> Tensor:
    """The order of the elements along each of `dims` reversed: a copy.

    Raises:
        ArgumentError: an axis is named twice.
    """
    axes = [normal_axis(d, input.ndim) for d in sizes_of(dims)]
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"flip: dims {sizes_of(dims)} name an axis twice")
    sizes = shape_of(input)
    starts = tuple(maximum(n - 1, 0) if a in axes else 0 for a, n in enumerate(sizes))
    steps = tuple(-1 if a in axes else 1 for a in range(input.ndim))
    return apply("slice", [input], starts=starts, sizes=sizes, steps=steps)


def fliplr(input: Tensor) -> Tensor:
    """The order along axis 1 reversed."""
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The order along axis 0 reversed."""
    return flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k times 90 degrees in the plane of two axes, from the first towards the second."""
    a, b = dims
    turns = k % 4
    if turns == 0:
        return input.clone()
    if turns == 2:
        return flip(input, a, b)
    return transpose(flip(input, b), a, b) if turns == 1 else flip(transpose(input, a, b), b)
