"""Programs as Python functions that call numpy: what `evaluate` computes."""

from __future__ import annotations

import numpy as np
import pytest

from sley.ir.evaluate import evaluate
from sley.ir.numpy_code import MOST_CONSTANT, constant_arrays, numpy_function
from sley.ir.parser import parse

TEXT = """
graph @rows(%x: f32[4, 5], %y: f16[5]) -> (f32[4], f32[]) {
  %0 = constant 2.5 : f32[]
  %1 = broadcast(%0) {shape=[4, 5], dims=[]} : f32[4, 5]
  %2 = cast(%y) {dtype=f32} : f32[5]
  %3 = broadcast(%2) {shape=[4, 5], dims=[1]} : f32[4, 5]
  %4 = mul(%x, %3) : f32[4, 5]
  %5 = add(%4, %1) : f32[4, 5]
  %6 = reduce_sum(%5) {axes=[1]} : f32[4]
  %7 = reduce_max(%6) {axes=[0], ties="first"} : f32[]
  %8 = exp(%7) : f32[]
  yield %6, %8
}
"""


def function_of(graph, **options):
    inputs = {param: (0, number) for number, param in enumerate(graph.params)}
    constants = constant_arrays(graph.nodes)
    return numpy_function(inputs, graph.nodes, graph.yields, constants, **options)


def test_the_same_as_evaluate():
    graph = parse(TEXT)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 5)).astype("f4"), rng.standard_normal(5).astype("f2")]
    for found, expected in zip(function_of(graph)(arrays), evaluate(graph, arrays), strict=True):
        assert type(found) is np.ndarray and found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()


def test_constants_are_computed_once_if_small():
    graph = parse(TEXT)
    known = constant_arrays(graph.nodes)
    assert [v.node.op.name for v in known] == ["constant", "broadcast"]
    assert not any(array.flags.writeable for array in known.values())
    large = MOST_CONSTANT // 8 + 1
    graph = parse(
        f"graph @g() -> (i64[{large}]) {{\n"
        f"  %0 = iota() {{shape=[{large}], axis=0, dtype=i64}} : i64[{large}]\n  yield %0\n}}"
    )
    assert not constant_arrays(graph.nodes)
    (found,) = function_of(graph)([])
    assert found[-1] == large - 1


@pytest.mark.parametrize("option", ["dense", "copied"])
def test_where_results_lie(option):
    graph = parse("graph @g(%x: f32[2, 3]) -> (f32[3, 2]) {\n"
                  "  %0 = transpose(%x) {perm=[1, 0]} : f32[3, 2]\n  yield %0\n}")  # fmt: skip
    x = np.arange(6, dtype="f4").reshape(2, 3)
    (view,) = function_of(graph)([x])
    assert np.shares_memory(view, x)
    (found,) = function_of(graph, **{option: graph.yields})([x])
    assert found.flags.c_contiguous and not np.shares_memory(found, x)
    assert (found == x.T).all()
