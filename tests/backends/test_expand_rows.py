"""Kernels with reductions and row-local values, compiled and compared with numpy."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import Program, compile_and_run

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
        for program in [Program(kernel, cpu) for cpu in CPUS]:
            for n, d in SIZES:
                x, y = normal(n, d), np.zeros((n, d), np.float32)
                z = np.flip(x, axis) if reverse else x
                z = z.astype(np.float64).cumsum(axis)
                z = np.flip(z, axis) if reverse else z
                program([x, y], {"N": n, "D": d})
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


def test_results_in_the_place_of_the_input():
    for build in (softmax, layer_norm):
        kernel = build(N, D)
        for cpu in CPUS:
            program = Program(kernel, cpu)
            for n, d in SIZES[1:]:
                x, more = normal(n, d), [normal(d) for _ in kernel.inputs[1:]]
                apart = np.zeros_like(x)
                program([x, *more, apart], {"N": n, "D": d})
                program([x, *more, x], {"N": n, "D": d}, pieces=2)
                np.testing.assert_array_equal(x, apart)


def test_a_row_that_is_read_after_a_store_is_not_read_again_from_its_input():
    def body(x, y, z):
        with b.parallel(N) as (i,):
            r = b.row([D], lambda j: load(x, i, j))
            with b.parallel(D) as (j,):
                store(y, load(r, j) * 2.0, i, j)
            s = b.total([D], lambda j: load(r, j) * b.index_as_float(e(j)))
            store(z, s, i)

    kernel = b.kernel([("f32", (N, D))], [("f32", (N, D)), ("f32", (N,))], body)
    for cpu in CPUS:
        program = Program(kernel, cpu)
        x, z = normal(3, 70), np.zeros(3, np.float32)
        before = x.copy()
        program([x, x, z], {"N": 3, "D": 70})
        np.testing.assert_array_equal(x, before * 2)
        np.testing.assert_allclose(z, before.astype(np.float64) @ np.arange(70), rtol=1e-4)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16", "i32", "i64", "u8"])
def test_sums_and_maxima_of_other_dtypes(cpu, dtype):
    lowest = -np.inf if dtype in ("f64", "f16", "bf16") else 0

    def body(x, s, m):
        with b.parallel(N) as (i,):
            store(s, b.total([D], lambda j: load(x, i, j), dtype), i)
            start = [b.constant(dtype, lowest)]
            store(m, b.reduce([D], start, lambda j: load(x, i, j), op["maximum"]), i)

    kernel = b.kernel([(dtype, (N, D))], [(dtype, (N,)), (dtype, (N,))], body)
    numpy = kernel.params[0].type.dtype.numpy
    program = Program(kernel, cpu)
    for n, d in SIZES[:-1]:
        x = RNG.integers(0, 2, (n, d)).astype(numpy)
        s, m = np.zeros(n, numpy), np.zeros(n, numpy)
        program([x, s, m], {"N": n, "D": d})
        # Sums of so few ones are exact in every dtype, bfloat16's 256 included.
        keep = x.sum(1, dtype=np.float64) <= (256 if dtype == "bf16" else 1e9)
        wide = x.sum(1, dtype=np.int64) if dtype != "u8" else x.sum(1, dtype=np.uint8)
        np.testing.assert_array_equal(s[keep].astype(np.float64), wide[keep].astype(np.float64))
        np.testing.assert_array_equal(m, x.max(1))


@pytest.mark.parametrize("cpu", CPUS)
def test_reductions_keep_nan_and_read_under_guards(cpu):
    def body(x, y, z):
        with b.parallel(N) as (i,):
            store(y, b.highest([D], lambda j: load(x, i, j)), i)

            def even(j):
                keep = op["eq"](b.index(e(j) % 2), b.constant("i64", 0))
                return load(x, i, j, guard=keep)

            store(z, b.total([D], even), i)

    kernel = b.kernel([("f32", (N, D))], [("f32", (N,)), ("f32", (N,))], body)
    for n, d in SIZES[:-1]:
        x = normal(n, d)
        x[:, d // 2] = np.where(np.arange(n) % 2, np.nan, x[:, d // 2])
        y, z = compile_and_run(kernel, [x], {"N": n, "D": d}, cpu=cpu)
        np.testing.assert_array_equal(y, x.max(1))
        expected = x[:, ::2].astype(np.float64).sum(1)
        np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cpu", CPUS)
def test_rows_of_two_axes(cpu):
    def body(x, y):
        with b.parallel(N) as (n,):
            mean = b.total([3, D], lambda h, w: load(x, n, h, w))
            c = b.row([3, D], lambda h, w: op["exp"](load(x, n, h, w) - mean))
            with b.parallel(D, 3) as (w, h):
                store(y, load(c, 2 - e(h), w), n, w, h)

    kernel = b.kernel([("f32", (N, 3, D))], [("f32", (N, D, 3))], body)
    for n, d in SIZES[:-2]:
        x = normal(n, 3, d) / 10
        (y,) = compile_and_run(kernel, [x], {"N": n, "D": d}, cpu=cpu)
        z = np.exp(x - x.sum((1, 2), dtype=np.float64)[:, None, None])
        np.testing.assert_allclose(y, z[:, ::-1].transpose(0, 2, 1), rtol=1e-4)


@pytest.mark.parametrize("cpu", CPUS)
def test_sequential_loops_carry_values(cpu):
    from sley.ir.ops import active
    from sley.ir.ops.kernel import INDEX

    def body(x, y):
        with b.parallel(D) as (j,):
            start = b.constant("f32", 1)
            with active().region([INDEX, start.type]) as opened:
                i, carried = opened.params
                opened.yield_(carried * 0.5 + load(x, i, j))
            end = op["for"](start, lo=0, hi=N, step=1, carries=1, regions=(opened.closed,))
            store(y, end, j)

    kernel = b.kernel([("f32", (N, D))], [("f32", (D,))], body)
    for n, d in SIZES:
        x = normal(n, d)
        (y,) = compile_and_run(kernel, [x], {"N": n, "D": d}, cpu=cpu)
        carried = np.ones(d, np.float32)
        for row in x:
            carried = carried * np.float32(0.5) + row
        np.testing.assert_allclose(y, carried, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cpu", CPUS)
def test_reductions_of_bools_and_rows_read_under_a_guard(cpu):
    def body(x, y, z):
        with b.parallel(N) as (i,):
            zero = b.constant("f32", 0)
            start = [b.constant("bool", False), b.constant("bool", True)]
            some, every = b.reduce(
                [D], start,
                lambda j: (op["gt"](load(x, i, j), zero), op["lt"](load(x, i, j), zero + 1.0)),
                lambda a, c, d, f: (op["bit_or"](a, d), op["bit_and"](c, f)),
            )  # fmt: skip
            store(y, op["bit_and"](some, op["bit_not"](every)), i)
            r = b.row([D], lambda j: load(x, i, j))
            with b.parallel(D) as (j,):
                inside = op["ge"](b.index(e(j) - 2), b.constant("i64", 0))
                store(z, load(r, e(j) - 2, guard=inside), i, j)

    kernel = b.kernel([("f32", (N, D))], [("bool", (N,)), ("f32", (N, D))], body)
    for n, d in SIZES[1:-1]:
        x = normal(n, d)
        y, z = compile_and_run(kernel, [x], {"N": n, "D": d}, cpu=cpu)
        np.testing.assert_array_equal(y, (x > 0).any(1) & ~(x < 1).all(1))
        np.testing.assert_array_equal(z, np.pad(x, ((0, 0), (2, 0)))[:, :d])


def test_softmax_along_the_first_axis():
    def body(x, y):
        with b.parallel(D) as (j,):
            m = b.highest([N], lambda i: load(x, i, j))
            p = b.row([N], lambda i: op["exp"](load(x, i, j) - m))
            s = b.total([N], lambda i: load(p, i))
            with b.parallel(N) as (i,):
                store(y, load(p, i) / s, i, j)

    kernel = b.kernel([("f32", (N, D))], [("f32", (N, D))], body)
    for cpu in CPUS:
        for n, d in SIZES:
            x = normal(n, d)
            (y,) = compile_and_run(kernel, [x], {"N": n, "D": d}, cpu=cpu, pieces=2)
            z = np.exp(x.astype(np.float64))
            np.testing.assert_allclose(y, z / z.sum(0), rtol=4e-6)
