"""A graph becomes an executable on a GPU: passes, Triton texts, machine code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...backends.triton.compile import CompiledText, CompileFailure
from ...backends.triton.emit.kernel import kernel_text
from ...backends.triton.kernel import TritonKernel
from ...ir.gpu_target import GpuTarget
from ...ir.graph import Graph
from ...ir.verifier import verify
from ...passes.pipeline import run_passes
from ..collector import no_collection
from .build import build
from .cubins import cubin_compiler
from .device import Device
from .executable import CudaExecutable
from .tuned import memory_of
from .tuning import Chooser

if TYPE_CHECKING:
    from ..compile import Options

_DIGITS = "0123456789"


def compile_graph(
    graph: Graph, device: Device, options: Options, *, fallback: bool = True
) -> CudaExecutable:
    """Compiles a tensor program for a GPU.

    Args:
        fallback: kernels that there is no code of run on the host, with a warning.

    Raises:
        CompileError: a kernel cannot be compiled, and there is no fallback.
    """
    with no_collection():
        lowered = run_passes(
            graph,
            device.target,
            donated=options.donated,
            numerics=options.numerics,
            dump=options.dump,
            verify=verify if options.verified else None,
        )
        chooser = Chooser(
            device,
            emit,
            compile_all,
            memory_of(device.info),
            numerics=options.numerics,
            sizes=options.sizes,
            tune=options.tuned,
        )
        choose = chooser.choose
        return build(lowered, device, emit, compile_all, choose=choose, fallback=fallback)


def emit(kernel: Graph, schedule: Any, target: GpuTarget) -> TritonKernel:
    """The text of a kernel, named after its kind: `loop7` of one program is `loop2` of another."""
    return kernel_text(kernel, schedule, kernel.name.rstrip(_DIGITS) or "kernel")


def compile_all(
    kernels: Sequence[TritonKernel], target: GpuTarget
) -> list[CompiledText | CompileFailure]:
    """The machine code of each text, in order."""
    return cubin_compiler().compile_all(kernels, target)
