"""`contract` over the places of windows (`taps.py`) with few rows: places run over the lanes.

Each sum is a vector of partial sums, over every so-manieth place of a line; its lanes are added up
after the last one. Vectors of the image are read at any place of its copy, and serve all lines that
are written out together, whose taps meet there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, Var, of_atom, product
from ....ir.graph import Node, Value
from ....ir.literal import Literal
from ....ir.schedule import TapSchedule
from .blocks import ceil_div, compare, fixed, lane_places, loop_over, when
from .dots import add_lanes
from .microkernel import multiply_add
from .scope import Expander, Scope, Vector
from .tap_tasks import Block, TapTasks
from .window_image import each, known

WRITTEN_OUT = 4  # vectors of a line that need no loop


@dataclass(frozen=True, slots=True)
class _Tile:
    """Sums of some rows (where the axes of m are, for each) and taps of a channel."""

    rows: Sequence[Mapping[Value, Dim]]
    taps: range
    block: Block


class Folds(TapTasks):
    """Places run over the lanes; lhs is read where it lies."""

    def __init__(self, expander: Expander, node: Node, schedule: TapSchedule) -> None:
        lanes = schedule.lanes
        self.width = -(-known(product(node.attrs["n"])) // lanes) * lanes
        super().__init__(expander, node, schedule, schedule.mc * self.width * lanes)
        before = len(node.attrs["batch"]) + len(node.attrs["m"])
        self.terms = node.regions[0].params[before:]

    # ------------------------------------------------------------------ sums

    def add(self, scope: Scope, block: Block, m0: Dim, left: Dim) -> None:
        expander, height = self.expander, self.schedule.nr
        for variable in self.terms:
            if scope.find("exprs", variable) is None:
                scope.exprs[variable] = 0

        def rows(i: Dim) -> None:
            first = fixed(expander, i * height)
            rest = self.total % height
            exist = fixed(expander, left - first)
            whole = compare(expander, "ge", exist, height) if rest else None
            with when(expander, whole):
                self._rows(scope, block, m0, first, height)
            if rest:
                with when(expander, compare(expander, "lt", exist, height)):
                    self._rows(scope, block, m0, first, rest)

        each(expander, fixed(expander, ceil_div(left, height)), rows)

    def _rows(self, scope: Scope, block: Block, m0: Dim, first: Dim, height: int) -> None:
        """The sums of so many rows, from `first` of the task on."""
        expander = self.expander
        own = self.rows.own
        rows = [
            own.indices([fixed(expander, p) for p in own.split(m0 + first + r)])
            for r in range(height)
        ]
        where = fixed(expander, first * (self.width * self.lanes))

        def channel(c: Dim) -> None:
            plane = fixed(expander, c * self.image.plane)
            at = fixed(expander, where + c * (self.taps * self.lanes))
            for taps in self.parts():
                places = [
                    at + (r * self.width + t) * self.lanes for r in range(height) for t in taps
                ]
                sums = [
                    expander.access("load", (self.sums,), place, lanes=self.lanes)
                    for place in places
                ]
                sums = self._points(scope, _Tile(rows, taps, block), 0, plane, sums)
                for place, value in zip(places, sums, strict=True):
                    expander.access("store", (self.sums, value), place, lanes=self.lanes)

        each(expander, self.channels, channel)

    def _points(
        self, scope: Scope, tile: _Tile, axis: int, place: Dim, sums: list[Value]
    ) -> list[Value]:
        """`sums` and the terms of all points from the slide number `axis` on, of which the first
        lies at `place` of the image."""
        last = len(self.slides) - 1
        start: Dim = 0 if axis else tile.block.start
        count: Dim = self.slides[axis].points if axis else tile.block.points
        if axis == last:
            return self._line(scope, tile, [scope], place, start, count, sums)
        together = self.schedule.lines if axis + 1 == last else 1
        variable = self.terms[self.slides[axis].axis]
        pitch = self.image.pitches[axis]

        def lines(number: int) -> Callable[[Value, list[Value]], list[Value]]:
            def turn(at: Value, inside: list[Value]) -> list[Value]:
                point = of_atom(Var(at))
                scopes = []
                for line in range(number):
                    scopes.append(scope.inner())
                    scopes[-1].exprs[variable] = start + point + line
                deeper = fixed(self.expander, place + point * pitch)
                if axis + 1 == last:
                    points = self.slides[last].points
                    return self._line(scope, tile, scopes, deeper, 0, points, inside)
                return self._points(scopes[0], tile, axis + 1, deeper, inside)

            return turn

        whole = fixed(self.expander, count // together * together)
        sums = self.expander.loop(0, whole, together, sums, lines(together), unroll=1)
        if together == 1 or (isinstance(count, int) and count % together == 0):
            return sums
        return self.expander.loop(whole, count, 1, sums, lines(1), unroll=1)

    def _line(
        self, scope: Scope, tile: _Tile, lines: Sequence[Scope], place: Dim, start: Dim, count: Dim,
        sums: list[Value],
    ) -> list[Value]:  # fmt: skip
        """`sums` and the terms of lines one after the other, `count` places of each."""
        expander, lanes = self.expander, self.lanes
        whole = fixed(expander, count // lanes * lanes)

        def vector(at: Dim, inside: Sequence[Value], mask: Value | None) -> list[Value]:
            return self._vector(tile, lines, place + at, start + at, inside, mask)

        if isinstance(whole, int) and whole <= WRITTEN_OUT * lanes:
            for at in range(0, whole, lanes):
                sums = vector(at, sums, None)
        else:
            sums = expander.loop(
                0, whole, lanes, sums, lambda at, s: vector(of_atom(Var(at)), s, None), unroll=1
            )
        if isinstance(count, int) and count % lanes == 0:
            return sums
        mask = expander.emit(
            "mask", expander.materialise(whole), expander.materialise(count), lanes=lanes
        )
        return vector(whole, sums, mask)

    def _vector(
        self, tile: _Tile, lines: Sequence[Scope], place: Dim, at: Dim, sums: Sequence[Value],
        mask: Value | None,
    ) -> list[Value]:  # fmt: skip
        """`sums` and the terms of a vector of each line."""
        expander, lanes = self.expander, self.lanes
        iota = expander.emit("lanes", expander.integer(0), lanes=lanes)
        last = self.terms[self.slides[-1].axis]
        zero = expander.emit("constant", value=Literal(np.zeros((), self.acc.numpy)))
        rows: list[list[Value]] = []
        for around in lines:
            rows.append([])
            for row in tile.rows:
                inner = around.inner(Vector(lanes, iota, mask))
                inner.exprs.update(row)
                inner.exprs[last] = at + of_atom(Var(iota, lanes))
                value = expander.widen(self.rows.element(expander, inner), lanes)
                if mask is not None:
                    value = expander.emit("where", mask, value, expander.widen(zero, lanes))
                rows[-1].append(value)
        pitch = known(self.image.pitches[-2]) if len(self.slides) > 1 else 0
        uses: dict[int, list[tuple[int, int]]] = {}
        for line in range(len(lines)):
            for number, tap in enumerate(tile.taps):
                uses.setdefault(line * pitch + self.distance(tap), []).append((line, number))
        found = list(sums)
        for distance, users in sorted(uses.items()):
            column = expander.access(
                "load", (self.image.buffer,), place + distance, lanes=lanes, guard=mask
            )
            for line, number in users:
                for r in range(len(tile.rows)):
                    position = r * len(tile.taps) + number
                    found[position] = multiply_add(expander, rows[line][r], column, found[position])
        return found

    # ------------------------------------------------------------------ results

    def finish(self, scope: Scope, m0: Dim, left: Dim) -> None:
        """The lanes of a vector of columns are added up."""
        expander, lanes = self.expander, self.lanes

        def row(r: Dim) -> None:
            positions = [fixed(expander, p) for p in self.out_rows.split(m0 + r)]

            def columns(n: Dim) -> None:
                start = fixed(expander, n * lanes)
                base = fixed(expander, (r * self.width + start) * lanes)
                partial = [
                    expander.access("load", (self.sums,), base + c * lanes, lanes=lanes)
                    for c in range(lanes)
                ]
                sums = add_lanes(expander, partial)
                for ((found, vector),) in lane_places(
                    expander, self.out_columns, [start], self.columns, lanes, lanes
                ):
                    inner = scope.inner(vector)
                    self.out_rows.bind(inner, positions)
                    self.out_columns.bind(inner, found)
                    inner.values[self.out.params[-1]] = sums
                    expander.run_nodes(self.out, inner)

            each(expander, self.width // lanes, columns)

        loop_over(expander, left, row)
