"""Decompositions and solutions of linear systems: LAPACK, called through numpy on the host.

A matrix is the last two axes of an operand; the axes before them are a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..dims import Dim, minimum
from ..dtypes import i64
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, TypeRule, define, need

LAPACK = ("f32", "f64", "c64", "c128")


def _need_matrices(types: Sequence[TensorType]) -> None:
    for type in types:
        need(type.ndim >= 2, f"{type} is no matrix: it has fewer than two axes")
        need(
            type.dtype.name in LAPACK,
            f"linear algebra does not take {type.dtype.public}; float32, float64, complex64 and "
            "complex128 are supported",
        )
        need(type.dtype is types[0].dtype, f"the dtypes of {types[0]} and {type} differ")


def _need_square(type: TensorType) -> None:
    rows, columns = type.shape[-2:]
    need(rows == columns, f"{type} must be a square matrix or a batch of them")


def _real(type: TensorType, shape: tuple[Dim, ...]) -> TensorType:
    """Real numbers of the precision of `type`."""
    return tensor_type(type.dtype.to_real(), shape)


def _infer_square(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_matrices(types)
    _need_square(types[0])
    return (types[0],)


def _infer_solve(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_matrices(types)
    a, b = types
    _need_square(a)
    need(
        a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2],
        f"the system {a} does not fit the right-hand side {b}",
    )
    return (b,)


def _infer_det(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (a,) = _infer_square(types, attrs)
    return (a.with_shape(a.shape[:-2]),)


def _infer_slogdet(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (det,) = _infer_det(types, attrs)
    return (det, _real(det, det.shape))


def _infer_qr(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_matrices(types)
    need(attrs["mode"] in ("reduced", "complete"), f"mode={attrs['mode']!r} is no mode of qr")
    (a,) = types
    *batch, m, n = a.shape
    k = m if attrs["mode"] == "complete" else minimum(m, n)
    return (a.with_shape((*batch, m, k)), a.with_shape((*batch, k, n)))


def _infer_svd(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_matrices(types)
    (a,) = types
    *batch, m, n = a.shape
    k = minimum(m, n)
    left, right = (m, n) if attrs["full_matrices"] else (k, k)
    return (
        a.with_shape((*batch, m, left)),
        _real(a, (*batch, k)),
        a.with_shape((*batch, right, n)),
    )


def _infer_eigh(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (a,) = _infer_square(types, attrs)
    return (_real(a, a.shape[:-1]), a)


def _infer_eig(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (a,) = _infer_square(types, attrs)
    complex_ = a.dtype.to_complex()
    return (tensor_type(complex_, a.shape[:-1]), tensor_type(complex_, a.shape))


def _infer_pinv(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_matrices(types)
    (a,) = types
    return (a.with_shape((*a.shape[:-2], a.shape[-1], a.shape[-2])),)


def _infer_lstsq(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_matrices(types)
    a, b = types
    need(
        a.shape[:-1] == b.shape[:-1],
        f"the system {a} does not fit the right-hand side {b}",
    )
    batch = a.shape[:-2]
    solution = b.with_shape((*batch, a.shape[-1], b.shape[-1]))
    return (solution, tensor_type(i64, batch))


def _matrices(array: np.ndarray) -> list[np.ndarray]:
    """Every matrix of a batch."""
    return list(array.reshape(math.prod(array.shape[:-2]), *array.shape[-2:]))


_PADE = 13  # the order of the approximation
_REACH = 5.37  # up to this 1-norm it is as good as float64: Higham, table 2.3


def _matrix_exp(a: np.ndarray) -> np.ndarray:
    """Scaling and squaring with a Padé approximation (N. Higham, "The Scaling and Squaring Method
    for the Matrix Exponential Revisited", 2005)."""
    size = np.abs(a).sum(0).max(initial=0)
    if not np.isfinite(size):
        return np.full_like(a, np.nan)
    squarings = max(0, int(np.ceil(np.log2(size / _REACH)))) if size else 0
    a = a / 2.0**squarings
    square, power = a @ a, np.eye(len(a), dtype=a.dtype)
    even, odd, share = np.zeros_like(a), np.zeros_like(a), 1.0
    for k in range(_PADE + 1):
        if k % 2:
            odd = odd + share * power
            power = power @ square
        else:
            even = even + share * power
        share *= (_PADE - k) / ((k + 1) * (2 * _PADE - k))
    odd = a @ odd
    found = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        found = found @ found
    return found


def _matrix_exps(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    (a,) = arrays
    wide = np.result_type(a.dtype, np.float64)
    found = [_matrix_exp(matrix.astype(wide)) for matrix in _matrices(a)]
    return [np.array(found, wide).reshape(a.shape).astype(a.dtype)]


def _eig(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    complex_ = np.result_type(arrays[0].dtype, np.complex64)
    return [part.astype(complex_) for part in np.linalg.eig(arrays[0])]


def _lstsq(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    a, b = arrays
    shape = (*a.shape[:-2], a.shape[-1], b.shape[-1])
    solved = [
        np.linalg.lstsq(x, y, rcond=attrs["rcond"])
        for x, y in zip(_matrices(a), _matrices(b), strict=True)
    ]
    solution = np.array([s[0] for s in solved], a.dtype).reshape(shape)
    rank = np.array([s[2] for s in solved], np.int64).reshape(a.shape[:-2])
    return [solution, rank]


def _cofactor(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    """det(U) det(V^H) U diag(product of the other singular values) V^H: right for singular
    matrices, too."""
    (a,) = arrays
    u, s, vh = np.linalg.svd(a)
    size = s.shape[-1]
    others = np.where(np.eye(size, dtype=bool), s.dtype.type(1), s[..., None, :]).prod(-1)
    phase = np.linalg.det(u) * np.linalg.det(vh)
    # conj(det A) A^-H has the conjugate phase.
    return [(np.conj(phase)[..., None, None] * (u * others[..., None, :]) @ vh).astype(a.dtype)]


def _host(
    name: str,
    infer: TypeRule,
    function: Callable[[Sequence[np.ndarray], Attrs], Sequence[np.ndarray]],
    doc: str,
    arity: int = 1,
    attributes: tuple[str, ...] = (),
) -> None:
    define(name, Kind.HOST, infer, function, doc, arity=arity, attributes=attributes)


_host(
    "linalg_solve", _infer_solve, lambda arrays, attrs: [np.linalg.solve(*arrays)],
    "The X with A X = B; A n x n, B n x k. A singular A is an error.", arity=2,
)  # fmt: skip
_host(
    "linalg_inv", _infer_square, lambda arrays, attrs: [np.linalg.inv(*arrays)],
    "The inverse of each matrix; a singular one is an error.",
)  # fmt: skip
_host(
    "linalg_det", _infer_det, lambda arrays, attrs: [np.asarray(np.linalg.det(*arrays))],
    "The determinant of each matrix.",
)  # fmt: skip
_host(
    "linalg_cofactor", _infer_square, _cofactor,
    "The conjugate matrix of cofactors, conj(det A) A^-H: the gradient of the determinant.",
)  # fmt: skip
_host(
    "linalg_slogdet", _infer_slogdet,
    lambda arrays, attrs: [np.asarray(part) for part in np.linalg.slogdet(*arrays)],
    "(sign, log of the absolute value) of the determinant of each matrix.",
)  # fmt: skip
_host(
    "linalg_cholesky", _infer_square, lambda arrays, attrs: [np.linalg.cholesky(*arrays)],
    "The lower triangular L with L L^H = A; reads the lower triangle of A.",
)  # fmt: skip
_host(
    "linalg_qr", _infer_qr,
    lambda arrays, attrs: list(np.linalg.qr(arrays[0], mode=attrs["mode"])),
    "(Q, R) with Q R = A, Q orthonormal columns, R upper triangular.", attributes=("mode",),
)  # fmt: skip
_host(
    "linalg_svd", _infer_svd,
    lambda arrays, attrs: list(np.linalg.svd(arrays[0], full_matrices=attrs["full_matrices"])),
    "(U, S, V^H) with U diag(S) V^H = A, S descending.", attributes=("full_matrices",),
)  # fmt: skip
_host(
    "linalg_eigh", _infer_eigh,
    lambda arrays, attrs: list(np.linalg.eigh(arrays[0], UPLO=attrs["uplo"])),
    "(eigenvalues ascending, eigenvectors as columns) of symmetric or Hermitian matrices; reads "
    "the triangle `uplo` (L or U).", attributes=("uplo",),
)  # fmt: skip
_host(
    "linalg_eig", _infer_eig, _eig,
    "(eigenvalues in no order, eigenvectors of norm 1 as columns), both complex.",
)  # fmt: skip
_host(
    "linalg_matrix_exp", _infer_square, _matrix_exps,
    "The sum of A^k / k! over all k.",
)  # fmt: skip
_host(
    "linalg_pinv", _infer_pinv,
    lambda arrays, attrs: [
        np.linalg.pinv(arrays[0], rcond=attrs["rtol"], hermitian=attrs["hermitian"])
    ],
    "The Moore-Penrose inverse; singular values up to `rtol` times the largest count as 0.",
    attributes=("rtol", "hermitian"),
)  # fmt: skip
_host(
    "linalg_lstsq", _infer_lstsq, _lstsq,
    "(X that minimises |A X - B|, of least norm; rank of A); `rcond` as in numpy.", arity=2,
    attributes=("rcond",),
)  # fmt: skip
