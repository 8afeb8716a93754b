"""Convolutions and pooling, with and without gradients; N C spatial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..workload import Workload
from .functions import floats, function

_GROUP = "conv and pooling"
_LETTERS = {1: "H", 2: "HW", 3: "DHW"}


def jax_conv(
    jax: Any, x: Any, w: Any, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Any:
    n = w.ndim - 2
    letters = _LETTERS[n]
    return jax.lax.conv_general_dilated(
        x, w, (stride,) * n, ((padding, padding),) * n, rhs_dilation=(dilation,) * n,
        dimension_numbers=(f"NC{letters}", f"OI{letters}", f"NC{letters}"),
        feature_group_count=groups,
    )  # fmt: skip


def jax_max_pool(jax: Any, x: Any, size: int, stride: int, padding: int = 0) -> Any:
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return jax.lax.reduce_window(
        x, -np.inf, jax.lax.max, (1, 1, size, size), (1, 1, stride, stride), around
    )


def _conv(
    name: str,
    shape: Sequence[int],
    outputs: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    backward: bool = False,
) -> Workload:
    batch, channels, *image = shape
    n = len(image)
    weight = (outputs, channels // groups, *[kernel] * n)
    reach = dilation * (kernel - 1) + 1
    result = (batch, outputs, *((s + 2 * padding - reach) // stride + 1 for s in image))
    small = tuple(reach + 3 for _ in image)
    small_result = tuple((s + 2 * padding - reach) // stride + 1 for s in small)
    shapes = [tuple(shape), weight] + [result] * backward
    tiny = [(1, channels, *small), weight] + [(1, outputs, *small_result)] * backward
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    words = [name, "x".join(map(str, shape))] + ["forward and backward"] * backward
    elements = [int(np.prod(s)) for s in (shape, weight, result)]
    return function(
        ", ".join(words), _GROUP, floats(*shapes, tiny=tiny),
        lambda library, x, w: getattr(library.functional, f"conv{n}d")(x, w, **options),
        lambda jax, x, w: jax_conv(jax, x, w, **options), gradients=2 * backward,
        flops=2 * elements[2] * int(np.prod(weight[1:])) * (3 if backward else 1),
        nbytes=4 * sum(elements) * (2 if backward else 1), tolerance=1e-4, exported=not backward,
    )  # fmt: skip


def _max_pool(
    shape: tuple[int, ...], size: int, stride: int, padding: int, backward: bool = False
) -> Workload:
    small = (2, 3, 8, 8)
    of = [
        (*s[:2], *((n + 2 * padding - size) // stride + 1 for n in s[2:])) for s in (shape, small)
    ]
    name = f"max pool {size}x{size}, stride {stride}, {'x'.join(map(str, shape))}"
    moved = (int(np.prod(shape)) + int(np.prod(of[0]))) * (2 if backward else 1)
    return function(
        name + ", forward and backward" * backward, _GROUP,
        floats(*[shape, of[0]][: 1 + backward], tiny=[small, of[1]][: 1 + backward]),
        lambda library, x: library.functional.max_pool2d(x, size, stride, padding),
        lambda jax, x: jax_max_pool(jax, x, size, stride, padding), gradients=int(backward),
        nbytes=4 * moved, exported=not backward,
    )  # fmt: skip


def _average_pool(shape: tuple[int, ...]) -> Workload:
    def jax_like(jax: Any, x: Any) -> Any:
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4

    return function(
        f"average pool 2x2, {'x'.join(map(str, shape))}", _GROUP,
        floats(shape, tiny=[(2, 3, 8, 8)]),
        lambda library, x: library.functional.avg_pool2d(x, 2), jax_like,
        nbytes=5 * int(np.prod(shape)), exported=True,
    )  # fmt: skip


def _transposed_conv(batch: int, inputs: int, outputs: int, side: int) -> Workload:
    """With 2x2 windows side by side, as nets that enlarge images have them."""

    def jax_like(jax: Any, x: Any, w: Any) -> Any:
        y = jax.numpy.einsum("nchw,coij->nohiwj", x, w)
        return y.reshape(x.shape[0], w.shape[1], 2 * x.shape[2], 2 * x.shape[3])

    return function(
        f"transposed conv 2x2, {batch}x{inputs}x{side}x{side}", _GROUP,
        floats((batch, inputs, side, side), (inputs, outputs, 2, 2),
               tiny=[(1, 5, 4, 4), (5, 3, 2, 2)]),
        lambda library, x, w: library.functional.conv_transpose2d(x, w, stride=2), jax_like,
        flops=8 * batch * inputs * outputs * side**2, tolerance=1e-4, exported=True,
        nbytes=4 * batch * side**2 * (inputs + 4 * outputs),
    )  # fmt: skip


_IMAGE = (8, 64, 56, 56)
_DEPTH = (8, 96, 56, 56)

WORKLOADS = (
    _conv("conv 3x3 to 64", _IMAGE, 64, 3, padding=1),
    _conv("conv 3x3 to 64", _IMAGE, 64, 3, padding=1, backward=True),
    _conv("conv 3x3 to 47", (7, 33, 31, 29), 47, 3, padding=1),
    _conv("conv 3x3 of stride 2 to 128", _IMAGE, 128, 3, stride=2, padding=1),
    _conv("conv 1x1 to 64", (8, 256, 28, 28), 64, 1),
    _conv("conv 7x7 of stride 2 to 64", (1, 3, 224, 224), 64, 7, stride=2, padding=3),
    _conv("conv 3x3 dilated by 2 to 64", (2, 64, 56, 56), 64, 3, padding=2, dilation=2),
    _conv("conv 3x3 in 4 groups to 64", _IMAGE, 64, 3, padding=1, groups=4),
    _conv("depthwise conv 3x3", _DEPTH, 96, 3, padding=1, groups=96),
    _conv("depthwise conv 3x3", _DEPTH, 96, 3, padding=1, groups=96, backward=True),
    _conv("conv of 9 in one dimension to 128", (16, 64, 1000), 128, 9, padding=4),
    _conv("conv 3x3x3 to 32", (1, 16, 24, 32, 32), 32, 3, padding=1),
    _transposed_conv(4, 128, 64, 32),
    _max_pool((8, 64, 112, 112), 3, 2, 1),
    _max_pool((8, 64, 112, 112), 3, 2, 1, backward=True),
    _max_pool((64, 32, 28, 28), 2, 2, 0, backward=True),
    _average_pool((8, 64, 112, 112)),
)
