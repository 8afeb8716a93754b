"""The linear algebra extension, and the products of the main namespace."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import DType
from .. import linalg as own
from ..functions import matrix
from ..functions.shape import matrix_transpose as _matrix_transpose
from ..tensor import Tensor
from .statistics import sum


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product."""
    return matrix.matmul(x1, x2)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """Matrices with rows and columns exchanged."""
    return _matrix_transpose(x)


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """Products summed over the last `axes` axes of x1 and the first of x2, or over two lists."""
    return matrix.tensordot(x1, x2, axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Sums of the products along an axis, the elements of x1 conjugated."""
    return own.vecdot(x1, x2, dim=axis)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """All products of two vectors' elements."""
    return matrix.outer(x1, x2)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The sums of the diagonals of matrices."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonals of matrices."""
    return own.diagonal(x, offset=offset)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross products of vectors of 3 elements."""
    return own.cross(x1, x2, dim=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinants of square matrices."""
    return own.det(x)


def inv(x: Tensor, /) -> Tensor:
    """The inverses of square matrices."""
    return own.inv(x)


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The solutions of x1 @ x = x2."""
    return own.solve(x1, x2)


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The Cholesky factors of positive definite matrices."""
    return own.cholesky(x, upper=upper)


def qr(x: Tensor, /, *, mode: str = "reduced") -> Any:
    """Orthogonal and upper triangular factors."""
    return own.qr(x, mode)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> Any:
    """Singular values, with their vectors."""
    return own.svd(x, full_matrices)


def svdvals(x: Tensor, /) -> Tensor:
    """Singular values, descending."""
    return own.svdvals(x)


def eigh(x: Tensor, /) -> Any:
    """Eigenvalues, ascending, and eigenvectors of symmetric or Hermitian matrices."""
    return own.eigh(x)


def eigvalsh(x: Tensor, /) -> Tensor:
    """Eigenvalues, ascending, of symmetric or Hermitian matrices."""
    return own.eigvalsh(x)


def slogdet(x: Tensor, /) -> Any:
    """Sign and logarithm of the absolute value of determinants."""
    return own.slogdet(x)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """Square matrices to the power of an integer."""
    return own.matrix_power(x, n)


def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """How many singular values are not small."""
    return own.matrix_rank(x, rtol=rtol)


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """Pseudo-inverses."""
    return own.pinv(x, rtol=rtol)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Norms of matrices."""
    return own.matrix_norm(x, ord, keepdim=keepdims)


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """Norms of vectors along axes, of all elements unless given."""
    return own.vector_norm(x, ord, axis, keepdims)
