"""Paddings, and images rearranged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...apply import apply
from ...errors import ArgumentError, ShapeError
from ...functions.arguments import reshaped, shape_of, spelled
from ...functions.joining import cat, flip
from ...functions.shape import constant_pad, permute, transpose, unsqueeze
from ...tensor import Tensor, here
from ...viewing import expand_view, narrow_view
from .arguments import per_axis

# Paddings


def pad(input: Tensor, pad: Sequence[Any], mode: str = "constant", value: Any = None) -> Tensor:
    """Elements before and after axes: `pad` is (before, after) of the last axis, then of the one
    before it, and so on; negative numbers cut. `mode` says which: "constant" (`value`, 0),
    "reflect", "replicate", "circular".

    Raises:
        ArgumentError: an odd number of sizes, too many, or another mode.
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ArgumentError(f"pad: {len(pad)} sizes for a tensor with {input.ndim} axes")
    pairs = [(pad[k], pad[k + 1]) for k in range(0, len(pad), 2)]
    if mode == "constant":
        rest = [0] * (input.ndim - len(pairs))
        low = rest + [p for p, _ in reversed(pairs)]
        high = rest + [p for _, p in reversed(pairs)]
        return constant_pad(input, low, high, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ArgumentError(f"pad: mode={mode!r} is not constant, reflect, replicate or circular")
    for k, (low_, high_) in enumerate(pairs):
        input = _extended(input, input.ndim - 1 - k, low_, high_, mode)
    return input


def _extended(input: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    size = spelled(shape_of(input)[axis])
    reach = size - 1 if mode == "reflect" else size
    if mode != "replicate" and not (low <= reach and high <= reach):
        raise ArgumentError(f"pad: {mode} by {low}, {high} of an axis of size {size}")
    parts = [input]
    if low:
        parts.insert(0, _edge(input, axis, size, low, mode, False))
    if high:
        parts.append(_edge(input, axis, size, high, mode, True))
    return cat(parts, axis) if len(parts) > 1 else input


def _edge(input: Tensor, axis: int, size: Any, count: int, mode: str, after: bool) -> Tensor:
    """What stands before (or after) the axis."""
    if mode == "replicate":
        last = narrow_view(input, axis, size - 1 if after else 0, 1)
        sizes = [spelled(n) for n in shape_of(last)]
        sizes[axis] = count
        return expand_view(last, sizes)
    if mode == "circular":
        return narrow_view(input, axis, 0 if after else size - count, count)
    return flip(narrow_view(input, axis, size - 1 - count if after else 1, count), axis)


# Images


def _at_least_one(number: int, what: str) -> None:
    if number < 1:
        raise ArgumentError(f"{what}={number} is not at least 1")


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """[..., C r r, H, W] as [..., C, H r, W r] (Shi et al., 2016)."""
    _at_least_one(upscale_factor, "pixel_shuffle: upscale_factor")
    *outer, channels, height, width = (spelled(n) for n in shape_of(input))
    r = upscale_factor
    split = reshaped(input, [*outer, channels // (r * r), r, r, height, width])
    n = len(outer)
    moved = permute(split, *range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return reshaped(moved, [*outer, channels // (r * r), height * r, width * r])


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """[..., C, H r, W r] as [..., C r r, H, W]."""
    _at_least_one(downscale_factor, "pixel_unshuffle: downscale_factor")
    *outer, channels, height, width = (spelled(n) for n in shape_of(input))
    r = downscale_factor
    split = reshaped(input, [*outer, channels, height // r, r, width // r, r])
    n = len(outer)
    moved = permute(split, *range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return reshaped(moved, [*outer, channels * r * r, height // r, width // r])


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The windows of images [N, C, H, W] (or [C, H, W]) as columns: [N, C KH KW, L]."""
    if input.ndim == 3:
        return unfold(unsqueeze(input, 0), kernel_size, dilation, padding, stride)[0]
    if input.ndim != 4:
        raise ShapeError(f"unfold of {here(input).spec}", hint="the input is [N, C, H, W]")
    sizes, dilations, pads, strides = (
        per_axis(v, 2, n)
        for v, n in ((kernel_size, "kernel_size"), (dilation, "dilation"), (padding, "padding"),
                     (stride, "stride"))
    )  # fmt: skip
    padded = constant_pad(input, (0, 0, *pads), (0, 0, *pads), 0) if any(pads) else input
    windows = apply(
        "window", [padded], axes=(2, 3), sizes=sizes, strides=strides, dilations=dilations
    )
    batch, channels, height, width, *_ = (spelled(n) for n in shape_of(windows))
    columns = permute(windows, 0, 1, 4, 5, 2, 3)
    return reshaped(columns, [batch, channels * sizes[0] * sizes[1], height * width])


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels (axis 1) of [N, C, ...] as groups x rest, both swapped (Zhang et al., 2018).

    Raises:
        ShapeError: the channels do not divide into the groups.
        ArgumentError: `groups` is less than 1.
    """
    _at_least_one(groups, "channel_shuffle: groups")
    batch, channels, *rest = (spelled(n) for n in shape_of(input))
    if channels % groups:
        raise ShapeError(f"channel_shuffle: {channels} channels in {groups} groups")
    split = reshaped(input, [batch, groups, channels // groups, *rest])
    return reshaped(transpose(split, 1, 2), [batch, channels, *rest])


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Tensor:  # fmt: skip
    """The transpose of `unfold`: columns [N, C KH KW, L] (or without N) put back to where
    `unfold` takes them from and summed: [N, C, *output_size].

    Raises:
        ShapeError: the columns are not those of images of that size.
    """
    if input.ndim == 2:
        given = (output_size, kernel_size, dilation, padding, stride)
        return fold(unsqueeze(input, 0), *given)[0]
    if input.ndim != 3:
        raise ShapeError(f"fold of {here(input).spec}", hint="the input is [N, C KH KW, L]")
    output, sizes, dilations, pads, strides = (
        per_axis(v, 2, n)
        for v, n in ((output_size, "output_size"), (kernel_size, "kernel_size"),
                     (dilation, "dilation"), (padding, "padding"), (stride, "stride"))
    )  # fmt: skip
    extents = [n + 2 * p for n, p in zip(output, pads, strict=True)]
    counts = [
        (e - d * (k - 1) - 1) // s + 1
        for e, d, k, s in zip(extents, dilations, sizes, strides, strict=True)
    ]
    batch, rows, columns = (spelled(n) for n in shape_of(input))
    area = sizes[0] * sizes[1]
    if rows % area or columns != counts[0] * counts[1]:
        raise ShapeError(
            f"fold: {here(input).spec} for images of {list(output)}: expected a multiple of {area} "
            f"rows and {counts[0] * counts[1]} columns"
        )
    windows = permute(reshaped(input, [batch, rows // area, *sizes, *counts]), 0, 1, 4, 5, 2, 3)
    spread = apply("unwindow", [windows], axes=(2, 3), sizes=sizes, strides=strides,
                   dilations=dilations, extents=tuple(extents))  # fmt: skip
    image = apply("reduce_sum", [spread], axes=(4, 5))
    top, left = pads
    return image[:, :, top : top + output[0], left : left + output[1]]
