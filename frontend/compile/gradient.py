"""Gradients through a call: `backward()` outside of the compiled function that made a result.

Where a function is compiled with gradients on and its results depend on tensors that require grad,
its program also yields what their gradients need, and each call leaves one node on the eager tape.
The node's rule runs a second program, made from the first by `passes.autodiff` when it is asked for
the first time. Views and counters are computed again rather than kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from ...ir.builder import Recording
from ...ir.graph import Graph, Node, Value
from ...ir.ops import OPS
from ...ir.ops.base import Kind
from ...passes.attention_across import attention_across, told_again
from ...passes.autodiff import backward as autodiff
from ...passes.autodiff.rule import zeros
from ...passes.dead import prune
from ...passes.inline import repeat
from ...runtime.host_calls import HostError
from ..apply import number_value, value_of
from ..context import ambient
from ..errors import AutogradError, computation_error, user_location
from ..tape import DeviceValue, EagerValue, TapeNode
from ..tensor import Tensor
from ..trace import Trace
from ..values import plain_value
from .slices import telling_sizes

if TYPE_CHECKING:
    from ...runtime.cuda.executable import CudaExecutable
    from ...runtime.executable import Executable
    from ..device import Device
    from ..storage import Storage

Find = Callable[[Sequence[Any]], Tensor]
# Elements that the way back reads: an array, or dense memory of the program's GPU.
Elements = Union[np.ndarray, "Storage"]
# What a parameter of a program held in a call: its elements, and where they may be overwritten.
Memory = tuple[Elements, "Storage | None"]
_AGAIN = (Kind.VIEW, Kind.SOURCE)


def gradient_of(
    trace: Trace, results: Sequence[Value], find: Callable[[Tensor], Find]
) -> Gradient | None:
    """How gradients go through a program that yields `results`; None where none has a history, or
    only one that a `backward()` inside has used up.

    Args:
        find: for a concrete tensor of the trace, how a later call finds it among its leaves.
    """
    tracked = [
        number
        for number, value in enumerate(results)
        if value in trace.tracked and value.node not in trace.released
    ]
    return Gradient(trace, results, tracked, find) if tracked else None


class Gradient:
    """The way back through the calls of one program; made by `gradient_of`.

    Attributes:
        saved: values that the program must yield besides its results.
        slots: numbers of the parameters whose memory is read again.
        tune: as for `sley.compile`.
    """

    def __init__(
        self,
        trace: Trace,
        results: Sequence[Value],
        tracked: Sequence[int],
        find: Callable[[Tensor], Find],
    ) -> None:
        self._tracked = tracked
        self._device = trace.device
        self._on_gpu: CudaExecutable | None = None
        roots = [(v, t) for v, t in trace.leaves.items() if t in trace.concrete]
        self._leaves = [find(trace.concrete[shadow]) for _, shadow in roots]
        graph = _pull_graph(trace, [results[i] for i in tracked], [v for v, _ in roots])
        written = {c.param for c in trace.captures.values() if c.is_written}
        written |= {item.param for item in trace.inputs if item.is_written}
        params = trace.builder.params
        self._written = [p in written for p in params]
        self._read(graph, params)
        self.tune: bool | None = None
        self._numerics = ambient.context.numerics
        self._executable: Executable | None = None

    def _read(self, graph: Graph, params: Sequence[Value], again: Set[Value] = frozenset()) -> None:
        """Sets what the pull `graph` reads of a program with the parameters `params`."""
        self._graph, self._outside = _close(graph, params, again)
        kept = {p: i for i, p in enumerate(params) if not self._written[i]}
        self.saved = [v for v in self._outside if v not in kept]
        self.slots = [kept[v] for v in self._outside if v in kept]
        self._order = [v in kept for v in self._outside]

    def with_attention(self, graph: Graph) -> Graph:
        """The program `graph`, which yields its results and `saved`; or one that computes attention
        as an op, if it was written out, so that the gradient needs no matrix of weights."""
        count = len(graph.yields) - len(self.saved)
        joint = attention_across(graph, count, self._graph, self._outside)
        if joint is None:
            return graph
        params, seeds = joint.params[: len(graph.params)], joint.params[len(graph.params) :]
        pulled = set(seeds)
        forward: list[Node] = []
        back: list[Node] = []
        for node in joint.nodes:
            depends = any(v in pulled for v in node.operands)
            (back if depends else forward).append(node)
            pulled.update(node.results if depends else ())
        pull = Graph("pull", seeds, tuple(back), joint.yields[count:])
        self._read(pull, params, told_again(pull, params))
        yields = (*joint.yields[:count], *self.saved)
        return prune(Graph(graph.name, params, tuple(forward), yields))

    def attach(
        self,
        results: Sequence[Tensor],
        saved: Sequence[Elements],
        memory: Sequence[Memory],
        leaves: Sequence[Any],
    ) -> None:
        """Puts the results of a call on the tape.

        Args:
            results: the fresh results of the call.
            saved: the elements of `self.saved`.
            memory: what the parameters `self.slots` held.
            leaves: the arguments of the call.
        """
        operands = [value_of(find(leaves)) for find in self._leaves]
        values = []
        for number in self._tracked:
            tensor = results[number]
            value = plain_value(tensor)
            tensor._value, tensor._version, tensor._tracked = value, 0, True
            values.append(value)
        versions = [0 if storage is None else storage.version for _, storage in memory]

        def pull(
            node: Node, cotangents: Sequence[Value | None], wanted: Sequence[bool]
        ) -> list[Value]:
            for (_, storage), version in zip(memory, versions, strict=True):
                if storage is not None and storage.version != version:
                    raise AutogradError(
                        f"a tensor {storage.type} that the gradient of a compiled call needs was "
                        f"overwritten at {storage.written}",
                        hint="call backward() before writing to it",
                    )
            held, kept = (iter(x) for x in ([a for a, _ in memory], saved))
            arrays = [next(held) if is_param else next(kept) for is_param in self._order]
            return self._pull(node, cotangents, arrays)

        TapeNode(OPS["opaque"], tuple(operands), {"pull": pull}, (), user_location(), values)

    def _pull(
        self, node: Node, cotangents: Sequence[Value | None], read: Sequence[Any]
    ) -> list[Value]:
        if ambient.context.grad_enabled:
            raise AutogradError(
                "a second derivative through a compiled function cannot be taken outside of it",
                hint="take the gradients inside the compiled function",
            )
        if self._device is not None:
            return self._pull_on_gpu(self._device, node, cotangents, read)
        seeds = [
            np.zeros(r.array.shape, r.array.dtype) if c is None else c.array  # type: ignore[attr-defined]
            for r, c in zip(node.results, cotangents, strict=True)
        ]
        if self._executable is None:
            from ...runtime.compile import Options, compile_graph

            options = Options(numerics=self._numerics, tune=self.tune)
            self._executable = compile_graph(self._graph, options)
        try:
            found = self._executable([*seeds, *read])
        except HostError as error:
            raise computation_error(error.op, error.cause, error.line) from None
        return [EagerValue(array, v.type) for array, v in zip(found, node.operands, strict=True)]

    def _pull_on_gpu(
        self,
        device: Device,
        node: Node,
        cotangents: Sequence[Value | None],
        read: Sequence[Storage],
    ) -> list[Value]:
        from ..accelerator import accelerator  # what runs GPUs: most programs need none
        from ..device_ops import dense, on_place

        place = accelerator(device)
        if self._on_gpu is None:
            from ...runtime.compile import Options

            self._on_gpu = place.compile(
                self._graph, Options(numerics=self._numerics, tune=self.tune)
            )
        seeds = [
            dense(on_place(number_value(0, r.type) if c is None else c, place, "backward()"))
            for r, c in zip(node.results, cotangents, strict=True)
        ]
        return [
            DeviceValue.new(storage.type, storage)
            for storage in place.call(self._on_gpu, [*seeds, *read])
        ]


def _pull_graph(trace: Trace, outputs: Sequence[Value], roots: Sequence[Value]) -> Graph:
    """The nodes that pull cotangents (the parameters) of `outputs` back to `roots`; they read
    values of the trace."""
    builder = Recording()
    seeds: list[Value | None] = [builder.param(v.type) for v in outputs]
    with builder:
        found = autodiff.backward(outputs, seeds, roots, lambda v: v in trace.tracked)
        yields = [zeros(r.type) if g is None else g for r, g in zip(roots, found, strict=True)]
    return builder.finish("pull", yields)


def _close(graph: Graph, params: Sequence[Value], again: Set[Value]) -> tuple[Graph, list[Value]]:
    """`graph` as a closed program: after the cotangents it takes the values of the trace that it
    reads, which are the second result; `params` are those of the trace. Values of `again` it
    computes for itself."""
    builder = Recording()
    new: dict[Value, Value] = {}
    for param in graph.params:
        new[param] = builder.param(param.type, param.name)
    own = {v for node in graph.nodes for v in node.results}
    outside: list[Value] = []

    def find(value: Value) -> Value:
        if value not in new:
            node = value.node
            if node is not None and (node.op.kind in _AGAIN or value in again):
                builder.line = node.line
                new[value] = builder.emit(node.op, [find(o) for o in node.operands], node.attrs)
            else:
                outside.append(value)
                new[value] = builder.param(value.type, value.name)
        return new[value]

    for node in graph.nodes:
        for operand in node.operands:
            if operand not in own:
                find(operand)
    with builder:
        repeat(graph.nodes, new)
    yields = [find(v) for v in graph.yields]
    for param in telling_sizes(builder, params):
        find(param)
    return builder.finish(graph.name, yields), outside
