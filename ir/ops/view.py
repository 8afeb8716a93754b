"""Views: ops whose every output element is an input element, or a fill.

Each gives its index map (output index -> pieces, see `Piece`); whoever lowers views reads that.
All views are in one file: type, evaluation and map of one are a few lines, and are read together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..dims import Dim, add_all, floordiv, mod, product
from ..dtypes import is_foreign
from ..types import TensorType
from .base import Attrs, Kind, Piece, define, need

Types = Sequence[TensorType]
Index = tuple[Dim, ...]


def strided(
    array: np.ndarray, shape: Sequence[int], strides: Sequence[int], *, writeable: bool = True
) -> np.ndarray:
    """numpy's `as_strided`, also of dtypes whose spelling numpy cannot read (float8_e5m2)."""
    if not is_foreign(array.dtype):
        return as_strided(array, shape, strides, writeable=writeable)
    bits = as_strided(array.view(f"u{array.itemsize}"), shape, strides, writeable=writeable)
    return bits.view(array.dtype)


def flatten_index(index: Sequence[Dim], shape: Sequence[Dim]) -> Dim:
    """The row-major position of `index` in an array of `shape`."""
    position: Dim = 0
    for i, size in zip(index, shape, strict=True):
        position = position * size + i
    return position


def split_index(position: Dim, shape: Sequence[Dim]) -> Index:
    """The index in an array of `shape` at row-major `position`; zeros where it has no elements."""
    if any(_is(size, 0) for size in shape):
        return (0,) * len(shape)
    index: list[Dim] = []
    first = True  # of the axes that count: the position does not go beyond it
    for axis, size in enumerate(shape):
        if _is(size, 1):
            index.append(0)
            continue
        inner = product(shape[axis + 1 :])
        digit = position if _is(inner, 1) else floordiv(position, inner)
        index.append(digit if first else mod(digit, size))
        first = False
    return tuple(index)


def _is(dim: Dim, number: int) -> bool:
    return isinstance(dim, int) and dim == number


def reshape_groups(old: Sequence[Dim], new: Sequence[Dim]) -> list[tuple[range, range]]:
    """Cuts both shapes into the shortest runs of equal products, which reshape independently."""
    groups: list[tuple[range, range]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        a, b = i, j
        left: Dim = 1
        right: Dim = 1
        while True:
            if i > a and j > b and left == right:
                break
            if i < len(old) and (i == a or not _exceeds(left, right) or j == len(new)):
                left, i = left * old[i], i + 1
            elif j < len(new):
                right, j = right * new[j], j + 1
            else:
                break
        groups.append((range(a, i), range(b, j)))
    return groups


def _exceeds(left: Dim, right: Dim) -> bool:
    """Whether the run with product `left` should wait for the other side to grow."""
    if isinstance(left, int) and isinstance(right, int):
        return left > right
    if isinstance(right, int):
        return True
    if isinstance(left, int):
        return False
    return floordiv(left, right) * right == left


def _infer_reshape(types: Types, attrs: Attrs) -> Types:
    (x,) = types
    shape = tuple(attrs["shape"])
    need(product(x.shape) == product(shape), f"{x} has not the elements of shape {list(shape)}")
    return (x.with_shape(shape),)


def _map_reshape(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    old, new = types[0].shape, tuple(attrs["shape"])
    if 0 in old:
        return (Piece(0, (0,) * len(old)),)
    result: list[Dim] = []
    for before, after in reshape_groups(old, new):
        inner = [new[a] for a in after]
        position = flatten_index([index[a] for a in after], inner)
        result.extend(split_index(position, [old[a] for a in before]))
    return (Piece(0, tuple(result)),)


def _unmap_reshape(types: Types, attrs: Attrs, index: Index) -> Index:
    old, new = types[0].shape, tuple(attrs["shape"])
    result: list[Dim] = []
    for before, after in reshape_groups(old, new):
        position = flatten_index([index[a] for a in before], [old[a] for a in before])
        result.extend(split_index(position, [new[a] for a in after]))
    return tuple(result)


def _unmap_transpose(types: Types, attrs: Attrs, index: Index) -> Index:
    return tuple(index[p] for p in attrs["perm"])


def _infer_transpose(types: Types, attrs: Attrs) -> Types:
    (x,) = types
    perm = tuple(attrs["perm"])
    need(sorted(perm) == list(range(x.ndim)), f"perm {perm} does not order the axes of {x}")
    return (x.with_shape(tuple(x.shape[p] for p in perm)),)


def _map_transpose(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    source: list[Dim] = [0] * len(index)
    for position, axis in enumerate(attrs["perm"]):
        source[axis] = index[position]
    return (Piece(0, tuple(source)),)


def _infer_broadcast(types: Types, attrs: Attrs) -> Types:
    (x,) = types
    shape, dims = tuple(attrs["shape"]), tuple(attrs["dims"])
    need(len(dims) == x.ndim, f"dims {dims} for {x}")
    need(list(dims) == sorted(set(dims)), f"dims {dims} must ascend")
    for size, axis in zip(x.shape, dims, strict=True):
        need(0 <= axis < len(shape), f"axis {axis} of shape {list(shape)}")
        need(size == shape[axis], f"{x} does not fill axis {axis} of {list(shape)}")
    return (x.with_shape(shape),)


def _eval_broadcast(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,), shape, dims = arrays, tuple(attrs["shape"]), tuple(attrs["dims"])
    if not (x.size and x.flags.forc):
        aligned = x.reshape([x.shape[dims.index(a)] if a in dims else 1 for a in range(len(shape))])
        return [np.broadcast_to(aligned, shape)]
    strides = [0] * len(shape)
    for stride, axis in zip(x.strides, dims, strict=True):
        strides[axis] = stride
    view = np.ndarray(shape, x.dtype, x, strides=strides)  # a fifth of `broadcast_to`'s time
    view.flags.writeable = False
    return [view]


def _map_broadcast(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    return (Piece(0, tuple(index[a] for a in attrs["dims"])),)


def _infer_slice(types: Types, attrs: Attrs) -> Types:
    (x,) = types
    starts, sizes, steps = attrs["starts"], attrs["sizes"], attrs["steps"]
    need(len(starts) == len(sizes) == len(steps) == x.ndim, f"slice of {x} needs {x.ndim} axes")
    for size, start, count, step in zip(x.shape, starts, sizes, steps, strict=True):
        need(step != 0, f"slice of {x} with step 0")
        if all(isinstance(d, int) for d in (size, start, count)) and count > 0:
            last = start + (count - 1) * step
            need(0 <= start < size and 0 <= last < size, f"slice {start}..{last} of {x}")
    return (x.with_shape(tuple(sizes)),)


def _slices(starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> tuple[slice, ...]:
    result = []
    for start, count, step in zip(starts, sizes, steps, strict=True):
        stop = start + count * step
        result.append(slice(start, stop if stop >= 0 else None, step) if count else slice(0, 0))
    return tuple(result)


def _eval_slice(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    return [x[_slices(attrs["starts"], attrs["sizes"], attrs["steps"])]]


def _map_slice(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    parts = zip(attrs["starts"], index, attrs["steps"], strict=True)
    return (Piece(0, tuple(start + i * step for start, i, step in parts)),)


def _infer_pad(types: Types, attrs: Attrs) -> Types:
    x, fill = types
    need(fill == x.with_shape(()), f"the fill of {x} is {fill}")
    low, high, interior = attrs["low"], attrs["high"], attrs["interior"]
    need(len(low) == len(high) == len(interior) == x.ndim, f"pad of {x} needs {x.ndim} axes")
    shape = []
    for size, a, b, gap in zip(x.shape, low, high, interior, strict=True):
        need(gap >= 0, f"pad with interior {gap}")
        spread = size + (size - 1) * gap if gap else size
        if isinstance(spread, int):
            spread = max(spread, 0)
        total = spread + a + b
        need(not isinstance(total, int) or total >= 0, f"pad of {x} leaves {total} elements")
        shape.append(total)
    return (x.with_shape(tuple(shape)),)


def _eval_pad(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    x, fill = arrays
    result = _padded_shape(x.shape, attrs)
    out = np.full(result, fill, x.dtype)
    target, source = [], []
    for size, low, gap, total in zip(x.shape, attrs["low"], attrs["interior"], result, strict=True):
        step = gap + 1
        first = max(0, (-low + step - 1) // step)
        last = min(size, (total - 1 - low) // step + 1)  # exclusive
        last = max(last, first)
        target.append(slice(first * step + low, (last - 1) * step + low + 1, step) if last > first
                      else slice(0, 0))  # fmt: skip
        source.append(slice(first, last))
    out[tuple(target)] = x[tuple(source)]
    return [out]


def _padded_shape(shape: tuple[int, ...], attrs: Attrs) -> tuple[int, ...]:
    parts = zip(shape, attrs["low"], attrs["high"], attrs["interior"], strict=True)
    return tuple(max(n + (n - 1) * gap if gap else n, 0) + a + b for n, a, b, gap in parts)


def _map_pad(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    source: list[Dim] = []
    conditions: list[tuple[str, Dim]] = []
    parts = zip(types[0].shape, index, attrs["low"], attrs["high"], attrs["interior"], strict=True)
    for size, i, low, high, gap in parts:
        position = i - low
        within = floordiv(position, gap + 1) if gap else position
        source.append(within)
        if not (_is(low, 0) and not gap):
            conditions.append(("ge", position))
        if not (_is(high, 0) and not gap):
            conditions.append(("ge", size - 1 - within))
        if gap:
            conditions.append(("eq", mod(position, gap + 1)))
    if not conditions:
        return (Piece(0, tuple(source)),)
    return (Piece(0, tuple(source), tuple(conditions)), Piece(1, ()))


def _infer_concat(types: Types, attrs: Attrs) -> Types:
    axis, first = attrs["axis"], types[0] if types else None
    need(first is not None, "concat of nothing")
    assert first is not None
    need(0 <= axis < first.ndim, f"axis {axis} of {first}")
    total: Dim = 0
    for t in types:
        rest = t.shape[:axis] + t.shape[axis + 1 :]
        fits = t.dtype is first.dtype and t.ndim == first.ndim
        need(
            fits and rest == first.shape[:axis] + first.shape[axis + 1 :],
            f"concat of {first} and {t} along axis {axis}",
        )
        total = total + t.shape[axis]
    return (first.with_shape(first.shape[:axis] + (total,) + first.shape[axis + 1 :]),)


def _map_concat(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    axis = attrs["axis"]
    pieces = []
    start: Dim = 0
    for number, t in enumerate(types):
        end = start + t.shape[axis]
        place = index[:axis] + (index[axis] - start,) + index[axis + 1 :]
        last = number == len(types) - 1
        pieces.append(Piece(number, place, () if last else (("ge", end - 1 - index[axis]),)))
        start = end
    return pieces


def _join_concat(types: Types, attrs: Attrs, number: int, index: Index) -> Index:
    axis = attrs["axis"]
    start = add_all(t.shape[axis] for t in types[:number])
    return (*index[:axis], start + index[axis], *index[axis + 1 :])


def window_count(size: Dim, window: int, stride: int, dilation: int) -> Dim:
    """How many windows of `window` elements, `dilation` apart, fit into `size`."""
    return floordiv(size - dilation * (window - 1) - 1, stride) + 1


def _window_parts(attrs: Attrs) -> list[tuple[int, int, int, int]]:
    names = ("axes", "sizes", "strides", "dilations")
    return list(zip(*(attrs[n] for n in names), strict=True))


def _infer_window(types: Types, attrs: Attrs) -> Types:
    (x,) = types
    shape = list(x.shape)
    for axis, size, stride, dilation in _window_parts(attrs):
        need(0 <= axis < x.ndim, f"axis {axis} of {x}")
        need(size >= 1 and stride >= 1 and dilation >= 1, "window sizes and steps are >= 1")
        shape[axis] = count = window_count(x.shape[axis], size, stride, dilation)
        need(
            not isinstance(count, int) or count >= 0,
            f"a window of {size} (dilation {dilation}) does not fit axis {axis} of {x}",
        )
    return (x.with_shape((*shape, *attrs["sizes"])),)


def _eval_window(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    shape, strides, inner = list(x.shape), list(x.strides), []
    for axis, size, stride, dilation in _window_parts(attrs):
        shape[axis] = window_count(x.shape[axis], size, stride, dilation)
        inner.append(x.strides[axis] * dilation)
        strides[axis] = x.strides[axis] * stride
    if 0 in shape:
        return [np.zeros((*shape, *attrs["sizes"]), x.dtype)]
    return [strided(x, (*shape, *attrs["sizes"]), (*strides, *inner), writeable=False)]


def _map_window(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    ndim = types[0].ndim
    source = list(index[:ndim])
    for number, (axis, _, stride, dilation) in enumerate(_window_parts(attrs)):
        source[axis] = index[axis] * stride + index[ndim + number] * dilation
    return (Piece(0, tuple(source)),)


def _infer_unwindow(types: Types, attrs: Attrs) -> Types:
    (y,) = types
    axes, sizes = attrs["axes"], tuple(attrs["sizes"])
    ndim = y.ndim - len(axes)
    need(y.shape[ndim:] == sizes, f"{y} does not end in the window sizes {sizes}")
    shape = list(y.shape[:ndim])
    for axis, extent in zip(axes, attrs["extents"], strict=True):
        shape[axis] = extent
    return (y.with_shape((*shape, *sizes)),)


def _eval_unwindow(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (y,) = arrays
    ndim = y.ndim - len(attrs["axes"])
    shape = list(y.shape)
    for axis, extent in zip(attrs["axes"], attrs["extents"], strict=True):
        shape[axis] = extent
    out = np.zeros(shape, y.dtype)
    parts = _window_parts(attrs)
    for offset in np.ndindex(*attrs["sizes"]):
        place: list[slice] = [slice(None)] * ndim
        for k, (axis, _, stride, dilation) in zip(offset, parts, strict=True):
            start = k * dilation
            place[axis] = slice(start, start + (y.shape[axis] - 1) * stride + 1, stride)
            if y.shape[axis] == 0:
                place[axis] = slice(0, 0)
        out[(*place, *offset)] = y[(Ellipsis, *offset)]
    return [out]


def _map_unwindow(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    (y,) = types
    ndim = y.ndim - len(attrs["axes"])
    source = list(index)
    conditions: list[tuple[str, Dim]] = []
    for number, (axis, _, stride, dilation) in enumerate(_window_parts(attrs)):
        position = index[axis] - index[ndim + number] * dilation
        source[axis] = floordiv(position, stride)
        conditions.append(("ge", position))
        conditions.append(("ge", y.shape[axis] - 1 - source[axis]))
        if stride != 1:
            conditions.append(("eq", mod(position, stride)))
    return (Piece(0, tuple(source), tuple(conditions)), Piece(-1, ()))


def _infer_update(types: Types, attrs: Attrs) -> Types:
    base, update = types
    need(base.dtype is update.dtype and base.ndim == update.ndim, f"update of {base} by {update}")
    _infer_slice((base,), {**attrs, "sizes": update.shape})
    return (base,)


def _eval_update(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    base, update = arrays
    out = np.array(base)
    out[_slices(attrs["starts"], update.shape, attrs["steps"])] = update
    return [out]


def _map_update(types: Types, attrs: Attrs, index: Index) -> Sequence[Piece]:
    base, update = types
    source: list[Dim] = []
    conditions: list[tuple[str, Dim]] = []
    parts = zip(base.shape, update.shape, index, attrs["starts"], attrs["steps"], strict=True)
    for size, count, i, start, step in parts:
        position = (i - start) * (1 if step > 0 else -1)
        within = floordiv(position, abs(step))
        source.append(within)
        if _is(start, 0) and step == 1 and count == size:
            continue
        conditions.append(("ge", position))
        conditions.append(("ge", count - 1 - within))
        if abs(step) != 1:
            conditions.append(("eq", mod(position, abs(step))))
    if not conditions:
        return (Piece(1, tuple(source)),)
    return (Piece(1, tuple(source), tuple(conditions)), Piece(0, index))


RESHAPE = define(
    "reshape", Kind.VIEW, _infer_reshape,
    lambda arrays, attrs: [arrays[0].reshape(attrs["shape"])],
    "The same elements in row-major order under another shape.",
    arity=1, attributes=("shape",), index_map=_map_reshape, inverse_map=_unmap_reshape,
)  # fmt: skip
TRANSPOSE = define(
    "transpose", Kind.VIEW, _infer_transpose,
    lambda arrays, attrs: [arrays[0].transpose(attrs["perm"])],
    "Axes reordered: result axis a is operand axis perm[a].",
    arity=1, attributes=("perm",), index_map=_map_transpose, inverse_map=_unmap_transpose,
)  # fmt: skip
BROADCAST = define(
    "broadcast", Kind.VIEW, _infer_broadcast, _eval_broadcast,
    "Repeated along new axes: operand axis k is result axis dims[k].",
    arity=1, attributes=("shape", "dims"), index_map=_map_broadcast,
)  # fmt: skip
SLICE = define(
    "slice", Kind.VIEW, _infer_slice, _eval_slice,
    "Result element i is operand element starts + i * steps; steps may be negative.",
    arity=1, attributes=("starts", "sizes", "steps"), index_map=_map_slice,
)  # fmt: skip
PAD = define(
    "pad", Kind.VIEW, _infer_pad, _eval_pad,
    """`low` and `high` fills before and after each axis (negative: elements cut off), `interior`
    fills between neighbours. Operands: x and the 0-d fill.""",
    arity=2, attributes=("low", "high", "interior"), index_map=_map_pad,
)  # fmt: skip
CONCAT = define(
    "concat", Kind.VIEW, _infer_concat,
    lambda arrays, attrs: [np.concatenate(arrays, axis=attrs["axis"])],
    "The operands one after the other along `axis`.", attributes=("axis",), index_map=_map_concat,
    joined_map=_join_concat,
)  # fmt: skip
WINDOW = define(
    "window", Kind.VIEW, _infer_window, _eval_window,
    """Sliding windows: each of `axes` becomes the axis of windows, and the axes inside a window
    follow at the end: y[.., o, .., k] = x[.., o*stride + k*dilation, ..].""",
    arity=1, attributes=("axes", "sizes", "strides", "dilations"), index_map=_map_window,
)  # fmt: skip
UNWINDOW = define(
    "unwindow", Kind.VIEW, _infer_unwindow, _eval_unwindow,
    """Each window's elements put back where `window` took them from, 0 elsewhere, the axes inside
    the windows kept: z[.., h, .., k] = y[.., (h - k*dilation) / stride, .., k]. The sum of z over
    the last axes is the gradient of `window`.""",
    arity=1, attributes=("axes", "sizes", "strides", "dilations", "extents"),
    index_map=_map_unwindow,
)  # fmt: skip
UPDATE_SLICE = define(
    "update_slice", Kind.VIEW, _infer_update, _eval_update,
    "The base with the elements at starts + i * steps replaced by those of the update.",
    arity=2, attributes=("starts", "steps"), index_map=_map_update,
)  # fmt: skip
