"""Tiles of a `contract` that sums over the places of windows: the gradient of weights.

The operand `rhs` reads an image at (place of the window) * stride + (place in the window) *
dilation, as in a convolution, but here the places are summed over, and the results are the taps.
Copied into panels, each element is there once for every tap. Copied as an image, it is there once;
what is packed instead is the other operand, whose rows run over the lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.access import Expressions, accesses, axis_extents, index_uses
from ..ir.dims import Dim
from ..ir.graph import Node, Region, Value
from ..ir.schedule import Slide, TapSchedule
from ..ir.target import Target
from .contract_operands import side_of, strided
from .schedule_windows import MOST_APART, together

# Cycles of a vector: of an image, copied with a margin, and more of one whose phases are shuffled
# apart; of rows, transposed into panels, or copied as they are; of windows, transposed, which cross
# the ends of lines; of results, that leave scratch, and of sums, which every block of places loads
# and stores, where these stay in L2 and where they do not.
COPIED, SHUFFLED, TURNED, ROW, WINDOW = 4.0, 2.5, 5.0, 3.0, 12.0
STORED, STORED_FAR, KEPT, KEPT_FAR = 24.0, 40.0, 1.0, 12.0
TURN, LINE = 1.0, 6.0  # of a turn of k, and of a line of them
PANEL = 16.5 / 26  # of a vector of a tile of panels, for each k
MOST_VECTORS = 4  # of a tile
ANYWHERE = 0.8  # cycles of a vector that is read across lines of the cache
FOLDED = 80.0  # of a vector of results whose lanes are added up
LINES = 2  # of places that are written out together
BLOCK = 1024  # terms of a block: enough that loading sums costs little


def schedule_taps(node: Node, target: Target) -> TapSchedule | None:
    """The schedule of a `contract` that sums over the places of windows; None where it has none, or
    where panels of windows are cheaper."""
    found = _Places.of(node)
    return None if found is None else _Chooser(found, target).choose()


@dataclass(frozen=True, slots=True)
class _Places:
    """A `contract` over places: its slides, of axes of k and n, the last axes of k before them, how
    many channels (axes of n that do not slide), taps, rows and terms there are."""

    node: Node
    slides: tuple[Slide, ...]
    channels: int
    taps: int
    rows: int
    terms: int

    @staticmethod
    def of(node: Node) -> _Places | None:
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        if not all(isinstance(d, int) and d > 0 for d in (*m, *n, *k)):
            return None
        region = node.regions[1]
        k_axes = region.params[len(batch) : len(batch) + len(k)]
        slides = _slides(region, k_axes, k, region.params[len(batch) + len(k) :], n)
        if slides is None:
            return None
        taps = math.prod(slide.taps for slide in slides)
        if taps >= math.prod(slide.points for slide in slides if slide.tap is not None):
            return None  # these are the places, and it is the taps that are summed over
        return _Places(node, slides, math.prod(n) // taps, taps, math.prod(m), math.prod(k))


def _slides(
    region: Region, k_axes: Sequence[Value], k: Sequence[int], n_axes: Sequence[Value],
    n: Sequence[int],
) -> tuple[Slide, ...] | None:  # fmt: skip
    """A slide for each axis of k of more than one point, from the one before the first that has
    taps on; None where none has, or where axes of n that do not slide are among the taps."""
    extents: dict[Value, Dim] = dict(zip((*k_axes, *n_axes), (*k, *n), strict=True))
    expressions = Expressions({**axis_extents(region), **extents})
    dims = [a.offset for a in accesses(region, expressions)]
    dims += index_uses(region, expressions)
    found: list[Slide] = []
    for axis, variable in enumerate(k_axes):
        if k[axis] == 1:
            continue
        slide = Slide(axis, None, k[axis], 1, 1, 1)
        for tap, other in enumerate(n_axes):
            if n[tap] == 1 or any(s.tap == tap for s in found):
                continue
            steps = together(dims, variable, other)
            if steps is None or 1 not in steps or steps[0] > MOST_APART:
                continue
            both = Slide(axis, tap, k[axis], n[tap], *steps)
            if both.phases * both.reach < k[axis] * n[tap]:  # windows share elements
                slide = both
                break
        found.append(slide)
    taps = [slide.tap for slide in found if slide.tap is not None]
    if not taps or taps != sorted(taps):
        return None
    if any(d != 1 for a, d in enumerate(n) if a > taps[0] and a not in taps):
        return None
    first = next(a for a, slide in enumerate(found) if slide.tap is not None)
    return tuple(found[max(0, first - 1) :])


class _Chooser:
    def __init__(self, places: _Places, target: Target) -> None:
        self.places = places
        self.target = target
        attrs = places.node.attrs
        self.size = attrs["acc"].itemsize
        self.lanes = target.lanes(attrs["acc"])

    def choose(self) -> TapSchedule | None:
        places = self.places
        if self.lanes == 1:
            return None
        if places.rows < self.lanes:
            return self._folds()
        mr, parts, vectors = self._tile()
        nr = vectors * self.lanes
        found = self._block(nr)
        if found is None:
            return None
        slides, block = found
        mc = self._rows_of_task(nr)
        rows, terms = self._strided()
        form = "along" if terms < rows else "across"
        schedule = TapSchedule(mr, parts, nr, mc, self.lanes, block, slides, form)
        return schedule if self._pays(schedule) else None

    def _folds(self) -> TapSchedule | None:
        """Few rows: places run over the lanes."""
        places = self.places
        slides = places.slides
        if slides[0].tap is None:
            slides = slides[1:]
        if not self.target.masks or self._strided()[1] or slides[-1].tap is None:
            return None
        free = self.target.registers - 6
        parts = -(-places.taps // free)
        taps = -(-places.taps // parts)
        most = max(1, free // taps)
        nr = -(-places.rows // -(-places.rows // most))
        room = self.target.l2 // 2 // self.size
        block = slides[0].points
        while block > 1 and self._copied(slides, block) > room:
            block = -(-block // 2)
        if self._copied(slides, block) > room:
            return None
        lines = 1 if len(slides) == 1 else LINES
        mc = self._rows_of_task(nr)
        found = TapSchedule(1, parts, nr, mc, self.lanes, block, slides, "places", lines)
        return found if self._pays(found) else None

    def _tile(self) -> tuple[int, int, int]:
        """(channels, parts of the taps, vectors of rows) of the register tile that takes the fewest
        cycles for all rows and columns."""
        places, lanes, free = self.places, self.lanes, self.target.registers - 2
        best: tuple[float, int, int, int] | None = None
        for vectors in range(1, MOST_VECTORS + 1):
            highest = (free - vectors) // vectors
            if highest < 1:
                break
            for most in range(max(1, highest // 2), highest + 1):
                parts = -(-places.taps // most)
                taps = -(-places.taps // parts)
                mr = min(places.channels, max(1, most // taps))
                cycles = self._step(mr * taps, vectors) * parts * -(-places.channels // mr)
                cycles *= -(-places.rows // (vectors * lanes))
                found = cycles, mr, parts, vectors
                best = found if best is None else min(best, found)
        assert best is not None, "a tile of one vector always fits"
        return best[1:]

    def _step(self, rows: int, vectors: int) -> float:
        """Cycles of a turn of k: two multiply-adds or two loads in each, and no fewer than a sum
        waits for."""
        return max(rows * vectors / 2, (rows + vectors) / 2, 4.0) + TURN

    def _rows_of_task(self, nr: int) -> int:
        """Rows of a task: all, but where there are fewer points of the batch than threads."""
        panels, batch = -(-self.places.rows // nr), self.places.node.attrs["batch"]
        points = math.prod(d for d in batch if isinstance(d, int))
        threads = self.target.threads
        if threads == 1 or points >= 2 * threads:
            return panels * nr
        wanted = min(panels, -(-threads // max(1, points)))
        return -(-panels // wanted) * nr

    def _block(self, nr: int) -> tuple[tuple[Slide, ...], int] | None:
        """(slides, points of the first one that are copied at once), so that image and panels of
        all rows stay in L2; None where not even one point does. The order in which terms are added
        is the same for any number of threads."""
        room = self.target.l2 // 2 // self.size
        rows = -(-self.places.rows // nr) * nr
        slides = self.places.slides
        while True:
            first, *others = slides
            each = math.prod(s.points for s in others)
            most = min(first.points, max(1, BLOCK // each) if first.tap is None else first.points)
            points = most
            while points > 1 and self._held(slides, points, rows) > room:
                points -= 1
            fits = self._held(slides, points, rows) <= room
            if fits and (points > 1 or first.points == 1 or first.tap is not None):
                blocks = -(-first.points // points)
                return slides, -(-first.points // blocks)
            if first.tap is not None or len(slides) == 1:
                return None
            slides = slides[1:]

    def _held(self, slides: Sequence[Slide], points: int, rows: int) -> int:
        """Elements of the image's copy and of the panels of a block."""
        places = points * math.prod(slide.points for slide in slides[1:])
        return self._copied(slides, points) + rows * places

    def _copied(self, slides: Sequence[Slide], points: int) -> int:
        first = slides[0].at_most(points)
        sizes = [first.reach * first.phases, *(s.reach * s.phases for s in slides[1:])]
        return self.places.channels * math.prod(sizes)

    def _strided(self) -> tuple[int, int]:
        """Strided loads of lhs by vectors over the rows, and by vectors over k."""
        node = self.places.node
        batch, m, k = (tuple(node.attrs[name]) for name in ("batch", "m", "k"))
        lhs, b = node.regions[0], len(batch)
        side = side_of(lhs, lhs.params[b : b + len(m)], lhs.params[b + len(m) :], m, k)
        own = side.own[-1] if side.own else None
        return strided(side.accesses, own), strided(side.accesses, side.k[-1])

    def _pays(self, schedule: TapSchedule) -> bool:
        """Whether an image and turned rows are cheaper than panels of windows, by the cycles."""
        places, lanes, slides = self.places, self.lanes, schedule.slides
        columns, terms = places.channels * places.taps, places.terms
        blocks = -(-slides[0].points // schedule.block)
        blocks *= terms // math.prod(s.points for s in slides)
        copied = self._copied(slides, schedule.block) / slides[-1].reach
        copied *= -(-slides[-1].reach // lanes) * -(-places.rows // schedule.mc)
        if slides[-1].stride > 1:
            copied *= SHUFFLED
        image = COPIED * copied * blocks + self._summed(schedule, blocks)
        wide = -(-columns // lanes)
        panels = wide * places.rows * PANEL * terms
        panels += (WINDOW * columns + ROW * places.rows) * terms / lanes
        return image < panels

    def _summed(self, schedule: TapSchedule, blocks: int) -> float:
        """Cycles of the products and of what is made of the sums."""
        places, lanes, slides = self.places, self.lanes, schedule.slides
        columns, terms = places.channels * places.taps, places.terms
        tiles = schedule.parts * -(-places.channels // schedule.mr) * -(-places.rows // schedule.nr)
        taps, nr = -(-places.taps // schedule.parts), schedule.nr
        if schedule.form == "places":
            vectors = terms // slides[-1].points * -(-slides[-1].points // lanes)
            step = max(nr * taps / 2, ANYWHERE * taps + nr / 2, 4.0) + TURN
            return tiles * step * vectors + FOLDED * -(-columns // lanes) * places.rows
        near = 2 * columns * schedule.mc * self.size <= self.target.l2
        results = columns * -(-places.rows // nr) * (nr // lanes)
        step = self._step(schedule.mr * taps, nr // lanes) + LINE / slides[-1].points
        cycles = tiles * step * terms + TURNED * results / columns * terms
        stored = (STORED if near else STORED_FAR) + (KEPT if near else KEPT_FAR) * blocks
        return cycles + results * stored
