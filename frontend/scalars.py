"""Python numbers as arrays, and arrays broadcast without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dtypes import DType, converted
from .errors import DTypeError
from .promotion import number_dtype


def number_array(number: Any, dtype: DType) -> np.ndarray:
    """A Python number as a 0-d array: rounded, cut off or wrapped around as a cast does.

    Raises:
        DTypeError: it is no number, an int of more than 64 bits for an integer dtype, or a complex
            number with an imaginary part for a real one.
    """
    if type(number) is float and dtype.itemsize >= 4 and dtype.is_float and abs(number) < 1e38:
        return np.asarray(number).astype(dtype.numpy)
    if type(number) is int and 0 <= number < 128:  # exact in every dtype
        return np.array(number, dtype.numpy)
    number = number.item() if isinstance(number, np.generic) else number
    number_dtype(number)
    if isinstance(number, complex):
        if dtype.is_complex:
            return np.asarray(number).astype(dtype.numpy)
        if number.imag != 0:
            raise DTypeError(f"the number {number} does not fit into {dtype.public}")
        number = number.real
    if type(number) is int and dtype.kind == "uint" and dtype.bits == 64 and 0 <= number < 1 << 64:
        return np.array(number, dtype.numpy)
    if isinstance(number, int) and not dtype.is_inexact and not _fits(number):
        raise DTypeError(f"the number {number} does not fit into {dtype.public}")
    with np.errstate(all="ignore"):
        wide = float(number) if dtype.is_inexact and not _fits(number) else number
        return converted(np.asarray(wide), dtype)


def _fits(number: float) -> bool:
    return -(1 << 63) <= number < 1 << 63


def stretched(array: np.ndarray, shape: Any) -> np.ndarray:
    """`array` broadcast to `shape`, to be read only."""
    if not array.flags.c_contiguous or not array.size:
        return np.broadcast_to(array, shape)
    if not array.ndim:
        return np.ndarray(shape, array.dtype, array, strides=(0,) * len(shape))
    missing = len(shape) - array.ndim
    strides = tuple(
        0
        if axis < missing or array.shape[axis - missing] != shape[axis]
        else array.strides[axis - missing]
        for axis in range(len(shape))
    )
    return np.ndarray(shape, array.dtype, array, strides=strides)  # a third of broadcast_to's time
