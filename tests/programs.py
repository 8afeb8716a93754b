"""Runs a function of values eagerly and as a recorded program; tests compare both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sley.ir.builder import Concrete, Evaluating, Recording
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value, full
from sley.ir.literal import array_type
from sley.ir.ops.reduction import REDUCE_SUM
from sley.ir.types import TensorType

Arrays = Sequence[np.ndarray]
Program = Callable[[Sequence[Value]], Sequence[Value]]


def run_eager(program: Program, arrays: Arrays) -> list[np.ndarray]:
    with Evaluating(record=True):
        return [v.array for v in program([Concrete(a) for a in arrays])]  # type: ignore[attr-defined]


def record(program: Program, types: Sequence[TensorType]) -> Graph:
    """The graph that `program` records for parameters of these types."""
    with Recording() as builder:
        return builder.finish("program", program([builder.param(t) for t in types]))


def run_traced(program: Program, arrays: Arrays) -> list[np.ndarray]:
    return evaluate(record(program, [array_type(a) for a in arrays]), arrays)


RUNS = {"eager": run_eager, "traced": run_traced}


def sum_all(value: Value) -> Value:
    axes = tuple(range(value.type.ndim))
    return REDUCE_SUM(value, axes=axes) if axes else value


def ones(like: Value) -> Value:
    return full(like.type, 1)
