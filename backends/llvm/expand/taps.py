"""`contract` that sums over the places of windows and whose columns are their taps, such as the
gradient of a convolution's weights.

The image is copied once, with its margin, as where windows are columns (`window_image.py`); here it
is the place that runs in the innermost loop. So what a tap of a channel needs lies at a fixed
distance from what the others need, and is read element by element. The rows of lhs run over the
lanes: they are packed into panels, place by place, and serve all taps. A task has a block of these
rows, and all columns; block after block of places is copied, packed and added to the sums, which
stay in scratch until the last one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.graph import Node, Value
from ....ir.literal import Literal
from ....ir.schedule import TapSchedule
from .blocks import Axes, ceil_div, fixed, lane_places, loop_over
from .loops import Carried, vector_loop
from .microkernel import multiply_add
from .packing import Operand, Panel, pack, transpose
from .product import axes_of
from .scope import Expander, Scope
from .window_image import Image, each, known

WRITTEN_OUT = 4  # points of the last slide that need no loop


def expand_taps(expander: Expander, scope: Scope, node: Node, schedule: TapSchedule) -> None:
    """The loops of a `contract` over places, the outermost one over tasks."""
    if product(node.attrs["batch"]) != 0:
        _Tasks(expander, node, schedule).run(scope)


@dataclass(frozen=True, slots=True)
class _Block:
    """Places that are copied at once: `points` of the first slide from `start` on, whose first
    term is number `k0`; a panel has `count` of them."""

    start: Dim
    points: Dim
    k0: Dim
    count: Dim


@dataclass(frozen=True, slots=True)
class _Rows:
    """A panel of rows: its number, where it begins, and for how many points of the first slide."""

    number: Dim
    base: Dim
    points: Dim


class _Tasks:
    def __init__(self, expander: Expander, node: Node, schedule: TapSchedule) -> None:
        self.expander = expander
        self.schedule = schedule
        self.lanes, self.slides = schedule.lanes, schedule.slides
        lhs, rhs, out = node.regions
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        self.acc = node.attrs["acc"]
        self.batch_size, self.total, self.columns = product(batch), known(product(m)), product(n)
        over_batch, over_m, over_k = axes_of(lhs, batch, m, k)
        self.rows = Operand(
            lhs, over_batch, over_m, over_k, self.total, product(k), self.acc, self.lanes,
            schedule.form,
        )  # fmt: skip
        self.out = out
        self.out_batch, self.out_rows, self.out_columns = axes_of(out, batch, m, n)
        self.rhs_batch, rhs_k, _ = axes_of(rhs, batch, k, n)
        first = self.slides[0].axis
        self.outer = Axes(rhs_k.variables[:first], k[:first], tuple((a,) for a in range(first)))
        self.places = math.prod(slide.points for slide in self.slides[1:])
        self.blocks = -(-self.slides[0].points // schedule.block)
        self.taps = math.prod(slide.taps for slide in self.slides)
        self.channels = known(self.columns) // self.taps
        self.image = Image(expander, node, self.slides, schedule.block, 0, summed=True)
        deep = -(-schedule.block * self.places // self.lanes) * self.lanes
        self.depth = deep
        self.panels = expander.alloc((schedule.mc * deep,), self.acc)
        height = -(-known(self.columns) // self.lanes) * self.lanes
        self.sums = expander.alloc((height * schedule.mc,), self.acc)
        self.square = expander.alloc((self.lanes * self.lanes,), self.acc)

    def run(self, scope: Scope) -> None:
        expander, blocks_m = self.expander, -(-self.total // self.schedule.mc)
        self.image.clear()
        total = self.batch_size * blocks_m

        def turn(variable: Value, _: list[Value]) -> Sequence[Value]:
            number = of_atom(Var(variable, total))
            batch = fixed(expander, number // blocks_m)
            m = fixed(expander, number - batch * blocks_m)
            self._task(scope.inner(), batch, fixed(expander, m * self.schedule.mc))
            return ()

        expander.loop(0, total, 1, (), turn, parallel=True)

    def _task(self, scope: Scope, batch: Dim, m0: Dim) -> None:
        expander, schedule = self.expander, self.schedule
        for axes in (self.rows.batch, self.rhs_batch, self.out_batch):
            axes.bind(scope, [fixed(expander, p) for p in axes.split(batch)])
        left = fixed(expander, minimum(schedule.mc, self.total - m0))
        panels = fixed(expander, ceil_div(left, schedule.nr))
        self._clear(scope)

        def turn(number: Dim) -> None:
            inner = scope.inner()
            outside: Dim = number
            block: Dim = 0
            if self.blocks > 1:
                outside = fixed(expander, number // self.blocks)
                block = fixed(expander, number - outside * self.blocks)
            positions = [fixed(expander, p) for p in self.outer.split(outside)]
            self.outer.bind(inner, positions)
            self._add(inner, self._block(outside, block), m0, panels)

        each(expander, known(product(self.outer.extents)) * self.blocks, turn)
        self._finish(scope, m0, left)

    def _block(self, outside: Dim, block: Dim) -> _Block:
        schedule, expander, extent = self.schedule, self.expander, self.slides[0].points
        start = fixed(expander, block * schedule.block)
        points: Dim = schedule.block
        if extent % schedule.block:
            points = fixed(expander, minimum(points, extent - start))
        k0 = fixed(expander, (outside * extent + start) * self.places)
        return _Block(start, points, k0, fixed(expander, points * self.places))

    def _clear(self, scope: Scope) -> None:
        """The sums before the first block."""
        expander = self.expander
        zero = expander.emit("constant", value=Literal(np.zeros((), self.acc.numpy)))
        size = known(self.columns) * self.schedule.mc

        def vector(inner: Scope, at: Dim, _: Carried) -> Sequence[Value]:
            expander.write(self.sums, at, zero, inner)
            return ()

        vector_loop(expander, scope.inner(), size, (self.lanes, self.lanes), 0, size, vector)

    # ------------------------------------------------------------------ sums

    def _add(self, scope: Scope, block: _Block, m0: Dim, panels: Dim) -> None:
        """Adds a block of places to the sums of `panels` panels of rows."""
        expander, schedule, width = self.expander, self.schedule, self.schedule.nr
        self.image.fill(scope, block.start, block.points)

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
        size = -(-self.taps // self.schedule.parts)
        for begin in range(0, self.taps, size):
            taps = range(begin, min(begin + size, self.taps))
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
        apart = [c * self.image.plane + self._distance(t) for c, t in columns]
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

    def _distance(self, tap: int) -> int:
        """How far the tap of this number finds its places from those of the first one."""
        taps: list[int] = []
        for slide in reversed(self.slides):
            tap, digit = divmod(tap, slide.taps)
            taps.insert(0, digit)
        return known(self.image.place(taps))

    # ------------------------------------------------------------------ results

    def _finish(self, scope: Scope, m0: Dim, left: Dim) -> None:
        """Runs the `out` region over `left` rows: squares of the sums, turned so that columns run
        over the lanes."""
        expander, lanes, mc = self.expander, self.lanes, self.schedule.mc
        total = known(self.columns)

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
