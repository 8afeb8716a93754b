"""What the passes made becomes machine code: an object for each distinct kernel, and one entry."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..backends.llvm import native
from ..backends.llvm.entry import Frame, KernelCall, entry_text, frame_of
from ..backends.llvm.kernel import compile_kernel
from ..ir.dims import Dim, symbol, symbols
from ..ir.graph import Graph, Location, Node
from ..ir.isomorphic import graph_hash
from ..ir.kernel_symbols import kernel_symbols
from ..ir.ops.base import TypeRuleError
from ..ir.plan import HostCall, Launch, Plan
from ..ir.target import Target
from ..ir.work import work
from ..passes.pipeline import Lowered
from .config import config
from .executable import Details, Executable, KernelCode
from .image import HostStep, Image, PreparationImage
from .objects import ObjectCode, object_code

# (kernel, schedule, target, symbol) -> (LLVM text, bytes of scratch of a thread, tasks)
Emit = Callable[[Graph, Any, Target, str], tuple[str, Dim, Dim]]

_MAX_KEPT = 2048  # kernels in memory
# What becomes many times the text of an elementwise node.
_LENGTHS = {"contract": 50, "attend": 100, "attend_gradient": 200}


class CompileError(RuntimeError):
    """A kernel cannot be compiled.

    The message names the kernel, the file that holds its text, and the user's line.
    """


def build(lowered: Lowered, target: Target, emit: Emit = compile_kernel) -> Executable:
    """Compiles what the passes made.

    Raises:
        CompileError: a kernel cannot be compiled.
    """
    image, details = assemble(lowered, target, emit)
    given = lowered.stages[0][1]
    assert isinstance(given, Graph)
    try:
        return Executable(given, image, target, lowered.plan.donated, lambda: details)
    except native.LLVMError as error:
        raise CompileError(f"the entry of @{lowered.plan.graph.name}: {error}") from error


def assemble(
    lowered: Lowered, target: Target, emit: Emit = compile_kernel
) -> tuple[Image, Details]:
    """What running needs of what the passes made, and what tools show.

    Raises:
        CompileError: a kernel cannot be compiled.
    """
    launches = _Launches(lowered, target)
    compiled = _compile_kernels(launches.distinct(), target, emit)
    return _assemble(lowered, launches, compiled, target)


class _Launches:
    """The launches of a program in order, with a key of each one's kernel; and those of what
    prepares its inputs."""

    def __init__(self, lowered: Lowered, target: Target) -> None:
        self.nodes = [step.node for step in lowered.plan.walk() if isinstance(step, Launch)]
        self.keys = _kernel_keys(self.nodes, target)
        made = lowered.preparation
        self.preparation = None if made is None else _Launches(made, target)

    def distinct(self) -> dict[str, Node]:
        """The first launch of each kernel, by its key."""
        more = {} if self.preparation is None else self.preparation.distinct()
        return more | dict(reversed(list(zip(self.keys, self.nodes, strict=True))))


def _assemble(
    lowered: Lowered, launches: _Launches, compiled: Mapping[str, KernelCode], target: Target
) -> tuple[Image, Details]:
    plan = lowered.plan
    kernels = {key: compiled[key] for key in dict.fromkeys(reversed(launches.keys))}
    calls = _calls(launches.nodes, launches.keys, kernels)
    frame = frame_of(plan, _program_symbols(plan))
    text = entry_text(plan, frame, calls)
    try:
        entry = _object(text, target, opt_level=0)  # straight-line code: nothing to gain
    except native.LLVMError as error:
        raise CompileError(f"the entry of @{plan.graph.name}: {error}") from error
    codes = list(kernels.values())
    preparation, made = _preparation(lowered, launches, compiled, target)
    image = Image(
        frame,
        plan.blocks,
        tuple(code.scratch for code in codes),
        tuple(_host_steps(plan, frame)),
        tuple(code.hash for code in codes),
        (*(ObjectCode(code.object_key, code.code) for code in codes), entry),
        tuple(literal.array for literal in lowered.constants),
        preparation,
    )
    return image, Details(plan, tuple(codes), text, lowered.stages, made)


def _preparation(
    lowered: Lowered, launches: _Launches, compiled: Mapping[str, KernelCode], target: Target
) -> tuple[PreparationImage | None, Details | None]:
    """What makes the prepared inputs, and what tools show of it; None where there are none."""
    if lowered.preparation is None or launches.preparation is None:
        return None, None
    image, details = _assemble(lowered.preparation, launches.preparation, compiled, target)
    given = lowered.preparation.stages[0][1]
    assert isinstance(given, Graph)
    inputs, results = (tuple(v.type for v in values) for values in (given.params, given.yields))
    return PreparationImage(lowered.slots, inputs, results, image), details


def _host_steps(plan: Plan, frame: Frame) -> Iterator[HostStep]:
    for step in plan.walk():
        if isinstance(step, HostCall):
            yield HostStep(step.node, tuple(frame.slot(place) for place in step.args))


def _program_symbols(plan: Plan) -> list[str]:
    """The size symbols of a program: those of its inputs in order, then any others."""
    values = [*plan.graph.params, *(v for node in plan.graph.walk() for v in node.results)]
    return symbols(dim for value in values for dim in value.type.shape)


def _calls(
    nodes: Sequence[Node], keys: Sequence[str], kernels: Mapping[str, KernelCode]
) -> list[KernelCall]:
    """What the entry must know of each launch."""
    calls = []
    for node, key in zip(nodes, keys, strict=True):
        code, kernel = kernels[key], node.attrs["kernel"]
        arguments = tuple(symbol(name) for name in kernel_symbols(kernel))
        grain = code.schedule.grain
        calls.append(KernelCall(code.symbol, arguments, code.extent, work(kernel), grain))
    return calls


# -------------------------------------------------------------------------------------- kernels


def _kernel_keys(nodes: Sequence[Node], target: Target) -> list[str]:
    """For each launch a hash of kernel, schedule and target; names and lines do not count."""
    known: dict[tuple[Graph, Any], str] = {}
    for node in nodes:
        pair = node.attrs["kernel"], node.attrs["schedule"]
        if pair not in known:
            parts = (graph_hash(pair[0]), str(pair[1]), repr(target))
            known[pair] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return [known[node.attrs["kernel"], node.attrs["schedule"]] for node in nodes]


_kept: dict[tuple[str, Emit], Future[KernelCode]] = {}
_kept_lock = threading.Lock()


def _compile_kernels(
    distinct: Mapping[str, Node], target: Target, emit: Emit
) -> dict[str, KernelCode]:
    """The kernels by key. Each is compiled once in the process, several beside each other, what
    takes longest first."""
    workers = max(1, min(config().num_threads, len(distinct)))
    executor = ThreadPoolExecutor(workers, "sley-compile")
    with executor, _kept_lock:
        for key, node in sorted(distinct.items(), key=lambda item: -_length(item[1])):
            if (key, emit) not in _kept:
                _kept[key, emit] = executor.submit(_compile_kernel, key, node, target, emit)
        futures = {key: _kept[key, emit] for key in distinct}
        for old in list(_kept)[: max(0, len(_kept) - _MAX_KEPT)]:
            del _kept[old]
    for key, future in futures.items():
        if future.exception() is not None:  # it may be tried again
            _kept.pop((key, emit), None)
    return {key: future.result() for key, future in futures.items()}


def _length(launch: Node) -> int:
    """About how much text a kernel becomes, in nodes of an elementwise one."""
    return sum(_LENGTHS.get(node.op.name, 1) for node in launch.attrs["kernel"].walk())


def _compile_kernel(key: str, node: Node, target: Target, emit: Emit) -> KernelCode:
    kernel, schedule = node.attrs["kernel"], node.attrs["schedule"]
    name = f"sley_kernel_{key[:24]}"
    try:
        text, scratch, extent = emit(kernel, schedule, target, name)
        object_key, code = _object(text, target)
    except native.LLVMError as error:
        raise CompileError(_explain(node, str(error))) from error
    except (ValueError, TypeRuleError, NotImplementedError) as error:
        path = _keep(f"{kernel}\n// schedule: {schedule}\n")
        raise CompileError(
            _explain(node, f"{error}\nThe text of the kernel is in {path}")
        ) from error
    return KernelCode(
        kernel.name, kernel, schedule, key, name, text, code, object_key, scratch, extent
    )


def _explain(node: Node, message: str) -> str:
    line = _line_of(node)
    return f"kernel @{node.attrs['kernel'].name}{f' ({line})' if line else ''}: {message}"


def _line_of(node: Node) -> Location | None:
    """The user's line of a launch, or of the first node of its kernel that has one."""
    if node.line is not None:
        return node.line
    return next((n.line for n in node.attrs["kernel"].walk() if n.line is not None), None)


def _keep(text: str) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="sley-", suffix=".ir", delete=False) as file:
        file.write(text)
    return file.name


# ---------------------------------------------------------------------------------- object code


def _object(text: str, target: Target, opt_level: int = 2) -> ObjectCode:
    return object_code(
        text,
        cpu=target.cpu,
        features=target.features,
        triple=target.triple,
        opt_level=opt_level,
    )
