"""Linear maps and convolutions."""

from __future__ import annotations

from typing import Any

from ...apply import apply, elementwise
from ...autocast import autocasts
from ...composite import composite
from ...errors import ArgumentError, ShapeError
from ...functions.arguments import cast, reshaped, shape_of, spelled
from ...functions.joining import flip
from ...functions.matrix import dot_general
from ...functions.shape import transpose, unsqueeze
from ...tensor import Tensor, here
from ...unwatched import unwatched
from .arguments import check_windows, per_axis


@composite
@unwatched
def conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    axes: int,
) -> Tensor:
    """Cross-correlation over the last `axes` axes of [N, C, ...] or [C, ...]."""
    name = f"conv{axes}d"
    if weight.ndim != axes + 2 or input.ndim not in (axes + 1, axes + 2):
        raise ShapeError(
            f"{name} of {here(input).spec} with a weight {here(weight).spec}",
            hint="the input is [N, channels, ...], the weight [out, channels / groups, ...]",
        )
    if input.ndim == axes + 1:
        single = conv(unsqueeze(input, 0), weight, bias, stride, padding, dilation, groups, axes)
        return single[0]
    strides = per_axis(stride, axes, "stride")
    dilations = per_axis(dilation, axes, "dilation")
    window = shape_of(weight)[2:]
    pads = _padding(padding, window, strides, dilations, name)
    check_windows(name, shape_of(input)[2:], window, strides, dilations, pads)
    result = apply(
        "conv",
        [input, weight],
        strides=strides,
        padding=pads,
        lhs_dilation=(1,) * axes,
        rhs_dilation=dilations,
        groups=groups,
    )
    return with_bias(result, bias)


def _padding(
    padding: Any, window: tuple[Any, ...], strides: tuple[int, ...], dilations: tuple, name: str
) -> tuple[tuple[Any, Any], ...]:
    """(before, after) of each axis, for a number, several, "valid" or "same"."""
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * len(window)
        if padding != "same":
            raise ArgumentError(f"{name}: padding={padding!r} is neither 'same' nor 'valid'")
        if any(s != 1 for s in strides):
            raise ArgumentError(f"{name}: padding='same' needs stride 1")
        totals = [(k - 1) * d for k, d in zip(window, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((p, p) for p in per_axis(padding, len(window), "padding"))


def with_bias(result: Tensor, bias: Tensor | None) -> Tensor:
    """`result` [N, C, ...] plus a bias for each channel."""
    if bias is None:
        return result
    channel = reshaped(bias, [-1] + [1] * (result.ndim - 2))
    return elementwise("add", result, cast(channel, here(result).spec.dtype))


@autocasts
def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of [N, C, L] (or [C, L]) with a weight [O, C / groups, K].

    `padding` is a number of zeros on both sides, "valid" (none) or "same" (the size stays).

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: "same" with another stride than 1.
    """
    return conv(input, weight, bias, stride, padding, dilation, groups, 1)


@autocasts
def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of [N, C, H, W] (or [C, H, W]) with a weight [O, C / groups, KH, KW];
    arguments as in `conv1d`, one number or one for each axis."""
    return conv(input, weight, bias, stride, padding, dilation, groups, 2)


@autocasts
def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of [N, C, D, H, W] (or [C, D, H, W]) with a weight [O, C / groups, KD, KH,
    KW]; arguments as in `conv1d`, one number or one for each axis."""
    return conv(input, weight, bias, stride, padding, dilation, groups, 3)


@composite
@unwatched
def conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    axes: int,
) -> Tensor:
    """The gradient of `conv` with respect to its input, as a function of its output."""
    name = f"conv_transpose{axes}d"
    if weight.ndim != axes + 2 or input.ndim not in (axes + 1, axes + 2):
        raise ShapeError(
            f"{name} of {here(input).spec} with a weight {here(weight).spec}",
            hint="the input is [N, channels, ...], the weight [out, channels / groups, ...]",
        )
    if input.ndim == axes + 1:
        given = (bias, stride, padding, output_padding, groups, dilation, axes)
        return conv_transpose(unsqueeze(input, 0), weight, *given)[0]
    strides, dilations = per_axis(stride, axes, "stride"), per_axis(dilation, axes, "dilation")
    cut, extra = per_axis(padding, axes, "padding"), per_axis(output_padding, axes, "padding")
    reach = [(k - 1) * d for k, d in zip(shape_of(weight)[2:], dilations, strict=True)]
    pads = tuple((r - p, r - p + o) for r, p, o in zip(reach, cut, extra, strict=True))
    result = apply(
        "conv",
        [input, _turned(weight, groups)],
        strides=(1,) * axes,
        padding=pads,
        lhs_dilation=strides,
        rhs_dilation=dilations,
        groups=groups,
    )
    return with_bias(result, bias)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """[I, O / groups, ...] as [O, I / groups, ...], with the window reversed."""
    inputs, outputs, *window = (spelled(n) for n in shape_of(weight))
    split = reshaped(weight, [groups, inputs // groups, outputs, *window])
    joined = reshaped(transpose(split, 1, 2), [groups * outputs, inputs // groups, *window])
    return flip(joined, *range(2, 2 + len(window)))


@autocasts
def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution of [N, C, L] with a weight [C, O / groups, K]: of size
    (L - 1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1."""
    given = (bias, stride, padding, output_padding, groups, dilation)
    return conv_transpose(input, weight, *given, 1)


@autocasts
def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution over two axes; see `conv_transpose1d`."""
    given = (bias, stride, padding, output_padding, groups, dilation)
    return conv_transpose(input, weight, *given, 2)


@autocasts
def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution over three axes; see `conv_transpose1d`."""
    given = (bias, stride, padding, output_padding, groups, dilation)
    return conv_transpose(input, weight, *given, 3)


@autocasts
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[o] @ input2 for each o, of [..., a], [..., b], [out, a, b] and [out]."""
    left = dot_general(input1, weight, ((input1.ndim - 1,), (1,)), name="bilinear")
    result = elementwise("mul", left, unsqueeze(input2, -2)).sum(-1)
    return result if bias is None else elementwise("add", result, bias)
