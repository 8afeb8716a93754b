"""The memory of a kernel in the interpreter: buffers far apart, each access looked at."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_GAP = 1 << 22  # bytes between buffers, never touched: what goes astray by less is found
_MAP_NORESERVE = 0x4000  # of Linux: pages count when they are touched
_NOBODY, _MANY, _ATOMIC = -1, -2, -3

current: Memory | None = None


class Memory:
    """Buffers, and for each element which program has read and written it.

    Attributes:
        program: the one that runs.
    """

    def __init__(self, buffers: Sequence[bytes], item_sizes: Sequence[int]) -> None:
        self.program = 0
        starts, at = [], _GAP
        for content in buffers:
            starts.append(at)
            at += (len(content) + 2 * _GAP - 1) // _GAP * _GAP
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._map = mmap.mmap(-1, at + _GAP, flags=flags)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._base = self._bytes.ctypes.data
        self._sizes = [len(content) for content in buffers]
        self._offsets = starts
        self.starts = np.array([self._base + start for start in starts], np.uint64)
        self.ends = self.starts + np.array(self._sizes, np.uint64)
        self.item_sizes = np.array(item_sizes, np.uint64)
        for start, content in zip(starts, buffers, strict=True):
            self._bytes[start : start + len(content)] = np.frombuffer(content, np.uint8)
        counts = [size // item for size, item in zip(self._sizes, item_sizes, strict=True)]
        self._first = np.cumsum([0, *counts])[:-1]  # of each buffer, among all elements
        self._writer = np.full(sum(counts), _NOBODY, np.int64)
        self._reader = np.full(sum(counts), _NOBODY, np.int64)

    def address(self, buffer: int) -> int:
        """Where a buffer begins."""
        return int(self.starts[buffer])

    def contents(self) -> list[bytes]:
        """What the buffers hold."""
        pairs = zip(self._offsets, self._sizes, strict=True)
        return [self._bytes[start : start + size].tobytes() for start, size in pairs]

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Accesses inside are to this memory."""
        global current
        current = self
        try:
            yield
        finally:
            current = None

    def load(self, addresses: Any, size: int) -> None:
        """The program reads elements of `size` bytes."""
        elements = self._elements(addresses, size)
        writer = self._writer[elements]
        self._refuse((writer != _NOBODY) & (writer != self.program), addresses, "reads", writer)
        reader = self._reader[elements]
        others = (reader != _NOBODY) & (reader != self.program)
        self._reader[elements] = np.where(others, _MANY, self.program)

    def store(self, addresses: Any, size: int) -> None:
        """The program writes elements of `size` bytes."""
        elements = self._elements(addresses, size)
        for seen, what in ((self._writer, "writes"), (self._reader, "writes what was read:")):
            before = seen[elements]
            self._refuse((before != _NOBODY) & (before != self.program), addresses, what, before)
        self._writer[elements] = self.program

    def join(self, addresses: Any, size: int) -> None:
        """The program joins something to elements by an atomic operation."""
        elements = self._elements(addresses, size)
        for seen in (self._writer, self._reader):
            before = seen[elements]
            alone = (before == _NOBODY) | (before == _ATOMIC) | (before == self.program)
            self._refuse(~alone, addresses, "joins", before)
        self._writer[elements] = _ATOMIC

    def _elements(self, addresses: Any, size: int) -> Any:
        """Which of all elements these are."""
        addresses = np.asarray(addresses, np.uint64)
        buffer = np.searchsorted(self.starts, addresses, side="right") - 1
        nearest = np.maximum(buffer, 0)
        inside = (buffer >= 0) & (addresses + np.uint64(size) <= self.ends[nearest])
        if not inside.all():
            self._out_of_range(int(addresses[~inside][0]), size)
        if (self.item_sizes[nearest] != size).any():
            raise IndexError(f"program {self.program}: elements of another size: {size} bytes")
        offsets = addresses - self.starts[nearest]
        if (offsets % np.uint64(size)).any():
            raise IndexError(f"program {self.program}: an address between two elements")
        return self._first[nearest] + (offsets // np.uint64(size)).astype(np.int64)

    def _out_of_range(self, address: int, size: int) -> None:
        distances = [
            max(int(start) - address, address + size - int(end), 0)
            for start, end in zip(self.starts, self.ends, strict=True)
        ]
        buffer = int(np.argmin(distances))
        index = (address - int(self.starts[buffer])) // size
        count = self._sizes[buffer] // size
        raise IndexError(
            f"program {self.program}: element {index} of buffer {buffer}, which has {count}"
        )

    def _refuse(self, wrong: Any, addresses: Any, what: str, other: Any) -> None:
        if not wrong.any():
            return
        address, program = int(np.asarray(addresses)[wrong][0]), int(other[wrong][0])
        buffer = int(np.searchsorted(self.starts, address, side="right")) - 1
        index = (address - int(self.starts[buffer])) // int(self.item_sizes[buffer])
        by = {_MANY: "several programs", _ATOMIC: "atomics"}.get(program, f"program {program}")
        raise RuntimeError(
            f"a race: program {self.program} {what} element {index} of buffer {buffer}, as {by} did"
        )
