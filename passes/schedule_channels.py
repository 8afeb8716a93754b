"""Tiles of a `contract` that reads windows, whose rows run over the lanes (`expand/channels.py` of
the LLVM backend): channels of the result of a convolution.

No lane is spent on what lies between the ends of an image's lines. For that the rows are packed,
once for each thread, and the sums are turned before they are stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir.graph import Node
from ..ir.schedule import Slide, WindowSchedule
from ..ir.target import Target
from .contract_operands import side_of, strided

# Cycles of a vector: of rows, packed, which come from L2 or from farther away; of sums, stored,
# turned and stored.
PACKED, PACKED_FAR, TURNED = 12.0, 36.0, 14.0
TURN = 0.5  # of a turn of k
FROM_L2 = 2.0  # of a vector of a panel
TILE = 12.0  # of what happens once for each tile
PACKS = 2  # how often rows are packed: by each thread that there may be
UNKNOWN = 4  # images, where a symbol tells
MOST_VECTORS = 4  # of a tile
HEIGHTS = 4  # below the highest tile that fits are looked at


class ChannelTiles:
    """Tiles for rows over the lanes, and what they cost.

    Attributes:
        mr, nr: points of the last slide, and rows, of the tile that takes the fewest cycles.
        cycles: of one image, without what copying it takes.
    """

    def __init__(
        self, node: Node, slides: Sequence[Slide], rows: int, images: int | None, target: Target
    ) -> None:
        """`images`: points of the batch. None where a symbol tells."""
        self.node = node
        self.slides = tuple(slides)
        self.rows = rows
        self.depth = math.prod(node.attrs["k"])
        self.images = UNKNOWN if images is None else images
        self.lanes, self.size = target.lanes(node.attrs["acc"]), node.attrs["acc"].itemsize
        self.room = target.l2
        self.mr, self.nr, self.cycles = self._best(target)

    def _best(self, target: Target) -> tuple[int, int, float]:
        free = target.registers - (2 if target.fma else 4)
        last = self.slides[-1].points
        best: tuple[float, int, int] = (math.inf, 1, self.lanes)
        for vectors in range(1, MOST_VECTORS + 1):
            highest = min((free - vectors) // vectors, 16, last)
            for height in range(highest, max(0, highest - HEIGHTS), -1):
                mr = -(-last // -(-last // height))
                best = min(best, (self._cycles(mr, vectors), mr, vectors * self.lanes))
        return best[1], best[2], best[0]

    def _cycles(self, mr: int, vectors: int) -> float:
        lines = math.prod(slide.points for slide in self.slides[:-1])
        tiles = lines * -(-self.slides[-1].points // mr)
        panels = -(-self.rows // (vectors * self.lanes))
        # Two products or two reads a cycle, half a vector from L2; a sum waits for four cycles.
        step = max(mr * vectors / 2, (mr + vectors) / 2, vectors * FROM_L2, 4.0) + TURN
        products = tiles * panels * (self.depth * step + TILE)
        results = math.prod(slide.points for slide in self.slides) / self.lanes * self.rows * TURNED
        packs = self.images if self._varies() else PACKS
        near = 2 * self.rows * self.depth * self.size <= self.room
        packed = panels * vectors * self.depth * (PACKED if near else PACKED_FAR)
        return products + results + packed * packs / max(1, self.images)

    def _varies(self) -> bool:
        """Whether points of the batch have rows of their own."""
        region = self.node.regions[0]
        own = region.params[: len(self.node.attrs["batch"])]
        return any(value in own for node in region.walk() for value in node.operands) or any(
            value in own for value in region.yields
        )

    def schedule(self, block: int, mc: int) -> WindowSchedule:
        form = self._form()
        return WindowSchedule(
            self.mr, self.nr, mc, self.lanes, block, self.slides, False, "channels", form
        )

    def _form(self) -> str:
        """How rows are packed."""
        batch, m, k = (tuple(self.node.attrs[name]) for name in ("batch", "m", "k"))
        lhs, b = self.node.regions[0], len(batch)
        side = side_of(lhs, lhs.params[b : b + len(m)], lhs.params[b + len(m) :], m, k)
        own = strided(side.accesses, side.own[-1] if side.own else None)
        along = strided(side.accesses, side.k[-1] if side.k else None)
        return "along" if along < own else "across"
