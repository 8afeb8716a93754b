"""What a tensor's value is, now and in the current mode, and the tensor of a value.

Eager and traced differ in the builder and in what a value is: known arrays, or a trace's.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.builder import Builder
from ..ir.graph import Value
from ..ir.ops import OPS
from .context import ambient
from .errors import AutogradError
from .storage import Storage
from .strides import path_strides
from .tape import PLAIN, TRACKING, DeviceValue, EagerValue
from .tensor import Tensor, init, make, no_data
from .views import replay

if TYPE_CHECKING:
    from .trace import Trace

_STOP, _RESHAPE = OPS["stop_gradient"], OPS["reshape"]


def builder() -> Builder:
    """What ops emit through now: the trace's recording builder, or the eager tape."""
    trace = ambient.trace
    if trace is not None:
        return trace.builder
    return TRACKING if ambient.context.grad_enabled else PLAIN


def value_of(tensor: Tensor) -> Value:
    """What `tensor` holds now, as a value of the current mode. A value is kept until its storage is
    written."""
    trace = ambient.trace
    if tensor.storage.trace is not trace:
        if trace is None:
            no_data(tensor, "used")
        tensor = trace.lift(tensor)
    if tensor._version == tensor.storage.version:
        return tensor._value  # type: ignore[return-value]
    return _derive(tensor, trace)


def _derive(tensor: Tensor, trace: Trace | None) -> Value:
    """Find the value of a tensor that has none yet, or whose storage was written since."""
    root = tensor.root()
    stale = [tensor]
    while (base := _base(stale[-1])) is not None and base._version != tensor.storage.version:
        stale.append(base)
    for view in reversed(stale):
        value = _derive_one(view, root, trace)
    return value


def _base(tensor: Tensor) -> Tensor | None:
    """What `tensor` is a view of by its last step: an object that changed its own shape since has
    put another in its place."""
    base = tensor.base
    while base is not None and len(base.path) >= len(tensor.path):
        base = tensor.base = base.base
    return base


def _derive_one(tensor: Tensor, root: Tensor, trace: Trace | None) -> Value:
    """As `_derive`, where the value of the base is present."""
    storage = tensor.storage
    if tensor is not root and (root._tracked or root._requires or trace is not None):
        assert tensor.base is not None and tensor.step is not None
        emit_view = TRACKING.emit if trace is None else trace.builder.emit_view
        value = tensor.step.emit(value_of(tensor.base), emit_view)
        if trace is None:
            value = at(value, tensor)
    elif root._tracked:
        raise AutogradError(
            f"a tensor {tensor.spec} with a history was overwritten through a detached view"
            + ("" if storage.written is None else f" at {storage.written}"),
            hint="write to the tensor itself, or to a clone()",
        )
    elif trace is None:
        value = plain_value(tensor)
        if tensor._requires:
            value.tracked, value.leaf = True, weakref.ref(tensor)
    else:
        value = trace.current(storage)
        value = replay(tensor.path, value, trace.builder.emit)
        value = trace.leaf_value(value, tensor) if tensor._requires else trace.untracked(value)
    tensor._value, tensor._version = value, storage.version
    return value


def plain_value(tensor: Tensor) -> EagerValue:
    """What an eager tensor holds, without a history."""
    if tensor._array is None:
        return DeviceValue(tensor.spec, tensor.storage, tensor.path)
    return at(EagerValue(tensor._array, tensor.spec), tensor)


def at(value: Value, tensor: Tensor) -> EagerValue:
    """Note that an eager value lies in the tensor's memory."""
    assert isinstance(value, EagerValue)
    if isinstance(value, DeviceValue):
        value.path, tensor.storage.unclaimed = tensor.path, False
    else:
        assert tensor._array is not None
        value.array = tensor._array
    value.storage, value.version = tensor.storage, tensor.storage.version
    return value


def is_tracked(value: Value) -> bool:
    """Whether a gradient may be asked through `value`."""
    if isinstance(value, EagerValue):
        return value.tracked
    return ambient.trace is not None and value in ambient.trace.tracked


def wrap(value: Value, operands: Sequence[Value] = ()) -> Tensor:
    """A tensor with memory of its own that holds a value just made from `operands`."""
    if isinstance(value, DeviceValue):
        return _wrap_on_device(value)
    if isinstance(value, EagerValue):
        array, type = value.array, value.type
        if not _owned(array, operands):
            array = value.array = np.array(array, order="C")
        value.storage = storage = Storage(type, array)
        value.version = 0
        storage.is_constant = bool(operands) and _are_constant(operands)
        tensor = Tensor.__new__(Tensor)
        init(tensor, storage, (), type, array)
        tensor._tracked = value.tracked
        if value.node is not None and value.node._saved:  # type: ignore[attr-defined]
            value.node.placed(value)  # type: ignore[attr-defined]
    else:
        trace = ambient.trace
        assert trace is not None
        storage = Storage(value.type, trace=trace, value=value)
        tensor = make(storage, (), value.type)
        tensor._tracked = value in trace.tracked
    tensor._value, tensor._version = value, 0
    return tensor


def _wrap_on_device(value: DeviceValue) -> Tensor:
    """As `wrap`, of a value in the memory of a GPU."""
    storage, place = value.storage, value.storage.place
    assert place is not None
    if not storage.unclaimed or any(step.op is not _RESHAPE for step in value.path):
        storage, value.path = place.contiguous(storage, value.path), ()
    elif value.path and value.node is None:
        assert storage.block is not None
        storage.unclaimed = False
        storage, value.path = Storage.of_block(value.type, storage.block, place), ()
    # Else the tape may have the value before it was reshaped: one storage counts the writes.
    storage.unclaimed = False
    value.storage, value.version = storage, 0
    tensor = make(storage, value.path, value.type)
    tensor._value, tensor._version, tensor._tracked = value, 0, value.tracked
    if value.node is not None and value.node._saved:  # type: ignore[attr-defined]
        value.node.placed(value)  # type: ignore[attr-defined]
    return tensor


def over(value: Value) -> Tensor:
    """A tensor over the memory of a value of the current mode, with its history; for handing it to
    functions, not for writing to it."""
    trace = ambient.trace
    storage: Storage | None
    if isinstance(value, DeviceValue):
        strides = path_strides(value.storage.type.shape, value.path)
        if value.path and strides is None:  # a reshape that must copy
            place = value.storage.place
            assert place is not None
            value.storage, value.path = place.contiguous(value.storage, value.path), ()
            value.version = 0
        storage = value.storage
        tensor = make(storage, value.path, value.type)
        tensor._strides = strides
        tensor._tracked, storage.unclaimed = value.tracked, False
    elif isinstance(value, EagerValue):
        storage = value.storage
        if storage is None or storage.array is not value.array:
            storage = Storage(value.type, value.array)
        tensor = make(storage, (), value.type, value.array)
        tensor._tracked = value.tracked
    else:
        assert trace is not None
        storage = Storage(value.type, trace=trace, value=value)
        tensor = make(storage, (), value.type)
        tensor._tracked = value in trace.tracked
    tensor._value, tensor._version = value, storage.version
    return tensor


def _are_constant(operands: Sequence[Any]) -> bool:
    """Whether functions have made all operands of numbers."""
    for value in operands:
        if value.storage is not None and not value.storage.is_constant:
            return False
    return True


def _owned(array: np.ndarray, operands: Sequence[Value]) -> bool:
    """Whether `array` is dense, writable, and no part of an operand's memory."""
    if not array.flags.carray:  # dense and writable
        return False
    owner = array if array.base is None else _owner(array)
    value: Any
    for value in operands:
        other = value.array
        if other is owner:
            return False
        # A result that has memory of its own is new: no op gives what an operand is a view of.
        if owner is not array and other.base is not None and _owner(other) is owner:
            return False
    return True


def _owner(array: Any) -> Any:
    while type(array) is np.ndarray and array.base is not None:
        array = array.base
    return array


def detached_value(value: Value) -> Value:
    """The same elements without a history."""
    return builder().emit(_STOP, (value,)) if is_tracked(value) else value
