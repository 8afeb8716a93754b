"""Shapes: views where PyTorch gives views, and what joins, repeats and turns around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.dims import product
from ...ir.dtypes import DType
from ...ir.types import tensor_type
from ..apply import apply, as_type, broadcast_shapes, elementwise
from ..errors import ArgumentError, ShapeError, UnsupportedError
from ..tensor import Tensor, dims_of, here, normal_axis
from ..viewing import expand_view, offset_of, permute_view, reshape_view, view_by
from ..views import diagonal_step, strided_step
from .arguments import (
    array_names,
    reshaped,
    shape_of,
    sizes_of,
    spelled,
    spelled_shape,
    takes_out,
)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The elements in row-major order under another shape (one size may be -1): a view where the
    memory allows it, else a copy.

    Raises:
        ShapeError: the number of elements differs.
    """
    return reshaped(input, sizes_of(shape))


def view(input: Tensor, *shape: Any) -> Tensor:
    """As `reshape`, and always a view. With a dtype: the same bits read as one of that width.

    Raises:
        ShapeError: the number of elements differs, or the memory does not allow a view.
    """
    if len(shape) == 1 and isinstance(shape[0], DType):
        return apply("bitcast", [input], dtype=shape[0])
    result = reshape_view(input, sizes_of(shape))
    if result is None:
        raise ShapeError(
            f"view: a tensor of shape {list(shape_of(input))} and these strides has no view of "
            f"shape {list(sizes_of(shape))}",
            hint="use reshape(), which copies where it must",
        )
    return result


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """A view with the shape of `other`."""
    return view(input, *spelled_shape(other))


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of `other`."""
    return reshaped(input, spelled_shape(other))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` (included) joined to one.

    Raises:
        ArgumentError: `start_dim` comes after `end_dim`.
    """
    if input.ndim == 0:
        return reshaped(input, (1,))
    first, last = normal_axis(start_dim, input.ndim), normal_axis(end_dim, input.ndim)
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if first == last:
        return input
    shape = shape_of(input)
    joined = spelled(product(shape[first : last + 1]))
    sizes = spelled_shape(input)
    return reshaped(input, [*sizes[:first], joined, *sizes[last + 1 :]])


@array_names
def unflatten(input: Tensor, dim: int, sizes: Sequence[Any]) -> Tensor:
    """The axis `dim` split into axes of `sizes` (one may be -1)."""
    axis, shape = normal_axis(dim, input.ndim), spelled_shape(input)
    parts = list(sizes)
    if any(isinstance(size, int) and size == -1 for size in parts):
        known: Any = 1
        for size in parts:
            known = known if isinstance(size, int) and size == -1 else known * size
        parts = [
            shape[axis] // known if isinstance(size, int) and size == -1 else size for size in parts
        ]
    return reshaped(input, [*shape[:axis], *parts, *shape[axis + 1 :]])


def ravel(input: Tensor) -> Tensor:
    """All axes joined to one."""
    return reshaped(input, (-1,)) if input.ndim != 1 else input


@array_names
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """The axes of size 1 (all, or those of `dim` that have it) dropped.

    Raises:
        IndexingError: an axis is out of range.
    """
    sizes = shape_of(input)
    named = range(input.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    gone = {
        axis
        for axis in (normal_axis(d, input.ndim) for d in named)
        if input.ndim and spelled(sizes[axis]) == 1
    }
    return reshaped(input, [spelled(n) for axis, n in enumerate(sizes) if axis not in gone])


@array_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new axis of size 1 before axis `dim` (-1: at the end)."""
    axis = normal_axis(dim, input.ndim + 1)
    sizes = spelled_shape(input)
    return reshaped(input, [*sizes[:axis], 1, *sizes[axis:]])


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The axes in the order `dims`: a view.

    Raises:
        ArgumentError: `dims` does not name each axis once.
    """
    return permute_view(input, sizes_of(dims))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged: a view."""
    a, b = normal_axis(dim0, input.ndim), normal_axis(dim1, input.ndim)
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return permute_view(input, order)


swapaxes = swapdims = transpose


def t(input: Tensor) -> Tensor:
    """The transposed matrix: a view; tensors with fewer than 2 axes as they are.

    Raises:
        ShapeError: there are more than 2 axes.
    """
    if input.ndim > 2:
        raise ShapeError(f"t() of a tensor with {input.ndim} axes", hint="use .mT or transpose()")
    return transpose(input, 0, 1) if input.ndim == 2 else input


def reversed_axes(input: Tensor) -> Tensor:
    """The axes in reversed order (`.T`)."""
    return permute_view(input, list(range(input.ndim))[::-1])


def matrix_transpose(input: Tensor) -> Tensor:
    """The last two axes exchanged (`.mT`).

    Raises:
        ShapeError: there are fewer than 2 axes.
    """
    if input.ndim < 2:
        raise ShapeError(f".mT of a tensor with {input.ndim} axes")
    return transpose(input, -2, -1)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """The axes `source` moved to the places `destination`: a view.

    Raises:
        ArgumentError: the numbers of axes differ.
    """
    sources = source if isinstance(source, (tuple, list)) else (source,)
    places = destination if isinstance(destination, (tuple, list)) else (destination,)
    if len(sources) != len(places):
        raise ArgumentError(f"movedim: {len(sources)} axes to {len(places)} places")
    moved = {
        normal_axis(d, input.ndim): normal_axis(s, input.ndim) for s, d in zip(sources, places)
    }
    rest = iter(a for a in range(input.ndim) if a not in moved.values())
    return permute_view(input, [moved[p] if p in moved else next(rest) for p in range(input.ndim)])


moveaxis = movedim


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Axes of size 1 stretched and new ones added in front: a view; -1 keeps a size.

    Raises:
        ShapeError: an axis of another size than 1 would change.
    """
    return expand_view(input, sizes_of(sizes))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of `other`."""
    return expand_view(input, spelled_shape(other))


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """The sums over the axes that broadcasting from `size` would have stretched.

    Raises:
        ShapeError: `size` does not broadcast to the shape of `input`.
    """
    from .reduction import sum

    wanted, own = dims_of(sizes_of(size)), shape_of(input)
    extra = len(own) - len(wanted)
    if extra < 0 or broadcast_shapes([wanted, own], "sum_to_size") != own:
        raise ShapeError(f"sum_to_size: {list(wanted)} does not broadcast to {list(own)}")
    ones = [a for a, n in enumerate(own) if a < extra or wanted[a - extra] != n]
    result = sum(input, ones, keepdim=True) if ones else input
    return reshaped(result, [spelled(n) for n in wanted])


def broadcast_to(input: Tensor, shape: Sequence[Any]) -> Tensor:
    """`input` expanded to `shape`: a view."""
    return expand_view(input, shape)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All expanded to the shape that they broadcast to."""
    shape = broadcast_shapes([shape_of(t) for t in tensors])
    return tuple(expand_view(t, [spelled(n) for n in shape]) for t in tensors)


# Copies and paddings


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself where its elements lie densely in row-major order, else a copy that
    does."""
    return input if here(input).is_contiguous() else input.clone()


def constant_pad(input: Tensor, low: Sequence[Any], high: Sequence[Any], value: Any = 0) -> Tensor:
    """`value` before and after each axis, so often; a negative number cuts off."""
    dtype = here(input).spec.dtype
    fill = as_type(value, tensor_type(dtype))
    return apply(
        "pad", [input, fill], low=dims_of(low), high=dims_of(high), interior=(0,) * input.ndim
    )


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of `size` elements, `step` apart, along an axis; their elements are the last
    axis. A copy.

    Raises:
        ShapeError: a window is larger than the axis.
        ArgumentError: `step` is less than 1.
    """
    axis = normal_axis(dimension, input.ndim)
    length = shape_of(input)[axis]
    if isinstance(length, int) and size > length:
        raise ShapeError(f"unfold: windows of {size} elements of axis {axis}, which has {length}")
    if step < 1:
        raise ArgumentError(f"unfold: step={step} is not at least 1")
    window = {"axes": (axis,), "sizes": (size,), "strides": (step,), "dilations": (1,)}
    return apply("window", [input], **window)


@array_names
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonals of the matrices in axes `dim1`, `dim2`, as the last axis: a view."""
    return _diagonals(input, offset, dim1, dim2)


def _diagonals(input: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    a, b = normal_axis(dim1, input.ndim), normal_axis(dim2, input.ndim)
    if a == b:
        raise ArgumentError("diagonal: dim1 and dim2 are the same axis")
    order = [x for x in range(input.ndim) if x not in (a, b)]
    moved = permute_view(input, [*order, a, b])
    *_, rows, columns = spelled_shape(moved)
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    if length < 0:
        length = 0
    if not isinstance(columns, int):
        raise UnsupportedError(
            "diagonal of a matrix with a symbolic number of columns",
            hint="multiply by an eye() and sum, or compile with fixed sizes",
        )
    (count,) = dims_of((length,))
    at = (max(-offset, 0), max(offset, 0)) if length else (0, 0)
    return view_by(moved, diagonal_step(shape_of(moved), at, count))


def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the memory of `input`: the element at i, j, ... is number storage_offset +
    i * stride[0] + j * stride[1] + ... of the storage. In a trace sizes are part of the program. A
    view in which elements meet refuses writes.

    Raises:
        ShapeError: as many sizes as strides are needed; the memory is not dense, or too small.
        ArgumentError: a stride or the offset is negative.
    """
    sizes, strides = tuple(map(int, size)), tuple(map(int, stride))
    if len(sizes) != len(strides):
        raise ShapeError(f"as_strided: {len(sizes)} sizes and {len(strides)} strides")
    own = offset_of(input)
    start = int(own if storage_offset is None else storage_offset)
    if min((start, *strides)) < 0:
        raise ArgumentError(f"as_strided: stride {strides} from {start}, which is negative")
    base = here(input)
    while base.base is not None and not (base.is_contiguous() and offset_of(base) == 0):
        base = base.base
    if not base.is_contiguous() or offset_of(base) != 0:
        raise ShapeError("as_strided: the memory is not dense", hint="use contiguous() first")
    last = start + sum(s * (n - 1) for n, s in zip(sizes, strides, strict=True))
    if 0 not in sizes and last >= int(base.numel()):
        raise ShapeError(f"as_strided: element {last} of a memory of {base.numel()}")
    return view_by(base, strided_step(shape_of(base), sizes, strides, start if last >= 0 else 0))


@takes_out
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix with the elements of a vector on the given diagonal, or the diagonal of a matrix.

    Raises:
        ShapeError: neither a vector nor a matrix.
    """
    from .creation import iota

    if input.ndim == 2:
        return _diagonals(input, diagonal, 0, 1).clone()
    if input.ndim != 1:
        raise ShapeError(f"diag takes a vector or a matrix, not {input.ndim} axes")
    size = spelled_shape(input)[0]
    n = size + abs(diagonal)
    column = constant_pad(input, (max(-diagonal, 0),), (max(diagonal, 0),))
    hits = elementwise("eq", elementwise("add", iota((n, n), 0), diagonal), iota((n, n), 1))
    zero = False if here(input).spec.dtype.kind == "bool" else 0
    return elementwise("where", hits, unsqueeze(column, -1), zero, conditions=1)


def clone(input: Tensor) -> Tensor:
    """A copy with memory of its own; gradients flow through it."""
    return input.clone()


def detach(input: Tensor) -> Tensor:
    """The same memory without a history."""
    return input.detach()
