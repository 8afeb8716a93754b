"""Contract kernels compiled for a CPU: shapes, layouts, fused regions, windows, task ranges."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from contract_building import CPUS, NAMES, RNG, contract, matmul, numbers
from kernel_building import e, load, op, store
from kernel_running import Program, compile_and_run

from sley.backends.llvm.target import host_target
from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.types import tensor_type
from sley.passes.fuse import fuse
from sley.passes.schedule import schedule

M, N, K = symbol("M"), symbol("N"), symbol("K")


def check_matmul(program, sizes, ta=False, tb=False, tc=False, dtype="f32", batch=(), names=None):
    m, n, k = sizes
    x, w = numbers((*batch, m, k), dtype), numbers((*batch, k, n), dtype)
    expected = np.matmul(x.astype(np.float64), w.astype(np.float64))
    swap = lambda array, yes: np.ascontiguousarray(np.swapaxes(array, -1, -2) if yes else array)
    y = swap(np.full((*batch, m, n), 77, NAMES[dtype]), tc)
    program([swap(x, ta), swap(w, tb), y], names or {}, pieces=2)
    bound = np.matmul(np.abs(x).astype(np.float64), np.abs(w).astype(np.float64))
    tolerance = {"f32": 2e-6, "f64": 4e-15, "i32": 0}[dtype] * (bound + 1e-30)
    assert (np.abs(swap(y, tc) - expected) <= tolerance).all()


SHAPES = [
    (1, 1, 1), (0, 5, 3), (5, 0, 3), (5, 3, 0), (1, 17, 29), (29, 1, 17), (13, 31, 7),
    (14, 32, 16), (15, 33, 17), (27, 63, 15), (28, 64, 64), (61, 67, 71), (3, 130, 300),
]  # fmt: skip


@pytest.mark.parametrize("cpu", CPUS)
def test_sizes_that_are_symbols(cpu):
    program = Program(matmul(M, N, K), cpu)
    for m, n, k in [*SHAPES, (130, 70, 1100), (301, 40, 513), (2, 300, 512)]:
        check_matmul(program, (m, n, k), names={"M": m, "N": n, "K": k})


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_that_are_known(shape):
    check_matmul(Program(matmul(*shape)), shape)


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64"])
@pytest.mark.parametrize("shape", [(61, 67, 71), (6, 16, 8), (1, 40, 33)])
def test_narrower_vectors(shape, cpu):
    check_matmul(Program(matmul(*shape), cpu), shape)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("tc", [False, True])
def test_layouts(ta, tb, tc, cpu):
    shape = (37, 50, 41)
    check_matmul(Program(matmul(*shape, ta, tb, tc), cpu), shape, ta, tb, tc)


@pytest.mark.parametrize("dtype", ["f64", "i32"])
@pytest.mark.parametrize("tb", [False, True])
def test_other_dtypes(dtype, tb):
    shape = (35, 40, 37)
    check_matmul(Program(matmul(*shape, tb=tb, dtype=dtype)), shape, tb=tb, dtype=dtype)


@pytest.mark.parametrize("shape", [(5, 6, 7), (40, 33, 20)])
def test_batches(shape):
    check_matmul(Program(matmul(*shape, batch=(2, 3))), shape, batch=(2, 3))


def test_a_long_sum_is_cut():
    shape = (9, 35, 5000)
    check_matmul(Program(matmul(*shape)), shape)
    check_matmul(Program(matmul(*shape, tb=True)), shape, tb=True)


def test_every_cut_of_the_tasks_gives_the_same_bits():
    shape = (150, 90, 70)
    program = Program(matmul(M, N, K))
    x, w = numbers((150, 70)), numbers((70, 90))
    results = []
    for pieces in (1, 2, 3, 7):
        y = np.full((150, 90), np.nan, np.float32)
        program([x, w, y], dict(zip("MNK", shape, strict=True)), pieces)
        results.append(y)
    assert all((r == results[0]).all() for r in results)


# ---------------------------------------------------------------------------- fused regions


def cast(value, dtype):
    return op["cast"](value, dtype=dtypes.by_name(dtype))


@pytest.mark.parametrize("cpu", CPUS)
def test_normalised_operand_gelu_residual_two_results(cpu):
    m, n, k = 33, 45, 27

    def body(x, mean, scale, w, bias, residual, y, z):
        def lhs(i, t):
            return op["maximum"](
                (load(x, i, t) - load(mean, i)) * load(scale, i), b.constant("f32", 0)
            )

        def out(i, j, total):
            h = total + load(bias, j)
            store(z, h, i, j)
            gelu = h * 0.5 * (op["erf"](h * np.sqrt(0.5)) + 1.0)
            store(y, gelu + load(residual, i, j), i, j)

        contract((m,), (n,), (k,), lhs, lambda t, j: load(w, j, t), out)

    shapes = [(m, k), (m,), (m,), (n, k), (n,), (m, n)]
    kernel = b.kernel([("f32", s) for s in shapes], [("f32", (m, n))] * 2, body)
    arrays = [numbers(s) for s in shapes]
    y, z = compile_and_run(kernel, arrays, cpu=cpu)
    x, mean, scale, w, bias, residual = (a.astype(np.float64) for a in arrays)
    h = np.maximum((x - mean[:, None]) * scale[:, None], 0) @ w.T + bias
    from scipy.special import erf

    np.testing.assert_allclose(z, h, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        y, 0.5 * h * (1 + erf(h * np.sqrt(0.5))) + residual, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("tb", [False, True])
def test_low_precision_sums_in_f32(dtype, tb):
    m, n, k = 20, 37, 64

    def body(x, w, y):
        def out(i, j, total):
            store(y, cast(total, dtype), i, j)

        contract(
            (m,), (n,), (k,), lambda i, t: load(x, i, t),
            lambda t, j: load(w, *((j, t) if tb else (t, j))), out, dtype=dtype,
        )  # fmt: skip

    kind = dtypes.by_name(dtype).numpy
    shape = (n, k) if tb else (k, n)
    kernel = b.kernel([(dtype, (m, k)), (dtype, shape)], [(dtype, (m, n))], body)
    x, w = numbers((m, k)).astype(kind), numbers(shape).astype(kind)
    (y,) = compile_and_run(kernel, [x, w])
    exact = x.astype(np.float64) @ (w.T if tb else w).astype(np.float64)
    step = 2.0**-8 if dtype == "bf16" else 2.0**-11
    assert (np.abs(y.astype(np.float64) - exact) <= np.abs(exact) * step * 1.01 + 1e-5).all()


def test_operand_is_cast_while_packed():
    m, n, k = 18, 20, 33

    def body(x, w, y):
        contract(
            (m,), (n,), (k,), lambda i, t: cast(load(x, i, t), "f32"),
            lambda t, j: cast(load(w, t, j), "f32"), lambda i, j, total: store(y, total, i, j),
        )  # fmt: skip

    kernel = b.kernel([("i32", (m, k)), ("u8", (k, n))], [("f32", (m, n))], body)
    x, w = RNG.integers(-9, 9, (m, k), np.int32), RNG.integers(0, 200, (k, n), np.uint8)
    (y,) = compile_and_run(kernel, [x, w])
    assert (y == x.astype(np.float64) @ w).all()


def test_many_heads_from_one_buffer():
    """Attention scores of x[T, 3, H, D]: both operands lie strided in one array."""
    t, heads, d = 21, 3, 8

    def body(x, y):
        contract(
            (t,), (t,), (d,), lambda h, i, c: load(x, i, 0, h, c),
            lambda h, c, j: load(x, j, 1, h, c), lambda h, i, j, s: store(y, s, h, i, j),
            batch=(heads,),
        )  # fmt: skip

    kernel = b.kernel([("f32", (t, 3, heads, d))], [("f32", (heads, t, t))], body)
    x = numbers((t, 3, heads, d))
    (y,) = compile_and_run(kernel, [x])
    np.testing.assert_allclose(y, np.einsum("ihc,jhc->hij", x[:, 0], x[:, 1]), atol=1e-5)


def test_axes_of_several_dimensions():
    """y[a, b, c, d] = sum over (e, f) of x[a, e, b, f] * w[e, c, f, d]."""
    a, bb, c, d, ee, f = 3, 5, 4, 6, 2, 7

    def body(x, w, y):
        contract(
            (a, bb), (c, d), (ee, f), lambda i, j, s, t: load(x, i, s, j, t),
            lambda s, t, i, j: load(w, s, i, t, j),
            lambda i, j, u, v, total: store(y, total, i, j, u, v),
        )  # fmt: skip

    kernel = b.kernel(
        [("f32", (a, ee, bb, f)), ("f32", (ee, c, f, d))], [("f32", (a, bb, c, d))], body
    )
    x, w = numbers((a, ee, bb, f)), numbers((ee, c, f, d))
    for cpu in CPUS:
        (y,) = compile_and_run(kernel, [x, w], cpu=cpu)
        np.testing.assert_allclose(y, np.einsum("aebf,ecfd->abcd", x, w), atol=1e-5)


# ---------------------------------------------------------------------------- windows


def windowed(x, image, channel, place, sizes):
    """x[image, channel, *place], 0 outside the picture."""
    guard = None
    for at, size in zip(place, sizes, strict=True):
        inside = op["bit_and"](
            op["ge"](b.index(at), b.constant("i64", 0)),
            op["lt"](b.index(at), b.index(size) if not isinstance(size, int)
                     else b.constant("i64", size)),
        )  # fmt: skip
        guard = inside if guard is None else op["bit_and"](guard, inside)
    return load(x, image, channel, *place, guard=guard)


def conv_output(size, window, stride, pad, dilation):
    return (size + 2 * pad - (window - 1) * dilation - 1) // stride + 1


def conv(images, c, o, h, w, kh, kw, stride=1, pad=0, dilation=1):
    oh, ow = conv_output(h, kh, stride, pad, dilation), conv_output(w, kw, stride, pad, dilation)

    def body(x, weight, bias, y):
        def rhs(i, s, u, v, p, q):
            place = (e(p) * stride + e(u) * dilation - pad, e(q) * stride + e(v) * dilation - pad)
            return windowed(x, i, s, place, (h, w))

        contract(
            (o,), (oh, ow), (c, kh, kw), lambda i, a, s, u, v: load(weight, a, s, u, v), rhs,
            lambda i, a, p, q, t: store(y, t + load(bias, a), i, a, p, q), batch=(images,),
        )  # fmt: skip

    inputs = [("f32", (images, c, h, w)), ("f32", (o, c, kh, kw)), ("f32", (o,))]
    return b.kernel(inputs, [("f32", (images, o, oh, ow))], body, "conv")


def conv_windows(x, kh, kw, stride, pad, dilation):
    """[image, channel, row, column, kh, kw] of x."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh = conv_output(x.shape[2], kh, stride, 0, dilation)
    ow = conv_output(x.shape[3], kw, stride, 0, dilation)
    result = np.zeros((*x.shape[:2], oh, ow, kh, kw))
    for u in range(kh):
        for v in range(kw):
            rows = slice(u * dilation, u * dilation + (oh - 1) * stride + 1, stride)
            columns = slice(v * dilation, v * dilation + (ow - 1) * stride + 1, stride)
            result[:, :, :, :, u, v] = x[:, :, rows, columns]
    return result


CONVS = [
    (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (1, 1, 0, 1), (5, 3, 2, 1),
]  # fmt: skip


@pytest.mark.parametrize("size", [(8, 8), (7, 40), (1, 33)])
@pytest.mark.parametrize("window, stride, pad, dilation", CONVS)
def test_conv(window, stride, pad, dilation, size):
    images, c, o = 2, 3, 17
    pad = max(pad, (window - 1) * dilation // 2)
    kernel = conv(images, c, o, *size, window, window, stride, pad, dilation)
    x, w, bias = numbers((images, c, *size)), numbers((o, c, window, window)), numbers((o,))
    windows = conv_windows(x, window, window, stride, pad, dilation)
    expected = np.einsum("ncpquv,ocuv->nopq", windows, w) + bias[:, None, None]
    (y,) = compile_and_run(kernel, [x, w, bias], pieces=2)
    np.testing.assert_allclose(y, expected, atol=2e-5)


@pytest.mark.parametrize("cpu", CPUS)
def test_conv_with_sizes_that_are_symbols(cpu):
    h, w, images = symbol("H"), symbol("W"), symbol("B")
    program = Program(conv(images, 2, 5, h, w, 3, 3, 1, 1), cpu)
    for sizes in [(2, 9, 20), (1, 1, 1), (0, 4, 4), (3, 16, 16)]:
        x, weight, bias = numbers((sizes[0], 2, *sizes[1:])), numbers((5, 2, 3, 3)), numbers((5,))
        expected = np.einsum("ncpquv,ocuv->nopq", conv_windows(x, 3, 3, 1, 1, 1), weight)
        y = np.full(expected.shape, 7, np.float32)
        program([x, weight, bias, y], dict(zip("BHW", sizes, strict=True)), pieces=2)
        np.testing.assert_allclose(y, expected + bias[:, None, None], atol=2e-5)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("size, stride", [((8, 8), 1), ((9, 35), 1), ((16, 16), 2)])
def test_conv_weight_gradient(size, stride, cpu):
    """The sum runs over images and pixels."""
    images, c, o, window, pad = 3, 4, 6, 3, 1
    h, w = size
    oh, ow = (conv_output(s, window, stride, pad, 1) for s in size)

    def body(x, g, y):
        def rhs(i, p, q, s, u, v):
            return windowed(x, i, s, (e(p) * stride + e(u) - pad, e(q) * stride + e(v) - pad),
                            (h, w))  # fmt: skip

        contract(
            (o,), (c, window, window), (images, oh, ow), lambda a, i, p, q: load(g, i, a, p, q),
            rhs, lambda a, s, u, v, total: store(y, total, a, s, u, v),
        )  # fmt: skip

    inputs = [("f32", (images, c, h, w)), ("f32", (images, o, oh, ow))]
    kernel = b.kernel(inputs, [("f32", (o, c, window, window))], body, "gradient")
    x, g = numbers((images, c, h, w)), numbers((images, o, oh, ow))
    expected = np.einsum("nopq,ncpquv->ocuv", g, conv_windows(x, window, window, stride, pad, 1))
    (y,) = compile_and_run(kernel, [x, g], cpu=cpu)
    np.testing.assert_allclose(y, expected, atol=2e-4)


@pytest.mark.parametrize("pixels", [9, 16, 5])
def test_small_images_share_a_tile(pixels):
    """Images are part of the axis that runs over the lanes."""
    images, c, o = 5, 6, 7

    def body(x, w, y):
        contract(
            (o,), (images, pixels), (c,), lambda a, s: load(w, a, s),
            lambda s, i, p: load(x, i, s, p), lambda a, i, p, t: store(y, t, i, a, p),
        )  # fmt: skip

    kernel = b.kernel(
        [("f32", (images, c, pixels)), ("f32", (o, c))], [("f32", (images, o, pixels))], body
    )
    x, w = numbers((images, c, pixels)), numbers((o, c))
    for cpu in CPUS:
        (y,) = compile_and_run(kernel, [x, w], cpu=cpu, pieces=2)
        np.testing.assert_allclose(y, np.einsum("icp,oc->iop", x, w), atol=1e-5)


# ---------------------------------------------------------------------------- few rows


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("shape", [(1, 50, 40), (3, 37, 33), (4, 16, 5), (6, 300, 70)])
def test_few_rows(shape, tb, cpu):
    check_matmul(Program(matmul(*shape, tb=tb), cpu), shape, tb=tb)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("ta", [False, True])
def test_one_column(ta, cpu):
    check_matmul(Program(matmul(50, 1, 43, ta=ta), cpu), (50, 1, 43), ta=ta)


def test_a_long_matrix_times_a_vector_is_read_in_place():
    program = Program(matmul(1, 1100, 700))
    chosen = program.schedule.nests[0].contract
    if program.target.masks:
        assert chosen.columns == "direct" and chosen.kc < 700
    check_matmul(program, (1, 1100, 700))


def test_a_matrix_that_is_read_once_is_shared_by_threads():
    """Its memory takes long, few as the multiply-adds are."""
    chosen = schedule(matmul(1, 512, 784, tb=True), host_target(threads=2)).nests[0].contract
    assert chosen.columns == "dots" and chosen.nc < 512
    small = schedule(matmul(1, 64, 64, tb=True), host_target(threads=2)).nests[0].contract
    assert small.nc >= 64


def test_dot_products_of_undefined_numbers_past_the_end():
    """1 / x of what a masked lane holds is infinite and must not reach the sum."""
    n, k = 20, 21

    def body(x, w, y):
        contract(
            (1,), (n,), (k,), lambda i, t: b.constant("f32", 1) / load(x, t),
            lambda t, j: b.constant("f32", 1) / load(w, j, t),
            lambda i, j, total: store(y, total, j),
        )  # fmt: skip

    kernel = b.kernel([("f32", (k,)), ("f32", (n, k))], [("f32", (n,))], body)
    x, w = 1 + RNG.random(k, np.float32), 1 + RNG.random((n, k), np.float32)
    for cpu in CPUS:
        program = Program(kernel, cpu)
        assert program.schedule.nests[0].contract.columns == "dots"
        y = np.zeros(n, np.float32)
        program([x, w, y])
        np.testing.assert_allclose(y, (1 / w) @ (1 / x), rtol=1e-5)


# ---------------------------------------------------------------------------- the conv op


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(
    "x, w, strides, padding, lhs_dilation, rhs_dilation, groups",
    [
        ((2, 3, 9, 9), (4, 3, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 1),
        ((2, 3, 9, 9), (4, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (2, 2), (1, 1), 1),
        ((2, 3, 9, 9), (4, 3, 3, 3), (2, 1), ((2, 1), (1, 2)), (2, 3), (2, 1), 1),
        ((2, 6, 9, 9), (4, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 2),
        ((2, 6, 20, 9), (6, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 6),
        ((2, 6, 9, 9), (6, 6, 3, 3), (1, 1), ((-1, 1), (1, -1)), (1, 1), (1, 1), 1),
        ((4, 5, 40), (6, 5, 3), (1,), ((1, 1),), (2,), (1,), 1),
        ((3, 2, 5, 4, 6), (3, 2, 2, 2, 2), (1, 1, 1), ((0, 1),) * 3, (1,) * 3, (1,) * 3, 1),
    ],
)
def test_conv_as_the_fuse_pass_writes_it(
    x, w, strides, padding, lhs_dilation, rhs_dilation, groups, cpu
):
    attrs = {
        "strides": strides, "padding": padding, "lhs_dilation": lhs_dilation,
        "rhs_dilation": rhs_dilation, "groups": groups,
    }  # fmt: skip
    builder = Recording()
    params = [builder.param(tensor_type(dtypes.f32, shape)) for shape in (x, w)]
    with builder:
        builder.emit(op["conv"], params, attrs)
    program = fuse(builder.finish("conv", [builder.nodes[-1].results[0]]))
    (launch,) = program.nodes
    arrays = dict(zip(program.params, (numbers(x), numbers(w)), strict=True))
    inputs = [arrays[operand] for operand in launch.operands]
    (y,) = compile_and_run(launch.attrs["kernel"], inputs, cpu=cpu, pieces=2)
    wide = [a.astype(np.float64) for a in arrays.values()]
    np.testing.assert_allclose(y, op["conv"].evaluate(wide, attrs)[0], atol=3e-5)
