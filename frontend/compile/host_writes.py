"""Numbers that a program of a GPU changes on the processor: counters of steps and draws.

They are read by kernels, as copies, and written by the program; but what they become follows from
such numbers alone. So the processor computes it, and no call waits for the GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.builder import Recording
from ...ir.evaluate import evaluate
from ...ir.graph import Node, Value
from ...passes.inline import repeat
from ..errors import TraceError
from ..records import Capture
from ..storage import Storage
from ..trace import Trace
from .checks import leading_to


class HostWrites:
    """What becomes of captured numbers; made of the end of a trace.

    Attributes:
        slots: the parameters of the program that the new values follow from, by number.
        captures: the numbers, among all captures, of those that are written.

    Raises (from the constructor):
        TraceError: one follows from what lies on a GPU.
    """

    def __init__(self, trace: Trace, captures: Sequence[int]) -> None:
        self.captures = list(captures)
        written = [list(trace.captures.values())[number] for number in captures]
        builder = Recording()
        new: dict[Value, Value] = {}
        yields = []
        for capture in written:
            value = capture.shadow.value
            assert value is not None
            nodes = leading_to(value)
            _need_numbers(trace, capture, value, nodes)
            for read in (*(o for node in nodes for o in node.operands), value):
                if read.node is None and read not in new:
                    new[read] = builder.param(read.type, read.name)
            with builder:
                repeat([node for node in nodes if node.results[0] not in new], new)
            yields.append(new[value])
        numbers = {param: number for number, param in enumerate(trace.builder.params)}
        self.slots = [numbers[old] for old in new if old.node is None]
        self._graph = builder.finish("numbers", yields)

    def values(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The new elements of each, given those of the parameters `slots`."""
        return evaluate(self._graph, arrays)

    def write(self, storages: Sequence[Storage], values: Sequence[np.ndarray]) -> None:
        """Puts new elements into the captured memory, `storages` of all captures."""
        for number, value in zip(self.captures, values, strict=True):
            array = storages[number].array
            assert array is not None
            array[...] = value
            storages[number].touch(None)


def _need_numbers(trace: Trace, capture: Capture, value: Value, nodes: Sequence[Node]) -> None:
    """Raise where `value` follows from more than numbers of the processor."""
    on_gpu = {c.param for c in trace.captures.values() if c.storage.place is not None}
    on_gpu |= {i.param for i in trace.inputs if i.tensor is not None and i.tensor.is_cuda}
    reads = {operand for node in nodes for operand in node.operands} | {value}
    if reads & on_gpu or capture.storage.type.shape:
        raise TraceError(
            f"a tensor {capture.storage.type} on cpu is written in a function that runs on "
            f"{trace.device}",
            hint=f'move it first: x.to("{trace.device}")',
            location=capture.shadow.written,
        )
