"""Discrete Fourier transforms: numpy's, called on the host.

`norm` is numpy's: "backward" divides by the number of points on the way back, "forward" on the way
there, "ortho" by its root both ways.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..dims import Dim, floordiv
from ..dtypes import f32, f64
from ..types import TensorType
from .base import Attrs, Kind, define, need

NORMS = ("backward", "ortho", "forward")


def half(size: Dim) -> Dim:
    """How many frequencies tell the transform of `size` real numbers."""
    return floordiv(size, 2) + 1


def _check(name: str, type: TensorType, attrs: Attrs, axes: Sequence[int]) -> None:
    need(attrs["norm"] in NORMS, f"norm={attrs['norm']!r} is not of {NORMS}")
    need(
        len(axes) > 0 and len(set(axes)) == len(axes) and all(0 <= a < type.ndim for a in axes),
        f"{name} of {type} over the axes {tuple(axes)}",
    )
    for axis in axes:
        need(type.shape[axis] != 0, f"{name} of {type}: axis {axis} has no elements")


def _infer_fft(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x,) = types
    need(x.dtype.is_complex, f"fft does not take {x.dtype.public}")
    need(isinstance(attrs["inverse"], bool), f"inverse={attrs['inverse']!r} is no bool")
    _check("fft", x, attrs, attrs["axes"])
    return (x,)


def _evaluate_fft(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    transform = np.fft.ifftn if attrs["inverse"] else np.fft.fftn
    return [transform(arrays[0], axes=attrs["axes"], norm=attrs["norm"])]


def _infer_rfft(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x,), axis = types, attrs["axis"]
    need(x.dtype in (f32, f64), f"rfft does not take {x.dtype.public}")
    _check("rfft", x, attrs, (axis,))
    shape = (*x.shape[:axis], half(x.shape[axis]), *x.shape[axis + 1 :])
    return (x.with_dtype(x.dtype.to_complex()).with_shape(shape),)


def _evaluate_rfft(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    return [np.fft.rfft(arrays[0], axis=attrs["axis"], norm=attrs["norm"])]


def _infer_irfft(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x,), axis, size = types, attrs["axis"], attrs["size"]
    need(x.dtype.is_complex, f"irfft does not take {x.dtype.public}")
    _check("irfft", x, attrs, (axis,))
    need(size != 0, "irfft to no elements")
    need(
        x.shape[axis] == half(size),
        f"irfft to {size} numbers needs {half(size)} frequencies, axis {axis} of {x} has "
        f"{x.shape[axis]}",
    )
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    return (x.with_dtype(x.dtype.to_real()).with_shape(shape),)


def _evaluate_irfft(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    return [np.fft.irfft(arrays[0], attrs["size"], axis=attrs["axis"], norm=attrs["norm"])]


FFT = define(
    "fft", Kind.HOST, _infer_fft, _evaluate_fft,
    """y[k] = sum over j of x[j] exp(-2 pi i j k / n) along each of `axes`; with `inverse` the sign
    of the exponent is +.""",
    arity=1, attributes=("axes", "inverse", "norm"),
)  # fmt: skip
RFFT = define(
    "rfft", Kind.HOST, _infer_rfft, _evaluate_rfft,
    """The first n // 2 + 1 elements along `axis` of the transform of n real numbers: the others are
    their conjugates.""",
    arity=1, attributes=("axis", "norm"),
)  # fmt: skip
IRFFT = define(
    "irfft", Kind.HOST, _infer_irfft, _evaluate_irfft,
    """The `size` real numbers whose transform along `axis` begins with these size // 2 + 1
    elements; the imaginary parts of the first, and for an even size of the last, do not count.""",
    arity=1, attributes=("axis", "size", "norm"),
)  # fmt: skip
