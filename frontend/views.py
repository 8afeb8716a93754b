"""Views: the steps that lead from a storage to a tensor, forward and backward.

A step is a view op with its attributes. Forward it maps the value (or numpy array) of the base to
that of the view; backward it puts a new value of the view into the base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..ir.dims import Dim, Expr, evaluate, product
from ..ir.graph import Value
from ..ir.ops import OPS
from ..ir.ops.base import Op

Shape = tuple[Dim, ...]
Emit = Callable[[Op, Sequence[Value], dict[str, Any]], Value]


class Step:
    """One view op: `op` with `attrs` from shape `source` to shape `result`."""

    __slots__ = ("attrs", "op", "result", "source")

    def __init__(self, op: Op, attrs: dict[str, Any], source: Shape, result: Shape) -> None:
        self.op = op
        self.attrs = attrs
        self.source = source
        self.result = result

    def __repr__(self) -> str:
        return f"{self.op.name}{self.attrs}"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Step)
            and self.op is other.op
            and self.attrs == other.attrs
            and self.source == other.source
        )

    def __hash__(self) -> int:
        return hash((self.op.name, tuple(self.attrs.values()), self.source))

    @property
    def bijective(self) -> bool:
        """Whether every element of the base is one element of the view."""
        return self.op is RESHAPE or self.op is TRANSPOSE

    def emit(self, base: Value, emit: Emit) -> Value:
        """The value of the view."""
        return emit(self.op, (base,), self.attrs)

    def bound(self, sizes: Mapping[str, int]) -> Step:
        """The step with numbers for its size symbols."""
        if not sizes:
            return self

        def number(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(number, value))
            return evaluate(value, sizes) if isinstance(value, Expr) else value

        attrs = {name: number(value) for name, value in self.attrs.items()}
        return Step(self.op, attrs, number(self.source), number(self.result))

    def array(self, base: np.ndarray) -> np.ndarray:
        """The numpy view; the caller has made sure that a reshape needs no copy."""
        return self.op.evaluate([base], self.attrs)[0]

    def back(self, base: Value | None, new: Value, emit: Emit) -> Value:
        """The base with the elements of the view replaced by `new` (of the view's type).

        `base` may be None for a bijective step.
        """
        if self.op is RESHAPE:
            return emit(RESHAPE, (new,), {"shape": self.source})
        if self.op is TRANSPOSE:
            perm = self.attrs["perm"]
            inverse = tuple(perm.index(axis) for axis in range(len(perm)))
            return emit(TRANSPOSE, (new,), {"perm": inverse})
        assert self.op is SLICE and base is not None, "expanded views refuse writes"
        attrs = {"starts": self.attrs["starts"], "steps": self.attrs["steps"]}
        return emit(UPDATE_SLICE, (base, new), attrs)


Path = tuple[Step, ...]
RESHAPE, TRANSPOSE, SLICE = OPS["reshape"], OPS["transpose"], OPS["slice"]
BROADCAST, UPDATE_SLICE = OPS["broadcast"], OPS["update_slice"]


def reshape_step(source: Shape, shape: Shape) -> Step:
    return Step(RESHAPE, {"shape": shape}, source, shape)


def transpose_step(source: Shape, perm: tuple[int, ...]) -> Step:
    return Step(TRANSPOSE, {"perm": perm}, source, tuple(source[p] for p in perm))


def slice_step(source: Shape, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> Step:
    return Step(SLICE, {"starts": starts, "sizes": sizes, "steps": steps}, source, sizes)


def broadcast_step(source: Shape, shape: Shape, dims: tuple[int, ...]) -> Step:
    """`dims` as in the op: every axis of `source` has the size of the axis that it becomes."""
    return Step(BROADCAST, {"shape": shape, "dims": dims}, source, shape)


def replay(path: Sequence[Step], value: Value, emit: Emit) -> Value:
    """The value at the end of `path`, given that at its beginning."""
    for step in path:
        value = step.emit(value, emit)
    return value


def updated(base: Value, path: Sequence[Step], new: Value, emit: Emit) -> Value:
    """`base` with the view at the end of `path` replaced by `new`: the inverse of the path."""
    last = max((i for i, step in enumerate(path) if not step.bijective), default=-1)
    sources: list[Value | None] = [None] * len(path)
    current = base
    for i in range(last + 1):
        sources[i] = current
        if i < last:
            current = path[i].emit(current, emit)
    for i in reversed(range(len(path))):
        new = path[i].back(sources[i], new, emit)
    return new


def writable(path: Sequence[Step]) -> bool:
    """Whether no two elements of the view are one element of the storage."""
    return all(step.op is not BROADCAST for step in path)


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
    return reshape_strides(step.source, strides, step.result)


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
