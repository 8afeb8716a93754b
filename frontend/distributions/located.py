"""Distributions of real numbers with a location and a scale."""

from __future__ import annotations

import math
from typing import Any

from ..functions.creation import full_like
from ..functions.info import finfo
from ..functions.math import abs, atan, erf, exp, expm1, log, log1p, sign, tan
from ..functions.random import rand, randn
from ..functions.special import erfinv
from ..tensor import Tensor
from .arguments import hold, positive, real, together
from .distribution import LOG_2PI, Distribution


class _Located(Distribution):
    """With parameters `loc` and `scale`."""

    has_rsample = True
    _parameters = ("loc", "scale")
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = together(loc, scale)
        super().__init__(self.loc.shape, (), validate_args)
        if self._validate_args:
            hold(f"the loc of {type(self).__name__}", self.loc, real, "real numbers")
            hold(f"the scale of {type(self).__name__}", self.scale, positive, "positive")

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def _standard(self, value: Tensor) -> Tensor:
        return (self._checked(value) - self.loc) / self.scale

    def _uniform(self, sample_shape: Any) -> Tensor:
        """Uniform in (0, 1), with neither end."""
        shape = self._extended_shape(sample_shape)
        drawn = rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        return drawn.clamp(min=finfo(self.loc.dtype).tiny)


class Normal(_Located):
    """The normal distribution with mean `loc` and standard deviation `scale`.

    Example:
        >>> import sley
        >>> normal = sley.distributions.Normal(0.0, 2.0)
        >>> normal.log_prob(sley.tensor(0.0))
        tensor(-1.6121)
    """

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale

    @property
    def stddev(self) -> Tensor:
        return self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = randn(
            self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device
        )
        return self.loc + drawn * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._standard(value)
        return -0.5 * (z * z) - log(self.scale) - 0.5 * LOG_2PI

    def cdf(self, value: Tensor) -> Tensor:
        return 0.5 * (1 + erf(self._standard(value) * math.sqrt(0.5)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * LOG_2PI + log(self.scale)


class LogNormal(_Located):
    """exp of a normal number with mean `loc` and standard deviation `scale`."""

    def _normal(self) -> Normal:
        return Normal(self.loc, self.scale, validate_args=False)

    def _possible(self, value: Tensor) -> Tensor:
        return value > 0

    @property
    def mean(self) -> Tensor:
        return exp(self.loc + 0.5 * self.scale * self.scale)

    @property
    def mode(self) -> Tensor:
        return exp(self.loc - self.scale * self.scale)

    @property
    def variance(self) -> Tensor:
        square = self.scale * self.scale
        return expm1(square) * exp(2 * self.loc + square)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return exp(self._normal().rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        logarithm = log(self._checked(value))
        return self._normal().log_prob(logarithm) - logarithm

    def cdf(self, value: Tensor) -> Tensor:
        return self._normal().cdf(log(self._checked(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return exp(self._normal().icdf(value))

    def entropy(self) -> Tensor:
        return self._normal().entropy() + self.loc


class Laplace(_Located):
    """The density exp(-|x - loc| / scale) / (2 scale)."""

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale * self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        centred = (
            2
            * rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
            - 1
        )
        size = abs(centred).clamp(max=1 - finfo(self.loc.dtype).eps)
        return self.loc - self.scale * sign(centred) * log1p(-size)

    def log_prob(self, value: Tensor) -> Tensor:
        return -abs(self._standard(value)) - log(2 * self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        z = self._standard(value)
        return 0.5 - 0.5 * sign(z) * expm1(-abs(z))

    def icdf(self, value: Tensor) -> Tensor:
        centred = value - 0.5
        return self.loc - self.scale * sign(centred) * log1p(-2 * abs(centred))

    def entropy(self) -> Tensor:
        return 1 + log(2 * self.scale)


class Cauchy(_Located):
    """The density 1 / (pi scale (1 + ((x - loc) / scale)^2)), which has no mean."""

    @property
    def mean(self) -> Tensor:
        return full_like(self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        return full_like(self.loc, math.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(self._uniform(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._standard(value)
        return -math.log(math.pi) - log(self.scale) - log1p(z * z)

    def cdf(self, value: Tensor) -> Tensor:
        return atan(self._standard(value)) / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * tan(math.pi * (value - 0.5))

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + log(self.scale)


class Gumbel(_Located):
    """The distribution function exp(-exp(-(x - loc) / scale))."""

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * _EULER

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale * (math.pi**2 / 6)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(self._uniform(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._standard(value)
        return -z - exp(-z) - log(self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        return exp(-exp(-self._standard(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * log(-log(value))

    def entropy(self) -> Tensor:
        return log(self.scale) + (1 + _EULER)


_EULER = 0.57721566490153286


class HalfNormal(Distribution):
    """The absolute value of a normal number with mean 0 and standard deviation `scale`."""

    has_rsample = True
    _parameters = ("scale",)

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = together(scale)
        super().__init__(self.scale.shape, (), validate_args)
        if self._validate_args:
            hold("the scale of HalfNormal", self.scale, positive, "positive")

    def _possible(self, value: Tensor) -> Tensor:
        return value >= 0

    def _normal(self) -> Normal:
        return Normal(0.0, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        return full_like(self.scale, 0)

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return abs(self._normal().rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        found = self._normal().log_prob(self._checked(value)) + math.log(2)
        return found.masked_fill(value < 0, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        return 2 * self._normal().cdf(self._checked(value)) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self._normal().icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self._normal().entropy() - math.log(2)
