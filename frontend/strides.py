"""Where the elements of a view lie in memory: strides and offsets, in elements."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dims import Dim, floordiv, product
from .views import (
    BROADCAST,
    IMAG,
    SLICE,
    TRANSPOSE,
    Diagonal,
    Joined,
    Pairs,
    Part,
    Shape,
    Step,
    Strided,
)


def contiguous_strides(shape: Shape) -> Shape:
    """Strides, in elements, of a dense tensor in row-major order."""
    return tuple(product(shape[axis + 1 :]) for axis in range(len(shape)))


def step_strides(step: Step, strides: Shape) -> Shape | None:
    """Strides of the view, given those of its base; None for a reshape that must copy."""
    if step.op is TRANSPOSE:
        return tuple(strides[p] for p in step.attrs["perm"])
    if step.op is SLICE:
        return tuple(s * k for s, k in zip(strides, step.attrs["steps"], strict=True))
    if step.op is BROADCAST:
        dims = step.attrs["dims"]
        return tuple(strides[dims.index(a)] if a in dims else 0 for a in range(len(step.result)))
    if isinstance(step, Diagonal):
        return (*strides[:-2], strides[-2] + strides[-1])
    if isinstance(step, Strided):
        return tuple(step.attrs["strides"])
    if isinstance(step, (Part, Pairs)):
        doubled = tuple(2 * s for s in strides)
        return (*doubled, 1) if isinstance(step, Pairs) else doubled
    if isinstance(step, Joined):
        return tuple(floordiv(s, 2) for s in strides[:-1])
    return reshape_strides(step.source, strides, step.result)


def step_offset(step: Step, strides: Shape) -> Dim:
    """How many elements of the memory the first one of the view lies behind that of its base, whose
    strides are given."""
    if step.op is SLICE:
        places: Shape = step.attrs["starts"]
    elif isinstance(step, Diagonal):
        places, strides = step.attrs["at"], strides[-2:]
    elif isinstance(step, Strided):
        return step.attrs["start"]
    else:
        return 1 if step.op is IMAG else 0
    total: Dim = 0
    for place, stride in zip(places, strides, strict=True):
        total = total + place * stride
    return total


def path_strides(shape: Shape, path: Sequence[Step]) -> Shape | None:
    """Strides at the end of `path` from dense memory of `shape`; None where a step must copy, and
    where there is none."""
    strides: Shape | None = contiguous_strides(shape)
    for step in path:
        assert strides is not None
        strides = step_strides(step, strides)
        if strides is None:
            return None
    return strides if path else None


def reshape_strides(source: Shape, strides: Shape, shape: Shape) -> Shape | None:
    """Strides of `shape` over the same memory, or None where the elements must be copied.

    Axes of the source that lie densely inside each other form one block; the new axes must split
    the blocks without crossing from one to the next.
    """
    if 0 in source:
        return contiguous_strides(shape)
    blocks: list[tuple[Dim, Dim]] = []  # (elements, stride of the innermost), outer to inner
    for size, stride in zip(source, strides, strict=True):
        if size == 1:
            continue
        if blocks and blocks[-1][1] == stride * size:
            blocks[-1] = (blocks[-1][0] * size, stride)
        else:
            blocks.append((size, stride))
    result: list[Dim] = [1] * len(shape)
    axis = len(shape) - 1
    for elements, inner in reversed(blocks):
        taken: Dim = 1
        while taken != elements:
            if axis < 0:
                return None
            result[axis] = inner * taken
            taken, axis = taken * shape[axis], axis - 1
            if isinstance(taken, int) and isinstance(elements, int) and taken > elements:
                return None
    outer: Dim = 1
    while axis >= 0:
        if shape[axis] != 1:
            return None
        result[axis] = outer
        axis -= 1
    return tuple(result)
