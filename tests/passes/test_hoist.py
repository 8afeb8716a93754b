"""What each turn of a loop would compute alike leaves the loop, with the same results."""

from __future__ import annotations

import numpy as np
import pytest
from random_control import random_arrays, random_control

from sley.backends.llvm.target import host_target
from sley.ir.evaluate import evaluate
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.hoist import hoist
from sley.passes.simplify import simplify
from sley.runtime.compile import compile_graph

TARGET = host_target("x86-64-v4")


def hoisted(text):
    before = parse(text)
    after = hoist(before, TARGET)
    verify(after)
    return before, after


def test_a_sum_of_a_const():
    _, graph = hoisted("""
graph @f(%w: f32[3, 2], %x: f32[2], %k: f32) -> (f32[2]) {
  %y = scan(%w, %k, %x) {length=5, consts=2, carries=1, reverse=false}
      (%v: f32[3, 2], %c: f32, %h: f32[2]) {
    %s = reduce_sum(exp(%v)) {axes=[0]}
    %n = add(neg(%c), constant 1.0 : f32)
    %t = mul(%h, %s)
    yield mul(%t, broadcast(%n) {shape=[2], dims=[]})
  }
  yield %y
}
""")
    assert [n.op.name for n in graph.nodes] == [
        "exp", "reduce_sum", "neg", "constant", "add", "scan",
    ]  # fmt: skip
    body = graph.nodes[-1].regions[0]
    assert [n.op.name for n in body.nodes] == ["mul", "broadcast", "mul"]
    assert graph.nodes[-1].attrs["consts"] == 2


def test_what_stays_inside():
    before, after = hoisted("""
graph @f(%w: f32[3, 2], %x: f32[2, 3]) -> (f32[2, 3], f32[3, 3, 2]) {
  %y, %z = scan(%w, %x) {length=3, consts=1, carries=1, reverse=false}
      (%v: f32[3, 2], %h: f32[2, 3]) {
    %t = transpose(%v) {perm=[1, 0]}
    %s, %i = linalg_qr(%v) {mode="reduced"}
    %n = exp(broadcast(constant 1.0 : f32) {shape=[2, 3], dims=[]})
    yield add(add(%h, %t), %n), %s
  }
  yield %y, %z
}
""")
    assert after is before


def test_out_of_two_loops():
    _, graph = hoisted("""
graph @f(%w: f32[2], %x: f32[2], %n: i64) -> (f32[2]) {
  %y, %m = while(%n, %w, %x, %n) {consts=2}
      condition (%a: i64, %b: f32[2], %c: f32[2], %d: i64) { yield gt(%d, 0) }
      (%a: i64, %b: f32[2], %c: f32[2], %d: i64) {
    %z = scan(%b, %c) {length=4, consts=1, carries=1, reverse=false} (%u: f32[2], %v: f32[2]) {
      yield add(%v, exp(%u))
    }
    yield %z, sub(%d, 1)
  }
  yield %y
}
""")
    assert [n.op.name for n in graph.nodes] == ["exp", "while"]
    arrays = [np.ones(2, np.float32), np.zeros(2, np.float32), np.array(3)]
    np.testing.assert_allclose(evaluate(graph, arrays)[0], 12 * np.exp(np.ones(2)), rtol=1e-6)


PRODUCT = """
graph @f(%w: f32[6, 6], %x: f32[ROWS, 6]) -> (f32[ROWS, 6]) {
  %y = scan(%w, %x) {length=9, consts=1, carries=1, reverse=false}
      (%u: f32[6, 6], %v: f32[ROWS, 6]) {
    %z = scan(%u, %v) {length=9, consts=1, carries=1, reverse=false}
        (%s: f32[6, 6], %t: f32[ROWS, 6]) {
      yield dot_general(%t, %s) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
    }
    yield %z
  }
  yield %y
}
"""


def test_a_weight_is_laid_out_before_all_loops():
    before, graph = hoisted(PRODUCT.replace("ROWS", "8"))
    assert [n.op.name for n in graph.nodes] == ["transpose", "scan"]
    (inner,) = graph.nodes[1].regions[0].nodes
    (product,) = inner.regions[0].nodes
    assert product.attrs["rhs_contract"] == (0,)
    arrays = [np.eye(6, k=1, dtype=np.float32), np.ones((8, 6), np.float32)]
    for made, wanted in zip(evaluate(graph, arrays), evaluate(before, arrays), strict=True):
        assert np.array_equal(made, wanted)


@pytest.mark.parametrize("contracted", [0, 1])
@pytest.mark.parametrize("rows", ["20", "N"])
def test_a_weight_is_laid_out_in_panels(rows, contracted):
    text = PRODUCT.replace("ROWS", rows).replace(": f32[6, 6]", ": f32[64, 64]")
    text = text.replace(", 6]", ", 64]").replace("rhs_contract=[1]", f"rhs_contract=[{contracted}]")
    before, graph = hoisted(text)
    assert [n.op.name for n in graph.nodes] == ["reshape", "transpose", "scan"]
    assert graph.nodes[1].results[0].type.shape == (2, 64, 32)
    (inner,) = graph.nodes[2].regions[0].nodes
    assert [n.op.name for n in inner.regions[0].nodes] == ["dot_general", "reshape"]
    rng, sizes = np.random.default_rng(0), {"N": 20}
    arrays = [rng.standard_normal(s).astype(np.float32) / 8 for s in ((64, 64), (20, 64))]
    wanted = evaluate(before, arrays, sizes)
    for run in (lambda: evaluate(graph, arrays, sizes), lambda: compile_graph(before)(arrays)):
        for made, value in zip(run(), wanted, strict=True):
            np.testing.assert_allclose(made, value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rows", ["1", "100", "N"])
def test_of_other_numbers_of_rows_it_stays(rows):
    before, graph = hoisted(PRODUCT.replace("ROWS", rows))
    assert graph is before


@pytest.mark.parametrize("seed", range(200, 240))
def test_random_programs(seed):
    graph = random_control(seed)
    before = simplify(graph)
    after = hoist(before, TARGET)
    verify(after)
    for sizes in ({"N": 2, "T": 3}, {"N": 2, "T": 0}):
        arrays = random_arrays(graph, sizes, seed)
        for made, wanted in zip(evaluate(after, arrays), evaluate(before, arrays), strict=True):
            assert np.array_equal(made, wanted)
