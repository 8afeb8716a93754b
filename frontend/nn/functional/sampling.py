"""Images read at positions between their pixels."""

from __future__ import annotations

import itertools
from typing import Any

from ....ir.dtypes import i64
from ...apply import elementwise
from ...autocast import autocasts
from ...errors import ArgumentError, DTypeError, ShapeError
from ...functions.arguments import cast, reshaped, shape_of, spelled, with_ones
from ...functions.creation import iota, ones
from ...functions.joining import stack
from ...functions.logic import logical_and
from ...functions.math import (
    abs,
    add,
    clamp,
    floor,
    ge,
    le,
    lt,
    mul,
    remainder,
    round,
    sub,
    true_divide,
    where,
)
from ...functions.matrix import matmul
from ...functions.reduction import wide
from ...functions.select import gather
from ...functions.shape import expand, transpose
from ...tensor import Tensor, here
from .resizing import cubic_weight


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Positions for `grid_sample` by affine maps [N, 2, 3] (or [N, 3, 4]): [N, H, W, 2] (or
    [N, D, H, W, 3]), `size` being that of the result, [N, C, H, W].

    Raises:
        ShapeError: the maps do not fit the size.
    """
    axes = len(size) - 2
    if axes not in (2, 3) or theta.ndim != 3 or theta.shape[1:] != (axes, axes + 1):
        raise ShapeError(
            f"affine_grid of {here(theta).spec} for the size {list(size)}",
            hint="maps are [N, 2, 3] for [N, C, H, W] and [N, 3, 4] for [N, C, D, H, W]",
        )
    dtype, spatial = here(theta).spec.dtype, list(size[2:])
    columns = [_line(spatial, axis, dtype, bool(align_corners)) for axis in reversed(range(axes))]
    base = stack([*columns, ones(spatial, dtype=dtype)], -1)
    flat = reshaped(base, [-1, axes + 1])
    mapped = matmul(flat, transpose(theta, 1, 2))
    return reshaped(mapped, [spelled(shape_of(theta)[0]), *spatial, axes])


def _line(sizes: list[Any], axis: int, dtype: Any, align_corners: bool) -> Tensor:
    """From -1 to 1 along one axis: the centres of the first and last pixel, or their borders."""
    steps, count = cast(iota(sizes, axis), dtype), sizes[axis]
    if align_corners:
        if isinstance(count, int) and count <= 1:
            return mul(steps, 0)
        return sub(true_divide(mul(steps, 2), count - 1), 1)
    return sub(true_divide(add(mul(steps, 2), 1), count), 1)


@autocasts
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Images [N, C, H, W] read at the positions (x, y) of a grid [N, Ho, Wo, 2]: [N, C, Ho, Wo]
    (with one more axis and coordinate, (x, y, z), for volumes). -1 and 1 are the borders of the
    image, or with `align_corners` the centres of its first and last pixels.

    Args:
        mode: "bilinear", "nearest" or "bicubic" (images only).
        padding_mode: what stands outside: "zeros", "border" (the nearest pixel) or "reflection".

    Raises:
        ShapeError: input and grid do not fit.
        ArgumentError: another mode.
    """
    axes = input.ndim - 2
    if axes not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != axes:
        raise ShapeError(
            f"grid_sample of {here(input).spec} with a grid {here(grid).spec}",
            hint="[N, C, H, W] takes a grid [N, Ho, Wo, 2], [N, C, D, H, W] one [N, Do, Ho, Wo, 3]",
        )
    if here(input).spec.dtype is not here(grid).spec.dtype:
        raise DTypeError(
            f"grid_sample of {here(input).spec.dtype.public} with a grid of "
            f"{here(grid).spec.dtype.public}"
        )
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and axes == 3):
        raise ArgumentError(
            f"grid_sample: mode={mode!r} of {axes} axes",
            hint="there are 'bilinear', 'nearest' and, of images, 'bicubic'",
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ArgumentError(f"grid_sample: padding_mode={padding_mode!r} is not 'zeros', 'border' "
                            "or 'reflection'")  # fmt: skip
    picture = _Picture(input, padding_mode, bool(align_corners))
    places = [_pixels(wide(grid)[..., axes - 1 - a], picture.sizes[a], picture.align)
              for a in range(axes)]  # fmt: skip
    sample = {"bilinear": _linear, "nearest": _nearest, "bicubic": _cubic}[mode]
    return cast(sample(picture, places), here(input).spec.dtype)


def _pixels(x: Tensor, size: Any, align_corners: bool) -> Tensor:
    """-1 .. 1 as numbers of pixels."""
    if align_corners:
        return mul(add(x, 1), true_divide(size - 1, 2))
    return true_divide(sub(mul(add(x, 1), size), 1), 2)


class _Picture:
    """An image whose pixels can be asked for at any place.

    Attributes:
        sizes: of its axes after the channels.
        align: whether -1 and 1 are the centres of pixels.
    """

    def __init__(self, input: Tensor, padding: str, align: bool) -> None:
        self.sizes = [spelled(n) for n in shape_of(input)[2:]]
        self.padding = padding
        self.align = align
        batch, channels = (spelled(n) for n in shape_of(input)[:2])
        total = self.sizes[0]
        for size in self.sizes[1:]:
            total = total * size
        self.flat = reshaped(wide(input), [batch, channels, total])

    def inside(self, x: Tensor, axis: int) -> Tensor:
        """Places as the padding moves them; with "zeros" as they are."""
        if self.padding == "zeros":
            return x
        if self.padding == "reflection":
            x = self._reflected(x, axis)
        return clamp(x, 0, self.sizes[axis] - 1)

    def _reflected(self, x: Tensor, axis: int) -> Tensor:
        """Mirrored at the first and last pixels' centres, or at their borders."""
        low = 0.0 if self.align else -0.5
        span: Any = self.sizes[axis] - 1 if self.align else self.sizes[axis]
        if isinstance(span, int) and span == 0:
            return mul(x, 0)
        away = abs(sub(x, low))
        folded = remainder(away, span * 2)
        return add(where(lt(folded, span), folded, sub(span * 2, folded)), low)

    def at(self, places: list[Tensor]) -> Tensor:
        """[N, C, ...]: the pixels at whole places, each [N, ...]; 0 outside of the image."""
        where_, number = None, None
        for place, size in zip(places, self.sizes, strict=True):
            fits = logical_and(ge(place, 0), le(place, size - 1))
            where_ = fits if where_ is None else logical_and(where_, fits)
            whole = cast(clamp(place, 0, size - 1), i64)
            number = whole if number is None else add(mul(number, size), whole)
        assert number is not None and where_ is not None
        batch, *outer = (spelled(n) for n in shape_of(number))
        channels = spelled(shape_of(self.flat)[1])
        index = expand(reshaped(number, [batch, 1, -1]), [batch, channels, -1])
        found = reshaped(gather(self.flat, 2, index), [batch, channels, *outer])
        return where(with_ones(where_, (1,)), found, 0)


def _linear(picture: _Picture, places: list[Tensor]) -> Tensor:
    places = [picture.inside(p, a) for a, p in enumerate(places)]
    lows = [floor(elementwise("stop_gradient", p)) for p in places]
    shares = [sub(p, low) for p, low in zip(places, lows, strict=True)]
    result: Any = None
    for corner in itertools.product((0, 1), repeat=len(places)):
        weight: Any = None
        for share, upper in zip(shares, corner, strict=True):
            part = share if upper else sub(1, share)
            weight = part if weight is None else mul(weight, part)
        pixels = picture.at([add(low, upper) for low, upper in zip(lows, corner, strict=True)])
        term = mul(pixels, with_ones(weight, (1,)))
        result = term if result is None else add(result, term)
    return result


def _nearest(picture: _Picture, places: list[Tensor]) -> Tensor:
    return picture.at([
        round(elementwise("stop_gradient", picture.inside(p, a))) for a, p in enumerate(places)
    ])  # fmt: skip


def _cubic(picture: _Picture, places: list[Tensor]) -> Tensor:
    """Smoothly from the 16 pixels around (Keys, 1981); each of them is padded for itself."""
    lows = [floor(elementwise("stop_gradient", p)) for p in places]
    weights, pixels = [], []
    for axis, (place, low) in enumerate(zip(places, lows, strict=True)):
        share = sub(place, low)
        distances = [add(share, 1), share, sub(1, share), sub(2, share)]
        found = [cubic_weight(d, -0.75) for d in distances]
        weights.append([found[0][1], found[1][0], found[2][0], found[3][1]])
        pixels.append([picture.inside(add(low, k), axis) for k in (-1, 0, 1, 2)])
    result: Any = None
    for a, b in itertools.product(range(4), repeat=2):
        weight = with_ones(mul(weights[0][a], weights[1][b]), (1,))
        term = mul(picture.at([pixels[0][a], pixels[1][b]]), weight)
        result = term if result is None else add(result, term)
    return result
