"""Factors of matrices, and what follows from them."""

from __future__ import annotations

from typing import NamedTuple

from ..apply import apply
from ..autocast import autocasts
from ..errors import ArgumentError
from ..functions.arguments import takes_out
from ..functions.creation import zeros_like
from ..functions.math import abs as magnitude
from ..functions.math import where
from ..tensor import Tensor
from .arguments import adjoint, matrices, square


class QR(NamedTuple):
    """Orthonormal `Q` and upper triangular `R`."""

    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """Left singular vectors `U`, singular values `S` (descending), conjugate transposed right ones
    `Vh`."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class Eigh(NamedTuple):
    """`eigenvalues` (ascending) and `eigenvectors` (columns)."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class Eig(NamedTuple):
    """`eigenvalues` (in no order) and `eigenvectors` (columns of norm 1), both complex."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@takes_out
@autocasts
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L L^H = A, or the upper triangular L^H, of symmetric (Hermitian)
    positive definite matrices (..., n, n). Only the lower triangle of A is read (with `upper` the
    upper one).

    Raises:
        LinAlgError: a matrix is not positive definite.
    """
    square("cholesky", A)
    if upper:
        return adjoint(apply("linalg_cholesky", [adjoint(A)]))
    return apply("linalg_cholesky", [A])


@takes_out
@autocasts
def qr(A: Tensor, mode: str = "reduced") -> QR:
    """Q R = A of matrices (..., m, n). mode "reduced": Q (..., m, k), R (..., k, n) with
    k = min(m, n); "complete": Q (..., m, m); "r": R alone, Q is empty.

    Raises:
        ArgumentError: another mode.
    """
    matrices("qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise ArgumentError(f"linalg.qr: mode={mode!r} is not 'reduced', 'complete' or 'r'")
    q, r = apply("linalg_qr", [A], mode="reduced" if mode == "r" else mode)
    return QR(A.new_zeros((0,)) if mode == "r" else q, r)


@takes_out
@autocasts
def svd(A: Tensor, full_matrices: bool = True) -> SVD:
    """U diag(S) Vh = A of matrices (..., m, n): U (..., m, m), S (..., k), Vh (..., n, n), or
    without `full_matrices` U (..., m, k) and Vh (..., k, n); k = min(m, n).

    The gradient through U and Vh is finite only where all singular values differ.
    """
    matrices("svd", A)
    return SVD(*apply("linalg_svd", [A], full_matrices=bool(full_matrices)))


@takes_out
@autocasts
def svdvals(A: Tensor) -> Tensor:
    """The singular values of each matrix, descending; repeated ones have gradients, too."""
    matrices("svdvals", A)
    return apply("linalg_svd", [A], full_matrices=False)[1]


@takes_out
@autocasts
def eigh(A: Tensor, UPLO: str = "L") -> Eigh:
    """Eigenvalues (..., n) and eigenvectors (..., n, n) of symmetric or Hermitian matrices, read
    from the lower ("L") or upper ("U") triangle.

    The gradient through the vectors is finite only where all eigenvalues differ.
    """
    square("eigh", A)
    if UPLO not in ("L", "U"):
        raise ArgumentError(f"linalg.eigh: UPLO={UPLO!r} is neither 'L' nor 'U'")
    return Eigh(*apply("linalg_eigh", [A], uplo=UPLO))


@takes_out
@autocasts
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric or Hermitian matrices, ascending."""
    return eigh(A, UPLO).eigenvalues


@takes_out
@autocasts
def eig(A: Tensor) -> Eig:
    """Complex eigenvalues (..., n) and eigenvectors (..., n, n) of any square matrices.

    Gradients are those of functions that do not depend on the phases of the vectors, and through
    the vectors finite only where all eigenvalues differ.

    Raises:
        LinAlgError: an element is infinite or NaN.
    """
    square("eig", A)
    return Eig(*apply("linalg_eig", [A]))


@takes_out
@autocasts
def eigvals(A: Tensor) -> Tensor:
    """The complex eigenvalues of any square matrices, in no order."""
    square("eigvals", A)
    return apply("linalg_eig", [A])[0]


@autocasts
def matrix_exp(A: Tensor) -> Tensor:
    """The sum of A^k / k! of each matrix (..., n, n) over all k from 0 on."""
    square("matrix_exp", A)
    return apply("linalg_matrix_exp", [A])


@takes_out
@autocasts
def pinv(
    A: Tensor,
    *,
    atol: float | None = None,
    rtol: float | None = None,
    hermitian: bool = False,
) -> Tensor:
    """The Moore-Penrose inverse (..., n, m) of matrices (..., m, n). Singular values up to
    max(atol, rtol * the largest) count as 0; rtol is max(m, n) * eps where neither is given.

    Raises:
        ArgumentError: `atol` is not 0 or None.
    """
    matrices("pinv", A)
    if atol:
        return _pinv_absolute(A, float(atol), 0.0 if rtol is None else float(rtol))
    return apply(
        "linalg_pinv", [A], rtol=None if rtol is None else float(rtol), hermitian=bool(hermitian)
    )


def _pinv_absolute(A: Tensor, atol: float, rtol: float) -> Tensor:
    u, s, vh = svd(A, full_matrices=False)
    bound = (s[..., :1] * rtol).clamp(min=atol)
    kept = magnitude(s) > bound
    inverse = where(kept, 1 / where(kept, s, 1), zeros_like(s))
    return (adjoint(vh) * inverse.unsqueeze(-2)) @ adjoint(u)
