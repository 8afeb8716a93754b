"""Products of matrices and vectors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..apply import broadcast_shapes, equal_dims
from ..autocast import autocasts
from ..errors import ArgumentError, ShapeError
from ..functions.arguments import array_names, shape_of, spelled, takes_out
from ..functions.creation import arange, eye
from ..functions.joining import roll
from ..functions.matrix import matmul
from ..functions.reduction import sum
from ..tensor import Tensor, here, normal_axis
from ..viewing import expand_view
from .arguments import square
from .systems import inv


@array_names
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three elements along `dim`; the other axes broadcast.

    Raises:
        ShapeError: an operand has not three elements there.
    """
    if input.ndim != other.ndim:
        raise ShapeError(
            f"linalg.cross: {here(input).spec} and {here(other).spec} differ in their number of "
            "axes"
        )
    if input.ndim == 0:
        raise ShapeError("linalg.cross of 0-d tensors: they have no axes")
    for operand in (input, other):
        size = shape_of(operand)[normal_axis(dim, operand.ndim)]
        if not equal_dims(size, 3):
            raise ShapeError(f"linalg.cross: axis {dim} of {here(operand).spec} has not 3 elements")
    shape = [*map(spelled, broadcast_shapes([shape_of(input), shape_of(other)], "linalg.cross"))]
    a, b = expand_view(input, shape), expand_view(other, shape)
    return roll(a, -1, dim) * roll(b, 1, dim) - roll(a, 1, dim) * roll(b, -1, dim)


@array_names
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of conj(x) * y along `dim`; the axes broadcast."""
    return sum((x.conj() if here(x).spec.dtype.is_complex else x) * y, dim)


@takes_out
def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied `n` times, by repeated squaring; a negative n takes the inverse. Integers are
    taken where n is not negative.

    Raises:
        LinAlgError: n is negative and a matrix singular.
    """
    if not isinstance(n, int):
        raise ArgumentError(f"linalg.matrix_power: n={n!r} is not an int")
    if n < 0 or not isinstance(A, Tensor) or here(A).spec.dtype.is_inexact or A.ndim < 2:
        square("matrix_power", A)
    elif not equal_dims(*shape_of(A)[-2:]):
        raise ShapeError(f"linalg.matrix_power takes square matrices, got {here(A).spec}")
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        return expand_view(eye(A.shape[-1], dtype=A.dtype, device=A.device), A.shape).clone()
    result, base = None, A
    while True:
        if n & 1:
            result = base if result is None else matmul(result, base)
        n >>= 1
        if not n:
            assert result is not None
            return result.clone() if result is A else result
        base = matmul(base, base)


@takes_out
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices in the order with the fewest multiplications (Cormen et al.,
    "Introduction to Algorithms", 15.2); the first and the last may be vectors.

    Raises:
        ArgumentError: fewer than two.
        ShapeError: one is no matrix, or two neighbours do not fit.
    """
    if len(tensors) < 2:
        raise ArgumentError(f"linalg.multi_dot takes two matrices or more, got {len(tensors)}")
    factors = list(tensors)
    first, last = factors[0].ndim == 1, factors[-1].ndim == 1
    if first:
        factors[0] = factors[0].unsqueeze(0)
    if last:
        factors[-1] = factors[-1].unsqueeze(1)
    for factor in factors:
        if factor.ndim != 2:
            raise ShapeError(f"linalg.multi_dot takes matrices, got {here(factor).spec}")
    for left, right in itertools.pairwise(factors):
        if not equal_dims(shape_of(left)[1], shape_of(right)[0]):
            raise ShapeError(f"linalg.multi_dot: {here(left).spec} does not fit {here(right).spec}")
    result = _product(factors)
    if first:
        result = result.squeeze(0)
    return result.squeeze(-1) if last else result


def _product(factors: list[Tensor]) -> Tensor:
    sizes = [shape_of(factors[0])[0], *(shape_of(f)[1] for f in factors)]
    if not all(isinstance(n, int) for n in sizes):
        result = factors[0]
        for factor in factors[1:]:
            result = matmul(result, factor)
        return result
    split = _best_splits([int(n) for n in sizes])  # type: ignore[arg-type]

    def between(first: int, last: int) -> Tensor:
        if first == last:
            return factors[first]
        middle = split[first, last]
        return matmul(between(first, middle), between(middle + 1, last))

    return between(0, len(factors) - 1)


def _best_splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """(first, last) -> after which factor their product is best parted."""
    count = len(sizes) - 1
    cost: dict[tuple[int, int], float] = {(k, k): 0 for k in range(count)}
    split = {}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            cost[first, last] = math.inf
            for middle in range(first, last):
                work = sizes[first] * sizes[middle + 1] * sizes[last + 1]
                total = cost[first, middle] + cost[middle + 1, last] + work
                if total < cost[first, last]:
                    cost[first, last], split[first, last] = total, middle
    return split


@takes_out
@autocasts
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of `A` as a map from its axes from `ind` on to those before."""
    if ind <= 0 or ind >= A.ndim:
        raise ArgumentError(f"linalg.tensorinv: ind={ind} is not between the axes of A")
    left, right = A.shape[:ind], A.shape[ind:]
    return inv(A.reshape(math.prod(left), math.prod(right))).reshape(*right, *left)


def vander(x: Tensor, *, N: Any = None) -> Tensor:
    """The Vandermonde matrix: column j is x ** j, for N columns (default: as many as rows)."""
    if x.ndim == 0:
        raise ShapeError("vander of a 0-d tensor", hint="x needs an axis")
    columns = x.shape[-1] if N is None else N
    if not here(x).spec.dtype.is_inexact:
        x = x.long()
    return x.unsqueeze(-1) ** arange(columns, dtype=x.dtype)
