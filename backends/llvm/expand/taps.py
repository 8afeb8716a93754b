"""`contract` that sums over the places of windows and whose columns are their taps, such as the
gradient of a convolution's weights.

The image is copied once, with its margin, as where windows are columns (`window_image.py`); here it
is the place that runs in the innermost loop. So what a tap of a channel needs lies at a fixed
distance from what the others need, and is read element by element. The rows of lhs run over the
lanes: they are packed into panels, place by place, and serve all taps. Fewer rows than lanes are
read where they lie, and places run over the lanes (`tap_folds.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.graph import Node, Value
from ....ir.schedule import TapSchedule
from .blocks import ceil_div, fixed, lane_places, loop_over
from .microkernel import multiply_add
from .packing import Panel, pack, transpose
from .scope import Expander, Scope
from .tap_folds import Folds
from .tap_tasks import Block, TapTasks
from .window_image import each, known

WRITTEN_OUT = 4  # points of the last slide that need no loop


def expand_taps(expander: Expander, scope: Scope, node: Node, schedule: TapSchedule) -> None:
    """The loops of a `contract` over places, the outermost one over tasks."""
    if product(node.attrs["batch"]) == 0:
        return
    tasks: TapTasks
    if schedule.form == "places":
        tasks = Folds(expander, node, schedule)
    else:
        tasks = _Tiles(expander, node, schedule)
    tasks.run(scope)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A panel of rows: its number, where it begins, and for how many points of the first slide."""

    number: Dim
    base: Dim
    points: Dim


class _Tiles(TapTasks):
    """Rows run over the lanes; the image is read element by element."""

    def __init__(self, expander: Expander, node: Node, schedule: TapSchedule) -> None:
        lanes = schedule.lanes
        height = -(-known(product(node.attrs["n"])) // lanes) * lanes
        super().__init__(expander, node, schedule, height * schedule.mc)
        self.depth = -(-schedule.block * self.places // lanes) * lanes
        self.panels = expander.alloc((schedule.mc * self.depth,), self.acc)
        self.square = expander.alloc((lanes * lanes,), self.acc)

    # ------------------------------------------------------------------ sums

    def add(self, scope: Scope, block: Block, m0: Dim, left: Dim) -> None:
        expander, schedule, width = self.expander, self.schedule, self.schedule.nr
        panels = fixed(expander, ceil_div(left, width))

        def copy(j: Dim) -> None:
            panel = Panel(
                self.panels, j * (width * self.depth), width, m0 + j * width, width, block.k0,
                block.count, width, self.depth, self.total % width == 0,
            )  # fmt: skip
            pack(expander, scope.inner(), self.rows, panel)

        each(expander, panels, copy)

        def tiles(j: Dim) -> None:
            panel = _Rows(j, fixed(expander, j * (width * self.depth)), block.points)
            whole = self.channels // schedule.mr
            each(expander, whole, lambda c: self._channels(c * schedule.mr, schedule.mr, panel))
            if self.channels % schedule.mr:
                self._channels(whole * schedule.mr, self.channels % schedule.mr, panel)

        each(expander, panels, tiles)

    def _channels(self, first: Dim, count: int, panel: _Rows) -> None:
        """All taps of so many channels, for one panel."""
        first = fixed(self.expander, first)
        for taps in self.parts():
            self._tile([(c, t) for c in range(count) for t in taps], first, panel)

    def _tile(self, columns: Sequence[tuple[int, int]], first: Dim, panel: _Rows) -> None:
        """The sums of (channel, tap)s, counted from channel `first` on, for one panel."""
        expander, schedule = self.expander, self.schedule
        vectors = range(0, schedule.nr, self.lanes)
        plane = fixed(expander, first * self.image.plane)
        where = first * (self.taps * schedule.mc) + panel.number * schedule.nr
        where = fixed(expander, where)
        found = [
            where + ((c * self.taps + t) * schedule.mc + v) for c, t in columns for v in vectors
        ]
        apart = [c * self.image.plane + self.distance(t) for c, t in columns]
        sums = [expander.access("load", (self.sums,), place, lanes=self.lanes) for place in found]
        sums = self._points(0, plane, 0, sums, apart, panel)
        for place, value in zip(found, sums, strict=True):
            expander.access("store", (self.sums, value), place, lanes=self.lanes)

    def _points(
        self, axis: int, place: Dim, k: Dim, sums: list[Value], apart: Sequence[Dim], panel: _Rows
    ) -> list[Value]:
        """`sums` and the terms of all points from the slide number `axis` on, of which the first
        lies at `place` of the image and is number `k` of the panel."""
        expander = self.expander
        count: Dim = self.slides[axis].points if axis else panel.points
        is_last = axis + 1 == len(self.slides)
        if is_last and isinstance(count, int) and count <= WRITTEN_OUT:
            for at in range(count):
                sums = self._term(place + at, k + at, sums, apart, panel)
            return sums

        def turn(variable: Value, inside: list[Value]) -> list[Value]:
            at = of_atom(Var(variable))
            if is_last:
                return self._term(place + at, k + at, inside, apart, panel)
            deeper = fixed(expander, place + at * self.image.pitches[axis])
            after = fixed(expander, (k + at) * self.slides[axis + 1].points)
            return self._points(axis + 1, deeper, after, inside, apart, panel)

        return expander.loop(0, count, 1, sums, turn, unroll=1)

    def _term(
        self, place: Dim, k: Dim, sums: Sequence[Value], apart: Sequence[Dim], panel: _Rows
    ) -> list[Value]:
        expander, width = self.expander, self.schedule.nr
        start = panel.base + k * width
        vectors = [
            expander.access("load", (self.panels,), start + v, lanes=self.lanes)
            for v in range(0, width, self.lanes)
        ]
        found: list[Value] = []
        for distance in apart:
            element = expander.access("load", (self.image.buffer,), place + distance)
            wide = expander.widen(element, self.lanes)
            for vector in vectors:
                found.append(multiply_add(expander, wide, vector, sums[len(found)]))
        return found

    # ------------------------------------------------------------------ results

    def finish(self, scope: Scope, m0: Dim, left: Dim) -> None:
        """Squares of the sums are turned, so that columns run over the lanes."""
        expander, lanes, mc = self.expander, self.lanes, self.schedule.mc
        total = self.columns

        def square(i: Dim, n: Dim) -> None:
            start, row = fixed(expander, n * lanes), fixed(expander, i * lanes)
            base = fixed(expander, start * mc + row)
            found = [
                expander.access("load", (self.sums,), base + c * mc, lanes=lanes)
                for c in range(lanes)
            ]
            for r, value in enumerate(transpose(expander, found)):
                expander.access("store", (self.square, value), r * lanes, lanes=lanes)
            for ((columns, vector),) in lane_places(
                expander, self.out_columns, [start], total, lanes, lanes
            ):

                def result(r: Dim, columns: list[Dim] = columns, vector=vector) -> None:
                    positions = self.out_rows.split(m0 + row + r)
                    inner = scope.inner(vector)
                    self.out_rows.bind(inner, [fixed(expander, p) for p in positions])
                    self.out_columns.bind(inner, columns)
                    sums = expander.access("load", (self.square,), r * lanes, lanes=lanes)
                    inner.values[self.out.params[-1]] = sums
                    expander.run_nodes(self.out, inner)

                loop_over(expander, fixed(expander, minimum(lanes, left - row)), result)

        def rows(i: Dim) -> None:
            each(expander, -(-total // lanes), lambda n: square(i, n))

        loop_over(expander, fixed(expander, ceil_div(left, lanes)), rows)
