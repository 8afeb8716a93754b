"""How far numbers are off."""

from __future__ import annotations

from typing import Any

from ..construct import as_tensor
from ..context import no_grad
from ..errors import ArgumentError, ShapeError
from ..functions.math import where
from ..functions.reduction import mean, sum
from ..tensor import Tensor
from .arguments import Inputs, inputs, recorded, share


@no_grad()
def mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """The mean of the squared differences, of values [n] or [n, outputs].

    Args:
        multioutput: of several outputs the mean ("uniform_average"), each ("raw_values"), or the
            mean with these weights.

    >>> mean_squared_error([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0])
    0.375
    """
    given = _columns("mean_squared_error", y_true, y_pred, sample_weight)
    squares = (given.true - given.pred).square()
    return given.give(_combined("mean_squared_error", _means(squares, given), multioutput))


@no_grad()
def mean_absolute_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """The mean of the absolute differences. Arguments as of `mean_squared_error`.

    >>> mean_absolute_error([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0])
    0.5
    """
    given = _columns("mean_absolute_error", y_true, y_pred, sample_weight)
    differences = (given.true - given.pred).abs()
    return given.give(_combined("mean_absolute_error", _means(differences, given), multioutput))


@no_grad()
def r2_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """The share of the variance that the prediction explains: 1 at best, below 0 where the mean
    would do better.

    Args:
        multioutput: as of `mean_squared_error`, or "variance_weighted".
        force_finite: constant values give 1 if they are predicted exactly, else 0; without it NaN
            and minus infinity.

    >>> round(r2_score([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]), 6)
    0.948608
    """
    given = _columns("r2_score", y_true, y_pred, sample_weight)
    if not recorded() and given.true.shape[0] < 2:
        raise ShapeError("r2_score of one example: it has no variance")
    middle = _means(given.true, given)
    weights = given.weights[:, None]
    left = sum(weights * (given.true - given.pred).square(), 0)
    whole = sum(weights * (given.true - middle).square(), 0)
    if force_finite:
        score = 1 - share(left, whole, where(left == 0, 0.0, 1.0))
    else:
        score = 1 - left / whole
    if isinstance(multioutput, str) and multioutput == "variance_weighted":
        return given.give(share(sum(score * whole), sum(whole), mean(score)))
    return given.give(_combined("r2_score", score, multioutput))


def _columns(name: str, y_true: Any, y_pred: Any, sample_weight: Any) -> Inputs:
    given = inputs(name, y_true, y_pred, sample_weight, axes=2)
    true, pred = (t.double() for t in (given.true, given.pred))
    true, pred = (t[:, None] if t.ndim == 1 else t for t in (true, pred))
    if true.shape[1] != pred.shape[1]:
        raise ShapeError(f"{name} of {true.shape[1]} outputs and {pred.shape[1]} predicted ones")
    return given._replace(true=true, pred=pred)


def _means(values: Tensor, given: Inputs) -> Tensor:
    """By output, over the examples."""
    return sum(values * given.weights[:, None], 0) / sum(given.weights)


def _combined(name: str, values: Tensor, multioutput: Any) -> Tensor:
    if not isinstance(multioutput, str):
        weights = as_tensor(multioutput, device=values.device).double()
        if weights.ndim != 1 or weights.shape[0] != values.shape[0]:
            raise ShapeError(f"{name}: {weights.spec} weights of {values.shape[0]} outputs")
        return sum(values * weights) / sum(weights)
    if multioutput == "raw_values":
        return values
    if multioutput == "uniform_average":
        return mean(values)
    raise ArgumentError(f"{name}: multioutput={multioutput!r}")
