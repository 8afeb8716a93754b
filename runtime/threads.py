"""The thread pool that all CPU kernels share: Python threads parked in native code.

A worker is a daemon thread that calls into the pool's native loop (`backends/llvm/pool.py`, where
the protocol is explained) through ctypes, which releases the GIL, and stays there until the pool
is closed. Compiled programs call `sley_pool_run` at `run_address` with the pool's `address`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import threading
import time
import weakref
from collections.abc import Callable

from ..backends.llvm import native
from ..backends.llvm.pool import CORES_BYTES, LAYOUT, MAX_THREADS, SIZE, can_park, pool_text
from . import processor
from .config import config
from .objects import object_code

# How long a thread spins before it sleeps. A worker that sleeps takes tens of microseconds to
# wake; the caller at the join knows that work is under way and waits longer. With more threads
# than cores a spinning thread keeps a working one from its core.
SPIN_US = 50.0
WAIT_US = 1000.0
CROWDED_SPIN_US = 1.0
CROWDED_WAIT_US = 5.0

_JOIN_SECONDS = 10.0


class ThreadPool:
    """A pool of `threads` executors: the calling thread and `threads - 1` parked workers.

    One parallel region runs at a time; a second caller meanwhile computes its region alone.
    Where threads cannot be parked (not Linux on x86-64 or AArch64), a pool has one thread.

    Attributes:
        threads: how many there are.
        running: whether the workers have been started; not yet in a child after a fork.
    """

    def __init__(self, threads: int, *, spin_us: float | None = None, wait_us: float | None = None):
        if not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"a pool has 1 to {MAX_THREADS} threads, not {threads}")
        crowded = threads > processor.host().cores
        if spin_us is None:
            spin_us = CROWDED_SPIN_US if crowded else SPIN_US
        if wait_us is None:
            wait_us = CROWDED_WAIT_US if crowded else WAIT_US
        self._code = _code()
        self.threads = threads if can_park(platform.system(), platform.machine()) else 1
        self._words = {
            "threads": self.threads,
            "spin": _pauses(spin_us),
            "wait_spin": _pauses(wait_us),
            "avoid": int(not crowded),
        }
        self._memory = _new_memory()
        self._workers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.running = False
        # Runs at close, when the pool is collected, and before the interpreter exits.
        self._finalizer = weakref.finalize(self, _stop, self._code, self._memory, self._workers)
        _pools.add(self)
        self.start()

    @property
    def address(self) -> int:
        """The pool structure, the first argument of `sley_pool_run`. To be asked at each call:
        the first time in a forked child starts the child's own workers."""
        if not self.running:
            self.start()
        return self._memory

    @property
    def run_address(self) -> int:
        """The address of `sley_pool_run`: at most one chunk for each thread."""
        return self._code.run_address

    @property
    def run_dynamic_address(self) -> int:
        """The address of `sley_pool_run_dynamic`: each grain a chunk of its own."""
        return self._code.run_dynamic_address

    def run(
        self,
        kernel: int,
        args: int,
        total: int,
        grain: int,
        scratch: int = 0,
        scratch_stride: int = 0,
        *,
        dynamic: bool = False,
    ) -> None:
        """Run the native kernel at address `kernel` over [0, total)."""
        function = self._code.run_dynamic if dynamic else self._code.run
        function(self.address, kernel, args, total, grain, scratch, scratch_stride)

    def close(self) -> None:
        """Stop and join the workers. Programs that still run here finish on their own thread."""
        self._finalizer()

    def __repr__(self) -> str:
        return f"ThreadPool({self.threads})"

    def start(self) -> None:
        """Starts the workers, unless they run or the pool is closed."""
        with self._lock:
            if self.running or not self._finalizer.alive:
                return
            _initialize(self._memory, self._words)
            for worker in range(1, self.threads):
                self._workers.append(_start_worker(self._code, self._memory, worker))
            self.running = True

    def _after_fork(self) -> None:
        # Threads do not survive a fork, and the one that forked was in no region. Until new
        # workers are started the same memory works: the caller does all chunks.
        self._lock = threading.Lock()
        self._workers.clear()
        self.running = False
        _initialize(self._memory, self._words)


_pools: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


class _Code:
    """The native functions of all pools, compiled once."""

    def __init__(self) -> None:
        host = processor.host()
        text = pool_text(platform.system(), platform.machine())
        made = object_code(text, cpu=host.cpu, features=host.features, opt_level=0)
        self.library = native.Library([made.code])
        self.run_address = self.library.address("sley_pool_run")
        self.run_dynamic_address = self.library.address("sley_pool_run_dynamic")
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        region = (pointer, pointer, pointer, integer, integer, pointer, integer)
        self.run = ctypes.CFUNCTYPE(None, *region)(self.run_address)
        self.run_dynamic = ctypes.CFUNCTYPE(None, *region)(self.run_dynamic_address)
        self.work = self._function("sley_pool_work", pointer, integer)
        self.stop = self._function("sley_pool_stop", pointer)
        self.pauses = self._function("sley_pool_pauses", integer)

    def _function(self, name: str, *arguments: type) -> Callable[..., None]:
        return ctypes.CFUNCTYPE(None, *arguments)(self.library.address(name))


@functools.cache
def _code() -> _Code:
    return _Code()


# A pool's memory is never given back (under a kilobyte each): a program may be inside
# `sley_pool_run` on another thread when its pool is closed and collected.
_memories: list[ctypes.Array] = []


def _new_memory() -> int:
    buffer = ctypes.create_string_buffer(SIZE + 128)
    _memories.append(buffer)
    return (ctypes.addressof(buffer) + 127) // 128 * 128


def _initialize(memory: int, words: dict[str, int]) -> None:
    ctypes.memset(memory, 0, SIZE)
    for name, value in words.items():
        kind = ctypes.c_int32 if name == "avoid" else ctypes.c_int64
        kind.from_address(memory + LAYOUT[name]).value = value
    if hasattr(os, "sched_getaffinity"):
        bits = sum(1 << core for core in os.sched_getaffinity(0) if core < 8 * CORES_BYTES)
        ctypes.memmove(memory + LAYOUT["cores"], bits.to_bytes(CORES_BYTES, "little"), CORES_BYTES)


def _start_worker(code: _Code, memory: int, worker: int) -> threading.Thread:
    thread = threading.Thread(
        target=code.work, args=(memory, worker), name=f"sley-worker-{worker}", daemon=True
    )
    thread.start()
    return thread


def _stop(code: _Code, memory: int, workers: list[threading.Thread]) -> None:
    code.stop(memory)
    for thread in workers:
        thread.join(_JOIN_SECONDS)
    workers.clear()


@functools.cache
def _pauses_per_us() -> float:
    """How many pause instructions take a microsecond: 8 to 100, by the processor."""
    code, count = _code(), 500
    times = []
    for _ in range(5):
        start = time.perf_counter_ns()
        code.pauses(count)
        times.append(time.perf_counter_ns() - start)
    return count / max(min(times) / 1000.0, 0.001)


def _pauses(microseconds: float) -> int:
    return int(microseconds * _pauses_per_us())


# ---------------------------------------------------------------------------- the default pool

_default: ThreadPool | None = None
_asked: int | None = None
_default_lock = threading.Lock()


def default_pool() -> ThreadPool:
    """The pool that compiled programs use, made at the first call."""
    global _default
    pool = _default
    if pool is not None:
        return pool
    with _default_lock:
        if _default is None:
            _default = ThreadPool(get_num_threads())
        return _default


def set_num_threads(threads: int) -> None:
    """Use `threads` threads from now on, the calling one included.

    Raises:
        ValueError: it is no whole number from 1 to 1024.
    """
    global _default, _asked
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"the number of threads is 1 to {MAX_THREADS}, not {threads!r}")
    with _default_lock:
        _asked = threads
        old, _default = _default, None
    if old is not None:
        old.close()


def get_num_threads() -> int:
    """The number of threads of the default pool, now or when it is made."""
    return config().num_threads if _asked is None else _asked


def _after_fork() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    for pool in list(_pools):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
