"""The type of a value: an element type and a shape."""

from __future__ import annotations

from .dims import Dim, product
from .dtypes import DType


class TensorType:
    """dtype and shape of a value; a scalar has the shape (). Interned: equal types are one object.

    Make one with `tensor_type(dtype, shape)`.
    """

    __slots__ = ("_text", "dtype", "shape")
    dtype: DType
    shape: tuple[Dim, ...]
    _text: str

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        return self.size * self.dtype.itemsize

    def with_dtype(self, dtype: DType) -> TensorType:
        return tensor_type(dtype, self.shape)

    def with_shape(self, shape: tuple[Dim, ...]) -> TensorType:
        return tensor_type(self.dtype, shape)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"TensorType({self})"

    def __reduce__(self) -> tuple:
        return tensor_type, (self.dtype, self.shape)


_INTERNED: dict[tuple, TensorType] = {}


def tensor_type(dtype: DType, shape: tuple[Dim, ...] = ()) -> TensorType:
    """The one `TensorType` of this dtype and shape."""
    key = (dtype, shape)
    found = _INTERNED.get(key)
    if found is None:
        found = TensorType.__new__(TensorType)
        found.dtype = dtype
        found.shape = tuple(shape)
        # Made once: type rules put types into messages before they know whether these are needed.
        found._text = f"{dtype.name}[{', '.join(map(str, shape))}]"
        found = _INTERNED.setdefault(key, found)
    return found
