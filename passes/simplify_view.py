"""Simplifications of views, reductions and sources; each takes operands and attributes, and gives
a value that is equal to the op's result, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..ir.builder import FOLD_LIMIT
from ..ir.dims import Dim
from ..ir.graph import Node, Value
from ..ir.literal import Literal
from ..ir.ops.base import OPS, Op
from ..ir.ops.elementwise import ADD
from ..ir.ops.reduction import REDUCE_SUM, kept_axes, reduced
from ..ir.ops.source import CONSTANT
from ..ir.ops.view import BROADCAST, CONCAT, RESHAPE, SLICE, TRANSPOSE, UNWINDOW
from ..ir.types import TensorType, tensor_type
from .uniform import filled, is_number, one_number, uniform

Operands = tuple[Value, ...]
Attrs = Mapping[str, Any]
Simplification = Callable[[Operands, Attrs], Value | None]


def _made_by(value: Value, op: Op) -> Node | None:
    return value.node if value.node is not None and value.node.op is op else None


def _of_scalar(value: Value, shape: Sequence[Dim]) -> Value | None:
    """A view of `shape` that only repeats or drops elements of `value`, a broadcast scalar."""
    node = _made_by(value, BROADCAST)
    if node is None or node.operands[0].type.shape:
        return None
    scalar = node.operands[0]
    return BROADCAST(scalar, shape=tuple(shape), dims=()) if shape else scalar


def _is(dim: Dim, number: int) -> bool:
    return isinstance(dim, int) and dim == number


def _without_ones(shape: Sequence[Dim]) -> list[Dim]:
    return [d for d in shape if not _is(d, 1)]


def _reshape(operands: Operands, attrs: Attrs) -> Value | None:
    (x,), shape = operands, tuple(attrs["shape"])
    if x.type.shape == shape:
        return x
    inner = _made_by(x, RESHAPE)
    if inner is not None:
        return RESHAPE(inner.operands[0], shape=shape)
    return _of_scalar(x, shape)


def _transpose(operands: Operands, attrs: Attrs) -> Value | None:
    (x,), perm = operands, tuple(attrs["perm"])
    # Axes of size 1 may stand anywhere without an element moving.
    moving = [p for p in perm if not _is(x.type.shape[p], 1)]
    if moving == sorted(moving):
        return RESHAPE(x, shape=tuple(x.type.shape[p] for p in perm))
    inner = _made_by(x, TRANSPOSE)
    if inner is not None:
        first = inner.attrs["perm"]
        return TRANSPOSE(inner.operands[0], perm=tuple(first[p] for p in perm))
    return _of_scalar(x, [x.type.shape[p] for p in perm])


def _broadcast(operands: Operands, attrs: Attrs) -> Value | None:
    (x,), shape, dims = operands, tuple(attrs["shape"]), tuple(attrs["dims"])
    new = [size for axis, size in enumerate(shape) if axis not in dims]
    if all(_is(size, 1) for size in new):
        return x if not new else RESHAPE(x, shape=shape)
    inner = _made_by(x, BROADCAST)
    if inner is not None:
        composed = tuple(dims[axis] for axis in inner.attrs["dims"])
        return BROADCAST(inner.operands[0], shape=shape, dims=composed)
    inner = _made_by(x, RESHAPE)
    if inner is None:
        return None
    source = inner.operands[0]
    places = _places(source.type.shape, x.type.shape)
    if places is None:
        return None
    return BROADCAST(source, shape=shape, dims=tuple(dims[axis] for axis in places))


def _places(shape: Sequence[Dim], longer: Sequence[Dim]) -> list[int] | None:
    """For each axis of `shape` its place in `longer`, which has more axes of size 1; else None."""
    if _without_ones(shape) != _without_ones(longer):
        return None
    places: list[int] = []
    axis = 0
    for size in shape:
        while axis < len(longer) and longer[axis] != size:
            axis += 1
        if axis == len(longer):
            return None
        places.append(axis)
        axis += 1
    skipped = [size for axis, size in enumerate(longer) if axis not in places]
    return places if all(_is(size, 1) for size in skipped) else None


def _whole(starts: Sequence[Dim], steps: Sequence[int]) -> bool:
    return all(_is(s, 0) for s in starts) and all(step == 1 for step in steps)


def _slice(operands: Operands, attrs: Attrs) -> Value | None:
    (x,) = operands
    starts, sizes, steps = (tuple(attrs[n]) for n in ("starts", "sizes", "steps"))
    if sizes == x.type.shape and _whole(starts, steps):
        return x
    inner = _made_by(x, SLICE)
    if inner is not None:
        before = zip(inner.attrs["starts"], inner.attrs["steps"], starts, strict=True)
        return SLICE(
            inner.operands[0],
            starts=tuple(first + start * step for first, step, start in before),
            sizes=sizes,
            steps=tuple(a * b for a, b in zip(inner.attrs["steps"], steps, strict=True)),
        )
    inner = _made_by(x, CONCAT)
    if inner is not None and all(step == 1 for step in steps):
        return _part_of_concat(inner, starts, sizes)
    inner = _made_by(x, REDUCE_SUM)
    if inner is not None and _made_by(inner.operands[0], UNWINDOW) is not None:
        return _part_of_sum(inner, starts, sizes, steps)
    return _of_scalar(x, sizes)


def _part_of_sum(
    node: Node, starts: Sequence[Dim], sizes: Sequence[Dim], steps: Sequence[int]
) -> Value | None:
    """The sums of a part of what is summed: of windows put back over their places, which are no
    more work than the part has elements."""
    (z,), axes = node.operands, tuple(node.attrs["axes"])
    kept = len(starts)
    if axes != tuple(range(kept, z.type.ndim)):
        return None
    places = z.type.shape[kept:]
    part = SLICE(
        z, starts=(*starts, *(0 for _ in axes)), sizes=(*sizes, *places),
        steps=(*steps, *(1 for _ in axes)),
    )  # fmt: skip
    return REDUCE_SUM(part, axes=axes)


def _part_of_concat(node: Node, starts: Sequence[Dim], sizes: tuple[Dim, ...]) -> Value | None:
    """The operand of a concat that a slice reads as a whole."""
    axis = node.attrs["axis"]
    if any(not _is(s, 0) for a, s in enumerate(starts) if a != axis):
        return None
    start: Dim = 0
    for part in node.operands:
        if start == starts[axis] and part.type.shape == sizes:
            return part
        start = start + part.type.shape[axis]
    return None


def _pad(operands: Operands, attrs: Attrs) -> Value | None:
    x, fill = operands
    amounts = (*attrs["low"], *attrs["high"], *attrs["interior"])
    if all(_is(n, 0) for n in amounts):
        return x
    inner = _made_by(x, BROADCAST)
    if inner is None or inner.operands[0] is not fill:
        return None
    return BROADCAST(fill, shape=OPS["pad"].infer([x.type, fill.type], attrs)[0].shape, dims=())


def _concat(operands: Operands, attrs: Attrs) -> Value | None:
    axis = attrs["axis"]
    filling = tuple(v for v in operands if not _is(v.type.shape[axis], 0)) or operands[:1]
    if len(filling) == 1:
        return filling[0]
    return CONCAT(*filling, axis=axis) if len(filling) < len(operands) else None


def _update_slice(operands: Operands, attrs: Attrs) -> Value | None:
    base, update = operands
    if update.type == base.type and _whole(attrs["starts"], attrs["steps"]):
        return update
    empty = any(_is(size, 0) for size in update.type.shape)
    number = uniform(update)
    same = number is not None and _equal_bits(number, uniform(base))
    return base if empty or same else None


def _equal_bits(a: np.ndarray, b: np.ndarray | None) -> bool:
    return b is not None and a.tobytes() == b.tobytes()


def _sum(operands: Operands, attrs: Attrs) -> Value | None:
    (x,), axes = operands, attrs["axes"]
    result = reduced(x.type, axes)
    if is_number(x, 0):
        return _zeros(result)
    kept = _of_single_elements(x, axes)
    if kept is None:
        return _before_reshape(REDUCE_SUM, x, attrs)
    # The sum of -0 alone is +0: it starts from 0.
    return ADD(kept, _zeros(result)) if x.type.dtype.is_float else kept


def _zeros(type: TensorType) -> Value:
    return filled(type, np.zeros((), type.dtype.numpy))


def _monoid(op: Op) -> Simplification:
    def rule(operands: Operands, attrs: Attrs) -> Value | None:
        (x,) = operands
        kept = _of_single_elements(x, attrs["axes"])
        return _before_reshape(op, x, attrs) if kept is None else kept

    return rule


def _before_reshape(op: Op, x: Value, attrs: Attrs) -> Value | None:
    """A reduction before the reshape that makes `x`, where that joins axes which stay and do not
    lie side by side: so no place is divided up again where the reduction reads."""
    inner = _made_by(x, RESHAPE)
    turned = None if inner is None else _made_by(inner.operands[0], TRANSPOSE)
    if turned is None:
        return None
    (y,), perm = turned.results, turned.attrs["perm"]
    groups = _aligned(y.type.shape, x.type.shape)
    if groups is None:
        return None
    folded: list[int] = []
    joins = False
    for before, after in groups:
        own = [axis for axis in after if axis in attrs["axes"]]
        if own and len(own) < len(after):
            return None
        apart = any(perm[b] != perm[a] + 1 for a, b in pairwise(before))
        joins = joins or (not own and apart)
        folded += before if own else ()
    if not joins:
        return None
    result = op(y, **{**attrs, "axes": tuple(folded)})
    return RESHAPE(result, shape=reduced(x.type, attrs["axes"]).shape)


def _aligned(
    before: Sequence[Dim], after: Sequence[Dim]
) -> list[tuple[list[int], list[int]]] | None:
    """The shortest runs of axes of two shapes that have as many elements, in order; None where
    that is not known. Runs of single elements join the run before them."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        left, right, a, b = [i], [j], before[i], after[j]
        i, j = i + 1, j + 1
        while a != b:
            if not (isinstance(a, int) and isinstance(b, int)) or 0 in (a, b):
                return None
            if a < b and i < len(before):
                a, left, i = a * before[i], [*left, i], i + 1
            elif b < a and j < len(after):
                b, right, j = b * after[j], [*right, j], j + 1
            else:
                return None
        groups.append((left, right))
    if any(not _is(n, 1) for n in (*before[i:], *after[j:])) or not groups:
        return None
    groups[-1][0].extend(range(i, len(before)))
    groups[-1][1].extend(range(j, len(after)))
    return groups


def _of_single_elements(x: Value, axes: Sequence[int]) -> Value | None:
    """`x` without `axes`, where these have one element each."""
    if not all(_is(x.type.shape[a], 1) for a in axes):
        return None
    kept = tuple(x.type.shape[a] for a in kept_axes(x.type.ndim, axes))
    return RESHAPE(x, shape=kept) if axes else x


def _cumulative(operands: Operands, attrs: Attrs) -> Value | None:
    (x,) = operands
    return x if _is(x.type.shape[attrs["axis"]], 1) else None


def _constant(operands: Operands, attrs: Attrs) -> Value | None:
    array = attrs["value"].array
    if array.size <= FOLD_LIMIT:
        return None
    number = one_number(array)
    return None if number is None else filled(attrs["value"].type, number)


def _size(operands: Operands, attrs: Attrs) -> Value | None:
    expr = attrs["expr"]
    return CONSTANT(value=Literal(np.asarray(expr, np.int64))) if isinstance(expr, int) else None


def _iota(operands: Operands, attrs: Attrs) -> Value | None:
    shape = tuple(attrs["shape"])
    return _zeros(tensor_type(attrs["dtype"], shape)) if _is(shape[attrs["axis"]], 1) else None


VIEW: dict[str, Simplification] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "update_slice": _update_slice,
    "reduce_sum": _sum,
    "reduce_prod": _monoid(OPS["reduce_prod"]),
    "reduce_max": _monoid(OPS["reduce_max"]),
    "reduce_min": _monoid(OPS["reduce_min"]),
    "cumsum": _cumulative,
    "cumprod": _cumulative,
    "cummax": _cumulative,
    "constant": _constant,
    "size": _size,
    "iota": _iota,
}
