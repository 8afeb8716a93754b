"""Rows that are scattered: each task copies those that it owns, then goes through all updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.access import axes, dependents
from ....ir.dims import Dim, Var, maximum, minimum, of_atom
from ....ir.graph import Node, Region, Value
from ....ir.ops import OPS
from ....ir.scattering import Scattering
from .loops import Carried, axis_variable
from .scope import Expander, Scope

# Runs a body for every vector of a task's columns: (scope, number of the column in the task).
Columns = Callable[[Scope, Callable[[Scope, Dim], None]], None]


class Scatter:
    """The loops of one task.

    Args:
        share: (number of the task, tasks, rows): of each `rows` times `tasks` rows the task owns
            those with its number.
    """

    def __init__(
        self,
        expander: Expander,
        outer: Node,
        found: Scattering,
        share: tuple[Dim, int, int],
        columns: Columns,
    ) -> None:
        self.expander = expander
        self.outer = outer
        self.found = found
        self.number, self.tasks, self.rows = share
        self.columns = columns
        self.varying: set[Value] = set()
        for axis in axes(outer)[0]:
            self.varying |= dependents(outer.regions[0], axis)

    def run(self, scope: Scope) -> None:
        before: list[Node] = []
        for node in self.outer.regions[0].nodes:
            if node is self.found.copy:
                self._copy(scope, tuple(before))
            elif node is self.found.loop:
                self._loop(scope, node, tuple(before))
            elif self._varies(node):
                before.append(node)
            else:
                self.expander.node(node, scope)

    def _copy(self, scope: Scope, before: Sequence[Node]) -> None:
        """The rows that the task owns, one after the other."""
        node = self.found.copy
        ((row,), (extent,)) = axes(node)

        def turn(variable: Value, _: Carried) -> Sequence[Value]:
            inner = scope.inner()
            inner.exprs[row] = axis_variable(variable, extent)
            self._run_columns(inner, (*before, *node.regions[0].nodes))
            return ()

        def block(variable: Value, _: Carried) -> Sequence[Value]:
            first = of_atom(Var(variable)) * self.rows
            self.expander.loop(first, minimum(first + self.rows, extent), 1, (), turn)
            return ()

        if self.tasks == 1:
            self.expander.loop(0, extent, 1, (), turn)
        else:
            blocks = (extent + self.rows - 1) // self.rows
            self.expander.loop(self.number, maximum(blocks, self.number), self.tasks, (), block)

    def _loop(self, scope: Scope, node: Node, before: Sequence[Node]) -> None:
        """A `for`, each turn for all columns. What stands `before` it in loops around it, and
        differs between columns, is computed in each turn."""
        body = node.regions[0]
        lo, hi = (self.expander.apply(node.attrs[n], node.operands, scope) for n in ("lo", "hi"))

        def turn(variable: Value, _: Carried) -> Sequence[Value]:
            inner = scope.inner()
            inner.exprs[body.params[0]] = axis_variable(variable, hi)
            self._turn(inner, body, before)
            return ()

        self.expander.loop(lo, hi, node.attrs["step"], (), turn, unroll=1)

    def _turn(self, scope: Scope, body: Region, before: Sequence[Node]) -> None:
        """What does not differ between columns is computed once: the row, and whether there is such
        a row and the task owns it."""
        rest = list(before)
        for node in body.nodes:
            if node.op.name == "for":
                self._loop(scope, node, tuple(rest))
            elif node is self.found.store or self._varies(node):
                rest.append(node)
            else:
                self.expander.node(node, scope)
        if self.found.store not in rest:
            return
        guard = self._guard()
        holds = self._holds(scope, guard)
        if holds is None:
            self._run_columns(scope, rest)
            return
        with self.expander.region() as opened:
            inner = scope.inner()
            if guard is not None:
                inner.holding[guard] = True
            self._run_columns(inner, rest)
        self.expander.builder.emit(OPS["if"], (holds,), {}, (opened.closed,))

    def _varies(self, node: Node) -> bool:
        return any(v in self.varying for v in (*node.operands, *node.results))

    def _guard(self) -> Value | None:
        """The condition of the store, if it is the same for all columns."""
        store = self.found.store
        guard = store.operands[-1] if store.attrs.get("guarded") else None
        return None if guard in self.varying else guard

    def _holds(self, scope: Scope, guard: Value | None) -> Value | None:
        """Whether the task stores anything in this turn; None where it always does."""
        expander, store = self.expander, self.found.store
        holds = None if guard is None else expander.value(guard, scope)
        if self.tasks == 1:
            return holds
        row = expander.apply(store.attrs["index"][self.found.axis], store.operands, scope)
        owner = expander.materialise(row // self.rows % self.tasks)
        own = expander.emit("eq", owner, expander.materialise(self.number))
        return own if holds is None else expander.emit("bit_and", holds, own)

    def _run_columns(self, scope: Scope, nodes: Sequence[Node]) -> None:
        def visit(at: Scope, column: Dim) -> None:
            for node in nodes:
                self.expander.node(node, at)

        self.columns(scope, visit)
