"""The interpreter of the tests computes what a GPU would, and finds what a GPU must not do."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from triton_interpreter import InterpretationError, interpret
from triton_texts import ADD, SOFTMAX, dot, needs_triton, written

from sley.backends.triton.kernel import TritonKernel
from sley.ir.dims import symbol
from sley.ir.ops.base import OPS

pytestmark = needs_triton
DTYPES = {
    "fp32": np.float32, "fp64": np.float64, "fp16": np.float16, "bf16": ml_dtypes.bfloat16,
    "i32": np.int32, "i64": np.int64, "u8": np.uint8, "i1": np.bool_,
}  # fmt: skip
BLOCK = "i = tl.arange(0, 64)\n"


def drawn(*shape: int, dtype: str = "fp32", seed: int = 0) -> np.ndarray:
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(DTYPES[dtype])


def mapped(expression: str, x: np.ndarray, kind: str, result: str | None = None) -> np.ndarray:
    """`expression` of each of 64 elements v."""
    kernel = written(
        "mapped", f"{BLOCK}v = tl.load(x + i)\ntl.store(y + i, {expression})",
        {"x": f"*{kind}", "y": f"*{result or kind}"},
    )  # fmt: skip
    y = np.zeros(64, DTYPES[result or kind])
    interpret(kernel, [x, y])
    return y


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129])
def test_programs_of_the_grid_add(n):
    x, y, z = drawn(n), drawn(n, seed=1), np.zeros(n, np.float32)
    interpret(ADD, [x, y, z], {"N": n})
    np.testing.assert_array_equal(z, x + y)


def test_softmax():
    x, y = drawn(3, 50), np.zeros((3, 50), np.float32)
    interpret(SOFTMAX, [x, y], {"N": 3})
    weights = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(y, weights / weights.sum(1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
def test_products(kind):
    a, b, c = drawn(32, 48, dtype=kind), drawn(48, 64, dtype=kind), np.zeros((32, 64), np.float32)
    interpret(dot(kind), [a, b, c])
    np.testing.assert_allclose(c, a.astype("f8") @ b.astype("f8"), rtol=1e-5, atol=1e-4)


def test_products_of_tensor_cores_round_float32():
    a, b, c = drawn(32, 48), drawn(48, 64), np.zeros((32, 64), np.float32)
    interpret(dot("fp32", "tf32"), [a, b, c])
    error = np.abs(c - a.astype("f8") @ b.astype("f8")).max()
    assert 1e-2 < error < 1


def test_an_array_given_twice_is_one_buffer():
    x, y = drawn(130), drawn(130, seed=1)
    expected = x + y
    interpret(ADD, [x, y, x], {"N": 130})
    np.testing.assert_array_equal(x, expected)


# -------------------------------------------------------------------------------------- numbers


def test_bfloat16_rounds_to_nearest_even():
    x = drawn(64)
    np.testing.assert_array_equal(
        mapped("v.to(tl.bfloat16)", x, "fp32", "bf16"), x.astype(ml_dtypes.bfloat16)
    )


def test_bfloat16_computes_in_float32():
    x = drawn(64, dtype="bf16")
    wide = x.astype(np.float32)
    rounded = wide.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(mapped("v * v", x, "bf16"), (wide * wide).astype(rounded.dtype))
    np.testing.assert_array_equal(mapped("v + 1.0", x, "bf16"), (wide + 1).astype(rounded.dtype))
    np.testing.assert_array_equal(mapped("-v", x, "bf16"), -rounded)
    np.testing.assert_array_equal(mapped("tl.where(v > 0, v, 0)", x, "bf16"), np.maximum(x, 0))
    np.testing.assert_array_equal(mapped("v.to(tl.int32)", x, "bf16", "i32"), wide.astype(np.int32))


def test_fused_products_round_once():
    x = drawn(64)
    expected = (x.astype(np.float64) * x + np.float32(1.1)).astype(np.float32)
    found = mapped("tl.fma(v, v, tl.full([64], 1.1, tl.float32))", x, "fp32")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["fp32", "fp64"])
@pytest.mark.parametrize(
    "name", ["exp", "expm1", "exp2", "log1p", "tan", "sinh", "tanh", "erf", "atan", "rint", "trunc"]
)
def test_functions_of_libdevice_are_the_ops(kind, name):
    x = np.abs(drawn(64, dtype=kind))
    op = OPS[{"rint": "round"}.get(name, name)]
    found = mapped(f"libdevice.{name}(v)", x, kind)
    np.testing.assert_array_equal(found, op.evaluate([x], {})[0])


def test_functions_of_two_operands_and_of_scalars():
    x = np.abs(drawn(64)) + 0.1
    np.testing.assert_allclose(mapped("libdevice.pow(v, v)", x, "fp32"), x**x, rtol=1e-6)
    np.testing.assert_allclose(mapped("libdevice.pow(v, 2.5)", x, "fp32"), x**2.5, rtol=1e-6)
    np.testing.assert_array_equal(mapped("libdevice.fmod(v, 0.7)", x, "fp32"), np.fmod(x, 0.7))
    found = mapped("v * libdevice.exp(tl.sum(v, 0) * 0)", x, "fp32")
    np.testing.assert_array_equal(found, x)


def test_maxima_pass_over_nan_unless_told():
    x = drawn(64)
    x[::3] = np.nan
    found = mapped("tl.maximum(v, 0.0)", x, "fp32")
    np.testing.assert_array_equal(found, np.fmax(x, 0))
    kept = mapped("tl.maximum(v, 0.0, propagate_nan=tl.PropagateNan.ALL)", x, "fp32")
    np.testing.assert_array_equal(kept, np.maximum(x, 0))


# ------------------------------------------------------------------------- folds, loops, atomics

WELFORD = """
@triton.jit
def joined(n1, mean1, n2, mean2):
    n = n1 + n2
    return n, mean1 + (mean2 - mean1) * (n2 / n)


@triton.jit
def means(x, y):
    i = tl.arange(0, 4)[:, None] * 64 + tl.arange(0, 64)[None, :]
    v = tl.load(x + i)
    count, mean = tl.reduce((tl.full([4, 64], 1.0, tl.float32), v), 1, joined)
    tl.store(y + tl.arange(0, 4), mean)
"""

RESTARTING = """
@triton.jit
def joined(v1, new1, v2, new2):
    return tl.where(new2, v2, v1 + v2), new1 | new2


@triton.jit
def sums(x, new, y):
    i = tl.arange(0, 64)
    v, _ = tl.associative_scan((tl.load(x + i), tl.load(new + i)), 0, joined)
    tl.store(y + i, v)
"""


def test_reductions_by_any_function():
    x, y = drawn(4, 64), np.zeros(4, np.float32)
    kinds = (("x", "*fp32"), ("y", "*fp32"))
    interpret(TritonKernel("means", WELFORD, kinds, (), (1, 1, 1), 4), [x, y])
    np.testing.assert_allclose(y, x.mean(1), rtol=1e-5)


def test_scans_by_any_function():
    x, new, y = drawn(64), drawn(64, dtype="i1"), np.zeros(64, np.float32)
    new[:] = np.arange(64) % 7 == 0
    kinds = (("x", "*fp32"), ("new", "*i1"), ("y", "*fp32"))
    interpret(TritonKernel("sums", RESTARTING, kinds, (), (1, 1, 1), 4), [x, new, y])
    parts = [np.cumsum(x[i : i + 7]) for i in range(0, 64, 7)]
    np.testing.assert_allclose(y, np.concatenate(parts)[:64], rtol=1e-5, atol=1e-6)


def test_sums_prefixes_and_places_of_maxima():
    x = drawn(64)
    np.testing.assert_allclose(mapped("tl.cumsum(v, 0)", x, "fp32"), np.cumsum(x), rtol=1e-4)
    suffixes = mapped("tl.cumsum(v, 0, reverse=True)", x, "fp32")
    np.testing.assert_allclose(suffixes, np.cumsum(x[::-1])[::-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mapped("tl.sum(v, 0) + 0 * v", x, "fp32"), x.sum(), rtol=1e-5)
    x[5] = x[40] = 100
    np.testing.assert_array_equal(mapped("tl.argmax(v, 0) + 0 * i", x, "fp32", "i32"), 5)


def test_loops_count_in_scalars_of_triton():
    kernel = written(
        "looped",
        """
i = tl.arange(0, 64)
total = tl.zeros([64], tl.int64)
for k in range(0, N, 3):
    total += k.to(tl.int64) * 2
for k in tl.range(2):
    total += k
for k in tl.static_range(3):
    total += k
while tl.sum(total, 0) < 64 * 100:
    total += 100
tl.store(y + i, total)
""",
        {"y": "*i64", "N": "i64"},
    )
    y = np.zeros(64, np.int64)
    interpret(kernel, [y], {"N": 10})
    np.testing.assert_array_equal(y, 2 * (0 + 3 + 6 + 9) + 1 + 3 + 100)


@pytest.mark.parametrize("kind", ["fp32", "i32", "bf16"])
def test_atomics_join_what_several_programs_add(kind):
    n = symbol("N")
    kernel = written(
        "counted",
        """
i = tl.program_id(0) * 64 + tl.arange(0, 64)
inside = i < N
tl.atomic_add(y + tl.load(x + i, inside, other=0), (inside * 1).to(y.dtype.element_ty), inside)
""",
        {"x": "*i32", "y": f"*{kind}", "N": "i64"},
        ((n + 63) // 64, 1, 1),
    )
    x = np.random.default_rng(0).integers(0, 5, 150).astype(np.int32)
    y = np.zeros(5, DTYPES[kind])
    interpret(kernel, [x, y], {"N": 150})
    np.testing.assert_array_equal(y.astype(np.int64), np.bincount(x, minlength=5))


@pytest.mark.parametrize("kind", sorted(DTYPES))
def test_elements_of_each_type_are_copied(kind):
    x = drawn(64, dtype=kind)
    np.testing.assert_array_equal(mapped("v", x, kind), x)


# ------------------------------------------------------------------------------- what is refused


def refused(body: str, *arrays: np.ndarray, match: str, grid: int = 1, divisible: str = "") -> None:
    kinds = {f"a{number}": "*fp32" for number in range(len(arrays))}
    kernel = written("refused", BLOCK + body, {**kinds, "N": "i64"}, (grid, 1, 1), divisible)
    with pytest.raises(InterpretationError, match=match):
        interpret(kernel, arrays, {"N": 63})


def test_accesses_outside_of_the_buffers_are_refused():
    x, y = drawn(63), drawn(64)
    refused("tl.store(a1 + i, tl.load(a0 + i))", x, y, match="element 63 of buffer 0, which has 63")
    refused("tl.store(a0 + i, tl.load(a1 + i))", x, y, match="element 63 of buffer 0")
    refused("tl.load(a0 - 1)", x, match="element -1 of buffer 0")
    refused("tl.atomic_add(a0 + i, 1.0)", x, match="element 63")
    refused("tl.load(a0 + tl.load(a0).to(tl.int64) * 0 + 100000)", x, match="element 100000")


def test_what_masked_lanes_load_is_poison():
    x, y = drawn(63), np.zeros(1, np.float32)
    body = "tl.store(a1, tl.sum(tl.load(a0 + i, i < N{}), 0))"
    kinds = {"a0": "*fp32", "a1": "*fp32", "N": "i64"}
    interpret(written("poisoned", BLOCK + body.format(""), kinds), [x, y], {"N": 63})
    assert np.isnan(y[0])
    interpret(written("filled", BLOCK + body.format(", other=0.0"), kinds), [x, y], {"N": 63})
    np.testing.assert_allclose(y[0], x.sum(), rtol=1e-5)


def test_races_between_programs_are_refused():
    x, y = drawn(64), drawn(64)
    refused("tl.store(a0 + i, tl.load(a1 + i))", x, y, match="a race: program 1 writes", grid=2)
    shifted = "p = tl.program_id(0)\ntl.store(a0 + p, tl.load(a0 + 1 - p))"
    refused(shifted, x, match="a race: program 1 (reads|writes what was read)", grid=2)
    refused("tl.store(a0 + i // 2, tl.load(a1 + i))", x, y, match="several values in one place")
    refused("tl.atomic_add(a0 + i, 1.0)\ntl.load(a0 + i)", x, match="reads .* as atomics did")
    # One that stays with its own elements is no race.
    kernel = written("own", BLOCK + "tl.store(a0 + i, tl.load(a0 + i) * 2)", {"a0": "*fp32"})
    interpret(kernel, [x])


def test_hints_that_are_not_true_are_refused():
    refused("tl.load(a0)", drawn(4), match="N = 63 is said to be a multiple of 16", divisible="N")


def test_failures_tell_the_line_and_the_next_kernel_runs():
    refused("tl.store(a0 + i, tl.lead(a0 + i))", drawn(64), match=r"lead.*\(line 4\)")
    assert mapped("v", drawn(64), "fp32").any()
