"""The steps of a plan, for known sizes, as commands at addresses relative to buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...backends.triton.kernel import TritonKernel
from ...ir import plan
from ...ir.dims import Dim, evaluate
from ...ir.graph import Graph, Node
from ...ir.kernel_symbols import kernel_symbols
from ...ir.plan import Carry, Place
from ...ir.sugar import neutral
from .device import Compiled, Device
from .driver import Arguments, Command, Copy, Fill, Function, Launch
from .segment import Ref, Segment, Use

_SCRATCH_ALIGNMENT = 256


@dataclass(frozen=True, slots=True, eq=False)
class LoadedKernel:
    """A kernel that can be launched.

    Attributes:
        name: of the kernel graph.
        function: its machine code.
        symbols: names of its size symbols, in the order of its arguments.
        grid: how many programs run.
        scratch: bytes that each program needs for itself.
        joined: results that atomics join -> (position among the arguments, element that they
            begin with).
    """

    name: str
    function: Function
    symbols: tuple[str, ...]
    grid: tuple[Dim, Dim, Dim]
    scratch: int
    joined: tuple[tuple[int, np.ndarray], ...]


@dataclass(frozen=True, slots=True, eq=False)
class HostKernel:
    """A kernel that there is no machine code of: numpy evaluates it on the host.

    Attributes:
        name: of the kernel graph.
        graph: what is evaluated.
        reason: why.
    """

    name: str
    graph: Graph
    reason: str


def loaded_kernel(
    kernel: Graph, text: TritonKernel, code: Compiled, device: Device
) -> LoadedKernel:
    """Loads the machine code of a kernel's text.

    Raises:
        DriverError: the driver does not take it.
    """
    return LoadedKernel(
        kernel.name,
        device.function(code),
        kernel_symbols(kernel),
        text.grid,
        code.global_scratch[0],
        joined_results(kernel),
    )


def joined_results(kernel: Graph) -> tuple[tuple[int, np.ndarray], ...]:
    """The buffers of a kernel that atomics join: their positions, and what they begin with."""
    joined = {n.operands[0]: n.attrs["combine"] for n in kernel.walk() if n.op.name == "atomic"}
    return tuple(
        (position, neutral(joined[value], value.type.dtype).array)
        for position, value in enumerate(kernel.params)
        if value in joined
    )


class Layout:
    """Where the buffers of a program lie, for one binding of its symbols.

    The bases, in order: inputs, constants among them; new results; the arena; pointers of loops.

    Attributes:
        sizes: the values of the symbols.
        arena: number of the base of the arena.
        bases: how many there are.
        scratch: bytes behind the arena's blocks for what programs of kernels need.
    """

    def __init__(
        self,
        inputs: int,
        fresh: Sequence[int],
        pointers: int,
        offsets: Sequence[int],
        arena_bytes: int,
        sizes: Mapping[str, int],
    ) -> None:
        self.sizes = sizes
        self._fresh = {number: inputs + k for k, number in enumerate(fresh)}
        self.arena = inputs + len(fresh)
        self.bases = self.arena + 1 + pointers
        self._offsets = offsets
        self._scratch_at = -(-arena_bytes // _SCRATCH_ALIGNMENT) * _SCRATCH_ALIGNMENT
        self.scratch = 0

    @property
    def arena_bytes(self) -> int:
        """Of all blocks and of scratch."""
        return self._scratch_at + self.scratch

    def pointer(self, number: int) -> int:
        """The base of pointer number `number`."""
        return self.arena + 1 + number

    def ref(self, place: Place) -> Ref:
        """Where a buffer lies."""
        if place.kind == "input":
            return Ref(place.number, 0)
        if place.kind == "output":
            return Ref(self._fresh[place.number], 0)
        if place.kind == "arena":
            return Ref(self.arena, self._offsets[place.number])
        return Ref(self.pointer(place.number), 0)

    def scratch_ref(self, nbytes: int) -> Ref:
        """Memory for one launch: the next one may use it again."""
        self.scratch = max(self.scratch, nbytes)
        return Ref(self.arena, self._scratch_at)

    def size(self, dim: Dim) -> int:
        """The value of a size."""
        return evaluate(dim, self.sizes)


class Recorder:
    """Records steps without decisions; loops turn by turn, so that pointers are known."""

    def __init__(self, layout: Layout, kernels: Mapping[Node, LoadedKernel | HostKernel]) -> None:
        self._layout = layout
        self._kernels = kernels
        self._pointers: dict[int, Ref] = {}
        self._commands: list[Command] = []
        self._names: list[str] = []
        self._uses: list[Use] = []

    def segment(self, steps: Sequence[plan.Step]) -> Segment | None:
        """The commands of `steps`; None where nothing is to be done."""
        self._steps(steps)
        if not self._commands:
            return None
        return Segment(self._commands, self._names, self._uses)

    def _ref(self, place: Place) -> Ref:
        if place.kind == "pointer" and place.number in self._pointers:
            return self._pointers[place.number]
        return self._layout.ref(place)

    def _add(self, command: Command, name: str, refs: Sequence[tuple[int, Ref]]) -> None:
        number = len(self._commands)
        self._commands.append(command)
        self._names.append(name)
        self._uses += [Use(number, which, ref) for which, ref in refs]

    def _steps(self, steps: Sequence[plan.Step]) -> None:
        for step in steps:
            if isinstance(step, plan.Launch):
                self._launch(step)
            elif isinstance(step, plan.Copy):
                self._copy(self._ref(step.target), self._ref(step.source), step.nbytes)
            else:
                assert isinstance(step, plan.Loop), "a decision among steps without any"
                self._loop(step)

    def _copy(self, target: Ref, source: Ref, nbytes: Dim) -> None:
        count = self._layout.size(nbytes)
        if count and target != source:
            self._add(Copy(0, 0, count), "a copy", ((0, target), (1, source)))

    def _launch(self, step: plan.Launch) -> None:
        kernel, layout = self._kernels[step.node], self._layout
        assert isinstance(kernel, LoadedKernel), "a decision among steps without any"
        refs = [self._ref(place) for place in step.args]
        values = (*step.node.operands, *step.node.results)
        for position, element in kernel.joined:
            self._fill(refs[position], element, layout.size(values[position].type.size))
        x, y, z = (layout.size(dim) for dim in kernel.grid)
        if x * y * z == 0:
            return
        numbers = [layout.sizes[name] for name in kernel.symbols]
        uses = list(enumerate(refs))
        if kernel.scratch:
            place = len(refs) + len(numbers)
            uses.append((place, layout.scratch_ref(kernel.scratch * x * y * z)))
        # Two more than the kernel has: scratch memory, and what profilers use.
        arguments = Arguments([*(0 for _ in refs), *numbers, 0, 0])
        line = f" ({step.node.line})" if step.node.line else ""
        self._add(Launch(kernel.function, (x, y, z), arguments), f"@{kernel.name}{line}", uses)

    def _fill(self, target: Ref, element: np.ndarray, count: int) -> None:
        """Writes `element` everywhere: elements of 8 bytes as two halves."""
        if not count:
            return
        width = min(element.itemsize, 4)
        halves = np.frombuffer(element.tobytes(), f"<u{width}")
        if len(set(halves.tolist())) == 1:
            count *= len(halves)
            halves = halves[:1]
        stride = width * len(halves)
        for number, half in enumerate(halves.tolist()):
            ref = Ref(target.base, target.offset + number * width)
            self._add(Fill(0, half, width, count, stride), "a fill", ((0, ref),))

    def _loop(self, step: plan.Loop) -> None:
        length = self._layout.size(step.length)
        turns = _Turns(self, step.carries, length)
        for turn in range(length):
            t = length - 1 - turn if step.reverse else turn
            for pointer, whole, nbytes in step.slices:
                base, offset = self._ref(whole)
                size = self._layout.size(nbytes)
                self._pointers[pointer.number] = Ref(base, offset + t * size)
            self._steps(step.body)
            turns.hand_on()
        turns.end()


class _Turns:
    """How a loop that is recorded hands its carries on, as `ir.evaluate_plan` does."""

    def __init__(self, recorder: Recorder, carries: Sequence[Carry], length: int) -> None:
        self.recorder = recorder
        self.carries = carries
        self.targets: dict[Carry, Place] = {}
        for carry in carries:
            start, home = recorder._ref(carry.start), recorder._ref(carry.home)
            if carry.spare is None or carry.current is None or carry.next is None:
                recorder._copy(home, start, carry.nbytes)
                continue
            at_home = carry.start != carry.home and length % 2 == 1
            self.targets[carry] = carry.home if at_home else carry.spare
            recorder._pointers[carry.current.number] = start
            recorder._pointers[carry.next.number] = recorder._ref(self.targets[carry])

    def hand_on(self) -> None:
        """The next turn reads what this one wrote."""
        pointers = self.recorder._pointers
        for carry, target in self.targets.items():
            assert carry.spare is not None and carry.current is not None and carry.next is not None
            pointers[carry.current.number] = self.recorder._ref(target)
            other = carry.home if target == carry.spare else carry.spare
            self.targets[carry] = other
            pointers[carry.next.number] = self.recorder._ref(other)

    def end(self) -> None:
        """What the last turn wrote lies at home."""
        for carry in self.targets:
            assert carry.current is not None
            current = self.recorder._pointers[carry.current.number]
            self.recorder._copy(self.recorder._ref(carry.home), current, carry.nbytes)
