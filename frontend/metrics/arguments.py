"""What the metrics take and give.

They take tensors, arrays and lists. With a tensor among them the result is a tensor of float64 (or
int64), also inside of a compiled function; otherwise a number or an array.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from ...ir.dtypes import f64
from ..construct import as_tensor
from ..context import ambient
from ..device import CPU, Device
from ..errors import ArgumentError, DTypeError, ShapeError, user_location
from ..functions.creation import ones
from ..functions.math import where
from ..functions.reduction import sum
from ..tensor import Tensor


class UndefinedMetricWarning(UserWarning):
    """A share of nothing: what was asked for is not defined, and a value was put in its place."""


class Inputs(NamedTuple):
    """The arguments of a metric as tensors.

    Attributes:
        weights: float64, one for each example; ones unless given.
        as_tensor: whether the result is to be a tensor.
    """

    true: Tensor
    pred: Tensor
    weights: Tensor
    as_tensor: bool

    def give(self, result: Tensor) -> Any:
        """The result as the caller wants it."""
        if self.as_tensor:
            return result
        return result.item() if result.ndim == 0 else result.numpy()


def inputs(name: str, y_true: Any, y_pred: Any, sample_weight: Any, axes: int = 1) -> Inputs:
    """The arguments with at most so many axes, of equal length.

    Raises:
        DTypeError: they are no numbers.
        ShapeError: other shapes.
    """
    given = (y_true, y_pred, sample_weight)
    # Arrays and lists go where the tensors lie.
    device = next((x.device for x in given if isinstance(x, Tensor)), CPU)
    true, pred = _numbers(name, y_true, device), _numbers(name, y_pred, device)
    if not 1 <= true.ndim <= axes or not 1 <= pred.ndim <= axes:
        raise ShapeError(
            f"{name} of {true.spec} and {pred.spec}", hint="one value for each example: x.flatten()"
        )
    count = true.shape[0]
    if count != pred.shape[0]:
        raise ShapeError(f"{name} of {count} true values and {pred.shape[0]} predicted ones")
    if sample_weight is None:
        weights = ones(count, dtype=f64, device=device)
    else:
        weights = _numbers(name, sample_weight, device).double()
        if weights.ndim != 1 or weights.shape[0] != count:
            raise ShapeError(f"{name}: sample_weight {weights.spec} of {count} examples")
    if not recorded() and count == 0:
        raise ShapeError(f"{name} of no examples")
    return Inputs(true, pred, weights, any(isinstance(x, Tensor) for x in given))


def recorded() -> bool:
    """Whether a function is being recorded: values are not known then."""
    return ambient.trace is not None


def _numbers(name: str, values: Any, device: Device) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"{name} of {array.dtype}", hint="give classes as numbers")
    return as_tensor(array, device=device)


def chosen(name: str, option: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse a value of an option that is not among the allowed ones."""
    if not any(value is choice or value == choice for choice in allowed):
        raise ArgumentError(f"{name}: {option}={value!r} is none of {allowed}")


def share(part: Tensor, whole: Tensor, otherwise: float | Tensor) -> Tensor:
    """part / whole; `otherwise` where the whole is 0."""
    empty = whole == 0
    return where(empty, otherwise, part / where(empty, 1.0, whole))


def warn_if(condition: Tensor, message: str) -> None:
    """Warn where any is true; values of a function that is recorded are not known."""
    if recorded() or not bool(condition.any()):
        return
    place = user_location()
    if place is None:
        warnings.warn(message, UndefinedMetricWarning, stacklevel=2)
    else:
        warnings.warn_explicit(message, UndefinedMetricWarning, place.file, place.line)


def averaged(values: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of the values that are numbers: weighted, unless all weights are 0."""
    known = values.isfinite()
    equal = sum(where(known, values, 0.0)) / sum(known.double())
    if weights is None:
        return equal
    counted = where(known, weights, 0.0)
    return share(sum(where(known, values, 0.0) * counted), sum(counted), equal)
