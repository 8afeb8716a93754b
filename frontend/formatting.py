"""How a tensor is printed: as PyTorch prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import dtypes
from .context import ambient

if TYPE_CHECKING:
    from .tensor import Tensor

_IMPLIED = (dtypes.i64, dtypes.bool_)


def tensor_text(tensor: Tensor) -> str:
    """`tensor([1., 2.])`, with the dtype where it is not implied, and what made it."""
    notes = []
    type = tensor.type
    trace = ambient.trace
    traced = tensor._array is None or (trace is not None and trace.written(tensor.storage))
    if traced:
        body = f"<traced {type}>"
    else:
        assert tensor._array is not None
        body = _elements(tensor._array, type.dtype)
        default = ambient.context.default_dtype
        if type.dtype not in (*_IMPLIED, default, default.to_complex()):
            notes.append(f"dtype={type.dtype!r}")
        if 0 in type.shape and len(type.shape) > 1:
            notes.append(f"size={type.shape}")
    if tensor.requires_grad:
        name = getattr(tensor, "grad_fn", None)
        notes.append("requires_grad=True" if name is None else f"grad_fn={name!r}")
    return f"tensor({', '.join([body, *notes])})"


def _elements(array: np.ndarray, dtype: dtypes.DType) -> str:
    if dtype.is_float:
        array = array.astype(np.float64)
    if dtype.is_complex:
        return _complex_elements(array.astype(np.complex128))
    if array.ndim == 0:
        return _number(array[()])
    text = np.array2string(
        array,
        separator=", ",
        prefix="tensor(",
        threshold=1000,
        formatter=_formatter(array),
    )
    return text


def _complex_elements(array: np.ndarray) -> str:
    """Real and imaginary parts each with the digits that their own kind needs."""
    if array.ndim == 0:
        return _joined(_number(array.real[()]), _number(array.imag[()]))
    formats = [_formatter(part).get("float_kind", _number) for part in (array.real, array.imag)]

    def both(value: Any) -> str:
        real, imaginary = (f(np.float64(v)) for f, v in zip(formats, (value.real, value.imag)))
        return _joined(real, imaginary)

    return np.array2string(
        array, separator=", ", prefix="tensor(", threshold=1000, formatter={"complex_kind": both}
    )


def _joined(real: str, imaginary: str) -> str:
    text = imaginary.strip()
    return f"{real}{text if text[0] == '-' else '+' + text}j"


def _formatter(array: np.ndarray) -> Any:
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array[:0]
    if not finite.size:
        return {}
    if np.all(finite == np.trunc(finite)) and np.abs(finite).max() < 1e5:
        width = max(len(_number(v)) for v in finite.flat[:1000])
        return {"float_kind": lambda v: _number(v).rjust(width)}
    largest = np.abs(finite).max()
    smallest = np.abs(finite[finite != 0]).min() if np.any(finite) else 0
    if largest >= 1e8 or (smallest and (largest / smallest > 1e3 or smallest < 1e-4)):
        return {"float_kind": lambda v: f"{v: .4e}" if (finite < 0).any() else f"{v:.4e}"}
    width = max(len(f"{v:.4f}") for v in finite.flat[:1000])
    return {"float_kind": lambda v: f"{v:.4f}".rjust(width)}


def _number(value: Any) -> str:
    if value.dtype.kind != "f":
        return str(value)
    if np.isfinite(value) and value == np.trunc(value) and abs(value) < 1e5:
        return f"{value:.0f}."
    if np.isfinite(value) and (abs(value) >= 1e8 or abs(value) < 1e-4):
        return f"{value:.4e}"
    return f"{value:.4f}" if np.isfinite(value) else str(value)
