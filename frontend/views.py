"""Views: the steps that lead from a storage to a tensor, forward and backward.

A step is a view op with its attributes. Forward it maps the value (or numpy array) of the base to
that of the view; backward it puts a new value of the view into the base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..ir.dims import Dim, Expr, evaluate, product
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.literal import Literal
from ..ir.ops import OPS
from ..ir.ops.base import Op
from ..ir.ops.view import strided

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
            type(self) is type(other)
            and isinstance(other, Step)
            and self.op is other.op
            and self.attrs == other.attrs
            and self.source == other.source
        )

    def __hash__(self) -> int:
        return hash((self.op.name, tuple(self.attrs.values()), self.source))

    def __reduce__(self) -> tuple:
        return _stepped, (type(self), self.op.name, self.attrs, self.source, self.result)

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
        return type(self)(self.op, attrs, number(self.source), number(self.result))

    def dtype(self, base: DType) -> DType:
        """The dtype of the view of a base of dtype `base`."""
        return base

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


class Part(Step):
    """The real or the imaginary parts of a complex base (`op`: real or imag)."""

    __slots__ = ()

    def dtype(self, base: DType) -> DType:
        return base.to_real()

    def back(self, base: Value | None, new: Value, emit: Emit) -> Value:
        assert base is not None
        if self.op is REAL:
            return emit(COMPLEX, (new, emit(IMAG, (base,), {})), {})
        return emit(COMPLEX, (emit(REAL, (base,), {}), new), {})


class Pairs(Step):
    """A complex base as its parts, (real, imaginary) along a new last axis."""

    __slots__ = ()

    @property
    def bijective(self) -> bool:
        return True

    def dtype(self, base: DType) -> DType:
        return base.to_real()

    def emit(self, base: Value, emit: Emit) -> Value:
        return paired(base, emit)

    def array(self, base: np.ndarray) -> np.ndarray:
        parts = base.real
        return strided(parts, (*parts.shape, 2), (*parts.strides, parts.itemsize))

    def back(self, base: Value | None, new: Value, emit: Emit) -> Value:
        return unpaired(new, emit)


class Joined(Step):
    """The complex numbers whose parts lie along the last axis of a real base."""

    __slots__ = ()

    @property
    def bijective(self) -> bool:
        return True

    def dtype(self, base: DType) -> DType:
        return base.to_complex()

    def emit(self, base: Value, emit: Emit) -> Value:
        return unpaired(base, emit)

    def array(self, base: np.ndarray) -> np.ndarray:
        return base.view(np.complex64 if base.itemsize == 4 else np.complex128)[..., 0]

    def back(self, base: Value | None, new: Value, emit: Emit) -> Value:
        return paired(new, emit)


class Diagonal(Step):
    """The diagonals of matrices [.., n, m] as a last axis: `first` is the place of the first
    element in a flattened matrix, `at` its row and column."""

    __slots__ = ()

    def _steps(self) -> tuple[Step, Step]:
        *lead, rows, columns = self.source
        flat = reshape_step(self.source, (*lead, rows * columns))
        starts = (0,) * len(lead) + (self.attrs["first"],)
        steps = (1,) * len(lead) + (columns + 1,)
        return flat, slice_step(flat.result, starts, self.result, steps)  # type: ignore[arg-type]

    def emit(self, base: Value, emit: Emit) -> Value:
        return replay(self._steps(), base, emit)

    def array(self, base: np.ndarray) -> np.ndarray:
        row, column = self.attrs["at"]
        first = base[..., row:, column:]
        strides = (*base.strides[:-2], base.strides[-2] + base.strides[-1])
        return strided(first, _numbers(self.result), strides)

    def back(self, base: Value | None, new: Value, emit: Emit) -> Value:
        assert base is not None
        return updated(base, self._steps(), new, emit)


class Strided(Step):
    """Elements start + sum of i * stride of a dense base, counted in row-major order. Places that
    several indices share make the view one to read."""

    __slots__ = ()

    @property
    def overlaps(self) -> bool:
        """Whether two indices may be one element: their strides do not nest."""
        reach = 0
        for stride, size in sorted(zip(self.attrs["strides"], self.result, strict=True)):
            if size == 1:
                continue
            if stride <= reach:
                return True
            reach += stride * (size - 1)
        return False

    def _places(self, emit: Emit) -> Value:
        """The place of each element of the view in the flattened base."""
        shape = _numbers(self.result)
        places = np.full(shape, self.attrs["start"], np.int64)
        for index, stride in zip(np.indices(shape), self.attrs["strides"], strict=True):
            places += stride * index
        return emit(CONSTANT, (), {"value": Literal(places.reshape(-1))})

    def emit(self, base: Value, emit: Emit) -> Value:
        flat = emit(RESHAPE, (base,), {"shape": (product(self.source),)})
        found = emit(GATHER, (flat, self._places(emit)), {"axis": 0})
        return emit(RESHAPE, (found,), {"shape": self.result})

    def array(self, base: np.ndarray) -> np.ndarray:
        size = base.itemsize
        first = base.reshape(-1)[self.attrs["start"] :]
        strides = [s * size for s in self.attrs["strides"]]
        return strided(first, _numbers(self.result), strides)

    def back(self, base: Value | None, new: Value, emit: Emit) -> Value:
        assert base is not None
        flat = emit(RESHAPE, (base,), {"shape": (product(self.source),)})
        updates = emit(RESHAPE, (new,), {"shape": (product(self.result),)})
        attrs = {"axis": 0, "combine": "set"}
        written = emit(SCATTER, (flat, self._places(emit), updates), attrs)
        return emit(RESHAPE, (written,), {"shape": self.source})


def _numbers(shape: Shape) -> tuple[int, ...]:
    """A shape without symbols: of arrays, or part of the program."""
    return tuple(map(int, shape))  # type: ignore[arg-type]


def paired(value: Value, emit: Emit) -> Value:
    """A complex value as f[..., 2]."""
    shape = value.type.shape
    parts = [emit(op, (value,), {}) for op in (REAL, IMAG)]
    columns = [emit(RESHAPE, (part,), {"shape": (*shape, 1)}) for part in parts]
    return emit(CONCAT, columns, {"axis": len(shape)})


def unpaired(value: Value, emit: Emit) -> Value:
    """The complex value of f[..., 2]."""
    shape = value.type.shape[:-1]
    parts = []
    for place in (0, 1):
        starts, sizes = (0,) * len(shape) + (place,), (*shape, 1)
        steps = (1,) * len(sizes)
        column = emit(SLICE, (value,), {"starts": starts, "sizes": sizes, "steps": steps})
        parts.append(emit(RESHAPE, (column,), {"shape": shape}))
    return emit(COMPLEX, parts, {})


def _stepped(kind: type[Step], op: str, attrs: dict[str, Any], source: Any, result: Any) -> Step:
    """A step out of a pickle."""
    return kind(OPS[op], attrs, source, result)


Path = tuple[Step, ...]
RESHAPE, TRANSPOSE, SLICE = OPS["reshape"], OPS["transpose"], OPS["slice"]
BROADCAST, UPDATE_SLICE, CONCAT = OPS["broadcast"], OPS["update_slice"], OPS["concat"]
GATHER, SCATTER, CONSTANT = OPS["gather"], OPS["scatter"], OPS["constant"]
REAL, IMAG, COMPLEX = OPS["real"], OPS["imag"], OPS["complex"]


def reshape_step(source: Shape, shape: Shape) -> Step:
    return Step(RESHAPE, {"shape": shape}, source, shape)


def transpose_step(source: Shape, perm: tuple[int, ...]) -> Step:
    return Step(TRANSPOSE, {"perm": perm}, source, tuple(source[p] for p in perm))


def slice_step(source: Shape, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> Step:
    return Step(SLICE, {"starts": starts, "sizes": sizes, "steps": steps}, source, sizes)


def broadcast_step(source: Shape, shape: Shape, dims: tuple[int, ...]) -> Step:
    """`dims` as in the op: every axis of `source` has the size of the axis that it becomes."""
    return Step(BROADCAST, {"shape": shape, "dims": dims}, source, shape)


def real_step(source: Shape) -> Step:
    return Part(REAL, {}, source, source)


def imag_step(source: Shape) -> Step:
    return Part(IMAG, {}, source, source)


def pairs_step(source: Shape) -> Step:
    """From a complex tensor."""
    return Pairs(CONCAT, {}, source, (*source, 2))


def joined_step(source: Shape) -> Step:
    """To a complex tensor; the last axis of `source` is 2."""
    return Joined(COMPLEX, {}, source, source[:-1])


def diagonal_step(source: Shape, at: Shape, length: Dim) -> Step:
    """The diagonals of `length` that begin at row and column `at` of the last two axes."""
    first = at[0] * source[-1] + at[1]
    return Diagonal(GATHER, {"first": first, "at": at}, source, (*source[:-2], length))


def strided_step(source: Shape, shape: Shape, strides: Shape, start: Dim) -> Step:
    return Strided(GATHER, {"strides": strides, "start": start}, source, shape)


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
    return not any(
        step.op is BROADCAST or (isinstance(step, Strided) and step.overlaps) for step in path
    )
