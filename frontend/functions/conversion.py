"""Tensor methods that convert: dtypes, devices, new tensors of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dtypes import (
    ALL,
    DType,
    bf16,
    bool_,
    c64,
    c128,
    f16,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    u8,
)
from ..construct import tensor
from ..device import CPU, creating, resolved
from ..errors import DTypeError
from ..moves import to_device
from ..promotion import as_dtype
from ..tensor import Tensor, here
from ..typed import OfDtype
from . import creation
from .arguments import cast

_BY_PUBLIC = {d.public: d for d in ALL} | {
    "float": f32,
    "double": f64,
    "half": f16,
    "char": i8,
    "short": i16,
    "long": i64,
    "cfloat": c64,
    "cdouble": c128,
}


# What PyTorch called tensors of a dtype, where that is not the dtype's own name.
_CLASSES = {f32: "Float", f64: "Double", f16: "Half", bf16: "BFloat16", i32: "Int", i64: "Long",
            i8: "Char", i16: "Short",
            u8: "Byte", bool_: "Bool", c64: "ComplexFloat", c128: "ComplexDouble"}  # fmt: skip


def to_dtype(dtype: Any) -> DType:
    """A dtype by itself, its name ("float32", "sley.float32", "sley.FloatTensor"), the class of its
    tensors, or Python's bool, int, float or complex.

    Raises:
        DTypeError: it is none of these.
    """
    if isinstance(dtype, OfDtype):
        return dtype.dtype
    if isinstance(dtype, str):
        name = dtype.rpartition(".")[2]
        name = name.removesuffix("Tensor").lower() if name.endswith("Tensor") else name
        if name not in _BY_PUBLIC:
            raise DTypeError(f"{dtype!r} is the name of no dtype")
        return _BY_PUBLIC[name]
    return as_dtype(dtype)


def to(
    input: Tensor, *args: Any, dtype: DType | None = None, device: Any = None,
    non_blocking: bool = False, copy: bool = False,
) -> Tensor:  # fmt: skip
    """The tensor as a dtype, on a device, or as another tensor has them: `to(float32)`,
    `to("cpu")`, `to("cpu", float32)`, `to(other)`. Itself where nothing changes and not `copy`.

    Raises:
        ArgumentError: there is no such device.
    """
    for arg in args:
        if isinstance(arg, (DType, type)):
            dtype = as_dtype(arg)
        elif isinstance(arg, Tensor):
            dtype, device = here(arg).spec.dtype, arg.device
        elif not isinstance(arg, bool):
            device = arg
    result = cast(input, dtype)
    if device is not None:
        result = to_device(result, resolved(device))
    return result.clone() if copy and result is input else result


def type_(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The tensor as another dtype (see `to_dtype`); without one, the name of its class of old:
    "sley.FloatTensor", "sley.cuda.FloatTensor"."""
    if dtype is not None:
        return cast(input, to_dtype(dtype))
    own = here(input).spec.dtype
    where = "sley.cuda" if input.device.type == "cuda" else "sley"
    return f"{where}.{_CLASSES.get(own, own.public.capitalize())}Tensor"


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of `other`."""
    return cast(input, here(other).spec.dtype)


def _converter(name: str, dtype: DType) -> Callable[..., Tensor]:
    def convert(input: Tensor) -> Tensor:
        return cast(input, dtype)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The tensor as {dtype.public}; itself where it is."
    return convert


DTYPE_METHODS: dict[str, Callable[..., Tensor]] = {
    name: _converter(name, dtype)
    for name, dtype in {
        "float": f32,
        "double": f64,
        "half": f16,
        "bfloat16": bf16,
        "char": i8,
        "short": i16,
        "int": i32,
        "long": i64,
        "bool": bool_,
        "byte": u8,
        "cfloat": c64,
        "cdouble": c128,
    }.items()
}


def cpu(input: Tensor) -> Tensor:
    """The tensor in the processor's memory: itself where it is there."""
    return to_device(input, CPU)


def cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a GPU, the current one unless named: itself where it is there.

    Raises:
        ArgumentError: there is no such device.
    """
    return to_device(input, resolved("cuda" if device is None else device))


def new_tensor(
    input: Tensor, data: Any, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """A tensor with a copy of `data`, of this dtype and on this device unless given."""
    device = input.device if device is None else device
    return tensor(data, dtype=dtype or here(input).spec.dtype, device=device)


def new_zeros(input: Tensor, *size: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros of shape `size`, of this dtype and on this device unless given."""
    with creating(device, like=here(input).device):
        return creation.zeros(*size, dtype=dtype or here(input).spec.dtype)


def new_ones(input: Tensor, *size: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones of shape `size`, of this dtype and on this device unless given."""
    with creating(device, like=here(input).device):
        return creation.ones(*size, dtype=dtype or here(input).spec.dtype)


def new_full(
    input: Tensor, size: Any, fill_value: Any, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """`fill_value` in the shape `size`, of this dtype and on this device unless given."""
    with creating(device, like=here(input).device):
        return creation.full(size, fill_value, dtype=dtype or here(input).spec.dtype)


def new_empty(input: Tensor, *size: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """As `new_zeros`; the elements are to be written."""
    return new_zeros(input, *size, dtype=dtype, device=device)


def pin_memory(input: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: copies to a GPU go through page-locked memory of sley's own."""
    return input


def is_pinned(input: Tensor, device: Any = None) -> bool:
    """Whether the memory is page-locked: False."""
    return False


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return here(input).spec.dtype.kind not in ("uint", "bool")


def is_cpu(input: Tensor) -> bool:
    """Whether the elements are in the processor's memory."""
    return here(input).device is CPU


def is_cuda(input: Tensor) -> bool:
    """Whether the elements are on a GPU."""
    return here(input).device is not CPU
