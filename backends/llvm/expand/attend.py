"""`attend` as loops: blocks of queries are tasks, blocks of keys pass by, weights stay in L1.

Queries run over the lanes: a panel is `nr` queries, feature by feature. For one panel and one block
of keys the scores are a product of the keys' rows and the panel, key by key in scratch; maxima and
sums of the softmax are vectors over the queries, and the weighted sum of the values is a product
again, of the values' columns and the weights. What came before is scaled down where a later block
has a larger score (Milakov and Gimelshein, 2018; Dao et al., 2022).
"""

from __future__ import annotations

import math

from ....ir.dims import Dim, maximum, minimum
from ....ir.graph import Node, Value
from .attend_parts import Attention, QueryBlock
from .attend_results import use_transposed, use_vectors
from .attend_softmax import Softmax
from .blocks import ceil_div, compare, fixed, loop_over, when
from .scope import Expander, Scope


def expand_attend(expander: Expander, scope: Scope, node: Node) -> None:
    """The loops of an `attend`, the outermost one over tasks.

    Raises:
        ValueError: the node has no `AttendSchedule`.
    """
    _Forward(expander, node).run(scope)


class _Forward:
    def __init__(self, expander: Expander, node: Node) -> None:
        self.expander = expander
        self.at = at = Attention(expander, node)
        self.softmax = Softmax(at)
        s = at.schedule
        self.query = at.panel_buffer("query", at.features, s.queries // s.nr)
        self.keys = at.rows_buffer("key", s.keys)
        self.values = at.rows_buffer("value", s.keys)
        self.scores = at.alloc(s.keys * s.nr)
        self.height = at.height(at.width)
        self.sum_rows = at.padded_rows(at.width, self.height)
        panels = s.queries // s.nr
        self.sums = at.alloc(panels * self.sum_rows * s.nr)
        self.tops, self.totals = at.alloc(panels * s.nr), at.alloc(panels * s.nr)
        self.scales = at.alloc(s.nr)
        self.mask = at.block_buffer("mask") if at.masked else None
        self.factor = at.block_buffer("factor") if at.factored else None

    def run(self, scope: Scope) -> None:
        at = self.at
        blocks = ceil_div(at.queries, at.schedule.queries)

        def task(inner: Scope, number: Dim) -> None:
            rest = fixed(self.expander, number // blocks)
            at.bind_outer(inner, rest)
            index = number - rest * blocks
            if at.causal:
                index = at.evened(fixed(self.expander, index), blocks)
            first = fixed(self.expander, index * at.schedule.queries)
            self._task(inner, at.query_block(first))

        at.tasks(scope, at.batch * at.groups * blocks, task)

    def _task(self, scope: Scope, block: QueryBlock) -> None:
        expander, at = self.expander, self.at
        at.fill_panels(scope, "query", self.query, block)
        self._begin(block)
        end = at.keys
        if at.causal:
            end = fixed(expander, minimum(at.keys, block.first + block.count))

        def keys(number: Dim) -> None:
            first = fixed(expander, number * at.schedule.keys)
            count = fixed(expander, minimum(at.schedule.keys, end - first))
            at.fill_rows(scope, "key", self.keys, first, count)
            at.fill_rows(scope, "value", self.values, first, count)
            loop_over(expander, block.panels, lambda p: self._panel(scope, block, p, first, count))

        loop_over(expander, ceil_div(end, at.schedule.keys), keys)
        loop_over(expander, block.panels, lambda p: self._finish(scope, block, p))

    def _begin(self, block: QueryBlock) -> None:
        """No sums yet, and no largest score."""
        at = self.at
        zero, lowest = at.vector(0), at.vector(-math.inf)
        rows = self.sum_rows * at.vectors
        at.fill(self.sums, block.panels * rows, zero)
        at.fill(self.tops, block.panels * at.vectors, lowest)
        at.fill(self.totals, block.panels * at.vectors, zero)

    # ------------------------------------------------------------------ one panel, one block

    def _panel(self, scope: Scope, block: QueryBlock, panel: Dim, first: Dim, count: Dim) -> None:
        """Panel number `panel` meets the keys first .. first + count."""
        expander, at = self.expander, self.at
        start = fixed(expander, block.first + panel * at.schedule.nr)
        if not at.causal:
            self._meet(scope, panel, start, first, count)
            return
        seen = at.seen(start, first, count)
        with when(expander, compare(expander, "gt", seen, 0)):
            self._meet(scope, panel, start, first, seen)

    def _meet(self, scope: Scope, panel: Dim, start: Dim, first: Dim, seen: Dim) -> None:
        """The panel of the queries from `start` on meets the first `seen` keys of a block."""
        at = self.at
        rows = panel * at.schedule.nr
        for v in at.offsets:
            at.store(self.scales, v, at.load(self.tops, rows + v))
        plain: Dim = 0 if at.masked else seen
        if at.causal:
            plain = at.plain_rows(start, first, seen)
        self._scores(scope, panel, start, first, seen, plain)
        if self.mask is not None:
            at.fill_block(scope, "mask", self.mask, start, first, seen)
            if at.causal:
                self._see(start, first, 0, plain, False)
        if at.masked or at.causal:
            self._see(start, first, plain, seen, at.causal)
        self._weigh(scope, start, first, seen, rows)
        self._add(panel, seen)

    def _scores(
        self, scope: Scope, panel: Dim, start: Dim, first: Dim, seen: Dim, plain: Dim
    ) -> None:
        """Scores of the first `seen` keys; the maxima of the first `plain` ones, whole tiles or
        all, go to `scales`, unless there is a mask.

        Keys past the end repeat the last one, so they change no maximum.
        """
        expander, at = self.expander, self.at
        base = fixed(expander, panel * (self.query.depth * at.schedule.nr))
        end = minimum(at.keys, start + at.schedule.nr) if at.causal else at.keys
        last = compare(expander, "ge", first + at.schedule.keys, end)

        def tile(number: Dim) -> None:
            row = fixed(expander, number * at.schedule.mr)
            at.prefetch_keys(scope, first, panel, number)
            with when(expander, last):
                at.prefetch_result(scope, "out", start, number)
            sums = at.product(
                at.features, at.schedule.mr, at.rows_of(self.keys, row),
                at.columns_of(self.query.buffer, base, at.schedule.nr),
            )  # fmt: skip
            kept = sums if self.softmax.folds else [self.softmax.scaled(value) for value in sums]
            for position, value in enumerate(kept):
                at.store(self.scores, row * at.schedule.nr + position * at.lanes, value)
            if at.masked:
                return
            with when(expander, compare(expander, "lt", row, plain) if at.causal else None):
                for k, v in enumerate(at.offsets):
                    found = at.load(self.scales, v)
                    for value in kept[k :: at.vectors]:
                        found = self.softmax.larger(found, value)
                    at.store(self.scales, v, found)

        loop_over(expander, ceil_div(seen, at.schedule.mr), tile)

    def _see(self, start: Dim, first: Dim, low: Dim, high: Dim, hides: bool) -> None:
        """Applies the mask to the keys low .. high of a block, hides those that come later than a
        query if `hides`, and finds the maxima."""
        at = self.at

        def row(turn: Dim, held: list[Value]) -> list[Value]:
            r = low + turn
            result = []
            for v, top in zip(at.offsets, held, strict=True):
                place = r * at.schedule.nr + v
                score = self.softmax.masked_score(at.load(self.scores, place), self.mask, place)
                if hides:
                    score = self.softmax.hidden_after(score, start + v, first + r)
                at.store(self.scores, place, score)
                result.append(self.softmax.larger(top, score))
            return result

        tops = [at.load(self.scales, v) for v in at.offsets]
        found = at.over_rows(fixed(self.expander, maximum(0, high - low)), tops, row)
        for v, top in zip(at.offsets, found, strict=True):
            at.store(self.scales, v, top)

    def _weigh(self, scope: Scope, start: Dim, first: Dim, seen: Dim, rows: Dim) -> None:
        """Scores become weights under the new maxima; totals and `scales` follow."""
        at = self.at
        if self.factor is not None:
            at.fill_block(scope, "factor", self.factor, start, first, seen)
        tops = [at.load(self.scales, v) for v in at.offsets]
        safe = [self.softmax.finite(top) for top in tops]
        factor = at.scale if self.softmax.folds else 1
        scales = [
            self.softmax.weight(at.load(self.tops, rows + v), top, factor)
            for v, top in zip(at.offsets, safe, strict=True)
        ]

        def row(r: Dim, held: list[Value]) -> list[Value]:
            result = []
            for v, top, total in zip(at.offsets, safe, held, strict=True):
                place = r * at.schedule.nr + v
                weight = self.softmax.weight(at.load(self.scores, place), top, factor)
                result.append(at.emit("add", total, weight))
                if self.factor is not None:
                    weight = at.emit("mul", weight, at.load(self.factor, place))
                at.store(self.scores, place, weight)
            return result

        totals = [
            at.emit("mul", at.load(self.totals, rows + v), scale)
            for v, scale in zip(at.offsets, scales, strict=True)
        ]
        totals = at.over_rows(seen, totals, row)
        for v, top, total, scale in zip(at.offsets, tops, totals, scales, strict=True):
            at.store(self.tops, rows + v, top)
            at.store(self.totals, rows + v, total)
            at.store(self.scales, v, scale)

    def _add(self, panel: Dim, seen: Dim) -> None:
        """The weighted values join the sums, which are scaled down first."""
        expander, at = self.expander, self.at
        base = fixed(expander, panel * (self.sum_rows * at.schedule.nr))

        def tile(number: Dim) -> None:
            column = fixed(expander, number * self.height)
            place = fixed(expander, base + column * at.schedule.nr)
            places = [place + k * at.lanes for k in range(self.height * at.vectors)]
            scales = [at.load(self.scales, v) for v in at.offsets]
            begin = [
                at.emit("mul", at.load(self.sums, where), scales[k % at.vectors])
                for k, where in enumerate(places)
            ]
            sums = at.product(
                seen, self.height, at.columns_as_rows(self.values, column),
                at.columns_of(self.scores, 0, at.schedule.nr), begin,
            )  # fmt: skip
            for where, value in zip(places, sums, strict=True):
                at.store(self.sums, where, value)

        loop_over(expander, ceil_div(at.width, self.height), tile)

    # ------------------------------------------------------------------ results

    def _finish(self, scope: Scope, block: QueryBlock, panel: Dim) -> None:
        expander, at = self.expander, self.at
        rows = panel * at.schedule.nr
        start = fixed(expander, block.first + rows)
        totals = [at.load(self.totals, rows + v) for v in at.offsets]
        tops = [self.softmax.finite(at.load(self.tops, rows + v)) for v in at.offsets]
        if self.softmax.folds:
            tops = [self.softmax.scaled(top) for top in tops]
        shares = [self.softmax.share(total) for total in totals]
        sums = [self.softmax.log_sum(top, total) for top, total in zip(tops, totals, strict=True)]
        use_vectors(at, scope, "sums", start, sums)
        base = fixed(expander, panel * (self.sum_rows * at.schedule.nr))
        use_transposed(at, scope, "out", self.sums, base, start, at.width, shares)
