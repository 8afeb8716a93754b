"""Tensors that are views of others: the four steps as functions of tensors, with checks.

What PyTorch offers besides (`squeeze`, `flatten`, `narrow`, `t`, ...) is said in terms of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dims import Dim, Expr, floordiv, product
from .apply import equal_dims
from .errors import ArgumentError, IndexingError, ShapeError
from .strides import contiguous_strides, step_offset, step_strides
from .symint import SymInt
from .tensor import Tensor, dims_of, here, make_view, normal_axis
from .views import Step, broadcast_step, reshape_step, slice_step, transpose_step


def view_by(tensor: Tensor, step: Step) -> Tensor:
    """The view of `tensor` by a step other than a reshape that may need a copy."""
    tensor = here(tensor)
    if tensor._array is not None:
        return make_view(tensor, step, None)
    return make_view(tensor, step, step_strides(step, tensor.strides()))


def offset_of(tensor: Tensor) -> Any:
    """How many elements the first one of `tensor` lies behind the first one of its storage."""
    tensor = here(tensor)
    array = tensor.storage.array
    strides: tuple[Dim, ...] = contiguous_strides(tensor.storage.type.shape)
    if array is not None:
        strides = tuple(s // array.itemsize for s in array.strides)
    total: Dim = 0
    for step in tensor.path:
        total = total + step_offset(step, strides)
        after = step_strides(step, strides)
        assert after is not None, "a view is one in its memory"
        strides = after
    trace = tensor.storage.trace
    return SymInt(total, trace) if isinstance(total, Expr) and trace is not None else total


def resolved_shape(tensor: Tensor, shape: Sequence[Any]) -> tuple[Dim, ...]:
    """`shape` with its -1 replaced by the size that is left.

    Raises:
        ShapeError: the number of elements differs, or there are two -1.
    """
    source = tensor.spec.shape
    wanted = dims_of(shape)
    unknown = [axis for axis, size in enumerate(wanted) if isinstance(size, int) and size == -1]
    if len(unknown) > 1:
        raise ShapeError(f"reshape to {_text(wanted)}: only one size can be -1")
    if any(isinstance(size, int) and size < -1 for size in wanted):
        raise ShapeError(
            f"reshape to {_text(wanted)}: a size is negative",
            hint="-1 stands for the one size that follows from the others",
        )
    total = product(source)
    if unknown:
        known = product(size for axis, size in enumerate(wanted) if axis != unknown[0])
        if isinstance(known, int) and known == 0:
            raise ShapeError(f"reshape {_text(source)} to {_text(wanted)}: -1 could be any size")
        rest = floordiv(total, known)
        wanted = wanted[: unknown[0]] + (rest,) + wanted[unknown[0] + 1 :]
        if isinstance(total, Expr) and rest * known != total and equal_dims(rest * known, total):
            return wanted
    if not equal_dims(product(wanted), total):
        raise ShapeError(
            f"reshape: {_text(source)} has {total} elements and does not fit {_text(wanted)}",
            hint="the product of the sizes must stay; -1 stands for the size that makes it so",
        )
    return wanted


def reshape_view(tensor: Tensor, shape: Sequence[Any], *, name: str = "view") -> Tensor | None:
    """The elements in row-major order under another shape; None where that is no view.

    Raises:
        ShapeError: the number of elements differs.
    """
    tensor = here(tensor)
    return regrouped(tensor, resolved_shape(tensor, shape))


def regrouped(tensor: Tensor, shape: tuple[Dim, ...]) -> Tensor | None:
    """As `reshape_view` of a tensor of the current mode, for a shape that is known to fit."""
    step = reshape_step(tensor.spec.shape, shape)
    if tensor._array is not None and tensor._array.flags.c_contiguous:
        return make_view(tensor, step, None)
    strides = step_strides(step, tensor.strides())
    return None if strides is None else make_view(tensor, step, strides)


def permute_view(tensor: Tensor, dims: Sequence[int]) -> Tensor:
    """The axes in the order `dims`.

    Raises:
        ArgumentError: `dims` does not name each axis once.
    """
    perm = tuple(normal_axis(d, tensor.ndim) for d in dims)
    if sorted(perm) != list(range(tensor.ndim)):
        raise ArgumentError(
            f"permute: {tuple(dims)} does not name each of {tensor.ndim} axes once",
            hint="name all axes, in their new order; transpose(a, b) swaps two",
        )
    return view_by(tensor, transpose_step(here(tensor).spec.shape, perm))


def expand_view(tensor: Tensor, shape: Sequence[Any]) -> Tensor:
    """Axes of size 1 stretched (and new ones in front); -1 keeps a size. Refuses writes.

    Raises:
        ShapeError: an axis of another size than 1 would change.
    """
    tensor = here(tensor)
    source, wanted = tensor.spec.shape, list(dims_of(shape))
    offset = len(wanted) - len(source)
    if offset < 0:
        raise ShapeError(f"expand: {_text(source)} has more axes than {_text(tuple(wanted))}")
    keep = []
    for axis, size in enumerate(source):
        target = wanted[axis + offset]
        if isinstance(target, int) and target == -1:
            wanted[axis + offset] = target = size
        if isinstance(size, int) and size == 1 and not (isinstance(target, int) and target == 1):
            continue
        if not equal_dims(size, target):
            raise ShapeError(
                f"expand: {_text(source)} does not fit {_text(tuple(wanted))} in axis {axis}",
                hint="only axes of size 1 can be stretched",
            )
        keep.append(axis)
    if any(isinstance(d, int) and d < 0 for d in wanted):
        raise ShapeError(f"expand: {_text(tuple(wanted))} has a negative size for a new axis")
    if tuple(wanted) == source:
        return view_by(tensor, reshape_step(source, source))
    if len(keep) < len(source):
        kept = tuple(source[axis] for axis in keep)
        tensor = view_by(tensor, reshape_step(source, kept))
    dims = tuple(axis + offset for axis in keep)
    return view_by(tensor, broadcast_step(tensor.spec.shape, tuple(wanted), dims))


def slice_view(
    tensor: Tensor, starts: Sequence[Dim], sizes: Sequence[Dim], steps: Sequence[int]
) -> Tensor:
    """Elements starts + i * steps of each axis; the caller has checked the range."""
    step = slice_step(here(tensor).spec.shape, tuple(starts), tuple(sizes), tuple(steps))
    return view_by(tensor, step)


def narrow_view(tensor: Tensor, axis: int, start: Any, length: Any) -> Tensor:
    """`length` elements of `axis` from `start` on.

    Raises:
        IndexingError: they do not lie within the axis.
    """
    tensor = here(tensor)
    axis = normal_axis(axis, tensor.ndim)
    (begin,), (count,) = dims_of([start]), dims_of([length])
    size = tensor.spec.shape[axis]
    if isinstance(begin, int) and begin < 0:
        begin = begin + size
    if all(isinstance(d, int) for d in (begin, count, size)) and not (
        0 <= begin <= begin + count <= size  # type: ignore[operator]
    ):
        raise IndexingError(f"narrow: {begin}..{begin + count} of an axis of size {size}")
    shape = tensor.spec.shape
    starts = [begin if a == axis else 0 for a in range(len(shape))]
    sizes = [count if a == axis else n for a, n in enumerate(shape)]
    return slice_view(tensor, starts, sizes, [1] * len(shape))


def _text(shape: tuple[Dim, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
