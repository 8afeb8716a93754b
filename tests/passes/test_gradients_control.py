"""Gradients of loops, branches and calls as programs: what they compute, keep and run again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sley.ir.builder import Recording
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.autodiff.backward import GradientError
from sley.passes.autodiff.rules_control import with_kept
from sley.passes.autodiff.transform import value_and_grad
from sley.passes.narrow import narrow
from sley.passes.simplify import simplify

LOOP = """graph @f(%w: f64[4, 4], %b: f64[4], %h: f64[3, 4], %xs: f64[5, 3, 4]) -> (f64) {
  %last, %ys = scan(%w, %b, %h, %xs) {length=5, consts=2, carries=1, reverse=REVERSE}
      (%w1: f64[4, 4], %b1: f64[4], %h1: f64[3, 4], %x1: f64[3, 4]) {
    %p = dot_general(%h1, %w1) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
    %q = add(%p, broadcast(%b1) {shape=[3, 4], dims=[1]})
    %next = tanh(add(mul(%q, %x1), sin(%x1)))
    yield %next, mul(%next, %x1)
  }
  yield add(reduce_sum(mul(%last, %last)) {axes=[0, 1]}, reduce_sum(%ys) {axes=[0, 1, 2]})
}"""


def arrays_for(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    kinds = {"float": rng.normal, "bool": lambda size: rng.random(size) < 0.5}
    return [
        np.asarray(kinds.get(v.type.dtype.kind, lambda size: rng.integers(0, 2, size))(
            size=v.type.shape
        )).astype(v.type.dtype.numpy)
        for v in graph.params
    ]  # fmt: skip


def compared(graph: Graph) -> Graph:
    """The gradient program, after comparing what it gives with central differences."""
    gradient = value_and_grad(graph)
    arrays = arrays_for(graph)
    floats = [i for i, v in enumerate(graph.params) if v.type.dtype.is_float]
    for version in (gradient, narrow(gradient), simplify(gradient)):
        verify(version)
        found = evaluate(version, arrays)[1:]
        for place, got in zip(floats, found, strict=True):
            along = np.asarray(np.random.default_rng(place).normal(size=arrays[place].shape))
            sides = []
            for sign in (1e-6, -1e-6):
                moved = list(arrays)
                moved[place] = np.asarray(arrays[place] + sign * along)
                sides.append(float(evaluate(graph, moved)[0]))
            slope = (sides[0] - sides[1]) / 2e-6
            assert float((got * along).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-7)
    return gradient


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op.name for node in graph.walk())


@pytest.mark.parametrize("reverse", ["true", "false"])
def test_scan(reverse: str) -> None:
    gradient = compared(parse(LOOP.replace("REVERSE", reverse)))
    # The loop, the loop again for what it did not keep, the loop back.
    assert [n.attrs["reverse"] for n in gradient.nodes if n.op.name == "scan"] == [
        reverse == "true", reverse == "true", reverse == "false",
    ]  # fmt: skip


def kept(text: str) -> Graph:
    """The program, its loop keeping what its gradient reads."""
    graph = parse(text)
    (scan,) = [n for n in graph.nodes if n.op.name == "scan"]
    consts, carries = scan.attrs["consts"], scan.attrs["carries"]
    has = [v.type.dtype.is_float for v in scan.results]
    wanted = [v.type.dtype.is_float for v in scan.operands]
    body = with_kept(scan.regions[0], consts, carries, has, wanted)
    builder = Recording()
    builder.params = list(graph.params)
    with builder:
        values = {p: p for p in graph.params}
        for node in graph.nodes:
            regions = (body,) if node is scan else node.regions
            found = builder.emit(node.op, [values[v] for v in node.operands], node.attrs, regions)
            results = found if isinstance(found, tuple) else (found,)
            values.update(zip(node.results, results, strict=False))
    return builder.finish("f", [values[v] for v in graph.yields])


def test_a_loop_that_keeps_what_is_read_does_not_run_again() -> None:
    graph = kept(LOOP.replace("REVERSE", "false"))
    verify(graph)
    gradient = compared(graph)
    forward, backward = [n for n in gradient.nodes if n.op.name == "scan"]
    # Of the turns: the carry that came in, and %q; the rest follows from these and the xs.
    assert len(forward.results) == 2 + 2
    assert "dot_general" in {n.op.name for n in forward.regions[0].nodes}
    inside = Counter(n.op.name for n in backward.regions[0].nodes)
    assert inside["dot_general"] == 2, "the products of the gradient, none of the loop"
    assert inside["tanh"] == 1, "cheaper again than kept"


def test_nothing_is_kept_without_a_gradient_of_it() -> None:
    graph = parse(LOOP.replace("REVERSE", "false"))
    body = graph.nodes[0].regions[0]
    assert with_kept(body, 2, 1, [False, False], [True] * 4).yields == body.yields


def test_small_batches_sum_products_after_the_loop() -> None:
    text = LOOP.replace("REVERSE", "false")
    for small, large in (("3, 4]", "1, 64]"), ("[4, 4]", "[64, 64]"), ("f64[4]", "f64[64]")):
        text = text.replace(small, large)
    gradient = compared(parse(text))
    backward = [n for n in gradient.nodes if n.op.name == "scan"][-1]
    assert backward.attrs["carries"] == 1, "no sum of the weight's size goes from turn to turn"
    (product,) = [n for n in gradient.nodes if n.op.name == "dot_general"]
    assert product.attrs["lhs_contract"][0] == product.attrs["rhs_contract"][0] == 0


def test_large_batches_sum_in_the_loop() -> None:
    gradient = value_and_grad(parse(LOOP.replace("REVERSE", "false")))
    backward = [n for n in gradient.nodes if n.op.name == "scan"][-1]
    assert backward.attrs["carries"] == 3
    assert "dot_general" not in {n.op.name for n in gradient.nodes}


def test_integers_are_carried_and_have_no_cotangent() -> None:
    compared(
        parse("""graph @f(%t: f64[6], %i: i64, %h: f64, %xs: f64[4]) -> (f64) {
      %j, %last, %read = scan(%t, %i, %h, %xs) {length=4, consts=1, carries=2, reverse=false}
          (%t1: f64[6], %i1, %h1: f64, %x1: f64) {
        %v = gather(%t1, %i1) {axis=0}
        yield add(%i1, constant 1 : i64), mul(add(%h1, %v), %x1), %v
      }
      yield add(%last, reduce_sum(mul(%read, %read)) {axes=[0]})
    }""")
    )


def test_a_carry_that_gets_its_cotangent_later() -> None:
    """%b matters only through %a of the next turn."""
    compared(
        parse("""graph @f(%a: f64, %b: f64, %xs: f64[4]) -> (f64) {
      %c, %d = scan(%a, %b, %xs) {length=4, consts=0, carries=2, reverse=false}
          (%a1: f64, %b1: f64, %x1: f64) { yield mul(%b1, sin(%a1)), mul(%x1, %b1) }
      yield %c
    }""")
    )


def test_loops_in_loops() -> None:
    compared(
        parse("""graph @f(%w: f64, %h: f64, %xs: f64[4, 3]) -> (f64) {
      %last, %ys = scan(%w, %h, %xs) {length=4, consts=1, carries=1, reverse=false}
          (%w1: f64, %h1: f64, %x1: f64[3]) {
        %in, %all = scan(%w1, %h1, %x1) {length=3, consts=1, carries=1, reverse=true}
            (%w2: f64, %h2: f64, %x2: f64) {
          %n = sin(add(mul(%w2, %h2), %x2))
          yield %n, mul(%n, %w2)
        }
        yield %in, reduce_sum(%all) {axes=[0]}
      }
      yield add(%last, reduce_sum(%ys) {axes=[0]})
    }""")
    )


@pytest.mark.parametrize("op", ["lt", "gt"])
def test_cond(op: str) -> None:
    gradient = compared(
        parse(f"""graph @f(%x: f64[3], %y: f64[3], %z: f64[3]) -> (f64) {{
      %s = reduce_sum(%x) {{axes=[0]}}
      %p = {op}(%s, constant 0.0 : f64)
      %a, %b = cond(%p, %x, %y, %z)
        then (%x1: f64[3], %y1: f64[3], %z1: f64[3]) {{ yield sin(%x1), mul(%x1, %y1) }}
        otherwise (%x2: f64[3], %y2: f64[3], %z2: f64[3]) {{ yield %y2, exp(%x2) }}
      yield reduce_sum(mul(%a, %b)) {{axes=[0]}}
    }}""")
    )
    back = [n for n in gradient.nodes if n.op.name == "cond"][-1]
    assert len(back.results) == 2, "%z has no influence in either branch"


@pytest.mark.parametrize("recompute", ["true", "false"])
def test_call(recompute: str) -> None:
    gradient = compared(
        parse(f"""graph @f(%x: f64[3], %y: f64[3]) -> (f64) {{
      %a = call(%x, %y) {{recompute={recompute}}} (%x1: f64[3], %y1: f64[3]) {{
        yield sin(mul(exp(%x1), %y1))
      }}
      yield reduce_sum(%a) {{axes=[0]}}
    }}""")
    )
    small = ops(simplify(gradient))
    assert small["exp"] == (2 if recompute == "true" else 1)
    assert small["barrier"] == (1 if recompute == "true" else 0)
    if recompute == "true":
        (barrier,) = [n for n in gradient.nodes if n.op.name == "barrier"]
        assert len(barrier.operands) == 3, "it waits for the cotangent"


def test_barrier() -> None:
    compared(
        parse("""graph @f(%x: f64[3], %y: f64[3]) -> (f64) {
      %a, %b = barrier(%x, %y)
      yield reduce_sum(mul(%a, sin(%b))) {axes=[0]}
    }""")
    )


def test_while_names_the_way_out() -> None:
    graph = parse("""graph @f(%x: f64) -> (f64) {
      %a = while(%x) {consts=0} condition (%b: f64) { yield lt(%b, 9.0) }
        (%c: f64) { yield mul(%c, 2.0) }
      yield %a
    }""")
    with pytest.raises(GradientError, match=r"sley\.scan or sley\.fori_loop"):
        value_and_grad(graph)
