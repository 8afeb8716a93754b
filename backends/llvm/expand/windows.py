"""`contract` whose rhs reads windows: the image is copied once, with its margin, and the products
find their vectors at fixed distances in the copy.

A task computes `mc` rows for a block of places. The copy of the image holds, for each point of the
axes of k that do not slide (the *channels*) and each residue by the strides (the *phase*), the
places one after the other, line by line. Neighbouring places are neighbours there for every tap,
also from one line to the next: so the lanes run over the block as over one line. What they compute
between the end of a line and the begin of the next is not used. Where that is much, rows run over
the lanes instead (`channels.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ....ir.dims import Dim, minimum, product
from ....ir.graph import Node, Value
from ....ir.literal import Literal
from ....ir.schedule import WindowSchedule
from .blocks import ceil_div, fixed
from .channels import Channels
from .loops import Carried, vector_loop
from .microkernel import Reader, multiply_add
from .packing import Panel, pack
from .scope import Expander, Scope
from .window_image import each
from .window_tasks import WindowTasks


def expand_windows(expander: Expander, scope: Scope, node: Node, schedule: WindowSchedule) -> None:
    """The loops of a `contract` by windows, the outermost one over tasks."""
    if product(node.attrs["batch"]) == 0:
        return
    tasks: WindowTasks
    if schedule.form == "channels":
        tasks = Channels(expander, node, schedule)
    else:
        tasks = _Places(expander, node, schedule)
    tasks.run(scope)


class _Places(WindowTasks):
    """Places run over the lanes; rows are read element by element."""

    def __init__(self, expander: Expander, node: Node, schedule: WindowSchedule) -> None:
        super().__init__(expander, node, schedule, schedule.mr, "rows")
        self.width = self._flat(schedule.block)
        self.width = -(-self.width // schedule.nr) * schedule.nr
        self.sums = expander.alloc((schedule.mr * self.width,), self.acc)

    def _flat(self, points: Dim) -> Dim:
        """Lanes from the first of so many points to the last."""
        flat = points - 1
        for slide in self.slides[1:]:
            flat = flat * slide.reach + (slide.points - 1)
        return flat + 1

    def pack_rows(self, scope: Scope, m0: Dim, i: Dim) -> None:
        height = self.schedule.mr
        assert self.row_panels is not None
        panel = Panel(
            self.row_panels, i * (height * self.deep), height, m0 + i * height, height, 0,
            self.depth, height, self.deep, self.total % height == 0,
        )  # fmt: skip
        pack(self.expander, scope, self.rows, panel)

    # ------------------------------------------------------------------ products

    def panel(self, scope: Scope, m0: Dim, i: Dim, start: Dim, points: Dim) -> None:
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
        sums = self.terms(
            column, sums, lambda k, place, sums: self._term(rows, k, place, vectors, sums)
        )
        for position, value in enumerate(sums):
            row, v = divmod(position, len(vectors))
            where = column + (row * self.width + v * self.lanes)
            expander.access("store", (self.sums, value), where, lanes=self.lanes)

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
