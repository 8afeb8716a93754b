"""`reduce` as loops with accumulators."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.access import Expressions, axes, axis_extents, coefficient
from ....ir.dims import Dim, Var, atoms, of_atom, terms_of
from ....ir.graph import Node, Value
from ....ir.ops.kernel import INDEX
from ....ir.schedule import Nest
from .loops import (
    Carried,
    bind,
    bind_single,
    blocked_loop,
    group_extents,
    split,
    tail_range,
    tail_turn,
    vector_turn,
)
from .rows import copy_row
from .scope import Expander, Scope, Scratch


def expand_reduce(expander: Expander, scope: Scope, node: Node) -> None:
    """Accumulators are carried by the loops: vectors where the reduced axis is vectorised (and
    then joined lane by lane), else what the surrounding scope computes in."""
    if any(v.type.shape for v in node.operands):
        _RowReduction(expander, node).run(scope)
        return
    reduction = _Reduction(expander, scope, node)
    scope.values.update(zip(node.results, reduction.run(), strict=True))


def ascending_members(node: Node) -> set[int]:
    """Members that count the points of a reduction: where loops meet these in order, the position
    of an element is above all that its accumulator has seen (or equal, if it is the first: 0)."""
    variables, extents = axes(node)
    body = node.regions[0]
    point = Expressions(axis_extents(body) | dict(zip(variables, extents, strict=True)))
    return {
        k
        for k, (start, value) in enumerate(zip(node.operands, body.yields, strict=True))
        if _is_zero(start) and _ascends(value, variables, extents, point)
    }


def _ascends(
    value: Value, variables: Sequence[Value], extents: Sequence[Dim], point: Expressions
) -> bool:
    """Whether `value` grows from point to point, from a number that is not negative: the sum of
    the axes times what the axes further in reach at most, and of axes that surround the node."""
    while value.node is not None and value.node.op.name == "cast":
        (value,) = value.node.operands
    if value.type is not INDEX:
        return False
    rest = point.of(value)
    reach: Dim = 0
    for variable, extent in zip(reversed(variables), reversed(extents), strict=True):
        factor = coefficient(rest, variable)
        if factor is None:
            return False
        rest -= factor * of_atom(Var(variable, point.extents.get(variable)))
        if extent == 1:
            continue
        if factor != reach + 1 and not (isinstance(factor, int) and isinstance(reach, int)):
            return False
        if isinstance(factor, int) and isinstance(reach, int) and factor <= reach:
            return False
        reach += factor * (extent - 1)
    return all(
        isinstance(atom, Var) and atom.value.node is None and atom.value not in variables
        for atom in atoms(rest)
    ) and all(c >= 0 for _, c in terms_of(rest))


def _is_zero(value: Value) -> bool:
    made = value.node
    return made is not None and "value" in made.attrs and not made.attrs["value"].array.any()


class _Reduction:
    """Carries the accumulators of the wide vectors, then those of what is left over (if any)."""

    def __init__(self, expander: Expander, scope: Scope, node: Node) -> None:
        self.expander = expander
        self.node = node
        self.nest: Nest = expander.nests[node]
        self.scope = scope.inner()
        bind_single(self.scope, node)
        self.extents = group_extents(node, self.nest)
        self.vector = self.nest.vector if scope.vector is None else None
        self.width = len(node.operands)
        self.single = [expander.value(v, scope) for v in node.operands]
        self.neutral = self._neutral(scope)
        in_order = self.vector in (None, len(self.extents) - 1)
        self.ascending = ascending_members(node) if in_order else set()

    def _neutral(self, scope: Scope) -> Carried:
        if self.vector is None:
            return self.expander.all_widened(self.single, scope)
        wide = [self.expander.widen(v, self.nest.lanes) for v in self.single]
        return wide + (self._tail_neutral() if self._has_tail() else [])

    def _tail_neutral(self) -> Carried:
        if self.nest.tail == 1:
            return self.single
        return [self.expander.widen(v, self.nest.tail) for v in self.single]

    def _has_tail(self) -> bool:
        """Whether what fills no wide vector has accumulators of its own."""
        assert self.vector is not None
        return self.extents[self.vector] % self.nest.lanes != 0

    def run(self) -> Sequence[Value]:
        order = [g for g in range(len(self.extents)) if g != self.vector]
        carried = self._level(self.scope, order, self.neutral)
        if self.vector is None:
            return carried
        result = self._fold_lanes(carried[: self.width], self.nest.lanes, self.nest.tail)
        if self._has_tail():
            result = self._join(carried[self.width :], result)
        return self._fold_lanes(result, self.nest.tail, 1)

    def _level(self, scope: Scope, order: Sequence[int], carried: Carried) -> Carried:
        if not order:
            return self._innermost(scope, carried)
        extent = self.extents[order[0]]

        def turn(variable: Value, inside: Carried) -> Sequence[Value]:
            inner = scope.inner()
            bind(inner, self.node, self.nest, order[0], of_atom(Var(variable, extent)))
            return self._level(inner, order[1:], inside)

        return blocked_loop(
            self.expander, 0, extent, 1, self.nest.block, self.neutral, carried, turn, self._joins
        )

    def _innermost(self, scope: Scope, carried: Carried) -> Carried:
        if self.vector is None:
            return self._fold(scope, carried)
        extent, width = self.extents[self.vector], self.width
        lanes, tail = self.nest.lanes, self.nest.tail
        full, rest = split(extent, lanes, extent)
        wide, left = carried[:width], carried[width:]
        if full:
            turn = vector_turn(self.expander, scope, extent, lanes, self._point)
            wide = blocked_loop(
                self.expander, 0, extent // lanes, 1, self.nest.block, self.neutral[:width], wide,
                turn, self._join,
            )  # fmt: skip
        if rest:
            begin, end = tail_range(extent, (lanes, tail), 0, extent)
            turn = tail_turn(self.expander, scope, extent, tail, extent, self._point)
            left = self.expander.loop(begin, end, 1, left, turn, unroll=1)
        return wide + left

    def _point(self, scope: Scope, flat: Dim, carried: Carried) -> Sequence[Value]:
        assert self.vector is not None
        bind(scope, self.node, self.nest, self.vector, flat)
        return self._fold(scope, carried)

    def _fold(self, scope: Scope, carried: Carried) -> Carried:
        """The accumulators joined with the element at the scope's point."""
        body, combine = self.node.regions
        elements = self.expander.run(body, scope)
        if carried[0].type.shape:
            lanes = carried[0].type.shape[0]
            made_of_lanes = [self.expander.widen(v, lanes) for v in elements]
        else:
            made_of_lanes = elements
        joined = self.expander.combine(combine, carried, made_of_lanes, scope, self.ascending)
        mask = scope.vector.mask if scope.vector is not None else None
        if mask is None or self.vector is None:
            return joined
        return [
            self.expander.emit("where", mask, new, old)
            for new, old in zip(joined, carried, strict=True)
        ]

    def _join(self, left: Carried, right: Carried) -> Carried:
        return self.expander.combine(self.node.regions[1], left, right, self.scope)

    def _joins(self, left: Carried, right: Carried) -> Carried:
        w = self.width
        joined = self._join(left[:w], right[:w])
        return joined + (self._join(left[w:], right[w:]) if left[w:] else [])

    def _fold_lanes(self, carried: Carried, lanes: int, end: int) -> Carried:
        """The lanes of the accumulators, joined half by half down to `end`; scalars for 1."""
        emit = self.expander.emit
        while lanes > max(end, 2):
            low = [emit("low", v) for v in carried]
            high = [emit("high", v) for v in carried]
            carried = self._join(low, high)
            lanes //= 2
        if end > 1 or not carried[0].type.shape:
            return carried
        first = [emit("extract", v, lane=0) for v in carried]
        if lanes == 1:
            return first
        return self._join(first, [emit("extract", v, lane=1) for v in carried])


class _RowReduction:
    """A reduction some of whose accumulators are row-local values (attention written by hand).

    Those live in scratch and change in place; the others are carried.
    """

    def __init__(self, expander: Expander, node: Node) -> None:
        self.expander = expander
        self.node = node
        self.nest = expander.nests[node]
        self.scalar = [k for k, v in enumerate(node.operands) if not v.type.shape]
        self.rows: dict[int, Scratch] = {}

    def run(self, scope: Scope) -> None:
        expander, node = self.expander, self.node
        for k, operand in enumerate(node.operands):
            if k not in self.scalar:
                held = expander.scratch(operand.type.shape, operand.type.dtype, scope)
                copy_row(expander, scope, scope.find("rows", operand), held)
                self.rows[k] = held
                scope.rows[node.results[k]] = held
        start = [expander.value(node.operands[k], scope) for k in self.scalar]
        inner = scope.inner()
        bind_single(inner, node)
        groups = range(len(self.nest.groups))
        end = self._level(inner, list(groups), expander.all_widened(start, scope))
        scope.values.update(zip((node.results[k] for k in self.scalar), end, strict=True))

    def _level(self, scope: Scope, order: Sequence[int], carried: Carried) -> Carried:
        if not order:
            return self._fold(scope, carried)
        extent = group_extents(self.node, self.nest)[order[0]]

        def turn(variable: Value, inside: Carried) -> Sequence[Value]:
            inner = scope.inner()
            bind(inner, self.node, self.nest, order[0], of_atom(Var(variable, extent)))
            return self._level(inner, order[1:], inside)

        return self.expander.loop(0, extent, 1, carried, turn)

    def _fold(self, scope: Scope, carried: Carried) -> Carried:
        expander, (body, combine) = self.expander, self.node.regions
        expander.run_nodes(body, scope)
        inner = scope.inner()
        left, right = combine.params[: len(body.yields)], combine.params[len(body.yields) :]
        inner.values.update(zip((left[k] for k in self.scalar), carried, strict=True))
        for k, element in enumerate(body.yields):
            if k in self.scalar:
                inner.values[right[k]] = expander.value(element, scope)
            else:
                inner.rows[left[k]] = self.rows[k]
                inner.rows[right[k]] = scope.find("rows", element)
        expander.run_nodes(combine, inner)
        for k, held in self.rows.items():
            copy_row(expander, inner, inner.find("rows", combine.yields[k]), held)
        values = [expander.value(combine.yields[k], inner) for k in self.scalar]
        return expander.all_widened(values, scope)
