"""What becomes of an attention's results: they leave scratch through the kernel's regions."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Dim, minimum, product
from ....ir.graph import Value
from .attend_parts import AXES_OF_ROWS, Attention, Held, known, round_up
from .blocks import fixed, lane_places, loop_over
from .packing import transpose
from .scope import Scope

TOGETHER = 4  # vectors of a result that are stored side by side


def use_vectors(
    at: Attention, scope: Scope, name: str, start: Dim, values: Sequence[Value]
) -> None:
    """Runs the region `name`, of one element for each query, on vectors over a panel."""
    part = at.parts[name]
    if not at.uses(name):
        return
    starts = [fixed(at.expander, start + v) for v in at.offsets]
    places = lane_places(at.expander, part.axes["l"], starts, at.queries, at.lanes, at.schedule.nr)
    for found in places:
        for (position, vector), value in zip(found, values, strict=True):
            inner = scope.inner(vector)
            part.axes["l"].bind(inner, position)
            inner.values[part.region.params[-1]] = value
            at.expander.run_nodes(part.region, inner)


def use_transposed(
    at: Attention, scope: Scope, name: str, sums: Value, base: Dim, start: Dim, extent: int,
    factors: Sequence[Value] | None,
) -> None:  # fmt: skip
    """Runs the region `name` on a panel of sums, (row, query) at base + row * nr + query: each
    query's row of `extent` elements, times the query's factor."""
    if not at.uses(name):
        return
    expander, nr, lanes = at.expander, at.schedule.nr, at.lanes
    deep = round_up(extent, lanes)
    rows = at.alloc(nr * deep + TOGETHER * lanes)  # vectors reach past the last element

    def square(number: Dim) -> None:
        column = fixed(expander, number * lanes)
        for u, v in enumerate(at.offsets):
            found = [at.load(sums, base + (column + k) * nr + v) for k in range(lanes)]
            if factors is not None:
                found = [at.emit("mul", value, factors[u]) for value in found]
            for query, value in enumerate(transpose(expander, found)):
                at.store(rows, column + (v + query) * deep, value)

    loop_over(expander, deep // lanes, square)
    count = fixed(expander, minimum(nr, at.queries - start))
    own, other = AXES_OF_ROWS[name], "l"
    use_rows(at, scope, name, Held(rows, deep), start, count, (other, own))


def use_rows(
    at: Attention,
    scope: Scope,
    name: str,
    held: Held,
    first: Dim,
    count: Dim,
    letters: tuple[str, str],
) -> None:
    """Runs the region `name` on the first `count` rows of `held`, which are those from `first`
    on; `letters` name the axis of the rows and that of their elements."""
    part = at.parts[name]
    expander, lanes = at.expander, at.lanes
    axes, own = (part.axes[letter] for letter in letters)
    extent = known(product(own.extents))
    together = min(TOGETHER, -(-extent // lanes))
    width = together * lanes

    def columns(number: Dim) -> None:
        column = fixed(expander, number * width)
        starts = [column + v for v in range(0, width, lanes)]
        for places in lane_places(expander, own, starts, extent, lanes, width):

            def row(r: Dim, places: list = places) -> None:
                positions = [fixed(expander, p) for p in axes.split(first + r)]
                for v, (position, vector) in enumerate(places):
                    inner = scope.inner(vector)
                    axes.bind(inner, positions)
                    own.bind(inner, position)
                    where = r * held.depth + column + v * lanes
                    inner.values[part.region.params[-1]] = at.load(held.buffer, where)
                    expander.run_nodes(part.region, inner)

            loop_over(expander, count, row)

    loop_over(expander, -(-extent // width), columns)
