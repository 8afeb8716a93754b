"""`attend_gradient` as loops: what `attend` does, back, without the weights in memory.

A task has one point of the batch, and all of its keys or a part of them: the queries come in
blocks, and each block meets the keys block by block. There the weights are computed again from the
sums of their rows, key by key over the lanes of the queries, then five products: scores, cotangents
of the weights, and what these add to the cotangents of values, keys and queries. The first two of
those stay in scratch until all queries have passed, the last one until all keys have. Where keys
are in parts, what each adds to the cotangents of queries is a result of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ....ir.dims import Dim, maximum, minimum
from ....ir.graph import Node, Value
from .attend_parts import Attention, Held, QueryBlock, round_up
from .attend_results import use_rows, use_transposed
from .attend_softmax import Softmax
from .blocks import ceil_div, compare, fixed, loop_over, when
from .microkernel import Reader
from .scope import Expander, Scope


def expand_attend_gradient(expander: Expander, scope: Scope, node: Node) -> None:
    """The loops of an `attend_gradient`, the outermost one over tasks.

    Raises:
        ValueError: the node has no `AttendSchedule`.
    """
    _Backward(expander, node).run(scope)


class _Backward:
    def __init__(self, expander: Expander, node: Node) -> None:
        self.expander = expander
        self.at = at = Attention(expander, node)
        self.softmax = Softmax(at)
        s = at.schedule
        panels = s.queries // s.nr
        self.query = at.panel_buffer("query", at.features, panels)
        self.cotangent = at.panel_buffer("cotangent", at.width, panels)
        self.query_rows = at.rows_buffer("query", s.queries + s.mr)
        self.cotangent_rows = at.rows_buffer("cotangent", s.queries + s.mr)
        self.keys = at.rows_buffer("key", s.keys)
        self.values = at.rows_buffer("value", s.keys)
        self.weights, self.scores = at.alloc(s.keys * s.queries), at.alloc(s.keys * s.queries)
        self.sums, self.means = at.alloc(s.queries), at.alloc(s.queries)
        self.mask = at.block_buffer("mask") if at.masked else None
        self.factor = at.block_buffer("factor") if at.factored else None
        self.height = at.height(at.features)
        self.query_sums = at.padded_rows(at.features, self.height)
        self.of_query = at.alloc(panels * self.query_sums * s.nr)
        rows = ceil_div(at.part_keys, s.keys) * s.keys
        self.of_key = self._sums(rows, at.features)
        self.of_value = self._sums(rows, at.width)

    def _sums(self, rows: Dim, extent: int) -> Held:
        deep = round_up(max(extent, 1), self.at.lanes)
        return Held(self.at.alloc(rows * deep), deep)

    def run(self, scope: Scope) -> None:
        self.at.tasks(scope, self.at.batch * self.at.parts_of_keys, self._task)

    def _task(self, scope: Scope, number: Dim) -> None:
        expander, at = self.expander, self.at
        batch = fixed(expander, number // at.parts_of_keys)
        part = number - batch * at.parts_of_keys
        if at.causal:
            part = at.evened(fixed(expander, part), at.parts_of_keys)
        at.bind_batch(scope, batch)
        at.bind_part(scope, part)
        low = fixed(expander, part * at.part_keys)
        keys = (low, fixed(expander, minimum(at.part_keys, at.keys - low)))
        rows = ceil_div(at.part_keys, at.schedule.keys) * at.schedule.keys
        for held in (self.of_key, self.of_value):
            at.fill(held.buffer, rows * (held.depth // at.lanes), at.vector(0))

        def group(number: Dim) -> None:
            inner = scope.inner()
            at.bind_group(inner, number)

            def block(index: Dim) -> None:
                first = fixed(expander, index * at.schedule.queries)
                self._queries(inner, at.query_block(first), keys)

            loop_over(expander, ceil_div(at.queries, at.schedule.queries), block)

        loop_over(expander, at.groups, group)
        for name, held in (("of_key", self.of_key), ("of_value", self.of_value)):
            letters = ("s", "e" if name == "of_key" else "v")
            use_rows(at, scope, name, held, *keys, letters)

    # ------------------------------------------------------------------ a block of queries

    def _queries(self, scope: Scope, block: QueryBlock, keys: tuple[Dim, Dim]) -> None:
        """The block meets those of the task's keys (first, count) that it sees."""
        expander, at = self.expander, self.at
        at.fill(self.of_query, block.panels * (self.query_sums * at.vectors), at.vector(0))
        low, seen = keys
        if at.causal:
            seen = fixed(expander, minimum(seen, block.first + block.count - low))
        some = None
        if at.causal and at.parts_of_keys > 1:
            some = compare(expander, "gt", seen, 0)
        with when(expander, some):
            self._meet(scope, block, low, seen)

        def finish(panel: Dim) -> None:
            start = fixed(expander, block.first + panel * at.schedule.nr)
            base = fixed(expander, panel * (self.query_sums * at.schedule.nr))
            use_transposed(at, scope, "of_query", self.of_query, base, start, at.features, None)

        loop_over(expander, block.panels, finish)

    def _meet(self, scope: Scope, block: QueryBlock, low: Dim, seen: Dim) -> None:
        """The block meets `seen` keys from `low` on."""
        expander, at = self.expander, self.at
        at.fill_panels(scope, "query", self.query, block)
        at.fill_panels(scope, "cotangent", self.cotangent, block)
        at.fill_rows(scope, "query", self.query_rows, block.first, block.count, "l")
        at.fill_rows(scope, "cotangent", self.cotangent_rows, block.first, block.count, "l")
        at.fill_queries(scope, "sums", self.sums, block)
        at.fill_queries(scope, "mean", self.means, block)

        def keys(number: Dim) -> None:
            before = fixed(expander, number * at.schedule.keys)
            first = fixed(expander, low + before)
            count = fixed(expander, minimum(at.schedule.keys, seen - before))
            at.fill_rows(scope, "key", self.keys, first, count)
            at.fill_rows(scope, "value", self.values, first, count)
            loop_over(expander, block.panels, lambda p: self._panel(scope, block, p, first, count))
            self._add_keys(block, first, before, count)

        loop_over(expander, ceil_div(seen, at.schedule.keys), keys)

    def _panel(self, scope: Scope, block: QueryBlock, panel: Dim, first: Dim, count: Dim) -> None:
        """Weights and cotangents of scores where a panel meets the keys first .. first + count, and
        what they add to the cotangent of the queries."""
        expander, at = self.expander, self.at
        column = fixed(expander, panel * at.schedule.nr)
        start = fixed(expander, block.first + column)
        seen = at.seen(start, first, count) if at.causal else count
        self._products(scope, panel, first, seen)
        self._fill(scope, start, first, seen)
        # Tiles of keys are whole: those past the last one that is seen are hidden, too.
        rows = fixed(expander, ceil_div(seen, at.schedule.mr) * at.schedule.mr)
        plain = at.plain_rows(start, first, seen) if at.causal else rows
        self._pull(column, start, first, (0, plain), False)
        if at.causal:
            self._pull(column, start, first, (plain, rows), True)
        if at.uses("of_query"):
            self._add_queries(panel, column, seen)

    def _products(self, scope: Scope, panel: Dim, first: Dim, seen: Dim) -> None:
        """Scores (unscaled, in `weights`) and cotangents of the weights (in `scores`)."""
        expander, at = self.expander, self.at
        nr, mr = at.schedule.nr, at.schedule.mr
        column = fixed(expander, panel * nr)
        sides = (
            (self.keys, self.query, at.features, self.weights),
            (self.values, self.cotangent, at.width, self.scores),
        )
        bases = [fixed(expander, panel * (held.depth * nr)) for _, held, _, _ in sides]

        def tile(number: Dim) -> None:
            row = fixed(expander, number * mr)
            place = fixed(expander, row * at.schedule.queries + column)
            at.prefetch_keys(scope, first, panel, number)
            for (rows, columns, depth, target), base in zip(sides, bases, strict=True):
                sums = at.product(
                    depth, mr, at.rows_of(rows, row), at.columns_of(columns.buffer, base, nr)
                )
                for position, value in enumerate(sums):
                    r, v = divmod(position, at.vectors)
                    at.store(target, place + r * at.schedule.queries + v * at.lanes, value)

        loop_over(expander, ceil_div(seen, mr), tile)

    def _fill(self, scope: Scope, start: Dim, first: Dim, seen: Dim) -> None:
        """Mask and factor, for whole tiles of keys as far as there are keys."""
        at = self.at
        if self.mask is None and self.factor is None:
            return
        mr = at.schedule.mr
        rows = fixed(self.expander, minimum(at.keys - first, ceil_div(seen, mr) * mr))
        if self.mask is not None:
            at.fill_block(scope, "mask", self.mask, start, first, rows)
        if self.factor is not None:
            at.fill_block(scope, "factor", self.factor, start, first, rows)

    def _pull(
        self, column: Dim, start: Dim, first: Dim, keys: tuple[Dim, Dim], hides: bool
    ) -> None:
        """Scores of a range of keys become weights (times the factor), cotangents of weights those
        of scores."""
        at, width = self.at, self.at.schedule.queries
        sums = [at.load(self.sums, column + v) for v in at.offsets]
        means = [at.load(self.means, column + v) for v in at.offsets]

        def row(turn: Dim, _: list[Value]) -> list[Value]:
            r = keys[0] + turn
            for v, total, mean in zip(at.offsets, sums, means, strict=True):
                place, local = r * width + column + v, r * at.schedule.nr + v
                score = self.softmax.scaled(at.load(self.weights, place))
                score = self.softmax.masked_score(score, self.mask, local)
                if hides:
                    score = self.softmax.hidden_after(score, start + v, first + r)
                weight = self.softmax.weight(score, total)
                inner, dropped = at.load(self.scores, place), weight
                if self.factor is not None:
                    factor = at.load(self.factor, local)
                    inner = at.emit("mul", inner, factor)
                    dropped = at.emit("mul", weight, factor)
                inner = at.emit("mul", weight, at.emit("sub", inner, mean))
                if self.mask is not None and self.softmax.hides and at.hidden != -math.inf:
                    shown = at.emit("ne", at.load(self.mask, local), at.vector(0))
                    inner = at.emit("where", shown, inner, at.vector(0))
                at.store(self.weights, place, dropped)
                at.store(self.scores, place, self.softmax.scaled(inner))
            return []

        at.over_rows(fixed(self.expander, keys[1] - keys[0]), [], row)

    # ------------------------------------------------------------------ sums

    def _add_queries(self, panel: Dim, column: Dim, seen: Dim) -> None:
        """The keys, weighted by the cotangents of the scores, join those of a panel's queries."""
        expander, at = self.expander, self.at
        base = fixed(expander, panel * (self.query_sums * at.schedule.nr))

        def tile(number: Dim) -> None:
            feature = fixed(expander, number * self.height)
            place = fixed(expander, base + feature * at.schedule.nr)
            places = [place + k * at.lanes for k in range(self.height * at.vectors)]
            sums = at.product(
                seen, self.height, at.columns_as_rows(self.keys, feature, self.height),
                at.columns_of(self.scores, column, at.schedule.queries),
                [at.load(self.of_query, where) for where in places],
            )  # fmt: skip
            for where, value in zip(places, sums, strict=True):
                at.store(self.of_query, where, value)

        loop_over(expander, ceil_div(at.features, self.height), tile)

    def _add_keys(self, block: QueryBlock, first: Dim, before: Dim, count: Dim) -> None:
        """The queries, and the cotangents of the results, join what the keys from `first` on,
        `before` the task's first ones, and their values get."""
        expander, at = self.expander, self.at

        def tile(number: Dim) -> None:
            row = fixed(expander, number * at.schedule.mr)
            low: Dim = 0
            if at.causal:  # the queries before see none of these keys: whole panels of them
                panels = maximum(0, first + row - block.first) // at.schedule.nr
                low = fixed(expander, panels * at.schedule.nr)
            turns = fixed(expander, maximum(0, block.count - low))
            sides = (
                ("of_value", self.weights, self.cotangent_rows, self.of_value),
                ("of_key", self.scores, self.query_rows, self.of_key),
            )
            for name, weights, rows, sums in sides:
                if not at.uses(name):
                    continue
                target = fixed(expander, (before + row) * sums.depth)
                self._add_row_tile(weights, row, low, turns, rows, sums, target)

        loop_over(expander, ceil_div(count, at.schedule.mr), tile)

    def _add_row_tile(
        self, weights: Value, row: Dim, low: Dim, turns: Dim, rows: Held, sums: Held, target: Dim
    ) -> None:
        """sums[target rows] += weights[row .., low ..] * rows[low ..], for a tile of keys."""
        expander, at = self.expander, self.at
        base = fixed(expander, row * at.schedule.queries + low)
        mr, width = at.schedule.mr, at.schedule.queries

        def read(k: Dim) -> Iterator[Value]:
            for r in range(mr):
                yield expander.access("load", (weights,), base + k + r * width)

        def columns(start: Dim, vectors: int) -> None:
            begin = fixed(expander, low * rows.depth + start)
            offsets = range(0, vectors * at.lanes, at.lanes)
            places = [target + start + r * sums.depth + v for r in range(mr) for v in offsets]
            found = at.product(
                turns, mr, read, _vectors(at, rows, begin, offsets),
                [at.load(sums.buffer, place) for place in places],
            )  # fmt: skip
            for place, value in zip(places, found, strict=True):
                at.store(sums.buffer, place, value)

        whole, rest = divmod(sums.depth // at.lanes, at.vectors)
        nr = at.schedule.nr
        loop_over(expander, whole, lambda k: columns(fixed(expander, k * nr), at.vectors))
        if rest:
            columns(whole * nr, rest)


def _vectors(at: Attention, rows: Held, begin: Dim, offsets: Sequence[int]) -> Reader:
    """Turn k: vectors of row k."""
    return lambda k: [at.load(rows.buffer, begin + k * rows.depth + v) for v in offsets]
