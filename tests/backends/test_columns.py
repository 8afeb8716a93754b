"""Reductions along columns as passes over rows: sizes around vectors, turns and tasks."""

from __future__ import annotations

import dataclasses

import kernel_building as b
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import Program, compile_and_run

from sley.backends.llvm.target import host_target
from sley.ir.dims import symbol
from sley.passes.schedule import schedule

N, D = symbol("N"), symbol("D")
CPUS = ("host", "x86-64-v3", "x86-64")
RNG = np.random.default_rng(17)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def sums(n, d):
    """Two sums that share a pass, and one that waits for them."""

    def body(x, w, y, z, v):
        with b.parallel(d) as (j,):
            plain = b.total([n], lambda i: load(x, i, j))
            product = b.total([n], lambda i: load(x, i, j) * load(w, i))
            mean = plain / op["cast"](op["size"](expr=n), dtype=plain.type.dtype)
            store(y, product + load(w, 0), j)
            far = b.total([n], lambda i: (load(x, i, j) - mean) * (load(x, i, j) - mean))
            store(z, far, j)
            store(v, mean, j)

    types = [("f32", (n, d)), ("f32", (n,))]
    return b.kernel(types, [("f32", (d,))] * 3, body, "sums")


def softmax(n, d):
    def body(x, y):
        with b.parallel(3, d) as (k, j):
            m = b.highest([n], lambda i: load(x, k, i, j))
            p = b.row([n], lambda i: op["exp"](load(x, k, i, j) - m))
            s = b.total([n], lambda i: load(p, i))
            with b.parallel(n) as (i,):
                store(y, load(p, i) / s, k, i, j)

    return b.kernel([("f32", (3, n, d))], [("f32", (3, n, d))], body, "softmax")


def swept(kernel, sweep=8, task=None):
    """The schedule of a kernel, which runs over rows, with other numbers."""
    chosen = schedule(kernel, host_target())
    first, *others = chosen.nests
    assert first.sweep
    nests = (dataclasses.replace(first, sweep=sweep), *others)
    return dataclasses.replace(chosen, nests=nests, task=task or chosen.task)


SIZES = [(17, 1), (18, 15), (23, 16), (24, 33), (31, 64), (40, 67), (600, 35), (521, 100)]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("symbolic", [True, False])
def test_sums_that_share_a_pass(cpu, symbolic):
    for n, d in SIZES if symbolic else SIZES[3:7]:
        x, w = normal(n, d), normal(n)
        kernel = sums(N, D) if symbolic else sums(n, d)
        y, z, v = compile_and_run(kernel, [x, w], {"N": n, "D": d}, cpu=cpu, pieces=2)
        wide = x.astype(np.float64)
        np.testing.assert_allclose(y, wide.T @ w + w[0], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(z, wide.var(0) * n, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(v, wide.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cpu", CPUS)
def test_rows_are_computed_again_in_each_pass(cpu):
    for n, d in SIZES[:6]:
        x = normal(3, n, d)
        (y,) = compile_and_run(softmax(n, d), [x], cpu=cpu, pieces=3)
        want = np.exp(x - x.max(1, keepdims=True), dtype=np.float64)
        np.testing.assert_allclose(y, want / want.sum(1, keepdims=True), rtol=1e-5)


def test_any_turn_and_task():
    x, w = normal(61, 150), normal(61)
    kernel = sums(61, 150)
    outputs = []
    for sweep, task in ((1, 32), (2, 64), (4, 96), (8, 32), (8, 160)):
        chosen = swept(kernel, sweep, task)
        outputs.append(compile_and_run(kernel, [x, w], schedule=chosen, pieces=2))
    for found in outputs:
        for got, want in zip(found, outputs[0], strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
    for got, want in zip(outputs[3], outputs[4], strict=True):
        np.testing.assert_array_equal(got, want)  # whatever the task


def test_a_softmax_over_its_operand():
    """The result lies in the operand's memory: what is stored is read no more."""
    x = normal(3, 40, 50)
    kernel = softmax(40, 50)
    assert schedule(kernel, host_target()).nests[0].sweep
    want = np.exp(x - x.max(1, keepdims=True))
    want /= want.sum(1, keepdims=True)
    Program(kernel)([x, x])
    np.testing.assert_allclose(x, want, rtol=1e-5)


def test_positions_of_the_first_largest():
    def join(v, i, w, j):
        keep = op["where"](op["lt"](i, j), op["ge"](v, w), op["bit_not"](op["ge"](w, v)))
        return op["where"](keep, v, w), op["where"](keep, i, j)

    def body(x, y):
        with b.parallel(70) as (j,):
            start = [b.constant("f32", -np.inf), b.constant("i64", 0)]
            found = b.reduce(
                [5, 9], start, lambda i, k: (load(x, i, k, j), b.index(9 * e(i) + e(k))), join
            )
            store(y, found[1], j)

    kernel = b.kernel([("f32", (5, 9, 70))], [("i64", (70,))], body)
    x = RNG.integers(0, 4, (5, 9, 70)).astype(np.float32)
    x[:, :, 7] = -np.inf
    for cpu in CPUS:
        (y,) = compile_and_run(kernel, [x], cpu=cpu)
        np.testing.assert_array_equal(y, x.reshape(45, 70).argmax(0))


def scaled(n, d):
    """A column's factor is read for the sums, and for the rows that are stored after these."""

    def body(x, w, y, z):
        with b.parallel(d) as (j,):
            factor = load(w, j)
            total = b.total([n], lambda i: load(x, i, j) * factor)
            store(y, total, j)
            with b.parallel(n) as (i,):
                store(z, load(x, i, j) * factor, i, j)

    return b.kernel(
        [("f32", (n, d)), ("f32", (d,))], [("f32", (d,)), ("f32", (n, d))], body, "kept"
    )


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(("n", "d"), [(33, 13), (65, 67)])
def test_a_column_that_its_sum_is_written_over(cpu, n, d):
    kernel = scaled(n, d)
    assert schedule(kernel, host_target(cpu)).nests[0].sweep
    x, w, z = normal(n, d), normal(d), np.zeros((n, d), np.float32)
    memory = w.copy()
    Program(kernel, cpu)([x, memory, memory, z])
    np.testing.assert_allclose(memory, (x * w).sum(0), 1e-4, 1e-4)
    np.testing.assert_array_equal(z, x * w)
