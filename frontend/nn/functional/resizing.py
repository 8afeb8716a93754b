"""Images of another size.

Every mode but "area" is a weighted sum of a few elements along each axis: which ones and with which
weights follows from the sizes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...apply import apply, constant, elementwise
from ...errors import ArgumentError, ShapeError
from ...functions.arguments import cast, reshaped, shape_of, spelled
from ...functions.joining import repeat_interleave
from ...functions.math import add, mul
from ...functions.reduction import wide
from ...functions.select import index_select
from ...tensor import Tensor, here
from .adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .arguments import per_axis

_SMOOTH = {"linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,)}
_PLAIN = ("nearest", "nearest-exact", "area")

Weights = tuple[np.ndarray, np.ndarray]
"""Places int64[new size, k] and weights float64[new size, k] of an axis."""


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """[N, C, ...] with its axes made `size` long, or `scale_factor` times as long.

    Args:
        mode: "nearest" and "nearest-exact" repeat or skip elements; "linear", "bilinear" and
            "trilinear" (for one, two and three axes) go straight from one to the next, "bicubic"
            smoothly (Keys, 1981); "area" is the mean of the part that an element covers.
        align_corners: of the smooth modes: whether the first and last elements stay where they
            are, rather than the borders of the image.
        recompute_scale_factor: measure by the sizes, even where a scale_factor is given.
        antialias: of "bilinear" and "bicubic": an image made smaller is smoothed.

    Raises:
        ArgumentError: another mode, or one for another number of axes; neither or both of size and
            scale_factor; align_corners or antialias with a mode that has none.
    """
    axes = input.ndim - 2
    _check_mode(mode, axes, here(input).spec, align_corners, antialias)
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate needs either size or scale_factor")
    if recompute_scale_factor and size is not None:
        raise ArgumentError("interpolate: recompute_scale_factor is for scale_factor")
    own = [spelled(n) for n in shape_of(input)[2:]]
    counts, scales = _measures(own, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        pool = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[axes - 1]
        return pool(input, counts)
    if mode in _PLAIN:
        for axis, (count, scale) in enumerate(zip(counts, scales, strict=True), start=2):
            input = _nearest(input, axis, count, scale, mode == "nearest-exact")
        return input
    result = wide(input)
    for axis, (count, scale) in enumerate(zip(counts, scales, strict=True), start=2):
        length = int(own[axis - 2])
        if count == length and (scale is None or scale == 1):
            continue
        step = _step(length, count, scale, bool(align_corners))
        kernel = _smoothed if antialias else _cubic if mode == "bicubic" else _linear
        places, weights = kernel(length, count, step, bool(align_corners), mode == "bicubic")
        result = _weighted(result, axis, places, weights)
    return cast(result, here(input).spec.dtype)


def _check_mode(mode: str, axes: int, type: Any, align: bool | None, antialias: bool) -> None:
    if axes not in (1, 2, 3):
        raise ShapeError(f"interpolate of {type}", hint="the input is [N, C, ...]")
    if mode not in _PLAIN and axes not in _SMOOTH.get(mode, ()):
        raise ArgumentError(
            f"interpolate: mode={mode!r} of {axes} axes",
            hint="there are 'nearest', 'nearest-exact', 'area', 'linear' for one axis, 'bilinear' "
            "and 'bicubic' for two, 'trilinear' for three",
        )
    if mode in _PLAIN and align is not None:
        raise ArgumentError("interpolate: align_corners is for the linear and cubic modes")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError("interpolate: antialias is for 'bilinear' and 'bicubic'")


def _measures(
    own: list[Any], size: Any, scale_factor: Any, again: bool
) -> tuple[list[Any], list[float | None]]:
    """The new sizes, and the given factors by which positions are measured (None: by sizes)."""
    axes = len(own)
    if size is not None:
        return list(per_axis(size, axes, "size")), [None] * axes
    factors = per_axis(scale_factor, axes, "scale_factor")
    counts = [_scaled(n, float(f)) for n, f in zip(own, factors, strict=True)]
    return counts, [None if again else float(f) for f in factors]


def _scaled(size: Any, factor: float) -> Any:
    if factor == int(factor):
        return size * int(factor)
    return math.floor(int(size) * factor)


def _step(length: int, count: int, scale: float | None, align_corners: bool) -> float:
    """How far apart the places of two neighbours are."""
    if align_corners:
        return (length - 1) / (count - 1) if count > 1 else 0.0
    return 1 / scale if scale else length / max(count, 1)


def _nearest(input: Tensor, axis: int, count: Any, scale: float | None, exact: bool) -> Tensor:
    own = spelled(shape_of(input)[axis])
    times = scale if scale is not None else count / own if count % own == 0 else 0.5
    if isinstance(times, float) and times >= 1 and times == int(times):
        return input if times == 1 else repeat_interleave(input, int(times), axis)
    length, count = int(own), int(count)
    step = np.float32(1 / scale if scale else length / max(count, 1))
    steps = np.arange(count, dtype=np.float32) + np.float32(0.5 if exact else 0)
    places = np.minimum(np.floor(steps * step).astype(np.int64), length - 1)
    return index_select(input, axis, constant(places))


def _centres(count: int, step: float, align_corners: bool) -> np.ndarray:
    steps = np.arange(count, dtype=np.float64)
    return steps * step if align_corners else (steps + 0.5) * step - 0.5


def _linear(length: int, count: int, step: float, align_corners: bool, _: bool) -> Weights:
    """Each element between its two neighbours."""
    centres = np.maximum(_centres(count, step, align_corners), 0)
    low = np.minimum(np.floor(centres).astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    share = (centres - low).clip(0, 1)
    return np.stack([low, high], 1), np.stack([1 - share, share], 1)


def cubic_weight(distance: Any, a: float) -> Any:
    """The weights of elements at a distance of at most 1, and of 1 to 2 (Keys, 1981): of arrays or
    tensors."""
    d = abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return near, far


def _cubic_array(distance: np.ndarray, a: float) -> np.ndarray:
    near, far = cubic_weight(distance, a)
    d = abs(distance)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _cubic(length: int, count: int, step: float, align_corners: bool, _: bool) -> Weights:
    """Each element from the four around it."""
    centres = _centres(count, step, align_corners)
    places = np.floor(centres).astype(np.int64)[:, None] + np.arange(-1, 3)
    weights = _cubic_array(centres[:, None] - places, -0.75)
    return places.clip(0, length - 1), weights


def _smoothed(length: int, count: int, step: float, _: bool, cubic: bool) -> Weights:
    """Each element from all within the reach of the kernel, which is stretched where the image
    becomes smaller."""
    kernel: Callable[[np.ndarray], np.ndarray]
    if cubic:
        radius, kernel = 2.0, lambda d: _cubic_array(d, -0.5)
    else:
        radius, kernel = 1.0, lambda d: np.maximum(1 - abs(d), 0)
    stretch = max(step, 1.0)
    reach = radius * stretch
    centres = step * (np.arange(count) + 0.5)
    low = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    high = np.minimum((centres + reach + 0.5).astype(np.int64), length)
    places = low[:, None] + np.arange(int((high - low).max(initial=1)))
    weights = kernel((places + 0.5 - centres[:, None]) / stretch)
    weights = np.where(places < high[:, None], weights, 0)
    weights = weights / weights.sum(1, keepdims=True)
    return np.minimum(places, length - 1), weights


def _weighted(input: Tensor, axis: int, places: np.ndarray, weights: np.ndarray) -> Tensor:
    """The sum over k of the elements at places[:, k] times weights[:, k]."""
    dtype = here(input).spec.dtype
    count, taps = places.shape
    if taps > 4:
        return _weighted_at_once(input, axis, places, weights)
    result: Any = None
    for k in range(taps):
        taken = index_select(input, axis, constant(places[:, k].copy()))
        shape = [count if a == axis else 1 for a in range(input.ndim)]
        part = mul(taken, reshaped(cast(constant(weights[:, k].copy()), dtype), shape))
        result = part if result is None else add(result, part)
    return result


def _weighted_at_once(input: Tensor, axis: int, places: np.ndarray, weights: np.ndarray) -> Tensor:
    sizes = [spelled(n) for n in shape_of(input)]
    taken = index_select(input, axis, constant(places.reshape(-1)))
    split = reshaped(taken, [*sizes[:axis], *places.shape, *sizes[axis + 1 :]])
    shape = (*weights.shape, *[1] * (input.ndim - axis - 1))
    share = cast(constant(weights.reshape(shape)), here(input).spec.dtype)
    return apply("reduce_sum", [elementwise("mul", split, share)], axes=(axis + 1,))


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` under its former name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode="nearest"."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode="bilinear" (or for other numbers of axes its like), whose corners
    are aligned."""
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)
