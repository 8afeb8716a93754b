"""Nonlinear functions of single elements, and of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ....ir.dtypes import DType
from ...apply import apply, elementwise
from ...autocast import autocasts
from ...composite import composite
from ...errors import ArgumentError, warn_user
from ...functions.arguments import array_names, cast, shape_of, spelled, with_ones
from ...functions.creation import iota
from ...functions.math import (
    abs,
    add,
    cast_float,
    clamp,
    erf,
    exp,
    expm1,
    gt,
    le,
    log,
    log1p,
    mul,
    neg,
    sigmoid,
    sub,
    tanh,
    true_divide,
    where,
)
from ...functions.random import rand
from ...functions.reduction import reduce, wide
from ...functions.special import log_sigmoid
from ...inplace import update
from ...tensor import Tensor, here, normal_axis

logsigmoid = log_sigmoid


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with the gradient 0 at 0; NaN stays."""
    result = _rectified(input)
    return update(input, result, "relu_") if inplace else result


@composite
def _rectified(input: Tensor) -> Tensor:
    return elementwise("where", elementwise("le", input, 0), 0, input, conditions=1)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x within [min_val, max_val], else the nearer of both, with the gradient 0 there; of integers
    with the bounds' integer parts."""
    if not here(input).spec.dtype.is_inexact:
        min_val, max_val = int(min_val), int(max_val)
    result = _bounded(input, min_val, max_val)
    return update(input, result, "hardtanh_") if inplace else result


@composite
def _bounded(input: Tensor, min_val: float, max_val: float) -> Tensor:
    low = where(le(input, min_val), min_val, input)
    return where(elementwise("ge", low, max_val), max_val, low)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x above 0, negative_slope * x below."""
    result = _bent(input, negative_slope)
    return update(input, result, "leaky_relu_") if inplace else result


@composite
def _bent(input: Tensor, slope: float) -> Tensor:
    return where(gt(input, 0), input, mul(input, slope))


@autocasts
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x above 0, weight * x below; one weight, or one for each channel (axis 1)."""
    if input.ndim == 0:
        weight = weight.reshape([])
    elif weight.numel() != 1 and input.ndim > 1:
        weight = weight.reshape([-1] + [1] * (input.ndim - 2))
    return where(gt(input, 0), input, mul(input, weight))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha * (e ** x - 1) below."""
    result = _exponential(input, alpha)
    return update(input, result, "elu_") if inplace else result


@composite
def _exponential(input: Tensor, alpha: float) -> Tensor:
    low = mul(expm1(where(gt(input, 0), 0, input)), alpha)
    return where(gt(input, 0), input, low)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the alpha and scale that keep mean and variance (Klambauer et al., 2017)."""
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    result = mul(elu(input, alpha), scale)
    return update(input, result, "selu_") if inplace else result


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha * (e ** (x / alpha) - 1) below."""
    low = mul(expm1(true_divide(where(gt(input, 0), 0, input), alpha)), alpha)
    result = where(gt(input, 0), input, low)
    return update(input, result, "celu_") if inplace else result


@composite
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi being the normal distribution's; "tanh" approximates it.

    Raises:
        ArgumentError: `approximate` is neither "none" nor "tanh".
    """
    if approximate == "none":
        return mul(mul(input, 0.5), add(erf(mul(input, math.sqrt(0.5))), 1))
    if approximate != "tanh":
        raise ArgumentError(f"gelu: approximate={approximate!r} is neither 'none' nor 'tanh'")
    cubic = mul(mul(mul(input, input), input), 0.044715)
    inner = mul(add(input, cubic), math.sqrt(2 / math.pi))
    return mul(mul(input, 0.5), add(tanh(inner), 1))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    result = _swish(input)
    return update(input, result, "silu_") if inplace else result


@composite
def _swish(input: Tensor) -> Tensor:
    return mul(input, sigmoid(input))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))."""
    result = mul(input, tanh(softplus(input)))
    return update(input, result, "mish_") if inplace else result


@composite
@autocasts
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""
    scaled = mul(input, beta)
    linear = gt(scaled, threshold)
    return where(linear, input, true_divide(log1p(exp(where(linear, 0, scaled))), beta))


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return true_divide(input, add(abs(input), 1))


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return sub(input, tanh(input))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, 0 where it is nearer. NaN stays NaN."""
    moved = where(gt(input, 0), sub(input, lambd), add(input, lambd))
    return where(le(abs(input), lambd), 0, moved)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 within [-lambd, lambd]."""
    return where(le(abs(input), lambd), 0, input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x / 6 + 1 / 2 within [0, 1]."""
    result = true_divide(hardtanh(add(input, 3), 0.0, 6.0), 6)
    return update(input, result, "hardsigmoid_") if inplace else result


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x)."""
    result = mul(input, hardsigmoid(input))
    return update(input, result, "hardswish_") if inplace else result


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above the threshold, else `value`; NaN stays."""
    result = where(le(input, threshold), value, input)
    return update(input, result, "threshold_") if inplace else result


@array_names
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of `dim` times the sigmoid of the second.

    Raises:
        ArgumentError: the axis has an odd size.
    """
    axis = normal_axis(dim, input.ndim)
    size = spelled(shape_of(input)[axis])
    if isinstance(size, int) and size % 2:
        raise ArgumentError(f"glu: the axis {dim} has the odd size {size}")
    first = input.narrow(axis, 0, size // 2)
    second = input.narrow(axis, size // 2, size // 2)
    return mul(first, sigmoid(second))


# Rows


def row_axis(dim: int | None, ndim: int) -> int:
    """The axis of a softmax; where none is given, PyTorch's choice, with a warning: 0 of 0, 1 or 3
    axes, else 1."""
    if dim is None:
        warn_user("a softmax without dim: the axis is guessed, give dim=")
        return 0 if ndim in (0, 1, 3) else 1
    return normal_axis(dim, ndim)


def _shifted(input: Tensor, axis: int, dtype: DType | None) -> tuple[Tensor, tuple[int, ...]]:
    """The elements minus the largest along `axis`, in float32 for the halves."""
    operand = wide(cast_float(cast(input, dtype)))
    axes = (axis,) if input.ndim else ()
    top = reduce("reduce_max", elementwise("stop_gradient", operand), axes, True, ties="first")
    return elementwise("sub", operand, top), axes


def _row_dtype(input: Tensor, dtype: DType | None) -> DType:
    return dtype or here(cast_float(input)).spec.dtype


@autocasts
@array_names
def softmax(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim` (see `row_axis`), without overflow; computed in float32 for
    the halves."""
    return _shares(input, row_axis(dim, input.ndim) if input.ndim else 0, dtype)


@composite
def _shares(input: Tensor, axis: int, dtype: DType | None) -> Tensor:
    shifted, axes = _shifted(input, axis, dtype)
    e = exp(shifted)
    total = reduce("reduce_sum", e, axes, True)
    return cast(elementwise("div", e, total), _row_dtype(input, dtype))


@autocasts
@array_names
def log_softmax(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """log(softmax(x)) along `dim`, without overflow; computed in float32 for the halves."""
    return _log_shares(input, row_axis(dim, input.ndim) if input.ndim else 0, dtype)


@composite
def _log_shares(input: Tensor, axis: int, dtype: DType | None) -> Tensor:
    shifted, axes = _shifted(input, axis, dtype)
    total = reduce("reduce_sum", exp(shifted), axes, True)
    return cast(elementwise("sub", shifted, log(total)), _row_dtype(input, dtype))


@autocasts
@array_names
def softmin(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """softmax(-x) along `dim`."""
    return softmax(neg(input), dim, dtype=dtype)


@array_names
def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((logits + Gumbel noise) / tau); `hard`: one-hot forward, with the soft gradient
    (Jang et al., 2016). `eps` is accepted without effect."""
    shape = [spelled(n) for n in shape_of(logits)]
    drawn = clamp(rand(shape, device=logits.device), min=2.0**-25)
    noise = cast(neg(log(neg(log(drawn)))), here(logits).spec.dtype)
    soft = softmax(true_divide(add(logits, noise), tau), dim)
    if not hard:
        return soft
    axis, still = normal_axis(dim, soft.ndim), elementwise("stop_gradient", soft)
    best = with_ones(apply("argmax", [still], axes=(axis,)), (axis,))
    one = cast(elementwise("eq", iota(shape, axis), best), soft.dtype)
    return add(sub(one, still), soft)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    """x above 0, below times a slope that is drawn in [lower, upper) for each element in training,
    else their middle (Xu et al., 2015).

    Raises:
        ArgumentError: lower is greater than upper.
    """
    if lower > upper:
        raise ArgumentError(f"rrelu: lower={lower} is greater than upper={upper}")
    slope: Any = (lower + upper) / 2
    if training:
        drawn = rand([spelled(n) for n in shape_of(input)], device=input.device)
        slope = cast(add(mul(drawn, upper - lower), lower), here(input).spec.dtype)
    result = where(gt(input, 0), input, mul(input, slope))
    return update(input, result, "rrelu_") if inplace else result


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` written back into its first argument."""

    def written(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, **kwargs, inplace=True)

    written.__name__ = written.__qualname__ = f"{function.__name__}_"
    written.__doc__ = f"`{function.__name__}`, written back into `input`."
    return written


relu_ = _in_place(relu)
elu_ = _in_place(elu)
celu_ = _in_place(celu)
selu_ = _in_place(selu)
hardtanh_ = _in_place(hardtanh)
leaky_relu_ = _in_place(leaky_relu)
rrelu_ = _in_place(rrelu)
threshold_ = _in_place(threshold)
