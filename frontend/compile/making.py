"""A recorded trace becomes machine code, and a variant of the function, on the device that its
tensors lie on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...ir.graph import Graph
from ..context import ambient
from ..trace import Trace
from .outcome import Outcome
from .program import Program

if TYPE_CHECKING:
    from ...runtime.cuda.executable import CudaExecutable
    from ...runtime.executable import Executable


def compiled(
    graph: Graph, outcome: Outcome, tune: bool | None, sizes: Mapping[str, int]
) -> Executable | CudaExecutable:
    """The machine code of a program; `tune` and `sizes` as in `runtime.compile.Options`."""
    # Loaded at the first compilation: passes and backends are half the time of `import sley`.
    from ...runtime.compile import Options, compile_graph

    device = outcome.trace.device
    fixed = outcome.fixed() if device is None else frozenset()
    numerics = ambient.context.numerics
    options = Options(
        donated=outcome.donated, fixed=fixed, numerics=numerics, tune=tune, sizes=sizes
    )
    if device is None:
        return compile_graph(graph, options)
    from ..accelerator import accelerator

    return accelerator(device).compile(graph, options)


def check_devices(trace: Trace) -> None:
    """Raise where a program of a GPU reads memory of the processor (see `device_program`)."""
    if trace.device is None:
        return
    from .device_program import check_devices  # what runs GPUs: most programs need none

    check_devices(trace)


def variant(graph: Graph, executable: Any, outcome: Outcome, *rest: Any) -> Program:
    """The `Program` of a trace; the rest are the other arguments of its constructor."""
    if outcome.trace.device is None:
        return Program(graph, executable, outcome, *rest)
    from .device_program import DeviceProgram

    return DeviceProgram(graph, executable, outcome, *rest)
