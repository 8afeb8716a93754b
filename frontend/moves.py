"""Copies of elements from one device to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.graph import Node, Value
from ..ir.ops import OPS
from .context import ambient
from .device import CPU, Device
from .errors import TraceError
from .storage import Storage
from .tape import DeviceValue, EagerValue, TapeNode
from .tensor import Tensor, make, of_array
from .unwatched import user_line
from .values import value_of, wrap

if TYPE_CHECKING:
    from .trace import Trace

_OPAQUE = OPS["opaque"]


def device_of(value: EagerValue) -> Device:
    """Where the elements of an eager value lie."""
    if not isinstance(value, DeviceValue):
        return CPU
    assert value.storage.place is not None
    return value.storage.place.device


def on_host(value: EagerValue) -> np.ndarray:
    """The elements of an eager value; a copy of what lies on a GPU."""
    if not isinstance(value, DeviceValue):
        return value.array
    assert value.storage.place is not None
    return value.storage.place.get(value.storage, value.path, value.type)


def moved(value: EagerValue, device: Device) -> EagerValue:
    """The elements of an eager value on `device`, another one than its own; a gradient goes back.

    Raises:
        OutOfMemoryError: the GPU's memory does not suffice.
    """
    array = on_host(value)
    made: EagerValue
    if device is CPU:
        made = EagerValue(array, value.type)
    else:
        from .accelerator import accelerator  # what runs GPUs: most programs need none

        made = DeviceValue.new(value.type, accelerator(device).put(array))
    if value.tracked and ambient.context.grad_enabled:
        source = device_of(value)

        def pull(
            node: Node, cotangents: Sequence[Value | None], wanted: Sequence[bool]
        ) -> list[Any]:
            return [on(c, source) for c in cotangents]

        attrs = {"pull": pull, "name": "ToCopy"}
        TapeNode(_OPAQUE, (value,), attrs, (), user_line(), (made,))
    return made


def on(value: Any, device: Device) -> Any:
    """An eager value on `device`: itself where it lies there; None stays."""
    return value if value is None or device_of(value) is device else moved(value, device)


def beside_value(value: Value, like: Value) -> Value:
    """`value`, which may be made of numbers, where `like` lies.

    Raises:
        DeviceError: it is a tensor of another device.
    """
    if not isinstance(like, EagerValue) or not isinstance(value, EagerValue):
        return value
    device = device_of(like)
    if device_of(value) is device:
        return value
    if device is CPU or value.tracked:
        return moved(value, device)
    from .accelerator import accelerator  # what runs GPUs: most programs need none
    from .device_ops import on_place

    return on_place(value, accelerator(device), "a gradient")


def _moved_in_trace(trace: Trace, tensor: Tensor, device: Device) -> Tensor:
    """As `to_device`; what comes from the processor is copied to the GPU at each call."""
    shadow = trace.lift(tensor)
    own = trace.device_of(shadow)
    if own is device:
        return tensor
    trace.note_device(device)
    if device is CPU or not trace.upload(shadow.storage):
        raise TraceError(
            f"a tensor on {own} cannot become one on {device} while a function is recorded",
            hint="return it, and move it after the call",
        )
    value = value_of(shadow)
    moved = make(Storage(value.type, trace=trace, value=value), (), value.type)
    moved._value, moved._version, moved._tracked = value, 0, value in trace.tracked
    return moved


def to_device(tensor: Tensor, device: Device) -> Tensor:
    """`tensor` on `device`: itself where it lies there, else a copy through which gradients go."""
    if ambient.trace is not None:
        return _moved_in_trace(ambient.trace, tensor, device)
    if tensor.device is device:
        return tensor
    value = value_of(tensor)
    assert isinstance(value, EagerValue)
    return wrap(moved(value, device), (value,))


def number_beside(value: Any, tensor: Tensor) -> Any:
    """`value` on the device of `tensor` where it is a 0-d tensor of the processor, which goes along
    with others; for what stretches it before an op has both. Else itself."""
    if ambient.trace is not None or not isinstance(value, Tensor):
        return value
    goes = not value.spec.shape and value.device is CPU
    return to_device(value, tensor.device) if goes else value


def beside(array: np.ndarray, tensor: Tensor) -> Tensor:
    """A tensor of the elements of a new array, on the device of `tensor`; eager."""
    return to_device(of_array(array), tensor.device)
