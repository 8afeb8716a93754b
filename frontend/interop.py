"""Tensors and the arrays of other libraries over one memory: DLPack, numpy's protocols, buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..ir.dtypes import is_foreign
from .construct import constant, from_numpy
from .context import ambient
from .device import CPU as PROCESSOR
from .device import Device, resolved
from .dlpack import CPU, GPU, PINNED, DLPackError, Given, Taken, capsule, of_array, take
from .errors import ArgumentError, TraceError
from .foreign import DEFAULT_STREAM, foreign_tensor
from .moves import to_device as move
from .tensor import Tensor, no_data
from .views import writable

if TYPE_CHECKING:
    from .accelerator import Accelerator

UNSAID = object()  # no stream was named, not even None


def to_dlpack(
    self: Tensor, *, stream: Any = UNSAID, max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None, copy: bool | None = None,
) -> Any:  # fmt: skip
    """A DLPack capsule over the memory of this tensor; with `copy` over a copy.

    Args:
        stream: of a tensor on a GPU, the stream that the taker uses, which waits for what was
            computed so far: a handle (1 the default stream, as None), or -1: nothing waits. None on
            the processor, which has no streams. A reader that names a version and no stream, as
            numpy does, knows no GPUs.
        max_version: what the taker knows; from (1, 0) on the capsule is a versioned one.
        dl_device: None or the tensor's device, or (1, 0), the processor, for a copy there.

    Raises:
        DLPackError: another stream or device, or the tensor requires grad.
        TraceError: the tensor is traced.
    """
    if self.storage.trace is not None or ambient.trace is not None:
        no_data(self, "it was handed to another library")
    own, wanted = dlpack_device(self), None if dl_device is None else tuple(dl_device)
    if self.requires_grad:
        raise DLPackError(
            "a tensor that requires grad cannot be handed over: its history would be lost",
            hint="use x.detach()",
        )
    if wanted == CPU and own != CPU and copy is not False:
        self, own, stream, copy = move(self, PROCESSOR), CPU, None, None
    elif own != CPU and stream is UNSAID and max_version is not None:
        raise DLPackError(
            f"a tensor {self.spec} on {self.device} is no array of the processor",
            hint="copy it to the processor first: x.cpu()",
        )
    elif wanted not in (None, own):
        raise DLPackError(
            f"dl_device={dl_device!r}: the memory is that of {self.device}, {own}",
            hint="move it first: x.cpu()",
        )
    stream = None if stream is UNSAID else stream
    if stream is not None and own == CPU:
        raise DLPackError(f"stream={stream!r}: the processor has no streams")
    if copy:
        self = self.clone()
    versioned = max_version is not None and tuple(max_version) >= (1, 0)
    made = capsule(_given(self, stream), versioned=versioned, copied=bool(copy))
    self.storage.handed_out = True
    return made


def _given(tensor: Tensor, stream: Any) -> Given:
    """The memory of a tensor, which may be used by work of `stream` from now on."""
    place = tensor.storage.place
    if place is None:
        return of_array(tensor.array, tensor.spec.dtype)
    if stream == 0:
        raise DLPackError("stream=0 may mean two streams", hint="1 is the default stream")
    if stream != -1:
        place.memory.lend(DEFAULT_STREAM if stream is None else int(stream))
    return Given(
        address=tensor.data_ptr(),
        dtype=tensor.spec.dtype,
        shape=tuple(tensor.shape),
        strides=tuple(tensor.stride()),
        writable=writable(tensor.path),
        device=dlpack_device(tensor),
        owner=tensor.storage,
    )


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """(1, 0): the processor; (2, number): a GPU."""
    device = self.device
    return CPU if device is PROCESSOR else (GPU, device.index or 0)


def from_dlpack(x: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an array of another library, or of a DLPack capsule. What that
    library has computed so far comes before what sley reads.

    Memory that must not be written is copied, since tensors can be written.

    Args:
        device: where the tensor shall lie; None: where the memory is.
        copy: True: always copy; False: never.

    Raises:
        DLPackError: the memory of `x` is that of a device which sley does not use, or it must be
            copied and may not.
        ArgumentError: there is no such device.
        TraceError: memory of a GPU is taken while a function is recorded.
    """
    wanted = None if device is None else resolved(device)
    if type(x).__name__ != "PyCapsule":
        x = _exported(x)
    taken = take(x)
    if not taken.writable and copy is False:
        raise DLPackError("the memory is read-only, and copy=False", hint="use copy=None")
    copied = copy or not taken.writable
    if taken.array is not None:
        if ambient.trace is not None:
            return constant(taken.array)
        made = from_numpy(taken.array.copy() if copied else taken.array)
    else:
        made = _on_gpu(taken)
        made = made.clone() if copied else made
    if wanted is None or made.device is wanted:
        return made
    if copy is False:
        raise DLPackError(f"from {made.device} to {wanted} needs a copy, and copy=False")
    return move(made, wanted)


def _on_gpu(taken: Taken) -> Tensor:
    """A tensor over memory of a GPU."""
    place = _place_of((GPU, taken.gpu), "capsule")
    place.memory.borrow(DEFAULT_STREAM)
    return foreign_tensor(
        place, taken.address, taken.dtype, taken.shape, taken.strides, taken.owner
    )


def _place_of(device: Any, owner: str) -> Accelerator:
    """The GPU of a device of DLPack.

    Raises:
        DLPackError: there is none here.
        TraceError: a function is recorded.
    """
    if ambient.trace is not None:
        raise TraceError(
            "memory of another library on a GPU is taken while a function is recorded",
            hint="take it before, and give the tensor to the function",
        )
    from .accelerator import accelerator  # what runs GPUs: most programs need none

    try:
        return accelerator(Device("cuda", int(device[1])))
    except ArgumentError as error:
        raise DLPackError(
            f"a {owner} on the device {tuple(device)} of DLPack: {error.message}",
            hint="copy it to the processor first",
        ) from None


def _exported(x: Any) -> Any:
    """The capsule of an array."""
    if not hasattr(x, "__dlpack__"):
        raise DLPackError(f"a {type(x).__name__} has no __dlpack__()")
    kind = x.__dlpack_device__()[0] if hasattr(x, "__dlpack_device__") else CPU[0]
    if kind not in (CPU[0], GPU, PINNED):
        raise DLPackError(
            f"a {type(x).__name__} on the device {tuple(x.__dlpack_device__())} of DLPack, which "
            "sley does not use",
            hint="copy it to the processor first",
        )
    given = {}
    if kind == GPU:
        _place_of(x.__dlpack_device__(), type(x).__name__)
        given["stream"] = DEFAULT_STREAM
    try:
        return x.__dlpack__(max_version=(1, 0), **given)
    except TypeError:  # from before DLPack 1.0
        return x.__dlpack__(**given)


def cuda_array_interface(self: Tensor) -> dict[str, Any]:
    """What cupy and numba read memory of a GPU by, of version 3; absent on the processor and for
    bfloat16 and float8, which it cannot say."""
    dtype, place = self.spec.dtype, self.storage.place
    if place is None or ambient.trace is not None:
        raise AttributeError("__cuda_array_interface__ of a tensor that is not on a GPU")
    if is_foreign(dtype.numpy) or self.requires_grad:
        raise AttributeError(
            f"__cuda_array_interface__ of {dtype.public} or of what requires grad: use detach()"
        )
    given = _given(self, DEFAULT_STREAM)
    self.storage.handed_out = True
    return {
        "version": 3,
        "shape": given.shape,
        "typestr": dtype.numpy.str,
        "data": (given.address, not given.writable),
        "strides": None
        if self.is_contiguous()
        else tuple(s * dtype.itemsize for s in given.strides),
        "stream": DEFAULT_STREAM,
    }


def array_interface(self: Tensor) -> dict[str, Any]:
    """What numpy reads memory by, of version 3; absent for bfloat16 and float8, which it
    cannot say."""
    if is_foreign(self.spec.dtype.numpy):
        raise AttributeError(
            f"__array_interface__ of {self.spec.dtype.public}; numpy takes __array__ instead"
        )
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
PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "__array_interface__": array_interface,
    "__cuda_array_interface__": cuda_array_interface,
}
