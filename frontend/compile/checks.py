"""Indices among the data of a compiled call: what eager code would raise for, a call raises for.

Machine code reads nothing outside of a tensor, but it cannot raise. So the part of a trace that
leads to an index is a small program of its own: it gives the largest one by its bits, which for
negative ones are larger than any size, and runs before the program proper, which has then not begun
to write. Where one is wrong another program tells which.

A program that only makes new tensors gives the largest index itself, as a further result: the
kernel that reads by the indices takes them along, and they are read once. What it has made of
indices that are wrong is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...ir import dims
from ...ir.builder import Recording
from ...ir.dtypes import i64, u64
from ...ir.graph import Graph, Node, Value, full
from ...ir.ops import OPS
from ...ir.ops.base import Kind
from ...passes.inline import repeat
from ..errors import IndexingError
from ..trace_builder import IndexCheck
from .slices import telling_sizes

if TYPE_CHECKING:
    from ...runtime.cuda.executable import CudaExecutable
    from ...runtime.cuda.memory import Block
    from ...runtime.executable import Executable
    from ..accelerator import Accelerator
    from ..trace import Trace

_CHEAP = (Kind.ELEMENTWISE, Kind.VIEW, Kind.SOURCE)
# An index that a product leads to is a result of the model (an argmax, say), not the user's data.
_DEAR = (Kind.CONTRACTION, Kind.ATTENTION, Kind.CONTROL, Kind.HOST)


class IndexChecks:
    """The checks of one program; made by `checks_of`.

    Attributes:
        slots: the parameters of the program that the checks read, by number.
        told: what the program itself yields for the checks; empty where they run before it.
    """

    def __init__(
        self, checks: Sequence[IndexCheck], slots: list[int], graph: Graph, exact: Graph
    ) -> None:
        self.slots = slots
        self.told: tuple[Value, ...] = ()
        self._checks = checks
        self._graph = graph
        self._exact = exact
        self._executable: Executable | None = None
        self._on_gpu: CudaExecutable | None = None

    def run(self, pointers: Sequence[int], sizes: dict[str, int]) -> None:
        """Raises for the first check that fails.

        Args:
            pointers: the memory of the parameters `slots`.

        Raises:
            IndexingError: an index is out of range.
        """
        if self._executable is None:
            self._executable = _compiled(self._graph)
        names = self._executable.symbols
        found = self._executable.run(pointers, tuple(sizes[n] for n in names))
        self.look(found, pointers, sizes)

    def run_on(
        self, place: Accelerator, pointers: Sequence[int], sizes: Mapping[str, int]
    ) -> list[Block]:
        """On a GPU: where the largest indices will be, for `expect`."""
        if self._on_gpu is None:
            from ...runtime.compile import Options

            self._on_gpu = place.compile(self._graph, Options())
        return place.start(self._on_gpu, pointers, sizes)

    def expect(self, place: Accelerator, blocks: Sequence[Block], sizes: dict[str, int]) -> None:
        """Has a later call raise where one of the largest indices, which will be in `blocks`, is
        out of range: no call waits for a GPU."""
        bounds = [dims.evaluate(check.size, sizes) for check in self._checks]

        def told(largest: Sequence[int]) -> None:
            for check, size, bits in zip(self._checks, bounds, largest, strict=True):
                if bits >= size:
                    index = bits - (1 << 64) if bits >> 63 else bits
                    raise IndexingError(
                        f"{check.name}: index {index} is not in 0 .. {size - 1}",
                        hint="a GPU tells later: what the call made, or wrote, took a 0 for what "
                        "would have been read there",
                        location=check.line,
                    )

        place.expect(blocks, told)

    def join(self, builder: Recording) -> None:
        """Has the program that `builder` has recorded tell the largest indices, if it may: no step
        of it runs on the host, where it could fail for another reason, or as often as the data
        says, and what leads to the indices is as cheap as reading them."""
        leading = (n for c in self._checks for n in leading_to(c.indices))
        apart = any(n.op.kind in (Kind.HOST, Kind.CONTROL) for n in builder.nodes)
        if apart or any(n.op.kind not in _CHEAP for n in leading):
            return
        with builder:
            self.told = tuple(
                value for c in self._checks for value in _largest(_counted(c.indices, c.ignored))
            )

    def look(
        self, found: Sequence[np.ndarray], pointers: Sequence[int], sizes: Mapping[str, int]
    ) -> None:
        """Raises where one of the largest indices `found` is out of range; else as `run`."""
        for number, check in enumerate(self._checks):
            size = check.size if isinstance(check.size, int) else dims.evaluate(check.size, sizes)
            if int(found[number]) >= size:
                self._tell(pointers, sizes)
                return

    def _tell(self, pointers: Sequence[int], sizes: Mapping[str, int]) -> None:
        """Raises for the first index that is out of range, if there is one."""
        executable = _compiled(self._exact)
        bounds = executable.run(pointers, tuple(sizes[n] for n in executable.symbols))
        for number, check in enumerate(self._checks):
            low, high = int(bounds[2 * number]), int(bounds[2 * number + 1])
            size = dims.evaluate(check.size, sizes)
            if low <= high and (low < 0 or high >= size):
                raise IndexingError(
                    f"{check.name}: index {low if low < 0 else high} is not in 0 .. {size - 1}"
                    + ("" if check.line is None else f" (at {check.line})")
                )


def _compiled(graph: Graph) -> Executable:
    from ...runtime.compile import compile_graph

    return compile_graph(graph)


def checks_of(trace: Trace) -> IndexChecks | None:
    """The checks of the indices that a trace has met; None where there are none."""
    leading = {check: leading_to(check.indices) for check in trace.builder.checks}
    kept = [c for c, nodes in leading.items() if not any(n.op.kind in _DEAR for n in nodes)]
    if not kept:
        return None
    graph, slots = _program(trace, kept, leading, _largest)
    exact, _ = _program(trace, kept, leading, _bounds)
    return IndexChecks(kept, slots, graph, exact)


def _program(
    trace: Trace,
    checks: Sequence[IndexCheck],
    leading: Mapping[IndexCheck, list[Node]],
    told: Callable[[Value], tuple[Value, ...]],
) -> tuple[Graph, list[int]]:
    """What is `told` of the indices of all checks, one that is ignored counting as 0; and the
    numbers of the trace's parameters that the program takes."""
    builder = Recording()
    params = {p: i for i, p in enumerate(trace.builder.params)}
    new: dict[Value, Value] = {}
    yields: list[Value] = []
    for check in checks:
        _copy(leading[check], check.indices, builder, new)
        with builder:
            yields += told(_counted(new[check.indices], check.ignored))
    for param in telling_sizes(builder, trace.builder.params, [check.size for check in checks]):
        new[param] = builder.param(param.type, param.name)
    slots = [params[old] for old in new if old.node is None]
    return builder.finish("checks", yields), slots


def _counted(indices: Value, ignored: int | None) -> Value:
    """The indices as i64, 0 for one that is ignored."""
    if indices.type.dtype is not i64:
        indices = OPS["cast"](indices, dtype=i64)
    if ignored is None:
        return indices
    skip = OPS["eq"](indices, full(indices.type, ignored))
    return OPS["where"](skip, full(indices.type, 0), indices)


def _largest(indices: Value) -> tuple[Value, ...]:
    """The largest index by its bits, which for negative ones are larger than any size."""
    bits = OPS["bitcast"](indices, dtype=u64)
    axes = tuple(range(indices.type.ndim))
    return (OPS["reduce_max"](bits, axes=axes, ties="first") if axes else bits,)


def _bounds(indices: Value) -> tuple[Value, ...]:
    """The smallest and the largest index."""
    axes = tuple(range(indices.type.ndim))
    if not axes:
        return indices, indices
    low = OPS["reduce_min"](indices, axes=axes, ties="first")
    return low, OPS["reduce_max"](indices, axes=axes, ties="first")


def leading_to(value: Value) -> list[Node]:
    """The nodes that compute `value`, operands first."""
    order: list[Node] = []
    seen: set[Node] = set()
    pending: list[tuple[Value, bool]] = [(value, False)]
    while pending:
        current, done = pending.pop()
        node = current.node
        if node is None:
            continue
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            pending.append((current, True))
            pending.extend((operand, False) for operand in node.operands)
    return order


def _copy(nodes: Sequence[Node], value: Value, builder: Recording, new: dict[Value, Value]) -> None:
    """Emits `nodes` again, but those that stand in `new`; parameters that they or `value` read
    become parameters."""
    for read in (*(operand for node in nodes for operand in node.operands), value):
        if read.node is None and read not in new:
            new[read] = builder.param(read.type, read.name)
    with builder:
        repeat([node for node in nodes if node.results[0] not in new], new)
