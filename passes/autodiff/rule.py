"""What a gradient rule is, and the few values that most rules need.

The cotangent of a complex z = a + ib is dL/da + i dL/db for a real L, as in PyTorch: the conjugate
Wirtinger derivative. So where a real rule multiplies by a slope, it is the slope's conjugate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...ir.dims import Dim, product
from ...ir.dtypes import DType, i64
from ...ir.graph import Node, Value, full
from ...ir.ops.elementwise import CAST, COMPLEX, IMAG, REAL
from ...ir.ops.indexed import SCATTER
from ...ir.ops.reduction import kept_axes
from ...ir.ops.source import IOTA, SIZE
from ...ir.ops.view import BROADCAST, RESHAPE, TRANSPOSE
from ...ir.types import TensorType, tensor_type

# What a rule gives for one operand: its cotangent, a function that emits it (called only if the
# cotangent is wanted), or None where the operand has no influence.
Cotangent = Value | Callable[[], Value] | None
Rule = Callable[[Node, Sequence[Value | None]], Sequence[Cotangent]]


class GradientError(TypeError):
    """A gradient was asked through an op that has none. The message names the op and why."""


@dataclass(frozen=True, slots=True)
class NotDifferentiable:
    """Stands in the table for an op that has no gradient, and says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class RegionRule:
    """A rule that is told which operands want a cotangent, as their ways back share one program:
    `pull(node, cotangents, wanted)`."""

    pull: Callable[[Node, Sequence[Value | None], Sequence[bool]], Sequence[Value | None]]


def sole(cotangents: Sequence[Value | None]) -> Value:
    """The cotangent of the one result of a node; a rule runs only where one arrived."""
    (cotangent,) = cotangents
    assert cotangent is not None
    return cotangent


def zeros(type: TensorType) -> Value:
    return full(type, 0)


def conj(value: Value) -> Value:
    """The complex conjugate; of a real value itself."""
    if not value.type.dtype.is_complex:
        return value
    return COMPLEX(REAL(value), -IMAG(value))


def spread(value: Value, like: TensorType, axes: Sequence[int]) -> Value:
    """`value`, the result of a reduction of `like` over `axes`, repeated along these again."""
    if not axes:
        return value
    return BROADCAST(value, shape=like.shape, dims=kept_axes(like.ndim, axes))


def reshaped(value: Value, shape: Sequence[Dim]) -> Value:
    shape = tuple(shape)
    return value if value.type.shape == shape else RESHAPE(value, shape=shape)


def transposed(value: Value, perm: Sequence[int]) -> Value:
    perm = tuple(perm)
    return value if perm == tuple(range(len(perm))) else TRANSPOSE(value, perm=perm)


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `perm`."""
    return tuple(sorted(range(len(perm)), key=lambda position: perm[position]))


def size_value(dim: Dim, dtype: DType, shape: Sequence[Dim]) -> Value:
    """The integer `dim` as a value of `dtype`, repeated to `shape`."""
    if isinstance(dim, int):
        return full(tensor_type(dtype, tuple(shape)), dim)
    scalar = SIZE(expr=dim)
    scalar = scalar if scalar.type.dtype is dtype else CAST(scalar, dtype=dtype)
    return BROADCAST(scalar, shape=tuple(shape), dims=()) if shape else scalar


def scattered_along(g: Value, places: Value, axis: int, size: Dim | None = None) -> Value:
    """Each element of `g` added to the place along `axis` that `places`, of its shape, names; the
    result has `size` of them (by default as many as `g`)."""
    shape = g.type.shape
    order = (*(a for a in range(g.type.ndim) if a != axis), axis)
    moved = tuple(shape[a] for a in order)
    rows, length = product(moved[:-1]), shape[axis] if size is None else size
    matrix = (rows, shape[axis])
    row = IOTA(shape=matrix, axis=0, dtype=i64) * size_value(length, i64, matrix)
    target = reshaped(row + reshaped(transposed(places, order), matrix), (product(matrix),))
    flat = reshaped(transposed(g, order), (product(matrix),))
    base = zeros(tensor_type(g.type.dtype, (rows * length,)))
    summed = SCATTER(base, target, flat, axis=0, combine="add")
    return transposed(reshaped(summed, (*moved[:-1], length)), inverse(order))
