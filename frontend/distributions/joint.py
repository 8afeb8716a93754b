"""Distributions of vectors, and of several numbers as one draw."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, ShapeError
from ..functions.assembling import broadcast_shapes
from ..functions.math import log
from ..functions.random import randn
from ..functions.reduction import sum
from ..functions.shape import broadcast_to, diagonal, matrix_transpose
from ..linalg.decompositions import cholesky
from ..linalg.systems import inv, solve_triangular
from ..tensor import Tensor
from .arguments import hold, positive, real
from .distribution import LOG_2PI, Distribution


class Independent(Distribution):
    """`base` with the last `reinterpreted_batch_ndims` axes of its batch as axes of one draw, whose
    log_prob is the sum of theirs.

    Raises:
        ArgumentError: the batch has fewer axes.
    """

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        base, count = base_distribution, reinterpreted_batch_ndims
        if not 0 <= count <= len(base.batch_shape):
            raise ArgumentError(
                f"Independent: {count} axes of a batch {list(base.batch_shape)} are no draw"
            )
        self.base_dist, self.reinterpreted_batch_ndims = base, count
        kept = len(base.batch_shape) - count
        event = (*base.batch_shape[kept:], *base.event_shape)
        super().__init__(base.batch_shape[:kept], event, validate_args)
        self.has_rsample = base.has_rsample

    def expand(self, batch_shape: Any) -> Independent:
        count = self.reinterpreted_batch_ndims
        events = self.event_shape[:count]
        return Independent(self.base_dist.expand((*batch_shape, *events)), count,
                           self._validate_args)  # fmt: skip

    def _total(self, value: Tensor) -> Tensor:
        axes = [-k - 1 for k in range(self.reinterpreted_batch_ndims)]
        return sum(value, axes) if axes else value

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._total(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._total(self.base_dist.entropy())

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


class MultivariateNormal(Distribution):
    """Normal vectors with mean `loc` (..., n), and one of: `covariance_matrix`, its inverse
    `precision_matrix`, its Cholesky factor `scale_tril`, all (..., n, n).

    Raises:
        ArgumentError: not exactly one of the three is given.
        ShapeError: `loc` has no axis, or a matrix fewer than two.
        LinAlgError: a matrix is not positive definite.
    """

    has_rsample = True
    _parameters = ("loc", "scale_tril")

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = [m for m in (covariance_matrix, precision_matrix, scale_tril) if m is not None]
        if len(given) != 1:
            raise ArgumentError(
                "MultivariateNormal takes exactly one of covariance_matrix, precision_matrix and "
                "scale_tril"
            )
        if loc.ndim < 1 or given[0].ndim < 2:
            raise ShapeError(f"MultivariateNormal of {loc.spec} and {given[0].spec}",
                             hint="loc has an axis or more, the matrix two or more")  # fmt: skip
        if precision_matrix is not None:
            factor = cholesky(inv(precision_matrix))
        else:
            factor = given[0] if scale_tril is not None else cholesky(given[0])
        batch = broadcast_shapes(tuple(loc.shape[:-1]), tuple(factor.shape[:-2]))
        size = loc.shape[-1]
        self.loc = broadcast_to(loc, (*batch, size))
        self.scale_tril = broadcast_to(factor, (*batch, size, size))
        super().__init__(batch, (size,), validate_args)
        if self._validate_args:
            hold("the loc of MultivariateNormal", self.loc, real, "real numbers")
            hold("the diagonal of scale_tril", self._diagonal(), positive, "positive")

    def expand(self, batch_shape: Any) -> MultivariateNormal:
        size = self.event_shape[0]
        return MultivariateNormal(
            self.loc.expand(*batch_shape, size),
            scale_tril=self.scale_tril.expand(*batch_shape, size, size),
            validate_args=False,
        )

    def _diagonal(self) -> Tensor:
        return diagonal(self.scale_tril, 0, -2, -1)

    @property
    def covariance_matrix(self) -> Tensor:
        """L L^T of the factor L = scale_tril."""
        return self.scale_tril @ matrix_transpose(self.scale_tril)

    @property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariances."""
        return inv(self.covariance_matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return sum(self.scale_tril * self.scale_tril, -1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = randn(
            self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device
        )
        return self.loc + (self.scale_tril @ drawn.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        away = (self._checked(value) - self.loc).unsqueeze(-1)
        z = solve_triangular(self.scale_tril, away, upper=False).squeeze(-1)
        size = self.event_shape[0]
        return -0.5 * (sum(z * z, -1) + size * LOG_2PI) - self._half_log_det()

    def _half_log_det(self) -> Tensor:
        return sum(log(self._diagonal()), -1)

    def entropy(self) -> Tensor:
        return 0.5 * self.event_shape[0] * (1 + LOG_2PI) + self._half_log_det()
