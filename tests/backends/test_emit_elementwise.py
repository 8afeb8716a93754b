"""Every elementwise op on every dtype that it takes, compiled and compared with its definition."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from elementwise_building import (
    ELEMENTWISE,
    PLAIN,
    REAL,
    SPECIAL,
    N,
    check,
    many_ops,
    plain,
    samples,
    takes,
)
from kernel_building import load, op, store
from kernel_running import Program

from sley.backends.llvm.emit.elementwise import NO_RULE, known_ops
from sley.ir import dtypes

CPUS = ("host", "x86-64-v3", "x86-64")


def test_every_elementwise_op_has_a_rule_or_a_reason():
    names = {o.name for o in ELEMENTWISE}
    assert known_ops() | set(NO_RULE) == names
    assert not known_ops() & set(NO_RULE)
    assert all(NO_RULE.values())


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_elementwise_ops_agree_with_their_definition(dtype, cpu):
    ops = [o for o in PLAIN if takes(o, dtype)]
    kernel, results = many_ops(ops, dtype)
    program = Program(kernel, cpu)
    for count in (0, 1, 5, 331):
        x, y = samples(dtype, count, 1 + count), samples(dtype, count, 2 + count)
        outs = [np.zeros(count, r.numpy) for r in results]
        program([x, y, *outs], {"N": count})
        for o, out, result in zip(ops, outs, results, strict=True):
            with np.errstate(all="ignore"):
                (expected,) = o.evaluate([x, y][: o.arity], {})
            check(o, dtype, result, out, expected, x, y)


FLOATS = [d for d in REAL if d.is_float]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_an_element_has_the_same_bits_in_vectors_tails_and_alone(dtype, cpu):
    """Whoever computes a value again, in a kernel of other vectors, may compare it for equality."""
    ops = [o for o in PLAIN if takes(o, dtype)]
    kernel, results = many_ops(ops, dtype)
    program = Program(kernel, cpu)
    x, y = samples(dtype, 96, 7), samples(dtype, 96, 8)
    whole = [np.zeros(96, r.numpy) for r in results]
    program([x, y, *whole], {"N": 96})
    for count in (1, 2, 3, 7, 17):
        for start in (0, 40, 40 + count):
            part = slice(start, start + count)
            outs = [np.zeros(count, r.numpy) for r in results]
            program([x[part].copy(), y[part].copy(), *outs], {"N": count})
            for o, out, every in zip(ops, outs, whole, strict=True):
                same_bits(out, every[part], f"{o.name}, {count} of 96")
    for count in (3, 17):
        fixed, _ = many_ops(ops, dtype, count)
        outs = [np.zeros(count, r.numpy) for r in results]
        Program(fixed, cpu)([x[:count].copy(), y[:count].copy(), *outs])
        for o, out, every in zip(ops, outs, whole, strict=True):
            same_bits(out, every[:count], f"{o.name}, {count} elements by the kernel's shape")


def same_bits(got, expected, what):
    """Any NaN is a NaN; zeros have signs."""
    got, expected = plain(got), plain(expected)
    np.testing.assert_array_equal(got, expected, what)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(expected[got == 0]), what)


@pytest.mark.parametrize("cpu", CPUS)
def test_where_chooses_in_every_dtype(cpu):
    for dtype in REAL:

        def body(c, x, y, out):
            with b.parallel(N) as (i,):
                store(out, op["where"](load(c, i), load(x, i), load(y, i)), i)

        kernel = b.kernel(
            [("bool", (N,)), (dtype.name, (N,)), (dtype.name, (N,))], [(dtype.name, (N,))], body
        )
        c, x, y = samples(dtypes.bool_, 77, 1), samples(dtype, 77, 2), samples(dtype, 77, 3)
        out = np.zeros(77, dtype.numpy)
        Program(kernel, cpu)([c, x, y, out], {"N": 77})
        expected = np.where(c, x, y)
        np.testing.assert_array_equal(plain(out), plain(expected))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("source", REAL, ids=lambda d: d.name)
def test_casts_agree_with_numpy(source, cpu):
    def body(x, *outs):
        with b.parallel(N) as (i,):
            for target, out in zip(REAL, outs, strict=True):
                store(out, op["cast"](load(x, i), dtype=target), i)

    kernel = b.kernel([(source.name, (N,))], [(d.name, (N,)) for d in REAL], body)
    x = samples(source, 331, 5)
    if source.is_floating_point:  # the integer of what is out of its range is unspecified
        x = np.where(np.abs(x.astype(np.float64)) < 100, x, np.asarray(0, x.dtype))
    outs = [np.zeros(331, d.numpy) for d in REAL]
    Program(kernel, cpu)([x, *outs], {"N": 331})
    for target, out in zip(REAL, outs, strict=True):
        keep = np.full(331, True)
        if source.is_floating_point and target.kind == "uint":
            keep = x.astype(np.float64) >= 0
        with np.errstate(over="ignore"):
            (expected,) = op["cast"].evaluate([x], {"dtype": target})
        np.testing.assert_array_equal(plain(out)[keep], plain(expected)[keep], target.name)


@pytest.mark.parametrize("target", [dtypes.f16, dtypes.bf16], ids=lambda d: d.name)
@pytest.mark.parametrize("source", [dtypes.f32, dtypes.f64], ids=lambda d: d.name)
def test_narrowing_rounds_to_nearest_even_over_all_exponents(source, target):
    rng = np.random.default_rng(11)
    x = np.concatenate([
        rng.standard_normal(4000) * 2.0 ** rng.integers(-40, 40, 4000),
        np.ldexp(1 + rng.integers(0, 4096, 4000) / 2048, rng.integers(-26, 17, 4000)),
        1 + 2.0**-11 + 2.0 ** -rng.integers(20, 50, 100),
        np.array(SPECIAL),
    ])  # fmt: skip
    with np.errstate(all="ignore"):
        x = x.astype(source.numpy)

    def body(x, y):
        with b.parallel(N) as (i,):
            store(y, op["cast"](load(x, i), dtype=target), i)

    kernel = b.kernel([(source.name, (N,))], [(target.name, (N,))], body)
    for cpu in CPUS:
        y = np.zeros(x.size, target.numpy)
        Program(kernel, cpu)([x, y], {"N": x.size})
        (expected,) = op["cast"].evaluate([x], {"dtype": target})
        np.testing.assert_array_equal(plain(y), plain(expected))


def test_bitcasts_keep_the_bits():
    pairs = [("f32", "i32"), ("f64", "i64"), ("i32", "f32"), ("u64", "f64"), ("f16", "bf16")]
    pairs += [("u8", "bool"), ("bool", "u8"), ("u32", "i32")]
    for source, target in pairs:

        def body(x, y, target=target):
            with b.parallel(N) as (i,):
                store(y, op["bitcast"](load(x, i), dtype=dtypes.by_name(target)), i)

        kernel = b.kernel([(source, (N,))], [(target, (N,))], body)
        x = samples(dtypes.by_name(source), 77, 3)
        if target == "bool":
            x = x % 2
        y = np.zeros(77, dtypes.by_name(target).numpy)
        Program(kernel)([x, y], {"N": 77})
        np.testing.assert_array_equal(y.view(np.uint8), x.view(np.uint8))
