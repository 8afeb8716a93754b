"""What PyTorch's constructors of old make: `Tensor(2, 3)`, `FloatTensor([1, 2])`, `Variable(x)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dtypes import DType, bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8
from .construct import as_tensor
from .context import ambient
from .errors import DTypeError
from .symint import SymInt
from .tensor import Size, Tensor


def source_of(given: tuple[Any, ...], dtype: DType | None) -> Tensor:
    """The tensor that a constructor makes of its arguments: sizes (the elements are to be written),
    data in `dtype` or the default one, or another tensor, whose memory it shares.

    Raises:
        DTypeError: they are none of these.
    """
    if len(given) == 1 and isinstance(given[0], Tensor):
        return as_tensor(given[0], dtype=dtype)
    dtype = dtype or ambient.context.default_dtype
    sizes = given[0] if len(given) == 1 and isinstance(given[0], Size) else given
    if all(isinstance(n, (int, SymInt, np.integer)) and not isinstance(n, bool) for n in sizes):
        from .functions.creation import empty

        return empty(tuple(sizes) if given else (0,), dtype=dtype)
    if len(given) != 1 or isinstance(given[0], (bool, float, complex)):
        kinds = ", ".join(type(x).__name__ for x in given)
        raise DTypeError(
            f"Tensor({kinds}): the arguments are sizes, or one sequence of data",
            hint="of a number write sley.tensor(...)",
        )
    return as_tensor(given[0], dtype=dtype)


class OfDtype(type):
    """A class that stands for the tensors of one dtype."""

    dtype: DType

    def __call__(cls, *data: Any) -> Tensor:
        return Tensor(source_of(data, cls.dtype))

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dtype is cls.dtype


def _of_dtype(name: str, dtype: DType) -> Any:
    doc = f"Tensors of {dtype.public}: made of sizes or of data, or told by isinstance()."
    return OfDtype(name, (), {"dtype": dtype, "__doc__": doc, "__module__": "sley"})


FloatTensor = _of_dtype("FloatTensor", f32)
DoubleTensor = _of_dtype("DoubleTensor", f64)
HalfTensor = _of_dtype("HalfTensor", f16)
BFloat16Tensor = _of_dtype("BFloat16Tensor", bf16)
LongTensor = _of_dtype("LongTensor", i64)
IntTensor = _of_dtype("IntTensor", i32)
ShortTensor = _of_dtype("ShortTensor", i16)
CharTensor = _of_dtype("CharTensor", i8)
ByteTensor = _of_dtype("ByteTensor", u8)
BoolTensor = _of_dtype("BoolTensor", bool_)


def Variable(data: Any, requires_grad: bool = False) -> Tensor:
    """A tensor over the memory of `data`, without its history: what tensors were wrapped in
    before they had gradients of their own."""
    made = as_tensor(data).detach()
    return made.requires_grad_() if requires_grad else made
