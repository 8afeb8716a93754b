"""`contract` whose rhs reads windows: the image is copied once, with its margin, and the products
find their vectors at fixed distances in the copy.

A task computes `mc` rows for a block of places. The copy of the image holds, for each point of the
axes of k that do not slide (the *channels*) and each residue by the strides (the *phase*), the
places one after the other, line by line. Neighbouring places are neighbours there for every tap,
also from one line to the next: so the lanes run over the block as over one line. What they compute
between the end of a line and the begin of the next is not used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.dtypes import i64
from ....ir.graph import Node, Value
from ....ir.literal import Literal
from ....ir.schedule import WindowSchedule
from .blocks import ceil_div, depends_on, fixed, when
from .loops import Carried, vector_loop
from .microkernel import Reader, multiply_add
from .packing import Operand, Panel, pack
from .product import axes_of
from .scope import Expander, Scope
from .window_image import Image, each, known

UNROLLED = 12  # taps that are written out
IMAGE, ROWS = 0, 1  # what `packed` tells


def expand_windows(expander: Expander, scope: Scope, node: Node, schedule: WindowSchedule) -> None:
    """The loops of a `contract` by windows, the outermost one over tasks."""
    if product(node.attrs["batch"]) != 0:
        _Tasks(expander, node, schedule).run(scope)


class _Tasks:
    def __init__(self, expander: Expander, node: Node, schedule: WindowSchedule) -> None:
        self.expander = expander
        self.schedule = schedule
        lhs, rhs, out = node.regions
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        self.node, self.batch_size = node, product(batch)
        self.acc = node.attrs["acc"]
        self.lanes = schedule.lanes
        self.slides = schedule.slides
        self.total, self.depth = known(product(m)), known(product(k))
        over_batch, over_m, over_k = axes_of(lhs, batch, m, k)
        self.rows = Operand(
            lhs, over_batch, over_m, over_k, self.total, self.depth, self.acc, self.lanes, "rows"
        )
        self.out = out
        self.out_batch, self.out_rows, _ = axes_of(out, batch, m, n)
        self.rhs_batch = axes_of(rhs, batch, k, n)[0]
        self.n_axes = out.params[len(batch) + len(m) : -1]
        self.blocks_n = -(-self.slides[0].points // schedule.block)
        self.blocks_m = -(-self.total // schedule.mc)
        self.image = Image(expander, node, self.slides, schedule.block, 2 * schedule.nr)
        self.width = self._flat(schedule.block)
        self.width = -(-self.width // schedule.nr) * schedule.nr
        self.deep = -(-self.depth // self.lanes) * self.lanes
        panels = -(-min(schedule.mc, self.total) // schedule.mr)
        self.row_panels: Value | None = None
        if not schedule.direct:
            self.row_panels = expander.alloc((panels * schedule.mr * self.deep,), self.acc)
        self.sums = expander.alloc((schedule.mr * self.width,), self.acc)
        self.packed = expander.alloc((2,), i64)

    def _flat(self, points: Dim) -> Dim:
        """Lanes from the first of so many points to the last."""
        flat = points - 1
        for slide in self.slides[1:]:
            flat = flat * slide.reach + (slide.points - 1)
        return flat + 1

    def run(self, scope: Scope) -> None:
        """The loop over tasks: rows fastest, so that a copied image stays for the next one."""
        expander = self.expander
        for slot in (IMAGE, ROWS):
            expander.access("store", (self.packed, expander.integer(-1)), slot)
        self.image.clear()
        total = self.batch_size * self.blocks_n * self.blocks_m

        def turn(variable: Value, _: list[Value]) -> Sequence[Value]:
            number = of_atom(Var(variable, total))
            rest = fixed(expander, number // self.blocks_m)
            batch = fixed(expander, rest // self.blocks_n)
            m = fixed(expander, number - rest * self.blocks_m)
            block = fixed(expander, rest - batch * self.blocks_n)
            self._task(scope.inner(), batch, m, block)
            return ()

        expander.loop(0, total, 1, (), turn, parallel=True)

    def _task(self, scope: Scope, batch: Dim, m: Dim, block: Dim) -> None:
        expander, schedule = self.expander, self.schedule
        for axes in (self.rows.batch, self.rhs_batch, self.out_batch):
            axes.bind(scope, [fixed(expander, p) for p in axes.split(batch)])
        start = fixed(expander, block * schedule.block)
        points: Dim = schedule.block
        if self.slides[0].points % schedule.block:
            points = fixed(expander, minimum(points, self.slides[0].points - start))
        m0 = fixed(expander, m * schedule.mc)
        panels: Dim = -(-self.total // schedule.mr)
        if self.blocks_m > 1:
            left = ceil_div(self.total - m0, schedule.mr)
            panels = fixed(expander, minimum(schedule.mc // schedule.mr, left))
        by_batch = depends_on(self.image.region, self.image.batch)
        stale = self._stale(IMAGE, (batch if by_batch else 0) * self.blocks_n + block)
        with when(expander, stale):
            self.image.fill(scope, start, points)
        if self.row_panels is not None:
            by_batch = depends_on(self.rows.region, self.rows.batch.variables)
            stale = self._stale(ROWS, (batch if by_batch else 0) * self.blocks_m + m)
            with when(expander, stale):
                each(expander, panels, lambda i: self._pack_rows(scope.inner(), m0, i))
        each(expander, panels, lambda i: self._panel(scope.inner(), m0, i, start, points))

    def _pack_rows(self, scope: Scope, m0: Dim, i: Dim) -> None:
        height = self.schedule.mr
        assert self.row_panels is not None
        panel = Panel(
            self.row_panels, i * (height * self.deep), height, m0 + i * height, height, 0,
            self.depth, height, self.deep, self.total % height == 0,
        )  # fmt: skip
        pack(self.expander, scope, self.rows, panel)

    def _stale(self, slot: int, key: Dim) -> Value:
        """Whether something else than `key` is packed; from now on that is."""
        expander = self.expander
        wanted = expander.materialise(key)
        stale = expander.emit("ne", expander.access("load", (self.packed,), slot), wanted)
        expander.access("store", (self.packed, wanted), slot)
        return stale

    # ------------------------------------------------------------------ products

    def _panel(self, scope: Scope, m0: Dim, i: Dim, start: Dim, points: Dim) -> None:
        """The results of one panel of rows."""
        schedule, expander = self.schedule, self.expander
        first = fixed(expander, m0 + i * schedule.mr)
        rows: Dim = schedule.mr
        if self.total % schedule.mr:
            rows = fixed(expander, minimum(rows, self.total - first))
        tiles = fixed(expander, ceil_div(self._flat(points), schedule.nr))
        before: Dim = 0  # rows of the tile that another one has computed
        if self.row_panels is None:
            begin = fixed(expander, minimum(first, self.total - schedule.mr))
            before = first - begin
            read = self.rows.rows(expander, scope, begin, schedule.mr, 0)
        else:
            read = self._rows_of_panel(fixed(expander, i * (schedule.mr * self.deep)))
        each(expander, tiles, lambda j: self._tile(read, fixed(expander, j * schedule.nr)))

        def finish(r: Dim) -> None:
            where = fixed(expander, (before + r) * self.width)
            self._finish(scope.inner(), first + r, where, start, points)

        each(expander, rows, finish)

    def _rows_of_panel(self, base: Dim) -> Reader:
        def read(k: Dim) -> Iterator[Value]:
            assert self.row_panels is not None
            for r in range(self.schedule.mr):
                yield self.expander.access("load", (self.row_panels,), base + k + r * self.deep)

        return read

    def _tile(self, rows: Reader, column: Dim) -> None:
        """The sums of one register tile."""
        expander, schedule = self.expander, self.schedule
        vectors = range(0, schedule.nr, self.lanes)
        zero = expander.emit("constant", value=Literal(np.zeros((), self.acc.numpy)))
        sums = [expander.widen(zero, self.lanes)] * (schedule.mr * len(vectors))
        sums = self._terms(rows, column, vectors, sums)
        for position, value in enumerate(sums):
            row, v = divmod(position, len(vectors))
            where = column + (row * self.width + v * self.lanes)
            expander.access("store", (self.sums, value), where, lanes=self.lanes)

    def _terms(
        self, rows: Reader, column: Dim, vectors: Iterable[int], sums: list[Value]
    ) -> list[Value]:
        """`sums` and all terms: a loop over the channels, in it one over the taps of a slide where
        these are too many to be written out."""
        image, expander = self.image, self.expander
        taps = [range(slide.taps) for slide in self.slides]
        counted = next(a for a, slide in enumerate(self.slides) if slide.taps > 1)
        lines = 1
        if math.prod(slide.taps for slide in self.slides) > UNROLLED:
            lines, taps[counted] = self.slides[counted].taps, range(1)
        written = list(itertools.product(*taps))

        def channel(c: Dim, sums: list[Value]) -> list[Value]:
            def line(t: Dim, sums: list[Value]) -> list[Value]:
                first = (c * lines + t) * len(written)
                plane = column + c * image.plane + image.distance(counted, t)
                plane = fixed(expander, plane)
                for number, tap in enumerate(written):
                    place = plane + image.place(tap)
                    sums = self._term(rows, first + number, place, vectors, sums)
                return sums

            return _carry(expander, lines, sums, line)

        return _carry(expander, known(image.channels), sums, channel)

    def _term(
        self, rows: Reader, k: Dim, place: Dim, vectors: Iterable[int], sums: list[Value]
    ) -> list[Value]:
        expander = self.expander
        columns = [
            expander.access("load", (self.image.buffer,), place + v, lanes=self.lanes)
            for v in vectors
        ]
        found: list[Value] = []
        for value in rows(k):
            wide = expander.widen(value, self.lanes)
            for column in columns:
                found.append(multiply_add(expander, wide, column, sums[len(found)]))
        return found

    # ------------------------------------------------------------------ results

    def _finish(self, scope: Scope, row: Dim, where: Dim, start: Dim, points: Dim) -> None:
        """Runs the `out` region over one row, whose sums are at `where`."""
        positions = [fixed(self.expander, p) for p in self.out_rows.split(row)]
        self.out_rows.bind(scope, positions)
        for variable in self.n_axes:
            scope.exprs[variable] = 0
        self._line(scope, 0, where, start, points)

    def _line(self, scope: Scope, axis: int, where: Dim, start: Dim, points: Dim) -> None:
        expander, slide = self.expander, self.slides[axis]
        count: Dim = slide.points if axis else points
        begin: Dim = 0 if axis else start
        variable = self.n_axes[slide.axis]
        if axis + 1 < len(self.slides):

            def line(at: Dim) -> None:
                inner = scope.inner()
                inner.exprs[variable] = begin + at
                place = fixed(expander, where + at * self.image.pitches[axis])
                self._line(inner, axis + 1, place, start, points)

            each(expander, count, line)
            return

        def vector(inner: Scope, at: Dim, _: Carried) -> Sequence[Value]:
            inner.exprs[variable] = begin + at
            acc = expander.read(self.sums, where + at, inner)
            inner.values[self.out.params[-1]] = acc
            expander.run_nodes(self.out, inner)
            return ()

        lanes = self.lanes, self.lanes if expander.target.masks else 1
        vector_loop(expander, scope.inner(), count, lanes, 0, count, vector)


def _carry(
    expander: Expander, count: int, carried: list[Value],
    body: Callable[[Dim, list[Value]], list[Value]],
) -> list[Value]:  # fmt: skip
    """What body(0), body(1), ... carry on; no loop for one turn."""
    if count == 1:
        return body(0, carried)

    def turn(variable: Value, inside: list[Value]) -> list[Value]:
        return body(of_atom(Var(variable, count)), inside)

    return expander.loop(0, count, 1, carried, turn, unroll=1)
