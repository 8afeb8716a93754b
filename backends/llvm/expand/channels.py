"""`contract` whose rhs reads windows, where the rows run over the lanes: channels of the result of
a convolution.

The image is copied as in `windows.py`, and read element by element. Rows are packed into panels,
term by term. So no lane computes what lies between the ends of lines. The sums of a panel, which
are place by place, are turned in squares, so that places run over the lanes of the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ....ir.dims import Dim, minimum
from ....ir.graph import Node, Value
from ....ir.literal import Literal
from ....ir.schedule import WindowSchedule
from .blocks import ceil_div, fixed, lane_places, loop_over
from .microkernel import multiply_add
from .packing import Panel, pack, transpose
from .scope import Expander, Scope
from .window_image import each, known
from .window_tasks import UNROLLED, WindowTasks, carry

Term = Callable[[Dim, Dim, list[Value]], list[Value]]  # (number, place in the image, sums)


class Channels(WindowTasks):
    """Rows run over the lanes."""

    def __init__(self, expander: Expander, node: Node, schedule: WindowSchedule) -> None:
        super().__init__(expander, node, schedule, schedule.nr, schedule.rows)
        lanes = self.lanes
        self.inner = math.prod(slide.points for slide in self.slides[1:])
        # The last tile of a line may be longer than the line.
        places = schedule.block * self.inner + schedule.mr
        places = -(-places // lanes) * lanes
        self.sums = expander.alloc((places * schedule.nr,), self.acc)
        self.square = expander.alloc((lanes * lanes,), self.acc)

    def pack_rows(self, scope: Scope, m0: Dim, i: Dim) -> None:
        assert self.row_panels is not None
        width = self.height
        panel = Panel(
            self.row_panels, i * (width * self.deep), width, m0 + i * width, width, 0, self.depth,
            width, self.deep, self.total % width == 0,
        )  # fmt: skip
        pack(self.expander, scope, self.rows, panel)

    # ------------------------------------------------------------------ products

    def panel(self, scope: Scope, m0: Dim, i: Dim, start: Dim, points: Dim) -> None:
        expander, width = self.expander, self.height
        first = fixed(expander, m0 + i * width)
        base = fixed(expander, i * (width * self.deep))
        self._lines(0, 0, 0, points, base)
        left = fixed(expander, minimum(width, self.total - first))
        self._finish(scope, first, left, start, points)

    def _lines(self, axis: int, place: Dim, number: Dim, points: Dim, base: Dim) -> None:
        """The sums of all points from the slide number `axis` on; the first one lies at `place` of
        the image and is the point `number` of the block."""
        expander, slide = self.expander, self.slides[axis]
        count: Dim = slide.points if axis else points
        if axis + 1 < len(self.slides):
            inner = math.prod(other.points for other in self.slides[axis + 1 :])

            def line(at: Dim) -> None:
                deeper = fixed(expander, place + at * self.image.pitches[axis])
                self._lines(axis + 1, deeper, fixed(expander, number + at * inner), points, base)

            each(expander, count, line)
            return
        size = self.schedule.mr

        def tile(g: Dim) -> None:
            at = fixed(expander, g * size)
            self._tile(fixed(expander, place + at), fixed(expander, number + at), base)

        each(expander, fixed(expander, ceil_div(count, size)), tile)

    def _tile(self, place: Dim, number: Dim, base: Dim) -> None:
        """The sums of one register tile. What lies behind the end of a line is overwritten by the
        next one."""
        expander, width, lanes = self.expander, self.height, self.lanes
        vectors = range(0, width, lanes)
        panels = self.row_panels
        assert panels is not None
        zero = expander.emit("constant", value=Literal(np.zeros((), self.acc.numpy)))
        sums = [expander.widen(zero, lanes)] * (self.schedule.mr * len(vectors))

        def term(k: Dim, at: Dim, sums: list[Value]) -> list[Value]:
            start = base + k * width
            weights = [expander.access("load", (panels,), start + v, lanes=lanes) for v in vectors]
            found: list[Value] = []
            for point in range(self.schedule.mr):
                element = expander.access("load", (self.image.buffer,), at + point)
                wide = expander.widen(element, lanes)
                for weight in weights:
                    found.append(multiply_add(expander, wide, weight, sums[len(found)]))
            return found

        for position, value in enumerate(self._terms(place, sums, term)):
            point, v = divmod(position, len(vectors))
            where = (number + point) * width + v * lanes
            expander.access("store", (self.sums, value), where, lanes=lanes)

    def _terms(self, place: Dim, sums: list[Value], term: Term) -> list[Value]:
        """What `term` makes of `sums` for all terms of the points whose first one lies at `place`.
        The taps of the last slide that has any are turns of a loop: written out, neighbouring
        points would read the same elements, which were then kept in too many registers."""
        image = self.image
        tapped = [axis for axis, slide in enumerate(self.slides) if slide.taps > 1]
        depth = math.prod(slide.taps for slide in self.slides)
        outer = depth // self.slides[tapped[-1]].taps

        def taps(axes: Sequence[int], k: Dim, at: Dim, sums: list[Value]) -> list[Value]:
            if not axes:
                return term(k, fixed(self.expander, at), sums)
            axis, *others = axes
            count = self.slides[axis].taps
            step = math.prod(self.slides[other].taps for other in others)

            def turn(t: Dim, sums: list[Value]) -> list[Value]:
                return taps(others, k + t * step, at + image.distance(axis, t), sums)

            if not others or outer > UNROLLED:
                return carry(self.expander, count, sums, turn)
            for t in range(count):
                sums = turn(t, sums)
            return sums

        def channel(c: Dim, sums: list[Value]) -> list[Value]:
            return taps(tapped, c * depth, place + c * image.plane, sums)

        return carry(self.expander, known(image.channels), sums, channel)

    # ------------------------------------------------------------------ results

    def _finish(self, scope: Scope, first: Dim, left: Dim, start: Dim, points: Dim) -> None:
        """Runs the `out` region over `left` rows: squares of the sums are turned."""
        expander, lanes, width = self.expander, self.lanes, self.height
        begin = fixed(expander, start * self.inner)
        count = fixed(expander, points * self.inner)
        aligned = lanes if self.blocks_n == 1 else math.gcd(lanes, self.schedule.block * self.inner)

        def square(row: Dim, n: Dim) -> None:
            at = fixed(expander, n * lanes)
            base = fixed(expander, at * width + row)
            found = [
                expander.access("load", (self.sums,), base + c * width, lanes=lanes)
                for c in range(lanes)
            ]
            for r, value in enumerate(transpose(expander, found)):
                expander.access("store", (self.square, value), r * lanes, lanes=lanes)
            starts = [fixed(expander, begin + at)]
            for ((places, vector),) in lane_places(
                expander, self.out_columns, starts, begin + count, lanes, aligned
            ):

                def result(r: Dim, places: list[Dim] = places, vector=vector) -> None:
                    positions = self.out_rows.split(first + row + r)
                    inner = scope.inner(vector)
                    self.out_rows.bind(inner, [fixed(expander, p) for p in positions])
                    self.out_columns.bind(inner, places)
                    sums = expander.access("load", (self.square,), r * lanes, lanes=lanes)
                    inner.values[self.out.params[-1]] = sums
                    expander.run_nodes(self.out, inner)

                loop_over(expander, fixed(expander, minimum(lanes, left - row)), result)

        def rows(i: Dim) -> None:
            row = fixed(expander, i * lanes)
            loop_over(expander, fixed(expander, ceil_div(count, lanes)), lambda n: square(row, n))

        loop_over(expander, fixed(expander, ceil_div(left, lanes)), rows)
