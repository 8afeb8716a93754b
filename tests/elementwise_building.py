"""Kernels of elementwise ops, elements that are special to them, and how exact results must be."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import load, store

from sley.ir import dtypes
from sley.ir.dims import symbol
from sley.ir.ops import OPS, Kind, TypeRuleError
from sley.ir.types import tensor_type

N = symbol("N")
ELEMENTWISE = [o for o in OPS.values() if o.kind is Kind.ELEMENTWISE]
OTHERS = ("cast", "bitcast", "where", "random_bits", "real", "imag", "complex")
PLAIN = [o for o in ELEMENTWISE if o.name not in OTHERS]  # of operands of one type
REAL = [d for d in dtypes.ALL if not d.is_complex]  # kernels have no other
EXACT = {
    "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "stop_gradient", "add", "sub",
    "mul", "div", "floor_div", "remainder", "maximum", "minimum", "eq", "ne", "lt", "le", "gt",
    "ge",
}  # fmt: skip
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-40, 65519.0, 3e38]


def samples(dtype, count, seed):
    rng = np.random.default_rng(seed)
    if dtype.kind == "bool":
        return rng.random(count) < 0.5
    if not dtype.is_floating_point:
        info = np.iinfo(dtype.numpy)
        small = rng.integers(max(-9, info.min), 10, count).astype(dtype.numpy)
        wide = rng.integers(info.min, info.max, count, dtype=dtype.numpy, endpoint=True)
        ends = rng.choice(np.array([info.min, info.max, 0, 1, info.max], dtype.numpy), count)
        return np.choose(rng.integers(0, 3, count), [small, wide, ends])
    values = rng.standard_normal(count) * 10.0 ** rng.integers(-3, 4, count)
    values = np.where(rng.random(count) < 0.3, rng.choice(SPECIAL, count), values)
    with np.errstate(all="ignore"):
        return dtypes.converted(values, dtype)


def plain(array):
    """bfloat16 and float8 as float64: numpy does not know their NaNs for equal."""
    return array.astype(np.float64) if dtypes.is_foreign(array.dtype) else array


def takes(o, dtype):
    count = 1 if o.arity == 1 else 2
    try:
        o.infer([tensor_type(dtype, ())] * count, {})
    except TypeRuleError:
        return False
    return True


def many_ops(ops, dtype, size=N):
    """One kernel that stores the result of each op of `ops`."""

    def body(x, y, *outs):
        with b.parallel(size) as (i,):
            for o, out in zip(ops, outs, strict=True):
                operands = [load(x, i), load(y, i)][: o.arity]
                store(out, o(*operands), i)

    results = [o.infer([tensor_type(dtype, ())] * o.arity, {})[0].dtype.name for o in ops]
    kernel = b.kernel(
        [(dtype.name, (size,))] * 2, [(name, (size,)) for name in results], body, "many_ops"
    )
    return kernel, [dtypes.by_name(name) for name in results]


def ulps(dtype, got, expected):
    """The distance in units of the last place; 0 for two NaNs and two equal infinities."""
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    # The spacing, also of bfloat16, from the number of its significand bits.
    bits = {"f64": 52, "f32": 23, "f16": 10, "bf16": 7}[dtype.name]
    tiny = {"f64": -1074, "f32": -149, "f16": -24, "bf16": -133}[dtype.name]
    with np.errstate(all="ignore"):
        exponent = np.where(np.isfinite(expected), np.frexp(expected)[1] - 1, 0)
        unit = np.exp2(np.maximum(exponent - bits, tiny).astype(np.float64))
        return np.where(same, 0, np.abs(got - expected) / unit)


def check(o, dtype, result, out, expected, x, y):
    if result.is_float8:
        wrong = out.view(np.uint8) != expected.view(np.uint8)
    elif not result.is_float:
        wrong = out != expected
    elif o.name in EXACT:
        wrong = ulps(result, out, expected) > 0
    else:
        limit = 8 if dtype.name in ("f32", "f64") else 1
        wrong = ~(ulps(result, out, expected) <= limit)
    if np.any(wrong):
        k = int(np.argmax(wrong))
        pytest.fail(
            f"{o.name} of {dtype.name}: {np.sum(wrong)} wrong, first {x[k]!r}, {y[k]!r} -> "
            f"{out[k]!r}, expected {expected[k]!r}"
        )
