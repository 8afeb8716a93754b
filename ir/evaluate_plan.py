"""Planned programs computed by numpy in the memory that the plan gives them.

There is one real arena; what holds no value is filled with bytes of 0xFF, which are NaN as floats.
So a value that was overwritten too early, or read after its block was freed, shows in the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .dims import evaluate as evaluate_dim
from .evaluate import bind_sizes, check_array, evaluate_node
from .evaluate_kernel import evaluate_kernel
from .graph import Value
from .plan import (
    Branch,
    Carry,
    Copy,
    HostCall,
    Launch,
    Loop,
    Place,
    Plan,
    Step,
    WhileLoop,
    assign_offsets,
    span,
)

POISON = 0xFF


def evaluate_plan(
    plan: Plan, arrays: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None
) -> list[np.ndarray]:
    """All results of the planned program, the donated ones included.

    Args:
        arrays: one for each parameter of `plan.graph`; they are not written to.
        sizes: values of size symbols that the shapes of `arrays` do not tell.

    Raises:
        EvaluationError: an array does not fit, or a kernel cannot be computed.
    """
    memory = _Memory(plan, arrays, bind_sizes(plan.graph.params, arrays, sizes))
    memory.run(plan.steps, 0)
    return [memory.result(k, value) for k, value in enumerate(plan.graph.yields)]


class _Memory:
    def __init__(self, plan: Plan, arrays: Sequence[np.ndarray], sizes: Mapping[str, int]) -> None:
        self.plan = plan
        self.sizes = sizes
        self.inputs = [np.frombuffer(bytearray(a.tobytes()), np.uint8) for a in arrays]
        self.fresh = {
            k: self._poisoned(evaluate_dim(plan.graph.yields[k].type.nbytes, sizes))
            for k in plan.fresh
        }
        offsets, total = assign_offsets(plan, sizes)
        self.arena = self._poisoned(total)
        self.blocks = [
            self.arena[offset : offset + evaluate_dim(block.nbytes, sizes)]
            for offset, block in zip(offsets, plan.blocks, strict=True)
        ]
        self.pointers: dict[int, np.ndarray] = {}
        self.dying: dict[int, list[np.ndarray]] = {}
        for block, memory in zip(plan.blocks, self.blocks, strict=True):
            self.dying.setdefault(block.last, []).append(memory)

    def _poisoned(self, nbytes: int) -> np.ndarray:
        return np.full(nbytes, POISON, np.uint8)

    def buffer(self, place: Place) -> np.ndarray:
        """The bytes of a buffer, to read and to write."""
        if place.kind == "input":
            return self.inputs[place.number]
        if place.kind == "pointer":
            return self.pointers[place.number]
        return self.fresh[place.number] if place.kind == "output" else self.blocks[place.number]

    def array(self, place: Place, value: Value) -> np.ndarray:
        """What `place` holds, as an array of the type of `value`."""
        shape = tuple(evaluate_dim(dim, self.sizes) for dim in value.type.shape)
        return np.frombuffer(self.buffer(place).tobytes(), value.type.dtype.numpy).reshape(shape)

    def run(self, steps: Sequence[Step], number: int) -> int:
        """Runs steps whose first has this number; the number after the last."""
        for step in steps:
            if isinstance(step, Copy):
                self.buffer(step.target)[:] = self.buffer(step.source)
            elif isinstance(step, Loop):
                self.loop(step, number)
            elif isinstance(step, WhileLoop):
                self.while_loop(step, number)
            elif isinstance(step, Branch):
                first = number + 1
                if self.buffer(step.flag)[0]:
                    self.run(step.then, first)
                else:
                    self.run(step.otherwise, first + sum(map(span, step.then)))
            else:
                self.compute(step)
            number += span(step)
            for memory in self.dying.get(number - 1, ()):
                memory[:] = POISON
        return number

    def loop(self, step: Loop, number: int) -> None:
        length = evaluate_dim(step.length, self.sizes)
        targets = self.begin(step.carries, length)
        for turn in range(length):
            t = length - 1 - turn if step.reverse else turn
            for pointer, whole, size in step.slices:
                nbytes = evaluate_dim(size, self.sizes)
                piece = self.buffer(whole)[t * nbytes : (t + 1) * nbytes]
                self.pointers[pointer.number] = piece
            self.run(step.body, number + 1)
            self.hand_on(step.carries, targets)
        self.end(step.carries)

    def while_loop(self, step: WhileLoop, number: int) -> None:
        targets = self.begin(step.carries, 0)
        while True:
            body = self.run(step.condition, number + 1)
            if not self.buffer(step.flag)[0]:
                break
            self.run(step.body, body)
            self.hand_on(step.carries, targets)
        self.end(step.carries)

    def begin(self, carries: Sequence[Carry], length: int) -> dict[Carry, Place]:
        """What the first turn reads; where it writes each carry that is not in place. Of a known
        number of turns the last one writes to the home."""
        targets = {}
        for carry in carries:
            if carry.spare is None or carry.current is None or carry.next is None:
                self.buffer(carry.home)[:] = self.buffer(carry.start)
                continue
            self.pointers[carry.current.number] = self.buffer(carry.start)
            at_home = carry.start != carry.home and length % 2 == 1
            targets[carry] = carry.home if at_home else carry.spare
            self.pointers[carry.next.number] = self.buffer(targets[carry])
            self.pointers[carry.next.number][:] = POISON
        return targets

    def hand_on(self, carries: Sequence[Carry], targets: dict[Carry, Place]) -> None:
        for carry in carries:
            if carry.spare is None or carry.current is None or carry.next is None:
                continue
            self.pointers[carry.current.number] = self.buffer(targets[carry])
            targets[carry] = carry.home if targets[carry] == carry.spare else carry.spare
            self.pointers[carry.next.number] = self.buffer(targets[carry])
            self.pointers[carry.next.number][:] = POISON

    def end(self, carries: Sequence[Carry]) -> None:
        for carry in carries:
            if carry.current is not None:
                # Copied first: it may be the home itself, which the last turn left poisoned.
                self.buffer(carry.home)[:] = self.pointers[carry.current.number].copy()

    def compute(self, step: Launch | HostCall) -> None:
        node = step.node
        read, written = step.args[: len(node.operands)], step.args[len(node.operands) :]
        operands = [self.array(p, v) for p, v in zip(read, node.operands, strict=True)]
        for place in written:
            self.buffer(place)[:] = POISON
        results: Sequence[np.ndarray]
        if isinstance(step, Launch):
            results = evaluate_kernel(node.attrs["kernel"], operands, self.sizes)
        else:
            results = evaluate_node(node, operands, self.sizes)
            for value, array in zip(node.results, results, strict=True):
                check_array(value, array, self.sizes, node)
        for place, result in zip(written, results, strict=True):
            self.buffer(place)[:] = np.frombuffer(result.tobytes(), np.uint8)

    def result(self, number: int, value: Value) -> np.ndarray:
        donated = self.plan.donated.get(number)
        place = Place("output", number) if donated is None else Place("input", donated)
        return self.array(place, value)
