"""What a batching rule is, and the few values that most rules need.

A value is batched if it has one more axis than in the program for one example, in front. A rule
runs where at least one operand of a node is batched; its results are then, or it says so of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.ops.view import BROADCAST, RESHAPE, TRANSPOSE


class BatchingError(TypeError):
    """A program that has no form for many examples. The message names the op and why."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many examples there are, and how they draw random numbers: "same" ones for all,
    "different" ones, or with an "error"."""

    size: Dim
    randomness: str = "error"


@dataclass(frozen=True, slots=True)
class Arrived:
    """An operand in the new program."""

    value: Value
    is_batched: bool


@dataclass(frozen=True, slots=True)
class NotBatched:
    """Stands in the table for an op that has no form for many examples, and says why."""

    reason: str


# (node of the program for one example, operands, lanes) -> results, one or a tuple: batched values,
# or `Arrived`s that say whether they are.
Rule = Callable[[Node, Sequence[Arrived], Lanes], Any]


def batched(operand: Arrived, lanes: Lanes) -> Value:
    """The value with the axis of examples, repeated along it where it has none."""
    value = operand.value
    if operand.is_batched:
        return value
    shape = value.type.shape
    return BROADCAST(value, shape=(lanes.size, *shape), dims=tuple(range(1, 1 + len(shape))))


def all_batched(operands: Sequence[Arrived], lanes: Lanes) -> list[Value]:
    return [batched(operand, lanes) for operand in operands]


def shifted(axes: Sequence[int]) -> tuple[int, ...]:
    """Axes of an example as axes of the batched value."""
    return tuple(axis + 1 for axis in axes)


def moved_axis(value: Value, source: int, target: int) -> Value:
    """The axis `source` put at the place `target`, the others in their order."""
    if source == target:
        return value
    order = [axis for axis in range(value.type.ndim) if axis != source]
    order.insert(target, source)
    return TRANSPOSE(value, perm=tuple(order))


def to_shape(value: Value, shape: Sequence[Dim]) -> Value:
    shape = tuple(shape)
    return value if value.type.shape == shape else RESHAPE(value, shape=shape)


def results_of(made: Any) -> tuple[Value, ...]:
    """What an op call gave, as a tuple."""
    return made if isinstance(made, tuple) else (made,)
