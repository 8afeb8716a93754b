"""Distributions of numbers from a range."""

from __future__ import annotations

import math
from typing import Any

from ..functions.creation import full_like
from ..functions.math import clamp, exp, floor, log, log1p, where
from ..functions.random import rand
from ..tensor import Tensor
from .arguments import hold, inside, logits_of, one_of, positive, together, unit
from .discrete import Bernoulli
from .distribution import Distribution


class Uniform(Distribution):
    """Uniform numbers in [low, high)."""

    has_rsample = True
    _parameters = ("low", "high")

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = together(low, high)
        super().__init__(self.low.shape, (), validate_args)
        if self._validate_args:
            hold("high - low of Uniform", self.high - self.low, positive, "positive")

    def _possible(self, value: Tensor) -> Tensor:
        return (value >= self.low) & (value <= self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return full_like(self.low, math.nan)

    @property
    def variance(self) -> Tensor:
        width = self.high - self.low
        return width * width / 12

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = rand(
            self._extended_shape(sample_shape), dtype=self.low.dtype, device=self.low.device
        )
        return self.low + drawn * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._checked(value)
        is_in = (value >= self.low) & (value < self.high)
        return where(is_in, -log(self.high - self.low), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        return clamp((self._checked(value) - self.low) / (self.high - self.low), 0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return self.low + value * (self.high - self.low)

    def entropy(self) -> Tensor:
        return log(self.high - self.low)


class Exponential(Distribution):
    """The density rate * exp(-rate * x) of x >= 0."""

    has_rsample = True
    _parameters = ("rate",)

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = together(rate)
        super().__init__(self.rate.shape, (), validate_args)
        if self._validate_args:
            hold("the rate of Exponential", self.rate, positive, "positive")

    def _possible(self, value: Tensor) -> Tensor:
        return value >= 0

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def mode(self) -> Tensor:
        return full_like(self.rate, 0)

    @property
    def variance(self) -> Tensor:
        return 1 / (self.rate * self.rate)

    @property
    def stddev(self) -> Tensor:
        return 1 / self.rate

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = rand(
            self._extended_shape(sample_shape), dtype=self.rate.dtype, device=self.rate.device
        )
        return -log1p(-drawn) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        return log(self.rate) - self.rate * self._checked(value)

    def cdf(self, value: Tensor) -> Tensor:
        return 1 - exp(-self.rate * self._checked(value))

    def icdf(self, value: Tensor) -> Tensor:
        return -log1p(-value) / self.rate

    def entropy(self) -> Tensor:
        return 1 - log(self.rate)


class Geometric(Distribution):
    """How many trials with probability `probs` fail before the first that does not: 0, 1, 2 ..."""

    _parameters = ("probs",)

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        one_of("Geometric", probs, logits)
        if probs is None:
            (given,) = together(logits)
            self.probs = given.sigmoid()
        else:
            (self.probs,) = together(probs)
        super().__init__(self.probs.shape, (), validate_args)
        if self._validate_args:
            hold("the probs of Geometric", self.probs, lambda p: unit(p) & (p > 0), "in (0, 1]")

    @property
    def logits(self) -> Tensor:
        """log(p / (1 - p))."""
        return logits_of(self.probs)

    def _possible(self, value: Tensor) -> Tensor:
        return (value >= 0) & (value == floor(value))

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return full_like(self.probs, 0)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        probs = self.probs.detach()
        drawn = rand(self._extended_shape(sample_shape), dtype=probs.dtype, device=probs.device)
        # 1 - u is in (0, 1], and log1p(-1) of a sure success -inf: 0 trials fail.
        return floor(log1p(-drawn) / log1p(-probs))

    def log_prob(self, value: Tensor) -> Tensor:
        value, probs = self._checked(value), self.probs
        kept = where((probs == 1) & (value == 0), 0.0, probs)
        return value * log1p(-kept) + log(probs)

    def entropy(self) -> Tensor:
        return Bernoulli(inside(self.probs), validate_args=False).entropy() / self.probs
