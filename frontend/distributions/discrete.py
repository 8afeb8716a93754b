"""Distributions over yes and no, and over classes."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ShapeError
from ..functions.creation import arange, full_like, one_hot
from ..functions.info import finfo
from ..functions.math import clamp, exp, log, log1p, where
from ..functions.random import bernoulli, rand
from ..functions.reduction import argmax, sum
from ..functions.select import gather
from ..functions.shape import broadcast_to
from ..functions.statistics import logsumexp
from ..nn.functional import binary_cross_entropy_with_logits
from ..tensor import Tensor
from .arguments import hold, logits_of, one_of, real, together, unit
from .distribution import Distribution


class Bernoulli(Distribution):
    """1 with probability `probs`, else 0; or by `logits` = log(p / (1 - p)).

    Raises:
        ArgumentError: not exactly one of the two is given, or a probability is not in [0, 1].
    """

    has_enumerate_support = True
    _parameters = ("probs", "logits")

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        one_of("Bernoulli", probs, logits)
        if probs is None:
            (self.logits,) = together(logits)
            self.probs = self.logits.sigmoid()
        else:
            (self.probs,) = together(probs)
            self.logits = logits_of(self.probs)
        super().__init__(self.probs.shape, (), validate_args)
        if self._validate_args:
            hold("the probs of Bernoulli", self.probs, unit, "in [0, 1]")

    def _possible(self, value: Tensor) -> Tensor:
        return (value == 0) | (value == 1)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        likely = (self.probs >= 0.5).to(self.probs.dtype)
        return where(self.probs == 0.5, math.nan, likely)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return bernoulli(broadcast_to(self.probs.detach(), self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        value, logits = together(self._checked(value), self.logits)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return _listed(
            arange(2, dtype=self.probs.dtype, device=self.probs.device), self._batch_shape, expand
        )


def _listed(values: Tensor, batch_shape: Any, expand: bool) -> Tensor:
    """Values along a new first axis, alike for the whole batch."""
    found = values.reshape(-1, *(1 for _ in batch_shape))
    return found.expand(-1, *batch_shape) if expand else found


class Categorical(Distribution):
    """A class 0 ... K - 1, by `probs` (..., K), which are divided by their sum, or by `logits`, the
    logarithms of probabilities up to a constant.

    Raises:
        ArgumentError: not exactly one of the two is given, or a probability is negative.
        ShapeError: they have no axis.
    """

    has_enumerate_support = True
    _parameters = ("probs", "logits")
    _axes = 1

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name = type(self).__name__
        one_of(name, probs, logits)
        (given,) = together(logits if probs is None else probs)
        if given.ndim < 1:
            raise ShapeError(f"{name} takes an axis of classes, got a 0-d tensor")
        if probs is None:
            self.logits = given - logsumexp(given, -1, keepdim=True)
            self.probs = exp(self.logits)
        else:
            self.probs = given / sum(given, -1, keepdim=True)
            eps = finfo(given.dtype).eps
            self.logits = log(clamp(self.probs, eps, 1 - eps))
        super().__init__(given.shape[:-1], (), validate_args)
        if self._validate_args:
            wanted = (unit, "in [0, 1]") if probs is not None else (real, "numbers")
            hold(f"the {'logits' if probs is None else 'probs'} of {name}",
                 self.probs if probs is not None else self.logits, *wanted)  # fmt: skip

    @property
    def _count(self) -> Any:
        return self.probs.shape[-1]

    @property
    def param_shape(self) -> Any:
        """The shape of `probs`."""
        return self.probs.shape

    def _possible(self, value: Tensor) -> Tensor:
        return (value >= 0) & (value < self._count) & (value == value.long())

    @property
    def mean(self) -> Tensor:
        return full_like(self.probs[..., 0], math.nan)

    @property
    def mode(self) -> Tensor:
        return argmax(self.probs, -1)

    @property
    def variance(self) -> Tensor:
        return full_like(self.probs[..., 0], math.nan)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        # Which of exponential times with rates p ends first: class k with probability p[k].
        probs = self.probs.detach()
        shape = (*sample_shape, *self._batch_shape, self._count)
        times = -log1p(-rand(shape, dtype=probs.dtype, device=probs.device))
        return argmax(where(probs > 0, probs / clamp(times, min=finfo(probs.dtype).tiny), -1.0), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._of(self._checked(value).long())

    def _of(self, classes: Tensor) -> Tensor:
        shape = (classes + self.logits[..., 0].detach()).shape  # as they broadcast
        logits = broadcast_to(self.logits, (*shape, self._count))
        index = broadcast_to(classes, tuple(shape)).unsqueeze(-1)
        return gather(logits, -1, index).squeeze(-1)

    def entropy(self) -> Tensor:
        return -sum(self.probs * clamp(self.logits, min=finfo(self.logits.dtype).min), -1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return _listed(arange(self._count, device=self.logits.device), self._batch_shape, expand)


class OneHotCategorical(Categorical):
    """As `Categorical`, with draws that are 1 at the class and 0 at the others: an axis more."""

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(probs, logits, validate_args)
        self._event_shape = type(self._batch_shape)((self._count,))

    def _possible(self, value: Tensor) -> Tensor:
        return (((value == 0) | (value == 1)).all(-1)) & (value.sum(-1) == 1)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._hot(argmax(self.probs, -1))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _hot(self, classes: Tensor) -> Tensor:
        return one_hot(classes, self._count).to(self.probs.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._hot(super().sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return self._of(argmax(self._checked(value), -1))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        classes = super().enumerate_support(expand)
        return self._hot(classes)


__all__ = ["Bernoulli", "Categorical", "OneHotCategorical"]
