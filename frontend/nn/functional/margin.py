"""Losses of margins, over classes and distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...apply import elementwise
from ...autocast import autocasts
from ...errors import ArgumentError, ShapeError
from ...functions.arguments import cast, reshaped, shape_of, spelled, with_ones
from ...functions.creation import iota
from ...functions.logic import logical_and
from ...functions.math import add, clamp, eq, lt, minimum, mul, neg, sub, true_divide, where
from ...functions.reduction import any, cumsum, mean, sum
from ...functions.special import log_sigmoid
from ...tensor import Tensor, here
from .activation import relu
from .arguments import legacy_reduction, reduced
from .classification import _ignored
from .normalization import pairwise_distance


def _batch(input: Tensor, target: Tensor, name: str) -> tuple[Tensor, Tensor, bool]:
    """[N, C] and its target, and whether there was an axis for the batch."""
    if input.ndim not in (1, 2):
        raise ShapeError(f"{name} of {here(input).spec}", hint="the input is [N, C] or [C]")
    if input.ndim == 2:
        return input, target, True
    return with_ones(input, (0,)), reshaped(target, [1, *target.shape]), False


@autocasts
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the other classes i of max(0, margin - x[y] + x[i]) ** p, times weight[y]: of
    scores [N, C] (or [C]) and class numbers [N].

    Raises:
        ArgumentError: p is neither 1 nor 2.
    """
    if p not in (1, 2):
        raise ArgumentError(f"multi_margin_loss: p={p} is neither 1 nor 2")
    reduction = legacy_reduction(size_average, reduce, reduction)
    x, y, batched = _batch(input, target, "multi_margin_loss")
    _ignored(x, y, -1, 1, "multi_margin_loss")
    sizes = [spelled(n) for n in shape_of(x)]
    hit = eq(iota(sizes, 1, here(y).spec.dtype), with_ones(y, (1,)))
    own = sum(where(hit, x, 0), 1, True)
    gap = clamp(add(sub(margin, own), x), min=0)
    gap = gap if p == 1 else mul(gap, gap)
    if weight is not None:
        gap = mul(gap, sum(where(hit, weight, 0), 1, True))
    loss = true_divide(sum(where(hit, 0, gap), 1), sizes[1])
    return reduced(loss if batched else loss[0], reduction, "multi_margin_loss")


@autocasts
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum over labels y and other classes i of max(0, 1 - x[y] + x[i]), over the number of
    classes: of scores [N, C] (or [C]) and labels of that shape, which end at the first -1.

    Raises:
        ShapeError: input and target have different shapes.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if shape_of(input) != shape_of(target):
        raise ShapeError(f"multilabel_margin_loss: {here(input).spec} and {here(target).spec}")
    x, y, batched = _batch(input, target, "multilabel_margin_loss")
    batch, classes = (spelled(n) for n in shape_of(x))
    valid = eq(cumsum(cast(lt(y, 0), here(y).spec.dtype), 1), 0)
    numbers = iota([batch, classes, classes], 2, here(y).spec.dtype)
    hit = logical_and(eq(numbers, with_ones(y, (2,))), with_ones(valid, (2,)))  # label, class
    own = sum(where(hit, with_ones(x, (1,)), 0), 2, True)
    other = elementwise("bit_not", any(hit, 1, True))
    gap = relu(add(sub(1, own), with_ones(x, (1,))))
    kept = where(logical_and(other, with_ones(valid, (2,))), gap, 0)
    loss = true_divide(sum(kept, (1, 2)), classes)
    return reduced(loss if batched else loss[0], reduction, "multilabel_margin_loss")


@autocasts
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes (the last axis) of the cross entropies of sigmoid(x) and targets in
    [0, 1], of one shape."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = neg(add(mul(target, log_sigmoid(input)), mul(sub(1, target), log_sigmoid(neg(input)))))
    loss = loss if weight is None else mul(loss, weight)
    return reduced(mean(loss, -1), reduction, "multilabel_soft_margin_loss")


@autocasts
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with distances by a function (`pairwise_distance` unless given)."""
    distance: Any = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    loss = clamp(add(sub(near, far), margin), min=0)
    return reduced(loss, reduction, "triplet_margin_with_distance_loss")
