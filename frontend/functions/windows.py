"""Window functions for signals: periodic ones (of n + 1 points without the last) or symmetric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...ir.dtypes import DType, f64
from ..apply import elementwise
from ..context import ambient
from ..device import creating
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor
from .arguments import cast
from .creation import iota, ones
from .math import abs, cos


def _places(name: str, length: Any, periodic: bool, dtype: DType) -> Tensor | None:
    """0 .. 1 over the window; None where one point is all there is."""
    if isinstance(length, int) and length < 0:
        raise ArgumentError(f"{name}: a window of {length} points")
    if not dtype.is_float:
        raise DTypeError(f"{name}: windows are of floats, not {dtype.public}")
    if isinstance(length, int) and length <= 1:
        return None
    return elementwise("div", iota((length,), 0, f64), length if periodic else length - 1)


def _cosines(
    name: str, length: Any, periodic: bool, dtype: DType | None, device: Any,
    weights: Sequence[float],
) -> Tensor:  # fmt: skip
    """The sum of weights[k] * cos(2 pi k x)."""
    with creating(device):
        dtype = dtype or ambient.context.default_dtype
        x = _places(name, length, periodic, dtype)
        if x is None:
            return ones(length, dtype=dtype)
        total: Any = weights[0]
        for k, weight in enumerate(weights[1:], 1):
            wave = cos(elementwise("mul", x, 2 * math.pi * k))
            total = elementwise("add", total, elementwise("mul", wave, weight))
        return cast(total, dtype)


def hann_window(
    window_length: Any, periodic: bool = True, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """(1 - cos(2 pi x)) / 2."""
    return _cosines("hann_window", window_length, periodic, dtype, device, (0.5, -0.5))


def hamming_window(
    window_length: Any, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
    dtype: DType | None = None, device: Any = None,
) -> Tensor:  # fmt: skip
    """alpha - beta * cos(2 pi x)."""
    return _cosines("hamming_window", window_length, periodic, dtype, device, (alpha, -beta))


def blackman_window(
    window_length: Any, periodic: bool = True, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """0.42 - 0.5 cos(2 pi x) + 0.08 cos(4 pi x)."""
    return _cosines("blackman_window", window_length, periodic, dtype, device, (0.42, -0.5, 0.08))


def bartlett_window(
    window_length: Any, periodic: bool = True, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """1 - |2 x - 1|: a triangle."""
    with creating(device):
        dtype = dtype or ambient.context.default_dtype
        x = _places("bartlett_window", window_length, periodic, dtype)
        if x is None:
            return ones(window_length, dtype=dtype)
        fall = abs(elementwise("sub", elementwise("mul", x, 2), 1))
        return cast(elementwise("sub", 1, fall), dtype)
