"""Images of another size."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...apply import constant
from ...errors import ArgumentError, UnsupportedError
from ...functions.arguments import reshaped, shape_of, spelled
from ...functions.joining import repeat_interleave
from ...functions.math import lerp
from ...functions.select import index_select
from ...tensor import Tensor, here
from .arguments import per_axis

_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """[N, C, ...] with its axes made `size` long, or `scale_factor` times as long.

    Args:
        mode: "nearest" repeats or skips elements; "linear", "bilinear" and "trilinear" (for one,
            two and three axes) go straight from one to the next.
        align_corners: of the linear modes: whether the first and last elements stay where they
            are, rather than the borders of the image.

    Raises:
        UnsupportedError: another mode, or one for another number of axes.
        ArgumentError: neither or both of size and scale_factor; align_corners with "nearest".
    """
    axes = input.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate needs either size or scale_factor")
    if mode != "nearest" and _LINEAR.get(mode) != axes:
        raise UnsupportedError(
            f"interpolate: mode={mode!r} of {axes} axes",
            hint="there are 'nearest', and 'linear', 'bilinear', 'trilinear' for 1, 2, 3 axes",
        )
    if mode == "nearest" and align_corners is not None:
        raise ArgumentError("interpolate: align_corners is for the linear modes")
    given = per_axis(
        scale_factor if size is None else size, axes, "scale_factor" if size is None else "size"
    )
    for axis, number in enumerate(given, start=2):
        own = spelled(shape_of(input)[axis])
        factor = number if size is None else number / own
        if mode == "nearest" and factor == int(factor) and factor >= 1:
            input = repeat_interleave(input, int(factor), axis)
            continue
        count = int(own * factor) if size is None else int(number)
        step = 1 / factor if size is None else int(own) / max(count, 1)
        if mode == "nearest":
            input = _nearest(input, axis, count, step)
        else:
            input = _linear(input, axis, count, step, bool(align_corners))
    return input


def _nearest(input: Tensor, axis: int, count: int, step: float) -> Tensor:
    last = int(spelled(shape_of(input)[axis])) - 1
    places = np.floor(np.arange(count, dtype=np.float32) * np.float32(step)).astype(np.int64)
    return index_select(input, axis, constant(np.minimum(places, last)))


def _linear(input: Tensor, axis: int, count: int, step: float, align_corners: bool) -> Tensor:
    """Each element between its two neighbours along one axis."""
    last = int(spelled(shape_of(input)[axis])) - 1
    if align_corners:
        places = np.linspace(0, last, count) if count > 1 else np.zeros(count)
    else:
        places = np.maximum((np.arange(count) + 0.5) * step - 0.5, 0)
    low = np.minimum(np.floor(places).astype(np.int64), last)
    weights = (places - low).clip(0, 1).astype(here(input).type.dtype.numpy)
    shape = [count if a == axis else 1 for a in range(input.ndim)]
    before = index_select(input, axis, constant(low))
    after = index_select(input, axis, constant(np.minimum(low + 1, last)))
    return lerp(before, after, reshaped(constant(weights), shape))
