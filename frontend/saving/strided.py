"""Tensors given by an offset and strides over flat memory, as steps of views."""

from __future__ import annotations

import math

from ..views import Step, broadcast_step, reshape_step, slice_step, strided_step, transpose_step

Sizes = tuple[int, ...]


def contiguous(shape: Sizes, strides: Sizes) -> bool:
    """Whether the elements follow each other in row-major order."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def last_element(offset: int, shape: Sizes, strides: Sizes) -> int:
    """The greatest position in memory that belongs to the tensor; -1 for one without elements."""
    if 0 in shape:
        return -1
    return offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


def steps_to(count: int, offset: int, shape: Sizes, strides: Sizes) -> tuple[Step, ...]:
    """The steps from a flat tensor of `count` elements to the strided one, which lies inside:
    slices and reshapes where they can say it, since programs fuse these."""
    if 0 in shape:
        return (slice_step((count,), (0,), (0,), (1,)), reshape_step((0,), shape))
    if contiguous(shape, strides):
        return _dense(count, offset, shape)
    moving = [a for a, (n, s) in enumerate(zip(shape, strides)) if n > 1 and s]
    order = sorted(moving, key=lambda axis: -strides[axis])
    framed = _framed(count, 0, offset, shape, strides, order)
    framed = framed or _framed(count - offset, offset, 0, shape, strides, order)
    return framed or (strided_step((count,), shape, strides, offset),)


def _dense(count: int, offset: int, shape: Sizes) -> tuple[Step, ...]:
    size = math.prod(shape)
    steps = []
    if size != count:
        steps.append(slice_step((count,), (offset,), (size,), (1,)))
    if shape != (size,):
        steps.append(reshape_step((size,), shape))
    return tuple(steps)


def _framed(
    count: int, start: int, offset: int, shape: Sizes, strides: Sizes, order: list[int]
) -> tuple[Step, ...] | None:
    """Memory from `start` on is divided into rows of the greatest stride, these by the next
    one, ...; the tensor is a box in that frame."""
    steps: list[Step] = []
    used, frame, begins, rest = count, [], [], offset
    for above, axis in zip([None, *order], order):
        stride = strides[axis]
        outer = count // stride if above is None else strides[above] // stride
        if above is None:
            used = outer * stride
        elif strides[above] % stride:
            return None
        frame.append(outer)
        begins.append(rest // stride)
        rest %= stride
    inner = strides[order[-1]] if order else count
    frame, begins = [*frame, inner], [*begins, rest]
    sizes = [*(shape[axis] for axis in order), 1]
    if any(b + n > size for b, n, size in zip(begins, sizes, frame)):
        return None
    if used != count or start:
        steps.append(slice_step((start + count,), (start,), (used,), (1,)))
    steps.append(reshape_step((used,), tuple(frame)))
    steps.append(slice_step(tuple(frame), tuple(begins), tuple(sizes), (1,) * len(frame)))
    steps.append(reshape_step(tuple(sizes), tuple(sizes[:-1])))
    ascending = sorted(order)
    perm = tuple(order.index(axis) for axis in ascending)
    if perm != tuple(range(len(perm))):
        steps.append(transpose_step(tuple(sizes[:-1]), perm))
    if len(ascending) < len(shape):
        steps.append(broadcast_step(steps[-1].result, shape, tuple(ascending)))
    return tuple(steps)
