"""Norms of vectors and matrices, and what is measured with them."""

from __future__ import annotations

import math
from typing import Any

from ...ir.dtypes import DType
from ..autocast import autocasts
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions.arguments import array_names, cast, shape_of, takes_out
from ..functions.creation import eye
from ..functions.info import finfo
from ..functions.math import where
from ..functions.reduction import amax, amin, sum
from ..functions.statistics import norm as _norm
from ..tensor import Tensor, here, normal_axis
from .arguments import matrices, square
from .decompositions import eigvalsh, svdvals
from .systems import inv, slogdet

_OF_SINGULAR_VALUES = ("nuc", 2, -2)


@autocasts
@array_names
def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """(sum |x|**ord) ** (1/ord) over `dim` (all axes where it is None); inf the largest, -inf the
    smallest, 0 the number of elements that are not 0.

    Raises:
        DTypeError: x is not floating point or complex.
    """
    return _norm(x, ord, dim, keepdim, dtype=dtype)


@autocasts
@array_names
def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The norm of the matrices in the two axes `dim`: "fro", "nuc" (sum of singular values), 2 and
    -2 (largest, smallest singular value), 1 and -1 (largest, smallest column sum of |a|), inf and
    -inf (row sums).

    Raises:
        ArgumentError: another `ord`, or not two axes.
        DTypeError: A is not floating point or complex.
        ShapeError: A has fewer than two axes.
    """
    A = cast(A, dtype)
    if not here(A).spec.dtype.is_inexact:
        raise DTypeError(f"linalg.matrix_norm of {here(A).spec.dtype.public}", hint="cast it first")
    if A.ndim < 2:
        raise ShapeError(f"linalg.matrix_norm takes a matrix, got {here(A).spec}")
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise ArgumentError(f"linalg.matrix_norm: dim={dim!r} does not name two axes")
    rows, columns = (normal_axis(d, A.ndim) for d in dim)
    if rows == columns:
        raise ArgumentError(f"linalg.matrix_norm: dim={dim!r} names an axis twice")
    if ord == "fro":
        return _norm(A, 2, (rows, columns), keepdim)
    if ord in _OF_SINGULAR_VALUES:
        values = svdvals(A.movedim((rows, columns), (-2, -1)))
        result = _of_values(values, ord)
        return _kept(result, (rows, columns)) if keepdim else result
    if ord not in (1, -1, math.inf, -math.inf):
        raise ArgumentError(f"linalg.matrix_norm: ord={ord!r} is no norm of matrices")
    added, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
    totals = sum(A.abs(), added, True)
    result = _largest(totals, chosen, True) if ord > 0 else amin(totals, chosen, True)
    return result if keepdim else result.squeeze((rows, columns))


def _of_values(values: Tensor, ord: Any) -> Tensor:
    if ord == "nuc":
        return sum(values, -1)
    return _largest(values, -1) if ord == 2 else amin(values, -1)


def _largest(values: Tensor, axis: int, keepdim: bool = False) -> Tensor:
    """Of numbers that are not negative; 0 where there are none."""
    is_empty = shape_of(values)[axis] == 0
    return sum(values, axis, keepdim) if is_empty else amax(values, axis, keepdim)


def _kept(result: Tensor, axes: tuple[int, int]) -> Tensor:
    for axis in sorted(axes):
        result = result.unsqueeze(axis)
    return result


@autocasts
@array_names
def norm(
    A: Tensor,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """A vector norm where `dim` is one axis, a matrix norm where it is two; without `ord` and `dim`
    the 2-norm of all elements.

    Raises:
        ArgumentError, ShapeError: as `vector_norm` and `matrix_norm`.
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim not in (1, 2):
        raise ShapeError(
            f"linalg.norm: with ord={ord!r} and no dim, {here(A).spec} must have 1 or 2 axes",
            hint="name the axes with dim=",
        )
    pair = isinstance(dim, (tuple, list)) and len(dim) == 2
    if pair or isinstance(ord, str) or (dim is None and A.ndim == 2):
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


@takes_out
@autocasts
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number |A| |A^-1| in the matrix norm `p`, inf of a singular matrix, 0 of one
    without elements; None is 2, by singular values.

    Raises:
        ShapeError: A is not square, and p neither of None, 2 and -2.
    """
    matrices("cond", A)
    if 0 in shape_of(A)[-2:]:
        return sum(A.abs(), (-2, -1))
    if p in (None, 2, -2):
        values = svdvals(A)
        largest, smallest = values[..., 0], values[..., -1].abs()  # of -0.0, too
        return smallest / largest if p == -2 else largest / smallest
    square("cond", A)
    singular = slogdet(A).sign == 0
    turnable = where(singular[..., None, None], eye(A.shape[-1], dtype=A.dtype, device=A.device), A)
    found = matrix_norm(A, p) * matrix_norm(inv(turnable), p)
    return found.masked_fill(singular, math.inf)


@takes_out
@autocasts
def matrix_rank(
    A: Tensor,
    tol: float | None = None,
    hermitian: bool = False,
    *,
    atol: float | None = None,
    rtol: float | None = None,
) -> Tensor:
    """The number (int64) of singular values above max(atol, rtol * the largest); rtol is
    max(m, n) * eps where neither is given; `tol` is numpy's name of `atol`. With `hermitian` they
    are the absolute eigenvalues, of which the lower triangle decides.

    Raises:
        ShapeError: `hermitian`, and A is not square.
    """
    matrices("matrix_rank", A)
    atol = tol if atol is None else atol
    values = eigvalsh(A).abs() if hermitian else svdvals(A)
    if rtol is None:
        sizes = [n for n in shape_of(A)[-2:] if isinstance(n, int)]
        rtol = 0.0 if atol else max(sizes, default=0) * finfo(values.dtype).eps
    bound = _largest(values, -1, True) * rtol
    if atol is not None:
        bound = bound.clamp(min=atol)
    return sum(values > bound, -1)
