"""A function of tensors as a closed graph: bodies of loops, branches, what is mapped or recomputed.

    recorded = record(function, [Param(type), ...])

calls `function` once with tensors that stand for the parameters, in eager code as well as inside of
a trace or of another recording. `recorded.graph` takes the parameters, then what the function met
from outside (`recorded.captures`: tensors of the surrounding mode, known or traced), and yields the
tensors that it returned, then the new contents of `recorded.states` (random states it drew from).

    with builder: values = inline(recorded.graph, [*arguments, *recorded.operands()])
    result = recorded.finish(tensors, states)

Inside, writes to tensors made there work; writes to what comes from outside, to parameters and to
attributes are errors, as the function may run any number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import optree

from ..ir.dims import Dim
from ..ir.graph import Graph, Location, Region, Value
from ..ir.ops.base import Op
from ..ir.types import TensorType
from ..passes.dead import prune
from .apply import builder, value_of, wrap
from .context import ambient
from .errors import TraceError, user_location
from .random_state import set_state
from .records import MISSING
from .storage import Storage
from .symint import SymInt
from .tape import EagerValue
from .tensor import Tensor, make
from .trace import Trace
from .trace_builder import IndexCheck
from .trees import flatten_tree


class Param(NamedTuple):
    """What a function is recorded with.

    Attributes:
        type: dtype and shape of the tensor that it is given.
        tracked: whether that tensor requires grad (as one with a history).
    """

    type: TensorType
    tracked: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded function.

    Attributes:
        graph: parameters, captures -> results that are tensors, new contents of `states`.
        captures: the tensors from outside that it reads, in the order of the graph's parameters.
        draws: those of `captures` that it changes, which are offsets of random generators: by how
            much each moves on; None where that depends on data.
        tracked: for each result that is a tensor, whether a gradient can be asked through it.
        checks: indices that must be in range, values of the graph.
    """

    graph: Graph
    captures: tuple[Tensor, ...]
    draws: Mapping[Tensor, Dim | None]
    tracked: tuple[bool, ...]
    checks: tuple[IndexCheck, ...]
    structure: optree.PyTreeSpec
    _leaves: tuple[Any, ...]  # of the result; _TENSOR where it is a tensor

    @property
    def states(self) -> tuple[Tensor, ...]:
        """Those of `captures` whose new contents are the last yields of the graph."""
        return tuple(self.draws)

    @property
    def result_types(self) -> list[TensorType]:
        """The types of the results that are tensors."""
        return [v.type for v in self.graph.yields[: len(self.tracked)]]

    def operands(self) -> list[Value]:
        """What the captured tensors hold now, in the surrounding mode."""
        return [value_of(t) for t in self.captures]

    def finish(self, tensors: Sequence[Tensor], states: Sequence[Tensor] = ()) -> Any:
        """What the function returned, with `tensors` in the places of its tensors; `states` (none:
        unchanged) become the new contents of the random states."""
        if states:
            for (state, count), new in zip(self.draws.items(), states, strict=True):
                set_state(state, new, count)
        found = iter(tensors)
        leaves = [next(found) if leaf is _TENSOR else _outside(leaf) for leaf in self._leaves]
        return optree.tree_unflatten(self.structure, leaves)


_TENSOR = object()


def record(
    function: Callable[..., Any], params: Sequence[Param], what: str = "a recorded function"
) -> Recorded:
    """Record what `function(*tensors)` does, with a tensor for each of `params`.

    The result may be any tree of tensors and other leaves (`recorded.finish` gives these back as
    they are). `what` names the function in errors.

    Raises:
        TraceError: the function does what only a plain call could: a Python branch on a tensor, a
            write to a tensor or an attribute from outside.
    """
    trace = SubTrace(ambient.trace, what)
    arguments = [trace.argument(param) for param in params]
    with trace:
        leaves, structure = flatten_tree(function(*arguments))
        trace.check_attributes()
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        results = [value_of(t) for t in tensors]
    states = list(trace.draws)
    graph = Graph(
        "body",
        tuple(trace.builder.params),
        tuple(trace.builder.nodes),
        (*results, *(trace.current(trace.shadows[s].storage) for s in states)),
    )
    graph, captures = _without_unread(graph, len(params), list(trace.captured))
    return Recorded(
        graph,
        captures,
        dict(trace.draws),
        tuple(v in trace.tracked for v in results),
        tuple(trace.builder.checks),
        structure,
        tuple(_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves),
    )


def _without_unread(
    graph: Graph, arguments: int, captures: list[Tensor]
) -> tuple[Graph, tuple[Tensor, ...]]:
    """`graph` without dead nodes and without the captures that none of the others reads."""
    graph = prune(graph)
    read = set(graph.yields)
    read.update(operand for node in graph.nodes for operand in node.operands)
    pairs = list(zip(graph.params[arguments:], captures, strict=True))
    kept = [(param, tensor) for param, tensor in pairs if param in read]
    params = (*graph.params[:arguments], *(param for param, _ in kept))
    return Graph(graph.name, params, graph.nodes, graph.yields), tuple(t for _, t in kept)


def emit_regions(
    op: Op,
    operands: Sequence[Value],
    attrs: dict[str, Any],
    regions: tuple[Region, ...],
    tracked: Sequence[bool],
) -> list[Tensor]:
    """The results of an op with regions in the current mode. Where `tracked` says no, a result has
    no history, whatever the operands have."""
    found = builder().emit(op, operands, attrs, regions)
    values = list(found) if isinstance(found, tuple) else [found]
    for value, keep in zip(values, tracked, strict=True):
        if keep:
            continue
        if isinstance(value, EagerValue):
            value.tracked, value.node = False, None
        elif ambient.trace is not None:
            ambient.trace.tracked.discard(value)
    return [wrap(value, operands) for value in values]


def _outside(leaf: Any) -> Any:
    """A leaf that is no tensor, as the surrounding mode has it."""
    if isinstance(leaf, SymInt) and ambient.trace is not None:
        return SymInt(leaf.expr, ambient.trace)
    return leaf


def has_history(tensor: Tensor) -> bool:
    """Whether a tensor of any mode requires grad."""
    root = tensor.root()
    return tensor._requires or ((root._tracked or root._requires) and tensor.spec.dtype.is_inexact)


class SubTrace(Trace):
    """The recording of one function inside of `outer`, a trace or (None) eager code.

    Attributes:
        captured: by the tensor of the surrounding mode, the parameter that stands for it.
        draws: how many were taken from a random generator, by its offset (a tensor of the
            surrounding mode); None where that depends on data.
    """

    def __init__(self, outer: Trace | None, what: str) -> None:
        super().__init__()
        self.builder.is_region = True
        self.outer, self.what = outer, what
        self.captured: dict[Tensor, Value] = {}
        self.draws: dict[Tensor, Dim | None] = {}
        self._outside: dict[Tensor, Tensor] = {}  # shadow -> tensor of the surrounding mode
        self._fixed: dict[Storage, str] = {}  # memory that may not be written, and what it is
        self._attribute_lines: list[Location | None] = []
        if outer is not None:
            self.hints, self.guards, self.device = outer.hints, outer.guards, outer.device

    def __enter__(self) -> SubTrace:
        ambient.trace = self
        self.builder.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.builder.__exit__(*exc)
        ambient.trace = self.outer
        self.undo_attribute_writes()

    # Parameters and captures

    def argument(self, param: Param) -> Tensor:
        """A tensor that the function is called with."""
        value = self.builder.param(param.type)
        shadow = self._stand_for(value, param.tracked and param.type.dtype.is_inexact)
        self._fixed[shadow.storage] = "an argument"
        return shadow

    def _stand_for(self, value: Value, tracked: bool) -> Tensor:
        shadow = make(Storage(value.type, trace=self, value=value), (), value.type)
        if tracked:
            self.tracked.add(value)
            shadow._tracked, shadow._value, shadow._version = True, value, 0
        return shadow

    def lift(self, tensor: Tensor) -> Tensor:
        """What stands here for a tensor from outside.

        Raises:
            TraceError: it belongs to a recording that has ended.
        """
        if tensor.storage.trace is self:
            return tensor
        shadow = self.shadows.get(tensor)
        if shadow is not None:
            return shadow
        if self.outer is not None:
            outside = self.outer.lift(tensor)
        elif tensor.storage.trace is None:
            outside = tensor
        else:
            raise TraceError(
                f"a tensor {tensor.spec} is used after the recording that made it has ended",
                hint="return it from the function instead of storing it",
            )
        shadow = self.shadows.get(outside) or self._capture(outside)
        self.shadows[tensor] = self.shadows[outside] = shadow
        return shadow

    def _capture(self, outside: Tensor) -> Tensor:
        self.note_device(outside.device)
        value = self.builder.param(outside.spec)
        leaf = outside._requires
        shadow = self._stand_for(value, not leaf and has_history(outside))
        shadow._requires, shadow._weak = leaf, outside._weak
        if not outside.is_contiguous():
            shadow._strides = outside.strides()
        self.captured[outside], self._outside[shadow] = value, outside
        self._fixed[shadow.storage] = "a tensor from outside"
        return shadow

    # Writes

    def advance(self, offset: Tensor, count: Dim | None) -> None:
        """Note `count` draws from a random generator: its state may be written, it is carried."""
        shadow = self.lift(offset)
        self._fixed.pop(shadow.storage, None)
        outside = self._outside.get(shadow)
        if outside is None:
            return
        before = self.draws.get(outside, 0)
        self.draws[outside] = None if before is None or count is None else before + count

    def set_current(self, storage: Storage, value: Value) -> None:
        """Note that memory made here now holds `value`.

        Raises:
            TraceError: it was not made here.
        """
        origin = self._fixed.get(storage)
        if origin is not None:
            raise TraceError(
                f"{origin} {storage.type} is written in place inside {self.what}",
                hint="write to a clone(), or carry the value: take it as an argument and return "
                "the new one",
            )
        super().set_current(storage, value)

    def written(self, storage: Storage) -> bool:
        return self.outer is not None and self.outer.written(storage)

    def read_grad(self, tensor: Tensor) -> Tensor | None:
        shadow = self.lift(tensor)
        outside = self._outside.get(shadow)
        if outside is None:
            return shadow._grad
        return outside._grad if self.outer is None else self.outer.read_grad(outside)

    def note_data(self, shadow: Tensor, source: Tensor) -> None:
        """Refuse that `.data` of a tensor from outside is set.

        Raises:
            TraceError: `shadow` is one.
        """
        self._refuse_outside(shadow, ".data", "write `with sley.no_grad(): x.copy_(y)` after it")

    def note_requires(self, shadow: Tensor) -> None:
        """Refuse that `requires_grad` of a tensor from outside is set.

        Raises:
            TraceError: `shadow` is one.
        """
        self._refuse_outside(shadow, "requires_grad", "set it before, or use detach()")

    def _refuse_outside(self, shadow: Tensor, what: str, hint: str) -> None:
        if shadow in self._outside:
            raise TraceError(
                f"{what} of a tensor {shadow.spec} from outside is set inside {self.what}",
                hint=hint,
            )

    def write_grad(self, tensor: Tensor, grad: Tensor | None) -> None:
        """Set `.grad` of a tensor made here.

        Raises:
            TraceError: the tensor is from outside.
        """
        shadow = self.lift(tensor)
        if shadow in self._outside:
            raise TraceError(
                f".grad of a tensor {tensor.spec} from outside is set inside {self.what}",
                hint="take gradients by sley.autograd.grad() and return them, or call backward() "
                "after it",
            )
        shadow._grad = grad

    # Python state

    def record_read(self, kind: str, owner: Any, name: str, value: Any) -> None:
        """Python state that is read is read by the surrounding trace."""
        if kind == "attribute" and (id(owner), name) in self._noted:
            return  # set here before
        if self.outer is not None:
            self.outer.record_read(kind, owner, name, value)

    def record_attribute_write(self, owner: Any, name: str, table: dict[str, Any]) -> None:
        super().record_attribute_write(owner, name, table)
        self._attribute_lines.append(user_location())

    def check_attributes(self) -> None:
        """Attributes may be changed only for a while.

        Raises:
            TraceError: one is not what it was before.
        """
        seen: set[tuple[int, str]] = set()
        for write, line in zip(self.attribute_writes, self._attribute_lines, strict=True):
            key = (id(write.table), write.name)
            if key not in seen and write.table.get(write.name, MISSING) is not write.old:
                raise TraceError(
                    f"the attribute {write.name!r} of a {type(write.owner).__name__} is set inside "
                    f"{self.what} (at {line})",
                    hint="carry the value: take it as an argument and return the new one",
                )
            seen.add(key)

    # Sizes

    def specialize_number(self, tensor: Tensor, reason: str) -> None:
        if self.outer is not None:
            by_param = {value: outside for outside, value in self.captured.items()}
            for value in _leading_to(self.current(tensor.storage)):
                outside = by_param.get(value)
                if outside is not None and outside._weak:
                    self.outer.specialize_number(outside, reason)
        super().specialize_number(tensor, reason)


def _leading_to(value: Value) -> Iterator[Value]:
    """`value` and all that it was computed from."""
    pending, seen = [value], set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        if current.node is not None:
            pending.extend(current.node.operands)
