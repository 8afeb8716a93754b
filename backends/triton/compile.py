"""Triton text -> machine code of a GPU, by worker processes, so that a compiler that crashes or
does not end is an answer like any other. Needs no GPU. Loads Triton in the workers only."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import struct
import threading
import zlib
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ...ir.gpu_target import GpuTarget
from .kernel import TritonKernel
from .workers import Crew, Failure

_WORKER = Path(__file__).with_name("worker.py")
_LIMIT_SECONDS = 300.0
_LENGTH = struct.Struct("<I")  # of what stands before the machine code
_FORMAT = 2  # of packed texts: another number makes those on disk unknown


@dataclass(frozen=True, slots=True)
class CompiledText:
    """What launching a kernel needs.

    Attributes:
        cubin: the machine code.
        ptx: what it was assembled from.
        symbol: the function in it.
        warps: of a program. May be more than were asked for.
        shared_bytes: of a program, to be given at the launch.
        registers: of a thread.
        spill_bytes: memory of a thread that stands for registers.
        global_scratch: (bytes, alignment) of a program's memory, a pointer to which is the last
            argument but one.
        profile_scratch: likewise, the last argument.
        capability: of the GPUs that it runs on; see `GpuTarget`.
    """

    cubin: bytes
    ptx: str
    symbol: str
    warps: int
    shared_bytes: int
    registers: int
    spill_bytes: int
    global_scratch: tuple[int, int]
    profile_scratch: tuple[int, int]
    capability: int

    def packed(self) -> bytes:
        """As bytes; `unpacked` gives it back."""
        plain = asdict(self)
        code = plain.pop("cubin")
        header = json.dumps(plain).encode()
        return zlib.compress(_LENGTH.pack(len(header)) + header + code, level=1)


def unpacked(content: bytes) -> CompiledText:
    """What `packed` made."""
    whole = zlib.decompress(content)
    end = _LENGTH.size + _LENGTH.unpack_from(whole)[0]
    plain = json.loads(whole[_LENGTH.size : end])
    for name in ("global_scratch", "profile_scratch"):
        plain[name] = tuple(plain[name])
    return CompiledText(cubin=whole[end:], **plain)


@dataclass(frozen=True, slots=True)
class CompileFailure:
    """A kernel that there is no machine code of. It may do with another schedule.

    Attributes:
        kernel: its text and options.
        kind: "error", "crash", "timeout", or "limit": compiled, but the GPU has not enough of
            something.
        message: what the compiler said.
    """

    kernel: TritonKernel
    kind: str
    message: str

    def __str__(self) -> str:
        lines = self.kernel.source.strip("\n").splitlines()
        text = "\n".join(f"{number:4}  {line}" for number, line in enumerate(lines, 1))
        return f"Triton kernel {self.kernel.name}: {self.kind}: {self.message}\n{text}"


class Store(Protocol):
    """Where packed texts are kept between runs."""

    def get(self, key: str) -> bytes | None:
        """The content kept under `key`, or None."""

    def put(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`."""


@functools.cache
def triton_version() -> str | None:
    """Of the Triton that is installed; None without one. Triton is not loaded."""
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return None


def content_key(kernel: TritonKernel, target: GpuTarget) -> str:
    """A hash of all that decides what is made of the text."""
    parts = (
        _FORMAT, triton_version(), target.capability, kernel.name, kernel.source, kernel.arguments,
        kernel.divisible, kernel.warps, kernel.stages, kernel.fusing,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class Compiler:
    """Compiles kernels, several beside each other; what was compiled before comes from `store`.

    Args:
        workers: how many processes at most.
        store: what was compiled before; None: nothing is kept.
        limit_seconds: for one kernel.
    """

    def __init__(
        self, workers: int, store: Store | None = None, limit_seconds: float = _LIMIT_SECONDS
    ) -> None:
        self.store = store
        self.limit_seconds = limit_seconds
        self._crew = Crew(_WORKER)
        self._slots = threading.BoundedSemaphore(workers)
        self._threads = workers

    def compile(self, kernel: TritonKernel, target: GpuTarget) -> CompiledText | CompileFailure:
        """The kernel's machine code, or why there is none."""
        key = content_key(kernel, target)
        kept = None if self.store is None else self.store.get(key)
        if kept is not None:
            return _within(kernel, target, unpacked(kept))
        with self._slots:
            answer = self._crew.ask(_request(kernel, target), self.limit_seconds)
        if isinstance(answer, Failure):
            return CompileFailure(kernel, answer.kind, answer.message)
        made = CompiledText(**answer)
        if self.store is not None:
            self.store.put(key, made.packed())
        return _within(kernel, target, made)

    def compile_all(
        self, kernels: Iterable[TritonKernel], target: GpuTarget
    ) -> list[CompiledText | CompileFailure]:
        """`compile` of each, in the same order. Equal texts are compiled once."""
        kernels = list(kernels)
        futures: dict[str, Future[CompiledText | CompileFailure]] = {}
        keys = [content_key(kernel, target) for kernel in kernels]
        with ThreadPoolExecutor(self._threads, "sley-triton") as executor:
            try:
                for key, kernel in zip(keys, kernels, strict=True):
                    if key not in futures:
                        futures[key] = executor.submit(self.compile, kernel, target)
                return [futures[key].result() for key in keys]
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        """End the processes. Compiling again starts new ones."""
        self._crew.close()


def _request(kernel: TritonKernel, target: GpuTarget) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "source": kernel.source,
        "arguments": kernel.arguments,
        "divisible": kernel.divisible,
        "warps": kernel.warps,
        "stages": kernel.stages,
        "fusing": kernel.fusing,
        "capability": target.capability,
    }


def _within(
    kernel: TritonKernel, target: GpuTarget, made: CompiledText
) -> CompiledText | CompileFailure:
    """`made`, where the target can run it: Triton does not ask how much shared memory there is."""
    if made.shared_bytes <= target.shared_bytes:
        return made
    message = f"needs {made.shared_bytes} bytes of shared memory, {target.name} has"
    return CompileFailure(kernel, "limit", f"{message} {target.shared_bytes}")
