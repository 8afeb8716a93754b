"""Which schedule each kernel of a program gets: what is remembered, else the first choice; and
where that is asked for, the fastest of all that come into question, measured on the GPU.

A schedule that does not compile, asks for more shared memory than there is, spills, or that the
driver does not launch, is out of the question.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...backends.triton.compile import CompileFailure, triton_version
from ...backends.triton.kernel import TritonKernel
from ...ir.block_schedule import BlockSchedule
from ...ir.dims import evaluate
from ...ir.dtypes import DType
from ...ir.gpu_target import GpuTarget
from ...ir.graph import Graph, Node
from ...ir.kernel_symbols import kernel_symbols
from ...ir.numerics import Numerics
from ...ir.plan import Launch, Place
from ...ir.types import TensorType
from ...passes.block_choices import block_choices
from ..config import config
from .device import Compiled, Device
from .driver import Copy
from .errors import DriverError, LaunchError, OutOfMemoryError
from .memory import Block
from .recorder import Layout, LoadedKernel, Recorder, loaded_kernel
from .segment import Segment
from .timing import measure
from .tuned import Case, Memory, Tuned, case_of

# See `build.py`.
Emit = Callable[[Graph, BlockSchedule, GpuTarget], TritonKernel]
CompileAll = Callable[[Sequence[TritonKernel], GpuTarget], Sequence[Compiled | CompileFailure]]

SPILLS = 64  # bytes of a thread
_LOOK, _CALLS = 3, 10  # calls that tell whether a schedule is worth measuring, and that measure it
_HOPELESS = 1.5  # times as long as the best so far
_PATTERN = 1 << 18  # random elements, which are repeated


class Chooser:
    """Chooses the schedules of a program's kernels.

    Args:
        numerics: that the program was lowered with.
        sizes: of its symbols, to measure with; kernels with others are not tuned.
        tune: whether to measure what is not known.
    """

    def __init__(
        self,
        device: Device,
        emit: Emit,
        compile_all: CompileAll,
        memory: Memory,
        *,
        numerics: Numerics,
        sizes: Mapping[str, int],
        tune: bool,
    ) -> None:
        self._device = device
        self._emit = emit
        self._compile_all = compile_all
        self._memory = memory
        self._numerics = numerics
        self._sizes = sizes
        self._tune = tune

    def choose(self, kernels: Mapping[str, Node]) -> dict[str, BlockSchedule]:
        """The schedules of kernels that have a better one than that of their launch.

        Args:
            kernels: one launch for each, by `graph_hash` of the kernel.
        """
        found: dict[str, BlockSchedule] = {}
        unknown: list[_Trial] = []
        for kernel_hash, node in kernels.items():
            kernel = node.attrs["kernel"]
            symbols = kernel_symbols(kernel)
            if not all(name in self._sizes for name in symbols):
                continue
            case = case_of(kernel_hash, self._numerics.tf32, self._sizes, symbols)
            known = self._memory.get(case)
            if known is not None:
                found[kernel_hash] = known
            elif self._tune:
                unknown += self._trial(case, node)
        if unknown:
            self._compile(unknown)
        for trial in unknown:
            tuned = self._measured(trial)
            if tuned is not None:
                self._memory.put(tuned)
                found[trial.case[0]] = self._memory.get(trial.case) or trial.schedules[0]
        return found

    # ------------------------------------------------------------------ what is tried

    def _trial(self, case: Case, node: Node) -> list[_Trial]:
        """What there is to try, if there is a choice."""
        schedules, texts = [], []
        for schedule in block_choices(node.attrs["kernel"], self._device.target, self._numerics):
            try:
                text = self._emit(node.attrs["kernel"], schedule, self._device.target)
            except (ValueError, NotImplementedError):
                continue
            schedules.append(schedule)
            texts.append(text)
        return [_Trial(case, node, schedules, texts, [])] if len(schedules) > 1 else []

    def _compile(self, trials: Sequence[_Trial]) -> None:
        """Compiles all texts beside each other."""
        texts = [text for trial in trials for text in trial.texts]
        codes = iter(self._compile_all(texts, self._device.target))
        for trial in trials:
            trial.codes = [next(codes) for _ in trial.texts]

    def _measured(self, trial: _Trial) -> Tuned | None:
        """The fastest; None where nothing could be measured."""
        try:
            bench = _Bench(self._device, trial.node, self._sizes)
        except OutOfMemoryError:
            return None
        times: dict[int, float] = {}
        for number, (text, code) in enumerate(zip(trial.texts, trial.codes, strict=True)):
            # The first choice may spill: where all do, it is what there is.
            if isinstance(code, CompileFailure) or (number and code.spill_bytes > SPILLS):
                continue
            took = bench.time(text, code, min(times.values(), default=None))
            if took is not None:
                times[number] = took
        if not times:
            return None
        best = min(times, key=lambda number: (times[number], number))
        name = trial.node.attrs["kernel"].name
        _log(f"@{name}: {len(times)} of {len(trial.texts)} ran, number {best} is the fastest")
        info = self._device.info
        return Tuned(
            *trial.case,
            str(trial.schedules[best]),
            round(1000 * times[best], 3),
            round(1000 * times.get(0, times[best]), 3),
            len(times),
            info.name,
            info.driver_version,
            triton_version(),
        )


@dataclass(slots=True)
class _Trial:
    """A kernel, the schedules that come into question, their texts and, later, their code."""

    case: Case
    node: Node
    schedules: list[BlockSchedule]
    texts: list[TritonKernel]
    codes: list[Compiled | CompileFailure]


class _Bench:
    """Buffers that a kernel can run on.

    Raises:
        OutOfMemoryError: there is no room for them.
    """

    def __init__(self, device: Device, node: Node, sizes: Mapping[str, int]) -> None:
        self.device = device
        self.node = node
        self.sizes = sizes
        kernel: Graph = node.attrs["kernel"]
        shapes = [[evaluate(d, sizes) for d in p.type.shape] for p in kernel.params]
        self._bound = max((n for shape in shapes for n in shape), default=1)
        self._rng = np.random.default_rng(0)
        count = len(kernel.inputs)
        self._blocks = [self._filled(param.type) for param in kernel.params[:count]]
        for param in kernel.params[count:]:
            self._blocks.append(device.empty(evaluate(param.type.nbytes, sizes)))

    def time(self, text: TritonKernel, code: Compiled, best: float | None) -> float | None:
        """Milliseconds of a call; None where the GPU does not take it. Where it is hopeless
        compared to `best` it is measured a few times only."""
        try:
            loaded = loaded_kernel(self.node.attrs["kernel"], text, code, self.device)
        except DriverError:
            return None
        segment, bases = self._commands(loaded)
        if segment is None:
            return 0.0
        self.device.begin(self)
        try:
            return self._median(lambda: segment.run(self.device, bases), best)
        except LaunchError:
            return None

    def kernel_lines(self) -> list[str]:
        """The kernel that is measured, where a fault asks for it."""
        line = f" ({self.node.line})" if self.node.line else ""
        return [f"@{self.node.attrs['kernel'].name}{line}"]

    def _median(self, work: Callable[[], object], best: float | None) -> float:
        look = statistics.median(measure(self.device, work, _LOOK))
        if best is not None and look > _HOPELESS * best:
            return look
        return statistics.median(measure(self.device, work, _CALLS))

    def _commands(self, loaded: LoadedKernel) -> tuple[Segment | None, list[int]]:
        layout = Layout(len(self._blocks), (), 0, (), 0, self.sizes)
        places = tuple(Place("input", number) for number in range(len(self._blocks)))
        segment = Recorder(layout, {self.node: loaded}).segment([Launch(self.node, places)])
        arena = self.device.workspace(layout.arena_bytes, lambda: [])
        return segment, [*(block.address for block in self._blocks), arena.address]

    def _filled(self, type: TensorType) -> Block:
        """Random elements; integers may be indices, so they are less than the longest axis."""
        count = evaluate(type.size, self.sizes)
        block = self.device.empty(count * type.dtype.itemsize)
        pattern = self._random(type.dtype, min(count, _PATTERN))
        self.device.write(block.address, pattern)
        done = pattern.nbytes
        while done < block.nbytes and done:
            nbytes = min(done, block.nbytes - done)
            self.device.issue(Copy(block.address + done, block.address, nbytes), "a copy")
            done += nbytes
        return block

    def _random(self, dtype: DType, count: int) -> np.ndarray:
        if dtype.kind == "bool":
            return self._rng.random(count) < 0.5
        if dtype.kind in ("int", "uint"):
            most = min(max(1, self._bound), np.iinfo(dtype.numpy).max)
            return self._rng.integers(0, most, count).astype(dtype.numpy)
        return self._rng.uniform(-1, 1, count).astype(dtype.numpy)


def _log(what: str) -> None:
    if "compile" in config().log:
        print(f"sley: tune {what}", file=sys.stderr)
