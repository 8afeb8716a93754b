"""The outermost loop of a kernel: what is cut between threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.graph import Graph, Node, Region, Value
from ....ir.schedule import Nest, Schedule, scheduled_nodes
from ....ir.sugar import neutral
from ....ir.target import Target
from .attend import expand_attend
from .attend_gradient import expand_attend_gradient
from .columns import run_columns, scatter_columns
from .contract import expand_contract
from .cutting import run_pieces
from .loops import (
    Carried,
    axis_variable,
    bind,
    bind_single,
    group_extents,
    native_lanes,
    vector_loop,
)
from .prefixes import expand_cumulate
from .reductions import expand_reduce
from .rows import expand_for, expand_parallel, expand_row
from .scope import Expander, Handler, Scope
from .turning import run_tile

HANDLERS: dict[str, Handler] = {
    "parallel": expand_parallel,
    "reduce": expand_reduce,
    "row": expand_row,
    "cumulate": expand_cumulate,
    "for": expand_for,
    "contract": expand_contract,
    "attend": expand_attend,
    "attend_gradient": expand_attend_gradient,
}


def expand(kernel: Graph, schedule: Schedule, target: Target) -> Graph:
    """The loop-level graph of a kernel, with the kernel's parameters and outputs.

    Raises:
        ValueError: the schedule has another number of nests than the kernel.
        NotImplementedError: an op that has no loops on a CPU.
    """
    nodes = list(scheduled_nodes(kernel))
    if len(nodes) != len(schedule.nests):
        raise ValueError(f"{len(schedule.nests)} nests for {len(nodes)} nodes of @{kernel.name}")
    nests = dict(zip(nodes, schedule.nests, strict=True))
    expander = Expander(target, nests, HANDLERS)
    scope = Scope(None, None)
    for param in kernel.params:
        scope.buffers[param] = expander.builder.param(param.type, param.name), 0
    outer = _outermost(kernel, nests)
    if outer is None or not nests[outer].together:
        _fill_joined(expander, kernel, scope)
    for node in kernel.nodes:
        expander.builder.line = node.line
        if node is not outer:
            expander.node(node, scope)
        elif node.op.name == "many":
            _many_tasks(expander, scope, node, schedule)
        elif nests[node].together:
            _tasks_of_parts(expander, scope, node)
        else:
            _parallel_tasks(expander, scope, node, schedule)
    return Graph(
        kernel.name,
        tuple(expander.builder.params),
        (*expander.allocs, *expander.nodes()),
        level="loop",
        outs=kernel.outs,
    )


def _fill_joined(expander: Expander, kernel: Region, scope: Scope, part: Dim | None = None) -> None:
    """Outputs that atomics join begin as neutral elements: all of them, or those of one part."""
    joined = {n.operands[0]: n.attrs["combine"] for n in kernel.walk() if n.op.name == "atomic"}
    for param, combine in joined.items():
        buffer, _ = scope.find("buffers", param)
        value = expander.emit("constant", value=neutral(combine, param.type.dtype))
        lanes, size = native_lanes(expander, param.type.dtype), param.type.size
        start: Dim = 0
        if part is not None:
            size = product(param.type.shape[1:])
            start = part * size

        def fill(
            at: Scope,
            flat: Dim,
            _: Carried,
            buffer: Value = buffer,
            value: Value = value,
            start: Dim = start,
        ) -> Sequence[Value]:
            expander.write(buffer, start + flat, value, at)
            return ()

        vector_loop(expander, Scope(None, None), size, lanes, 0, size, fill)


def task_extent(loops: Graph) -> Dim:
    """The number of tasks of a loop-level graph, over its size symbols."""
    for node in loops.nodes:
        if node.op.name == "for" and node.attrs.get("parallel"):
            return node.attrs["hi"]
    return 1


def _outermost(kernel: Graph, nests: dict[Node, Nest]) -> Node | None:
    """The one node whose range tasks share; None where the kernel is one task."""
    working = [n for n in kernel.nodes if n.regions or n.op.name in ("store", "atomic")]
    if len(working) != 1:
        return None
    meeting = any(n.op.name == "atomic" for n in kernel.walk())
    if meeting and not (working[0] in nests and nests[working[0]].together):
        return None
    return working[0] if working[0].op.name in ("parallel", "many") else None


def _run_tasks(
    expander: Expander, scope: Scope, total: Dim, body: Callable[[Scope, Dim], None]
) -> None:
    """The outermost loop; none around a single task, and nothing at all for none."""
    if total == 0:
        return
    if total == 1:
        body(scope.inner(), 0)
        return

    def turn(variable: Value, _: Carried) -> Sequence[Value]:
        body(scope.inner(), of_atom(Var(variable, total)))
        return ()

    expander.loop(0, total, 1, (), turn, parallel=True)


def _parallel_tasks(expander: Expander, scope: Scope, node: Node, schedule: Schedule) -> None:
    """A task is one point of the axes that are not vectorised and `schedule.task` elements of
    the one that is."""
    nest = expander.nests[node]
    extents = group_extents(node, nest)
    order = [g for g in range(len(extents)) if g != nest.vector]
    length: Dim = 1 if nest.vector is None else extents[nest.vector]
    blocks = (length + schedule.task - 1) // schedule.task
    counts = {g: extents[g] for g in order}
    if nest.tile is not None:
        tiled, points = nest.tile
        counts[tiled] = (extents[tiled] + points - 1) // points

    shares, _ = nest.shared or (1, 0)

    def task(inner: Scope, number: Dim) -> None:
        bind_single(inner, node)
        share, number = number % shares, number // shares
        block = number % blocks
        where = _points(order, counts, number // blocks)
        for group in order:
            if nest.tile is None or group != nest.tile[0]:
                bind(inner, node, nest, group, where[group])
        if nest.vector is None:
            expander.run_nodes(node.regions[0], inner)
            return
        lo = block * schedule.task
        hi = length if blocks == 1 else minimum(lo + schedule.task, length)
        if nest.shared is not None:
            scatter_columns(expander, inner, node, lo, hi, share)
            return
        if nest.sweep:
            run_columns(expander, inner, node, lo, hi, schedule.task)
            return
        if nest.cuts:
            run_pieces(expander, inner, node, lo, hi)
            return
        vector = nest.vector

        def point(at: Scope, flat: Dim, _: Carried) -> Sequence[Value]:
            bind(at, node, nest, vector, flat)
            if nest.tile is None:
                expander.run_nodes(node.regions[0], at)
            else:
                tiled, points = nest.tile
                start = _as_variable(expander, where[tiled] * points, extents[tiled])
                run_tile(expander, at, node, flat, start)
            return ()

        vector_loop(expander, inner, length, (nest.lanes, nest.tail), lo, hi, point)

    _run_tasks(expander, scope, product([shares, blocks, *counts.values()]), task)


def _tasks_of_parts(expander: Expander, scope: Scope, node: Node) -> None:
    """A task is the points that meet at one part of what they join, in order."""
    nest = expander.nests[node]
    extents = group_extents(node, nest)
    points, order = product(extents), list(range(len(extents)))
    counts = dict(enumerate(extents))

    def task(inner: Scope, number: Dim) -> None:
        bind_single(inner, node)
        _fill_joined(expander, node.regions[0], inner, number)
        lo = number * nest.together

        def turn(variable: Value, _: Carried) -> Sequence[Value]:
            at = inner.inner()
            for group, place in _points(order, counts, axis_variable(variable, points)).items():
                bind(at, node, nest, group, place)
            expander.run_nodes(node.regions[0], at)
            return ()

        expander.loop(lo, minimum(lo + nest.together, points), 1, (), turn, unroll=1)

    _run_tasks(expander, scope, (points + nest.together - 1) // nest.together, task)


def _as_variable(expander: Expander, dim: Dim, extent: Dim) -> Dim:
    """`dim` as one variable."""
    return dim if isinstance(dim, int) else axis_variable(expander.materialise(dim), extent)


def _points(order: Sequence[int], counts: dict[int, Dim], number: Dim) -> dict[int, Dim]:
    """The position along each group of point `number` of their product."""
    where: dict[int, Dim] = {}
    for group in reversed(order):
        where[group] = number if group == order[0] else number % counts[group]
        number = number // counts[group]
    return where


def _many_tasks(expander: Expander, scope: Scope, node: Node, schedule: Schedule) -> None:
    """A task is `schedule.task` elements of one item; items follow each other. The code is there
    once: a task looks up its item's buffers and sizes."""
    nest, body = expander.nests[node], node.regions[0]
    extents = node.attrs["extents"]
    width = len(body.params) - 1
    starts: list[Dim] = [0]
    for extent in extents:
        starts.append(starts[-1] + (extent + schedule.task - 1) // schedule.task)

    def task(inner: Scope, number: Dim) -> None:
        item, start, extent = _find_item(expander, expander.materialise(number), starts, extents)
        for position, param in enumerate(body.params[1:]):
            found = [scope.find("buffers", v)[0] for v in node.operands[position::width]]
            inner.buffers[param] = expander.emit("pick", item, *found), 0
        lo = (number - start) * schedule.task

        def point(at: Scope, flat: Dim, _: Carried) -> Sequence[Value]:
            at.exprs[body.params[0]] = flat
            expander.run_nodes(body, at)
            return ()

        end = minimum(lo + schedule.task, extent)
        vector_loop(expander, inner, extent, (nest.lanes, nest.tail), lo, end, point)

    _run_tasks(expander, scope, starts[-1], task)


def _find_item(
    expander: Expander, number: Value, starts: Sequence[Dim], extents: Sequence[Dim]
) -> tuple[Value, Dim, Dim]:
    """(number of the item that a task belongs to, its first task, its extent)."""
    item, start, extent = (expander.materialise(d) for d in (0, starts[0], extents[0]))
    for position in range(1, len(extents)):
        first, size = (expander.materialise(d[position]) for d in (starts, extents))
        here = expander.emit("ge", number, first)
        item = expander.emit("where", here, expander.integer(position), item)
        start = expander.emit("where", here, first, start)
        extent = expander.emit("where", here, size, extent)
    return item, of_atom(Var(start)), of_atom(Var(extent))
