"""Every elementwise op on every dtype that it takes as Triton text, against its definition."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from elementwise_building import (
    ELEMENTWISE,
    PLAIN,
    REAL,
    N,
    check,
    many_ops,
    plain,
    samples,
    takes,
)
from kernel_building import load, op, store
from triton_interpreter import interpret
from triton_texts import needs_triton

from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.emit.scalars import NO_RULE, known_ops
from sley.backends.triton.target import gpu_target
from sley.ir import dtypes
from sley.ir.graph import Graph
from sley.passes.schedule_blocks import schedule_blocks

pytestmark = needs_triton


def run(kernel: Graph, arrays: list[np.ndarray], count: int) -> None:
    text = kernel_text(kernel, schedule_blocks(kernel, gpu_target("sm_90")), "scalars")
    interpret(text, arrays, {"N": count})


def test_every_elementwise_op_has_a_rule_or_a_reason():
    names = {o.name for o in ELEMENTWISE}
    assert known_ops() | set(NO_RULE) == names
    assert not known_ops() & set(NO_RULE)
    assert all(NO_RULE.values())


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_elementwise_ops_agree_with_their_definition(dtype):
    ops = [o for o in PLAIN if takes(o, dtype)]
    kernel, results = many_ops(ops, dtype)
    for count in (0, 1, 331):
        x, y = samples(dtype, count, 1 + count), samples(dtype, count, 2 + count)
        outs = [np.zeros(count, r.numpy) for r in results]
        run(kernel, [x, y, *outs], count)
        for o, out, result in zip(ops, outs, results, strict=True):
            with np.errstate(all="ignore"):
                (expected,) = o.evaluate([x, y][: o.arity], {})
            check(o, dtype, result, out, expected, x, y)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_where_chooses_in_every_dtype(dtype):
    def body(c, x, y, out):
        with b.parallel(N) as (i,):
            store(out, op["where"](load(c, i), load(x, i), load(y, i)), i)

    kernel = b.kernel(
        [("bool", (N,)), (dtype.name, (N,)), (dtype.name, (N,))], [(dtype.name, (N,))], body
    )
    c, x, y = samples(dtypes.bool_, 77, 1), samples(dtype, 77, 2), samples(dtype, 77, 3)
    out = np.zeros(77, dtype.numpy)
    run(kernel, [c, x, y, out], 77)
    np.testing.assert_array_equal(plain(out), plain(np.where(c, x, y)))


@pytest.mark.parametrize("source", REAL, ids=lambda d: d.name)
def test_casts_agree_with_numpy(source):
    def body(x, *outs):
        with b.parallel(N) as (i,):
            for target, out in zip(REAL, outs, strict=True):
                store(out, op["cast"](load(x, i), dtype=target), i)

    kernel = b.kernel([(source.name, (N,))], [(d.name, (N,)) for d in REAL], body)
    x = samples(source, 331, 5)
    if source.is_floating_point:  # the integer of what is out of its range is unspecified
        x = np.where(np.abs(x.astype(np.float64)) < 100, x, np.asarray(0, x.dtype))
    outs = [np.zeros(331, d.numpy) for d in REAL]
    run(kernel, [x, *outs], 331)
    for target, out in zip(REAL, outs, strict=True):
        keep = np.full(331, True)
        if source.is_floating_point and target.kind == "uint":
            keep = x.astype(np.float64) >= 0
        with np.errstate(over="ignore"):
            (expected,) = op["cast"].evaluate([x], {"dtype": target})
        if source.name == "f64" and target.is_low_precision:
            continue  # rounded twice, by way of float32
        np.testing.assert_array_equal(plain(out)[keep], plain(expected)[keep], target.name)


def test_bitcasts_keep_the_bits():
    pairs = [("f32", "i32"), ("f64", "i64"), ("i32", "f32"), ("u64", "f64"), ("u32", "i32")]
    for source, target in [*pairs, ("u8", "bool"), ("bool", "u8")]:

        def body(x, y, target=target):
            with b.parallel(N) as (i,):
                store(y, op["bitcast"](load(x, i), dtype=dtypes.by_name(target)), i)

        kernel = b.kernel([(source, (N,))], [(target, (N,))], body)
        x = samples(dtypes.by_name(source), 77, 3)
        x = x % 2 if target == "bool" else x
        y = np.zeros(77, dtypes.by_name(target).numpy)
        run(kernel, [x, y], 77)
        np.testing.assert_array_equal(y.view(np.uint8), x.view(np.uint8))


@pytest.mark.parametrize("bits", [32, 64])
def test_random_bits_are_those_of_a_cpu(bits):
    def body(seed, offset, element, out):
        with b.parallel(N) as (i,):
            operands = load(seed, i), load(offset, i), load(element, i)
            store(out, op["random_bits"](*operands, bits=bits), i)

    kernel = b.kernel([("i64", (N,))] * 3, [(f"u{bits}", (N,))], body)
    rng = np.random.default_rng(0)
    operands = [rng.integers(-(2**63), 2**63 - 1, 77) for _ in range(3)]
    out = np.zeros(77, f"u{bits // 8}")
    run(kernel, [*operands, out], 77)
    (expected,) = op["random_bits"].evaluate(operands, {"bits": bits})
    np.testing.assert_array_equal(out, expected)
