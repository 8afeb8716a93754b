"""Parametrizations of weights: by their norm, spectral norm, or (`orthogonal.py`) as orthogonal
matrices."""

from __future__ import annotations

from ...context import setting
from ...errors import ArgumentError, ShapeError
from ...functions.arguments import reshaped
from ...functions.math import clamp, mul, true_divide
from ...functions.matrix import dot, mv
from ...functions.random import randn
from ...functions.shape import movedim, transpose
from ...functions.statistics import norm
from ...tensor import Tensor
from ..conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from .orthogonal import orthogonal
from .parametrize import register_parametrization


def norm_except(weight: Tensor, dim: int | None) -> Tensor:
    """The 2-norms of the slices of `weight` along `dim`, whose axis alone stays; of all for None
    or -1."""
    if dim is None or dim == -1:
        return norm(weight)
    axis = dim % weight.ndim
    return norm(weight, 2, [a for a in range(weight.ndim) if a != axis], keepdim=True)


class WeightNorm(Module):
    """weight = magnitude * direction / |direction|, norms being of slices along `dim`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, magnitude: Tensor, direction: Tensor) -> Tensor:
        return mul(direction, true_divide(magnitude, norm_except(direction, self.dim)))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train magnitude and direction of a weight apart (Salimans and Kingma, 2016):
    `parametrizations.weight.original0` and `original1`.

    Raises:
        ArgumentError: the module has no such parameter.
    """
    return register_parametrization(module, name, WeightNorm(dim), unsafe=True)


class SpectralNorm(Module):
    """weight / its largest singular value, which `n_power_iterations` steps of the power method
    (at each reading in training) estimate. The matrix has `dim` as its rows.

    Attributes:
        _u, _v: the estimated singular vectors.
    """

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if n_power_iterations <= 0:
            raise ArgumentError(f"spectral_norm: n_power_iterations={n_power_iterations}")
        if weight.ndim < 1:
            raise ShapeError("spectral_norm of a 0-d tensor")
        self.dim = dim % weight.ndim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim == 1:
            return
        with setting(grad_enabled=False):
            matrix = self._matrix(weight.detach())
            rows, columns = matrix.shape
            self.register_buffer(
                "_u", self._unit(randn(rows, dtype=weight.dtype, device=weight.device))
            )
            self.register_buffer(
                "_v", self._unit(randn(columns, dtype=weight.dtype, device=weight.device))
            )
            self._iterate(matrix, self._u, self._v, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        moved = weight if self.dim == 0 else movedim(weight, self.dim, 0)
        return reshaped(moved, [moved.shape[0], -1])

    def _unit(self, vector: Tensor) -> Tensor:
        return true_divide(vector, clamp(norm(vector), min=self.eps))

    def _iterate(
        self, matrix: Tensor, u: Tensor, v: Tensor, steps: int, u_first: bool = True
    ) -> None:
        """Better estimates of the singular vectors, in place."""
        left, right = u, v
        for _ in range(steps):
            if u_first:
                left = self._unit(mv(matrix, right))
            right = self._unit(mv(transpose(matrix, 0, 1), left))
            if not u_first:
                left = self._unit(mv(matrix, right))
        u.copy_(left)
        v.copy_(right)

    def normed(
        self, weight: Tensor, u: Tensor, v: Tensor, training: bool, u_first: bool = True
    ) -> Tensor:
        """The weight over its largest singular value; in training u and v are moved first."""
        matrix = self._matrix(weight)
        if training:
            with setting(grad_enabled=False):
                self._iterate(matrix.detach(), u, v, self.n_power_iterations, u_first)
        # A later reading writes the estimates, so what the gradient needs is a copy.
        sigma = dot(u.clone(), mv(matrix, v.clone()))
        return true_divide(weight, sigma)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return self._unit(weight)
        return self.normed(weight, self._u, self._v, self.training)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def rows_axis(module: Module, dim: int | None) -> int:
    """The axis of a module's weight that belongs to its outputs."""
    if dim is not None:
        return dim
    transposed = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
    return 1 if isinstance(module, transposed) else 0


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value (Miyato et al., 2018); see `SpectralNorm`.

    Raises:
        ArgumentError: the module has no such parameter.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"{type(module).__name__} has no parameter {name!r}")
    made = SpectralNorm(weight, n_power_iterations, rows_axis(module, dim), eps)
    return register_parametrization(module, name, made)


__all__ = ["orthogonal", "spectral_norm", "weight_norm"]
