"""Elements chosen by index tensors and masks, and written back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dims import product
from ...ir.dtypes import i64
from ...ir.types import tensor_type
from ..apply import apply, as_type, elementwise, value_of
from ..autocast import autocasts
from ..context import ambient
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError, TraceError
from ..moves import beside, number_beside
from ..tensor import Tensor, elements, here, normal_axis
from .arguments import array_names, cast, reshaped, shape_of, spelled, spelled_shape, takes_out
from .creation import iota


def _checked(index: Tensor, name: str) -> Tensor:
    if here(index).spec.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"{name}: the index is {here(index).spec.dtype.public}, not integer")
    return cast(index, i64)


@array_names
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of `input` along `dim` that the 1-d `index` names.

    Raises:
        DTypeError: the index is not of integers.
        IndexingError: an index is out of range.
    """
    axis = normal_axis(dim, input.ndim)
    flat = reshaped(_checked(index, "index_select"), (-1,))
    if input.ndim == 0:
        return reshaped(apply("gather", [reshaped(input, (1,)), flat], axis=0), ())
    return apply("gather", [input, flat], axis=axis)


def linear_place(input: Tensor, axis: int, index: Tensor) -> Tensor:
    """For each element of `index` the place in the flattened `input`: its own coordinates, with
    that along `axis` replaced by the index, which is in range."""
    shape, own = shape_of(input), spelled_shape(index)
    if len(own) != len(shape):
        raise ShapeError(f"the index has {len(own)} axes, the tensor {len(shape)}")
    place: Any = None
    for a in range(len(shape)):
        stride = spelled(product(shape[a + 1 :]))
        part = index if a == axis else iota(own, a)
        part = part if isinstance(stride, int) and stride == 1 else elementwise("mul", part, stride)
        place = part if place is None else elementwise("add", place, part)
    return place if len(shape) == 1 else in_range(place)


def in_range(index: Tensor) -> Tensor:
    """`index`, which a trace need not look at: it is in range if the indices that it is made of
    are, which were looked at."""
    if ambient.trace is not None:
        ambient.trace.builder.take_for_granted(value_of(index))
    return index


def _check_range(index: Tensor, size: Any, name: str) -> None:
    """Each index along its own axis: the place in the flattened tensor may be one all the same."""
    if ambient.trace is not None:
        ambient.trace.builder.check(value_of(index), size, name)
        return
    array = elements(index)
    if not array.size:
        return
    if array.min() < 0 or array.max() >= size:
        bad = array[(array < 0) | (array >= size)].flat[0]
        raise IndexingError(f"{name}: index {bad} is out of range for an axis of size {size}")


@array_names
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on: of the shape of `index`, which may be
    smaller than `input` along the other axes.

    Raises:
        ShapeError: the numbers of axes differ.
        IndexingError: an index is out of range (eager).
    """
    axis, places = normal_axis(dim, input.ndim), _checked(index, "gather")
    if input.ndim == 0:
        return reshaped(
            apply("gather", [reshaped(input, (1,)), places], axis=0), spelled_shape(index)
        )
    _check_range(places, shape_of(input)[axis], "gather")
    flat = reshaped(input, (spelled(product(shape_of(input))),))
    return apply("gather", [flat, linear_place(input, axis, places)], axis=0)


@array_names
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, the sizes of the other axes broadcast; without `dim` of the flattened tensor."""
    from .shape import expand

    if dim is None:
        return gather(reshaped(input, (-1,)), 0, reshaped(indices, (-1,)))
    axis = normal_axis(dim, input.ndim)
    own, places = spelled_shape(input), spelled_shape(indices)
    if len(own) != len(places):
        raise ShapeError(f"take_along_dim: {len(places)} axes of indices, {len(own)} of the tensor")
    common = [p if isinstance(n, int) and n == 1 else n for n, p in zip(own, places)]
    wide = expand(input, [n if a == axis else common[a] for a, n in enumerate(own)])
    index = expand(indices, [n if a == axis else common[a] for a, n in enumerate(places)])
    return gather(wide, axis, index)


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened tensor that `index` names, in its shape."""
    flat = reshaped(input, (spelled(product(shape_of(input))),))
    return flat[_checked(index, "take")]


def scatter_write(input: Tensor, dim: int, index: Tensor, src: Any, combine: str) -> Tensor:
    """`src` (a tensor or number) written to places along `dim`, as the op does."""
    if input.ndim == 0:
        normal_axis(dim, 0)
        given = reshaped(src, (-1,)) if isinstance(src, Tensor) else src
        written = scatter_write(reshaped(input, (1,)), 0, reshaped(index, (-1,)), given, combine)
        return reshaped(written, ())
    axis, places = normal_axis(dim, input.ndim), _checked(index, f"scatter ({combine})")
    _check_range(places, shape_of(input)[axis], "scatter")
    own = shape_of(places)
    if isinstance(src, Tensor):
        starts = (0,) * src.ndim
        updates = src
        if shape_of(src) != own:
            updates = apply("slice", [src], starts=starts, sizes=own, steps=(1,) * src.ndim)
    else:
        updates = src
    updates = as_type(updates, tensor_type(here(input).spec.dtype, own))
    flat = reshaped(input, (spelled(product(shape_of(input))),))
    done = apply(
        "scatter", [flat, linear_place(input, axis, places), updates], axis=0, combine=combine
    )
    return reshaped(done, spelled_shape(input))


@array_names
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
    reduce: str | None = None,
) -> Tensor:  # fmt: skip
    """A copy of `input` with out[index[i][j]][j] = src[i][j] for dim 0, and so on; of several
    writes to one place the last remains. `src` may be a number; `reduce` "add" or "multiply" joins
    with what is there.

    Raises:
        ArgumentError: neither or both of src and value, or another `reduce`.
    """
    if (src is None) == (value is None):
        raise ArgumentError("scatter needs either src or value")
    if reduce not in _JOINED:
        raise ArgumentError(f"scatter: reduce={reduce!r} is not None, 'add' or 'multiply'")
    return scatter_write(input, dim, index, value if src is None else src, _JOINED[reduce])


_JOINED = {None: "set", "add": "add", "multiply": "mul"}


@autocasts
@array_names
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of `input` with src[i][j] added to out[index[i][j]][j] for dim 0, and so on."""
    return scatter_write(input, dim, index, src, "add")


def index_write(input: Tensor, dim: int, index: Tensor, source: Any, combine: str) -> Tensor:
    """`source` (broadcast) written to the slices along `dim` that `index` names."""
    axis, places = normal_axis(dim, input.ndim), _checked(index, "index write")
    type = here(input).spec
    shape = type.shape[:axis] + here(places).spec.shape + type.shape[axis + 1 :]
    updates = as_type(number_beside(source, input), tensor_type(type.dtype, shape))
    return apply("scatter", [input, places, updates], axis=axis, combine=combine)


@array_names
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of `input` with alpha * source added to the slices along `dim` that `index` names."""
    scaled = source if isinstance(alpha, int) and alpha == 1 else elementwise("mul", source, alpha)
    return index_write(input, dim, index, scaled, "add")


@array_names
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` with the slices along `dim` that `index` names replaced."""
    return index_write(input, dim, index, source, "set")


@array_names
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of `input` with the slices along `dim` that `index` names filled with `value`."""
    return index_write(input, dim, index, value, "set")


@autocasts
def index_put(input: Tensor, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """A copy of `input` with input[indices] = values, or += with `accumulate`."""
    from ..indexing import scatter_axes

    result = input.clone()
    if not accumulate:
        result[tuple(indices)] = values
    else:
        scatter_axes(result, list(enumerate(indices)), values, "add")
    return result


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where the mask holds, else `input`; of the dtype of `input`."""
    dtype = here(input).spec.dtype
    fill = (
        as_type(value, tensor_type(dtype)) if not isinstance(value, Tensor) else cast(value, dtype)
    )
    return elementwise("where", mask, fill, input, conditions=1)


@takes_out
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """1-d: the elements where the mask (broadcast) holds. Eager only.

    Raises:
        TraceError: in a trace the number of elements is not known.
    """
    from .shape import broadcast_tensors

    values, where = broadcast_tensors(input, mask)
    return values[where]


@takes_out
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """int64[n, ndim]: the indices of the elements that are not 0; `as_tuple`: one tensor for each
    axis. Eager only.

    Raises:
        TraceError: in a trace the number of elements is not known.
    """
    if ambient.trace is not None:
        raise TraceError(
            "nonzero: the number of elements depends on data",
            hint="use sley.where(condition, x, y)",
        )
    places = [p.astype(np.int64) for p in np.nonzero(np.atleast_1d(elements(input)))]
    if as_tuple:
        return tuple(beside(p, input) for p in places)
    found = np.stack(places, axis=-1)
    return beside(np.ascontiguousarray(found if input.ndim else found[:, :0]), input)


def argwhere(input: Tensor) -> Tensor:
    """As `nonzero`."""
    return nonzero(input)
