"""`cumulate` as a loop that carries the prefix: vector by vector, or what the scope computes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.access import axes
from ....ir.dims import Dim, Var, of_atom
from ....ir.graph import Node, Value
from .loops import Carried, split, tail_range, tail_turn, vector_turn
from .scope import Expander, Late, Scope, row_offset

Visit = Callable[[Scope, Dim, Sequence[Value]], None]


def expand_cumulate(expander: Expander, scope: Scope, node: Node) -> None:
    """Fills scratch memory with the prefixes; nothing now, if they are computed where they are
    read."""
    if expander.nests[node].recompute:
        scope.rows.update((value, Late(node)) for value in node.results)
        return
    held = [expander.scratch(v.type.shape, v.type.dtype, scope) for v in node.results]
    scope.rows.update(zip(node.results, held, strict=True))

    def visit(inner: Scope, index: Dim, prefix: Sequence[Value]) -> None:
        for row, value in zip(held, prefix, strict=True):
            expander.write(row.buffer, row_offset(row, (index,)), value, inner)

    run_prefixes(expander, scope, node, visit)


def run_prefixes(expander: Expander, scope: Scope, node: Node, visit: Visit) -> None:
    """Runs visit(scope, index, prefixes there) for every point of the axis, in its order."""
    _Prefixes(expander, scope, node, visit).run()


class _Prefixes:
    def __init__(self, expander: Expander, scope: Scope, node: Node, visit: Visit) -> None:
        self.expander = expander
        self.scope = scope
        self.node = node
        self.visit = visit
        self.nest = expander.nests[node]
        (self.axis,), (self.extent,) = axes(node)
        self.neutral = [expander.value(v, scope) for v in node.operands]

    def run(self) -> None:
        expander, extent = self.expander, self.extent
        if self.nest.vector is None or self.scope.vector is not None:
            start = expander.all_widened(self.neutral, self.scope)
            expander.loop(0, extent, 1, start, self._step)
            return
        lanes, tail = self.nest.lanes, self.nest.tail
        full, rest = split(extent, lanes, extent)
        carried = [expander.widen(v, lanes) for v in self.neutral]
        if full:
            turn = vector_turn(expander, self.scope, extent, lanes, self._vector)
            carried = expander.loop(0, extent // lanes, 1, carried, turn)
        if rest:
            begin, end = tail_range(extent, (lanes, tail), 0, extent)
            if tail == 1:
                carried = [expander.emit("extract", v, lane=0) for v in carried]
            turn = tail_turn(expander, self.scope, extent, tail, extent, self._vector)
            expander.loop(begin, end, 1, carried, turn, unroll=1)

    def _step(self, variable: Value, prefix: Carried) -> Sequence[Value]:
        return self._point(self.scope.inner(), of_atom(Var(variable, self.extent)), prefix)

    def _point(self, inner: Scope, step: Dim, prefix: Carried) -> Sequence[Value]:
        """One step: the prefix with one element more."""
        index = self._bind(inner, step)
        elements = self.expander.run(self.node.regions[0], inner)
        prefix = self._join(prefix, self.expander.all_widened(elements, inner), inner)
        self.visit(inner, index, prefix)
        return prefix

    def _vector(self, inner: Scope, step: Dim, before: Carried) -> Sequence[Value]:
        """As many steps as there are lanes; `before` has what precedes them in each lane.

        Only one combine leads from one vector to the next, so their prefixes are computed beside
        each other.
        """
        if inner.vector is None:
            return self._point(inner, step, before)
        lanes = inner.vector.lanes
        index = self._bind(inner, step)
        elements = self.expander.run(self.node.regions[0], inner)
        inside = [self.expander.widen(v, lanes) for v in elements]
        neutral = [self.expander.widen(v, lanes) for v in self.neutral]
        distance = 1
        while distance < lanes:
            inside = self._join(self._moved(inside, neutral, distance), inside, inner)
            distance *= 2
        self.visit(inner, index, self._join(before, inside, inner))
        emit, last = self.expander.emit, (lanes - 1,) * lanes
        return self._join(before, [emit("shuffle", v, v, lanes=last) for v in inside], inner)

    def _moved(self, values: Carried, neutral: Carried, distance: int) -> Carried:
        """The values `distance` lanes up, neutral elements in the lanes that become free."""
        lanes = self.nest.lanes
        picked = tuple(
            lane if lane < distance else lanes + lane - distance for lane in range(lanes)
        )
        pairs = zip(neutral, values, strict=True)
        return [self.expander.emit("shuffle", n, v, lanes=picked) for n, v in pairs]

    def _bind(self, inner: Scope, step: Dim) -> Dim:
        index = self.extent - 1 - step if self.node.attrs["reverse"] else step
        inner.exprs[self.axis] = index
        return index

    def _join(self, left: Carried, right: Carried, scope: Scope) -> Carried:
        return self.expander.combine(self.node.regions[1], left, right, scope)
