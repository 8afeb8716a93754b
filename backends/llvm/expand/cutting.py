"""Loops that are cut at the borders of what they read (`ir/borders.py`): each piece reads one part.

A border along a loop that is not in vectors is a branch around what is inside; the loop in vectors
becomes one loop for each piece, which together run over the same points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....ir.access import Expressions, axes, replace_var
from ....ir.borders import Chain, border, specialised
from ....ir.dims import Dim, maximum, minimum, product
from ....ir.graph import Node, Value
from .blocks import compare, fixed, when
from .loops import Carried, bind, vector_loop
from .scope import Expander, Scope

Known = Mapping[Value, bool]


def run_pieces(expander: Expander, scope: Scope, node: Node, lo: Dim, hi: Dim) -> None:
    """Runs the body for the points [lo, hi) of the vectorised group, where the others are."""
    lo, hi = fixed(expander, lo), fixed(expander, hi)
    found = [_chain(node, group, numbers) for group, numbers in _cut_groups(expander, node)]
    vectorised = expander.nests[node].groups[expander.nests[node].vector or 0][0]
    outer = [chain for chain in found if chain.axis != vectorised]
    inner = next((chain for chain in found if chain.axis == vectorised), None)
    _branch(expander, scope, node, outer, inner, {}, (lo, hi))


def _cut_groups(expander: Expander, node: Node) -> list[tuple[Sequence[int], Sequence[int]]]:
    nest = expander.nests[node]
    return [(g, c) for g, c in zip(nest.groups, nest.cuts, strict=True) if c]


def _chain(node: Node, group: Sequence[int], numbers: Sequence[int]) -> Chain:
    """The comparisons with these numbers, along the first axis of `group`."""
    variables, extents = axes(node)
    expressions = Expressions(dict(zip(variables, extents, strict=True)))
    conditions = tuple(node.regions[0].nodes[k] for k in numbers)
    borders = [border(c, expressions, variables[group[0]]) for c in conditions]
    assert all(b is not None for b in borders), "a loop is cut where a comparison has a border"
    return Chain(group[0], conditions, tuple(b for b in borders if b is not None))


def _places(scope: Scope, node: Node, chain: Chain) -> list[Dim]:
    """The borders, where the other loops are."""
    where = {v: found for v in axes(node)[0] if (found := scope.find("exprs", v)) is not None}
    return [replace_var(place, where) for place in chain.places()]


def _branch(
    expander: Expander,
    scope: Scope,
    node: Node,
    outer: Sequence[Chain],
    inner: Chain | None,
    known: Known,
    bounds: tuple[Dim, Dim],
) -> None:
    """One branch for each piece of the first of the `outer` loops, and in it those of the next."""
    if not outer:
        _loops(expander, scope, node, inner, known, bounds)
        return
    chain, *rest = outer
    places = _places(scope, node, chain)
    at = scope.find("exprs", axes(node)[0][chain.axis])
    for piece in range(len(places) + 1):
        holds: Value | None = None
        if piece:
            holds = compare(expander, "ge", at, places[piece - 1])
        if piece < len(places):
            below = compare(expander, "lt", at, places[piece])
            holds = below if holds is None else expander.emit("bit_and", holds, below)
        with when(expander, holds):
            now = {**known, **chain.known(piece)}
            _branch(expander, scope.inner(), node, rest, inner, now, bounds)


def _loops(
    expander: Expander,
    scope: Scope,
    node: Node,
    chain: Chain | None,
    known: Known,
    bounds: tuple[Dim, Dim],
) -> None:
    """One loop in vectors for each piece."""
    if chain is None:
        _loop(expander, scope, node, known, bounds)
        return
    nest, (_, extents) = expander.nests[node], axes(node)
    width = product(extents[axis] for axis in nest.groups[nest.vector or 0][1:])
    lo, hi = bounds
    places = [
        fixed(expander, minimum(maximum(place * width, lo), hi))
        for place in _places(scope, node, chain)
    ]
    for piece, begin in enumerate([lo, *places]):
        end = [*places, hi][piece]
        _loop(expander, scope, node, {**known, **chain.known(piece)}, (begin, end))


def _loop(
    expander: Expander, scope: Scope, node: Node, known: Known, bounds: tuple[Dim, Dim]
) -> None:
    """The points of one piece, by vectors from its begin on."""
    nest, (begin, end) = expander.nests[node], bounds
    assert nest.vector is not None
    vector, body = nest.vector, specialised(node.regions[0], known)
    count, lanes = end - begin, nest.lanes
    if isinstance(count, int):
        if count <= 0:
            return
        while expander.target.masks and lanes > 1 and count <= lanes // 2:
            lanes //= 2
        while not expander.target.masks and lanes > count:
            lanes //= 2
    else:
        count = fixed(expander, count)

    def point(at: Scope, flat: Dim, _: Carried) -> Sequence[Value]:
        bind(at, node, nest, vector, begin + flat)
        expander.run_nodes(body, at)
        return ()

    vector_loop(expander, scope, count, (lanes, min(nest.tail, lanes)), 0, count, point)
