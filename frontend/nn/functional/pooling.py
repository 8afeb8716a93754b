"""Pooling: windows reduced to their largest element or their mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ....ir.ops.reduction import lowest
from ...apply import apply, elementwise
from ...composite import composite
from ...errors import ShapeError, UnsupportedError
from ...functions.arguments import shape_of, spelled
from ...functions.creation import iota, ones
from ...functions.shape import constant_pad
from ...tensor import Tensor, here
from .arguments import check_windows, per_axis


class _Windows:
    """Where the windows of a pooling lie.

    Attributes:
        low, high: elements added before and after each pooled axis.
    """

    def __init__(
        self, input: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any,
        ceil_mode: bool, axes: int, name: str,
    ) -> None:  # fmt: skip
        if input.ndim not in (axes + 1, axes + 2):
            raise ShapeError(
                f"{name} of {here(input).spec}: it takes {axes + 1} or {axes + 2} axes",
                hint="the input is [N, channels, ...] or [channels, ...]; unsqueeze() adds an axis",
            )
        self.axes = tuple(range(input.ndim - axes, input.ndim))
        self.sizes = per_axis(kernel, axes, "kernel_size")
        empty = stride is None or (isinstance(stride, (tuple, list)) and not stride)
        self.strides = self.sizes if empty else per_axis(stride, axes, "stride")
        self.dilations = per_axis(dilation, axes, "dilation")
        self.low = per_axis(padding, axes, "padding")
        self.high = self.low
        for size, pad in zip(self.sizes, self.low, strict=True):
            if pad > size // 2:
                raise ShapeError(f"{name}: the padding {pad} is more than half of {size}")
        if ceil_mode:
            shape = shape_of(input)
            self.high = tuple(self._covering(shape[a], k) for k, a in enumerate(self.axes))
        pads = list(zip(self.low, self.high, strict=True))
        pooled = shape_of(input)[-axes:]
        check_windows(name, pooled, self.sizes, self.strides, self.dilations, pads)

    def _covering(self, size: Any, k: int) -> int:
        """The padding after an axis with which a last window that is cut off counts, too."""
        if not isinstance(size, int):
            raise UnsupportedError("ceil_mode over a symbolic size", hint="pad the input instead")
        stride, pad = self.strides[k], self.low[k]
        reach = self.dilations[k] * (self.sizes[k] - 1) + 1
        count = math.ceil((size + 2 * pad - reach) / stride) + 1
        if (count - 1) * stride >= size + pad:
            count -= 1  # the last window would lie in the padding alone
        return max((count - 1) * stride + reach - size - pad, 0)

    def of(self, input: Tensor, fill: Any) -> Tensor:
        """All windows of the padded input: their elements are the last axes."""
        lead = (0,) * (input.ndim - len(self.axes))
        if any(self.low) or any(self.high):
            input = constant_pad(input, lead + self.low, lead + self.high, fill)
        return apply(
            "window",
            [input],
            axes=self.axes,
            sizes=self.sizes,
            strides=self.strides,
            dilations=self.dilations,
        )

    def inner(self, ndim: int) -> tuple[int, ...]:
        """The axes inside the windows."""
        return tuple(range(ndim, ndim + len(self.axes)))


@composite
def _max_pool(
    input: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool, axes: int,
) -> Any:  # fmt: skip
    windows = _Windows(
        input, kernel, stride, padding, dilation, ceil_mode, axes, f"max_pool{axes}d"
    )
    found = windows.of(input, lowest(here(input).spec.dtype))
    inner = windows.inner(input.ndim)
    values = apply("reduce_max", [found], axes=inner, ties="first")
    if not return_indices:
        return values
    return values, _places(apply("argmax", [found], axes=inner), windows, input)


def _places(chosen: Tensor, windows: _Windows, input: Tensor) -> Tensor:
    """Where in the flattened pooled axes of the input the chosen element of each window lies."""
    shape = [spelled(n) for n in shape_of(chosen)]
    place: Any = 0
    for k, axis in enumerate(windows.axes):
        below = math.prod(windows.sizes[k + 1 :])
        offset = elementwise("floor_div", chosen, below)
        chosen = elementwise("sub", chosen, elementwise("mul", offset, below))
        begin = elementwise("mul", iota(shape, axis), windows.strides[k])
        offset = elementwise("mul", offset, windows.dilations[k])
        here_ = elementwise("sub", elementwise("add", begin, offset), windows.low[k])
        size = spelled(shape_of(input)[axis])
        place = here_ if k == 0 else elementwise("add", elementwise("mul", place, size), here_)
    return place


def _max_pool_function(axes: int) -> Callable[..., Any]:
    def max_pool(
        input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        given = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        return _max_pool(input, *given, axes)

    max_pool.__name__ = max_pool.__qualname__ = f"max_pool{axes}d"
    max_pool.__doc__ = (
        f"The largest element of each window over the last {axes} axes, padded with -inf; the "
        "gradient goes to the first of equal ones. With `return_indices` also int64 places in the "
        "flattened pooled axes."
    )
    return max_pool


max_pool1d, max_pool2d, max_pool3d = (_max_pool_function(axes) for axes in (1, 2, 3))


@composite
def _avg_pool(
    input: Tensor, kernel: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None, axes: int,
) -> Tensor:  # fmt: skip
    windows = _Windows(input, kernel, stride, padding, 1, ceil_mode, axes, f"avg_pool{axes}d")
    inner = windows.inner(input.ndim)
    total = apply("reduce_sum", [windows.of(input, 0)], axes=inner)
    whole = windows.high == windows.low and (count_include_pad or not any(windows.low))
    if divisor_override is not None:
        return elementwise("div", total, divisor_override)
    if whole:
        return elementwise("div", total, math.prod(windows.sizes))
    sizes = [spelled(shape_of(input)[a]) for a in windows.axes]
    there = ones(sizes, dtype=here(input).spec.dtype)
    if count_include_pad:
        there = constant_pad(there, windows.low, windows.low, 1)
        extra = tuple(h - p for h, p in zip(windows.high, windows.low, strict=True))
        there = constant_pad(there, (0,) * axes, extra, 0)
    else:
        there = constant_pad(there, windows.low, windows.high, 0)
    counted = apply(
        "window", [there], axes=tuple(range(axes)), sizes=windows.sizes, strides=windows.strides,
        dilations=windows.dilations,
    )  # fmt: skip
    count = apply("reduce_sum", [counted], axes=tuple(range(axes, 2 * axes)))
    return elementwise("div", total, count)


def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window over the last axis; the zeros of the padding count unless told."""
    return _avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)


def _avg_pool_function(axes: int) -> Callable[..., Tensor]:
    def avg_pool(
        input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:  # fmt: skip
        given = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return _avg_pool(input, *given, axes)

    avg_pool.__name__ = avg_pool.__qualname__ = f"avg_pool{axes}d"
    avg_pool.__doc__ = (
        f"The mean of each window over the last {axes} axes; the zeros of the padding count unless "
        "`count_include_pad` is False. `divisor_override` takes the place of the count."
    )
    return avg_pool


avg_pool2d, avg_pool3d = (_avg_pool_function(axes) for axes in (2, 3))
