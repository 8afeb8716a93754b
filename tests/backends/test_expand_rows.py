"""Kernels with reductions and row-local values, compiled and compared with numpy."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import compile_and_run

from sley.ir.dims import symbol

N, D = symbol("N"), symbol("D")
CPUS = ("host", "x86-64-v3", "x86-64")
RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def softmax(n, d):
    def body(x, y):
        with b.parallel(n) as (i,):
            m = b.highest([d], lambda j: load(x, i, j))
            p = b.row([d], lambda j: op["exp"](load(x, i, j) - m))
            s = b.total([d], lambda j: load(p, j))
            with b.parallel(d) as (j,):
                store(y, load(p, j) / s, i, j)

    return b.kernel([("f32", (n, d))], [("f32", (n, d))], body, "softmax")


def layer_norm(n, d):
    def body(x, g, h, y):
        with b.parallel(n) as (i,):
            size = op["cast"](op["size"](expr=d), dtype=g.type.dtype)
            mean = b.total([d], lambda j: load(x, i, j)) / size
            c = b.row([d], lambda j: load(x, i, j) - mean)
            var = b.total([d], lambda j: load(c, j) * load(c, j)) / size
            scale = op["rsqrt"](var + 1e-5)
            with b.parallel(d) as (j,):
                store(y, load(c, j) * scale * load(g, j) + load(h, j), i, j)

    types = [("f32", (n, d)), ("f32", (d,)), ("f32", (d,))]
    return b.kernel(types, [("f32", (n, d))], body, "layer_norm")


def column_sum(n, d):
    def body(x, y):
        with b.parallel(d) as (j,):
            store(y, b.total([n], lambda i: load(x, i, j)), j)

    return b.kernel([("f32", (n, d))], [("f32", (d,))], body, "column_sum")


def argmax(n, d):
    def join(v, i, w, j):
        better = op["bit_or"](op["gt"](w, v), op["bit_and"](op["eq"](w, v), op["lt"](j, i)))
        return op["where"](better, w, v), op["where"](better, j, i)

    def body(x, y):
        with b.parallel(n) as (i,):
            start = [b.constant("f32", -np.inf), b.constant("i64", 2**62)]
            _, at = b.reduce([d], start, lambda j: (load(x, i, j), b.index(e(j))), join)
            store(y, at, i)

    return b.kernel([("f32", (n, d))], [("i64", (n,))], body, "argmax")


SIZES = [(1, 1), (3, 2), (7, 10), (5, 16), (2, 67), (4, 300), (0, 5), (33, 1031)]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("symbolic", [True, False])
def test_softmax(cpu, symbolic):
    for n, d in SIZES if symbolic else SIZES[1:5]:
        x = normal(n, d) * 5
        kernel = softmax(N, D) if symbolic else softmax(n, d)
        (y,) = compile_and_run(kernel, [x], {"N": n, "D": d}, cpu=cpu, pieces=2)
        z = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
        np.testing.assert_allclose(y, z / z.sum(1, keepdims=True), rtol=4e-6, atol=1e-30)


@pytest.mark.parametrize("cpu", CPUS)
def test_layer_norm(cpu):
    for n, d in SIZES[1:]:
        x, g, h = normal(n, d) * 3 + 1, normal(d), normal(d)
        (y,) = compile_and_run(layer_norm(N, D), [x, g, h], {"N": n, "D": d}, cpu=cpu)
        x64 = x.astype(np.float64)
        c = x64 - x64.mean(1, keepdims=True)
        expected = c / np.sqrt((c * c).mean(1, keepdims=True) + 1e-5) * g + h
        np.testing.assert_allclose(y, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("cpu", CPUS)
def test_column_sum(cpu):
    for n, d in [*SIZES, (0, 7), (5000, 19)]:
        x = normal(n, d)
        (y,) = compile_and_run(column_sum(N, D), [x], {"N": n, "D": d}, cpu=cpu, pieces=3)
        expected = x.astype(np.float64).sum(0)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * max(1, n) ** 0.5)


@pytest.mark.parametrize("cpu", CPUS)
def test_argmax_takes_the_first_of_equal_ones(cpu):
    for n, d in SIZES:
        x = RNG.integers(0, 4, (n, d)).astype(np.float32)
        (y,) = compile_and_run(argmax(N, D), [x], {"N": n, "D": d}, cpu=cpu)
        np.testing.assert_array_equal(y, x.argmax(1))


@pytest.mark.parametrize("cpu", CPUS)
def test_sum_of_many_elements_is_accurate(cpu):
    def body(x, y):
        with b.parallel() as ():
            store(y, b.total([N], lambda i: load(x, i)))

    kernel = b.kernel([("f32", (N,))], [("f32", ())], body)
    x = (1 + 0.1 * RNG.standard_normal(10_000_000)).astype(np.float32)
    (y,) = compile_and_run(kernel, [x], {"N": x.size}, cpu=cpu)
    exact = x.astype(np.float64).sum()
    assert abs(float(y) - exact) / exact < 1e-6


def test_sum_over_several_axes_around_a_kept_one():
    def body(x, y):
        with b.parallel(5) as (c,):
            store(y, b.total([N, 6, 7], lambda n, h, w: load(x, n, c, h, w)), c)

    kernel = b.kernel([("f32", (N, 5, 6, 7))], [("f32", (5,))], body)
    for n in (0, 1, 3, 700):
        x = normal(n, 5, 6, 7)
        for cpu in CPUS:
            (y,) = compile_and_run(kernel, [x], {"N": n}, cpu=cpu)
            np.testing.assert_allclose(y, x.sum((0, 2, 3), dtype=np.float64), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative_sum_along_either_axis(reverse):
    def last(x, y):
        with b.parallel(N) as (i,):
            c = b.cumulate(D, b.constant("f32", 0), lambda j: load(x, i, j), op["add"], reverse)
            with b.parallel(D) as (j,):
                store(y, load(c, j), i, j)

    def first(x, y):
        with b.parallel(D) as (j,):
            c = b.cumulate(N, b.constant("f32", 0), lambda i: load(x, i, j), op["add"], reverse)
            with b.parallel(N) as (i,):
                store(y, load(c, i), i, j)

    for axis, body in ((1, last), (0, first)):
        kernel = b.kernel([("f32", (N, D))], [("f32", (N, D))], body)
        for n, d in SIZES:
            x = normal(n, d)
            z = np.flip(x, axis) if reverse else x
            z = z.astype(np.float64).cumsum(axis)
            z = np.flip(z, axis) if reverse else z
            for cpu in CPUS:
                (y,) = compile_and_run(kernel, [x], {"N": n, "D": d}, cpu=cpu)
                np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-4)


def test_pooling_windows_are_vectorised_over_the_outputs():
    def body(x, y):
        with b.parallel(N, 4, 5) as (n, h, w):
            best = b.highest([2, 2], lambda p, q: load(x, n, 2 * e(h) + e(p), 2 * e(w) + e(q)))
            store(y, best, n, h, w)

    kernel = b.kernel([("f32", (N, 8, 10))], [("f32", (N, 4, 5))], body)
    x = normal(6, 8, 10)
    for cpu in CPUS:
        (y,) = compile_and_run(kernel, [x], {"N": 6}, cpu=cpu)
        np.testing.assert_array_equal(y, x.reshape(6, 4, 2, 5, 2).max((2, 4)))


def test_attention_by_hand_has_rows_as_accumulators():
    t, d = 37, 24

    def body(q, k, v, y):
        with b.parallel(t) as (i,):
            start = [
                b.constant("f32", -np.inf), b.constant("f32", 0),
                b.row([d], lambda c: b.constant("f32", 0)),
            ]  # fmt: skip

            def element(j):
                score = b.total([d], lambda c: load(q, i, c) * load(k, j, c))
                return score, b.constant("f32", 1), b.row([d], lambda c: load(v, j, c))

            def join(m, s, a, n, u, w):
                top = op["maximum"](m, n)
                left, right = op["exp"](m - top), op["exp"](n - top)
                return (
                    top, s * left + u * right,
                    b.row([d], lambda c: load(a, c) * left + load(w, c) * right),
                )  # fmt: skip

            _, s, a = b.reduce([N], start, element, join)
            with b.parallel(d) as (c,):
                store(y, load(a, c) / s, i, c)

    shapes = [("f32", (t, d)), ("f32", (N, d)), ("f32", (N, d))]
    kernel = b.kernel(shapes, [("f32", (t, d))], body)
    q, k, v = normal(t, d), normal(11, d), normal(11, d)
    scores = np.exp(q.astype(np.float64) @ k.T)
    expected = scores / scores.sum(1, keepdims=True) @ v
    for cpu in CPUS:
        (y,) = compile_and_run(kernel, [q, k, v], {"N": 11}, cpu=cpu)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
