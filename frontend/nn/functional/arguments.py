"""How the functions of neural networks read their arguments."""

from __future__ import annotations

from collections.abc import Sequence
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


def check_windows(
    name: str,
    shape: Sequence[Any],
    sizes: Sequence[Any],
    strides: Sequence[Any],
    dilations: Sequence[Any],
    padding: Sequence[tuple[Any, Any]],
) -> None:
    """Whether windows of these sizes lie within axes of these sizes, padded before and after. Sizes
    that are symbols are not looked at.

    Raises:
        ArgumentError: a stride or dilation is less than 1.
        ShapeError: a window is larger than its axis.
    """
    for what, numbers in (("stride", strides), ("dilation", dilations)):
        if any(isinstance(n, int) and n < 1 for n in numbers):
            raise ArgumentError(f"{name}: {what}={tuple(numbers)} is not at least 1")
    for k, (size, window) in enumerate(zip(shape, sizes, strict=True)):
        whole, reach = size + sum(padding[k]), dilations[k] * (window - 1) + 1
        if isinstance(whole, int) and isinstance(reach, int) and whole < reach:
            raise ShapeError(
                f"{name}: a window of {reach} elements is larger than an axis of {whole}",
                hint="both with dilation and padding; pad the input or use a smaller kernel",
            )


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
