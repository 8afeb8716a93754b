"""The kernels that a program would have on a GPU, as text, which needs neither GPU nor Triton."""

from __future__ import annotations

from collections.abc import Mapping

from ...backends.triton.emit.kernel import kernel_text
from ...backends.triton.kernel import TritonKernel
from ...backends.triton.target import gpu_target
from ...ir.graph import Graph
from ...ir.numerics import EXACT, Numerics
from ...ir.plan import Launch
from ...passes.pipeline import run_passes


def triton_texts(
    graph: Graph,
    gpu: str = "sm_90",
    donated: Mapping[int, int] | None = None,
    numerics: Numerics = EXACT,
) -> list[TritonKernel]:
    """The distinct kernels of a tensor program, in the order in which they first run.

    Raises:
        NotImplementedError: a kernel that the GPU backend cannot write yet.
        ValueError: no such GPU is known.
    """
    found: dict[str, TritonKernel] = {}
    lowered = run_passes(graph, gpu_target(gpu), donated=donated, numerics=numerics)
    for step in lowered.plan.walk():
        if isinstance(step, Launch):
            kernel, schedule = step.node.attrs["kernel"], step.node.attrs["schedule"]
            text = kernel_text(kernel, schedule, kernel.name)
            found.setdefault(text.source, text)
    return list(found.values())


def with_launches(kernels: list[TritonKernel]) -> str:
    """The texts of kernels, each below a line that says how it is launched."""
    parts = []
    for kernel in kernels:
        grid = ", ".join(map(str, kernel.grid))
        header = f"# grid ({grid}), {kernel.warps} warps, {kernel.stages} stages"
        parts.append(f"{header}\n{kernel.source}")
    return "\n".join(parts)
