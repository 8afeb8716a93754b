"""Loops and branches lose what nobody needs, and give the same results."""

from __future__ import annotations

import numpy as np
import pytest
from random_control import random_arrays, random_control

from sley.ir.evaluate import evaluate
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.simplify import simplify
from sley.passes.trim import trim


def trimmed(text):
    graph = trim(parse(text))
    verify(graph)
    return graph


def test_what_a_scan_does_not_need():
    graph = trimmed("""
graph @f(%x: f32[2], %w: f32[2], %n: f32[2], %zs: f32[N, 2]) -> (f32[2], f32[2]) {
  %two = broadcast(constant 2.0 : f32) {shape=[2], dims=[]}
  %a, %b, %c, %ys = scan(%w, %two, %x, %n, %w, %zs) {length=N, consts=2, carries=3, reverse=false}
      (%v: f32[2], %t: f32[2], %p: f32[2], %q: f32[2], %r: f32[2], %z: f32[2]) {
    yield mul(%p, %t), %q, add(%r, %v), %z
  }
  yield %a, %b
}
""")
    assert str(graph) == (
        "graph @f(%x: f32[2], %w: f32[2], %n: f32[2], %zs: f32[N, 2]) -> (f32[2], f32[2]) {\n"
        "  %a = scan(%x) {length=N, consts=0, carries=1, reverse=false} (%p: f32[2]) {\n"
        "    %0 = constant 2.0 : f32[]\n"
        "    %1 = broadcast(%0) {shape=[2], dims=[]} : f32[2]\n"
        "    %2 = mul(%p, %1) : f32[2]\n"
        "    yield %2\n"
        "  } : f32[2]\n"
        "  yield %a, %n\n"
        "}\n"
    )


def test_a_carry_that_another_one_needs_stays():
    graph = trimmed("""
graph @f(%x: f32[2], %y: f32[2]) -> (f32[2]) {
  %a, %b = scan(%x, %y) {length=3, consts=0, carries=2, reverse=false} (%p: f32[2], %q: f32[2]) {
    yield %q, neg(%q)
  }
  yield %a
}
""")
    (scan,) = graph.nodes
    assert scan.attrs["carries"] == 2


def test_carries_that_the_condition_needs_stay():
    graph = trimmed("""
graph @f(%x: f32[2], %n: i64, %m: i64) -> (f32[2]) {
  %a, %b, %c, %d = while(%m, %x, %n, %m, %x) {consts=1}
  condition (%l: i64, %p: f32[2], %i: i64, %same: i64, %q: f32[2]) { yield lt(%i, %same) }
  (%l: i64, %p: f32[2], %i: i64, %same: i64, %q: f32[2]) {
    yield neg(%p), add(%i, 1), %same, exp(%q)
  }
  yield %a
}
""")
    (loop,) = graph.nodes
    assert loop.attrs["consts"] == 1 and len(loop.results) == 2
    assert loop.operands == (graph.params[2], graph.params[0], graph.params[1])


def test_a_loop_that_changes_nothing_goes():
    graph = trimmed("""
graph @f(%x: f32[2]) -> (f32[2]) {
  %a, %b = scan(%x, %x) {length=3, consts=0, carries=2, reverse=false} (%p: f32[2], %q: f32[2]) {
    yield %p, exp(%q)
  }
  yield %a
}
""")
    assert not graph.nodes and graph.yields == graph.params


def test_branches():
    graph = trimmed("""
graph @f(%x: f32[2], %y: f32[2], %p: bool) -> (f32[2], f32[2]) {
  %a, %b = cond(%p, %x, %y) then (%u: f32[2], %v: f32[2]) { yield exp(%u), %v }
    otherwise (%u: f32[2], %v: f32[2]) { yield neg(%u), exp(%v) }
  %c = cond(constant false : bool, %x) then (%u: f32[2]) { yield exp(%u) }
    otherwise (%u: f32[2]) { yield neg(%u) }
  yield %a, %c
}
""")
    cond, neg = graph.nodes
    assert cond.operands == (graph.params[2], graph.params[0])
    assert len(cond.results) == 1 and [len(r.nodes) for r in cond.regions] == [1, 1]
    assert neg.op.name == "neg"


@pytest.mark.parametrize("seed", range(100, 130))
def test_random_programs(seed):
    graph = random_control(seed)
    after = trim(simplify(graph))
    verify(after)
    arrays = random_arrays(graph, {"N": 2, "T": 3}, seed)
    for made, wanted in zip(evaluate(after, arrays), evaluate(graph, arrays), strict=True):
        assert np.array_equal(made, wanted)
