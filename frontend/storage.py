"""The memory that tensors are views of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ir.graph import Location, Value
from ..ir.literal import array_type
from ..ir.types import TensorType

if TYPE_CHECKING:
    from .trace import Trace


class Storage:
    """One piece of memory, of one dtype and shape: a numpy buffer, or in a trace a pure `Value`.

    Attributes:
        type: dtype and shape of the whole.
        array: the buffer (eager); None in a trace.
        trace: the trace that this storage belongs to; None for an eager one.
        value: in a trace, what the storage holds now; None until a captured one is first read.
        version: counts the writes.
        written: the user's line of the last write.
        handed_out: whether somebody outside (numpy, DLPack) may hold a writable view of `array`.
    """

    __slots__ = (
        "__weakref__",
        "_pointer",
        "array",
        "handed_out",
        "trace",
        "type",
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
        self.handed_out = False
        self._pointer = 0

    @staticmethod
    def of_array(array: np.ndarray) -> Storage:
        """A storage over `array` itself, which may have any strides."""
        return Storage(array_type(array), array)

    @property
    def pointer(self) -> int:
        """The address of the first element (eager storages)."""
        if not self._pointer:
            assert self.array is not None
            self._pointer = self.array.__array_interface__["data"][0]
        return self._pointer

    def touch(self, line: Location | None) -> None:
        """Note a write."""
        self.version += 1
        self.written = line
