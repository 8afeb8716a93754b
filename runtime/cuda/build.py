"""What the passes made becomes an executable on a GPU: each distinct kernel as text, then code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...backends.triton.compile import CompileFailure
from ...backends.triton.kernel import TritonKernel
from ...ir import plan
from ...ir.block_schedule import BlockSchedule, by_pointers
from ...ir.dims import Dim, mod
from ...ir.gpu_target import GpuTarget
from ...ir.graph import Graph, Node
from ...ir.isomorphic import graph_hash
from ...ir.plan import Place, Plan
from ...passes.pipeline import Lowered
from ..build import CompileError
from ..config import config
from .device import Compiled, Device
from .executable import CudaExecutable
from .recorder import HostKernel, LoadedKernel, loaded_kernel

_ALIGNMENT = 16

# (kernel, its schedule, GPU) -> its text
Emit = Callable[[Graph, Any, GpuTarget], TritonKernel]
# The code of each text, in order
CompileAll = Callable[[Sequence[TritonKernel], GpuTarget], Sequence[Compiled | CompileFailure]]
# A launch of each distinct kernel, by its hash -> better schedules than theirs, by the same
Choose = Callable[[Mapping[str, Node]], Mapping[str, BlockSchedule]]
_Key = tuple[str, tuple[int, ...]]


def build(
    lowered: Lowered,
    device: Device,
    emit: Emit,
    compile_all: CompileAll,
    *,
    choose: Choose | None = None,
    fallback: bool = False,
) -> CudaExecutable:
    """Compiles what the passes made, and loads it.

    Args:
        choose: knows better schedules than those of the launches.
        fallback: kernels that there is no code of run on the host, with a warning.

    Raises:
        CompileError: a kernel cannot be compiled, and there is no fallback.
    """
    unaligned = unaligned_arguments(lowered.plan)
    texts: dict[_Key, TritonKernel] = {}
    found: dict[_Key, Compiled | CompileFailure | CompileError] = {}
    keys: dict[Node, _Key] = {}
    hashes = {k: graph_hash(k) for k in dict.fromkeys(n.attrs["kernel"] for n in unaligned)}
    distinct = {hashes[node.attrs["kernel"]]: node for node in unaligned}
    chosen = {} if choose is None else choose(distinct)
    for node, positions in unaligned.items():
        kernel_hash = hashes[node.attrs["kernel"]]
        schedule = chosen.get(kernel_hash, node.attrs["schedule"])
        key = keys[node] = (f"{kernel_hash} {schedule}", positions)
        if key in texts or key in found:
            continue
        try:
            texts[key] = _text(node, schedule, emit, device.target, positions)
        except CompileError as error:
            found[key] = error
    codes = compile_all(list(texts.values()), device.target)
    found.update(zip(texts, codes, strict=True))
    failures = [code for code in found.values() if isinstance(code, (CompileFailure, CompileError))]
    if failures and not fallback:
        raise CompileError("\n".join(map(str, failures)))
    loaded = {node: _load(node, texts.get(key), found[key], device) for node, key in keys.items()}
    return CudaExecutable(lowered, device, loaded)


def _text(
    node: Node,
    schedule: BlockSchedule,
    emit: Emit,
    target: GpuTarget,
    unaligned: tuple[int, ...],
) -> TritonKernel:
    kernel = node.attrs["kernel"]
    try:
        text = emit(kernel, by_pointers(schedule) if unaligned else schedule, target)
    except (ValueError, NotImplementedError) as error:
        line = f" ({node.line})" if node.line else ""
        raise CompileError(f"kernel @{kernel.name}{line}: {error}") from error
    divisible = tuple(position for position in text.divisible if position not in unaligned)
    return replace(text, divisible=divisible)


def _load(
    node: Node,
    text: TritonKernel | None,
    code: Compiled | CompileFailure | CompileError,
    device: Device,
) -> LoadedKernel | HostKernel:
    kernel = node.attrs["kernel"]
    if text is None or isinstance(code, (CompileFailure, CompileError)):
        _log(kernel.name, str(code))
        return HostKernel(kernel.name, kernel, str(code).partition("\n")[0])
    return loaded_kernel(kernel, text, code, device)


def _log(name: str, what: str) -> None:
    """Says where `SLEY_LOG=compile` asks for it that a kernel has no code."""
    if "compile" in config().log:
        print(f"sley: compile @{name}: {what}", file=sys.stderr)


def unaligned_arguments(program: Plan) -> dict[Node, tuple[int, ...]]:
    """For each launch the positions of its buffers that may begin anywhere: what loops walk over
    in steps that are no multiples of 16 bytes."""
    loose: set[Place] = set()
    found = {}
    for step in program.walk():  # outer loops before inner ones
        if isinstance(step, plan.Launch):
            found[step.node] = tuple(k for k, place in enumerate(step.args) if place in loose)
        if not isinstance(step, (plan.Loop, plan.WhileLoop)):
            continue
        for carry in step.carries:
            if carry.current is not None and carry.next is not None:
                if {carry.start, carry.home, carry.spare} & loose:
                    loose |= {carry.current, carry.next}
        if isinstance(step, plan.Loop):
            for pointer, whole, nbytes in step.slices:
                if whole in loose or not _multiple(nbytes):
                    loose.add(pointer)
    return found


def _multiple(nbytes: Dim) -> bool:
    return mod(nbytes, _ALIGNMENT) == 0
