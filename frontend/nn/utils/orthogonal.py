"""Weights that are orthogonal (unitary) matrices."""

from __future__ import annotations

import numpy as np

from ...context import ambient, setting
from ...errors import ArgumentError, ShapeError, UnsupportedError
from ...functions.creation import eye, tril, triu, zeros_like
from ...functions.joining import cat
from ...functions.math import abs, le, sgn
from ...functions.random import randn
from ...functions.reduction import all
from ...functions.shape import diagonal, matrix_transpose
from ...linalg.arguments import adjoint
from ...linalg.decompositions import matrix_exp, qr
from ...linalg.systems import solve
from ...moves import beside
from ...tensor import Tensor, elements
from ..module import Module
from .parametrize import register_parametrization

MAPS = ("matrix_exp", "cayley", "householder")


class Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, where there are fewer) of any matrix.

    "matrix_exp": exp(A) with A = L - L^H of the lower triangle L; "cayley": (I + A/2)(I - A/2)^-1;
    "householder": a product of reflections along the columns below the diagonal, whose sign is that
    of the diagonal. With a trivialization (Lezcano-Casado, 2019) it is a factor beside the buffer
    `base`.
    """

    base: Tensor | None

    def __init__(self, weight: Tensor, map: str, use_trivialization: bool) -> None:
        super().__init__()
        if weight.dtype.is_complex and map == "householder":
            raise ArgumentError("orthogonal: the householder map takes no complex matrices")
        self.shape = tuple(weight.shape)
        self.map = map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        rows, columns = X.shape[-2:]
        is_wide = rows < columns
        if is_wide:
            X = matrix_transpose(X)
        Q = _reflected(X) if self.map == "householder" else self._mapped(X)
        base = self._buffers.get("base")
        if base is not None:
            Q = base @ Q
        return matrix_transpose(Q) if is_wide else Q

    def _mapped(self, X: Tensor) -> Tensor:
        rows, columns = X.shape[-2:]
        X = tril(X)
        if rows != columns:
            X = cat([X, X.new_zeros((*X.shape[:-2], rows, rows - columns))], -1)
        A = X - adjoint(X)
        if self.map == "matrix_exp":
            Q = matrix_exp(A)
        else:
            one = eye(rows, dtype=A.dtype, device=A.device)
            Q = solve(one - A * 0.5, one + A * 0.5)
        return Q if rows == columns else Q[..., :columns]

    def right_inverse(self, Q: Tensor) -> Tensor:
        if tuple(Q.shape) != self.shape:
            raise ShapeError(f"expected a matrix {list(self.shape)}, got {list(Q.shape)}")
        rows, columns = Q.shape[-2:]
        matrix = matrix_transpose(Q) if rows < columns else Q
        with setting(grad_enabled=False):
            if "base" not in self._buffers:
                found = self._factors(matrix)
                return matrix_transpose(found) if rows < columns else found
            self.base = _completed(matrix)
            made = zeros_like(Q)
            diagonal(made, 0, -2, -1).fill_(-1)  # its lower triangle gives -1 times the base's
            return made

    def _factors(self, Q: Tensor) -> Tensor:
        """What the householder map makes `Q` of."""
        if self.map != "householder":
            raise UnsupportedError(
                f"a matrix cannot be assigned to the {self.map!r} map without a trivialization",
                hint="give use_trivialization=True, or orthogonal_map='householder'",
            )
        if ambient.trace is not None:
            raise UnsupportedError("an orthogonal weight is assigned in a compiled function")
        array = elements(Q.detach())
        packed, scales = np.linalg.qr(array, mode="raw")
        found = np.array(np.swapaxes(packed, -1, -2), array.dtype, order="C")
        index = np.arange(found.shape[-1])
        signs = np.sign(found[..., index, index])
        # A reflection that LAPACK leaves out is one along an axis here.
        found[..., index, index] = np.where(scales == 0, -signs, signs)
        return beside(found, Q)


def _reflected(X: Tensor) -> Tensor:
    """The product of I - 2 v v^T / |v|^2 over the columns v of the unit lower triangle of X, in the
    compact form I - V T V^T with T^-1 = triu(V^T V, 1) + diag(V^T V) / 2 (R. Schreiber and C. Van
    Loan, 1989); times the diagonal of X, which has no gradient."""
    rows, columns = X.shape[-2:]
    one = eye(rows, columns, dtype=X.dtype, device=X.device)
    V = tril(X, -1) + one
    turned = matrix_transpose(V)
    inner = turned @ V
    T = triu(inner, 1) + diagonal_only(inner) * 0.5
    Q = one - V @ solve(T, matrix_transpose(V[..., :columns, :]))
    return Q * diagonal(X.detach(), 0, -2, -1).unsqueeze(-2).trunc()


def diagonal_only(a: Tensor) -> Tensor:
    """The matrices with zeros beside the diagonal."""
    return a * eye(a.shape[-1], dtype=a.dtype, device=a.device)


def _completed(Q: Tensor) -> Tensor:
    """An orthogonal matrix whose first columns are those of `Q`, made orthonormal if need be."""
    rows, columns = Q.shape[-2:]
    if rows == columns:
        return Q.clone() if _is_orthogonal(Q) else _orthonormal(Q)
    more = randn(*Q.shape[:-2], rows, rows - columns, dtype=Q.dtype, device=Q.device)
    return _orthonormal(cat([Q, more], -1))


def _orthonormal(a: Tensor) -> Tensor:
    Q, R = qr(a)
    return Q * sgn(diagonal(R, 0, -2, -1)).unsqueeze(-2)


def _is_orthogonal(Q: Tensor) -> bool:
    one = eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
    eps = 10 * Q.shape[-1] * float(np.finfo(Q.dtype.numpy).eps)
    return bool(all(le(abs(adjoint(Q) @ Q - one), eps)))


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a weight orthogonal: its columns, or rows where there are fewer of them, are
    orthonormal; see `Orthogonal`. The map is by default "matrix_exp" for square and complex
    matrices, "householder" for others.

    Raises:
        ArgumentError: the module has no such parameter, or the map is none of the three.
        ShapeError: the parameter is no matrix, nor a batch of them.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"{type(module).__name__} has no parameter or buffer {name!r}")
    if weight.ndim < 2:
        raise ShapeError(f"orthogonal takes a matrix or a batch of them, got {weight.spec}")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1] or weight.dtype.is_complex
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in MAPS:
        raise ArgumentError(f"orthogonal_map={orthogonal_map!r} is none of {', '.join(MAPS)}")
    made = Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
