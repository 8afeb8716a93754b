"""A call of an executable whose every buffer touches a page that nobody may read or write.

A debugging aid (`SLEY_GUARD`): a kernel that reads or writes past the end of a buffer (`end`) or
before its start (`start`) ends the process at that instruction, rather than spoil a neighbour. The
bytes between a buffer and the page's other border hold a pattern, which is checked after the call.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..backends.llvm.entry import FIRST_SYMBOL
from ..ir.dims import evaluate
from ..ir.plan import intervals
from .threads import default_pool

if TYPE_CHECKING:
    from .executable import Executable

_PATTERN = 0xA5
_NO_ACCESS, _READ_WRITE = 0, 3  # PROT_NONE, PROT_READ | PROT_WRITE of mprotect(2)


class GuardError(RuntimeError):
    """A kernel wrote beside a buffer."""


class GuardedBuffer:
    """`nbytes` of memory between two pages without access, at the border of one of them.

    Attributes:
        address: of the first byte.
    """

    def __init__(self, name: str, nbytes: int, edge: str) -> None:
        self.name, self.nbytes = name, nbytes
        inside = -(-max(nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, inside + 2 * mmap.PAGESIZE)
        self._view = (ctypes.c_char * len(self._map)).from_buffer(self._map)
        base = ctypes.addressof(self._view)
        self._base, self._inside = base + mmap.PAGESIZE, inside
        self.address = self._base + (inside - nbytes if edge == "end" else 0)
        ctypes.memset(self._base, _PATTERN, inside)
        _protect(base, _NO_ACCESS)
        _protect(self._base + inside, _NO_ACCESS)

    def bytes(self) -> np.ndarray:
        """The content: a view that is good until `close`."""
        return _bytes_at(self.address, self.nbytes)

    def close(self) -> None:
        """Give the memory back.

        Raises:
            GuardError: the bytes beside the buffer have changed.
        """
        before = _bytes_at(self._base, self.address - self._base)
        end = self.address + self.nbytes
        after = _bytes_at(end, self._base + self._inside - end)
        spoilt = bool((before != _PATTERN).any() or (after != _PATTERN).any())
        _protect(self._base - mmap.PAGESIZE, _READ_WRITE)
        _protect(self._base + self._inside, _READ_WRITE)
        del self._view
        self._map.close()
        if spoilt:
            raise GuardError(f"a kernel wrote beside {self.name}, a buffer of {self.nbytes} bytes")


def _bytes_at(address: int, nbytes: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


def _protect(address: int, access: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), access):
        raise OSError(ctypes.get_errno(), "mprotect")


def run_guarded(
    executable: Executable,
    enter: Callable[[int], None],
    pointers: Sequence[int],
    sizes: tuple[int, ...],
    edge: str,
) -> list[np.ndarray]:
    """What `Executable.run` does, with inputs, results, scratch and every block of the arena in
    memory of their own. `enter` is the native entry; `edge`: "start" or "end"; `pointers`: of the
    inputs, those that are prepared included.

    Raises:
        GuardError: a kernel wrote beside a buffer.
    """
    image, frame = executable.image, executable.frame
    known = dict(zip(executable.symbols, sizes, strict=True))
    entering = [v.type for v in executable.inputs]
    if executable.preparation is not None:
        entering += executable.preparation.types
    given = [evaluate(type.nbytes, known) for type in entering]
    given += [a.nbytes for a in executable.constants]
    sources = [*pointers, *(a.ctypes.data for a in executable.constants)]
    types = [executable.graph.yields[number].type for number in frame.fresh]
    pool = default_pool()
    scratch = max((evaluate(dim, known) for dim in image.scratch), default=0)
    stride = -(-scratch // 128) * 128

    inputs = [GuardedBuffer(f"input {i}", n, edge) for i, n in enumerate(given)]
    fresh = [
        GuardedBuffer(f"result {number}", evaluate(type.nbytes, known), edge)
        for number, type in zip(frame.fresh, types, strict=True)
    ]
    blocks = [
        GuardedBuffer(f"block {i} of the arena", block.nbytes, edge)
        for i, block in enumerate(intervals(image, known))
    ]
    work = GuardedBuffer("scratch", stride * pool.threads, edge)
    slots = (ctypes.c_int64 * frame.slots)()
    alone = pool.threads == 1
    slots[:FIRST_SYMBOL] = [
        pool.address, 0 if alone else pool.run_address, work.address, stride,
        executable.host_address, 0,
    ]  # fmt: skip
    slots[FIRST_SYMBOL : frame.first_pointer] = [
        *sizes,
        *(buffer.address for buffer in (*inputs, *fresh, *blocks)),
    ]
    for buffer, source in zip(inputs, sources, strict=True):
        ctypes.memmove(buffer.address, source, buffer.nbytes)
    everything = [*inputs, *fresh, *blocks, work]
    try:
        enter(ctypes.addressof(slots))
        for number in executable.donated.values():
            ctypes.memmove(sources[number], inputs[number].address, inputs[number].nbytes)
        results = []
        for buffer, type in zip(fresh, types, strict=True):
            shape = tuple(evaluate(dim, known) for dim in type.shape)
            results.append(buffer.bytes().copy().view(type.dtype.numpy).reshape(shape))
    finally:
        for buffer in everything:
            buffer.close()
    return results
