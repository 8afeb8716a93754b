"""Compiles a kernel graph and runs it on numpy arrays."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from sley.backends.llvm.kernel import compile_kernel
from sley.backends.llvm.native import Library, compile_object
from sley.backends.llvm.target import host_target
from sley.ir.dims import evaluate
from sley.ir.graph import Graph
from sley.ir.kernel_symbols import kernel_symbols
from sley.ir.schedule import Schedule
from sley.passes.schedule import schedule as decide

ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
PAINT = 0xA5  # what scratch and outputs hold before


class Program:
    """A kernel, compiled; call it with the arrays of all its parameters."""

    def __init__(self, kernel: Graph, cpu: str = "host", schedule: Schedule | None = None) -> None:
        self.kernel = kernel
        self.target = host_target(cpu)
        self.schedule = schedule or decide(kernel, self.target)
        symbol = "k" + hashlib.sha256(kernel.name.encode()).hexdigest()[:16]
        self.text, self.scratch, self.extent = compile_kernel(
            kernel, self.schedule, self.target, symbol
        )
        code = compile_object(
            self.text, cpu=self.target.cpu, features=self.target.features,
            triple=self.target.triple,
        )  # fmt: skip
        self.library = Library([code])
        self.function = ENTRY(self.library.address(symbol))

    def arguments(self, buffers: Sequence[np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
        names = kernel_symbols(self.kernel)
        return np.array(
            [b.ctypes.data for b in buffers] + [sizes[name] for name in names], np.int64
        )

    def __call__(
        self, buffers: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None, pieces: int = 1
    ) -> None:
        """Runs all tasks, cut into `pieces` that go in reverse order."""
        sizes = sizes or {}
        buffers = [np.asarray(buffer) for buffer in buffers]
        for buffer, param in zip(buffers, self.kernel.params, strict=True):
            assert buffer.flags.c_contiguous and buffer.dtype == param.type.dtype.numpy
            assert buffer.shape == tuple(evaluate(d, sizes) for d in param.type.shape)
        slots = self.arguments(buffers, sizes)
        extent = evaluate(self.extent, sizes)
        cuts = [extent * k // pieces for k in range(pieces + 1)]
        for lo, hi in reversed(list(itertools.pairwise(cuts))):
            raw = np.full(evaluate(self.scratch, sizes) + 64, PAINT, np.uint8)
            start = -raw.ctypes.data % 64
            self.function(slots.ctypes.data, lo, hi, raw.ctypes.data + start)


def compile_and_run(
    kernel: Graph,
    arrays: Sequence[np.ndarray],
    sizes: Mapping[str, int] | None = None,
    *,
    cpu: str = "host",
    pieces: int = 1,
    schedule: Schedule | None = None,
) -> list[np.ndarray]:
    """The outputs of `kernel` on `arrays` (one for each input)."""
    outputs = [
        np.full([evaluate(d, sizes or {}) for d in out.type.shape], 0, out.type.dtype.numpy)
        for out in kernel.out_params
    ]
    for output in outputs:
        output.reshape(-1).view(np.uint8)[:] = PAINT if output.dtype != np.bool_ else 0
    Program(kernel, cpu, schedule)([*arrays, *outputs], sizes, pieces)
    return outputs
