"""Prefixes: vector by vector, along with the loop that reads them, and kept where that is not."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import Program, compile_and_run

from sley.backends.llvm.target import host_target
from sley.passes.schedule import schedule

CPUS = ("host", "x86-64-v3", "x86-64")
LENGTHS = (0, 1, 7, 15, 16, 17, 33, 100)
NUMPY = {"i32": np.int32, "i64": np.int64, "f64": np.float64}
RNG = np.random.default_rng(3)


def prefixes(n, dtype, neutral, combine, reverse=False):
    def body(x, y):
        with b.parallel(2) as (i,):
            start = b.constant(dtype, neutral)
            c = b.cumulate(n, start, lambda j: load(x, i, j), op[combine], reverse)
            with b.parallel(n) as (j,):
                store(y, load(c, j), i, j)

    return b.kernel([(dtype, (2, n))], [(dtype, (2, n))], body)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(
    ("dtype", "combine", "neutral", "expected"),
    [("i64", "add", 0, np.cumsum), ("f64", "maximum", -np.inf, np.maximum.accumulate),
     ("i32", "mul", 1, np.cumprod)],
)  # fmt: skip
def test_lengths_around_a_vector(cpu, dtype, combine, neutral, expected):
    for n in LENGTHS:
        x = RNG.integers(-3, 4, (2, n)).astype(NUMPY[dtype])
        for reverse in (False, True):
            (y,) = compile_and_run(prefixes(n, dtype, neutral, combine, reverse), [x], cpu=cpu)
            turned = x[:, ::-1] if reverse else x
            want = expected(turned, axis=1).astype(x.dtype)
            np.testing.assert_array_equal(y, want[:, ::-1] if reverse else want)


@pytest.mark.parametrize("cpu", CPUS)
def test_members_are_joined_in_order(cpu):
    """y[j] = a[j] * y[j - 1] + x[j]: pairs of which the order matters."""

    def join(a, x, b_, y):
        return op["mul"](a, b_), op["add"](op["mul"](x, b_), y)

    def body(a, x, y):
        start = [b.constant("f64", 1), b.constant("f64", 0)]
        with b.parallel(1) as (_,):
            c = b.reduce(
                [37], start, lambda j: (load(a, j), load(x, j)), join, "cumulate", reverse=False
            )
            with b.parallel(37) as (j,):
                store(y, load(c[1], j), j)

    a, x = RNG.uniform(-1, 1, (2, 37))
    (y,) = compile_and_run(b.kernel([("f64", (37,))] * 2, [("f64", (37,))], body), [a, x], cpu=cpu)
    last, want = 0.0, []
    for factor, term in zip(a, x, strict=True):
        last = last * factor + term
        want.append(last)
    np.testing.assert_allclose(y, want, rtol=1e-12)


def test_a_loop_that_stores_elsewhere_waits_for_all_prefixes():
    """The result may lie in the operand's memory: then no store may come before a read of it."""

    def kernel(place):
        def body(x, y):
            with b.parallel(1) as (_,):
                c = b.cumulate(50, b.constant("f32", 0), lambda j: load(x, j), op["add"])
                with b.parallel(50) as (j,):
                    store(y, load(c, j), place(e(j)))

        return b.kernel([("f32", (50,))], [("f32", (50,))], body)

    for place, along in ((lambda j: j, True), (lambda j: 49 - j, False)):
        chosen = schedule(kernel(place), host_target())
        assert chosen.nests[1].recompute is along
        x = RNG.standard_normal(50).astype(np.float32)
        want = np.cumsum(x, dtype=np.float64)
        Program(kernel(place))([x, x])
        np.testing.assert_allclose(x, want if along else want[::-1], rtol=1e-5, atol=1e-5)


def test_two_loops_read_kept_prefixes():
    def body(x, y, z):
        with b.parallel(3) as (i,):
            c = b.cumulate(40, b.constant("f32", 0), lambda j: load(x, i, j), op["add"])
            store(z, b.highest([40], lambda j: load(c, j)), i)
            with b.parallel(40) as (j,):
                store(y, load(c, j) * 2, i, j)

    x = RNG.standard_normal((3, 40)).astype(np.float32)
    kernel = b.kernel([("f32", (3, 40))], [("f32", (3, 40)), ("f32", (3,))], body)
    for cpu in CPUS:
        y, z = compile_and_run(kernel, [x], cpu=cpu)
        want = x.cumsum(1, dtype=np.float64)
        np.testing.assert_allclose(y, 2 * want, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(z, want.max(1), rtol=1e-5, atol=1e-5)
