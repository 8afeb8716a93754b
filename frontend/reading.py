"""What reads the data of a tensor out: numpy arrays, Python numbers, text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..ir.dtypes import is_foreign, of_numpy
from .context import ambient
from .errors import AutogradError, DTypeError, ShapeError
from .formatting import tensor_text
from .tensor import Tensor, elements, no_data, of_array


def numpy(self: Tensor) -> np.ndarray:
    """The elements as a numpy array that shares the memory.

    Raises:
        AutogradError: the tensor requires grad.
        TraceError: the tensor is traced.
    """
    if self.requires_grad:
        raise AutogradError(
            "numpy() of a tensor that requires grad would lose the history",
            hint="use x.detach().numpy()",
        )
    array = self.array
    self.storage.handed_out = True
    return array


def array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """What `np.asarray(tensor)` asks for; shares the memory unless a copy is needed."""
    array = numpy(self)
    if dtype is not None and np.dtype(dtype) != array.dtype:
        if copy is False:
            raise ValueError(f"{array.dtype} to {dtype} needs a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def item(self: Tensor) -> Any:
    """The only element as a Python number.

    Raises:
        ShapeError: there is not exactly one element.
        TraceError: the tensor is traced.
    """
    if self.storage.trace is not None or ambient.trace is not None:
        no_data(self, "item() was called")
    if self.numel() != 1:
        raise ShapeError(f"item() needs one element, the shape is {list(self.spec.shape)}")
    value = elements(self).reshape(())[()]
    return float(value) if is_foreign(value.dtype) else value.item()


def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers; a number for a 0-d tensor."""
    array = elements(self)
    return (array.astype(np.float32) if is_foreign(array.dtype) else array).tolist()


def length(self: Tensor) -> int:
    """The size of the first axis."""
    if not self.spec.shape:
        raise DTypeError("len() of a 0-d tensor")
    return int(self.shape[0])


def iterate(self: Tensor) -> Iterator[Tensor]:
    """The views along the first axis."""
    if not self.spec.shape:
        raise DTypeError("iteration over a 0-d tensor")
    return (self[i] for i in range(self.shape[0]))


def contains(self: Tensor, element: Any) -> bool:
    """Whether some element equals `element`."""
    wanted = elements(element) if isinstance(element, Tensor) else element
    return bool((elements(self) == wanted).any())


def to_bool(self: Tensor) -> bool:
    """The truth of the only element."""
    return bool(_number(self, "bool()", "its truth decides a Python branch"))


def to_float(self: Tensor) -> float:
    """The only element as a float."""
    return float(_real(_number(self, "float()", "a Python float was made of it"), "float()"))


def to_int(self: Tensor) -> int:
    """The only element as an int."""
    return int(_real(_number(self, "int()", "a Python int was made of it"), "int()"))


def _real(number: Any, what: str) -> Any:
    """A number without an imaginary part.

    Raises:
        DTypeError: it has one that is not 0.
    """
    if isinstance(number, complex):
        if number.imag != 0:
            raise DTypeError(f"{what} of the complex number {number}", hint="take .real or abs()")
        return number.real
    return number


def to_complex(self: Tensor) -> complex:
    """The only element as a complex."""
    return complex(_number(self, "complex()", "a Python complex was made of it"))


def to_index(self: Tensor) -> int:
    """The only element, of an integer dtype, as an index."""
    if self.spec.dtype.kind not in ("int", "uint", "bool"):
        raise DTypeError(f"a tensor of {self.dtype} cannot be an index")
    return int(_number(self, "an index", "it was used as a Python index"))


def _number(self: Tensor, what: str, use: str) -> Any:
    """The only element, for `what`; `use` is the complaint if the tensor has no data."""
    if self.storage.trace is not None or ambient.trace is not None:
        no_data(self, use)
    if self.numel() != 1:
        raise ShapeError(
            f"{what} of a tensor with {self.numel()} elements is ambiguous",
            hint="use .any() or .all()" if what == "bool()" else None,
        )
    return item(self)


def text(self: Tensor) -> str:
    """As PyTorch prints it."""
    return tensor_text(self)


def formatted(self: Tensor, spec: str) -> str:
    """A 0-d tensor formats like its number.

    Raises:
        DTypeError: another tensor with a format.
    """
    if self.storage.trace is None and not self.spec.shape and ambient.trace is None:
        return format(item(self), spec)
    if spec:
        raise DTypeError(
            f"format {spec!r} of a tensor {self.spec}", hint="format one element: x[0].item()"
        )
    return repr(self)


def reverse(self: Tensor) -> Tensor:
    """The elements along the first axis in reverse order: a copy."""
    from .functions.joining import flip

    return flip(self, 0) if self.spec.shape else self


def array_wrap(
    self: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False
) -> Any:
    """What numpy's functions of tensors give: tensors, where sley has the dtype."""
    return of_array(array) if of_numpy(array.dtype) is not None else array


METHODS: dict[str, Callable[..., Any]] = {
    "numpy": numpy,
    "__array__": array,
    "__array_wrap__": array_wrap,
    "__reversed__": reverse,
    "item": item,
    "tolist": tolist,
    "__len__": length,
    "__iter__": iterate,
    "__contains__": contains,
    "__bool__": to_bool,
    "__float__": to_float,
    "__int__": to_int,
    "__complex__": to_complex,
    "__index__": to_index,
    "__repr__": text,
    "__format__": formatted,
}
