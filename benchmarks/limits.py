"""What the machine itself can do: fused multiply-adds in registers, and copies of memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sley.backends.llvm import native

from .counting import count
from .libraries import Counting
from .workload import Call, Workload

_CHAINS = 16  # independent sums: enough to hide the latency of one multiply-add
_FLOPS = 1 << 29  # of one thread in one call


def limit(workload: Workload, threads: int) -> tuple[Call, float] | None:
    """A call that takes a multiple of the least time the machine needs for the workload, and that
    multiple; None where neither arithmetic nor memory is its limit. Where it has both, the slower
    of the two on this machine."""
    flops, nbytes = _counted(workload) if workload.counted else (workload.flops, workload.nbytes)
    executor = ThreadPoolExecutor(threads)
    spread = executor.map if threads > 1 else map
    found: list[tuple[Call, float]] = []
    if flops:
        multiply = _multiply_adds()
        work: Callable[[int], object] = lambda _: multiply()
        found.append((lambda: list(spread(work, range(threads))), threads * _FLOPS / flops))
    if nbytes:
        source = np.ones(max(nbytes // 8, threads), np.float32)
        target = np.empty_like(source)
        pieces = list(zip(np.array_split(target, threads), np.array_split(source, threads)))
        copy: Callable[[tuple], None] = lambda piece: np.copyto(*piece)
        found.append((lambda: list(spread(copy, pieces)), 1.0))
    return max(found, key=_seconds, default=None)


def _counted(workload: Workload) -> tuple[int, int]:
    """Operations and bytes of the program that sley traces."""
    library = Counting()
    tensors = [library.tensor(a) for a in workload.inputs(False)]
    workload.torch_like(library, tensors)()
    return count(library.programs[0])


def _seconds(limit: tuple[Call, float]) -> float:
    """The least time seen, of a few."""
    call, multiple = limit
    call()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) / multiple


def _multiply_adds() -> Callable[[], None]:
    """A native function of `_FLOPS` float32 operations that never leave the registers."""
    host = native.host()
    lanes = host.vector_bytes // 4
    turns = _FLOPS // (2 * lanes * _CHAINS)
    code = native.compile_object(_text(lanes, turns), cpu=host.cpu, features=host.features)
    library = native.Library([code])
    function = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)(library.address("peak"))

    def call(keep: native.Library = library) -> None:
        function(0.5)

    return call


def _text(lanes: int, turns: int) -> str:
    vector = f"<{lanes} x float>"
    sums = [f"%s{k}" for k in range(_CHAINS)]
    lines = [
        f"declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})",
        f"declare float @llvm.vector.reduce.fadd.v{lanes}f32(float, {vector})",
        "define float @peak(float %x) {",
        "entry:",
        f"  %one = insertelement {vector} poison, float %x, i32 0",
        f"  %v = shufflevector {vector} %one, {vector} poison, <{lanes} x i32> zeroinitializer",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %entry], [%next, %loop]",
    ]
    lines += [f"  {s} = phi {vector} [zeroinitializer, %entry], [{s}n, %loop]" for s in sums]
    # Each chain adds another multiple of %v: equal ones would become one.
    lines += [
        f"  {s}n = call {vector} @llvm.fma.v{lanes}f32({vector} {s}, {vector} %v, {vector} "
        f"splat (float {k + 1}.0))"
        for k, s in enumerate(sums)
    ]
    lines += [
        "  %next = add i64 %i, 1",
        f"  %more = icmp ult i64 %next, {turns}",
        "  br i1 %more, label %loop, label %done",
        "done:",
    ]
    total = f"{sums[0]}n"
    for k, s in enumerate(sums[1:]):
        lines.append(f"  %t{k} = fadd {vector} {total}, {s}n")
        total = f"%t{k}"
    lines += [
        f"  %r = call float @llvm.vector.reduce.fadd.v{lanes}f32(float 0.0, {vector} {total})",
        "  ret float %r",
        "}",
    ]
    return "\n".join(lines)
