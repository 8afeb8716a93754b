"""Programs as Python functions that call numpy: what `evaluate` computes."""

from __future__ import annotations

import numpy as np
import pytest

from sley.ir import dtypes
from sley.ir.evaluate import evaluate
from sley.ir.literal import array_type
from sley.ir.numpy_code import MOST_CONSTANT, constant_arrays, numpy_function
from sley.ir.ops import OPS
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


def samples():
    dot = ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")
    for axes in (((1,), (0,), (), ()), ((0,), (1,), (), ()), ((1,), (1,), (0,), (0,))):
        rank = 3 if axes[2] else 2
        shapes = [(2, 3, 4)[-rank:], (2, 3, 4)[-rank:]]
        if not axes[2]:
            size = shapes[0][axes[0][0]]
            shapes[1] = (size, 5) if axes[1] == (0,) else (5, size)
        yield "dot_general", shapes, dict(zip(dot, axes, strict=True))
    for axes in ((1,), (0,), (0, 1), ()):
        yield "reduce_sum", [(3, 700)], {"axes": axes}
    yield "reduce_sum", [(0, 4)], {"axes": (1,)}
    for shape in ((3, 4), (41, 37)):
        yield "where", [shape] * 3, {}
    for dtype in (dtypes.f64, dtypes.f32, dtypes.bf16, dtypes.i32):
        yield "cast", [(3, 4)], {"dtype": dtype}
    for name in ("add", "div", "pow", "gt"):
        yield name, [(3, 4)] * 2, {}
    yield "tanh", [()], {}


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", [dtypes.f32, dtypes.f64, dtypes.bf16], ids=str)
@pytest.mark.parametrize(("name", "shapes", "attrs"), [*samples()])
def test_what_is_prepared_is_what_evaluate_gives(name, shapes, attrs, dtype, strided):
    rng, op = np.random.default_rng(1), OPS[name]
    arrays = [rng.standard_normal(s[::-1] if strided else s).astype(dtype.numpy) for s in shapes]
    arrays = [np.asarray(a).T if strided else np.asarray(a) for a in arrays]
    if name == "where":
        arrays[0] = arrays[0] > 0
    types = [array_type(array) for array in arrays]
    prepared = op.prepare(types, attrs)
    if prepared is None:
        assert dtype is dtypes.bf16 or name in ("cast", "reduce_sum")
        return
    with np.errstate(all="ignore"):
        found, (expected,) = np.asarray(prepared(*arrays)), op.evaluate(arrays, attrs)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def test_numpy_stretches_what_it_can():
    graph = parse(
        "graph @g(%x: f32[2, 3], %y: f32[2], %z: f32[3]) -> (f32[2, 3], f32[2, 3]) {\n"
        "  %0 = broadcast(%y) {shape=[2, 3], dims=[0]} : f32[2, 3]\n"
        "  %1 = broadcast(%z) {shape=[2, 3], dims=[1]} : f32[2, 3]\n"
        "  %2 = mul(%0, %1) : f32[2, 3]\n"
        "  %3 = add(%2, %0) : f32[2, 3]\n"
        "  %4 = broadcast(%z) {shape=[2, 3], dims=[1]} : f32[2, 3]\n"
        "  %5 = sub(%3, %4) : f32[2, 3]\n  %6 = mul(%5, %x) : f32[2, 3]\n  yield %6, %1\n}"
    )
    arrays = [np.arange(n, dtype="f4").reshape(s) for n, s in ((6, (2, 3)), (2, 2), (3, 3))]
    for found, expected in zip(function_of(graph)(arrays), evaluate(graph, arrays), strict=True):
        assert found.shape == expected.shape and (found == expected).all()
