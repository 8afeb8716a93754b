"""Pooling by powers, and the way back from maxima."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...errors import ArgumentError, ShapeError
from ...functions.arguments import reshaped, shape_of, spelled
from ...functions.creation import zeros
from ...functions.math import abs, mul, pow, sign
from ...functions.select import scatter
from ...tensor import Tensor, here
from .activation import relu
from .arguments import per_axis
from .pooling import avg_pool1d, avg_pool2d, avg_pool3d

_AVERAGES = (avg_pool1d, avg_pool2d, avg_pool3d)


def _lp_function(axes: int) -> Callable[..., Tensor]:
    def lp_pool(
        input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None,
        ceil_mode: bool = False,
    ) -> Tensor:  # fmt: skip
        mean = _AVERAGES[axes - 1](pow(input, norm_type), kernel_size, stride, 0, ceil_mode)
        count = math.prod(per_axis(kernel_size, axes, "kernel_size"))
        total = mul(mul(sign(mean), relu(abs(mean))), count)
        return pow(total, 1.0 / norm_type)

    lp_pool.__name__ = lp_pool.__qualname__ = f"lp_pool{axes}d"
    lp_pool.__doc__ = (
        f"(sum of x ** norm_type) ** (1 / norm_type) of each window over the last {axes} axes."
    )
    return lp_pool


lp_pool1d, lp_pool2d, lp_pool3d = map(_lp_function, (1, 2, 3))


def _unpool(
    input: Tensor, indices: Tensor, kernel: Any, stride: Any, padding: Any, output_size: Any,
    axes: int,
) -> Tensor:  # fmt: skip
    name = f"max_unpool{axes}d"
    if input.ndim not in (axes + 1, axes + 2) or shape_of(indices) != shape_of(input):
        raise ShapeError(
            f"{name} of {here(input).spec} with indices {here(indices).spec}",
            hint="both are [N, C, ...] or [C, ...], as max_pool with return_indices gives them",
        )
    sizes = per_axis(kernel, axes, "kernel_size")
    strides = sizes if stride is None else per_axis(stride, axes, "stride")
    pads = per_axis(padding, axes, "padding")
    outer = [spelled(n) for n in shape_of(input)[:-axes]]
    own = [spelled(n) for n in shape_of(input)[-axes:]]
    wanted = [(n - 1) * s + k - 2 * p
              for n, s, k, p in zip(own, strides, sizes, pads, strict=True)]  # fmt: skip
    if output_size is not None:
        given = list(output_size)[-axes:]
        for size, usual, step in zip(given, wanted, strides, strict=True):
            if not (usual - step < size and size < usual + step):
                raise ArgumentError(f"{name}: output_size={list(output_size)}, expected {wanted} "
                                    "(less or more by less than a stride)")  # fmt: skip
        wanted = given
    flat = zeros([*outer, math.prod(wanted)], dtype=here(input).spec.dtype)
    places, values = (reshaped(t, [*outer, math.prod(own)]) for t in (indices, input))
    return reshaped(scatter(flat, -1, places, values), [*outer, *wanted])


def _unpool_function(axes: int) -> Callable[..., Tensor]:
    def max_unpool(
        input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
        output_size: Any = None,
    ) -> Tensor:  # fmt: skip
        return _unpool(input, indices, kernel_size, stride, padding, output_size, axes)

    max_unpool.__name__ = max_unpool.__qualname__ = f"max_unpool{axes}d"
    max_unpool.__doc__ = (
        f"The elements that max_pool{axes}d chose, put back to the places that it gave as indices, "
        "0 elsewhere. `output_size` decides where several sizes would have been pooled to this one."
    )
    return max_unpool


max_unpool1d, max_unpool2d, max_unpool3d = map(_unpool_function, (1, 2, 3))
