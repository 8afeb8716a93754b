"""Tensors from data: Python numbers, nested lists, numpy arrays, other tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dtypes import DType, converted, of_numpy, u64
from ..ir.ops import OPS
from ..ir.types import tensor_type
from .apply import apply, builder, constant, detached_value, elementwise, emit, expanded
from .context import ambient
from .device import resolved
from .errors import DTypeError, ShapeError
from .foreign import of_interface
from .moves import to_device
from .promotion import as_dtype, default_complex_dtype, result_type
from .symint import SymInt
from .tensor import Tensor, here, of_array


def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of `data`: a number, nested sequences of numbers, an array, a tensor.

    Python floats get the default dtype, complex numbers that of its precision, ints int64, bools
    bool; arrays keep theirs.

    Raises:
        DTypeError: the data is no array of numbers.
    """
    dtype = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        made = data.detach().clone() if dtype is None else _cast(data.detach(), dtype)
        if made.storage is here(data).storage:
            made = made.clone()
    elif _holds_tensors(data):
        made = _from_tensors(data, dtype)
    elif isinstance(data, SymInt):
        made = elementwise("stop_gradient", data)
        made._weak = False
        made = made if dtype is None else _cast(made, dtype)
    else:
        made = constant(_as_array(data, dtype))
    if device is not None or not isinstance(data, Tensor):
        made = _placed(made, device)
    return made.requires_grad_() if requires_grad else made


def _placed(tensor: Tensor, device: Any) -> Tensor:
    """A new tensor on `device`, or on the default one."""
    wanted = resolved(device)
    if ambient.trace is not None:
        if device is not None:
            ambient.trace.note_device(wanted)
        return tensor
    return to_device(tensor, wanted)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor that shares its memory where it can: a tensor of this dtype is returned as
    it is, a numpy array is wrapped, and so is what has a `__cuda_array_interface__`.

    Raises:
        DTypeError: the data is no array of numbers.
    """
    dtype = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        made = data if dtype is None or dtype is data.dtype else _cast(data, dtype)
        return made if device is None else _placed(made, device)
    if isinstance(data, np.ndarray) and ambient.trace is None and of_numpy(data.dtype) is not None:
        shared = from_numpy(data) if data.flags.writeable else of_array(data.copy())
        made = shared if dtype is None or dtype is shared.dtype else _cast(shared, dtype)
        return _placed(made, device)
    if hasattr(data, "__cuda_array_interface__") and ambient.trace is None:
        shared = of_interface(data)
        made = shared if dtype is None or dtype is shared.dtype else _cast(shared, dtype)
        return made if device is None else _placed(made, device)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor over the memory of a numpy array: writes to one are seen in the other.

    Raises:
        DTypeError: sley has no such dtype, or the array is no numpy array or not writable.
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy() takes a numpy array, not a {type(array).__name__}")
    if of_numpy(array.dtype) is None:
        raise DTypeError(f"sley has no dtype for numpy's {array.dtype}", hint="use astype() first")
    if not array.flags.writeable:
        raise DTypeError("from_numpy() needs a writable array", hint="use sley.tensor(array)")
    if ambient.trace is not None:
        return constant(array)
    if any(s % array.itemsize for s in array.strides):
        array = array.copy()
    shared = of_array(array)
    shared.storage.handed_out = True
    return shared


def _cast(source: Tensor, dtype: DType) -> Tensor:
    return source if source.dtype is dtype else apply("cast", [source], dtype=dtype)


def _as_array(data: Any, dtype: DType | None) -> np.ndarray:
    try:
        array = np.asarray(data)
    except ValueError as error:  # sequences of different lengths
        raise ShapeError(f"no tensor can be made of this {type(data).__name__}: {error}") from None
    except TypeError as error:
        raise DTypeError(f"no tensor can be made of this {type(data).__name__}: {error}") from None
    asked = dtype is u64
    if asked and _is_python(data):
        array = _long_integers(data, array)
    if dtype is None and not _is_python(data):
        dtype = of_numpy(array.dtype.newbyteorder("="))
    elif dtype is None:
        # Python data: numpy's float64 stands for "a float".
        python = {"f": ambient.context.default_dtype, "c": default_complex_dtype()}
        dtype = python.get(array.dtype.kind) or of_numpy(array.dtype)
    if dtype is None or (array.dtype.kind in "OSUMmcV" and of_numpy(array.dtype) is None):
        raise DTypeError(
            f"no tensor can be made of a {type(data).__name__} of {array.dtype}",
            hint="give nested lists of equal lengths with numbers, or an array of them",
        )
    if array.dtype == np.uint64 and _is_python(data) and not asked:
        raise DTypeError("an int of more than 63 bits does not fit into int64")
    if array.dtype.kind == "c" and not dtype.is_complex:
        raise DTypeError(
            f"complex numbers do not fit into {dtype.public}", hint="take .real or abs() first"
        )
    with np.errstate(all="ignore"):
        return converted(array, dtype)


def _is_python(data: Any) -> bool:
    return not isinstance(data, (np.ndarray, np.generic))


def _long_integers(data: Any, array: np.ndarray) -> np.ndarray:
    """Python data for uint64: large integers beside small ones made numpy take floats."""
    try:
        return np.asarray(data, np.uint64)
    except OverflowError:  # negative numbers wrap around, as in a cast
        return array


def _holds_tensors(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return any(isinstance(d, Tensor) or _holds_tensors(d) for d in data)
    return False


def _from_tensors(data: Any, dtype: DType | None) -> Tensor:
    """Nested sequences with 0-d tensors among the numbers."""
    flat: list[Any] = []

    def walk(item: Any) -> tuple[int, ...]:
        if isinstance(item, (list, tuple)):
            shapes = [walk(i) for i in item]
            if len(set(shapes)) > 1:
                raise DTypeError("nested lists of unequal lengths")
            return (len(item), *(shapes[0] if shapes else ()))
        if isinstance(item, Tensor) and item.ndim:
            raise DTypeError(
                f"a list with a tensor of shape {list(item.shape)}", hint="use sley.stack()"
            )
        flat.append(item)
        return ()

    shape = walk(data)
    scalar = tensor_type(dtype or result_type(*flat), ())
    build = builder()
    rows = []
    for item in flat:
        value = detached_value(expanded(item, scalar))
        rows.append(build.emit(OPS["reshape"], (value,), {"shape": (1,)}))
    return emit(OPS["reshape"], (build.emit(OPS["concat"], rows, {"axis": 0}),), {"shape": shape})
