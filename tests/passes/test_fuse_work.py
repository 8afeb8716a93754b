"""Fusing repeats little: the work of all kernels stays near that of the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from programs import record
from random_graphs import random_arrays

from sley.ir.dims import evaluate as size_of
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value, full
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.work import work
from sley.passes.fuse import fuse

N = symbol("N")
WIDTH = 40
Step = Callable[[Value, int], Value]


def shifted(x: Value, by: int, into: int | None = None) -> Value:
    """x without its last `by` columns, `into` columns of zeros before it."""
    cut = OPS["slice"](x, starts=(0, 0), sizes=(N, WIDTH - by), steps=(1, 1))
    zero = full(tensor_type(f32, ()), 0.0)
    return OPS["pad"](cut, zero, low=(0, by), high=(0, 0), interior=(0, 0))


def in_place(x: Value, by: int) -> Value:
    """x with its first `by` columns replaced by zeros: read where it is, under a condition."""
    cut = OPS["slice"](x, starts=(0, by), sizes=(N, WIDTH - by), steps=(1, 1))
    zero = full(tensor_type(f32, ()), 0.0)
    return OPS["pad"](cut, zero, low=(0, by), high=(0, 0), interior=(0, 0))


def flipped(x: Value, by: int) -> Value:
    return OPS["slice"](x, starts=(N - 1, by - by), sizes=(N, WIDTH), steps=(-1, 1))


def half(x: Value) -> Value:
    return x * full(tensor_type(f32, x.type.shape), 0.5)


STEPS: dict[str, Step] = {
    "shift": lambda y, by: half(y) + shifted(y, by),
    "shift of another value": lambda y, by: half(y) + shifted(half(half(y)), by),
    "condition": lambda y, by: half(y) + in_place(y, by),
    "flip": lambda y, by: half(y) + flipped(y, by),
}


def passes(step: Step, count: int) -> Graph:
    def program(params: Sequence[Value]) -> list[Value]:
        (y,) = params
        for by in range(1, count + 1):
            y = step(y, by)
        return [y]

    return record(program, [tensor_type(f32, (N, WIDTH))])


def work_of(graph: Graph, rows: int) -> int:
    kernels = [n.attrs["kernel"] for n in graph.nodes if n.op.name == "launch"]
    return sum(size_of(work(kernel), {"N": rows}) for kernel in kernels)


@pytest.mark.parametrize("name", STEPS)
def test_the_work_of_a_chain_of_passes_grows_with_its_length(name: str) -> None:
    """Each reads the one before at two places; all in one kernel it would double with each."""
    each = [work_of(fuse(passes(STEPS[name], count)), 7) for count in (1, 6, 12)]
    assert each[1] <= 6 * 4 * each[0]
    assert each[2] <= 2.5 * each[1]


@pytest.mark.parametrize("name", STEPS)
def test_a_chain_of_passes_means_the_same(name: str) -> None:
    graph = passes(STEPS[name], 6)
    arrays = random_arrays(graph, {"N": 3})
    (expected,), (got,) = (evaluate(g, arrays, {"N": 3}) for g in (graph, fuse(graph)))
    assert (expected == got).all()


def test_what_is_read_through_a_repeated_read_counts() -> None:
    """An expensive value behind a cheap one that a broadcast repeats is computed once."""

    def program(params: Sequence[Value]) -> list[Value]:
        (x,) = params
        row = x
        for _ in range(10):
            row = OPS["tanh"](row)
        row = OPS["slice"](row, starts=(WIDTH - 1,), sizes=(WIDTH,), steps=(-1,))
        row = half(row)
        return [half(OPS["broadcast"](row, shape=(N, WIDTH), dims=(1,)))]

    fused = fuse(record(program, [tensor_type(f32, (WIDTH,))]))
    assert work_of(fused, 1000) - work_of(fused, 0) <= 4 * 1000 * WIDTH


def test_one_cheap_value_read_twice_is_still_absorbed() -> None:
    fused = fuse(passes(STEPS["shift"], 2))
    assert sum(1 for n in fused.nodes if n.op.name == "launch") == 1
