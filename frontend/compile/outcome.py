"""What the end of a trace says of a call: what it yields, writes, returns and sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...ir.dims import Dim, evaluate
from ...ir.graph import Value
from ..apply import value_of
from ..errors import TraceError
from ..storage import Storage
from ..symint import SymInt
from ..tensor import Tensor, here, make, make_view
from ..trace import Trace
from ..views import Path
from .captures import Holder, is_followed
from .checks import checks_of
from .gradient import gradient_of
from .host_writes import HostWrites


class Fresh(NamedTuple):
    """A result in memory of its own: which of the executable's."""

    number: int


class Leaf(NamedTuple):
    """An argument, returned as it came in."""

    position: int


class Same(NamedTuple):
    """A value from outside that each call returns alike."""

    value: Any


class GradOf(NamedTuple):
    """The `.grad` that a tensor had when the call began."""

    holder: Leaf | Same


class AttributeOf(NamedTuple):
    """A tensor that an attribute held when the call began."""

    owner: Any
    name: str


class ViewOf(NamedTuple):
    """A view of what `base` describes, with its history or without."""

    base: Fresh | Leaf | Same | GradOf | AttributeOf
    steps: Path
    is_detached: bool

    def of(self, base: Tensor, sizes: Mapping[str, int]) -> Tensor:
        for step in self.steps:
            base = make_view(base, step.bound(sizes), None)
        return base.detach() if self.is_detached else base


class Size(NamedTuple):
    """An int that depends on the sizes of the call."""

    expr: Dim


Spec = Fresh | Leaf | Same | GradOf | AttributeOf | ViewOf | Size


def made(
    spec: Spec, leaves: Sequence[Any], fresh: Sequence[Tensor], sizes: Mapping[str, int]
) -> Any:
    """What a call gives for `spec`.

    Args:
        leaves: its arguments.
        fresh: the executable's new tensors.
        sizes: by symbol.
    """
    if type(spec) is Fresh:
        return fresh[spec.number]
    if type(spec) is Leaf:
        return leaves[spec.position]
    if type(spec) is Same:
        return spec.value
    if type(spec) is GradOf:
        return made(spec.holder, leaves, fresh, sizes)._grad
    if type(spec) is AttributeOf:
        return getattr(spec.owner, spec.name)
    if type(spec) is ViewOf:
        return spec.of(made(spec.base, leaves, fresh, sizes), sizes)
    assert type(spec) is Size
    return evaluate(spec.expr, sizes)


class Outcome:
    """What the end of a trace says: yields of the graph, donations, and what becomes of them."""

    def __init__(
        self,
        trace: Trace,
        positions: Sequence[int],
        whole: Mapping[int, Tensor],
        results: Sequence[Any],
    ) -> None:
        self.trace = trace
        self.positions = {
            id(item.shadow): position
            for position, item in zip(positions, trace.inputs, strict=True)
        }
        for position, tensor in whole.items():
            self.positions.setdefault(id(trace.shadows[tensor]), position)
        self.yields: list[Value] = []
        self.donated: dict[int, int] = {}
        params = {p: i for i, p in enumerate(trace.builder.params)}
        self.written_captures: list[int] = []
        self._had_grads = {
            r.value: r.owner for r in trace.reads if r.kind == "grad" and r.value is not None
        }
        self._attributes = {
            r.value: AttributeOf(r.owner, r.name) for r in trace.reads if is_followed(r)
        }
        self.written_leaves: list[int] = []
        of_processor = []
        for number, capture in enumerate(trace.captures.values()):
            if capture.is_written and trace.device is not None and capture.storage.place is None:
                of_processor.append(number)
            elif capture.is_written:
                self._donate(capture.shadow.value, params[capture.param])
                self.written_captures.append(number)
        for item in trace.inputs:
            if item.is_written:
                self._donate(item.shadow.storage.value, params[item.param])
                self.written_leaves.append(self.positions[id(item.shadow)])
        self.host_writes = HostWrites(trace, of_processor) if of_processor else None
        self._fresh: dict[int, Fresh] = {}
        self._kept: list[Tensor] = []  # so that ids stay their own
        self._roots = _shared_roots(results)
        self.results = [self.spec(r) for r in results]
        self.grads = [
            (self.holder(tensor), None if grad is None else self.spec(grad))
            for tensor, grad in trace.grad_writes()
        ]
        self.data = [
            (self.holder(tensor), self.spec(make(shadow.storage, shadow.path, shadow.spec)))
            for shadow, tensor in trace.data_writes().items()
        ]
        self.requires = [(self.holder(t), wanted) for t, wanted in trace.requires_writes()]
        self.attributes = [
            (w.table, w.name, self.spec(_storable(w.table[w.name])))
            for w in {(id(w.table), w.name): w for w in trace.attribute_writes}.values()
            if w.name in w.table
        ]
        self.checks = checks_of(trace)
        fresh = self.yields[len(self.donated) :]
        self.gradient = gradient_of(trace, fresh, self.finder)
        if self.gradient is not None:
            self.yields += self.gradient.saved
        sets_state = self.donated or self.grads or self.data or self.requires or self.attributes
        # On a GPU a later call raises anyhow.
        if self.checks is not None and (trace.device is not None or not sets_state):
            self.checks.join(trace.builder)
            self.yields += self.checks.told

    def fixed(self) -> frozenset[int]:
        """The numbers of the parameters that hold captured memory which is likely the same over
        many calls: nothing here writes it, or puts other memory in its place, nobody outside may
        write it unseen, and no gradient, which ends in an optimizer's step, goes through it."""
        trace = self.trace
        if self.gradient is not None:
            return frozenset()
        moved = {r.value.storage for r in trace.reads if r.kind == "grad" and r.value is not None}
        written = {(id(w.owner), w.name) for w in trace.attribute_writes}
        moved |= {
            r.value.storage
            for r in trace.reads
            if is_followed(r) and (id(r.owner), r.name) in written
        }
        moved |= {tensor.storage for tensor in trace.data_writes().values()}
        numbers = {param: number for number, param in enumerate(trace.builder.params)}
        return frozenset(
            numbers[capture.param]
            for storage, capture in trace.captures.items()
            if not (capture.is_written or storage.handed_out or storage in moved)
        )

    def _donate(self, value: Value | None, param: int) -> None:
        assert value is not None
        self.donated[len(self.yields)] = param
        self.yields.append(value)

    def holder(self, tensor: Tensor) -> Leaf | Same:
        """How to find a concrete tensor at a later call."""
        shadow = self.trace.shadows.get(tensor)
        position = self.positions.get(id(shadow))
        return Same(tensor) if position is None else Leaf(position)

    def finder(self, tensor: Tensor) -> Holder:
        """As `holder`, for `Captures`."""
        spec = self.holder(tensor)
        if type(spec) is Same:
            return lambda leaves: tensor
        position = spec[0]
        return lambda leaves: leaves[position]

    def spec(self, value: Any) -> Spec:
        """How a call makes `value`, seen at the end of the trace."""
        if isinstance(value, SymInt):
            return Size(value.expr)
        if not isinstance(value, Tensor):
            return Same(value)
        shadow = here(value)
        found: Leaf | Same | GradOf | AttributeOf | Fresh | None = self._concrete(shadow)
        if found is not None:
            return found
        base = self._base(shadow)
        if base is None or base is shadow:
            return self._make_fresh(shadow)
        found = self._concrete(base) or self._make_fresh(base)
        return ViewOf(found, shadow.path[len(base.path) :], not _is_view(shadow, base))

    def _base(self, shadow: Tensor) -> Tensor | None:
        """The tensor from outside that `shadow` is a view of, or the root that it shares with
        another result; of several the nearest, with its history if possible."""
        moved = self.trace.data_writes()
        outside = [item.shadow for item in self.trace.inputs]
        outside += [shadow for shadow in self.trace.concrete if shadow not in moved]
        near = [
            t
            for t in outside
            if t.storage is shadow.storage and t.path == shadow.path[: len(t.path)] and not t._weak
        ]
        if near:
            return max(near, key=lambda t: (_is_view(shadow, t), len(t.path)))
        return self._roots.get(shadow.storage)

    def _concrete(self, shadow: Tensor) -> Leaf | Same | GradOf | AttributeOf | None:
        position = self.positions.get(id(shadow))
        if position is not None:
            return None if shadow._weak else Leaf(position)
        concrete = self.trace.concrete.get(shadow)
        if concrete in self._had_grads:
            return GradOf(self.holder(self._had_grads[concrete]))
        if concrete in self._attributes:
            return self._attributes[concrete]
        return None if concrete is None else Same(concrete)

    def _make_fresh(self, shadow: Tensor) -> Fresh:
        found = self._fresh.get(id(shadow))
        if found is None:
            found = self._fresh[id(shadow)] = Fresh(len(self._fresh))
            self._kept.append(shadow)
            self.yields.append(value_of(shadow))
        return found


def _storable(value: Any) -> Any:
    """What an attribute may hold after the call.

    Raises:
        TraceError: a leaf that requires grad was made while the function was recorded.
    """
    if isinstance(value, Tensor) and value._requires and value.storage.trace is not None:
        raise TraceError(
            f"an attribute would hold a parameter {value.spec} that a compiled function makes",
            hint="make it before the first compiled call, in the constructor",
        )
    return value


def _is_view(tensor: Tensor, base: Tensor) -> bool:
    """Whether `tensor` was made from `base`, and so shares its history."""
    found: Tensor | None = tensor
    while found is not None and found is not base:
        found = found.base
    return found is not None


def _shared_roots(results: Sequence[Any]) -> dict[Storage, Tensor]:
    """The memory that several of the results are views of, each with the tensor at its root."""
    views: dict[Storage, dict[int, Tensor]] = {}
    for result in results:
        if isinstance(result, Tensor) and result.storage.trace is not None:
            views.setdefault(result.storage, {})[id(result)] = result
    roots = {}
    for storage, tensors in views.items():
        if len(tensors) > 1:
            whole = [t.root() for t in tensors.values() if not t.root().path]
            roots[storage] = whole[0] if whole else make(storage, (), storage.type)
    return roots
