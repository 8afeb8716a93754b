"""Products as Triton text: sizes, layouts, dtypes, what is fused, convolutions; and what of it
tensor cores compute, by the machine code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from triton_interpreter import interpret
from triton_texts import needs_triton

from sley.backends.triton.compile import CompiledText
from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.kernel import TritonKernel
from sley.backends.triton.target import gpu_target
from sley.ir import dtypes
from sley.ir.block_schedule import BlockNest, BlockSchedule, by_pointers
from sley.ir.builder import Recording
from sley.ir.dims import Dim, evaluate, symbol
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.graph import Graph, Value
from sley.ir.ops import OPS
from sley.ir.ops.contraction import CONV
from sley.ir.types import tensor_type
from sley.passes.autodiff.backward import backward
from sley.passes.fuse import fuse
from sley.passes.schedule_blocks import schedule_blocks
from sley.runtime.cuda.cubins import cubin_compiler

pytestmark = needs_triton
M, N, K = map(symbol, "MNK")
TOLERANCES = {"f32": 1e-5, "f64": 1e-13, "f16": 4e-3, "bf16": 3e-2, "i32": 0, "i64": 0}
SM_80, SM_90 = gpu_target("sm_80"), gpu_target("sm_90")
Body = Callable[..., Value | list[Value]]


def products(body: Body, *shapes: Sequence[Dim], dtype: str | Sequence[str] = "f32") -> list[Graph]:
    """The kernels with a `contract` of the program that `body` of tensors is."""
    builder = Recording()
    names = [dtype] * len(shapes) if isinstance(dtype, str) else dtype
    types = [tensor_type(dtypes.by_name(n), tuple(s)) for n, s in zip(names, shapes, strict=True)]
    params = [builder.param(type_) for type_ in types]
    with builder:
        results = body(*params)
    yields = results if isinstance(results, list) else [results]
    launches = [n for n in fuse(builder.finish("p", yields)).nodes if n.op.name == "launch"]
    kernels = [launch.attrs["kernel"] for launch in launches]
    return [k for k in kernels if any(n.op.name == "contract" for n in k.nodes)]


def matmul(ta: bool = False, tb: bool = False) -> Body:
    """The product of two matrices, stored the other way round where so told."""
    attrs = {"lhs_contract": (0 if ta else 1,), "rhs_contract": (1 if tb else 0,)}
    return lambda x, w: OPS["dot_general"](x, w, lhs_batch=(), rhs_batch=(), **attrs)


def shapes(m: Dim, n: Dim, k: Dim, ta: bool = False, tb: bool = False) -> tuple[tuple, tuple]:
    return (k, m) if ta else (m, k), (n, k) if tb else (k, n)


def blocked(schedule: BlockSchedule, **blocks: int | bool) -> BlockSchedule:
    """`schedule` with other blocks of its `contract`."""
    nests = tuple(
        nest if nest.contract is None
        else BlockNest(contract=dataclasses.replace(nest.contract, **blocks))
        for nest in schedule.nests
    )  # fmt: skip
    return dataclasses.replace(schedule, nests=nests)


def check(
    kernel: Graph, sizes: Mapping[str, int] | None = None, seed: int = 0, **blocks: int | bool
) -> TritonKernel:
    """Asserts that the text computes what the kernel does; gives the text."""
    sizes, rng = sizes or {}, np.random.default_rng(seed)
    arrays = []
    for param in kernel.inputs:
        shape = [evaluate(dim, sizes) for dim in param.type.shape]
        arrays.append((3 * rng.standard_normal(shape)).astype(param.type.dtype.numpy))
    text = kernel_text(kernel, blocked(schedule_blocks(kernel, SM_90), **blocks), "product")
    expected = evaluate_kernel(kernel, arrays, sizes)
    outputs = [np.full(a.shape, 77, a.dtype) for a in expected]
    interpret(text, [*arrays, *outputs], sizes)
    bound = max(TOLERANCES.get(p.type.dtype.name, 0) for p in kernel.params)
    for found, wanted in zip(outputs, expected, strict=True):
        found, wanted = found.astype(np.float64), wanted.astype(np.float64)
        most = np.abs(wanted).max(initial=1)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound * most)
    return text


# ------------------------------------------------------------------------------------ products


@pytest.mark.parametrize(
    "m, n, k",
    [(1, 1, 1), (3, 0, 5), (5, 3, 0), (0, 4, 4), (15, 33, 31), (16, 32, 32), (17, 31, 33)]
    + [(1, 70, 130), (70, 1, 20), (130, 127, 17)],
)
def test_sizes(m, n, k):
    (known,) = products(matmul(), *shapes(m, n, k))
    check(known)
    check(known, m=16, n=32, k=16)
    (unknown,) = products(matmul(), *shapes(M, N, K))
    check(unknown, {"M": m, "N": n, "K": k}, m=16, n=16, k=16)


@pytest.mark.parametrize("dtype", sorted(TOLERANCES))
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_dtypes_and_layouts(dtype, ta, tb):
    (kernel,) = products(matmul(ta, tb), *shapes(17, 33, 40, ta, tb), dtype=dtype)
    check(kernel, m=16, n=16, k=16)
    check(kernel, m=16, n=32, k=16, swap=True)


@pytest.mark.parametrize("group", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [5, 8, N])
def test_every_block_is_computed_once_in_any_order_of_programs(group, rows):
    count = rows * 16 - 3
    (kernel,) = products(matmul(), *shapes(count, 60, 8))
    check(kernel, {"N": 7}, m=16, n=16, k=16, group=group)


@pytest.mark.parametrize("seed", range(12))
def test_axes_in_any_order(seed):
    """Batches, and several axes of each kind, some of one element."""
    rng = np.random.default_rng(seed)
    sizes = {name: rng.choice([1, 2, 3, 5, 7], rng.integers(0, 3)).tolist() for name in "bmnk"}

    def drawn(kinds: str) -> tuple[tuple[int, ...], Callable[[str], tuple[int, ...]]]:
        axes = [(kind, i) for kind in kinds for i in range(len(sizes[kind]))]
        axes = [axes[i] for i in rng.permutation(len(axes))]
        shape = tuple(sizes[kind][i] for kind, i in axes)
        return shape, lambda q: tuple(axes.index((q, i)) for i in range(len(sizes[q])))

    (left, of_left), (right, of_right) = drawn("bmk"), drawn("bnk")
    attrs = {
        "lhs_contract": of_left("k"), "rhs_contract": of_right("k"),
        "lhs_batch": of_left("b"), "rhs_batch": of_right("b"),
    }  # fmt: skip
    dtype = ["f32", "bf16", "i32", "f64"][seed % 4]
    kernels = products(lambda x, w: OPS["dot_general"](x, w, **attrs), left, right, dtype=dtype)
    for kernel in kernels:
        check(kernel, m=16, n=16, k=16, swap=seed % 3 == 0)


@pytest.mark.parametrize("programs", [0, 3])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_matrices_read_by_descriptors(ta, tb, programs):
    """Whole blocks, in both orders; a few programs that compute one block after the other."""
    (kernel,) = products(matmul(ta, tb), *shapes(72, 40, 56, ta, tb), dtype="bf16")
    for swap in (False, True):
        blocks = {"described": True, "programs": programs, "swap": swap}
        text = check(kernel, m=32, n=16, k=32, **blocks)
        assert text.grid == (programs or 9, 1, 1)
        assert "make_tensor_descriptor" in text.source


def test_batches_and_unknown_rows_read_by_descriptors():
    attrs = {"lhs_contract": (2,), "rhs_contract": (1,), "lhs_batch": (0,), "rhs_batch": (0,)}
    body = lambda x, w: OPS["dot_general"](x, w, **attrs)
    (kernel,) = products(body, (3, 40, 24), (3, 24, 40), dtype="f16")
    check(kernel, m=16, n=16, k=16, described=True, programs=4)
    (kernel,) = products(matmul(), *shapes(M, 40, 24), dtype="f16")
    check(kernel, {"M": 37}, m=16, n=16, k=16, described=True, programs=4)


def test_descriptors_are_for_matrices_whose_rows_are_aligned():
    def described(body: Body, *given: tuple, target=SM_90) -> bool:
        (kernel,) = products(body, *given, dtype="bf16")
        return schedule_blocks(kernel, target).nests[-1].contract.described

    assert described(matmul(), *shapes(2048, 2048, 2048))
    assert described(matmul(), *shapes(M, 2048, 2048))
    assert not described(matmul(), *shapes(2048, 2048, 2048), target=SM_80)
    assert not described(matmul(), *shapes(2048, 2052, 2048))  # rows of 4104 bytes
    assert not described(lambda x, w: matmul()(OPS["exp"](x), w), *shapes(2048, 2048, 2048))
    assert not described(matmul(), *shapes(2048, N, 2048))
    (kernel,) = products(matmul(), *shapes(2048, 2048, 2048), dtype="bf16")
    loose = by_pointers(schedule_blocks(kernel, SM_90))
    assert "descriptor" not in kernel_text(kernel, loose, "product").source


# --------------------------------------------------------------------------------- what is fused


def test_what_feeds_and_what_follows_is_computed_on_blocks():
    def body(x, mean, w, bias, residual):
        broadcast = OPS["broadcast"]
        x = OPS["exp"](x - broadcast(mean, shape=x.type.shape, dims=(0,)))
        h = matmul(tb=True)(x, w)
        h = h + broadcast(bias, shape=h.type.shape, dims=(1,))
        return [h, OPS["mul"](h, OPS["sigmoid"](h)) + residual]

    (kernel,) = products(body, (33, 27), (33,), (45, 27), (45,), (33, 45))
    for swap in (False, True):
        check(kernel, m=16, n=16, k=16, swap=swap)
        check(kernel, m=16, n=32, k=16, swap=swap, halves=True)


def test_operands_that_are_not_0_behind_the_end_of_k():
    """1 / 0, and 0 times that, are in no sum."""

    def body(x, w):
        return matmul()(OPS["div"](OPS["exp"](x), x), OPS["log"](OPS["abs"](w)))

    (kernel,) = products(body, (20, 21), (21, 22))
    check(kernel, m=16, n=16, k=16)


def test_an_operand_without_memory_or_that_is_the_same_along_an_axis():
    def body(x):
        ones = OPS["broadcast"](x, shape=(19, 18), dims=(1,))
        return matmul()(ones, OPS["iota"](shape=(18, 17), axis=1, dtype=dtypes.f32))

    for kernel in products(body, (18,)):
        check(kernel, m=16, n=16, k=16)


def test_operands_are_cast_on_the_way():
    def body(x, w):
        wide = [OPS["cast"](v, dtype=dtypes.f32) for v in (x, w)]
        return OPS["cast"](matmul()(*wide), dtype=dtypes.bf16)

    (kernel,) = products(body, (18, 33), (33, 20), dtype=("i32", "f16"))
    check(kernel, m=16, n=16, k=16)


# ---------------------------------------------------------------------------------- convolutions


def drawn_convolution(rng: np.random.Generator) -> tuple[tuple, tuple, dict] | None:
    count, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    sizes = rng.integers(1, (40, 12, 6)[count - 1], count).tolist()
    x = (int(rng.integers(1, 3)), groups * int(rng.integers(1, 4)), *sizes)
    w = (groups * int(rng.integers(1, 10)), x[1] // groups, *rng.integers(1, 4, count).tolist())
    dilation = tuple(rng.choice([1, 1, 2], count).tolist())
    padding = tuple(map(tuple, rng.integers(-1, 3, (count, 2)).tolist()))
    reach = [(taps - 1) * d + 1 for taps, d in zip(w[2:], dilation, strict=True)]
    if any(n + sum(p) < r for n, p, r in zip(x[2:], padding, reach, strict=True)):
        return None
    return x, w, {
        "strides": tuple(rng.choice([1, 1, 2, 3], count).tolist()), "padding": padding,
        "lhs_dilation": (1,) * count, "rhs_dilation": dilation, "groups": groups,
    }  # fmt: skip


def of_convolution(x: tuple, w: tuple, dtype: str, attrs: dict) -> list[Graph]:
    """The products of a convolution with an epilogue, and of both of its gradients."""

    def body(image, weight):
        y = CONV(image, weight, **attrs)
        gradients = backward([y], [y * y], [image, weight], lambda value: True)
        return [OPS["maximum"](y, y * y), *(g for g in gradients if g is not None)]

    return products(body, x, w, dtype=dtype)


@pytest.mark.parametrize("seed", range(16))
def test_convolutions_and_their_gradients(seed):
    rng = np.random.default_rng(seed)
    x, w, attrs = next(d for d in iter(lambda: drawn_convolution(rng), 0) if d is not None)
    kernels = of_convolution(x, w, ["f32", "f16", "bf16", "f64"][seed % 4], attrs)
    assert len(kernels) >= 3
    for kernel in kernels:
        check(kernel, m=16, n=16, k=16, swap=seed % 3 == 0)


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("groups, dtype", [(1, "f32"), (2, "bf16")])
def test_taps_of_windows_leave_the_blocks(groups, dtype, strides):
    """Into turns of the loop over k, or into the grid: forward, and in both gradients."""
    attrs = {"strides": strides, "padding": ((1, 1), (0, 2)), "lhs_dilation": (1, 1)}
    attrs |= {"rhs_dilation": (1, 2), "groups": groups}
    x, w = (2, 17 * groups, 4, 5), (18 * groups, 17, 3, 2)
    seen = []
    for number, kernel in enumerate(of_convolution(x, w, dtype, attrs)):
        check(kernel, m=32, n=32, k=16, swap=number % 2 == 0)
        blocks = schedule_blocks(kernel, SM_90).nests[-1].contract
        seen.append((blocks.turns != (), blocks.alone_n != () or blocks.alone_m != ()))
    assert (True, False) in seen and (False, True) in seen


def test_images_of_a_batch_are_columns_of_one_product():
    attrs = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "lhs_dilation": (1, 1)}
    attrs |= {"rhs_dilation": (1, 1), "groups": 1}
    body = lambda x, w: CONV(x, w, **attrs)
    (kernel,) = products(body, (5, 3, 4, 4), (8, 3, 3, 3))
    text = check(kernel, m=16, n=16, k=16)
    assert text.grid == (5, 1, 1)  # 5 * 4 * 4 pixels in blocks of 16
    (kernel,) = products(body, (N, 3, 4, 4), (8, 3, 3, 3))
    check(kernel, {"N": 5}, m=16, n=16, k=16)


# ------------------------------------------------------------------------------------ machine code


def gelu(x, w, residual):
    h = matmul(tb=True)(x, w)
    return h * 0.5 * (OPS["erf"](h * 0.7071) + 1.0) + residual


def convolution(x, w):
    attrs = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "lhs_dilation": (1, 1)}
    return OPS["maximum"](CONV(x, w, **attrs, rhs_dilation=(1, 1), groups=1), 0.0 * x)


CASES = {
    "large": (matmul(), shapes(4096, 4096, 4096)),
    "epilogue": (gelu, (*shapes(4096, 4096, 1024, tb=True), (4096, 4096))),
    "few rows": (matmul(tb=True), shapes(4, 4096, 4096, tb=True)),
    "one row": (matmul(), shapes(1, 1000, 4096)),
    "odd": (matmul(), shapes(203, 301, 97)),
    "unknown": (matmul(), shapes(M, 768, 768)),
    "convolution": (convolution, ((32, 64, 28, 28), (64, 64, 3, 3))),
}


@pytest.mark.parametrize("target", [SM_80, SM_90], ids=lambda target: target.name)
@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32", "f64", "i32"])
def test_machine_code(dtype, target):
    cases = {k: v for k, v in CASES.items() if dtype != "i32" or k in ("large", "odd")}
    if dtype == "f16":  # as bfloat16, but for the letters
        cases = {"odd": cases["odd"], "epilogue": cases["epilogue"]}
    kernels = [products(body, *given, dtype=dtype)[0] for body, given in cases.values()]
    texts = [kernel_text(k, schedule_blocks(k, target), "product") for k in kernels]
    for case, made in zip(cases, cubin_compiler().compile_all(texts, target), strict=True):
        assert isinstance(made, CompiledText), f"{case}: {made}"
        assert made.spill_bytes <= 64, f"{case}: {made.spill_bytes} bytes of spills"
        if dtype in ("bf16", "f16"):
            wide = target is SM_90 and case in ("large", "epilogue", "unknown")
            assert ("wgmma.mma_async" if wide else "mma.") in made.ptx, case
            assert "cp.async" in made.ptx or case in ("convolution", "odd"), case
            assert ("cp.async.bulk.tensor" in made.ptx) == wide, case
        if dtype == "f32":
            assert "mma." not in made.ptx, case
