"""The base of all distributions."""

from __future__ import annotations

import math
from typing import Any

from ..context import ambient, setting
from ..errors import ArgumentError, ShapeError, UnsupportedError
from ..functions.assembling import broadcast_shapes
from ..functions.math import exp, sqrt
from ..functions.reduction import all
from ..tensor import Size, Tensor


class Distribution:
    """Random numbers with a density (or probabilities), `batch_shape` of them at once; each draw
    has the shape `event_shape`.

    Attributes:
        has_rsample: whether `rsample` gives draws that the parameters have gradients of.
        has_enumerate_support: whether `enumerate_support` lists all possible draws.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = True
    _parameters: tuple[str, ...] = ()  # that `expand` expands
    _axes = 0  # the trailing ones of a parameter that are no batch

    def __init__(
        self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether parameters and values are checked where nothing else is said."""
        Distribution._validate_args = bool(value)

    @property
    def batch_shape(self) -> Size:
        """The shape of the parameters."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw."""
        return self._event_shape

    def expand(self, batch_shape: Any) -> Any:
        """The same distribution with another batch shape, which the present one broadcasts to."""
        made = type(self).__new__(type(self))
        vars(made).update(vars(self))
        for name in self._parameters:
            tensor: Tensor = getattr(self, name)
            own = tensor.shape[tensor.ndim - self._axes :] if self._axes else ()
            setattr(made, name, tensor.expand(*batch_shape, *own))
        made._batch_shape = Size(batch_shape)
        return made

    # Draws

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws of the shape sample_shape + batch_shape + event_shape, without gradients."""
        with setting(grad_enabled=False):
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws that the parameters have gradients of.

        Raises:
            UnsupportedError: the distribution has none (`has_rsample`).
        """
        raise UnsupportedError(
            f"{type(self).__name__} has no rsample()",
            hint="take sample(), and the gradient of log_prob()",
        )

    def _extended_shape(self, sample_shape: Any = ()) -> tuple[Any, ...]:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    # What is known of it

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density or probability at `value`, of the shape of the batch."""
        raise self._not_known("log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of draws up to `value`."""
        raise self._not_known("cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The number that draws are below with probability `value`."""
        raise self._not_known("icdf")

    def entropy(self) -> Tensor:
        """The mean of -log_prob of a draw."""
        raise self._not_known("entropy")

    def perplexity(self) -> Tensor:
        """exp(entropy())."""
        return exp(self.entropy())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All possible draws along a new first axis; without `expand` the batch axes are 1."""
        raise self._not_known("enumerate_support")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise self._not_known("mean")

    @property
    def mode(self) -> Tensor:
        """Where the density is largest."""
        raise self._not_known("mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise self._not_known("variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        return sqrt(self.variance)

    def _not_known(self, what: str) -> Exception:
        return UnsupportedError(f"{type(self).__name__} has no {what}")

    # Checks

    def _possible(self, value: Tensor) -> Tensor:
        """Where a value can be drawn."""
        return value == value

    def _checked(self, value: Any) -> Tensor:
        """A value that is asked about.

        Raises:
            ArgumentError: it is no tensor, or cannot be drawn.
            ShapeError: its shape does not fit.
        """
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise ArgumentError(f"{name}: the value is a {type(value).__name__}, not a tensor")
        if not self._validate_args:
            return value
        events = len(self._event_shape)
        if events and tuple(value.shape[value.ndim - events :]) != tuple(self._event_shape):
            raise ShapeError(
                f"{name}: a value {value.spec} does not end with the event shape "
                f"{list(self._event_shape)}"
            )
        broadcast_shapes(tuple(value.shape), self._extended_shape())
        if ambient.trace is None and not bool(all(self._possible(value.detach()))):
            raise ArgumentError(
                f"{name}: a value {value.spec} has elements that cannot be drawn",
                hint="validate_args=False checks nothing",
            )
        return value

    def __repr__(self) -> str:
        parts = []
        for name in self._parameters:
            tensor = getattr(self, name)
            parts.append(f"{name}: {tensor if tensor.ndim == 0 else list(tensor.shape)}")
        return f"{type(self).__name__}({', '.join(parts)})"


LOG_2PI = math.log(2 * math.pi)
