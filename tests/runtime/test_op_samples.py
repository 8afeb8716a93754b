"""Every op of the table of samples, and its gradient, compiled and compared with numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from op_samples import ALL_SAMPLES, Sample
from programs import record

from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.literal import array_type
from sley.passes.autodiff.transform import vjp
from sley.runtime.compile import compile_graph

CASES = [(sample, dtype) for sample in ALL_SAMPLES for dtype in sample.dtypes]
STEP = {"f64": 2.0**-44, "f32": 2.0**-23, "f16": 2.0**-10, "bf16": 2.0**-7}  # relative, of one ulp


def graph_of(sample: Sample, arrays: Sequence[np.ndarray]) -> Graph:
    return record(sample.emit, [array_type(a) for a in arrays])


def assert_near(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    if tolerance == 0:
        assert found.tobytes() == expected.tobytes(), (found, expected)
        return
    wide = found.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(*wide, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("sample", "dtype"), CASES, ids=[f"{s}-{d}" for s, d in CASES])
def test_an_op(sample: Sample, dtype: str) -> None:
    arrays = sample.arrays(dtype)
    graph = graph_of(sample, arrays)
    # A narrow float is rounded once from float32: at most to the neighbour.
    ulps = sample.ulps if dtype in ("f32", "f64") else min(sample.ulps, 1)
    for found, expected in zip(compile_graph(graph)(arrays), evaluate(graph, arrays), strict=True):
        assert_near(found, expected, ulps * STEP.get(dtype, 0))


@pytest.mark.parametrize("sample", [s for s in ALL_SAMPLES if s.smooth], ids=str)
def test_its_gradient(sample: Sample) -> None:
    arrays = sample.arrays("f32")
    graph = vjp(graph_of(sample, arrays))
    rng = np.random.default_rng(5)
    for param in graph.params[len(arrays) :]:
        seed = np.asarray(rng.normal(size=param.type.shape))
        arrays.append(seed.astype(param.type.dtype.numpy))
    pairs = zip(compile_graph(graph)(arrays), evaluate(graph, arrays), strict=True)
    for found, expected in pairs:
        assert_near(found, expected, 1e-5)
