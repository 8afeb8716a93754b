"""Data type functions."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import DType
from ..errors import ArgumentError, DTypeError
from ..functions import info
from ..functions.arguments import cast
from ..promotion import promote_types
from ..promotion import result_type as _result_type
from ..tensor import Tensor

_KINDS = {
    "bool": ("bool",), "signed integer": ("int",), "unsigned integer": ("uint",),
    "integral": ("int", "uint"), "real floating": ("float",), "complex floating": ("complex",),
    "numeric": ("int", "uint", "float", "complex"),
}  # fmt: skip


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """`x` in another dtype; a copy, or with `copy=False` itself where it has that one."""
    made = cast(x, dtype) if device is None else cast(x, dtype).to(device)
    return made.clone() if copy and made is x else made


def can_cast(from_: Any, to: DType, /) -> bool:
    """Whether promotion of a dtype (or of an array's) with `to` gives `to`."""
    try:
        return promote_types(_dtype(from_), to) is to
    except DTypeError:
        return False


def finfo(type: Any, /) -> Any:
    """Limits of a floating point dtype; of a complex one, of its parts."""
    dtype = _dtype(type)
    return info.finfo(dtype.to_real() if dtype.kind == "complex" else dtype)


def iinfo(type: Any, /) -> Any:
    """Limits of an integer dtype."""
    return info.iinfo(_dtype(type))


def isdtype(dtype: DType, kind: Any) -> bool:
    """Whether a dtype is of a kind, a name such as "integral", another dtype, or a tuple of these.

    Raises:
        ArgumentError: there is no such kind.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind not in _KINDS:
        raise ArgumentError(f"isdtype: there is no kind {kind!r}", hint=f"kinds: {list(_KINDS)}")
    return dtype.kind in _KINDS[kind]


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that arrays, dtypes and Python numbers promote to."""
    found: DType | None = None
    for value in arrays_and_dtypes:
        if isinstance(value, (Tensor, DType)):
            dtype = _dtype(value)
            found = dtype if found is None else promote_types(found, dtype)
    numbers = [v for v in arrays_and_dtypes if not isinstance(v, (Tensor, DType))]
    if found is None or not numbers:
        return found or _result_type(*numbers)
    order = ("bool", "int", "float", "complex")
    weak = _result_type(*numbers)
    kind = {"uint": "int"}.get(found.kind, found.kind)
    if order.index(weak.kind) <= order.index(kind):
        return found
    return promote_types(found, weak) if weak.kind == "complex" else weak


def _dtype(value: Any) -> DType:
    return value.dtype if isinstance(value, Tensor) else value
