"""The memory that tensors are views of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.graph import Location, Value
from ..ir.literal import array_type
from ..ir.types import TensorType

if TYPE_CHECKING:
    from ..runtime.cuda.memory import Block
    from .accelerator import Accelerator
    from .trace import Trace


class Storage:
    """One piece of memory, of one dtype and shape: a numpy buffer, a block of a GPU's memory, or in
    a trace a pure `Value`.

    Attributes:
        type: dtype and shape of the whole.
        array: the buffer; None on a GPU and in a trace.
        place: the GPU that the memory is of; None on the processor and in a trace.
        block: what is held of that GPU's memory: the elements in row-major order.
        trace: the trace that this storage belongs to; None for an eager one.
        value: in a trace, what the storage holds now; None until a captured one is first read.
        version: counts the writes.
        written: the user's line of the last write.
        dense: the address of the first element, once it is known that the elements lie in order
            without gaps; 0 before, and where they do not.
        is_constant: whether a function made it of numbers, so that it may go where it is needed.
        handed_out: whether somebody outside (numpy, DLPack) may hold a writable view of `array`.
        unclaimed: whether an op has just made it, and no tensor looks at it yet (on a GPU).
    """

    __slots__ = (
        "__weakref__",
        "_pointer",
        "array",
        "block",
        "dense",
        "handed_out",
        "is_constant",
        "place",
        "trace",
        "type",
        "unclaimed",
        "value",
        "version",
        "written",
    )

    def __init__(
        self,
        type: TensorType,
        array: np.ndarray | None = None,
        *,
        trace: Trace | None = None,
        value: Value | None = None,
    ) -> None:
        self.type = type
        self.array = array
        self.trace = trace
        self.value = value
        self.version = 0
        self.written: Location | None = None
        self.handed_out = self.is_constant = self.unclaimed = False
        self.place: Accelerator | None = None
        self.block: Block | None = None
        self.dense = 0
        self._pointer = 0

    @staticmethod
    def of_array(array: np.ndarray) -> Storage:
        """A storage over `array` itself, which may have any strides."""
        return Storage(array_type(array), array)

    @staticmethod
    def of_block(type: TensorType, block: Block, place: Accelerator) -> Storage:
        """A storage over memory of a GPU."""
        storage = Storage(type)
        storage.block, storage.place = block, place
        storage._pointer = block.address
        return storage

    @property
    def pointer(self) -> int:
        """The address of the first element (eager storages)."""
        if not self._pointer:
            assert self.array is not None
            self._pointer = self.array.__array_interface__["data"][0]
        return self._pointer

    def locate(self) -> int:
        """`dense`, found now if it can be."""
        if not self.dense and self.array is not None and self.array.flags.c_contiguous:
            self.dense = self.pointer
        return self.dense

    def __reduce__(self) -> tuple:
        # Tensors of one pickle that share this storage share it again: pickle knows it by identity.
        if self.place is not None:
            array = self.place.get(self, (), self.type)
            return _restored_on, (
                self.type,
                str(self.place.device),
                array.reshape(-1).view(np.uint8),
            )
        assert self.array is not None, "memory of a trace"
        dense = dense_copy(self.array)
        order = memory_order(dense)
        data = dense.transpose(order).reshape(-1).view(np.uint8)
        return _restored, (self.type, order, data)

    def touch(self, line: Location | None) -> None:
        """Note a write."""
        self.version += 1
        self.written = line


def memory_order(array: np.ndarray) -> list[int]:
    """The axes from the outermost to the innermost, as the elements lie in memory."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def dense_copy(array: np.ndarray) -> np.ndarray:
    """A copy without gaps whose elements lie in the same order: what was a view of the one is a
    view of the other."""
    order = memory_order(array)
    copy = np.array(array.transpose(order), order="C")
    return copy.transpose([order.index(axis) for axis in range(array.ndim)])


def _restored_on(type: TensorType, device: str, data: np.ndarray) -> Storage:
    """Memory of a GPU, as there was. It is an error where this process has none."""
    from .accelerator import accelerator  # what runs GPUs: most programs need none
    from .device import Device

    shape: Any = type.shape
    return accelerator(Device(device)).put(data.view(type.dtype.numpy).reshape(shape))


def _restored(type: TensorType, order: list[int], data: np.ndarray) -> Storage:
    shape = [type.shape[axis] for axis in order]
    own = data if data.flags.writeable else data.copy()
    array = own.view(type.dtype.numpy).reshape(shape)  # type: ignore[arg-type]
    return Storage.of_array(array.transpose([order.index(axis) for axis in range(array.ndim)]))
