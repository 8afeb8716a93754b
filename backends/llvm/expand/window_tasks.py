"""The tasks of a `contract` whose rhs reads windows of one copy of the image: what they have alike
whether places run over the lanes (`windows.py`) or rows (`channels.py`)."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.dtypes import i64
from ....ir.graph import Node, Value
from ....ir.schedule import WindowSchedule
from .blocks import ceil_div, depends_on, fixed, when
from .packing import Operand
from .product import axes_of
from .scope import Expander, Scope
from .window_image import Image, each, known

UNROLLED = 12  # taps that are written out
IMAGE, ROWS = 0, 1  # what `packed` tells


class WindowTasks(ABC):
    """A task computes `mc` rows (m) for a block of places (n), panel after panel of `height` rows.

    Attributes:
        rows: the operand lhs; `total` rows of `depth` terms.
        out: the region of results; `out_batch`, `out_rows`, `out_columns` its axes.
        image: the copy of rhs.
    """

    def __init__(
        self, expander: Expander, node: Node, schedule: WindowSchedule, height: int, form: str
    ) -> None:
        """`form`: how rows are packed, see `ContractSchedule`."""
        self.expander = expander
        self.schedule = schedule
        self.height = height
        lhs, rhs, out = node.regions
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        self.batch_size = product(batch)
        self.acc = node.attrs["acc"]
        self.lanes = schedule.lanes
        self.slides = schedule.slides
        self.total, self.depth = known(product(m)), known(product(k))
        over_batch, over_m, over_k = axes_of(lhs, batch, m, k)
        self.rows = Operand(
            lhs, over_batch, over_m, over_k, self.total, self.depth, self.acc, self.lanes, form
        )
        self.out = out
        self.out_batch, self.out_rows, self.out_columns = axes_of(out, batch, m, n)
        self.rhs_batch = axes_of(rhs, batch, k, n)[0]
        self.n_axes = out.params[len(batch) + len(m) : -1]
        self.blocks_n = -(-self.slides[0].points // schedule.block)
        self.blocks_m = -(-self.total // schedule.mc)
        self.image = Image(expander, node, self.slides, schedule.block, 2 * schedule.nr)
        self.deep = -(-self.depth // self.lanes) * self.lanes
        self.row_panels: Value | None = None
        if not schedule.direct:
            panels = -(-min(schedule.mc, self.total) // height)
            self.row_panels = expander.alloc((panels * height * self.deep,), self.acc)
        self.packed = expander.alloc((2,), i64)

    @abstractmethod
    def pack_rows(self, scope: Scope, m0: Dim, i: Dim) -> None:
        """Copies panel `i` of the rows from m0 on."""

    @abstractmethod
    def panel(self, scope: Scope, m0: Dim, i: Dim, start: Dim, points: Dim) -> None:
        """The results of this panel, for the points [start, start + points) of the first slide."""

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
        panels: Dim = -(-self.total // self.height)
        if self.blocks_m > 1:
            left = ceil_div(self.total - m0, self.height)
            panels = fixed(expander, minimum(schedule.mc // self.height, left))
        by_batch = depends_on(self.image.region, self.image.batch)
        stale = self._stale(IMAGE, (batch if by_batch else 0) * self.blocks_n + block)
        with when(expander, stale):
            self.image.fill(scope, start, points)
        if self.row_panels is not None:
            by_batch = depends_on(self.rows.region, self.rows.batch.variables)
            stale = self._stale(ROWS, (batch if by_batch else 0) * self.blocks_m + m)
            with when(expander, stale):
                each(expander, panels, lambda i: self.pack_rows(scope.inner(), m0, i))
        each(expander, panels, lambda i: self.panel(scope.inner(), m0, i, start, points))

    def _stale(self, slot: int, key: Dim) -> Value:
        """Whether something else than `key` is packed; from now on that is."""
        expander = self.expander
        wanted = expander.materialise(key)
        stale = expander.emit("ne", expander.access("load", (self.packed,), slot), wanted)
        expander.access("store", (self.packed, wanted), slot)
        return stale

    def terms(
        self, place: Dim, sums: list[Value],
        term: Callable[[Dim, Dim, list[Value]], list[Value]],
    ) -> list[Value]:  # fmt: skip
        """What `term(k, place in the image, sums)` makes of `sums` for all terms of the point whose
        first one lies at `place`: a loop over the channels, in it one over the taps of a slide
        where these are too many to be written out."""
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
                plane = place + c * image.plane + image.distance(counted, t)
                plane = fixed(expander, plane)
                for number, tap in enumerate(written):
                    sums = term(first + number, plane + image.place(tap), sums)
                return sums

            return carry(expander, lines, sums, line)

        return carry(expander, known(image.channels), sums, channel)


def carry(
    expander: Expander, count: int, carried: list[Value],
    body: Callable[[Dim, list[Value]], list[Value]],
) -> list[Value]:  # fmt: skip
    """What body(0), body(1), ... carry on; no loop for one turn."""
    if count == 1:
        return body(0, carried)

    def turn(variable: Value, inside: list[Value]) -> list[Value]:
        return body(of_atom(Var(variable, count)), inside)

    return expander.loop(0, count, 1, carried, turn, unroll=1)
