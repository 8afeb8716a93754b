"""Normalisations, dropouts and vectors of length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...autocast import autocasts
from ...composite import composite, updates
from ...context import setting
from ...errors import ArgumentError, ShapeError
from ...functions.arguments import array_names, cast, count_of, reshaped, shape_of, spelled
from ...functions.creation import zeros_like
from ...functions.info import finfo
from ...functions.math import add, clamp, mul, rsqrt, sub, true_divide, where
from ...functions.random import keep_mask
from ...functions.reduction import mean_over, sum, wide
from ...functions.shape import broadcast_tensors, constant_pad, unfold
from ...functions.statistics import norm
from ...inplace import update
from ...tensor import Tensor, here
from ...unwatched import unwatched


def _normalised(operand: Tensor, axes: tuple[int, ...], eps: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(variance + eps) over `axes`, with mean and (biased) variance."""
    centre = mean_over(operand, axes, True)
    offset = sub(operand, centre)
    variance = mean_over(mul(offset, offset), axes, True)
    return mul(offset, rsqrt(add(variance, eps))), centre, variance


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[Any]) -> Tensor:
    """x * weight + bias, these brought to `shape`."""
    if weight is not None:
        x = mul(x, cast(reshaped(weight, shape), here(x).spec.dtype))
    return x if bias is None else add(x, cast(reshaped(bias, shape), here(x).spec.dtype))


def _last_axes(input: Tensor, normalized_shape: Any, name: str) -> tuple[int, ...]:
    sizes = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (
        normalized_shape,
    )  # fmt: skip
    own = [spelled(n) for n in shape_of(input)]
    if len(sizes) > len(own) or not all(
        a == b for a, b in zip(sizes, own[len(own) - len(sizes) :], strict=True)
    ):
        raise ShapeError(
            f"{name}: {here(input).spec} does not end in the shape {list(sizes)}",
            hint="give the sizes of the last axes of the input",
        )
    return tuple(range(len(own) - len(sizes), len(own)))


@composite
@autocasts
@unwatched
def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The last axes normalised to mean 0 and variance 1, times weight plus bias (Ba et al., 2016);
    computed in float32 for the halves.

    Raises:
        ShapeError: `input` does not end in `normalized_shape`.
    """
    axes = _last_axes(input, normalized_shape, "layer_norm")
    result, _, _ = _normalised(wide(input), axes, eps)
    sizes = [spelled(shape_of(input)[a]) for a in axes]
    return cast(_affine(result, weight, bias, sizes), here(input).spec.dtype)


@composite
@autocasts
@unwatched
def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """The last axes divided by the root of their mean square, times weight (Zhang and Sennrich,
    2019); `eps` is that of the dtype unless given."""
    axes = _last_axes(input, normalized_shape, "rms_norm")
    operand = wide(input)
    epsilon = finfo(here(input).spec.dtype).eps if eps is None else eps
    scale = rsqrt(add(mean_over(mul(operand, operand), axes, True), epsilon))
    sizes = [spelled(shape_of(input)[a]) for a in axes]
    return cast(_affine(mul(operand, scale), weight, None, sizes), here(input).spec.dtype)


@composite
@autocasts
@unwatched
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """[N, C, ...] normalised over each of `num_groups` groups of channels (Wu and He, 2018).

    Raises:
        ShapeError: the channels do not divide into the groups.
    """
    if input.ndim < 2:
        raise ShapeError(f"group_norm of {here(input).spec}")
    batch, channels, *rest = (spelled(n) for n in shape_of(input))
    if channels % num_groups:
        raise ShapeError(f"group_norm: {channels} channels in {num_groups} groups")
    grouped = reshaped(wide(input), [batch, num_groups, channels // num_groups, *rest])
    result, _, _ = _normalised(grouped, tuple(range(2, grouped.ndim)), eps)
    flat = reshaped(result, [batch, channels, *rest])
    sizes = [channels] + [1] * len(rest)
    return cast(_affine(flat, weight, bias, sizes), here(input).spec.dtype)


@unwatched
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel (axis 1) normalised: in training by its own mean and variance, which also move
    the running ones (in place, by `momentum`), else by the running ones (Ioffe and Szegedy, 2015).

    Raises:
        ShapeError: fewer than 2 axes, or one value for each channel in training.
        ArgumentError: no running statistics and not training.
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm of {here(input).spec}")
    axes = (0, *range(2, input.ndim))
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("batch_norm without running statistics outside of training")
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    count = count_of(input, axes)
    if isinstance(count, int) and count == 1:
        raise ShapeError(f"batch_norm: one value for each channel in training, {list(input.shape)}")
    result, centre, variance = _by_batch(input, weight, bias, axes, eps)
    if running_mean is not None and running_var is not None:
        with setting(grad_enabled=False):
            _move(running_mean, centre, momentum)
            _move(running_var, variance, momentum)
    return result


@composite
def _by_batch(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, axes: tuple[int, ...], eps: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The result, and mean and unbiased variance of each channel."""
    sizes = [spelled(shape_of(input)[1])] + [1] * (input.ndim - 2)
    result, centre, variance = _normalised(wide(input), axes, eps)
    unbiased = _unbiased(variance, count_of(input, axes))
    found = cast(_affine(result, weight, bias, sizes), here(input).spec.dtype)
    return found, reshaped(centre, (-1,)), reshaped(unbiased, (-1,))


@composite
def _by_running(
    input: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None,
    eps: Any,
) -> Tensor:  # fmt: skip
    sizes = [spelled(shape_of(input)[1])] + [1] * (input.ndim - 2)
    scale = rsqrt(add(wide(variance), eps))
    result = mul(sub(wide(input), reshaped(mean, sizes)), reshaped(scale, sizes))
    return cast(_affine(result, weight, bias, sizes), here(input).spec.dtype)


def _unbiased(variance: Tensor, count: Any) -> Tensor:
    """The variance over count - 1 instead of count; `count` may be a symbolic size."""
    return true_divide(mul(variance, count), count - 1)


@updates
def _move(running: Tensor, new: Tensor, momentum: Any) -> tuple[Tensor]:
    """(1 - momentum) * running + momentum * new."""
    keep = sub(1, momentum) if isinstance(momentum, Tensor) else 1 - momentum
    return (cast(add(mul(running, keep), mul(new, momentum)), here(running).spec.dtype),)


@unwatched
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """[N, C, ...] normalised over the axes after the channels, each image by itself (Ulyanov et
    al., 2016).

    Raises:
        ShapeError: one value for each channel, whose statistics are asked for.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, input.ndim))
    if all(isinstance(n, int) and n == 1 for n in shape_of(input)[2:]):
        raise ShapeError(f"instance_norm: one value for each channel, {list(input.shape)}")
    sizes = [spelled(shape_of(input)[1])] + [1] * (input.ndim - 2)
    result, centre, variance = _normalised(wide(input), axes, eps)
    if running_mean is not None and running_var is not None:
        count = count_of(input, axes)
        unbiased = _unbiased(variance, count)
        with setting(grad_enabled=False):
            _move(running_mean, reshaped(mean_over(centre, (0,), False), (-1,)), momentum)
            _move(running_var, reshaped(mean_over(unbiased, (0,), False), (-1,)), momentum)
    return cast(_affine(result, weight, bias, sizes), here(input).spec.dtype)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha * mean of the squares of `size` channels around) ** beta (Krizhevsky et al.,
    2012).

    Raises:
        ShapeError: fewer than 3 axes.
    """
    if input.ndim < 3:
        raise ShapeError(
            f"local_response_norm of {here(input).spec}", hint="the input is [N, C, ...]"
        )
    low, high = [0] * input.ndim, [0] * input.ndim
    low[1], high[1] = size // 2, (size - 1) // 2
    padded = constant_pad(mul(input, input), low, high, 0)
    total = sum(unfold(padded, 1, size, 1), -1)
    return true_divide(input, add(mul(total, alpha / size), k) ** beta)


@autocasts
@array_names
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """input / max(its p-norm along `dim`, eps)."""
    return true_divide(input, clamp(norm(input, p, dim, keepdim=True), min=eps))


@autocasts
@array_names
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim` of both, broadcast; lengths count as at
    least eps."""
    vectors = broadcast_tensors(x1, x2)
    lengths = [clamp(norm(x, 2, dim, keepdim=True), min=eps) for x in vectors]
    return sum(mul(true_divide(vectors[0], lengths[0]), true_divide(vectors[1], lengths[1])), dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return norm(add(sub(x1, x2), eps), p, -1, keepdim)


# Dropout


def check_probability(p: float, name: str) -> None:
    if not 0 <= p <= 1:
        raise ArgumentError(
            f"{name}: p={p} is no probability",
            hint="give a number from 0 to 1",
        )


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training each element 0 with probability p, else divided by 1 - p (Srivastava et al.,
    2014).

    Raises:
        ArgumentError: p is not in [0, 1].
    """
    check_probability(p, "dropout")
    if not training or p == 0:
        return input
    result = _dropped(input, p, None)
    return update(input, result, "dropout_") if inplace else result


def _dropped(input: Tensor, p: float, shape: Sequence[Any] | None) -> Tensor:
    if p == 1:
        return mul(input, zeros_like(input))
    return _thinned(input, keep_mask(input, p, shape), p)


@composite
def _thinned(input: Tensor, kept: Tensor, p: float) -> Tensor:
    return where(kept, mul(input, 1 / (1 - p)), 0)


def _channel_dropout(input: Tensor, p: float, training: bool, inplace: bool, name: str) -> Tensor:
    check_probability(p, name)
    if not training or p == 0:
        return input
    sizes = [spelled(n) for n in shape_of(input)]
    result = _dropped(input, p, [*sizes[:2], *[1] * (len(sizes) - 2)])
    return update(input, result, name) if inplace else result


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of [N, C, L]."""
    return _channel_dropout(input, p, training, inplace, "dropout1d")


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of [N, C, H, W]."""
    return _channel_dropout(input, p, training, inplace, "dropout2d")


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of [N, C, D, H, W]."""
    return _channel_dropout(input, p, training, inplace, "dropout3d")


def _alpha_dropped(
    input: Tensor, p: float, training: bool, inplace: bool, shape: Sequence[Any] | None, name: str
) -> Tensor:
    check_probability(p, name)
    if not training or p == 0:
        return input
    if p == 1:
        return mul(input, zeros_like(input))
    limit = -1.7580993408473766
    scale = 1 / math.sqrt((1 - p) * (1 + p * limit * limit))
    kept = where(keep_mask(input, p, shape), input, limit)
    result = add(mul(kept, scale), -scale * limit * p)
    return update(input, result, f"{name}_") if inplace else result


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout to SELU's negative limit, that keeps mean and variance (Klambauer et al., 2017)."""
    return _alpha_dropped(input, p, training, inplace, None, "alpha_dropout")


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels of [N, C, ...]."""
    sizes = [spelled(n) for n in shape_of(input)]
    shape = [*sizes[:2], *[1] * (len(sizes) - 2)]
    return _alpha_dropped(input, p, training, inplace, shape, "feature_alpha_dropout")
