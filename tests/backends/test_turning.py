"""Loops that read along one axis and store along another, in squares and what is left of them."""

from __future__ import annotations

import kernel_building as b
import ml_dtypes
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import compile_and_run

from sley.backends.llvm.target import host_target
from sley.ir.dims import symbol
from sley.passes.schedule import schedule

N, M = symbol("N"), symbol("M")
CPUS = ("host", "x86-64-v3", "x86-64")
RNG = np.random.default_rng(29)
NUMPY = {
    "f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": ml_dtypes.bfloat16,
    "i8": np.int8, "i64": np.int64,
}  # fmt: skip


def drawn(dtype, *shape):
    return RNG.integers(-100, 100, shape).astype(NUMPY[dtype])


def sum_with_transposed(dtype, n, m):
    """y[k, i, j] = x[k, j, i] + x[k, j, i] * w[i, j]"""

    def body(x, w, y):
        with b.parallel(2, n, m) as (k, i, j):
            turned = load(x, k, j, i)
            store(y, turned + turned * load(w, i, j), k, i, j)

    return b.kernel([(dtype, (2, m, n)), (dtype, (n, m))], [(dtype, (2, n, m))], body, "turned")


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", list(NUMPY))
def test_sizes_around_squares_and_tiles(cpu, dtype):
    side = schedule(sum_with_transposed(dtype, 100, 100), host_target(cpu)).nests[0].turn
    assert side > 1
    for n, m in ((side, 2 * side), (side + 1, 4 * side - 1), (67, 35)):
        x, w = drawn(dtype, 2, m, n) % 5, drawn(dtype, n, m) % 5
        (y,) = compile_and_run(sum_with_transposed(dtype, n, m), [x, w], cpu=cpu, pieces=3)
        turned = x.transpose(0, 2, 1)
        np.testing.assert_array_equal(y, turned + turned * w)


@pytest.mark.parametrize("cpu", CPUS)
def test_symbolic_sizes(cpu):
    kernel = sum_with_transposed("f32", N, M)
    assert schedule(kernel, host_target(cpu)).nests[0].turn
    for n, m in ((1, 1), (0, 7), (3, 70), (40, 16), (33, 65)):
        x, w = drawn("f32", 2, m, n), drawn("f32", n, m)
        (y,) = compile_and_run(kernel, [x, w], {"N": n, "M": m}, cpu=cpu)
        turned = x.transpose(0, 2, 1)
        np.testing.assert_array_equal(y, turned + turned * w)


def test_what_is_stored_across_or_of_bits_is_not_turned():
    def two_ways(x, y, z):
        with b.parallel(64, 64) as (i, j):
            store(y, load(x, j, i), i, j)
            store(z, load(x, i, j), j, i)

    def bits(x, y):
        with b.parallel(64, 64) as (i, j):
            store(y, op["bit_not"](load(x, j, i)), i, j)

    square = (64, 64)
    x = drawn("f32", *square)
    kernel = b.kernel([("f32", square)], [("f32", square)] * 2, two_ways)
    assert not schedule(kernel, host_target()).nests[0].turn
    y, z = compile_and_run(kernel, [x])
    np.testing.assert_array_equal(y, x.T)
    np.testing.assert_array_equal(z, x.T)
    x = RNG.random(square) < 0.5
    kernel = b.kernel([("bool", square)], [("bool", square)], bits)
    assert not schedule(kernel, host_target()).nests[0].turn
    np.testing.assert_array_equal(compile_and_run(kernel, [x])[0], ~x.T)


@pytest.mark.parametrize("cpu", CPUS)
def test_beside_what_loaded_indices_lead_to(cpu):
    """y[i, j] = w[p[i, j]] + x[j, i], read where p is inside of w."""

    def body(x, p, w, y):
        with b.parallel(40, 50) as (i, j):
            place = load(p, i, j)
            rest = b.index(6 - e(place))
            inside = op["ge"](rest, b.index(0))
            store(y, load(w, e(place), guard=inside) + load(x, j, i), i, j)

    types = [("f32", (50, 40)), ("i64", (40, 50)), ("f32", (7,))]
    kernel = b.kernel(types, [("f32", (40, 50))], body)
    assert schedule(kernel, host_target(cpu)).nests[0].tile
    x, p, w = drawn("f32", 50, 40), RNG.integers(0, 9, (40, 50)), drawn("f32", 7)
    (y,) = compile_and_run(kernel, [x, p, w], cpu=cpu)
    np.testing.assert_array_equal(y, np.where(p < 7, w[np.minimum(p, 6)], 0) + x.T)
