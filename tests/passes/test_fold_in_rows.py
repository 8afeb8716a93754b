"""Folds of columns that are taken while their rows are computed."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_running import Program, compile_and_run

import sley
import sley.nn.functional as F
from sley.backends.llvm.target import host_target
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import bf16, f32
from sley.ir.evaluate import bind_sizes
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fold_in_rows import fold_in_rows
from sley.passes.fuse import fuse
from sley.passes.schedule import schedule

RNG = np.random.default_rng(41)
N, B, T, D = (symbol(name) for name in "NBTD")


def program(shape, folds, *, dtype=f32, kept=False):
    """Rows of a softmax, and `folds(rows, other)`: values made of them."""
    builder = Recording()
    x, y = (builder.param(tensor_type(dtype, shape), name) for name in "xy")
    last = len(shape) - 1
    with builder:
        high = OPS["reduce_max"](x, axes=(last,), ties="even")
        e = OPS["exp"](x - spread(high, shape))
        rows = e / spread(OPS["reduce_sum"](e, axes=(last,)), shape)
        product = rows * y
        found = folds(product, y)
    return fuse(builder.finish("f", [*found, rows, *([product] if kept else [])]))


def spread(value, shape):
    return OPS["broadcast"](value, shape=shape, dims=tuple(range(len(shape) - 1)))


def summed(value, name="reduce_sum", **attrs):
    return OPS[name](value, axes=tuple(range(value.type.ndim - 1)), **attrs)


def run(graph, *arrays):
    """The program of launches, kernel by kernel, by numpy and as machine code in pieces."""
    values = dict(zip(graph.params, arrays, strict=True))
    sizes = bind_sizes(graph.params, arrays)
    for node in graph.nodes:
        kernel, operands = node.attrs["kernel"], [values[v] for v in node.operands]
        results = evaluate_kernel(kernel, operands, sizes)
        compiled = [compile_and_run(kernel, operands, sizes, pieces=k) for k in (1, 3)]
        for one, other, wanted in zip(*compiled, results, strict=True):
            np.testing.assert_array_equal(one, other)
            tolerance = 1e-4 if wanted.dtype == np.float32 else 3e-2
            np.testing.assert_allclose(one, wanted, tolerance, tolerance)
        values.update(zip(node.results, compiled[0], strict=True))
    return [values[v] for v in graph.yields]


def check(shape, folds, sizes=None, folded=True, **options):
    graph = program(shape, folds, **options)
    found = fold_in_rows(graph)
    verify(found)
    assert (found is not graph) == folded
    concrete = tuple((sizes or {}).get(str(d), d) for d in shape)
    kind = options.get("dtype", f32).numpy
    arrays = [RNG.standard_normal(concrete).astype(kind) for _ in range(2)]
    for a, b in zip(run(found, *arrays), run(graph, *arrays), strict=True):
        tolerance = 1e-4 if kind == np.float32 else 5e-2
        np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), tolerance, 1e-4)
    return found


@pytest.mark.parametrize("shape", [(64, 64), (65, 70), (127, 129), (1030, 64), (5, 13, 77)])
def test_sums_of_what_rows_give_and_read(shape):
    graph = check(shape, lambda t, y: [summed(t), summed(y), summed(t * y)])
    rows, *folds = graph.nodes
    # One fold is a loop over parts; the products that only sums read are not stored.
    assert len(rows.results) == 1 + 3 and len(folds) == 3
    assert all(len(p.type.shape) == 2 for p in rows.attrs["kernel"].out_params[1:])


def test_what_something_else_reads_is_stored():
    graph = check((70, 64), lambda t, y: [summed(t)], kept=True)
    assert len(graph.nodes[0].results) == 3


@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
def test_other_folds(name):
    check((80, 66), lambda t, y: [summed(t, name, ties="even")])


def test_halves_are_folded_wide():
    graph = check((96, 64), lambda t, y: [summed(t)], dtype=bf16)
    assert graph.nodes[0].results[-1].type.dtype is f32


@pytest.mark.parametrize("sizes", [{"N": 1}, {"N": 63}, {"N": 64}, {"N": 200}])
def test_symbolic_rows(sizes):
    check((N, 64), lambda t, y: [summed(t), summed(y)], sizes)


def test_symbolic_axes():
    check((B, T, D), lambda t, y: [summed(t)], {"B": 3, "T": 31, "D": 70})


def test_what_is_left_alone():
    few = (63, 64), (64, 63)
    for shape in few:
        check(shape, lambda t, y: [summed(t)], folded=False)
    # Which element it was, sums of some axes alone, of what is shifted.
    check((64, 64), lambda t, y: [summed(t, "argmax")], folded=False)
    check((8, 70, 64), lambda t, y: [OPS["reduce_sum"](t, axes=(0,))], folded=False)
    reverse = {"starts": (69, 0), "sizes": (70, 64), "steps": (-1, 1)}
    check((70, 64), lambda t, y: [summed(OPS["slice"](t, **reverse))], folded=False)


def test_rows_of_a_part_are_one_task():
    graph = fold_in_rows(program((1000, 64), lambda t, y: [summed(t)]))
    kernel = graph.nodes[0].attrs["kernel"]
    chosen = schedule(kernel, host_target())
    assert chosen.nests[0].together == 31
    assert Program(kernel).extent == -(-1000 // 31)


@pytest.mark.parametrize("rows", [64, 333])
def test_layer_norm(rows):
    def step(x, w, b, g):
        x, w, b = (v.detach().requires_grad_(True) for v in (x, w, b))
        y = F.layer_norm(x, (x.shape[-1],), w, b)
        y.backward(g)
        return y.detach(), x.grad, w.grad, b.grad

    shapes = (rows, 100), (100,), (100,), (rows, 100)
    arrays = [sley.tensor(RNG.standard_normal(s)) for s in shapes]
    wanted = step(*arrays)
    compiled, results = sley.compile(step), []
    threads = sley.get_num_threads()
    for number in (1, 2, 4):
        sley.set_num_threads(number)
        results.append([r.numpy() for r in compiled(*arrays)])
    sley.set_num_threads(threads)
    for a, b, c, d in zip(*results, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        np.testing.assert_allclose(a, d.numpy(), 1e-9, 1e-9)


def points(shape, folds, *, dtype=f32):
    """A loop over points alone, stored, and folds of it and of what it reads."""
    builder = Recording()
    x, y = (builder.param(tensor_type(dtype, shape), name) for name in "xy")
    with builder:
        made = OPS["exp"](x) * y
        found = folds(made, y)
    return fuse(builder.finish("f", [*found, made]))


def whole(value, name="reduce_sum", **attrs):
    return OPS[name](value, axes=tuple(range(value.type.ndim)), **attrs)


LOOPS = {
    "columns": ((127, 65), lambda t, y: [summed(t)]),
    "all": ((300, 257), lambda t, y: [whole(t)]),
    "both": ((1030, 64), lambda t, y: [summed(t), whole(t), whole(y, "reduce_max", ties="even")]),
    "three axes": ((3, 90, 250), lambda t, y: [summed(t), whole(t)]),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_over_points_are_cut_into_rows(name):
    shape, folds = LOOPS[name]
    graph = points(shape, folds)
    found = fold_in_rows(graph)
    verify(found)
    assert len(found.nodes[0].results) > 1
    arrays = [RNG.standard_normal(shape).astype(np.float32) for _ in range(2)]
    for a, b in zip(run(found, *arrays), run(graph, *arrays), strict=True):
        np.testing.assert_allclose(a, b, 1e-3, 1e-3)


def test_loops_that_are_left_alone():
    def left(shape, folds):
        graph = points(shape, folds)
        return fold_in_rows(graph) is graph

    # Few rows or columns, very long rows, rows that are folded themselves.
    assert left((63, 1500), lambda t, y: [whole(t)])
    assert left((1500, 63), lambda t, y: [summed(t)])
    assert left((64, 8193), lambda t, y: [whole(t)])
    assert left((64, 1100), lambda t, y: [OPS["reduce_sum"](t, axes=(1,))])


def test_an_activation_with_its_bias():
    def step(x, b, g):
        x, b = (v.detach().requires_grad_(True) for v in (x, b))
        F.gelu(x + b).backward(g)
        return x.grad, b.grad

    shapes = (200, 100), (100,), (200, 100)
    arrays = [sley.tensor(RNG.standard_normal(s).astype(np.float32)) for s in shapes]
    wanted, compiled = step(*arrays), sley.compile(step)
    threads, results = sley.get_num_threads(), []
    for number in (1, 2, 4):
        sley.set_num_threads(number)
        results.append([r.numpy() for r in compiled(*arrays)])
    sley.set_num_threads(threads)
    for a, b, c, d in zip(*results, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        np.testing.assert_allclose(a, d.numpy(), 1e-4, 1e-4)
