"""Kernels of programs as Triton text, run by the interpreter, against `evaluate_kernel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import kernel_building as b
import numpy as np
import pytest
from kernel_building import load, op, store
from op_samples import ALL_SAMPLES, Sample
from programs import record
from random_graphs import random_graph
from triton_interpreter import interpret
from triton_texts import needs_triton

from sley.backends.llvm.target import host_target
from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.target import gpu_target
from sley.ir.dims import Dim, evaluate, symbol
from sley.ir.evaluate_kernel import evaluate_kernel, fresh_outputs
from sley.ir.graph import Graph
from sley.ir.literal import array_type
from sley.ir.plan import Launch
from sley.passes.autodiff.transform import vjp
from sley.passes.pipeline import run_passes
from sley.passes.schedule_blocks import schedule_blocks

pytestmark = needs_triton
N, D = symbol("N"), symbol("D")
NOT_YET = ("suffixes of very long rows", "float64")


def kernels_of(graph: Graph) -> Iterator[Graph]:
    for step in run_passes(graph, host_target()).plan.walk():
        if isinstance(step, Launch):
            yield step.node.attrs["kernel"]


def check(kernel: Graph, sizes: Mapping[str, int], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    arrays = []
    for param in kernel.inputs:
        shape, dtype = [evaluate(d, sizes) for d in param.type.shape], param.type.dtype
        if dtype.is_float:
            arrays.append(np.array(rng.standard_normal(shape), dtype.numpy))
        else:
            arrays.append(np.array(rng.integers(0, 2, shape), dtype.numpy))
    expected = evaluate_kernel(kernel, arrays, sizes)
    outputs = [np.array(a) for a in fresh_outputs(kernel, sizes).values()]
    text = kernel_text(kernel, schedule_blocks(kernel, gpu_target("sm_90")), "kernel")
    interpret(text, [*arrays, *outputs], sizes)
    for found, wanted in zip(outputs, expected, strict=True):
        if wanted.dtype.kind in "biu":
            np.testing.assert_array_equal(found, wanted)
        else:
            tolerance = 2e-2 if wanted.dtype.itemsize == 2 else 5e-5
            pair = found.astype(np.float64), wanted.astype(np.float64)
            np.testing.assert_allclose(*pair, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("seed", range(25))
def test_random_programs(seed: int) -> None:
    for kernel in kernels_of(random_graph(seed)):
        for size in (5, 0, 1):
            check(kernel, {"N": size}, seed)


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=str)
def test_ops_in_every_dtype_and_their_gradients(sample: Sample) -> None:
    for dtype in sample.dtypes:
        graph = record(sample.emit, [array_type(a) for a in sample.arrays(dtype)])
        graphs = [graph, vjp(graph)] if sample.smooth and dtype == "f32" else [graph]
        for kernel in (k for g in graphs for k in kernels_of(g)):
            try:
                check(kernel, {})
            except NotImplementedError as error:
                assert any(words in str(error) for words in NOT_YET), error


# ------------------------------------------------------------------ rows of every length

LENGTHS = (0, 1, 2, 31, 33, 257, 1000, 5000, 20_000)


def softmax_kernel(rows: Dim, length: Dim) -> Graph:
    def body(x, y):
        with b.parallel(rows) as (i,):
            top = b.highest([length], lambda j: load(x, i, j))
            e = b.row([length], lambda j: op["exp"](load(x, i, j) - top))
            total = b.total([length], lambda j: load(e, j))
            with b.parallel(length) as (j,):
                store(y, load(e, j) / total, i, j)

    return b.kernel([("f32", (rows, length))], [("f32", (rows, length))], body)


@pytest.mark.parametrize("length", LENGTHS)
def test_softmax_of_rows(length: int) -> None:
    check(softmax_kernel(3, length), {})
    check(softmax_kernel(N, D), {"N": 3, "D": length})


def argmax_kernel(rows: Dim, length: Dim) -> Graph:
    """The largest element and the first place where it stands."""

    def combine(a, i, c, j):
        equal = op["bit_and"](op["eq"](a, c), op["lt"](i, j))
        left = op["bit_or"](op["gt"](a, c), equal)
        return op["where"](left, a, c), op["where"](left, i, j)

    def body(x, y, place):
        with b.parallel(rows) as (r,):
            start = b.constant("f32", -np.inf), b.constant("i64", 2**62)
            found = b.reduce([length], start, lambda j: (load(x, r, j), b.index(b.e(j))), combine)
            store(y, found[0], r)
            store(place, found[1], r)

    return b.kernel([("f32", (rows, length))], [("f32", (rows,)), ("i64", (rows,))], body)


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_places_of_the_largest(length: int) -> None:
    check(argmax_kernel(3, length), {})
    check(argmax_kernel(N, D), {"N": 3, "D": length})


def prefixes_kernel(rows: Dim, length: Dim, reverse: bool) -> Graph:
    def body(x, y):
        with b.parallel(rows) as (i,):
            zero = b.constant("f32", 0)
            sums = b.cumulate(length, zero, lambda j: load(x, i, j), op["add"], reverse)
            total = b.total([length], lambda j: load(sums, j) * b.index_as_float(b.e(j)))
            with b.parallel(length) as (j,):
                store(y, load(sums, j) / (total * total + 1000.0), i, j)

    return b.kernel([("f32", (rows, length))], [("f32", (rows, length))], body)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 33, 1000, 5000])
def test_prefixes_that_a_sum_and_a_loop_read(length: int, reverse: bool) -> None:
    check(prefixes_kernel(2, length, reverse), {})
    check(prefixes_kernel(N, D, reverse), {"N": 2, "D": length})


def columns_kernel(rows: Dim, columns: Dim) -> Graph:
    def body(x, y, z):
        with b.parallel(columns) as (j,):
            mean = b.total([rows], lambda i: load(x, i, j)) / 3.0
            store(y, b.highest([rows], lambda i: load(x, i, j) * mean), j)
            with b.parallel(rows) as (i,):
                store(z, load(x, i, j) - mean, i, j)

    results = [("f32", (columns,)), ("f32", (rows, columns))]
    return b.kernel([("f32", (rows, columns))], results, body)


@pytest.mark.parametrize(("rows", "columns"), [(3, 1), (1, 3), (33, 65), (70, 300), (300, 5)])
def test_columns(rows: int, columns: int) -> None:
    check(columns_kernel(rows, columns), {})
    check(columns_kernel(N, D), {"N": rows, "D": columns})


@pytest.mark.parametrize("shape", [(1, 40, 33), (2, 64, 96), (3, 5, 200), (2, 200, 5)])
def test_transpositions(shape: tuple[int, ...]) -> None:
    def body(x, y):
        with b.parallel(*shape) as (i, j, k):
            store(y, load(x, i, j, k) * 2.0, i, k, j)

    turned = (shape[0], shape[2], shape[1])
    check(b.kernel([("f32", shape)], [("f32", turned)], body), {})
