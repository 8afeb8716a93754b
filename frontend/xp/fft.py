"""The Fourier transform extension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dtypes import DType
from .. import fft as own
from ..tensor import Tensor


def _one(source: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(
        x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> Tensor:
        return source(x, n, axis, norm)

    function.__name__ = function.__qualname__ = source.__name__
    function.__doc__ = source.__doc__
    return function


def _several(source: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(
        x: Tensor, /, *, s: Any = None, axes: Any = None, norm: str = "backward"
    ) -> Tensor:
        return source(x, s, axes, norm)

    function.__name__ = function.__qualname__ = source.__name__
    function.__doc__ = source.__doc__
    return function


fft, ifft, rfft, irfft = _one(own.fft), _one(own.ifft), _one(own.rfft), _one(own.irfft)
hfft, ihfft = _one(own.hfft), _one(own.ihfft)
fftn, ifftn, rfftn, irfftn = (
    _several(own.fftn), _several(own.ifftn), _several(own.rfftn), _several(own.irfftn),
)  # fmt: skip


def fftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of the bins of a transform of `n` samples at distances `d`."""
    return own.fftfreq(n, d, dtype=dtype, device=device)


def rfftfreq(
    n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """As `fftfreq`, of a transform of real samples."""
    return own.rfftfreq(n, d, dtype=dtype, device=device)


def fftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """The frequencies in order, with 0 in the middle."""
    return own.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """`fftshift` undone."""
    return own.ifftshift(x, axes)
