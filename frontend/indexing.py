"""`x[...]` and `x[...] = v`.

Ints, slices, None and Ellipsis are views. Tensors, lists and arrays of integers gather and scatter;
bool masks are turned into integers, which only eager tensors can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ir.dims import Dim, Expr, product
from ..ir.dtypes import i64
from ..ir.types import tensor_type
from .apply import apply, as_type, broadcast_shapes, elementwise, expanded, value_of
from .construct import as_tensor
from .context import ambient
from .device import CPU
from .errors import IndexingError, ShapeError, TraceError
from .index_slices import position, slice_bounds
from .inplace import copy_, write
from .moves import beside, number_beside, to_device
from .symint import SymInt, dim_or_none
from .tensor import Tensor, elements, here, of_array
from .viewing import permute_view, regrouped, reshape_view, slice_view


class _Mask(NamedTuple):
    """A bool tensor that stands in an index."""

    tensor: Tensor


class Parsed(NamedTuple):
    """An index: the slice of each axis, the shape after ints went and Nones came, and the tensors
    that index axes of that shape."""

    starts: list[Dim]
    sizes: list[Dim]
    steps: list[int]
    shape: list[Dim]
    tensors: list[tuple[int, Tensor]]


def getitem(self: Tensor, index: Any) -> Tensor:
    """The elements that `index` selects: a view, or with tensors in the index a copy.

    Raises:
        IndexingError: out of range, too many indices, or an index of another kind.
    """
    tensor = here(self)
    parsed = parse(tensor, index)
    view = _basic(tensor, parsed)
    return view if not parsed.tensors else gather_axes(view, parsed.tensors)


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """Write `value`, broadcast and cast, to the elements that `index` selects."""
    tensor = here(self)
    mask = _mask_over_all(tensor, index)
    if mask is not None and _is_scalar(value):
        chosen = elementwise("where", mask, value, tensor, conditions=1)
        write(tensor, expanded(chosen, tensor.spec))
        return
    parsed = parse(tensor, index)
    view = _basic(tensor, parsed)
    if not isinstance(value, (Tensor, SymInt, bool, int, float, complex)):
        value = as_tensor(value)
    if isinstance(value, Tensor) and here(value).ndim > 0:
        value = _drop_leading_ones(value, _selected_ndim(view, parsed))
    if not parsed.tensors:
        copy_(view, value)
    else:
        scatter_axes(view, parsed.tensors, value, "set")


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (Tensor, np.ndarray, list, tuple)) or (
        isinstance(value, Tensor) and value.ndim == 0
    )


def _mask_over_all(tensor: Tensor, index: Any) -> Tensor | None:
    """The index, if it is one bool tensor over all axes; then a write is a `where`."""
    if isinstance(index, np.ndarray) and index.dtype == np.bool_:
        index = as_tensor(index)
    if isinstance(index, Tensor) and index.dtype.kind == "bool":
        if here(index).spec.shape == tensor.spec.shape:
            return _beside(index, tensor)
    return None


def _selected_ndim(view: Tensor, parsed: Parsed) -> int:
    """How many axes the selected elements have."""
    indices = [index.ndim for _, index in parsed.tensors]
    return view.ndim - len(indices) + max(indices, default=0)


def _drop_leading_ones(value: Tensor, ndim: int) -> Tensor:
    """PyTorch takes a value with more axes than the place if the first ones have size 1."""
    shape = here(value).spec.shape
    extra = len(shape) - ndim
    if extra <= 0 or any(size != 1 for size in shape[:extra]):
        return value
    smaller = reshape_view(value, shape[extra:])
    assert smaller is not None
    return smaller


def parse(tensor: Tensor, index: Any) -> Parsed:
    """Normalise an index of `tensor`: see `Parsed`."""
    items = _items(index)
    shape = tensor.spec.shape
    used = sum(_axes_used(item) for item in items)
    if used > len(shape):
        raise IndexingError(
            f"{used} indices for a tensor of shape {list(shape)}",
            hint="one index for each axis; unsqueeze() or None adds an axis",
        )
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise IndexingError("an index can only have one `...`")
    at = ellipses[0] if ellipses else len(items)
    full = [slice(None)] * (len(shape) - used)
    items = items[:at] + full + items[at + 1 :]
    parsed = Parsed([], [], [], [], [])
    axis = 0
    for item in items:
        axis = _take(parsed, shape, axis, item)
    return parsed._replace(tensors=[(at, _beside(item, tensor)) for at, item in parsed.tensors])


def _beside(index: Tensor, tensor: Tensor) -> Tensor:
    """An index where the indexed tensor lies: those of the processor go along."""
    if tensor.device is CPU or index.device is not CPU:
        return index
    return to_device(index, tensor.device)


def _items(index: Any) -> list[Any]:
    """The parts of an index; lists and arrays become tensors."""
    items: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, np.bool_):
            item = bool(item)
        if isinstance(item, (list, tuple, range, np.ndarray)):
            item = as_tensor(np.asarray(item, None if np.size(item) else np.int64))
        if isinstance(item, Tensor) and item.dtype.kind == "bool":
            items.append(_Mask(item))
        elif isinstance(item, np.integer):
            items.append(int(item))
        elif isinstance(item, Tensor) and item.ndim == 0:
            items.append(_scalar_index(item))
        else:
            items.append(item)
    return items


def _scalar_index(item: Tensor) -> Any:
    """A 0-d tensor indexes like an int where its number is known, else by gathering. A Python
    number in a trace becomes known."""
    if item.dtype.is_inexact:
        raise IndexingError(f"a tensor of {item.dtype.public} cannot index")
    return int(item) if ambient.trace is None or item._weak else item


def _nonzero(mask: Tensor) -> list[Tensor]:
    if ambient.trace is not None:
        raise TraceError(
            "a bool mask selects a number of elements that depends on data",
            hint="use sley.where(mask, x, 0), or multiply by the mask",
        )
    if mask.ndim == 0:
        return [_chosen(bool(mask))]
    return [beside(places.astype(np.int64), mask) for places in np.nonzero(elements(mask))]


def _chosen(flag: bool) -> Tensor:
    """The places along an axis of size 1 that a bool selects: the one there is, or none."""
    return of_array(np.zeros(int(flag), np.int64))


def _axes_used(item: Any) -> int:
    if isinstance(item, _Mask):
        return item.tensor.ndim
    return 0 if item is None or item is Ellipsis or isinstance(item, bool) else 1


def _take(parsed: Parsed, shape: Sequence[Dim], axis: int, item: Any) -> int:
    """Add one part of an index to `parsed`; returns the next axis."""
    if item is None:
        parsed.shape.append(1)
        return axis
    if isinstance(item, bool):  # as a mask without axes: it chooses along a new axis
        parsed.tensors.append((len(parsed.shape), _chosen(item)))
        parsed.shape.append(1)
        return axis
    if isinstance(item, _Mask):
        return _take_mask(parsed, shape, axis, item.tensor)
    size = shape[axis]
    number = dim_or_none(item) if isinstance(item, (int, SymInt)) else None
    if number is not None:
        parsed.starts.append(position(number, size, axis))
        parsed.sizes.append(1)
        parsed.steps.append(1)
    elif isinstance(item, slice):
        start, count, step = slice_bounds(item, size)
        parsed.starts.append(start)
        parsed.sizes.append(count)
        parsed.steps.append(step)
        parsed.shape.append(count)
    elif isinstance(item, Tensor):
        if item.dtype.kind not in ("int", "uint"):
            raise IndexingError(f"a tensor of {item.dtype.public} cannot index")
        parsed.tensors.append((len(parsed.shape), item))
        parsed.starts.append(0)
        parsed.sizes.append(size)
        parsed.steps.append(1)
        parsed.shape.append(size)
    else:
        raise IndexingError(
            f"a {type(item).__name__} cannot index a tensor",
            hint="index with integers, slices, None, `...`, or tensors of integers or bools",
        )
    return axis + 1


def _take_mask(parsed: Parsed, shape: Sequence[Dim], axis: int, mask: Tensor) -> int:
    """Add a mask over as many axes as it has: the places of its true elements along each.

    Raises:
        IndexingError: its shape is not that of these axes.
    """
    places, covered = _nonzero(mask), tuple(shape[axis : axis + mask.ndim])
    if mask.spec.shape != covered:
        raise IndexingError(
            f"a mask of shape {list(mask.spec.shape)} for axes of the sizes {list(covered)}",
            hint="a mask has the size of each axis that it covers, the first ones unless `...` or "
            "other indices stand before it",
        )
    if mask.ndim == 0:
        parsed.tensors.append((len(parsed.shape), places[0]))
        parsed.shape.append(1)
        return axis
    for index in places:
        axis = _take(parsed, shape, axis, index)
    return axis


def _basic(tensor: Tensor, parsed: Parsed) -> Tensor:
    """The view by the slices, ints and Nones of an index."""
    shape = tensor.spec.shape
    view = tensor
    whole = all(
        s == 0 and n == size and k == 1
        for s, n, k, size in zip(parsed.starts, parsed.sizes, parsed.steps, shape, strict=True)
    )
    if not whole:
        view = slice_view(view, parsed.starts, parsed.sizes, parsed.steps)
    if tuple(parsed.shape) != view.spec.shape or view is tensor:
        reshaped = regrouped(view, tuple(parsed.shape))
        assert reshaped is not None, "dropping and adding axes of size 1 needs no copy"
        view = reshaped
    return view


def _spelled(dim: Dim) -> Any:
    trace = ambient.trace
    return SymInt(dim, trace) if isinstance(dim, Expr) and trace is not None else dim


# Indices that are data


class _Plan(NamedTuple):
    """How indexed axes are gathered: moved to the front, flattened, indexed by one tensor."""

    perm: list[int]
    rest: list[Dim]
    flat: Tensor
    result_axis: int


def _plan(tensor: Tensor, indices: Sequence[tuple[int, Tensor]]) -> _Plan:
    axes = [axis for axis, _ in indices]
    shape = here(tensor).spec.shape
    common = broadcast_shapes([here(i).spec.shape for _, i in indices], "indexing")
    flat: Any = None
    for axis, index in indices:
        size = _spelled(shape[axis])
        index = as_type(index, tensor_type(i64, common))
        _check_range(index, shape[axis], axis)
        wrapped = elementwise("add", index, size)
        index = elementwise("where", elementwise("lt", index, 0), wrapped, index, conditions=1)
        if ambient.trace is not None:
            ambient.trace.builder.check(value_of(index), shape[axis], "index")
        if flat is not None:
            index = elementwise("add", elementwise("mul", flat, size), index)
        flat = index
    if ambient.trace is not None and len(indices) > 1:
        ambient.trace.builder.take_for_granted(value_of(flat))
    others = [a for a in range(len(shape)) if a not in axes]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    return _Plan(axes + others, [shape[a] for a in others], flat, axes[0] if adjacent else 0)


def _as_int64(index: Tensor) -> Tensor:
    return index if index.dtype is i64 else apply("cast", [index], dtype=i64)


def _check_range(index: Tensor, size: Dim, axis: int) -> None:
    if ambient.trace is not None or index.storage.place is not None:
        return  # a gather on a GPU looks at its indices
    array = index.array
    if not array.size or not isinstance(size, int):
        return
    if array.min() < -size or array.max() >= size:
        bad = array[(array < -size) | (array >= size)].flat[0]
        raise IndexingError(f"index {bad} is out of range for axis {axis} of size {size}")


def gather_axes(tensor: Tensor, indices: Sequence[tuple[int, Tensor]]) -> Tensor:
    """The elements of `tensor` at integer tensors, which broadcast, along their axes."""
    if len(indices) == 1:
        axis, index = indices[0]
        index = _wrapped(index, here(tensor).spec.shape[axis], axis)
        return apply("gather", [tensor, index], axis=axis)
    plan = _plan(tensor, indices)
    front = _flattened(tensor, plan, len(indices))
    found = apply("gather", [front, plan.flat], axis=0)
    if plan.result_axis == 0:
        return found
    count, k = plan.flat.ndim, plan.result_axis
    order = [*range(count, count + k), *range(count), *range(count + k, found.ndim)]
    return permute_view(found, order)


def _wrapped(index: Tensor, size: Dim, axis: int) -> Tensor:
    """The index with negative numbers counted from the end."""
    index = _as_int64(index)
    _check_range(index, size, axis)
    if index._array is not None and ambient.trace is None:
        if not index._array.size or index._array.min() >= 0:
            return index
    moved = elementwise("add", index, _spelled(size))
    return elementwise("where", elementwise("lt", index, 0), moved, index, conditions=1)


def _flattened(tensor: Tensor, plan: _Plan, count: int) -> Tensor:
    """The indexed axes in front, as one."""
    moved = permute_view(tensor, plan.perm)
    shape = moved.spec.shape
    return apply("reshape", [moved], shape=(product(shape[:count]), *shape[count:]))


def scatter_axes(
    view: Tensor, indices: Sequence[tuple[int, Tensor]], value: Any, combine: str
) -> None:
    """Write (combine="set") or add ("add") `value` at integer tensors, in place.

    Raises:
        ShapeError: `value` does not broadcast to the selected elements.
    """
    plan = _plan(view, indices)
    shape = here(view).spec.shape
    count = len(indices)
    front = _flattened(view, plan, count)
    k, chosen = plan.result_axis, here(plan.flat).spec.shape
    selected = (*plan.rest[:k], *chosen, *plan.rest[k:])
    updates = _broadcast_updates(view, value, selected)
    if k:
        n = len(chosen)
        order = [*range(k, k + n), *range(k), *range(k + n, len(selected))]
        updates = permute_view(updates, order)
    done = apply("scatter", [front, plan.flat, updates], axis=0, combine=combine)
    moved = tuple(shape[a] for a in plan.perm)
    back = apply("reshape", [done], shape=moved)
    inverse = [plan.perm.index(a) for a in range(len(shape))]
    write(view, value_of(permute_view(back, inverse)))


def _broadcast_updates(view: Tensor, value: Any, shape: tuple[Dim, ...]) -> Tensor:
    if isinstance(value, Tensor):
        given = here(value).spec.shape
        if broadcast_shapes([shape, given], "indexed write") != shape:
            raise ShapeError(f"a value of shape {list(given)} does not fit {list(shape)}")
    return as_type(number_beside(value, view), tensor_type(view.dtype, shape))
