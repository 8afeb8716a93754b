"""Loop kernels: collapsed axes, vectors, views, guards and gathers, compared with numpy."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import Program, compile_and_run

from sley.backends.llvm.expand import expand
from sley.backends.llvm.target import host_target
from sley.ir.dims import maximum, minimum, symbol
from sley.passes.schedule import schedule

M, N, D = symbol("M"), symbol("N"), symbol("D")
CPUS = ("host", "x86-64-v3", "x86-64")
SHAPES = [(0, 3), (3, 0), (1, 1), (2, 7), (5, 16), (31, 33), (4, 257)]
RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def run_shapes(kernel, reference, shapes=SHAPES, inputs=None):
    """Compares the kernel over sizes (N, D) and processors with `reference(x)`."""
    for cpu in CPUS:
        program = Program(kernel, cpu)
        for n, d in shapes:
            arrays = inputs(n, d) if inputs else [normal(n, d)]
            expected = reference(*arrays)
            out = np.full(expected.shape, 77, expected.dtype)
            program([*arrays, out], {"N": n, "D": d}, pieces=3)
            np.testing.assert_array_equal(out, expected, f"{cpu} {n}x{d}")


def test_an_elementwise_kernel_over_four_axes_is_one_vector_loop():
    def body(x, y):
        with b.parallel(64, 8, 8, 8) as (i, j, k, l):
            store(y, load(x, i, j, k, l) + 1.0, i, j, k, l)

    kernel = b.kernel([("f32", (64, 8, 8, 8))], [("f32", (64, 8, 8, 8))], body)
    chosen = schedule(kernel, host_target("x86-64-v4"))
    assert chosen.nests[0].groups == ((0, 1, 2, 3),)
    assert chosen.nests[0].lanes % 16 == 0
    loops = expand(kernel, chosen, host_target("x86-64-v4"))
    assert sum(node.op.name == "load" for node in loops.walk()) == 1
    x = normal(64, 8, 8, 8)
    (y,) = compile_and_run(kernel, [x], pieces=5)
    np.testing.assert_array_equal(y, x + 1)


def test_broadcast_reads():
    def body(x, g, h, y):
        with b.parallel(N, D) as (i, j):
            store(y, load(x, i, j) * load(g, j) + load(h, i, 0), i, j)

    types = [("f32", (N, D)), ("f32", (D,)), ("f32", (N, 1))]
    kernel = b.kernel(types, [("f32", (N, D))], body)
    run_shapes(
        kernel,
        lambda x, g, h: x * g + h,
        inputs=lambda n, d: [normal(n, d), normal(d), normal(n, 1)],
    )


def test_transposed_reads():
    def body(x, y):
        with b.parallel(D, N) as (i, j):
            store(y, load(x, j, i), i, j)

    run_shapes(b.kernel([("f32", (N, D))], [("f32", (D, N))], body), lambda x: x.T)


def test_reversed_and_strided_reads():
    def body(x, y):
        with b.parallel(N, D) as (i, j):
            store(y, load(x, i, D - 1 - e(j)) + load(x, N - 1 - e(i), j), i, j)

    kernel = b.kernel([("f32", (N, D))], [("f32", (N, D))], body)
    run_shapes(kernel, lambda x: x[:, ::-1] + x[::-1])

    def strided(x, y):
        with b.parallel(N, 5) as (i, j):
            store(y, load(x, i, 3 * e(j) + 1), i, j)

    kernel = b.kernel([("f32", (N, 16))], [("f32", (N, 5))], strided)
    run_shapes(kernel, lambda x: x[:, 1::3], shapes=[(0, 16), (1, 16), (9, 16)])


def test_padding_reads_under_a_guard():
    def body(x, y):
        with b.parallel(N, D + 3) as (i, j):
            at = b.index(e(j) - 2)
            inside = op["bit_and"](
                op["ge"](at, b.constant("i64", 0)), op["lt"](at, op["size"](expr=D))
            )
            store(y, load(x, i, e(j) - 2, guard=inside) - 1.0, i, j)

    kernel = b.kernel([("f32", (N, D))], [("f32", (N, D + 3))], body)
    run_shapes(kernel, lambda x: np.pad(x, ((0, 0), (2, 1))) - 1)


def test_guards_over_a_uniform_element_and_on_stores():
    def body(x, y):
        with b.parallel(N, D) as (i, j):
            odd = op["eq"](b.index(e(j) % 2), b.constant("i64", 1))
            store(y, load(x, i, 0, guard=odd), i, j, guard=odd)
            store(y, load(x, i, j), i, j, guard=op["bit_not"](odd))

    kernel = b.kernel([("f32", (N, D))], [("f32", (N, D))], body)

    def reference(x):
        y = x.copy()
        y[:, 1::2] = x[:, :1]
        return y

    run_shapes(kernel, reference, shapes=[s for s in SHAPES if s[1]])


def test_gathers_by_a_loaded_index():
    def body(x, at, y):
        with b.parallel(N, 6) as (i, j):
            store(y, load(x, load(at, i), j), i, j)

    def flat(x, at, y):
        with b.parallel(N) as (i,):
            store(y, load(x, load(at, i), 2), i)

    for build, shape in ((body, (N, 6)), (flat, (N,))):
        kernel = b.kernel([("f32", (M, 6)), ("i64", (N,))], [("f32", shape)], build)
        x = normal(11, 6)
        for cpu in CPUS:
            for n in (0, 1, 5, 100):
                at = RNG.integers(0, 11, n)
                (y,) = compile_and_run(kernel, [x, at], {"N": n, "M": 11}, cpu=cpu)
                np.testing.assert_array_equal(y, x[at] if build is body else x[at, 2])


def test_axis_numbers_as_values_and_divisions_of_them():
    def body(y, z):
        with b.parallel(N, D) as (i, j):
            store(y, b.index(e(i) * 100 + (e(j) * 7) // 3), i, j)
            store(z, b.index((e(j) - 5) // D + (e(j) - 5) % 4 + (e(i) * D + e(j)) // 6), i, j)

    kernel = b.kernel([], [("i64", (N, D)), ("i64", (N, D))], body)
    for cpu in CPUS:
        for n, d in SHAPES:
            i, j = np.indices((n, d))
            y, z = compile_and_run(kernel, [], {"N": n, "D": d}, cpu=cpu)
            np.testing.assert_array_equal(y, i * 100 + j * 7 // 3)
            if d:
                np.testing.assert_array_equal(z, (j - 5) // d + (j - 5) % 4 + (i * d + j) // 6)


def test_minimum_and_maximum_in_an_index():
    def body(x, y):
        with b.parallel(N, D) as (i, j):
            store(y, load(x, i, maximum(minimum(e(j) + 1, D - 1), 1)), i, j)

    kernel = b.kernel([("f32", (N, D))], [("f32", (N, D))], body)
    run_shapes(
        kernel, lambda x: x[:, np.clip(np.arange(x.shape[1]) + 1, 1, x.shape[1] - 1)],
        shapes=[(2, 7), (5, 16), (31, 33)],
    )  # fmt: skip


def test_reshape_by_arithmetic_collapses():
    def body(x, y):
        with b.parallel(N, 6) as (i, j):
            flat = e(i) * 6 + e(j)
            store(y, load(x, flat // 2, flat % 2), i, j)

    kernel = b.kernel([("f32", (3 * N, 2))], [("f32", (N, 6))], body)
    assert schedule(kernel, host_target()).nests[0].groups == ((0, 1),)
    x = normal(15, 2)
    (y,) = compile_and_run(kernel, [x], {"N": 5})
    np.testing.assert_array_equal(y, x.reshape(5, 6))


@pytest.mark.parametrize("dtype", ["f64", "i32", "i64", "u8", "bool", "bf16", "f16"])
def test_other_dtypes_in_memory(dtype):
    def body(x, y):
        with b.parallel(N, D) as (i, j):
            store(y, op["add"](load(x, i, j), load(x, i, D - 1 - e(j))), i, j)

    kernel = b.kernel([(dtype, (N, D))], [(dtype, (N, D))], body)
    numpy = kernel.params[0].type.dtype.numpy
    run_shapes(
        kernel, lambda x: x + x[:, ::-1],
        inputs=lambda n, d: [RNG.integers(0, 2, (n, d)).astype(numpy)],
    )  # fmt: skip


def test_an_output_in_the_place_of_an_input():
    def body(x, g, y):
        with b.parallel(N, D) as (i, j):
            store(y, load(x, i, j) * load(g, j) + load(x, i, j), i, j)

    kernel = b.kernel([("f32", (N, D)), ("f32", (D,))], [("f32", (N, D))], body)
    for cpu in CPUS:
        program = Program(kernel, cpu)
        for n, d in SHAPES:
            x, g = normal(n, d), normal(d)
            expected = x * g + x
            program([x, g, x], {"N": n, "D": d}, pieces=2)
            np.testing.assert_array_equal(x, expected)


def test_many_buffers_in_one_kernel():
    sizes = (N, 5, 1000, 0, D)
    from sley.ir.ops.kernel import INDEX
    from sley.ir.types import tensor_type

    def body(*buffers):
        from sley.ir.ops import active

        flat = [tensor_type(buffers[0].type.dtype, (symbol("L"),))] * 3
        with active().region([INDEX, *flat]) as opened:
            i, p, g, out = opened.params
            store(out, load(p, i) - load(g, i) * 0.5, i)
        operands = [buffers[k * len(sizes) + t] for t in range(len(sizes)) for k in range(3)]
        op["many"](*operands, extents=sizes, regions=(opened.closed,))

    types = [("f32", (s,)) for s in sizes]
    kernel = b.kernel(types * 2, types, body)
    for cpu in CPUS:
        for n, d in ((0, 0), (1, 9000), (33, 7)):
            lengths = [n, 5, 1000, 0, d]
            p, g = [normal(k) for k in lengths], [normal(k) for k in lengths]
            names = {"N": n, "D": d, "L": 1}
            outs = compile_and_run(kernel, [*p, *g], names, cpu=cpu, pieces=2)
            for out, a, c in zip(outs, p, g, strict=True):
                np.testing.assert_array_equal(out, a - c * np.float32(0.5))


def test_scatter_add_meets_at_one_element():
    def body(at, u, y):
        with b.parallel(N, 20) as (i, j):
            b.atomic(y, load(u, i, j), load(at, i), j)

    kernel = b.kernel([("i64", (N,)), ("f32", (N, 20))], [("f32", (7, 20))], body)
    for cpu in CPUS:
        for n in (0, 1, 40):
            at, u = RNG.integers(0, 7, n), normal(n, 20)
            (y,) = compile_and_run(kernel, [at, u], {"N": n}, cpu=cpu)
            expected = np.zeros((7, 20), np.float32)
            np.add.at(expected, at, u)
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bits", [32, 64])
def test_random_bits_are_those_of_the_definition(bits):
    def body(seed, offset, y):
        with b.parallel(N) as (i,):
            drawn = op["random_bits"](load(seed), load(offset), b.index(e(i)), bits=bits)
            store(y, drawn, i)

    kernel = b.kernel([("i64", ()), ("i64", ())], [(f"u{bits}", (N,))], body)
    arrays = [np.array(-(2**40) + 7), np.array(2**33 + 5)]
    for cpu in CPUS:
        (y,) = compile_and_run(kernel, arrays, {"N": 77}, cpu=cpu)
        (expected,) = op["rng_bits"].evaluate(arrays, {"shape": (77,), "bits": bits})
        np.testing.assert_array_equal(y, expected)
