"""What a composite function does, recorded: its program, and the programs that pull it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Region, Value
from ..ir.numpy_code import Program as Function
from ..ir.numpy_code import constant_arrays, numpy_function
from ..ir.ops import OPS
from ..ir.ops.base import Kind, Op
from ..ir.types import TensorType
from ..passes.autodiff.backward import backward
from ..passes.dead import prune
from .tensor import Tensor
from .trace_builder import TraceBuilder

if TYPE_CHECKING:
    from .tape import EagerValue

# What may give an operand's own memory, and cares not how operands lie in memory.
_VIEWS = {OPS["stop_gradient"], OPS["real"], OPS["imag"], OPS["bitcast"]}
_DOT = OPS["dot_general"]


class Pull(NamedTuple):
    """A way back.

    Attributes:
        function: arrays of the cotangents that there are, of the arguments and of `Program.kept` to
            arrays of cotangents.
        types: of these.
        places: for each operand of the tape's node the number of its cotangent; ~k where that is
            the k-th of those given; None where nothing arrives.
        arguments, results: the numbers of those whose memory `function` reads.
    """

    function: Function
    types: list[TensorType]
    places: list[int | None]
    arguments: set[int]
    results: set[int]


class Program:
    """A recorded function. Each use of an argument is a value of its own.

    Attributes:
        forward: arrays of the arguments to those of `kept`.
        results: the types of the results.
        is_single: whether the function returns one tensor, not a tuple.
        is_tracked: whether a gradient may be asked through a result.
        plain: the numbers of the results without a history.
        kept: the results, then what the way back may read of what was computed.
        uses: for each use the number of the argument.
        constants: what is the same at each call.
        memory: for values that lie in the memory of an argument its number.
        nodes: those that gradients pass through, operands before users.
        operands: of the tape's node: for each use that a gradient may lead to the number of the
            argument. The walk meets them in the order in which it would meet them in `nodes`.
        attrs: of the tape's node.
    """

    def __init__(
        self, builder: _Builder, results: Sequence[Value], is_single: bool, writes: bool
    ) -> None:
        self.uses, self.is_single = builder.uses, is_single
        self.results = [v.type for v in results]
        self._ends, self._tracked = tuple(results), builder.tracked
        self.plain = [k for k, v in enumerate(results) if v not in builder.tracked]
        self.is_tracked = len(self.plain) < len(results)
        graph = prune(Graph("composite", (), tuple(builder.nodes), self._ends))
        assert not any(n.regions or n.op.kind is Kind.HOST for n in graph.nodes), "not numpy alone"
        self.constants = constant_arrays(graph.nodes)
        self.memory = _in_arguments(graph.nodes, self.uses)
        self.nodes = _walked(self._ends, builder.tracked)
        self._sources = _sources(self.nodes, self.uses, builder.tracked)
        self.operands = [self.uses[v] for v in self._sources]
        touched = (v for node in self.nodes for v in (*node.operands, *node.results))
        self.kept = list(dict.fromkeys([*self._ends, *filter(self._is_computed, touched)]))
        self.forward = numpy_function(
            _read_by(graph.nodes, self._ends, {u: (0, n) for u, n in self.uses.items()}),
            graph.nodes,
            self.kept,
            self.constants,
            dense=_uncertain(graph.nodes, builder.views, self.constants),
            copied=[v for v in self._ends if _is_view(v.node) and not writes],
            written={v: (0, n) for n, v in enumerate(self._ends)} if writes else {},
            in_place=self._in_place(graph.nodes) if writes else (),
        )
        self._pulls: dict[tuple, Pull] = {}
        self.attrs: dict[str, Any] = {"pull": _pull}
        if self._ends[0].node is not None:  # as the tape tells of its last op
            self.attrs["name"] = self._ends[0].node.op.name.title().replace("_", "")

    def _in_place(self, nodes: Sequence[Node]) -> set[Value]:
        """The results that may be computed right into the argument that they are written to: those
        after which nobody reads it."""
        last = {self.memory[v]: node for node in nodes for v in node.operands if v in self.memory}
        return {
            value
            for number, value in enumerate(self._ends)
            if value.node is not None
            and (number not in last or nodes.index(last[number]) <= nodes.index(value.node))
            and not any(value in n.operands for n in nodes)
        }

    def _is_computed(self, value: Value) -> bool:
        return value not in self.uses and value not in self.constants

    def pull(self, given: tuple[bool, ...], wanted: tuple[bool, ...]) -> Pull:
        """The way back from those results for which cotangents are `given` to those operands of the
        tape's node that are `wanted`."""
        found = self._pulls.get((given, wanted))
        if found is None:
            found = self._pulls[given, wanted] = self._record_pull(given, wanted)
        return found

    def _record_pull(self, given: tuple[bool, ...], wanted: tuple[bool, ...]) -> Pull:
        builder = Recording()
        seeds = [
            builder.param(v.type) if g else None for v, g in zip(self._ends, given, strict=True)
        ]
        sources = [v for v, w in zip(self._sources, wanted, strict=True) if w]
        with builder:
            ends = backward(
                self._ends, seeds, sources, self._tracked.__contains__, None, self.nodes
            )
        arrived = dict(zip(sources, ends, strict=True))
        made = [v for v in dict.fromkeys(ends) if v is not None and v not in builder.params]
        nodes = prune(Graph("pull", (), tuple(builder.nodes), tuple(made))).nodes
        here: dict[Value, tuple[int, int]] = {v: (0, n) for n, v in enumerate(builder.params)}
        here.update((use, (1, number)) for use, number in self.uses.items())
        here.update((value, (2, number)) for number, value in enumerate(self.kept))
        inputs = _read_by(nodes, made, here)
        own = {v for node in nodes for v in node.results}
        function = numpy_function(
            inputs,
            nodes,
            made,
            constant_arrays(nodes, self.constants),
            parameters=3,
            copied=[v for v in made if v not in own],
        )
        numbers: dict[Value | None, int | None] = {v: k for k, v in enumerate(made)}
        numbers.update((v, ~k) for k, v in enumerate(builder.params))
        return Pull(
            function,
            [v.type for v in made],
            [numbers.get(arrived.get(v)) for v in self._sources],
            {n for v in inputs for n in (self.uses.get(v), self.memory.get(v)) if n is not None},
            {k for k, v in enumerate(self._ends) if v in inputs},
        )


def _pull(node: Any, cotangents: Sequence[Any], wanted: Sequence[bool]) -> Sequence[Any]:
    return node.pull(cotangents, wanted)


def _read_by(
    nodes: Iterable[Node], results: Iterable[Value], places: Mapping[Value, tuple[int, int]]
) -> dict[Value, tuple[int, int]]:
    """Those of `places` that nodes or results read."""
    read = dict.fromkeys(v for node in nodes for v in node.operands) | dict.fromkeys(results)
    return {v: places[v] for v in read if v in places}


def _is_view(node: Node | None) -> bool:
    """Whether results may lie in the memory of operands."""
    return node is None or node.op.kind is Kind.VIEW or node.op in _VIEWS


def _in_arguments(nodes: Sequence[Node], uses: Mapping[Value, int]) -> dict[Value, int]:
    """For each value that may lie in the memory of an argument its number."""
    found = dict(uses)
    for node in nodes:
        if _is_view(node):
            owners = [found[v] for v in node.operands if v in found]
            found.update((value, owner) for owner in owners[:1] for value in node.results)
    return found


def _uncertain(
    nodes: Sequence[Node], views: set[Node], constants: Mapping[Value, Any]
) -> set[Value]:
    """The values that might not lie densely, where a tensor of them does and somebody cares."""
    certain: set[Value] = set()
    found: set[Value] = set()
    for node in nodes:
        if node.op.kind is not Kind.ELEMENTWISE:
            # What only views and elementwise ops read may lie as it likes.
            found.update(v for v in node.operands if _lies_anyhow(v, views))
        if _is_view(node):
            continue
        of_dense = all(v in certain or v in constants for v in node.operands)
        if node.op is _DOT or (node.op.kind is Kind.ELEMENTWISE and of_dense):
            certain.update(node.results)
        else:
            found.update(node.results)
    return found - certain


def _lies_anyhow(value: Value, views: set[Node]) -> bool:
    """Whether `value` is a view that the single ops would have copied into a tensor of its own."""
    return value.node is not None and value.node.op.kind is Kind.VIEW and value.node not in views


def _walked(ends: Sequence[Value], tracked: set[Value]) -> list[Node]:
    """The nodes that gradients pass through, operands before users, in the order of
    `autograd.reached.reach`."""
    nodes: dict[Node, None] = {}
    entered: set[Value] = set()
    stack: list[Value | None] = list(reversed(ends))
    while stack:
        value = stack.pop()
        if value is None:
            done = stack.pop()
            assert done is not None and done.node is not None
            nodes[done.node] = None
        elif value in tracked and value not in entered:
            entered.add(value)
            if value.node is not None:
                stack += (value, None, *value.node.operands)
    return list(nodes)


def _sources(nodes: Sequence[Node], uses: Mapping[Value, int], tracked: set[Value]) -> list[Value]:
    """The uses that gradients lead to: those of one argument side by side, in the order in which
    the way back reaches them; what `reach` would enter first last, as it enters operands."""
    by_argument: dict[int, list[Value]] = {}
    for node in reversed(nodes):
        for value in node.operands:
            if value in uses and value in tracked:
                by_argument.setdefault(uses[value], []).append(value)
    entered = dict.fromkeys(
        uses[v] for node in nodes for v in reversed(node.operands) if v in uses and v in tracked
    )
    return [value for number in reversed(entered) for value in by_argument[number]]


class _Builder(TraceBuilder):
    """Records; whoever reads an argument gets a value of its own for it.

    Attributes:
        uses: for each of these the number of the argument.
        views: the nodes that are views of tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.locate = None
        self.arguments: dict[Value, int] = {}
        self.uses: dict[Value, int] = {}
        self.views: set[Node] = set()

    def _used(self, value: Value) -> Value:
        number = self.arguments.get(value)
        if number is None:
            return value
        use = Value(value.type)
        self.uses[use] = number
        if value in self.tracked:
            self.tracked.add(use)
        return use

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Any:
        return super().emit(op, [self._used(v) for v in operands], attrs, regions)

    def emit_view(self, op: Op, operands: Sequence[Value], attrs: Mapping[str, Any]) -> Any:
        result = super().emit_view(op, [self._used(v) for v in operands], attrs)
        self.views.add(result.node)
        return result


def record_program(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    values: Sequence[EagerValue],
    writes: bool,
) -> Program:
    """What `function` does with arguments of these types.

    Args:
        values: of those arguments that are tensors.
        writes: whether the results are to be written into the first of these.
    """
    from .apply import value_of
    from .subtrace import Param, SubTrace

    name = function.__name__
    trace, builder = SubTrace(None, name), _Builder()
    trace.builder, trace.tracked = builder, builder.tracked
    shadows = []
    for number, value in enumerate(values):
        shadows.append(trace.argument(Param(value.type, value.tracked)))
        builder.arguments[builder.params[-1]] = number
    given = iter(shadows)
    new = [next(given) if isinstance(a, Tensor) else a for a in (*args, *kwargs.values())]
    with trace:
        result = function(*new[: len(args)], **dict(zip(kwargs, new[len(args) :], strict=True)))
        is_single = isinstance(result, Tensor)
        tensors = [result] if is_single else list(result)
        storages = {shadow.storage for shadow in shadows}
        for tensor in tensors:
            is_new = tensor.storage.trace is trace and tensor.storage not in storages
            assert is_new and tensor.is_contiguous(), f"{name} returns no new tensor"
            storages.add(tensor.storage)
        results = [value_of(tensor) for tensor in tensors]
    assert not trace.captured, f"{name} reads tensors that are no arguments"
    for result, value in zip(results, values, strict=False):
        assert not writes or result.type is value.type, f"{name} writes {result.type}"
    return Program(builder, results, is_single, writes)
