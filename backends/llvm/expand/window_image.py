"""The copy of an image, with its margin, that the windows of a `contract` read (`windows.py`)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ....ir.dims import Dim, Var, add_all, of_atom, product
from ....ir.graph import Node, Value
from ....ir.literal import Literal
from ....ir.schedule import Slide
from .blocks import fixed, loop_over
from .loops import Carried, native_lanes, vector_loop
from .scope import Expander, Scope, Vector

LINE = 16  # elements that keep the channels of an image out of each other's sets of the cache


class Image:
    """The copy of an operand that reads windows.

    Attributes:
        planes: elements of one channel.
        pitches: how far apart neighbours along each slide are.
    """

    def __init__(
        self, expander: Expander, node: Node, slides: Sequence[Slide], block: int, slack: int,
        summed: bool = False,
    ) -> None:  # fmt: skip
        """`slack`: elements that may be read behind the image. `summed`: the points of the slides
        are axes of k, and their taps axes of n; axes of k before these are bound by who copies."""
        self.expander = expander
        self.region = node.regions[1]
        self.slides = slides
        self.first = slides[0].at_most(block)
        batch, k, n = (tuple(node.attrs[name]) for name in ("batch", "k", "n"))
        params = self.region.params
        self.batch = params[: len(batch)]
        over_k = params[len(batch) : len(batch) + len(k)]
        over_n = params[len(batch) + len(k) :]
        self.point_axes, self.tap_axes = (over_k, over_n) if summed else (over_n, over_k)
        sliding = {slide.tap for slide in slides}
        taps = zip(self.tap_axes, n if summed else k, strict=True)
        self.channel_axes = [(v, d) for a, (v, d) in enumerate(taps) if a not in sliding]
        self.channels = product(d for _, d in self.channel_axes)
        self.reaches = [self.first.reach, *(s.reach for s in slides[1:])]
        self.pitches = [product(self.reaches[a + 1 :]) for a in range(len(slides))]
        self.phases = [s.phases for s in slides]
        self.field = product(self.reaches)
        self.plane = self.field * product(self.phases)
        if self.channels != 1 and self.plane % (4 * LINE) == 0:
            self.plane += LINE
        self.dtype = node.attrs["acc"]
        self.size = known(self.channels) * self.plane
        self.slack = slack
        self.buffer = expander.alloc((self.size + slack,), self.dtype)

    def distance(self, axis: int, tap: Dim) -> Dim:
        """How far apart a tap of one slide and its tap 0 find their first points."""
        slide = self.slides[axis]
        if slide.stride == 1:
            return tap * (slide.dilation * self.pitches[axis])
        apart = product(self.phases[axis + 1 :]) * self.field
        return tap % slide.stride * apart + tap // slide.stride * self.pitches[axis]

    def place(self, taps: Sequence[int]) -> Dim:
        """Where in a channel the taps (one for each slide) find the first point."""
        return add_all(self.distance(axis, tap) for axis, tap in enumerate(taps))

    def clear(self) -> None:
        """Writes zeros where nothing is copied to. Lanes that are not used read there, and numbers
        that are not normal would make them slow."""
        gap = self.plane - self.field * math.prod(self.phases)
        if any(phases > 1 for phases in self.phases):
            self._zeros(0, self.size + self.slack)
            return
        if gap:
            end = self.plane - gap
            loop_over(
                self.expander,
                known(self.channels),
                lambda c: self._zeros(c * self.plane + end, gap),
            )
        self._zeros(self.size, self.slack)

    def _zeros(self, first: Dim, count: Dim) -> None:
        expander, begin = self.expander, fixed(self.expander, first)
        zero = expander.emit("constant", value=Literal(np.zeros((), self.dtype.numpy)))
        lanes = native_lanes(expander, self.dtype)

        def vector(inner: Scope, at: Dim, _: Carried) -> Sequence[Value]:
            expander.write(self.buffer, begin + at, zero, inner)
            return ()

        vector_loop(expander, Scope(None, None), count, lanes, 0, count, vector)

    def fill(self, scope: Scope, start: Dim, points: Dim) -> None:
        """Copies what the points [start, start + points) of the first slide read."""
        self._channels(scope.inner(), list(self.channel_axes), 0, start, points)

    def _channels(
        self, scope: Scope, axes: list[tuple[Value, Dim]], number: Dim, start: Dim, points: Dim
    ) -> None:
        for variable in (*self.point_axes, *self.tap_axes):
            if scope.find("exprs", variable) is None:
                scope.exprs[variable] = 0
        if axes:
            (variable, extent), *rest = axes

            def turn(at: Dim) -> None:
                inner = scope.inner()
                inner.exprs[variable] = at
                self._channels(inner, rest, number * extent + at, start, points)

            each(self.expander, extent, turn)
            return
        base = fixed(self.expander, number * self.plane)
        outer = self.phases[:-1]
        for field, phases in enumerate(itertools.product(*map(range, outer))):
            where = base + field * self.phases[-1] * self.field
            self._lines(scope, 0, phases, where, start, points)

    def _lines(
        self, scope: Scope, axis: int, phases: Sequence[int], where: Dim, start: Dim, points: Dim
    ) -> None:
        """The places of the fields of some phases, from the slide number `axis` on."""
        slide = self.slides[axis]
        extent: Dim = slide.points if axis else points
        span = (extent - 1) * slide.stride + (slide.taps - 1) * slide.dilation + 1
        begin = start * slide.stride if axis == 0 else 0
        if axis + 1 == len(self.slides):
            self._line(scope, slide, where, begin, span)
            return

        def line(at: Dim) -> None:
            inner = scope.inner()
            self._bind(inner, slide, begin + at * slide.stride + phases[axis])
            place = fixed(self.expander, where + at * self.pitches[axis])
            self._lines(inner, axis + 1, phases, place, start, points)

        each(self.expander, (span - 1 - phases[axis]) // slide.stride + 1, line)

    def _bind(self, scope: Scope, slide: Slide, place: Dim) -> None:
        through_tap = slide.tap is not None and slide.stride != 1
        variable = self.tap_axes[slide.tap or 0] if through_tap else self.point_axes[slide.axis]
        scope.exprs[variable] = place

    def _line(self, scope: Scope, slide: Slide, where: Dim, begin: Dim, span: Dim) -> None:
        """The places [begin, begin + span) of a line, each phase for itself."""
        expander, stride = self.expander, slide.stride
        lanes = native_lanes(expander, self.dtype)
        if stride == 1:

            def vector(inner: Scope, at: Dim, _: Carried) -> Sequence[Value]:
                self._bind(inner, slide, begin + at)
                expander.write(self.buffer, where + at, self._element(inner), inner)
                return ()

            vector_loop(expander, scope.inner(), span, lanes, 0, span, vector)
            return

        def vectors(variable: Value, _: Carried) -> Sequence[Value]:
            at = of_atom(Var(variable))
            found = [
                self._masked(scope, slide, begin, at * stride + piece * width, span)
                for piece in range(stride)
            ]
            for phase in range(slide.phases):
                value = _every(expander, found, stride, phase)
                reach = (span - 1 - phase) // stride + 1
                inner, iota = _within(expander, scope, at, reach, width)
                place = where + phase * self.field + at + of_atom(Var(iota, width))
                expander.write(self.buffer, place, value, inner)
            return ()

        width = lanes[0]
        expander.loop(0, (span + stride - 1) // stride, width, (), vectors, unroll=1)

    def _masked(self, scope: Scope, slide: Slide, begin: Dim, first: Dim, span: Dim) -> Value:
        """A vector of places from `first` on, of those below `span`."""
        width = self.expander.target.lanes(self.dtype)
        inner, iota = _within(self.expander, scope, first, span, width)
        self._bind(inner, slide, begin + first + of_atom(Var(iota, width)))
        return self.expander.widen(self._element(inner), width)

    def _element(self, scope: Scope) -> Value:
        (value,) = self.expander.run(self.region, scope)
        if value.type.dtype is self.dtype:
            return value
        return self.expander.emit("cast", value, dtype=self.dtype)


def _within(
    expander: Expander, scope: Scope, first: Dim, bound: Dim, lanes: int
) -> tuple[Scope, Value]:
    """A scope in vectors, of the lanes at first, first + 1, ... that are below the bound; and the
    lanes' numbers."""
    iota = expander.emit("lanes", expander.integer(0), lanes=lanes)
    mask = expander.emit(
        "mask", expander.materialise(first), expander.materialise(bound), lanes=lanes
    )
    return scope.inner(Vector(lanes, iota, mask)), iota


def _every(expander: Expander, vectors: Sequence[Value], step: int, first: int) -> Value:
    """The elements first, first + step, ... of `step` vectors, one behind the other."""
    lanes = vectors[0].type.shape[0]
    assert isinstance(lanes, int)
    joined = list(vectors)
    while len(joined) > 2:
        joined += joined[-1:] if len(joined) % 2 else []
        joined = [
            expander.emit("join", a, b) for a, b in zip(joined[::2], joined[1::2], strict=True)
        ]
    wanted = tuple(first + step * lane for lane in range(lanes))
    return expander.emit("shuffle", joined[0], joined[-1], lanes=wanted)


def each(expander: Expander, count: Dim, body: Callable[[Dim], None]) -> None:
    """body(0), body(1), ...; no loop for one turn."""
    if count == 1:
        body(0)
        return
    loop_over(expander, count, body)


def known(dim: Dim) -> int:
    assert isinstance(dim, int), f"{dim} of a window is no number"
    return dim
