"""Arrays as attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import of_numpy
from .ops.base import TypeRuleError
from .types import TensorType, tensor_type


class Literal:
    """An array as an attribute: equal when dtype, shape and every bit are."""

    __slots__ = ("_bytes", "_hash", "array")

    def __init__(self, array: Any) -> None:
        self.array = np.ascontiguousarray(array).reshape(np.shape(array))
        self.array.setflags(write=False)
        self._bytes = self.array.tobytes()
        self._hash = hash((self.array.dtype.str, self.array.shape, self._bytes))

    @property
    def type(self) -> TensorType:
        return array_type(self.array)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Literal)
            and self.array.dtype == other.array.dtype
            and self.array.shape == other.array.shape
            and self._bytes == other._bytes
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Literal({self.array.dtype}, {self.array.tolist()})"


def array_type(array: np.ndarray) -> TensorType:
    """The type of a concrete array; TypeRuleError where numpy's dtype has no counterpart."""
    dtype = of_numpy(array.dtype)
    if dtype is None:
        raise TypeRuleError(f"no element type for numpy's {array.dtype}")
    return tensor_type(dtype, array.shape)
