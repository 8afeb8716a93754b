"""Tensors and the arrays of other libraries over one memory: DLPack, numpy's protocols, buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.dtypes import bf16
from .construct import constant, from_numpy
from .context import ambient
from .device import resolved
from .dlpack import CPU, DLPackError, capsule, take
from .errors import ArgumentError
from .moves import to_device as move
from .tensor import Tensor


def to_dlpack(
    self: Tensor, *, stream: Any = None, max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None, copy: bool | None = None,
) -> Any:  # fmt: skip
    """A DLPack capsule over the memory of this tensor; with `copy` over a copy.

    Args:
        stream: None: the processor has no streams.
        max_version: what the taker knows; from (1, 0) on the capsule is a versioned one.
        dl_device: None or (1, 0), the processor.

    Raises:
        DLPackError: another stream or device, or the tensor requires grad.
        TraceError: the tensor is traced.
    """
    if stream is not None:
        raise DLPackError(f"stream={stream!r}: the processor has no streams")
    if dl_device is not None and tuple(dl_device) != CPU:
        raise DLPackError(f"dl_device={dl_device!r}: the memory is the processor's, {CPU}")
    if self.requires_grad:
        raise DLPackError(
            "a tensor that requires grad cannot be handed over: its history would be lost",
            hint="use x.detach()",
        )
    array = self.array.copy() if copy else self.array
    versioned = max_version is not None and tuple(max_version) >= (1, 0)
    made = capsule(array, self.spec.dtype, versioned=versioned, copied=bool(copy))
    self.storage.handed_out = True
    return made


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """(1, 0): the processor."""
    return CPU


def from_dlpack(x: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an array of another library, or of a DLPack capsule.

    Memory that must not be written is copied, since tensors can be written.

    Args:
        device: None or "cpu".
        copy: True: always copy; False: never.

    Raises:
        DLPackError: `x` has no such memory on the processor, or it must be copied and may not.
        ArgumentError: there is no such device.
    """
    wanted = resolved(device)
    if type(x).__name__ != "PyCapsule":
        x = _exported(x)
    array, writable = take(x)
    if not writable and copy is False:
        raise DLPackError("the memory is read-only, and copy=False", hint="use copy=None")
    if ambient.trace is not None:
        return constant(array)
    return move(from_numpy(array.copy() if copy or not writable else array), wanted)


def _exported(x: Any) -> Any:
    """The capsule of an array."""
    if not hasattr(x, "__dlpack__"):
        raise DLPackError(f"a {type(x).__name__} has no __dlpack__()")
    if hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] != CPU[0]:
        raise DLPackError(f"a {type(x).__name__} on device {tuple(x.__dlpack_device__())}")
    try:
        return x.__dlpack__(max_version=(1, 0))
    except TypeError:  # from before DLPack 1.0
        return x.__dlpack__()


def array_interface(self: Tensor) -> dict[str, Any]:
    """What numpy reads memory by, of version 3; absent for bfloat16, which it cannot say."""
    if self.spec.dtype is bf16:
        raise AttributeError("__array_interface__ of bfloat16; numpy takes __array__ instead")
    found: dict[str, Any] = self.numpy().__array_interface__
    return found


def buffer(self: Tensor, flags: int, /) -> memoryview:
    """The elements as a buffer (PEP 688: what `memoryview(tensor)` asks from Python 3.12 on).

    Raises:
        BufferError: buffers have no such element type.
    """
    try:
        return memoryview(self.numpy())
    except ValueError as error:
        raise BufferError(str(error)) from None


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The namespace of the Python array API standard: `sley.xp`.

    Raises:
        ArgumentError: another version of the standard is asked for.
    """
    from . import xp

    known = ("2021.12", "2022.12", "2023.12", "2024.12", xp.__array_api_version__)
    if api_version not in (None, *known):
        raise ArgumentError(f"the array API standard {api_version!r} is not known")
    return xp


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device: itself where it lies there.

    Raises:
        ArgumentError: there is no such device, or a stream is given.
    """
    if stream is not None:
        raise ArgumentError("to_device: sley has one stream of its own on each GPU")
    return move(self, resolved(device))


METHODS: dict[str, Callable[..., Any]] = {
    "__array_namespace__": array_namespace,
    "to_device": to_device,
    "__dlpack__": to_dlpack,
    "__dlpack_device__": dlpack_device,
    "__buffer__": buffer,
}
PROPERTIES: dict[str, Callable[[Tensor], Any]] = {"__array_interface__": array_interface}
