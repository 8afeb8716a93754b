"""Tiles of a `contract` that reads windows: which of its axes slide, and whether that pays.

The operand `rhs` of a convolution reads an image at (place of the window) * stride + (place in the
window) * dilation. Copied into panels, each element is there once for every window that it lies in.
Copied as an image, with the margin that the region computes around it, it is there once, and the
products find their vectors at fixed distances in it. What decides is how much is copied against the
lanes at the ends of an image's rows that are multiplied for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.access import Expressions, accesses, axis_extents, coefficient, index_uses
from ..ir.dims import Dim
from ..ir.graph import Node, Region, Value
from ..ir.schedule import Slide, WindowSchedule
from ..ir.target import Target
from .contract_operands import side_of
from .schedule_channels import ChannelTiles

# Cycles of a vector: copied with a margin; the same lane by lane; multiplied by a row.
COPIED, GATHERED, MULTIPLIED = 4.0, 24.0, 0.5
STORED = 6.0  # of a vector of sums that goes to memory and back
TURN, UNEVEN = 1.0, 0.3  # of a turn of k, and of each vector that it reads, in half cycles
MOST_APART = 4  # the stride of windows whose phases are shuffled apart
PAGE = 4096  # bytes between addresses that share a set of the first cache
HEIGHTS = 4  # below the highest tile that fits are looked at
FEW_TILES = 48  # for which rows are not packed
TASK = 200.0  # of what happens once for each image
FEW_LINES = 0.8  # of what panels seem to cost, where these are cheaper than an image


def schedule_windows(node: Node, target: Target) -> WindowSchedule | None:
    """The schedule of a `contract` that reads windows from a copy of the image; None where it has
    none, or where panels are cheaper."""
    found = _Windows.of(node)
    if found is None:
        return None
    return _Chooser(found, target).choose()


@dataclass(frozen=True, slots=True)
class _Windows:
    """A `contract` that reads windows: its slides, the product of the axes of k that do not slide
    (`channels`), the number of rows, and points of the batch (None: a symbol)."""

    node: Node
    slides: tuple[Slide, ...]
    channels: int
    rows: int
    batch: int | None

    @staticmethod
    def of(node: Node) -> _Windows | None:
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        if not all(isinstance(d, int) and d > 0 for d in (*m, *n, *k)):
            return None
        region, out = node.regions[1], node.regions[2]
        k_axes = region.params[len(batch) : len(batch) + len(k)]
        n_axes = region.params[len(batch) + len(k) :]
        slides = _slides(region, n_axes, n, k_axes, k)
        if slides is None or not _contiguous(out, out.params[len(batch) + len(m) : -1], n):
            return None
        sliding = {slide.tap for slide in slides}
        channels = math.prod(d for a, d in enumerate(k) if a not in sliding)
        first = min((a for a in sliding if a is not None), default=len(k))
        if any(d != 1 for a, d in enumerate(k) if a > first and a not in sliding):
            return None  # the rows have their terms in the order of k
        points = math.prod(batch) if all(isinstance(d, int) for d in batch) else None
        return _Windows(node, slides, channels, math.prod(m), points)


def _slides(
    region: Region, n_axes: Sequence[Value], n: Sequence[int], k_axes: Sequence[Value],
    k: Sequence[int],
) -> tuple[Slide, ...] | None:  # fmt: skip
    """A slide for each axis of n that has more than one point; None where none has taps."""
    extents: dict[Value, Dim] = dict(zip((*n_axes, *k_axes), (*n, *k), strict=True))
    expressions = Expressions({**axis_extents(region), **extents})
    dims = [a.offset for a in accesses(region, expressions)]
    dims += index_uses(region, expressions)
    found: list[Slide] = []
    for axis, variable in enumerate(n_axes):
        if n[axis] == 1:
            continue
        slide = Slide(axis, None, n[axis], 1, 1, 1)
        for tap, other in enumerate(k_axes):
            if k[tap] == 1 or any(s.tap == tap for s in found):
                continue
            steps = together(dims, variable, other)
            if steps is None or 1 not in steps or steps[0] > MOST_APART:
                continue
            both = Slide(axis, tap, n[axis], k[tap], *steps)
            if both.phases * both.reach < n[axis] * k[tap]:  # windows share elements
                slide = both
        found.append(slide)
    if not any(slide.tap is not None for slide in found):
        return None
    taps = [slide.tap for slide in found if slide.tap is not None]
    return tuple(found) if taps == sorted(taps) else None


def together(dims: Sequence[Dim], a: Value, b: Value) -> tuple[int, int] | None:
    """(s, d) where every expression sees a and b as the one number a * s + b * d alone."""
    steps: tuple[int, int] | None = None
    for dim in dims:
        of_a, of_b = coefficient(dim, a), coefficient(dim, b)
        if of_a == 0 and of_b == 0:
            continue
        if not isinstance(of_a, int) or not isinstance(of_b, int) or of_a * of_b <= 0:
            return None
        common = math.gcd(of_a, of_b)
        here = abs(of_a) // common, abs(of_b) // common
        if steps not in (None, here):
            return None
        steps = here
    return steps


def _contiguous(out: Region, variables: Sequence[Value], n: Sequence[int]) -> bool:
    """Whether neighbours along the last axis of n lie close in what `out` stores."""
    last = next((v for v, e in zip(reversed(variables), reversed(n), strict=True) if e != 1), None)
    if last is None:
        return False
    extents: dict[Value, Dim] = dict(zip(variables, n, strict=True))
    stores = [a for a in accesses(out, Expressions({**axis_extents(out), **extents})) if a.writes]
    steps = [coefficient(a.offset, last) for a in stores]
    return all(isinstance(step, int) and 0 < step <= 4 for step in steps)


def _terms_in_place(node: Node, size: int) -> list[int] | None:
    """How far neighbours along each axis of k lie apart, of rows that may be read where they lie:
    elements as they are, in rows that do not share one set of the first cache, whose terms lie in
    a run or two. None of others."""
    lhs = node.regions[0]
    batch, m, k = (tuple(node.attrs[name]) for name in ("batch", "m", "k"))
    made = lhs.yields[0].node
    if made is None or made.op.name != "load" or made.attrs.get("guarded"):
        return None
    if lhs.yields[0].type.dtype is not node.attrs["acc"]:
        return None
    own = lhs.params[len(batch) : len(batch) + len(m)]
    side = side_of(lhs, own, lhs.params[len(batch) + len(m) :], m, k)
    (access,) = side.accesses
    rows = [coefficient(access.offset, v) for v in side.own]
    if len(rows) > 1 or side.k_runs > 2:
        return None
    if not all(isinstance(step, int) and step * size % PAGE != 0 for step in rows):
        return None
    steps = [coefficient(access.offset, v) for v in side.k]
    known = [step for step in steps if isinstance(step, int)]
    return known if len(known) == len(steps) else None


class _Chooser:
    def __init__(self, windows: _Windows, target: Target) -> None:
        self.windows = windows
        self.target = target
        attrs = windows.node.attrs
        self.size = attrs["acc"].itemsize
        self.lanes = target.lanes(attrs["acc"])
        self.slides = windows.slides
        self.taps = math.prod(slide.taps for slide in self.slides)

    def choose(self) -> WindowSchedule | None:
        block = self._block()
        if block is None:
            return None
        windows = self.windows
        mr, nr = self._tile(block)
        channels = ChannelTiles(windows.node, self.slides, windows.rows, windows.batch, self.target)
        form = self._form(mr, nr, block, channels)
        if form == "panels":
            return None
        if form == "channels":
            return channels.schedule(block, self._rows_of_task(channels.nr, block))
        mc, direct = self._rows_of_task(mr, block), self._in_place(nr)
        return WindowSchedule(mr, nr, mc, self.lanes, block, self.slides, direct)

    def _form(self, mr: int, nr: int, block: int, channels: ChannelTiles) -> str:
        """What takes the fewest cycles: "panels" of windows; or a copy of the image, where
        "places" run over the lanes or rows do, "channels". These two add in the same order, so
        which of them it is may depend on the number of threads."""
        image, panels = self._cycles(mr, nr, block)
        across = channels.cycles + self._copying(block)
        if image >= panels:
            return "channels" if across < FEW_LINES * panels else "panels"
        places = max(image, self._in_tiles(mr, nr, block)) * self._uneven(mr, block)
        return "channels" if across * self._uneven(channels.nr, block) < places else "places"

    def _uneven(self, height: int, block: int) -> float:
        """How much longer than on average the slowest thread takes, with panels of such height."""
        panels = -(-self.windows.rows // height)
        return self._slowest(panels, self._rows_of_task(height, block) // height, block) / panels

    def _tile(self, block: int) -> tuple[int, int]:
        """Rows and columns whose sums, with the vectors of one step, fill the registers, and that
        take the slowest thread the fewest cycles."""
        registers, rows = self.target.registers, self.windows.rows
        free = registers - (2 if self.target.fma else 4)
        most = max(1, -(-self._flat(self.slides[0].points) // self.lanes))
        best: tuple[float, int, int] = (math.inf, 1, 1)
        for vectors in range(1, min(8, most) + 1):
            highest = min((free - vectors) // vectors, 16, rows)
            if highest < 1:
                break
            for height in range(highest, max(0, highest - HEIGHTS), -1):
                mr = -(-rows // -(-rows // height))
                panels = -(-rows // mr)
                slowest = self._slowest(panels, 1, block)
                cycles = self._step(mr, vectors) * slowest * -(-most // vectors)
                best = min(best, (cycles, mr, vectors))
        return best[1], best[2] * self.lanes

    def _step(self, mr: int, vectors: int) -> float:
        """Half cycles of a turn of k: two products and two reads a cycle, of vectors that lie
        across two lines of the cache; a sum waits for four cycles."""
        return max(mr * vectors, mr + 2 * vectors, 8) + UNEVEN * vectors + TURN

    def _in_tiles(self, mr: int, nr: int, block: int) -> float:
        """Cycles of one image in tiles whose places run over the lanes, whole tiles counted."""
        vectors, blocks = nr // self.lanes, -(-self.slides[0].points // block)
        tiles = blocks * -(-self._flat(block) // nr) * -(-self.windows.rows // mr)
        depth = self.windows.channels * self.taps
        products = tiles * (depth * self._step(mr, vectors) / 2 + STORED * mr * vectors)
        return products + self._copying(block)

    def _in_place(self, nr: int) -> bool:
        """Whether rows are read where they lie: their terms follow one another, as they would in
        panels; or these would serve few tiles, and the terms of a channel lie together."""
        windows = self.windows
        steps = _terms_in_place(windows.node, self.size)
        if steps is None:
            return False
        terms = [d for d in windows.node.attrs["k"] if d != 1]
        if steps == [math.prod(terms[axis + 1 :]) for axis in range(len(terms))]:
            return True
        points = math.prod(slide.points for slide in self.slides)
        few = windows.batch is not None and windows.batch * points <= FEW_TILES * nr
        return few and steps[-1] in (1, -1)

    def _flat(self, points: int) -> int:
        """Lanes from the first point to the last of a block of the image."""
        flat = points - 1
        for slide in self.slides[1:]:
            flat = flat * slide.reach + slide.points - 1
        return flat + 1

    def _copied(self, points: int) -> int:
        """Elements of the copy that a block reads."""
        first = self.slides[0].at_most(points)
        sizes = [first.reach * first.phases, *(s.reach * s.phases for s in self.slides[1:])]
        return self.windows.channels * math.prod(sizes)

    def _block(self) -> int | None:
        """Points of the first axis of a block whose copy stays in L2, beside the rows; None where
        a single one is too large."""
        room, points = self.target.l2 // 4 // self.size, self.slides[0].points
        if self._copied(1) > room:
            room *= 2
        while points > 1 and self._copied(points) > room:
            points = -(-points // 2)
        if self._copied(points) > room:
            return None
        blocks = -(-self.slides[0].points // points)
        return -(-self.slides[0].points // blocks)

    def _cycles(self, mr: int, nr: int, block: int) -> tuple[float, float]:
        """What one image costs by a copy of it, and by panels."""
        windows, lanes = self.windows, self.lanes
        rows, depth = windows.rows, windows.channels * self.taps
        blocks = -(-self.slides[0].points // block)
        vectors = -(-self._flat(block) // nr) * nr // lanes * blocks
        last = self.slides[-1]
        image = vectors * rows * (depth * MULTIPLIED + STORED) + self._copying(block)
        points = math.prod(slide.points for slide in self.slides)
        crossing = min(1.0, nr / last.points) if last.points % lanes else 0.0
        if len(self.slides) == 1:
            crossing = 0.0
        inside = COPIED if last.stride == 1 else 2 * COPIED
        panel = (1 - crossing) * inside + crossing * GATHERED
        wide = -(-points // lanes)
        panels = wide * rows * (depth * MULTIPLIED + STORED) + wide * depth * panel + TASK
        return image, panels

    def _copying(self, block: int) -> float:
        """Cycles that the copies of one image take."""
        blocks = -(-self.slides[0].points // block)
        return blocks * (TASK + self._copied(block) / self.lanes * COPIED)

    def _rows_of_task(self, mr: int, block: int) -> int:
        """Rows of a task: all, but where there are fewer images than threads."""
        panels = -(-self.windows.rows // mr)
        images = self._images(block)
        if images is None or images >= 2 * self.target.threads:
            return panels * mr
        # Of sizes that leave the slowest thread as little, the largest: fewest copies of an image.
        sizes = range(panels, 0, -1)
        return min(sizes, key=lambda size: self._slowest(panels, size, block)) * mr

    def _images(self, block: int) -> int | None:
        """How many copies of images, or parts of one, are multiplied; None where a symbol tells."""
        if self.windows.batch is None:
            return None
        return self.windows.batch * -(-self.slides[0].points // block)

    def _slowest(self, panels: int, size: int, block: int) -> float:
        """Panels of rows, of so many, in tasks of `size`, that the slowest thread computes for each
        image that falls to it."""
        images, threads = self._images(block), self.target.threads
        if images is None or threads == 1:
            return panels
        tasks = images * -(-panels // size)
        return -(-tasks // threads) * size * threads / max(1, images)
