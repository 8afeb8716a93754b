"""What a program does, for known sizes: segments of commands, and decisions between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ...ir import plan
from ...ir.evaluate import concrete
from ...ir.evaluate_kernel import evaluate_kernel
from ...ir.graph import Location, Node
from ...ir.plan import Carry
from ..host_calls import HostError, compute
from .device import Device
from .driver import Copy
from .recorder import HostKernel, Layout, LoadedKernel, Recorder
from .segment import Ref, Segment

MAX_UNROLLED = 4096  # commands of a loop that are recorded turn by turn


class Run:
    """One call under way: the GPU, and where each buffer begins."""

    __slots__ = ("bases", "device")

    def __init__(self, device: Device, bases: list[int]) -> None:
        self.device = device
        self.bases = bases

    def address(self, ref: Ref) -> int:
        """Where a buffer lies."""
        return self.bases[ref.base] + ref.offset

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copies memory of the GPU."""
        if nbytes and target != source:
            self.device.issue(Copy(target, source, nbytes), "a copy")

    def flag(self, ref: Ref) -> bool:
        """A bool of the GPU's memory."""
        return bool(self.device.get(self.address(ref), (), np.dtype(np.bool_)))


class Action(Protocol):
    """A part of a program."""

    def run(self, run: Run) -> None:
        """Does it."""


@dataclass(frozen=True, slots=True)
class Commands:
    """A segment."""

    segment: Segment

    def run(self, run: Run) -> None:
        self.segment.run(run.device, run.bases)


class Buffer(NamedTuple):
    """Where an array lies."""

    ref: Ref
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class HostStep:
    """What numpy computes: operands to the host, results back.

    Attributes:
        name, line: of the op or kernel, for errors.
        work: writes the results of operands into arrays.
    """

    name: str
    line: Location | None
    operands: tuple[Buffer, ...]
    results: tuple[Buffer, ...]
    work: Callable[[list[np.ndarray], list[np.ndarray]], None]

    def run(self, run: Run) -> None:
        operands = [
            run.device.get(run.address(ref), shape, dtype) for ref, shape, dtype in self.operands
        ]
        results = [np.empty(shape, dtype) for _, shape, dtype in self.results]
        try:
            self.work(operands, results)
        except Exception as error:
            raise HostError(self.name, self.line, error) from error
        for buffer, array in zip(self.results, results, strict=True):
            run.device.write(run.address(buffer.ref), array)


@dataclass(frozen=True, slots=True)
class Turning:
    """The pointers of a carry that two buffers take turns to hold.

    Attributes:
        spare: the buffer besides the carry's home.
        first: the one of them that the first turn writes to.
        current, next: the bases that show what a turn reads, and what it writes.
    """

    spare: Ref
    first: Ref
    current: int
    next: int


@dataclass(frozen=True, slots=True)
class Hand:
    """How a loop hands a carry from turn to turn: see `ir.plan.Carry`."""

    start: Ref
    home: Ref
    nbytes: int
    turning: Turning | None

    def begin(self, run: Run) -> None:
        """The first turn reads the start."""
        if self.turning is None:
            run.copy(run.address(self.home), run.address(self.start), self.nbytes)
            return
        run.bases[self.turning.current] = run.address(self.start)
        run.bases[self.turning.next] = run.address(self.turning.first)

    def hand_on(self, run: Run) -> None:
        """The next turn reads what this one wrote."""
        if self.turning is None:
            return
        written = run.bases[self.turning.next]
        home, spare = run.address(self.home), run.address(self.turning.spare)
        run.bases[self.turning.current] = written
        run.bases[self.turning.next] = home if written == spare else spare

    def end(self, run: Run) -> None:
        """What the last turn wrote lies at home."""
        if self.turning is not None:
            run.copy(run.address(self.home), run.bases[self.turning.current], self.nbytes)


@dataclass(frozen=True, slots=True)
class Loop:
    """A scan. `slices`: the base that moves, the whole, and the bytes of a turn."""

    length: int
    reverse: bool
    hands: tuple[Hand, ...]
    slices: tuple[tuple[int, Ref, int], ...]
    body: tuple[Action, ...]

    def run(self, run: Run) -> None:
        for hand in self.hands:
            hand.begin(run)
        for turn in range(self.length):
            t = self.length - 1 - turn if self.reverse else turn
            for base, whole, nbytes in self.slices:
                run.bases[base] = run.address(whole) + t * nbytes
            perform(self.body, run)
            for hand in self.hands:
                hand.hand_on(run)
        for hand in self.hands:
            hand.end(run)


@dataclass(frozen=True, slots=True)
class While:
    """A loop that goes on as long as the bool that `condition` leaves at `flag` is true."""

    hands: tuple[Hand, ...]
    condition: tuple[Action, ...]
    flag: Ref
    body: tuple[Action, ...]

    def run(self, run: Run) -> None:
        for hand in self.hands:
            hand.begin(run)
        while True:
            perform(self.condition, run)
            if not run.flag(self.flag):
                break
            perform(self.body, run)
            for hand in self.hands:
                hand.hand_on(run)
        for hand in self.hands:
            hand.end(run)


@dataclass(frozen=True, slots=True)
class Branch:
    """One of two lists, as the bool at `flag` says."""

    flag: Ref
    then: tuple[Action, ...]
    otherwise: tuple[Action, ...]

    def run(self, run: Run) -> None:
        perform(self.then if run.flag(self.flag) else self.otherwise, run)


def perform(actions: Sequence[Action], run: Run) -> None:
    """Does all, in order."""
    for action in actions:
        action.run(run)


# --------------------------------------------------------------------------------- from a plan


class Actions:
    """Makes the actions of a plan's steps."""

    def __init__(self, layout: Layout, kernels: Mapping[Node, LoadedKernel | HostKernel]) -> None:
        self._layout = layout
        self._kernels = kernels

    def of(self, steps: Sequence[plan.Step]) -> tuple[Action, ...]:
        """What `steps` do: as few segments as there can be."""
        found: list[Action] = []
        recorded: list[plan.Step] = []
        for step in steps:
            if self._commands(step) <= MAX_UNROLLED:
                recorded.append(step)
                continue
            found += self._segment(recorded)
            recorded = []
            found.append(self._action(step))
        return (*found, *self._segment(recorded))

    def _commands(self, step: plan.Step) -> float:
        """The most commands that a step can be; no end of them where something is decided."""
        if isinstance(step, plan.Launch):
            on_host = isinstance(self._kernels[step.node], HostKernel)
            return float("inf") if on_host else 1
        if isinstance(step, plan.Copy):
            return 1
        if not isinstance(step, plan.Loop):
            return float("inf")
        turns = self._layout.size(step.length)
        each = sum(self._commands(inner) for inner in step.body)
        return each * turns if turns else 0

    def _segment(self, steps: Sequence[plan.Step]) -> list[Action]:
        segment = Recorder(self._layout, self._kernels).segment(steps)
        return [] if segment is None else [Commands(segment)]

    def _action(self, step: plan.Step) -> Action:
        ref, size = self._layout.ref, self._layout.size
        if isinstance(step, plan.HostCall):
            return self._host_step(step)
        if isinstance(step, plan.Launch):
            kernel = self._kernels[step.node]
            assert isinstance(kernel, HostKernel)
            return self._host_kernel(step, kernel)
        if isinstance(step, plan.Loop):
            slices = tuple((ref(s.pointer).base, ref(s.whole), size(s.nbytes)) for s in step.slices)
            length = size(step.length)
            hands = tuple(self._hand(carry, length) for carry in step.carries)
            return Loop(length, step.reverse, hands, slices, self.of(step.body))
        if isinstance(step, plan.WhileLoop):
            hands = tuple(self._hand(carry, 0) for carry in step.carries)
            return While(hands, self.of(step.condition), ref(step.flag), self.of(step.body))
        assert isinstance(step, plan.Branch)
        return Branch(ref(step.flag), self.of(step.then), self.of(step.otherwise))

    def _hand(self, carry: Carry, length: int) -> Hand:
        ref, nbytes = self._layout.ref, self._layout.size(carry.nbytes)
        start, home = ref(carry.start), ref(carry.home)
        if carry.spare is None or carry.current is None or carry.next is None:
            return Hand(start, home, nbytes, None)
        spare = ref(carry.spare)
        # Of a known number of turns the last one is to write to the home.
        first = home if carry.start != carry.home and length % 2 == 1 else spare
        turning = Turning(spare, first, ref(carry.current).base, ref(carry.next).base)
        return Hand(start, home, nbytes, turning)

    def _host_step(self, step: plan.HostCall) -> HostStep:
        node, sizes = step.node, self._layout.sizes
        attrs = concrete(node.attrs, sizes)

        def work(operands: list[np.ndarray], results: list[np.ndarray]) -> None:
            compute(node, operands, results, attrs, sizes)

        return HostStep(node.op.name, node.line, *self._buffers(step), work)

    def _host_kernel(self, step: plan.Launch, kernel: HostKernel) -> HostStep:
        sizes = self._layout.sizes

        def work(operands: list[np.ndarray], results: list[np.ndarray]) -> None:
            found = evaluate_kernel(kernel.graph, operands, sizes)
            for target, array in zip(results, found, strict=True):
                target[...] = array

        return HostStep(f"@{kernel.name}", step.node.line, *self._buffers(step), work)

    def _buffers(
        self, step: plan.HostCall | plan.Launch
    ) -> tuple[tuple[Buffer, ...], tuple[Buffer, ...]]:
        """Of the operands, and of the results."""
        node, size = step.node, self._layout.size
        found = tuple(
            Buffer(
                self._layout.ref(place),
                tuple(size(dim) for dim in value.type.shape),
                value.type.dtype.numpy,
            )
            for place, value in zip(step.args, (*node.operands, *node.results), strict=True)
        )
        return found[: len(node.operands)], found[len(node.operands) :]
