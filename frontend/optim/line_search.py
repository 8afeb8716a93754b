"""A step length along a direction that satisfies the strong Wolfe conditions (Nocedal and Wright,
2006, algorithms 3.5 and 3.6, with cubic interpolation)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_DECREASE, _CURVATURE = 1e-4, 0.9
_MOST_STEPS = 25


class Point(NamedTuple):
    """The loss somewhere, and its gradient as a vector."""

    loss: float
    slope: np.ndarray


class _Trial(NamedTuple):
    """A step length, the point there, and the derivative along the direction."""

    length: float
    point: Point
    along: float


def _cubic_minimum(a: _Trial, b: _Trial, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two values and derivatives is least, within bounds."""
    low, high = bounds or (min(a.length, b.length), max(a.length, b.length))
    if a.length == b.length:
        return (low + high) / 2
    first = a.along + b.along - 3 * (a.point.loss - b.point.loss) / (a.length - b.length)
    square = first**2 - a.along * b.along
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    if a.length <= b.length:
        left, right = a, b
    else:
        left, right = b, a
    span = right.length - left.length
    place = right.length - span * (
        (right.along + root - first) / (right.along - left.along + 2 * root)
    )
    return min(max(place, low), high)


def strong_wolfe(
    at: Callable[[float], Point], start: Point, length: float, direction: np.ndarray, least: float
) -> tuple[Point, float, int]:
    """The point at a good step length, that length, and how often `at` was called.

    Args:
        at: the point at a length.
        start: the point at length 0.
        length: the first one to try.
        direction: of the steps; the loss falls along it at first.
        least: brackets shorter than this (times the largest element of the direction) end it.
    """
    size = float(abs(direction).max(initial=0))
    origin = _Trial(0.0, start, float(start.slope @ direction))

    def tried(length: float) -> _Trial:
        point = at(length)
        return _Trial(length, point, float(point.slope @ direction))

    def falls_enough(trial: _Trial) -> bool:
        return trial.point.loss <= start.loss + _DECREASE * trial.length * origin.along

    def is_flat(trial: _Trial) -> bool:
        return abs(trial.along) <= -_CURVATURE * origin.along

    trial, before, calls = tried(length), origin, 1
    bracket: list[_Trial] = []
    while not bracket:
        if calls > _MOST_STEPS:
            bracket = [origin, trial]
        elif not falls_enough(trial) or (calls > 1 and trial.point.loss >= before.point.loss):
            bracket = [before, trial]
        elif is_flat(trial):
            return trial.point, trial.length, calls
        elif trial.along >= 0:
            bracket = [before, trial]
        else:
            nearest = trial.length + 0.01 * (trial.length - before.length)
            place = _cubic_minimum(before, trial, (nearest, trial.length * 10))
            before, trial = trial, tried(place)
            calls += 1
    low, high = sorted(bracket, key=lambda t: t.point.loss)
    stalled = False
    while calls <= _MOST_STEPS and abs(high.length - low.length) * size >= least:
        place, stalled = _kept_inside(_cubic_minimum(low, high), low, high, stalled)
        trial = tried(place)
        calls += 1
        if not falls_enough(trial) or trial.point.loss >= low.point.loss:
            high = trial
            if high.point.loss < low.point.loss:
                low, high = high, low
            continue
        if is_flat(trial):
            low = trial
            break
        if trial.along * (high.length - low.length) >= 0:
            high = low
        low = trial
    return low.point, low.length, calls


def _kept_inside(place: float, low: _Trial, high: _Trial, stalled: bool) -> tuple[float, bool]:
    """A place that is too near to an end of the bracket is moved inwards, at the second time or
    where it lies beyond; and whether it was too near."""
    first, last = sorted((low.length, high.length))
    margin = 0.1 * (last - first)
    if min(last - place, place - first) >= margin:
        return place, False
    if stalled or place >= last or place <= first:
        moved = last - margin if abs(place - last) < abs(place - first) else first + margin
        return moved, False
    return place, True
