"""Losses of distances, margins and densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...apply import elementwise
from ...autocast import autocasts
from ...composite import composite
from ...context import ambient
from ...errors import ArgumentError
from ...functions.math import (
    abs,
    add,
    clamp,
    eq,
    exp,
    gt,
    le,
    log,
    lt,
    minimum,
    mul,
    neg,
    sub,
    true_divide,
    where,
)
from ...functions.shape import unsqueeze
from ...tensor import Tensor, elements
from .arguments import legacy_reduction, mean_weighted, reduced
from .normalization import cosine_similarity, pairwise_distance


@composite
@autocasts
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)**2."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    gap = sub(input, target)
    loss = mul(gap, gap)
    return mean_weighted(loss, weight, reduction, "mse_loss")


@composite
@autocasts
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = abs(sub(input, target))
    return mean_weighted(loss, weight, reduction, "l1_loss")


@composite
@autocasts
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """(x - y)**2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2.

    Raises:
        ArgumentError: beta is negative.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta={beta} is negative")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    gap = sub(input, target)
    size = abs(gap)
    loss = where(lt(size, beta), mul(mul(gap, gap), 0.5 / beta), sub(size, 0.5 * beta))
    return reduced(loss, reduction, "smooth_l1_loss")


@composite
@autocasts
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)**2 / 2 where |x - y| <= delta, else delta * (|x - y| - delta / 2).

    Raises:
        ArgumentError: delta is not positive.
    """
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta={delta} is not positive")
    gap = sub(input, target)
    size = abs(gap)
    far = mul(sub(size, 0.5 * delta), delta)
    loss = where(le(size, delta), mul(mul(gap, gap), 0.5), far)
    return reduced(loss if weight is None else mul(loss, weight), reduction, "huber_loss")


@autocasts
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    cosine = cosine_similarity(input1, input2, -1)
    apart = clamp(sub(cosine, margin), min=0)
    loss = where(eq(target, 1), sub(1, cosine), where(eq(target, -1), apart, 0))
    return reduced(loss, reduction, "cosine_embedding_loss")


@autocasts
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin)."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = clamp(add(mul(neg(target), sub(input1, input2)), margin), min=0)
    return reduced(loss, reduction, "margin_ranking_loss")


@autocasts
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where the target is 1, max(0, margin - input) where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    apart = clamp(sub(margin, input), min=0)
    loss = where(eq(target, 1), input, where(eq(target, -1), apart, 0))
    return reduced(loss, reduction, "hinge_embedding_loss")


@autocasts
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin); `swap` takes |positive -
    negative| where that is smaller."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    loss = clamp(add(sub(near, far), margin), min=0)
    return reduced(loss, reduction, "triplet_margin_loss")


@autocasts
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - t x, of the logarithm x of the expected number; without `log_input` x - t log(x).
    `full` adds Stirling's approximation of log(t!)."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if log_input:
        loss = sub(exp(input), mul(target, input))
    else:
        loss = sub(input, mul(target, log(add(input, eps))))
    if full:
        many = gt(target, 1)
        safe = where(many, target, 1)
        stirling = add(sub(mul(safe, log(safe)), safe), mul(log(mul(safe, 2 * math.pi)), 0.5))
        loss = add(loss, where(many, stirling, 0))
    return reduced(loss, reduction, "poisson_nll_loss")


@autocasts
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (input - target)**2 / var) / 2; var counts as at least eps, without a gradient
    there. `full` adds the constant. `var` has the shape of the input, of which the last axis may
    be 1 or missing.

    Raises:
        ArgumentError: a variance is negative (eager, or a number).
    """
    known = not isinstance(var, Tensor) or ambient.trace is None
    if known and np.any(
        (elements(var.detach()) if isinstance(var, Tensor) else np.asarray(var)) < 0
    ):
        raise ArgumentError("gaussian_nll_loss: a variance is negative")
    if isinstance(var, Tensor) and var.ndim == input.ndim - 1:
        var = unsqueeze(var, -1)
    floor = elementwise("stop_gradient", clamp(var, min=eps))
    spread = add(var, sub(floor, elementwise("stop_gradient", var)))
    gap = sub(input, target)
    loss = mul(add(log(spread), true_divide(mul(gap, gap), spread)), 0.5)
    if full:
        loss = add(loss, 0.5 * math.log(2 * math.pi))
    return reduced(loss, reduction, "gaussian_nll_loss")
