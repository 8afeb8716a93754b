"""The tasks of a `contract` that sums over the places of windows (`taps.py`): what they have alike
however the sums are computed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.graph import Node, Value
from ....ir.literal import Literal
from ....ir.schedule import TapSchedule
from .blocks import Axes, fixed
from .loops import Carried, vector_loop
from .packing import Operand
from .product import axes_of
from .scope import Expander, Scope
from .window_image import Image, each, known


@dataclass(frozen=True, slots=True)
class Block:
    """Places that are copied at once: `points` of the first slide from `start` on, whose first
    term is number `k0`; there are `count` of them."""

    start: Dim
    points: Dim
    k0: Dim
    count: Dim


class TapTasks(ABC):
    """A task has a block of rows (m), and all columns (n): block after block of places is copied
    and added to the sums, of which something is made after the last one.

    Attributes:
        rows: the operand lhs; `total` rows.
        out_rows, out_columns: m and n as the `out` region sees them; `columns` points of n.
        channels, taps: points of the axes of n that do not slide, and of those that do.
        image: the copy of rhs; `sums`: scratch.
    """

    def __init__(self, expander: Expander, node: Node, schedule: TapSchedule, sums: int) -> None:
        """`sums`: elements of scratch for them."""
        self.expander = expander
        self.schedule = schedule
        self.lanes, self.slides = schedule.lanes, schedule.slides
        lhs, rhs, out = node.regions
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        self.acc = node.attrs["acc"]
        self.batch_size, self.total = product(batch), known(product(m))
        self.columns = known(product(n))
        over_batch, over_m, over_k = axes_of(lhs, batch, m, k)
        self.rows = Operand(
            lhs, over_batch, over_m, over_k, self.total, product(k), self.acc, self.lanes,
            schedule.form,
        )  # fmt: skip
        self.out = out
        self.out_batch, self.out_rows, self.out_columns = axes_of(out, batch, m, n)
        self.rhs_batch, rhs_k, _ = axes_of(rhs, batch, k, n)
        first = self.slides[0].axis
        runs = tuple((axis,) for axis in range(first))
        self.outer = [Axes(v[:first], k[:first], runs) for v in (over_k.variables, rhs_k.variables)]
        self.places = math.prod(slide.points for slide in self.slides[1:])
        self.blocks = -(-self.slides[0].points // schedule.block)
        self.taps = math.prod(slide.taps for slide in self.slides)
        self.channels = self.columns // self.taps
        self.image = Image(expander, node, self.slides, schedule.block, 0, summed=True)
        self.sums = expander.alloc((sums,), self.acc)
        self.size = sums

    @abstractmethod
    def add(self, scope: Scope, block: Block, m0: Dim, left: Dim) -> None:
        """Adds a block of places, whose image is copied, to the sums of the `left` rows from `m0`
        on. Axes of k before the first slide are bound in `scope`, for lhs and rhs."""

    @abstractmethod
    def finish(self, scope: Scope, m0: Dim, left: Dim) -> None:
        """Runs the `out` region over these rows."""

    def run(self, scope: Scope) -> None:
        """The loop over tasks."""
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
        expander = self.expander
        for axes in (self.rows.batch, self.rhs_batch, self.out_batch):
            axes.bind(scope, [fixed(expander, p) for p in axes.split(batch)])
        left = fixed(expander, minimum(self.schedule.mc, self.total - m0))
        self._clear(scope)

        def turn(number: Dim) -> None:
            inner = scope.inner()
            outside: Dim = number
            block: Dim = 0
            if self.blocks > 1:
                outside = fixed(expander, number // self.blocks)
                block = fixed(expander, number - outside * self.blocks)
            positions = [fixed(expander, p) for p in self.outer[0].split(outside)]
            for axes in self.outer:
                axes.bind(inner, positions)
            places = self._block(outside, block)
            self.image.fill(inner, places.start, places.points)
            self.add(inner, places, m0, left)

        each(expander, known(product(self.outer[0].extents)) * self.blocks, turn)
        self.finish(scope, m0, left)

    def _block(self, outside: Dim, block: Dim) -> Block:
        schedule, expander, extent = self.schedule, self.expander, self.slides[0].points
        start = fixed(expander, block * schedule.block)
        points: Dim = schedule.block
        if extent % schedule.block:
            points = fixed(expander, minimum(points, extent - start))
        k0 = fixed(expander, (outside * extent + start) * self.places)
        return Block(start, points, k0, fixed(expander, points * self.places))

    def _clear(self, scope: Scope) -> None:
        """The sums before the first block."""
        expander, lanes = self.expander, (self.lanes, self.lanes)
        zero = expander.emit("constant", value=Literal(np.zeros((), self.acc.numpy)))

        def vector(inner: Scope, at: Dim, _: Carried) -> Sequence[Value]:
            expander.write(self.sums, at, zero, inner)
            return ()

        vector_loop(expander, scope.inner(), self.size, lanes, 0, self.size, vector)

    def parts(self) -> list[range]:
        """The taps of each tile of a channel."""
        size = -(-self.taps // self.schedule.parts)
        return [range(t, min(t + size, self.taps)) for t in range(0, self.taps, size)]

    def distance(self, tap: int) -> int:
        """How far the tap of this number finds its places from those of the first one."""
        taps: list[int] = []
        for slide in reversed(self.slides):
            tap, digit = divmod(tap, slide.taps)
            taps.insert(0, digit)
        return known(self.image.place(taps))
