"""Rows put in order by the text of kernels, run by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from interpreted_gpu import InterpretedGpu
from triton_texts import needs_triton

from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import by_name
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.ops.sorting import ORDER, SORT
from sley.ir.types import tensor_type
from sley.passes.pipeline import run_passes

pytestmark = needs_triton


def drawn(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(3)
    if by_name(dtype).kind == "float":
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0]
        found = np.where(
            rng.random(shape) < 0.4, rng.choice(special, shape), rng.normal(size=shape)
        )
        return found.astype(by_name(dtype).numpy)
    info = np.iinfo(by_name(dtype).numpy)
    return rng.integers(info.min, info.max, shape, info.dtype, endpoint=True) >> 4 << 4


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("f32", (3, 1)), ("f32", (9, 2)), ("f32", (5, 31)), ("f64", (2, 33)), ("i64", (3, 40)),
     ("u32", (2, 257)), ("u8", (40, 5)), ("f32", (2, 1025))],
)  # fmt: skip
def test_values_and_places(dtype: str, shape: tuple[int, ...], descending: bool) -> None:
    builder = Recording()
    x = builder.param(tensor_type(by_name(dtype), shape), "x")
    with builder:
        found = [*SORT(x, axis=1, descending=descending)]
        if not by_name(dtype).is_low_precision:
            found.append(ORDER(x, descending=descending, limit=shape[1] // 2))
    check(builder.finish("f", found), drawn(dtype, shape))


def test_rows_of_any_length() -> None:
    builder = Recording()
    x = builder.param(tensor_type(by_name("f32"), (2, symbol("N"))), "x")
    with builder:
        found = [*SORT(x, axis=1, descending=True)]
    graph = builder.finish("f", found)
    for length in (0, 3, 1025, 2500):
        check(graph, drawn("f32", (2, length)), {"N": length})


def check(graph: Graph, array: np.ndarray, sizes: Mapping[str, int] | None = None) -> None:
    gpu = InterpretedGpu()
    results = gpu.build(run_passes(graph, gpu.device.target))([array.copy()], sizes)
    for result, wanted in zip(results, evaluate(graph, [array]), strict=True):
        np.testing.assert_array_equal(result, wanted)
