"""Sorts by kernels, on a simulated GPU: every length, dtype and direction, ties, limits, axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from simulated_gpu import SimulatedGpu

from sley.ir.builder import Recording
from sley.ir.dims import Dim, symbol
from sley.ir.dtypes import by_name
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value
from sley.ir.ops.sorting import SORT
from sley.ir.ops.view import SLICE
from sley.ir.plan import HostCall, Launch
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.pipeline import run_passes

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38]
DTYPES = ["f32", "f16", "bf16", "f64", "i64", "i32", "i16", "i8", "u8", "u16", "u32", "u64", "bool"]
LENGTHS = (0, 1, 2, 3, 31, 257, 1000, 1024, 1025, 3000, 5000)
Take = Callable[[Value, Value], Sequence[Value]]


def drawn(dtype: str, shape: tuple[int, ...], ties: bool = True) -> np.ndarray:
    """Numbers with many ties, or hardly any; the extremes of the dtype among them."""
    rng, kind = np.random.default_rng(len(shape) + sum(shape)), by_name(dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if kind.is_float:
        with np.errstate(over="ignore"):
            found = rng.choice(np.array(SPECIAL), shape)
            found = (
                found if ties else np.where(rng.random(shape) < 0.1, found, rng.normal(size=shape))
            )
            return found.astype(np.float32).astype(kind.numpy)
    info = np.iinfo(kind.numpy)
    few = rng.choice(np.array([info.min, info.max, 0, 1, 2, 3], kind.numpy), shape)
    return few if ties else rng.integers(info.min, info.max, shape, kind.numpy, endpoint=True)


def both(values: Value, places: Value) -> Sequence[Value]:
    return values, places


def first(count: int) -> Take:
    """The first `count` of each row, and where they stood."""

    def take(*found: Value) -> Sequence[Value]:
        return [
            SLICE(v, starts=(0, 0), sizes=(v.type.shape[0], count), steps=(1, 1)) for v in found
        ]

    return take


def program(dtype: str, shape: Sequence[Dim], take: Take, axis: int, descending: bool) -> Graph:
    builder = Recording()
    x = builder.param(tensor_type(by_name(dtype), tuple(shape)), "x")
    with builder:
        found = take(*SORT(x, axis=axis, descending=descending))
    return builder.finish("f", list(found))


def check(
    graph: Graph, x: np.ndarray, sizes: Mapping[str, int] | None = None, launches: int | None = None
) -> None:
    gpu = SimulatedGpu()
    lowered = run_passes(graph, gpu.device.target, verify=verify)
    steps = list(lowered.plan.walk())
    assert not any(isinstance(step, HostCall) for step in steps)
    if launches is not None:
        assert sum(isinstance(step, Launch) for step in steps) == launches
    results = gpu.build(lowered)([x.copy()], sizes)
    for found, wanted in zip(results, evaluate(graph, [x]), strict=True):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        if len(results) > 1:  # with places each element is known by its bits
            found, wanted = (
                np.ascontiguousarray(a).view(f"u{a.itemsize}") for a in (found, wanted)
            )
        elif wanted.dtype.kind == "V":
            found, wanted = found.astype(np.float32), wanted.astype(np.float32)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_lengths(dtype: str, length: int) -> None:
    for ties in (True, False):
        graph = program(dtype, (3, length), both, 1, ties)
        check(graph, drawn(dtype, (3, length), ties))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: str, descending: bool) -> None:
    cases = [((2, 4, 40), both, 1), ((70, 3), both, 0), ((2, 1500), both, 1)]
    cases += [((4, 300), lambda v, p: (v,), 1), ((2, 2100), lambda v, p: (v,), 1)]
    for shape, take, axis in cases:
        check(program(dtype, shape, take, axis, descending), drawn(dtype, shape, axis == 0))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 300, 700])
def test_the_first_of_rows(count: int, descending: bool) -> None:
    for dtype in ("f32", "i64"):
        for length in (1000, 2500):
            graph = program(dtype, (3, length), first(count), 1, descending)
            check(graph, drawn(dtype, (3, length), False))


def test_one_long_row() -> None:
    x = drawn("f32", (1, 65_537), False)
    check(program("f32", x.shape, both, 1, True), x)
    check(program("f32", x.shape, first(50), 1, True), x)


def test_short_rows_are_one_kernel() -> None:
    """Keys, order, places and elements stay in registers."""
    check(program("f32", (5, 200), both, 1, True), drawn("f32", (5, 200)), launches=1)


def test_any_number_of_rows() -> None:
    graph = program("f32", (symbol("N"), 1100), both, 1, False)
    for rows in (0, 1, 3):
        check(graph, drawn("f32", (rows, 1100)), {"N": rows})


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rows_of_any_length(dtype: str) -> None:
    graph = program(dtype, (2, symbol("N")), both, 1, False)
    for length in (0, 1, 3, 1024, 1025, 5000):
        check(graph, drawn(dtype, (2, length), False), {"N": length})
    graph = program(dtype, (symbol("M"), symbol("N") + 7), first(7), 1, True)
    for rows, length in ((0, 7), (3, 7), (2, 2100)):
        check(graph, drawn(dtype, (rows, length)), {"M": rows, "N": length - 7})
