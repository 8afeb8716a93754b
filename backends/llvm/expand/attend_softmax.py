"""The softmax of attention kernels, on vectors over the queries."""

from __future__ import annotations

import math

import numpy as np

from ....ir.dims import Dim
from ....ir.graph import Value
from .attend_parts import Attention
from .blocks import compare

LOG2E = 1 / math.log(2)


class Softmax:
    """Emits scores, weights and sums of an attention kernel."""

    def __init__(self, at: Attention) -> None:
        self.at = at
        self.emit, self.vector = at.emit, at.vector

    def scaled(self, value: Value) -> Value:
        """What came of products of queries and keys, as scores."""
        return value if self.at.scale == 1 else self.emit("mul", value, self.vector(self.at.scale))

    @property
    def folds(self) -> bool:
        """Whether the forward softmax takes products as they are, and scales in the exponent."""
        return not self.at.masked and 0 < self.at.scale < math.inf

    def larger(self, a: Value, b: Value) -> Value:
        """The larger one; of a NaN `b` it is `a`, as the NaN will show in the sum."""
        return self.emit("where", self.emit("gt", b, a), b, a)

    def finite(self, top: Value) -> Value:
        """0 for -inf: where no key is seen, weights are exp(-inf - 0)."""
        lowest = self.vector(-math.inf)
        return self.emit("where", self.emit("eq", top, lowest), self.vector(0), top)

    def weight(self, score: Value, top: Value, factor: float = 1) -> Value:
        """exp(factor (score - top)), of a score that is at most `top`: the difference comes first,
        as scores may be as large as numbers get."""
        by = self.vector(factor * LOG2E)
        return self.power(self.emit("mul", self.emit("sub", score, top), by))

    def power(self, value: Value) -> Value:
        """2**value, but 0 where that is no normal number: processors take a hundred times as long
        for those, and masked scores are full of them."""
        least = self.vector(math.log2(np.finfo(self.at.acc.numpy).tiny))
        vanishes = self.emit("lt", value, least)
        found = self.emit("exp2", self.emit("where", vanishes, least, value))
        return self.emit("where", vanishes, self.vector(0), found)

    def masked_score(self, score: Value, mask: Value | None, place: Dim) -> Value:
        """The score under the mask at `place` of its buffer."""
        if mask is None:
            return score
        found = self.at.load(mask, place)
        if not self.hides:
            return self.emit("add", score, found)
        shown = self.emit("ne", found, self.vector(0))
        return self.emit("where", shown, score, self.vector(self.at.hidden))

    @property
    def hides(self) -> bool:
        """Whether the mask says which scores are hidden; else it is added."""
        (yielded,) = self.at.parts["mask"].region.yields
        return self.at.masked and yielded.type.dtype.kind == "bool"

    def hidden_after(self, score: Value, query: Dim, key: Dim) -> Value:
        """-inf for the queries query, query + 1, ... that come before `key`."""
        numbers = self.emit("lanes", self.at.expander.materialise(query), lanes=self.at.lanes)
        wanted = self.at.expander.widen(self.at.expander.materialise(key), self.at.lanes)
        seen = self.emit("ge", numbers, wanted)
        return self.emit("where", seen, score, self.vector(-math.inf))

    def share(self, total: Value) -> Value:
        """What weights are multiplied by: 1 / total, or 0 where nothing was summed."""
        inverse = self.emit("div", self.vector(1), total)
        nothing = self.emit("eq", total, self.vector(0))
        if not self.at.safe:
            if isinstance(self.at.keys, int) and self.at.keys:
                return inverse
            none = self.at.expander.widen(
                compare(self.at.expander, "eq", self.at.keys, 0), self.at.lanes
            )
            nothing = self.emit("bit_and", nothing, none)
        return self.emit("where", nothing, self.vector(0), inverse)

    def log_sum(self, top: Value, total: Value) -> Value:
        """The logarithm of a row's sum of exponentials; inf, or NaN, where there is none."""
        found = self.emit("add", top, self.emit("log", total))
        nothing = self.emit("eq", total, self.vector(0))
        none = self.vector(math.inf if self.at.safe else math.nan)
        return self.emit("where", nothing, none, found)
