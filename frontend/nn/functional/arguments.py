"""How the functions of neural networks read their arguments."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeError


def per_axis(value: Any, count: int, name: str) -> tuple[Any, ...]:
    """One number for each of `count` axes, of one for all or of as many.

    Raises:
        ArgumentError: the number of numbers differs.
    """
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            return tuple(value) * count
        if len(value) != count:
            raise ArgumentError(f"{name}={value!r} has {len(value)} numbers for {count} axes")
        return tuple(value)
    return (value,) * count


def reduced(values: Any, reduction: str, name: str) -> Any:
    """A loss of each element joined as `reduction` says: "mean", "sum" or "none".

    Raises:
        ArgumentError: another reduction.
    """
    if reduction == "none":
        return values
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    raise ArgumentError(f"{name}: reduction={reduction!r} is not 'mean', 'sum' or 'none'")


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's former arguments `size_average` and `reduce` mean, where one of
    them is given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def mean_weighted(values: Any, weight: Any, reduction: str, name: str) -> Any:
    """As `reduced`, of values times weights, the mean being over the weights."""
    if weight is None:
        return reduced(values, reduction, name)
    if tuple(weight.shape) != tuple(values.shape):
        raise ShapeError(f"{name}: the weight is {weight.spec}, the loss {values.spec}")
    total = values * weight
    return total.sum() / weight.sum() if reduction == "mean" else reduced(total, reduction, name)
