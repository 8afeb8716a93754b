"""From a kernel and its schedule to LLVM text."""

from __future__ import annotations

from typing import NamedTuple

from ...ir.dims import Dim
from ...ir.graph import Graph
from ...ir.kernel_symbols import kernel_symbols
from ...ir.schedule import Schedule
from ...ir.target import Target
from .emit import emit, scratch_bytes
from .expand import expand, task_extent


class CompiledKernel(NamedTuple):
    """What a kernel's function is and needs.

    Attributes:
        text: the LLVM module that defines it.
        scratch_bytes: of each call, over the kernel's size symbols.
        task_extent: the range [0, task_extent) that calls share, over the size symbols.
    """

    text: str
    scratch_bytes: Dim
    task_extent: Dim


def compile_kernel(
    kernel: Graph, schedule: Schedule, target: Target, symbol: str
) -> CompiledKernel:
    """The text of `kernel` as the function `symbol`, see `emit`."""
    loops = expand(kernel, schedule, target)
    text = emit(loops, symbol, target, kernel_symbols(kernel))
    return CompiledKernel(text, scratch_bytes(loops), task_extent(loops))
