"""Arrays from data, and of constants."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import DType
from ..construct import as_tensor, tensor
from ..device import resolved
from ..errors import ArgumentError
from ..functions import creation
from ..interop import from_dlpack as _from_dlpack
from ..tensor import Tensor


def asarray(
    obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    """`obj` (a number, nested sequences, an array, a tensor) as a tensor.

    Raises:
        ArgumentError: `copy` is False and a copy is needed.
    """
    if copy:
        return tensor(obj, dtype=dtype, device=device)
    if copy is None:
        return as_tensor(obj, dtype=dtype, device=device)
    made = None if isinstance(obj, (bool, int, float, complex, list, tuple)) else as_tensor(obj)
    elsewhere = device is not None and made is not None and made.device is not resolved(device)
    if made is None or elsewhere or (dtype is not None and dtype is not made.dtype):
        raise ArgumentError("asarray(copy=False): a copy is needed")
    return made


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array."""
    return _from_dlpack(x, device=device, copy=copy)


def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: DType | None = None,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """start, start + step, ... up to but without `stop`; `arange(stop)` begins at 0."""
    if stop is None:
        start, stop = 0, start
    if not isinstance(step, float) and (stop - start) * step < 0:
        return creation.zeros(0, dtype=dtype or creation.arange(0, 1, abs(step)).dtype)
    return creation.arange(start, stop, step, dtype=dtype, device=device)


def linspace(
    start: Any, stop: Any, /, num: Any, *, dtype: DType | None = None, device: Any = None,
    endpoint: bool = True,
) -> Tensor:  # fmt: skip
    """`num` numbers from `start` to `stop` at equal distances, with `stop` or without."""
    count = num if endpoint else num + 1
    made = creation.linspace(start, stop, count, dtype=dtype, device=device)
    return made if endpoint else made[:num]


def eye(
    n_rows: Any, n_cols: Any = None, /, *, k: int = 0, dtype: DType | None = None,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Ones on the `k`-th diagonal, zeros elsewhere."""
    if k == 0:
        return creation.eye(n_rows, n_cols, dtype=dtype, device=device)
    rows, columns = n_rows, n_rows if n_cols is None else n_cols
    line = creation.ones(rows, columns, dtype=dtype, device=device)
    return creation.triu(creation.tril(line, k), k)


def full(shape: Any, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`fill_value` in every place of `shape`."""
    return creation.full(_shape(shape), fill_value, dtype=dtype, device=device)


def zeros(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros."""
    return creation.zeros(_shape(shape), dtype=dtype, device=device)


def ones(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones."""
    return creation.ones(_shape(shape), dtype=dtype, device=device)


def empty(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """A tensor whose elements are to be written."""
    return creation.empty(_shape(shape), dtype=dtype, device=device)


def _shape(shape: Any) -> Any:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


def full_like(
    x: Tensor, /, fill_value: Any, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """`fill_value` in the shape (and dtype) of `x`."""
    return creation.full_like(x, fill_value, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros of the shape (and dtype) of `x`."""
    return creation.zeros_like(x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones of the shape (and dtype) of `x`."""
    return creation.ones_like(x, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """A tensor of the shape (and dtype) of `x` whose elements are to be written."""
    return creation.empty_like(x, dtype=dtype, device=device)


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The lower triangles of matrices."""
    return creation.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The upper triangles of matrices."""
    return creation.triu(x, k)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> list[Tensor]:
    """Coordinates of a grid."""
    return list(creation.meshgrid(*arrays, indexing=indexing))
