"""Linear systems, inverses and determinants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..apply import apply, equal_dims
from ..autocast import autocasts
from ..errors import ArgumentError, ShapeError
from ..functions.arguments import takes_out
from ..functions.creation import eye, tril, triu
from ..functions.math import where
from ..functions.shape import diagonal as _diagonal
from ..functions.shape import matrix_transpose
from ..tensor import Tensor, here
from .arguments import adjoint, matrices, shape_of, square, with_batch


class SlogDet(NamedTuple):
    """`sign` and `logabsdet`: the determinant is sign * exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


class LeastSquares(NamedTuple):
    """`solution`, sums of squared `residuals` (empty unless the system has more equations than
    unknowns), `rank`, `singular_values` (empty)."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


@takes_out
@autocasts
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (or X A = B without `left`). A (..., n, n); B (..., n, k), or vectors
    (..., n) where B has one axis or A's batch shape and one axis more.

    Raises:
        LinAlgError: a matrix is singular.
        ShapeError: the shapes do not fit.
    """
    square("solve", A)
    vectors = B.ndim == 1 or (B.ndim == A.ndim - 1 and shape_of(B) == shape_of(A)[:-1])
    right = B.unsqueeze(-1) if vectors else B
    matrices("solve", A, right)
    if vectors and not left:
        raise ArgumentError("linalg.solve: left=False takes matrices, not vectors")
    size = shape_of(right)[-2 if left else -1]
    if not equal_dims(shape_of(A)[-1], size):
        raise ShapeError(f"linalg.solve: {here(A).spec} does not fit {here(B).spec}")
    if not left:
        return matrix_transpose(solve(matrix_transpose(A), matrix_transpose(right)))
    result = apply("linalg_solve", with_batch([A, right], "solve"))
    return result.squeeze(-1) if vectors else result


@takes_out
@autocasts
def inv(A: Tensor) -> Tensor:
    """The inverse of each matrix (..., n, n).

    Raises:
        LinAlgError: a matrix is singular.
    """
    square("inv", A)
    return apply("linalg_inv", [A])


@takes_out
@autocasts
def det(A: Tensor) -> Tensor:
    """The determinant (...) of each matrix (..., n, n); differentiable at singular ones, too."""
    square("det", A)
    return apply("linalg_det", [A])


@takes_out
@autocasts
def slogdet(A: Tensor) -> SlogDet:
    """Sign and logarithm of the absolute value of the determinant of each matrix."""
    square("slogdet", A)
    return SlogDet(*apply("linalg_slogdet", [A]))


@takes_out
@autocasts
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B for triangular A: the other triangle is not read, and with `unitriangular`
    the diagonal is taken as ones."""
    square("solve_triangular", A)
    matrices("solve_triangular", A, B)
    return solve(_triangle(A, upper, unitriangular), B, left=left)


def _triangle(A: Tensor, upper: bool, unitriangular: bool) -> Tensor:
    kept = triu(A) if upper else tril(A)
    if not unitriangular:
        return kept
    ones = eye(A.shape[-1], dtype=A.dtype, device=A.device)
    return where(ones != 0, ones, kept)


@autocasts
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B, from the factor of A: L L^H, or with `upper` L^H L."""
    factor = adjoint(L) if upper else L
    inner = solve_triangular(factor, B, upper=False)
    return solve_triangular(adjoint(factor), inner, upper=True)


@autocasts
def lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> LeastSquares:
    """X (..., n, k) of least norm that minimises |A X - B|; A (..., m, n), B (..., m, k).

    Singular values up to `rcond` times the largest count as 0. Every `driver` of LAPACK is
    accepted; all are served by the one that divides and conquers ("gelsd").

    Raises:
        ArgumentError: an unknown driver.
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ArgumentError(f"linalg.lstsq: {driver!r} is no driver of LAPACK")
    vectors = B.ndim == A.ndim - 1 and shape_of(B) == shape_of(A)[:-1]
    right = B.unsqueeze(-1) if vectors else B
    matrices("lstsq", A, right)
    if not equal_dims(shape_of(A)[-2], shape_of(right)[-2]):
        raise ShapeError(f"linalg.lstsq: {here(A).spec} does not fit {here(B).spec}")
    A, right = with_batch([A, right], "lstsq")
    solution, rank = apply("linalg_lstsq", [A, right], rcond=rcond)
    rows, columns = shape_of(A)[-2:]
    nothing = A.new_zeros((0,), dtype=A.dtype.to_real())
    tall = isinstance(rows, int) and isinstance(columns, int) and rows > columns
    residuals = ((A @ solution - right).abs() ** 2).sum(-2) if tall else nothing
    return LeastSquares(solution.squeeze(-1) if vectors else solution, residuals, rank, nothing)


@takes_out
@autocasts
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) == B; `dims` of A are moved to its end first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(-len(dims), 0)))
    rest = A.shape[B.ndim :]
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(rest)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of the matrices in the axes `dim1` and `dim2` (a view)."""
    return _diagonal(A, offset, dim1, dim2)
