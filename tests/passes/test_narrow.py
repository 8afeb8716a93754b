"""Dead results of loops and branches, and what only they need, go."""

from __future__ import annotations

import numpy as np

from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.narrow import narrow
from sley.passes.simplify import simplify

SCAN = """graph @f(%w: f32[2], %u: f32[2], %h: f32[2], %k: f32, %xs: f32[3, 2], %zs: f32[3, 2])
    -> (f32[2]) {
  %a, %b, %c, %ys, %q = scan(%w, %u, %h, %k, %k, %xs, %zs)
      {length=3, consts=2, carries=3, reverse=false}
      (%w1: f32[2], %u1: f32[2], %h1: f32[2], %k1: f32, %l1: f32, %x1: f32[2], %z1: f32[2]) {
    %t = add(mul(%h1, %w1), %x1)
    %v = mul(%z1, %u1)
    %dead = exp(%v)
    yield %t, add(%k1, %l1), %l1, %t, %v
  }
  yield %RESULT
}"""


def narrowed(text: str) -> Graph:
    graph = parse(text)
    after = narrow(graph)
    verify(after)
    assert after.params == graph.params, "the signature stays"
    rng = np.random.default_rng(0)
    arrays = [
        np.asarray(rng.uniform(0.5, 1.5, v.type.shape)).astype(v.type.dtype.numpy)
        for v in graph.params
    ]
    for one, other in zip(evaluate(graph, arrays), evaluate(after, arrays), strict=True):
        np.testing.assert_array_equal(one, other)
    return after


def test_a_carry_that_nobody_needs_goes_with_its_consts_and_xs() -> None:
    (node,) = narrowed(SCAN.replace("%RESULT", "%a")).nodes
    assert (node.attrs["consts"], node.attrs["carries"], len(node.operands)) == (1, 1, 3)
    assert [n.op.name for n in node.regions[0].nodes] == ["mul", "add"]


def test_a_carry_that_another_needs_stays() -> None:
    text = SCAN.replace("%RESULT", "%b").replace("-> (f32[2])", "-> (f32)")
    (node,) = narrowed(text).nodes
    assert (node.attrs["carries"], len(node.operands), len(node.results)) == (2, 2, 2)


def test_ys_alone_need_their_operands_only() -> None:
    text = SCAN.replace("%RESULT", "%q").replace("-> (f32[2])", "-> (f32[3, 2])")
    (node,) = narrowed(text).nodes
    assert (node.attrs["consts"], node.attrs["carries"], len(node.operands)) == (1, 0, 2)


def test_while_keeps_what_decides() -> None:
    (node,) = narrowed("""graph @f(%w: f32, %k: f32, %c: f32, %d: f32) -> (f32) {
      %n, %m, %o = while(%w, %k, %c, %d) {consts=1}
        condition (%w1: f32, %k1: f32, %c1: f32, %d1: f32) { yield lt(%k1, 100.0) }
        (%w2: f32, %k2: f32, %c2: f32, %d2: f32) {
          yield mul(%k2, 2.0), add(%c2, %k2), add(%d2, %w2)
        }
      yield %m
    }""").nodes
    assert len(node.operands) == 2 and len(node.results) == 2


def test_cond_keeps_operands_of_either_branch() -> None:
    (node,) = narrowed("""graph @f(%p: bool, %a: f32, %b: f32, %c: f32) -> (f32) {
      %e, %f = cond(%p, %a, %b, %c)
        then (%a1: f32, %b1: f32, %c1: f32) { yield exp(%a1), %c1 }
        otherwise (%a2: f32, %b2: f32, %c2: f32) { yield %b2, %c2 }
      yield %e
    }""").nodes
    assert [o.name for o in node.operands] == ["p", "a", "b"] and len(node.results) == 1


def test_loops_inside_loops() -> None:
    graph = narrowed("""graph @f(%h: f32, %xs: f32[4, 3], %ys: f32[4, 3]) -> (f32) {
      %a = scan(%h, %xs, %ys) {length=4, consts=0, carries=1, reverse=false}
          (%h1: f32, %x: f32[3], %y: f32[3]) {
        %b, %c = scan(%h1, %h1, %x, %y) {length=3, consts=0, carries=2, reverse=false}
            (%h2: f32, %g2: f32, %u: f32, %v: f32) { yield add(%h2, %u), mul(%g2, %v) }
        yield %b
      }
      yield %a
    }""")
    inner = graph.nodes[0].regions[0].nodes[0]
    assert len(graph.nodes[0].operands) == 2 and inner.attrs["carries"] == 1


def test_a_loop_that_nobody_reads_goes() -> None:
    text = SCAN.replace("%RESULT", "%h")
    assert narrowed(text).nodes == ()


def test_simplify_narrows() -> None:
    (node,) = simplify(parse(SCAN.replace("%RESULT", "%a"))).nodes
    assert len(node.operands) == 3


def test_equal_ys_are_stacked_once() -> None:
    text = """graph @f(%h: f32[2], %xs: f32[3, 2]) -> (f32[2], f32[3, 2], f32[3, 2], f32[3, 2]) {
  %a, %y, %z, %q, %r = scan(%h, %xs) {length=3, consts=0, carries=1, reverse=true}
      (%h1: f32[2], %x1: f32[2]) {
    %t = mul(%h1, %x1)
    %e = exp(%x1)
    yield %t, %t, %e, %t, %t
  }
  yield %a, exp(%q), %z, neg(%r)
}"""
    scan, *others = narrowed(text).nodes
    assert len(scan.results) == 3 and len(scan.regions[0].yields) == 3
    assert [n.operands[0] for n in others] == [scan.results[1]] * 2
