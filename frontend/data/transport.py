"""How batches come from worker processes: pickled, with their elements in shared memory.

Memory has no name here (an unlinked file), so nothing is left when a process dies at any moment.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import struct
import tempfile
from multiprocessing import reduction
from typing import Any, NamedTuple

import numpy as np

from ...ir.types import TensorType
from ...runtime.memory import result_allocator
from ..tensor import Tensor, of_array

_ALIGNMENT = 64


class Extent(NamedTuple):
    """Where in a slot a thing lies: the pickle's bytes, then how many buffers, then all bytes."""

    stream: int
    buffers: int
    total: int


class Slot:
    """Shared memory for one thing at a time, which grows to the largest one.

    Both processes hold one over the same file: through a fork, or as an argument of a process that
    is being started.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = _nameless() if file is None else file
        self._map: mmap.mmap | None = None

    def __reduce__(self) -> tuple:
        return _received, (reduction.DupFd(self._file),)

    def close(self) -> None:
        """Gives the memory back; the other process still has it."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.close(self._file)

    def put(self, thing: Any) -> Extent:
        """Writes `thing`; `get` of what this returns gives it.

        Raises:
            PicklingError, TypeError, AutogradError: it cannot be pickled. What was there is lost.
        """
        stream = io.BytesIO()
        parts: list[pickle.PickleBuffer] = []
        _Pickler(stream, parts).dump(thing)
        views = [part.raw() for part in parts]
        table = struct.pack(f"<{len(views)}q", *(view.nbytes for view in views))
        data = stream.getvalue() + table
        places, total = [], _aligned(len(data))
        for view in views:
            places.append(total)
            total += _aligned(view.nbytes)
        memory = self._mapped(total)
        memory[: len(data)] = data
        for place, view in zip(places, views, strict=True):
            memory[place : place + view.nbytes] = view
        return Extent(len(data) - len(table), len(views), total)

    def get(self, extent: Extent) -> Any:
        """What was put, in memory of its own."""
        memory = self._mapped(extent.total)
        sizes = struct.unpack_from(f"<{extent.buffers}q", memory, extent.stream)
        place = _aligned(extent.stream + 8 * extent.buffers)
        buffers = []
        for size in sizes:
            own = np.frombuffer(memoryview(result_allocator(size)()), np.uint8, size)
            own[:] = np.frombuffer(memory, np.uint8, size, place)
            buffers.append(own)
            place += _aligned(size)
        return pickle.loads(memory[: extent.stream], buffers=buffers)

    def _mapped(self, size: int) -> mmap.mmap:
        if self._map is not None and len(self._map) >= size:
            return self._map
        if os.fstat(self._file).st_size < size:
            _allocate(self._file, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._map = mmap.mmap(self._file, os.fstat(self._file).st_size)
        return self._map


def _received(file: Any) -> Slot:
    return Slot(file.detach())


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sley-batch", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _allocate(file: int, size: int) -> None:
    # Where memory is short this is an error; a file that is merely declared longer would kill the
    # process that writes to it.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class _Pickler(pickle.Pickler):
    """Tensors and arrays leave their elements in `parts`."""

    def __init__(self, stream: io.BytesIO, parts: list[pickle.PickleBuffer]) -> None:
        super().__init__(stream, protocol=5, buffer_callback=parts.append)

    def reducer_override(self, thing: Any) -> Any:
        plain = type(thing) is Tensor and thing.is_leaf and not thing.requires_grad
        if plain and not thing.is_cuda:
            elements = np.ascontiguousarray(thing.numpy())
            part = pickle.PickleBuffer(elements.reshape(-1).view(np.uint8).data)
            return _tensor, (part, thing.spec)
        return NotImplemented


def _tensor(elements: np.ndarray, type: TensorType) -> Tensor:
    shape: Any = type.shape
    return of_array(np.ndarray(shape, type.dtype.numpy, buffer=elements))
