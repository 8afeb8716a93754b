"""`Tensor`: a view of a storage, with its gradient.

The class holds the data model: memory, type, history, gradient. What else a tensor can do is
functions, attached in `methods.py`. One class, in one file: every method reads the same few slots.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..ir.dims import Dim, Expr
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.types import TensorType, tensor_type
from .context import ambient
from .device import CPU, Device
from .epoch import epoch
from .errors import (
    AutogradError,
    DeviceError,
    DTypeError,
    IndexingError,
    ShapeError,
    TraceError,
)
from .storage import Storage
from .strides import contiguous_strides, step_strides
from .symint import SymInt
from .views import Path, Shape, Step

if TYPE_CHECKING:
    from .method_types import Methods as _Attached
else:
    _Attached = object

Hook = Callable[["Tensor"], "Tensor | None"]


class Size(tuple):
    """A shape: a tuple of ints (in a trace also `SymInt`)."""

    __slots__ = ()

    def numel(self) -> Any:
        """The number of elements."""
        total: Any = 1
        for size in self:
            total = total * size
        return total

    def __repr__(self) -> str:
        return f"sley.Size([{', '.join(map(str, self))}])"


class Tensor(_Attached):
    """An array of one dtype that remembers, where asked to, how it was made.

    `Tensor(data)` takes another tensor (shares its memory), or whatever numpy makes an array of, in
    the default dtype; `Tensor(2, 3)` takes sizes.

    Attributes:
        storage: the memory.
        path: the steps from the storage to this tensor.
        base, step: the tensor that this is a view of, and how; None for one that is its own.
        spec: dtype and shape.
    """

    __slots__ = (
        "__weakref__",
        "_array",
        "_grad",
        "_hooks",
        "_requires",
        "_retains",
        "_strides",
        "_tracked",
        "_value",
        "_version",
        "_weak",
        "base",
        "path",
        "spec",
        "step",
        "storage",
    )

    storage: Storage
    path: Path
    base: Tensor | None
    step: Step | None
    spec: TensorType
    _array: np.ndarray | None  # the elements as a view of the storage; None in a trace
    _strides: Shape | None  # in a trace, where they are not those of a dense tensor
    _value: Value | None  # what the tensor held at version `_version` of the storage
    _version: int
    _tracked: bool  # the value has a history (of a root; a view asks its root)
    _requires: bool  # a leaf whose gradient is wanted
    _retains: bool
    _weak: bool  # a Python number in a trace: it promotes like one
    _grad: Tensor | None
    _hooks: dict[int, Hook] | None

    def __init__(self, *data: Any, dtype: DType | None = None, requires_grad: bool = False) -> None:
        from .typed import source_of

        source = source_of(data, dtype)
        init(self, source.storage, source.path, source.spec, source._array)
        self._strides = source._strides
        if requires_grad:
            self.requires_grad_()

    __hash__ = object.__hash__
    __array_priority__ = 1000  # `array + tensor` is a tensor: numpy leaves it to us

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.spec.dtype

    @property
    def shape(self) -> Size:
        """The sizes of the axes; in a trace those that vary are symbolic."""
        shape = self.spec.shape
        if self.storage.trace is None:
            return Size(shape)
        trace = self.storage.trace
        return Size(SymInt(d, trace) if isinstance(d, Expr) else d for d in shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.spec.shape)

    def dim(self) -> int:
        """The number of axes."""
        return len(self.spec.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of axis `dim`."""
        return self.shape if dim is None else self.shape[normal_axis(dim, self.ndim)]

    def numel(self) -> Any:
        """The number of elements."""
        return self.shape.numel()

    def nelement(self) -> Any:
        """The number of elements."""
        return self.shape.numel()

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.spec.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.spec.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        """Bytes of all elements."""
        return self.numel() * self.itemsize

    @property
    def device(self) -> Device:
        """Where the elements lie: the processor, or a GPU by its number."""
        storage = self.storage
        if storage.trace is not None:
            return storage.trace.device_of(self)
        return CPU if storage.place is None else storage.place.device

    def is_floating_point(self) -> bool:
        """Whether the dtype is float16, bfloat16, float32, float64 or one of the float8."""
        return self.spec.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex64 or complex128."""
        return self.spec.dtype.is_complex

    def strides(self) -> Shape:
        """Strides in elements, as dimensions."""
        if self._array is not None:
            size = self._array.itemsize
            return tuple(s // size for s in self._array.strides)
        if self._strides is not None:
            return self._strides
        return contiguous_strides(self.spec.shape)

    def stride(self, dim: int | None = None) -> Any:
        """Strides in elements, or that of axis `dim`."""
        trace = self.storage.trace
        strides = self.strides()
        found: tuple[Any, ...] = strides
        if trace is not None:
            found = tuple(SymInt(s, trace) if isinstance(s, Expr) else s for s in strides)
        return found if dim is None else found[normal_axis(dim, self.ndim)]

    def is_contiguous(self) -> bool:
        """Whether the elements lie densely in row-major order."""
        if self._array is not None:
            return bool(self._array.flags.c_contiguous)
        shape, dense = self.spec.shape, contiguous_strides(self.spec.shape)
        return all(n == 1 or a == b for n, a, b in zip(shape, self.strides(), dense, strict=True))

    def data_ptr(self) -> int:
        """The address of the first element."""
        self.storage.handed_out = True
        if self.storage.place is not None and ambient.trace is None:
            from .accelerator import place_of  # what runs GPUs: most programs need none

            return place_of(self.storage, self.path)[0]
        return int(self.array.__array_interface__["data"][0])

    @property
    def array(self) -> np.ndarray:
        """The elements, as a numpy view of the storage.

        Raises:
            TraceError: a function is recorded; there a traced tensor has no data yet, and that of
                a captured one may be another at the next call.
            DeviceError: they lie on a GPU.
        """
        if self.storage.place is not None and ambient.trace is None:
            raise DeviceError(
                f"a tensor {self.spec} on {self.device} is no numpy array",
                hint="copy it to the processor first: x.cpu()",
            )
        if self._array is None or ambient.trace is not None:
            no_data(self, "its data was asked for")
        return self._array

    # Gradients

    def root(self) -> Tensor:
        """The tensor at the beginning of the chain of views: it has the history."""
        tensor = self
        while tensor.base is not None:
            tensor = tensor.base
        return tensor

    @property
    def requires_grad(self) -> bool:
        """Whether `backward()` computes a gradient through this tensor."""
        if self._requires:
            return True
        root = here(self).root()
        return (root._tracked or root._requires) and self.spec.dtype.is_inexact

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients of this tensor, a leaf, or no longer.

        Raises:
            AutogradError: the tensor is not a leaf, or of integers or bools.
        """
        tensor = here(self)
        if requires_grad and not tensor.spec.dtype.is_inexact:
            raise AutogradError(
                f"only floating point and complex tensors can require gradients, "
                f"this is {tensor.dtype}"
            )
        if requires_grad == tensor.requires_grad:
            return self
        if not tensor.is_leaf:
            raise AutogradError(
                "requires_grad of a tensor that was computed cannot be changed",
                hint="use detach() for one without a history",
            )
        if ambient.trace is not None:
            ambient.trace.note_requires(tensor)
        epoch.count += 1
        tensor.base, tensor.step = None, None  # a leaf is its own beginning
        tensor._requires, tensor._version = requires_grad, -1
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user, not computed from one that requires grad."""
        tensor = here(self)
        return tensor._requires or not tensor.requires_grad

    @property
    def retains_grad(self) -> bool:
        """Whether a computed tensor keeps its gradient (`retain_grad()`)."""
        return here(self)._retains

    @property
    def grad(self) -> Tensor | None:
        """What `backward()` accumulated; None before the first one."""
        trace = ambient.trace
        return self._grad if trace is None else trace.read_grad(self)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise DTypeError(f".grad is a Tensor or None, not a {type(value).__name__}")
            if value.spec != self.spec:
                raise ShapeError(f".grad of a tensor {self.spec} cannot be {value.spec}")
            if value.device is not self.device and ambient.trace is None:
                raise DeviceError(
                    f".grad of a tensor on {self.device} cannot lie on {value.device}",
                    hint=f'move it first: x.to("{self.device}")',
                )
        if ambient.trace is None:
            self._grad = value
        else:
            ambient.trace.write_grad(self, value)

    @property
    def data(self) -> Tensor:
        """The same memory without the history."""
        return self.detach()

    @data.setter
    def data(self, source: Tensor) -> None:
        """Become a view of what `source` is a view of. Gradient and identity stay."""
        trace, target = ambient.trace, self
        if trace is not None:
            target, source = trace.lift(self), trace.lift(source)
            trace.note_data(target, source)
        epoch.count += 1
        target.storage, target.path, target.spec = source.storage, source.path, source.spec
        target._array, target._version, target._tracked = source._array, -1, False
        target._strides = source._strides
        target.base, target.step = None, None


def init(
    tensor: Tensor, storage: Storage, path: Path, type: TensorType, array: np.ndarray | None
) -> None:
    """Fill the slots of a new tensor over a storage, without a history."""
    tensor.storage = storage
    tensor.path = path
    tensor.spec = type
    tensor._array = array
    tensor.base = None
    tensor.step = None
    tensor._value = None
    tensor._version = -1
    tensor._strides = None
    tensor._tracked = False
    tensor._requires = False
    tensor._retains = False
    tensor._weak = False
    tensor._grad = None
    tensor._hooks = None


def make(storage: Storage, path: Path, type: TensorType, array: np.ndarray | None = None) -> Tensor:
    """A tensor over a storage, without a history. `array` is None in a trace."""
    tensor = Tensor.__new__(Tensor)
    init(tensor, storage, path, type, array)
    return tensor


def of_array(array: np.ndarray) -> Tensor:
    """A tensor over the memory of `array` itself (eager)."""
    storage = Storage.of_array(array)
    return make(storage, (), storage.type, array)


def of_memory(array: np.ndarray, type: TensorType, address: int) -> Tensor:
    """As `of_array`, of an array whose type is known, and which is dense and lies at `address`."""
    storage = Storage(type, array)
    storage.dense = storage._pointer = address
    tensor = Tensor.__new__(Tensor)
    init(tensor, storage, (), type, array)
    return tensor


def make_view(base: Tensor, step: Step, strides: Shape | None) -> Tensor:
    """The view of `base` (which must belong to the current mode) by `step`."""
    array = None
    if base._array is not None:
        array = step.array(base._array)
    elif strides is None:
        strides = step_strides(step, base.strides())
    type = tensor_type(step.dtype(base.spec.dtype), step.result)
    view = make(base.storage, (*base.path, step), type, array)
    view._strides = strides
    view._weak = base._weak
    if not ambient.context.grad_enabled and base.requires_grad:
        return view  # detached: a view made without gradients has no history
    view.base, view.step = base, step
    return view


def elements(tensor: Tensor) -> np.ndarray:
    """The elements, to be looked at: those in memory, or a copy of what lies on a GPU.

    Raises:
        TraceError: a function is recorded.
    """
    storage = tensor.storage
    if storage.place is not None and ambient.trace is None:
        return storage.place.get(storage, tensor.path, tensor.spec)
    return tensor.array


def here(tensor: Tensor) -> Tensor:
    """`tensor` as the current mode sees it: in a trace, what stands for a concrete one.

    Raises:
        DTypeError: it is no tensor.
    """
    trace = ambient.trace
    try:
        storage = tensor.storage
    except AttributeError:
        raise DTypeError(
            f"a {type(tensor).__name__} is not a tensor", hint="make one with sley.tensor(...)"
        ) from None
    if storage.trace is trace:
        return tensor
    if trace is None:
        return tensor
    return trace.lift(tensor)


def no_data(tensor: Tensor, use: str) -> NoReturn:
    """Raise the error for asking data of a traced tensor."""
    trace = ambient.trace
    if trace is None and tensor.storage.trace is not None:
        raise TraceError(
            f"this tensor {tensor.spec} belongs to a trace that has ended",
            hint="return it from the compiled function instead of storing it",
        )
    if tensor._weak and trace is not None:
        trace.specialize_number(tensor, use)
    what = "traced" if tensor.storage.trace is not None else "captured"
    raise TraceError(
        f"a {what} tensor {tensor.spec} has no data while the function is recorded, but {use}",
        hint="choose between values with sley.where(condition, a, b), keep numbers as tensors, "
        "or move the line out of the compiled function",
    )


def normal_axis(axis: int, ndim: int) -> int:
    """`axis` counted from the front.

    Raises:
        DTypeError: it is no integer.
        IndexingError: it is out of range.
    """
    if type(axis) is not int:
        axis = _axis_number(axis)
    limit = max(ndim, 1)
    if not -limit <= axis < limit:
        raise IndexingError(
            f"axis {axis} is out of range for a tensor with {ndim} axes",
            hint="axes count from 0, or from -1 backwards; unsqueeze() adds one",
        )
    return axis + limit if axis < 0 else axis


def _axis_number(axis: Any) -> int:
    try:
        return operator.index(axis)
    except TypeError:
        raise DTypeError(
            f"an axis is an integer, not {axis!r}", hint="dim=-1 is the last axis, dim=0 the first"
        ) from None


def dims_of(shape: Any) -> tuple[Dim, ...]:
    """A shape (ints, `SymInt`, dimensions, 0-d tensors) as dimensions.

    Raises:
        DTypeError: a size is not an integer.
    """
    return tuple(map(_dim, shape))


def _dim(size: Any) -> Dim:
    if isinstance(size, SymInt):
        return size.expr
    if isinstance(size, Expr):
        return size
    if isinstance(size, float) or not hasattr(size, "__index__"):
        raise DTypeError(f"a size is an int, not a {type(size).__name__}")
    return operator.index(size)
