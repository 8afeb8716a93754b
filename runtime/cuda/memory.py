"""Blocks of a GPU's memory that are kept for reuse.

Small blocks are cut off segments, large ones are the driver's own. A block that nobody holds any
more serves the next one of its size class at once: all work goes to one stream, so whoever writes
to it runs after whoever read it.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..memory import size_class
from .driver import Driver
from .errors import DeviceFull, OutOfMemoryError

GRAIN = 512  # bytes: sizes of blocks are multiples of it, and so are their addresses
SEGMENT = 2 << 20  # what the driver's memory is made of
SMALL = 256 << 10  # blocks up to here are cut off segments
LOOSE = 1.25  # a block may be so many times as large as what it serves

Purpose = Callable[[], Sequence[str]]  # lines that say what memory is for


class _Piece(NamedTuple):
    """Memory of a size class; `segment`: the address of the one that it was cut off, or 0."""

    address: int
    size: int
    segment: int


class Block:
    """Memory that is in use as long as this object lives.

    Attributes:
        address: on the GPU.
        nbytes: as many as were asked for.
    """

    __slots__ = ("__weakref__", "_piece", "_pool", "address", "nbytes")

    def __init__(self, pool: DevicePool, piece: _Piece, nbytes: int) -> None:
        self._pool = pool
        self._piece = piece
        self.address = piece.address
        self.nbytes = nbytes

    def __del__(self) -> None:
        # A garbage collection may come at any point, inside of the pool's own functions too.
        self._pool._returned.append(self._piece)

    def __repr__(self) -> str:
        return f"<{self.nbytes} bytes at {self.address:#x}>"


@dataclass(slots=True)
class Statistics:
    """Bytes: of blocks in use, of all that the pool holds, and the most that these were."""

    allocated: int = 0
    reserved: int = 0
    max_allocated: int = 0
    max_reserved: int = 0

    def change(self, allocated: int = 0, reserved: int = 0) -> None:
        """Adds to what is in use and to what is held."""
        self.allocated += allocated
        self.reserved += reserved
        if self.allocated > self.max_allocated:
            self.max_allocated = self.allocated
        if self.reserved > self.max_reserved:
            self.max_reserved = self.reserved

    def reset_peaks(self) -> None:
        """Counts the most from now on."""
        self.max_allocated, self.max_reserved = self.allocated, self.reserved


class DevicePool:
    """The memory of one GPU."""

    def __init__(self, driver: Driver) -> None:
        self._statistics = Statistics()
        self._driver = driver
        self._returned: deque[_Piece] = deque()  # of blocks that nobody holds any more
        self._idle: dict[int, list[_Piece]] = {}
        self._sizes: list[int] = []  # of large idle pieces, sorted, each once
        self._segments: dict[int, int] = {}  # address -> bytes of it that are in use
        self._cut = (0, SEGMENT)  # the segment at hand, and how much of it is cut off
        self._lock = threading.Lock()

    @property
    def statistics(self) -> Statistics:
        """How much is in use now."""
        with self._lock:
            self._take_back()
            return self._statistics

    def take(self, nbytes: int, purpose: Purpose | None = None) -> Block:
        """A block of at least `nbytes` bytes of unknown contents.

        Args:
            purpose: asked for lines only where there is no memory.

        Raises:
            OutOfMemoryError: idle blocks given up, there is still no room.
        """
        size = size_class(max(nbytes, 1), GRAIN)
        with self._lock:
            if self._returned:
                self._take_back()
            piece = self._find(size) or self._make(size, nbytes, purpose)
            if piece.segment:
                self._segments[piece.segment] += piece.size
            self._statistics.change(allocated=piece.size)
            return Block(self, piece, nbytes)

    def trim(self) -> None:
        """Gives up all memory that is idle."""
        with self._lock:
            self._take_back()
            self._trim()

    def _find(self, size: int) -> _Piece | None:
        """An idle piece for `size` bytes."""
        idle = self._idle.get(size)
        if size <= SMALL:
            return idle.pop() if idle else None
        if idle:
            return self._pop(size)
        position = bisect_left(self._sizes, size)
        if position < len(self._sizes) and self._sizes[position] <= size * LOOSE:
            return self._pop(self._sizes[position])
        return None

    def _pop(self, size: int) -> _Piece:
        """A large idle piece of this size."""
        idle = self._idle[size]
        piece = idle.pop()
        if not idle:
            del self._idle[size]
            self._sizes.remove(size)
        return piece

    def _make(self, size: int, asked: int, purpose: Purpose | None) -> _Piece:
        if size > SMALL:
            return _Piece(self._allocate(size, asked, purpose), size, 0)
        segment, used = self._cut
        if used + size > SEGMENT:
            segment, used = self._allocate(SEGMENT, asked, purpose), 0
            self._segments[segment] = 0
        self._cut = (segment, used + size)
        return _Piece(segment + used, size, segment)

    def _allocate(self, size: int, asked: int, purpose: Purpose | None) -> int:
        try:
            address = self._driver.allocate(size)
        except DeviceFull:
            self._take_back()
            self._trim()
            try:
                address = self._driver.allocate(size)
            except DeviceFull:
                raise self._error(asked, purpose) from None
        self._statistics.change(reserved=size)
        return address

    def _error(self, asked: int, purpose: Purpose | None) -> OutOfMemoryError:
        free, total = self._driver.memory_info()
        held, lines = self._statistics, () if purpose is None else purpose()
        return OutOfMemoryError(asked, held.allocated, held.reserved, free, total, lines)

    def _take_back(self) -> None:
        """Makes memory of returned blocks idle."""
        while self._returned:
            piece = self._returned.popleft()
            self._statistics.change(allocated=-piece.size)
            if piece.segment:
                self._segments[piece.segment] -= piece.size
            idle = self._idle.get(piece.size)
            if idle is None:
                idle = self._idle[piece.size] = []
                if piece.size > SMALL:
                    insort(self._sizes, piece.size)
            idle.append(piece)

    def _trim(self) -> None:
        unused = {address for address, used in self._segments.items() if not used}
        freed = 0
        for size in list(self._idle):
            pieces = self._idle[size]
            for piece in pieces:
                if not piece.segment:
                    self._driver.free(piece.address)
                    freed += size
            kept = [p for p in pieces if p.segment and p.segment not in unused]
            if kept:
                self._idle[size] = kept
            else:
                del self._idle[size]
        for address in unused:
            self._driver.free(address)
            del self._segments[address]
        if self._cut[0] in unused:
            self._cut = (0, SEGMENT)
        self._sizes.clear()  # all large idle pieces are gone
        self._statistics.change(reserved=-freed - SEGMENT * len(unused))
        self._driver.trim()
