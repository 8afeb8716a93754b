"""Loops over the axes of a node: sequential ones around one that runs in vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.access import axes, unflatten
from ....ir.dims import Dim, Expr, Var, free_of_axes, minimum, of_atom, product
from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.schedule import Nest
from .scope import Expander, Scope, Vector

Carried = list[Value]
Turn = Callable[[Value, Carried], Sequence[Value]]
PointBody = Callable[[Scope, Dim, Carried], Sequence[Value]]


def group_extents(node: Node, nest: Nest) -> list[Dim]:
    """The number of points of each group of collapsed axes."""
    _, extents = axes(node)
    return [product(extents[axis] for axis in group) for group in nest.groups]


def bind(scope: Scope, node: Node, nest: Nest, group: int, flat: Dim) -> None:
    """Lets the axes of a group be what they are at the flat index `flat`."""
    variables, extents = axes(node)
    for axis, index in unflatten(nest.groups[group], extents, flat).items():
        scope.exprs[variables[axis]] = index


def bind_single(scope: Scope, node: Node) -> None:
    """Axes of extent 1 are 0."""
    for variable, extent in zip(*axes(node), strict=True):
        if extent == 1:
            scope.exprs[variable] = 0


def for_each(expander: Expander, scope: Scope, node: Node, body: Callable[[Scope], None]) -> None:
    """Runs `body` for every point of the node's axes."""
    nest = expander.nests[node]
    scope = scope.inner()
    bind_single(scope, node)
    vector = nest.vector if scope.vector is None else None
    order = [g for g in range(len(nest.groups)) if g != vector]
    _for_each(expander, scope, node, order, vector, body)


def _for_each(
    expander: Expander,
    scope: Scope,
    node: Node,
    order: Sequence[int],
    vector: int | None,
    body: Callable[[Scope], None],
) -> None:
    nest = expander.nests[node]
    if order:
        extent = group_extents(node, nest)[order[0]]

        def turn(variable: Value, _: Carried) -> Sequence[Value]:
            inner = scope.inner()
            bind(inner, node, nest, order[0], of_atom(Var(variable, extent)))
            _for_each(expander, inner, node, order[1:], vector, body)
            return ()

        expander.loop(0, extent, 1, (), turn)
        return
    if vector is None:
        body(scope)
        return
    extent = group_extents(node, nest)[vector]

    def point(inner: Scope, flat: Dim, _: Carried) -> Sequence[Value]:
        bind(inner, node, nest, vector, flat)
        body(inner)
        return ()

    vector_loop(expander, scope, extent, (nest.lanes, nest.tail), 0, extent, point)


def axis_variable(value: Value, extent: Dim) -> Expr:
    """`value` as a variable that lies in [0, extent), where the extent is the same all along."""
    return of_atom(Var(value, extent if free_of_axes(extent) else None))


def vector_loop(
    expander: Expander,
    scope: Scope,
    extent: Dim,
    lanes: tuple[int, int],
    lo: Dim,
    hi: Dim,
    body: PointBody,
) -> None:
    """`body` for the points [lo, hi) of an axis of `extent` points, lanes[0] at a time; what is
    left over lanes[1] at a time. `lo` is a multiple of lanes[0], and `hi` of any lanes that
    `extent` is."""
    wide, tail = lanes
    full, rest = split(extent, wide, hi)
    if full:
        turn = vector_turn(expander, scope, extent, wide, body)
        expander.loop(lo // wide, hi // wide, 1, (), turn)
    if rest:
        begin, end = tail_range(extent, lanes, lo, hi)
        turn = tail_turn(expander, scope, extent, tail, hi, body)
        expander.loop(begin, end, 1, (), turn, unroll=1)


def native_lanes(expander: Expander, dtype: DType) -> tuple[int, int]:
    """Lanes of a loop that moves elements of `dtype`, register by register."""
    lanes = expander.target.lanes(dtype)
    return lanes, lanes if expander.target.masks else 1


def split(extent: Dim, lanes: int, hi: Dim) -> tuple[bool, bool]:
    """Whether there may be full vectors below `hi`, and elements that fill none."""
    if extent % lanes == 0:
        return True, False
    return not (isinstance(extent, int) and extent < lanes), True


def tail_range(extent: Dim, lanes: tuple[int, int], lo: Dim, hi: Dim) -> tuple[Dim, Dim]:
    """The range, in tail vectors, of what fills no wide vector of [lo, hi)."""
    wide, tail = lanes
    full, _ = split(extent, wide, hi)
    begin = hi // wide * (wide // tail) if full else lo // tail
    return begin, (hi + tail - 1) // tail


def vector_turn(
    expander: Expander,
    scope: Scope,
    extent: Dim,
    lanes: int,
    body: PointBody,
    bound: Value | None = None,
) -> Turn:
    """The body of a loop over vectors number 0, 1, ... of `lanes` points, those below `bound` if
    given. The numbering lets divisions by divisors of `lanes` leave the lanes' part constant."""

    def turn(variable: Value, carried: Carried) -> Sequence[Value]:
        iota = expander.emit("lanes", expander.integer(0), lanes=lanes)
        base = axis_variable(variable, (extent + lanes - 1) // lanes) * lanes
        mask = None
        if bound is not None:
            mask = expander.emit("mask", expander.materialise(base), bound, lanes=lanes)
        inner = scope.inner(Vector(lanes, iota, mask))
        return body(inner, base + of_atom(Var(iota, lanes)), carried)

    return turn


def tail_turn(
    expander: Expander, scope: Scope, extent: Dim, lanes: int, hi: Dim, body: PointBody
) -> Turn:
    """The body of the loop over what fills no wide vector, up to `hi`."""
    if lanes == 1:
        return _scalar_turn(scope, extent, body)
    bound = None if extent % lanes == 0 else expander.materialise(hi)
    return vector_turn(expander, scope, extent, lanes, body, bound)


def _scalar_turn(scope: Scope, extent: Dim, body: PointBody) -> Turn:
    def turn(variable: Value, carried: Carried) -> Sequence[Value]:
        return body(scope.inner(), axis_variable(variable, extent), carried)

    return turn


def blocked_loop(
    expander: Expander,
    lo: Dim,
    hi: Dim,
    step: int,
    block: int,
    neutral: Sequence[Value],
    carried: Carried,
    turn: Turn,
    join: Callable[[Carried, Carried], Carried],
) -> Carried:
    """A loop whose partial results over `block` turns begin at `neutral` and then join the rest,
    so that a long float sum rounds like a short one. `block` 0: a plain loop."""
    size = block * step
    span = hi - lo
    if not block or (isinstance(span, int) and span <= 2 * size):
        return expander.loop(lo, hi, step, carried, turn)

    def outer(variable: Value, total: Carried) -> Sequence[Value]:
        start = of_atom(Var(variable))
        end = minimum(start + size, hi)
        return join(total, expander.loop(start, end, step, neutral, turn))

    return expander.loop(lo, hi, size, carried, outer)
