"""Gradients of decompositions and linear solves.

After M. Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008), and S. Walter and L. Lehmann, "Algorithmic Differentiation of
Linear Algebra Functions" (2010). X^H is the conjugate transpose, of a real matrix the transpose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...ir.dims import Dim
from ...ir.dtypes import i64
from ...ir.graph import Node, Value, full
from ...ir.ops.base import OPS
from ...ir.ops.contraction import DOT_GENERAL
from ...ir.ops.elementwise import CAST, EQ, GT, REAL, WHERE
from ...ir.ops.source import IOTA
from ...ir.ops.view import BROADCAST, SLICE
from ...ir.types import TensorType
from .rule import Cotangent, GradientError, NotDifferentiable, Rule, conj, sole, transposed, zeros

Cotangents = Sequence[Value | None]


# --------------------------------------------------------------------------- matrices of values


def adjoint(a: Value) -> Value:
    """The conjugate transpose of each matrix."""
    ndim = a.type.ndim
    return conj(transposed(a, (*range(ndim - 2), ndim - 1, ndim - 2)))


def matmul(*factors: Value) -> Value:
    """The product of matrices with one batch shape."""
    left, *rest = factors
    for right in rest:
        ndim = left.type.ndim
        batch = tuple(range(ndim - 2))
        left = DOT_GENERAL(
            left, right, lhs_contract=(ndim - 1,), rhs_contract=(ndim - 2,),
            lhs_batch=batch, rhs_batch=batch,
        )  # fmt: skip
    return left


def _columns(vector: Value, shape: Sequence[Dim]) -> Value:
    """`vector` (..., n) along the columns of matrices (..., m, n) of `shape`."""
    last = vector.type.ndim - 1
    return BROADCAST(vector, shape=tuple(shape), dims=(*range(last), last + 1))


def _rows(vector: Value, shape: Sequence[Dim]) -> Value:
    """`vector` (..., m) along the rows of matrices (..., m, n) of `shape`."""
    return BROADCAST(vector, shape=tuple(shape), dims=tuple(range(vector.type.ndim)))


def _number(scalar: Value, shape: Sequence[Dim]) -> Value:
    """One number for each matrix (...) in every element of matrices of `shape`."""
    return BROADCAST(scalar, shape=tuple(shape), dims=tuple(range(scalar.type.ndim)))


def _as(value: Value, like: Value) -> Value:
    """Real numbers in the dtype of `like`."""
    dtype = like.type.dtype
    return value if value.type.dtype is dtype else CAST(value, dtype=dtype)


def _indices(type: TensorType) -> tuple[Value, Value]:
    """(row number, column number) of each element of matrices."""
    ndim = type.ndim
    row, column = (IOTA(shape=type.shape, axis=a, dtype=i64) for a in (ndim - 2, ndim - 1))
    return row, column


def _on_diagonal(value: Value, inside: Value) -> Value:
    """`inside` on the diagonal, `value` beside it."""
    return WHERE(EQ(*_indices(value.type)), inside, value)


def _lower(a: Value) -> Value:
    """The lower triangle of each matrix, its diagonal halved, and zeros above."""
    rows, columns = _indices(a.type)
    below = WHERE(GT(rows, columns), a, zeros(a.type))
    return WHERE(EQ(rows, columns), a * 0.5, below)


def _identity_less(a: Value) -> Value:
    """I - a."""
    return _on_diagonal(zeros(a.type), full(a.type, 1)) - a


def _inverse(a: Value) -> Value:
    return OPS["linalg_inv"](a)


def _solve(a: Value, b: Value) -> Value:
    return OPS["linalg_solve"](a, b)


def _or_zeros(cotangent: Value | None, like: Value) -> Value:
    return zeros(like.type) if cotangent is None else cotangent


# ---------------------------------------------------------------------------------------- rules


def _linalg_solve(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (a, _), (x,) = sole(cotangents), node.operands, node.results
    of_b = _solve(adjoint(a), g)
    return (lambda: -matmul(of_b, adjoint(x)), of_b)


def _linalg_inv(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    x = adjoint(node.results[0])
    return (-matmul(x, sole(cotangents), x),)


def _linalg_det(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    (a,) = node.operands
    return (_number(sole(cotangents), a.type.shape) * OPS["linalg_cofactor"](a),)


def _linalg_cofactor(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """With C = conj(det A) A^-H. First derivatives of the determinant are right for singular
    matrices; second ones need the inverse."""
    g, (a,), (c,) = sole(cotangents), node.operands, node.results
    inverse = _inverse(a)
    last = c.type.ndim
    # <g, C> = conj(det) tr(g^H A^-H): one part by the determinant, one by the inverse.
    trace = OPS["reduce_sum"](conj(g) * adjoint(inverse), axes=(last - 2, last - 1))
    by_det = _number(trace, c.type.shape) * c
    det = OPS["linalg_det"](a)
    by_inverse = matmul(adjoint(inverse), adjoint(g), adjoint(inverse))
    return (by_det - _number(conj(det), c.type.shape) * by_inverse,)


def _linalg_slogdet(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """The sign of a real determinant is flat; that of a complex one turns. The logarithm has no
    slope (NaN) where the matrix is singular."""
    (a,), (sign, _) = node.operands, node.results
    of_sign, of_log = cotangents
    factor = None if of_log is None else _as(of_log, a)
    if of_sign is not None and a.type.dtype.is_complex:
        # d sign = i sign Im(tr(A^-1 dA))
        turned = of_sign * conj(sign)
        imaginary = turned - _as(REAL(turned), a)
        factor = imaginary if factor is None else factor + imaginary
    if factor is None:
        return (None,)
    singular = _number(EQ(sign, zeros(sign.type)), a.type.shape)
    inverse = _inverse(WHERE(singular, _identity_less(zeros(a.type)), a))
    slope = WHERE(singular, full(a.type, math.nan), adjoint(inverse))
    return (_number(factor, a.type.shape) * slope,)


def _linalg_cholesky(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (low,) = sole(cotangents), node.results
    inner = _lower(matmul(adjoint(low), g))
    inverse = _inverse(low)
    outer = matmul(adjoint(inverse), inner, inverse)
    return ((outer + adjoint(outer)) * 0.5,)


def _linalg_qr(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    (a,), (q, r) = node.operands, node.results
    gq, gr = (_or_zeros(c, v) for c, v in zip(cotangents, (q, r), strict=True))
    rows, columns = a.type.shape[-2:]
    if q.type.shape[-1] == columns:
        return (_qr_tall(q, r, gq, gr),)
    if q.type.shape[-1] != rows or (node.attrs["mode"] == "complete" and _taller(rows, columns)):
        raise GradientError(
            f"the gradient of qr of {a.type} with mode={node.attrs['mode']!r} is not defined; "
            "mode='reduced' has one"
        )
    # A = [X | Y] with a square X: Q, U = qr(X), R = [U | Q^H Y].
    left, right = (0, rows), (rows, columns - rows)
    y = _cut(a, *right)
    gu, gv = _cut(gr, *left), _cut(gr, *right)
    of_x = _qr_tall(q, _cut(r, *left), gq + matmul(y, adjoint(gv)), gu)
    return (OPS["concat"](of_x, matmul(q, gv), axis=a.type.ndim - 1),)


def _taller(rows: Dim, columns: Dim) -> bool:
    return not (isinstance(rows, int) and isinstance(columns, int) and rows <= columns)


def _qr_tall(q: Value, r: Value, gq: Value, gr: Value) -> Value:
    m = matmul(r, adjoint(gr)) - matmul(adjoint(gq), q)
    half = _lower(m)
    symmetric = half + adjoint(half)
    # X R^-H, as the adjoint of R^-1 X^H.
    return adjoint(_solve(r, adjoint(gq + matmul(q, symmetric))))


def _cut(a: Value, start: Dim, size: Dim) -> Value:
    """`size` columns of each matrix."""
    ndim = a.type.ndim
    starts = (*(0 for _ in range(ndim - 1)), start)
    return SLICE(a, starts=starts, sizes=(*a.type.shape[:-1], size), steps=(1,) * ndim)


def _linalg_svd(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """Singular values must differ for the gradient through U and V."""
    (a,), (u, s, vh) = node.operands, node.results
    gu, gs, gvh = cotangents
    k = s.type.shape[-1]
    if node.attrs["full_matrices"]:
        u, vh = _cut(u, 0, k), adjoint(_cut(adjoint(vh), 0, k))
        gu = None if gu is None else _cut(gu, 0, k)
        gvh = None if gvh is None else adjoint(_cut(adjoint(gvh), 0, k))
    square = (*s.type.shape, k)
    inner = zeros(u.type.with_shape(square))
    if gs is not None:
        inner = _on_diagonal(inner, _as(_columns(gs, square), a))
    if gu is None and gvh is None:
        return (matmul(u, inner, vh),)
    columns, rows = _columns(s, square), _rows(s, square)
    gaps = _as(_on_diagonal(columns * columns - rows * rows, full(columns.type, 1)), a)
    wide, tall = _as(columns, a), _as(rows, a)
    total = None
    if gu is not None:
        inner = inner + _skew(matmul(adjoint(u), gu)) / gaps * wide
        if a.type.shape[-2] != k:
            scaled = gu / _as(_columns(s, gu.type.shape), a)
            total = matmul(_beside(u, scaled), vh)
    if gvh is not None:
        v, gv = adjoint(vh), adjoint(gvh)
        inner = inner + tall * (_skew(matmul(adjoint(v), gv)) / gaps)
        if a.type.shape[-1] != k:
            scaled = gv / _as(_columns(s, gv.type.shape), a)
            part = matmul(u, adjoint(_beside(v, scaled)))
            total = part if total is None else total + part
    if a.type.dtype.is_complex and gu is not None:
        # The common phase of a pair of singular vectors is free.
        turn = _lower_diagonal(matmul(adjoint(u), gu))
        inner = inner + (turn - adjoint(turn)) * 0.5 / wide
    core = matmul(u, inner, vh)
    return (core if total is None else core + total,)


def _skew(a: Value) -> Value:
    return _on_diagonal(a - adjoint(a), zeros(a.type))


def _lower_diagonal(a: Value) -> Value:
    return _on_diagonal(zeros(a.type), a)


def _beside(basis: Value, a: Value) -> Value:
    """The part of `a` that is orthogonal to the columns of `basis`."""
    return a - matmul(basis, matmul(adjoint(basis), a))


def _linalg_eigh(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """Eigenvalues must differ for the gradient through the vectors."""
    values, v = node.results
    of_values, of_vectors = cotangents
    inner = zeros(v.type)
    if of_vectors is not None:
        gaps = _columns(values, v.type.shape) - _rows(values, v.type.shape)
        gaps = _as(_on_diagonal(gaps, full(gaps.type, 1)), v)
        inner = matmul(adjoint(v), of_vectors) / gaps
        inner = _on_diagonal(inner, zeros(v.type))
    if of_values is not None:
        inner = _on_diagonal(inner, _as(_columns(of_values, v.type.shape), v))
    return (matmul(v, inner, adjoint(v)),)


def _linalg_eig(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """Eigenvalues must differ for the gradient through the vectors, whose norm is 1 and whose phase
    counts as fixed (C. Boeddeker et al., "On the Computation of Complex-valued Gradients", 2017).
    """
    (a,), (values, v) = node.operands, node.results
    of_values, of_vectors = cotangents
    inner, back = zeros(v.type), adjoint(v)
    if of_vectors is not None:
        gaps = conj(_columns(values, v.type.shape) - _rows(values, v.type.shape))
        moved = matmul(back, of_vectors)
        stretched = _as(REAL(_lower_diagonal(moved)), v)
        inner = moved - matmul(back, v, stretched)
        inner = inner / _on_diagonal(gaps, full(gaps.type, 1))
        inner = _on_diagonal(inner, zeros(v.type))
    if of_values is not None:
        inner = _on_diagonal(inner, _columns(of_values, v.type.shape))
    found = _solve(back, matmul(inner, back))
    return (found if a.type.dtype.is_complex else REAL(found),)


def _linalg_matrix_exp(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """The derivative along G is a block of the exponential of [[A, G], [0, A]] (R. Mathias, "A
    Chain Rule for Matrix Functions and Applications", 1996)."""
    g, (a,) = sole(cotangents), node.operands
    turned, last = adjoint(a), a.type.ndim - 1
    upper = OPS["concat"](turned, g, axis=last)
    lower = OPS["concat"](zeros(a.type), turned, axis=last)
    whole = OPS["linalg_matrix_exp"](OPS["concat"](upper, lower, axis=last - 1))
    size = a.type.shape[-1]
    rows = SLICE(
        whole, starts=(0,) * whole.type.ndim, steps=(1,) * whole.type.ndim,
        sizes=(*whole.type.shape[:-2], size, whole.type.shape[-1]),
    )  # fmt: skip
    return (_cut(rows, size, size),)


def _linalg_pinv(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """For matrices of locally constant rank (Golub and Pereyra, 1973)."""
    (a,), (p,) = node.operands, node.results
    return (_of_pinv(sole(cotangents), a, p),)


def _of_pinv(g: Value, a: Value, p: Value) -> Value:
    ph, gh = adjoint(p), adjoint(g)
    direct = -matmul(ph, g, ph)
    rows = matmul(_identity_less(matmul(a, p)), gh, p, ph)
    columns = matmul(ph, p, gh, _identity_less(matmul(p, a)))
    return direct + rows + columns


def _linalg_lstsq(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """X = pinv(A) B."""
    g, (a, b) = cotangents[0], node.operands
    if g is None:
        return (None, None)
    p = OPS["linalg_pinv"](a, rtol=None, hermitian=False)

    return (lambda: _of_pinv(matmul(g, adjoint(b)), a, p), lambda: matmul(adjoint(p), g))


LINALG: dict[str, Rule | NotDifferentiable] = {
    "linalg_solve": _linalg_solve,
    "linalg_inv": _linalg_inv,
    "linalg_det": _linalg_det,
    "linalg_cofactor": _linalg_cofactor,
    "linalg_slogdet": _linalg_slogdet,
    "linalg_cholesky": _linalg_cholesky,
    "linalg_qr": _linalg_qr,
    "linalg_svd": _linalg_svd,
    "linalg_eigh": _linalg_eigh,
    "linalg_eig": _linalg_eig,
    "linalg_matrix_exp": _linalg_matrix_exp,
    "linalg_pinv": _linalg_pinv,
    "linalg_lstsq": _linalg_lstsq,
}
