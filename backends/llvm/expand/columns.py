"""Kernels of columns: a task runs over pieces of rows, the accumulators of sums in scratch.

Of every loop in the body of the outermost `parallel` the rows become the outer loop, the columns of
the task the inner one: memory is read as it lies. Several rows are joined for each vector of
columns before they meet its accumulators. Reductions that do not need each other's results share
one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.graph import Node, Value
from ....ir.scattering import scattering
from ....ir.schedule import Nest
from .loops import Carried, bind, bind_single, group_extents, vector_loop
from .reductions import ascending_members
from .scattering import Scatter
from .scope import Expander, Scope

# Called in vectors of columns: (scope, number of the column in the task, a scope for each row).
Visit = Callable[[Scope, Dim, Sequence[Scope]], None]


@dataclass(frozen=True, slots=True)
class _Pass:
    """Loops over the same rows, none for what stands outside of loops; `before`: the nodes beside
    them that can be computed by then."""

    loops: tuple[Node, ...]
    before: tuple[Node, ...]


def run_columns(expander: Expander, scope: Scope, node: Node, lo: Dim, hi: Dim, width: int) -> None:
    """The columns [lo, hi) of the body of `node`, `width` at most, where `scope` knows the other
    axes."""
    _Columns(expander, scope, node, lo, hi, width).run()


def scatter_columns(
    expander: Expander, scope: Scope, node: Node, lo: Dim, hi: Dim, number: Dim
) -> None:
    """The columns [lo, hi) of the body of `node`, which scatters, as far as their rows belong to
    the task of this number."""
    found, shared = scattering(node), expander.nests[node].shared
    assert found is not None and shared is not None, "the schedule is of another kernel"
    run = _Columns(expander, scope, node, lo, hi, 0).columns
    Scatter(expander, node, found, (number, *shared), run).run(scope)


def _passes(node: Node, nests: dict[Node, Nest]) -> list[_Pass]:
    """The passes over the rows in order: of reductions by what they need, then of stores."""
    level: dict[Value, int] = {}  # passes that come before a value
    reductions: dict[tuple[int, int], list[Node]] = {}
    plain: list[tuple[int, Node]] = []
    stores: list[Node] = []
    for inner in node.regions[0].nodes:
        after = max((level.get(v, 0) for v in _uses(inner)), default=0)
        if inner.op.name in ("parallel", "store"):
            stores.append(inner)
        elif inner.op.name == "reduce":
            same = next(
                (k for k, n in reductions.items() if k[0] == after and _alike(n[0], inner, nests)),
                None,
            )
            reductions.setdefault(same or (after, len(reductions)), []).append(inner)
            level.update(dict.fromkeys(inner.results, after + 1))
        else:
            plain.append((after, inner))
            level.update(dict.fromkeys(inner.results, after))
    found = []
    for (after, _), loops in sorted(reductions.items(), key=lambda item: item[0][0]):
        found.append(_Pass(tuple(loops), tuple(n for needs, n in plain if needs <= after)))
    every = tuple(n for _, n in plain)
    found.append(_Pass((), (*every, *(n for n in stores if n.op.name == "store"))))
    return found + [_Pass((n,), every) for n in stores if n.op.name == "parallel"]


def _alike(a: Node, b: Node, nests: dict[Node, Nest]) -> bool:
    """Whether two reductions run over the same loops."""
    return a.attrs["extents"] == b.attrs["extents"] and nests[a] == nests[b]


def _uses(node: Node) -> list[Value]:
    """The values that a node and its regions read."""
    inside = [n for region in node.regions for n in region.walk()]
    regions = [region for n in (node, *inside) for region in n.regions]
    read = [v for n in (node, *inside) for v in n.operands]
    return read + [v for region in regions for v in region.yields]


class _Columns:
    """Attributes:
    kept: result of a reduction, or of a load -> its element for each column of the task.
    before: what the pass at hand may compute of nodes outside of loops.
    """

    def __init__(
        self, expander: Expander, scope: Scope, node: Node, lo: Dim, hi: Dim, width: int
    ) -> None:
        self.expander = expander
        self.scope = scope
        self.node = node
        self.nest = expander.nests[node]
        self.lo, self.hi, self.width = lo, hi, width
        self.kept: dict[Value, Value] = {}
        self.before: Sequence[Node] = ()

    def run(self) -> None:
        steps = _passes(self.node, self.expander.nests)
        loads = self._overwritten(steps)
        for step in steps:
            self.before = step.before
            if loads and (not step.loops or step.loops[0].op.name == "parallel"):
                self._keep(loads)
                loads = []
            if not step.loops:
                self.columns(self.scope, lambda at, column: None)
            elif step.loops[0].op.name == "reduce":
                _Sums(self, step.loops).run()
            else:
                self.rows(step.loops, self._storing(step.loops[0]))

    def _overwritten(self, steps: Sequence[_Pass]) -> list[Node]:
        """The loads outside of loops whose elements a pass may overwrite before the last one: an
        output may share the memory of an input of its size."""
        if not any(loop.op.name == "parallel" for step in steps for loop in step.loops):
            return []  # all is stored by the last pass, each column after its loads
        body = self.node.regions[0]
        sizes = {n.operands[0].type.nbytes for n in body.walk() if n.op.name == "store"}
        return [
            n
            for n in body.nodes
            if n.op.name == "load" and n.operands[0].node is None
            if n.operands[0].type.nbytes in sizes
        ]

    def _keep(self, loads: Sequence[Node]) -> None:
        """Copies what `loads` give for each column of the task."""
        held = {n.results[0]: n.results[0].type.dtype for n in loads}
        kept = {v: self.expander.alloc((self.width,), dtype) for v, dtype in held.items()}

        def copy(at: Scope, column: Dim) -> None:
            for value, buffer in kept.items():
                self.expander.write(buffer, column, self.expander.value(value, at), at)

        self.columns(self.scope, copy)
        self.kept.update(kept)

    def _storing(self, loop: Node) -> Visit:
        def store(at: Scope, column: Dim, rows: Sequence[Scope]) -> None:
            for row in rows:
                self.expander.run_nodes(loop.regions[0], row)

        return store

    def columns(self, scope: Scope, visit: Callable[[Scope, Dim], None]) -> None:
        """Runs `visit` for every vector of columns."""
        expander, nest, group = self.expander, self.nest, self.nest.vector
        assert group is not None
        extent = group_extents(self.node, nest)[group]

        def point(at: Scope, flat: Dim, _: Carried) -> Sequence[Value]:
            bind(at, self.node, nest, group, flat)
            column = flat - self.lo
            for value, buffer in self.kept.items():
                at.values[value] = expander.read(buffer, column, at)
            for node in self.before:
                if not any(value in self.kept for value in node.results):
                    expander.node(node, at)
            visit(at, column)
            return ()

        vector_loop(expander, scope, extent, (nest.lanes, nest.tail), self.lo, self.hi, point)

    def rows(
        self, loops: Sequence[Node], visit: Visit, bounds: tuple[Dim, Dim] | None = None
    ) -> None:
        """Runs `visit` for several of the rows of `loops` at a time, and every vector of columns.
        `bounds`: of the outermost group of rows."""
        scope = self.scope.inner()
        for loop in loops:
            bind_single(scope, loop)
        extents = group_extents(loops[0], self.expander.nests[loops[0]])
        if not extents:
            self.columns(scope, lambda at, column: visit(at, column, [at]))
            return
        self._level(scope, loops, 0, bounds or (0, extents[0]), visit)

    def _level(
        self, scope: Scope, loops: Sequence[Node], group: int, bounds: tuple[Dim, Dim], visit: Visit
    ) -> None:
        extents = group_extents(loops[0], self.expander.nests[loops[0]])
        lo, hi = bounds
        if group + 1 == len(extents):
            sweep = self.nest.sweep
            full = lo + (hi - lo) // sweep * sweep
            self._turns(scope, loops, group, (lo, full), sweep, visit)
            self._turns(scope, loops, group, (full, hi), 1, visit)
            return

        def turn(variable: Value, _: Carried) -> Sequence[Value]:
            inner = self._at(scope, loops, group, of_atom(Var(variable, extents[group])))
            self._level(inner, loops, group + 1, (0, extents[group + 1]), visit)
            return ()

        self.expander.loop(lo, hi, 1, (), turn)

    def _turns(
        self,
        scope: Scope,
        loops: Sequence[Node],
        group: int,
        bounds: tuple[Dim, Dim],
        count: int,
        visit: Visit,
    ) -> None:
        """The innermost loop over rows, `count` of them in a turn."""
        if bounds[0] == bounds[1]:
            return
        extent = group_extents(loops[0], self.expander.nests[loops[0]])[group]

        def turn(variable: Value, _: Carried) -> Sequence[Value]:
            first = of_atom(Var(variable, extent))

            def run(at: Scope, column: Dim) -> None:
                visit(at, column, [self._at(at, loops, group, first + r) for r in range(count)])

            self.columns(scope, run)
            return ()

        self.expander.loop(*bounds, count, (), turn, unroll=1)

    def _at(self, scope: Scope, loops: Sequence[Node], group: int, row: Dim) -> Scope:
        """A scope inside `scope` that knows the row of a group."""
        inner = scope.inner()
        for loop in loops:
            bind(inner, loop, self.expander.nests[loop], group, row)
        return inner


class _Sums:
    """The reductions of one pass."""

    def __init__(self, columns: _Columns, loops: Sequence[Node]) -> None:
        self.columns = columns
        self.expander = columns.expander
        self.loops = loops
        self.ascending = [ascending_members(loop) for loop in loops]

    def run(self) -> None:
        """Long float sums are summed in blocks of rows, whose sums join the total."""
        columns, expander = self.columns, self.expander
        nest = expander.nests[self.loops[0]]
        extents = group_extents(self.loops[0], nest)
        total = self._buffers()
        self._fill(total)
        inner = product(extents[1:])
        step = max(1, nest.block // inner) if isinstance(inner, int) and inner else 1
        outer = extents[0] if extents else 1
        if not nest.block or (isinstance(outer, int) and outer <= 2 * step):
            columns.rows(self.loops, self._adding(total))
        else:
            part = self._buffers()

            def block(variable: Value, _: Carried) -> Sequence[Value]:
                start = of_atom(Var(variable))
                end = of_atom(Var(expander.materialise(minimum(start + step, outer))))
                self._fill(part)
                columns.rows(self.loops, self._adding(part), (start, end))
                columns.columns(
                    columns.scope, lambda at, column: self._join(at, column, total, part)
                )
                return ()

            expander.loop(0, outer, step, (), block)
        for loop, buffers in zip(self.loops, total, strict=True):
            columns.kept.update(zip(loop.results, buffers, strict=True))

    def _buffers(self) -> list[list[Value]]:
        """Room for the accumulators of every reduction."""
        width = self.columns.width
        return [
            [self.expander.alloc((width,), v.type.dtype) for v in n.results] for n in self.loops
        ]

    def _fill(self, buffers: Sequence[Sequence[Value]]) -> None:
        def fill(at: Scope, column: Dim) -> None:
            for loop, held in zip(self.loops, buffers, strict=True):
                start = [self.expander.value(v, at) for v in loop.operands]
                self._write(held, column, self.expander.all_widened(start, at), at)

        self.columns.columns(self.columns.scope, fill)

    def _join(
        self,
        at: Scope,
        column: Dim,
        total: Sequence[Sequence[Value]],
        part: Sequence[Sequence[Value]],
    ) -> None:
        for number, (left, right) in enumerate(zip(total, part, strict=True)):
            pair = (self._read(left, column, at), self._read(right, column, at))
            self._write(left, column, self._combined(number, *pair, at), at)

    def _adding(self, buffers: Sequence[Sequence[Value]]) -> Visit:
        def add(at: Scope, column: Dim, rows: Sequence[Scope]) -> None:
            for number, (loop, held) in enumerate(zip(self.loops, buffers, strict=True)):
                elements = [
                    self.expander.all_widened(self.expander.run(loop.regions[0], row), row)
                    for row in rows
                ]
                while len(elements) > 1:  # pairs, so that few joins wait for each other
                    pairs = zip(elements[::2], elements[1::2], strict=False)
                    joined = [self._combined(number, a, b, at) for a, b in pairs]
                    elements = joined + elements[2 * len(joined) :]
                before = self._read(held, column, at)
                self._write(held, column, self._combined(number, before, elements[0], at), at)

        return add

    def _combined(self, number: int, left: Carried, right: Carried, at: Scope) -> Carried:
        combine = self.loops[number].regions[1]
        return self.expander.combine(combine, left, right, at, self.ascending[number])

    def _read(self, buffers: Sequence[Value], column: Dim, at: Scope) -> Carried:
        return [self.expander.read(buffer, column, at) for buffer in buffers]

    def _write(
        self, buffers: Sequence[Value], column: Dim, values: Sequence[Value], at: Scope
    ) -> None:
        for buffer, value in zip(buffers, values, strict=True):
            self.expander.write(buffer, column, value, at)
