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
from .plan import Copy, HostCall, Launch, Place, Plan, assign_offsets

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
    for number, step in enumerate(plan.steps):
        if isinstance(step, Copy):
            memory.buffer(step.target)[:] = memory.buffer(step.source)
        else:
            memory.compute(step)
        memory.free_after(number)
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

    def _poisoned(self, nbytes: int) -> np.ndarray:
        return np.full(nbytes, POISON, np.uint8)

    def buffer(self, place: Place) -> np.ndarray:
        """The bytes of a buffer, to read and to write."""
        if place.kind == "input":
            return self.inputs[place.number]
        return self.fresh[place.number] if place.kind == "output" else self.blocks[place.number]

    def array(self, place: Place, value: Value) -> np.ndarray:
        """What `place` holds, as an array of the type of `value`."""
        shape = tuple(evaluate_dim(dim, self.sizes) for dim in value.type.shape)
        return np.frombuffer(self.buffer(place).tobytes(), value.type.dtype.numpy).reshape(shape)

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

    def free_after(self, number: int) -> None:
        for block, memory in zip(self.plan.blocks, self.blocks, strict=True):
            if block.last == number:
                memory[:] = POISON

    def result(self, number: int, value: Value) -> np.ndarray:
        donated = self.plan.donated.get(number)
        place = Place("output", number) if donated is None else Place("input", donated)
        return self.array(place, value)
