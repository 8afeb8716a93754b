"""Memory of results: small ones from the C heap, large ones from blocks that stay mapped.

A large result's pages are faulted in once; when the last array that looks at a block is gone, the
block serves the next result of about its size. Nothing is reused while anybody holds it.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable

import numpy as np

ALIGNMENT = 64
SMALL = 128 << 10  # bytes; below, the C heap keeps what is freed, and costs less than blocks
PAGE = 4096
MAX_IDLE = 512 << 20  # bytes kept for results to come

Block = ctypes.Array


def aligned(nbytes: int) -> tuple[np.ndarray, int]:
    """(owner, address) of `nbytes` of uninitialised memory at a multiple of `ALIGNMENT`."""
    owner = np.empty(nbytes + ALIGNMENT, np.uint8)
    return owner, -(-owner.ctypes.data // ALIGNMENT) * ALIGNMENT


class BlockPool:
    """Blocks by size. A block is lent as a ctypes array and comes back when that is collected."""

    def __init__(self, max_idle: int = MAX_IDLE) -> None:
        self.max_idle = max_idle
        self.idle_bytes = 0
        self._idle: dict[int, list[tuple[np.ndarray, int]]] = {}
        self._lent: dict[int, tuple[weakref.ref, int, np.ndarray, int]] = {}
        # Reentrant: a garbage collection inside `take` may give blocks back.
        self._lock = threading.RLock()

    def take(self, size: int) -> Block:
        """A block of `size` bytes, which is a value of `size_class`."""
        with self._lock:
            idle = self._idle.get(size)
            if idle:
                owner, address = idle.pop()
                self.idle_bytes -= size
            else:
                owner, address = aligned(size)
            block = (ctypes.c_char * size).from_address(address)
            reference = weakref.ref(block, self._give_back)
            self._lent[id(reference)] = (reference, size, owner, address)
        return block

    def trim(self) -> None:
        """Gives the idle memory back to the system."""
        with self._lock:
            self._idle.clear()
            self.idle_bytes = 0

    def _give_back(self, reference: weakref.ref) -> None:
        with self._lock:
            _, size, owner, address = self._lent.pop(id(reference))
            if self.idle_bytes + size <= self.max_idle:
                self._idle.setdefault(size, []).append((owner, address))
                self.idle_bytes += size


def size_class(nbytes: int, grain: int = PAGE) -> int:
    """`nbytes` rounded up to a multiple of `grain` or by at most an eighth, so that results of
    similar sizes share blocks."""
    step = max(grain, 1 << max(0, nbytes.bit_length() - 4))
    return -(-nbytes // step) * step


RESULTS = BlockPool()


def result_allocator(nbytes: int, pool: BlockPool = RESULTS) -> Callable[[], Block]:
    """A function that gives a new block of at least `nbytes` bytes at each call."""
    if nbytes < SMALL:
        return ctypes.c_char * max(nbytes, 1)
    size = size_class(nbytes)
    return lambda: pool.take(size)
