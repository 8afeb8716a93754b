"""Arrays and numbers as text, bit for bit: what the printer writes and the parser reads."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from .dtypes import DType, of_numpy

INLINE_LIMIT = 64  # elements of a constant that stand in the text itself


def format_number(element: np.generic | np.ndarray) -> str:
    """One element: `true`, `-3`, `0.1`, `-0.0`, `inf`, a NaN with its bits, `nan(0x7fc00000)`, or
    a complex number as the pair of its parts, `(1.0, -0.0)`.

    The decimal digits are those of the element as float64, which holds each float exactly.
    """
    array = np.asarray(element)
    dtype = _dtype(array)
    if dtype.kind == "bool":
        return "true" if array else "false"
    if dtype.is_complex:
        return f"({format_number(array.real)}, {format_number(array.imag)})"
    if not dtype.is_floating_point:
        return str(int(array))
    number = float(array)
    if math.isnan(number):
        return f"nan(0x{int.from_bytes(array.tobytes(), 'little'):0{2 * dtype.itemsize}x})"
    return repr(number)


def format_array(array: np.ndarray) -> str:
    """All elements in row-major order, brackets around those of anything but a scalar."""
    if array.shape == ():
        return format_number(array)
    return f"[{', '.join(format_number(e) for e in array.reshape(-1))}]"


def from_numbers(numbers: Sequence[object], dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """The array of these elements: numbers, ints wrapped in `Bits` for a NaN, and pairs of these
    for complex ones.

    Raises:
        ValueError: a number does not fit the dtype, or there are more or fewer than `shape` takes.
    """
    if len(numbers) != math.prod(shape):
        raise ValueError(f"{len(numbers)} elements for the shape {list(shape)}")
    if dtype.is_complex:
        parts = [part for number in numbers for part in _parts(number, dtype)]
        flat = from_numbers(parts, dtype.to_real(), (len(parts),))
        return flat.view(dtype.numpy).reshape(shape)
    array = np.empty(len(numbers), dtype.numpy)
    raw = array.view(np.uint8).reshape(len(numbers), dtype.itemsize)
    for position, number in enumerate(numbers):
        if isinstance(number, Bits):
            raw[position] = np.frombuffer(number.to_bytes(dtype), np.uint8)
        else:
            array[position] = _checked(number, dtype)
    return array.reshape(shape)


def _parts(number: object, dtype: DType) -> tuple[object, object]:
    if not isinstance(number, tuple):
        raise ValueError(f"{number} is no pair, as a number of type {dtype.name} is")
    real, imaginary = number
    return real, imaginary


class Bits:
    """A number given by its bits."""

    __slots__ = ("bits",)

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def to_bytes(self, dtype: DType) -> bytes:
        if self.bits >> dtype.bits:
            raise ValueError(f"{self.bits:#x} does not fit {dtype.name}")
        return self.bits.to_bytes(dtype.itemsize, "little")


def _checked(number: object, dtype: DType) -> object:
    if dtype.kind == "bool":
        if not isinstance(number, bool):
            raise ValueError(f"{number} is no bool")
        return number
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError(f"{number} is no number of type {dtype.name}")
    if dtype.is_floating_point:
        return float(number)
    limits = np.iinfo(dtype.numpy)
    if not isinstance(number, int) or not limits.min <= number <= limits.max:
        raise ValueError(f"{number} does not fit {dtype.name}")
    return number


def array_digest(array: np.ndarray) -> str:
    """sha256 of dtype, shape and elements."""
    header = f"{_dtype(array).name}{list(array.shape)}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def _dtype(array: np.ndarray) -> DType:
    dtype = of_numpy(array.dtype)
    if dtype is None:
        raise ValueError(f"no element type for numpy's {array.dtype}")
    return dtype
