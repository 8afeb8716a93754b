"""Decompose gives the same bits from fewer kinds of ops."""

from __future__ import annotations

import numpy as np
import pytest
from op_samples import ALL_SAMPLES, Sample
from programs import record

from sley.backends.llvm.target import host_target
from sley.ir import dtypes as dt
from sley.ir.dims import symbol
from sley.ir.evaluate import evaluate
from sley.ir.literal import array_type
from sley.ir.ops import elementwise as ew
from sley.ir.ops.base import OPS, Kind
from sley.ir.ops.source import RNG_BITS
from sley.ir.types import tensor_type
from sley.passes.decompose import LOWERINGS, decompose, has_kernel
from sley.passes.simplify import RULES, simplify

SCALAR = tensor_type(dt.i64)
N = symbol("N")


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=str)
def test_every_op_keeps_its_bits(sample: Sample) -> None:
    for dtype in sample.dtypes:
        arrays = sample.arrays(dtype)
        graph = record(sample.emit, [*map(array_type, arrays)])
        lowered = decompose(graph, host_target())
        assert not any(
            n.op.name in LOWERINGS and not has_kernel(n, host_target()) for n in lowered.nodes
        )
        for found, expected in zip(evaluate(lowered, arrays), evaluate(graph, arrays), strict=True):
            assert found.dtype == expected.dtype
            if OPS[sample.op].kind is Kind.ATTENTION:  # sums in another order
                np.testing.assert_allclose(found, expected, 1e-4, 1e-4)
            else:
                assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [dt.f32, dt.f64, dt.bf16, dt.f16], ids=lambda d: d.name)
def test_sign_of_special_values(dtype) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -3]).astype(dtype.numpy)
    graph = record(lambda v: [ew.SIGN(v[0])], [array_type(x)])
    results = (evaluate(decompose(graph, host_target()), [x])[0], evaluate(graph, [x])[0])
    found, expected = (a.astype(np.float64) for a in results)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found[:4]), np.signbit(expected[:4]))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("shape", [(N, 3), (N,), (3, 1)], ids=str)
def test_random_bits_of_any_size(shape, bits) -> None:
    draw = lambda v: [RNG_BITS(*v, shape=shape, bits=bits)]
    graph = record(draw, [SCALAR, SCALAR])
    for lowered in (decompose(graph, host_target()), simplify(decompose(graph, host_target()))):
        for size in (4, 1, 0):
            for seed, offset in ((0, 0), (-1, 2**40 + 3), (2**63 - 1, -5)):
                words = [np.asarray(seed), np.asarray(offset)]
                sizes = {"N": size}
                (found,) = evaluate(lowered, words, sizes)
                np.testing.assert_array_equal(found, evaluate(graph, words, sizes)[0])


def test_the_tables_name_ops_that_exist() -> None:
    assert set(LOWERINGS) <= set(OPS) and set(RULES) <= set(OPS)
