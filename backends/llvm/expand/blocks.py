"""What the tiles of a product need of loops: blocks, conditions, axes that are walked as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ....ir.access import (
    Expressions,
    accesses,
    axis_extents,
    collapse,
    index_uses,
    unflatten,
)
from ....ir.dims import Dim, Var, of_atom, product
from ....ir.graph import Region, Value
from ....ir.ops.loop import IF
from .scope import Expander, Scope, Vector


def ceil_div(a: Dim, b: int) -> Dim:
    return (a + (b - 1)) // b


def fixed(expander: Expander, dim: Dim) -> Dim:
    """`dim` computed here, from now on one variable; a constant stays."""
    if isinstance(dim, int):
        return dim
    return of_atom(Var(expander.materialise(dim)))


@contextmanager
def when(expander: Expander, condition: Value | None) -> Iterator[None]:
    """The block runs where the bool scalar holds; None: always."""
    if condition is None:
        yield
        return
    with expander.region() as opened:
        yield
    expander.builder.emit(IF, (condition,), {}, (opened.closed,))


def loop_over(expander: Expander, count: Dim, body: Callable[[Dim], None]) -> None:
    """body(0), body(1), ... `count` times."""

    def turn(variable: Value, _: list[Value]) -> Sequence[Value]:
        body(of_atom(Var(variable)))
        return ()

    expander.loop(0, count, 1, (), turn)


def compare(expander: Expander, op: str, left: Dim, right: Dim) -> Value:
    """A comparison of two scalar positions, as a bool."""
    return expander.emit(op, expander.materialise(left), expander.materialise(right))


@dataclass(frozen=True, slots=True)
class Axes:
    """A tuple of axes that is walked as one flat axis, as one region sees it.

    Attributes:
        variables, extents: the axes, outermost first.
        runs: axes that every access of the region sees as one; the flat index splits into one
            position for each run. Axes of extent 1 are in none.
    """

    variables: tuple[Value, ...]
    extents: tuple[Dim, ...]
    runs: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> list[Dim]:
        return [product(self.extents[axis] for axis in run) for run in self.runs]

    def split(self, flat: Dim) -> list[Dim]:
        """The position of each run at the flat index."""
        found = unflatten(range(len(self.runs)), self.sizes, flat) if self.runs else {}
        return [found[k] for k in range(len(self.runs))]

    def indices(self, positions: Sequence[Dim]) -> dict[Value, Dim]:
        """Where each axis is, at the given positions of the runs."""
        found: dict[Value, Dim] = dict.fromkeys(self.variables, 0)
        for run, position in zip(self.runs, positions, strict=True):
            for axis, index in unflatten(run, self.extents, position).items():
                found[self.variables[axis]] = index
        return found

    def bind(self, scope: Scope, positions: Sequence[Dim]) -> None:
        """Lets the axes be at the given positions of the runs."""
        scope.exprs.update(self.indices(positions))


def joined_axes(
    region: Region, extents: dict[Value, Dim], groups: Sequence[Sequence[Value]]
) -> list[Axes]:
    """`Axes` of each group of the region's axis variables; `extents` has all of them."""
    expressions = Expressions({**axis_extents(region), **extents})
    dims = [a.offset for a in accesses(region, expressions)]
    dims += index_uses(region, expressions)
    found = []
    for group in groups:
        sizes = tuple(extents[v] for v in group)
        runs = () if 0 in sizes else collapse(group, sizes, dims)  # no point: nothing to walk
        found.append(Axes(tuple(group), sizes, runs))
    return found


# A place for one vector of points: the position of each run, and which lanes exist.
Place = tuple[list[Dim], Vector]


def lane_places(
    expander: Expander, axes: Axes, starts: Sequence[Dim], total: Dim, lanes: int, aligned: int
) -> Iterator[list[Place]]:
    """Vectors of `lanes` points from each flat index of `starts` on; lanes from `total` on are
    masked. `aligned` divides every start.

    What is emitted between two turns of this iterator runs under a condition: there are up to
    two versions, one for vectors that lie within the innermost run and need no mask.
    """
    iota = expander.emit("lanes", expander.integer(0), lanes=lanes)
    step = of_atom(Var(iota, lanes))
    exact = _divides(lanes * len(starts), total) and aligned % (lanes * len(starts)) == 0
    last = axes.sizes[-1] if axes.runs else 1
    together = always_together(axes, lanes, aligned)

    def side_by_side(start: Dim, masked: bool) -> Place:
        positions = axes.split(start)
        if len(positions) > 1:
            positions = [fixed(expander, p) for p in positions]
        if positions:
            positions[-1] = positions[-1] + step
        mask = _mask(expander, start, total, lanes) if masked else None
        return positions, Vector(lanes, iota, mask)

    def anywhere(start: Dim) -> Place:
        mask = _mask(expander, start, total, lanes)
        return _across_runs(expander, axes, start, iota, lanes), Vector(lanes, iota, mask)

    if together and (exact or expander.target.masks):
        yield [side_by_side(start, not exact) for start in starts]
        return
    if not together and isinstance(last, int) and last < lanes:
        yield [anywhere(start) for start in starts]
        return
    inside = _all_inside(expander, axes, starts, total, lanes, together)
    with when(expander, inside):
        yield [side_by_side(start, False) for start in starts]
    with when(expander, expander.emit("bit_not", inside)):
        if together:
            yield [side_by_side(start, True) for start in starts]
        else:
            yield [anywhere(start) for start in starts]


def _across_runs(expander: Expander, axes: Axes, start: Dim, iota: Value, lanes: int) -> list[Dim]:
    """The positions of each lane at start + lane, as vectors. A position that runs past the end
    of its run goes on in the run outside: that is counted, not divided, where sizes are known."""
    if not all(isinstance(size, int) for size in axes.sizes[1:]):
        flat = fixed(expander, start + of_atom(Var(iota, lanes)))
        return [fixed(expander, p) for p in axes.split(flat)]
    positions = [fixed(expander, p) for p in axes.split(start)]
    moved, most = iota, lanes - 1  # by how much the lanes are ahead, and at most
    for run in reversed(range(1, len(positions))):
        size = axes.sizes[run]
        assert isinstance(size, int)
        place = expander.widen(expander.materialise(positions[run]), lanes)
        place = expander.emit("add", place, moved)
        most = (size - 1 + most) // size
        wraps = [_at_least(expander, place, turn * size, lanes) for turn in range(1, most + 1)]
        moved = expander.widen(expander.integer(0), lanes)
        for wrap in wraps:
            moved = expander.emit("add", moved, wrap)
        back = expander.widen(expander.integer(size), lanes)
        place = expander.emit("sub", place, expander.emit("mul", moved, back))
        positions[run] = of_atom(Var(place))
    first = expander.widen(expander.materialise(positions[0]), lanes)
    positions[0] = of_atom(Var(expander.emit("add", first, moved)))
    return positions


def _at_least(expander: Expander, values: Value, bound: int, lanes: int) -> Value:
    """1 in the lanes with values >= bound, else 0."""
    one, zero, limit = (expander.widen(expander.integer(n), lanes) for n in (1, 0, bound))
    return expander.emit("where", expander.emit("ge", values, limit), one, zero)


def always_together(axes: Axes, lanes: int, aligned: int) -> bool:
    """Whether every vector that starts at a multiple of `aligned` lies within the innermost run."""
    return len(axes.runs) <= 1 or (_divides(lanes, axes.sizes[-1]) and aligned % lanes == 0)


def _all_inside(
    expander: Expander, axes: Axes, starts: Sequence[Dim], total: Dim, lanes: int, together: bool
) -> Value:
    """Whether no lane is past the end, and each vector lies within the innermost run."""
    condition = compare(expander, "le", starts[-1] + lanes, total)
    if together:
        return condition
    for start in starts:
        end = axes.split(start)[-1] + lanes
        within = compare(expander, "le", end, axes.sizes[-1])
        condition = expander.emit("bit_and", condition, within)
    return condition


def _mask(expander: Expander, start: Dim, total: Dim, lanes: int) -> Value:
    return expander.emit(
        "mask", expander.materialise(start), expander.materialise(total), lanes=lanes
    )


def _divides(a: int, b: Dim) -> bool:
    return b % a == 0


def walk(
    expander: Expander,
    axes: Axes,
    lo: Dim,
    count: Dim,
    body: Callable[[list[Dim], Dim], None],
) -> None:
    """`body(positions of the runs, turn)` for the flat indices lo, lo + 1, ... of `count` turns.

    Several runs are counted as on an odometer: nothing is divided inside the loop.
    """
    if len(axes.runs) <= 1:
        loop_over(expander, count, lambda turn: body(axes.split(lo + turn), turn))
        return

    def step(variable: Value, carried: list[Value]) -> Sequence[Value]:
        body([of_atom(Var(v)) for v in carried], of_atom(Var(variable)))
        return _advance(expander, carried, axes.sizes)

    first = [expander.materialise(p) for p in axes.split(lo)]
    expander.loop(0, count, 1, first, step)


def walk_by_two(
    expander: Expander,
    axes: Axes,
    lo: Dim,
    count: Dim,
    body: Callable[[list[Dim], list[Dim] | None, Dim], None],
) -> None:
    """The same two turns at a time: `body(positions, the next ones, number of the pair)`; the last
    of an odd number has None as next."""
    if len(axes.runs) <= 1:

        def pair(turn: Dim) -> None:
            body(axes.split(lo + turn * 2), axes.split(lo + turn * 2 + 1), turn)

        loop_over(expander, count // 2, pair)
    else:

        def step(variable: Value, carried: list[Value]) -> Sequence[Value]:
            after = _advance(expander, carried, axes.sizes)
            first: list[Dim] = [of_atom(Var(v)) for v in carried]
            second: list[Dim] = [of_atom(Var(v)) for v in after]
            body(first, second, of_atom(Var(variable)))
            return _advance(expander, after, axes.sizes)

        begin = [expander.materialise(p) for p in axes.split(lo)]
        expander.loop(0, count // 2, 1, begin, step)
    if count % 2 != 0:
        at = [fixed(expander, p) for p in axes.split(fixed(expander, lo + (count - 1)))]
        loop_over(expander, count % 2, lambda _: body(at, None, count // 2))


def _advance(expander: Expander, counters: Sequence[Value], sizes: Sequence[Dim]) -> list[Value]:
    """The counters one point further, the last one fastest."""
    found: list[Value] = []
    one, zero = expander.integer(1), expander.integer(0)
    carry = one
    for position in reversed(range(len(counters))):
        moved = expander.emit("add", counters[position], carry)
        if position:
            over = expander.emit("eq", moved, expander.materialise(sizes[position]))
            carry = expander.emit("where", over, one, zero)
            moved = expander.emit("where", over, zero, moved)
        found.insert(0, moved)
    return found


def depends_on(region: Region, variables: Sequence[Value]) -> bool:
    """Whether the region reads any of its parameters `variables`."""
    wanted = set(variables)
    return any(o in wanted for node in region.walk() for o in node.operands) or any(
        v in wanted for v in region.yields
    )
