"""Where loops and branches keep their values: in place, by turns, as slices of the whole."""

from __future__ import annotations

import numpy as np
from random_control import random_arrays

from sley.backends.llvm.target import host_target
from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.ir.parser import parse
from sley.ir.plan import Branch, Copy, Loop, Place, WhileLoop, span
from sley.passes.pipeline import run_passes


def planned(text, donated=None, sizes=None):
    """The plan of a program; it gives what the program says."""
    graph = parse(text)
    plan = run_passes(graph, host_target(), donated=donated).plan
    for length in (0, 1, 2, 5):
        arrays = random_arrays(graph, {"N": 3, "T": length, **(sizes or {})}, seed=length)
        expected = evaluate(graph, arrays)
        for made, wanted in zip(evaluate_plan(plan, arrays), expected, strict=True):
            np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)
    return plan


def test_an_elementwise_carry_is_written_over_itself():
    plan = planned("""
graph @f(%x: f32[T, N], %h: f32[N]) -> (f32[N]) {
  %y = scan(%h, %x) {length=T, consts=0, carries=1, reverse=false} (%a: f32[N], %b: f32[N]) {
    yield tanh(add(%a, %b))
  }
  yield %y
}
""")
    (loop,) = plan.steps
    assert isinstance(loop, Loop)
    (carry,) = loop.carries
    assert carry.spare is None and carry.home == Place("output", 0)
    assert [s.whole for s in loop.slices] == [Place("input", 0)]
    assert not plan.blocks


def test_what_cannot_be_overwritten_takes_turns():
    plan = planned("""
graph @f(%x: f32[T, N], %h: f32[N]) -> (f32[N], f32[T, N]) {
  %y, %z = scan(%h, %x) {length=T, consts=0, carries=1, reverse=true} (%a: f32[N], %b: f32[N]) {
    %r = slice(%a) {starts=[N - 1], sizes=[N], steps=[-1]}
    %c = add(%r, %b)
    yield %c, %c
  }
  yield %y, %z
}
""")
    (loop,) = plan.steps
    (carry,) = loop.carries
    assert (carry.home, carry.spare) == (Place("output", 0), Place("arena", 0))
    assert [s.whole for s in loop.slices] == [Place("input", 0), Place("output", 1)]
    (step,) = loop.body  # one kernel, which stores the value twice: nothing is copied
    assert {carry.current, carry.next} < set(step.args)


def test_the_first_value_of_a_carry_may_be_its_home():
    plan = planned("""
graph @f(%x: f32[T, N], %h: f32[N]) -> (f32[N]) {
  %k = exp(%h)
  %i = slice(%k) {starts=[N - 1], sizes=[N], steps=[-1]}
  %y = scan(%i, %x) {length=T, consts=0, carries=1, reverse=false} (%a: f32[N], %b: f32[N]) {
    yield mul(%a, %b)
  }
  yield %y
}
""")
    *_, loop = plan.steps
    assert loop.carries[0].start == loop.carries[0].home == Place("output", 0)


def test_a_donated_carry_lies_in_its_input():
    plan = planned(
        """
graph @f(%x: f32[T, N], %h: f32[N]) -> (f32[N]) {
  %y = scan(%h, %x) {length=T, consts=0, carries=1, reverse=false} (%a: f32[N], %b: f32[N]) {
    yield sub(%a, %b)
  }
  yield %y
}
""",
        donated={0: 1},
    )
    (loop,) = plan.steps
    assert loop.carries[0].start == loop.carries[0].home == Place("input", 1)


def test_donated_carries_that_change_places():
    plan = planned(
        """
graph @f(%x: f32[T, N], %g: f32[N], %h: f32[N]) -> (f32[N], f32[N]) {
  %y, %z = scan(%g, %h, %x) {length=T, consts=0, carries=2, reverse=false}
      (%a: f32[N], %b: f32[N], %c: f32[N]) {
    yield %b, add(%a, %c)
  }
  yield %y, %z
}
""",
        donated={0: 2, 1: 1},
    )
    copies = [step for step in plan.steps if isinstance(step, Copy)]
    assert {step.target for step in copies} == {Place("input", 1), Place("input", 2)}


def test_loops_in_loops_hand_on_in_place():
    plan = planned("""
graph @f(%x: f32[T, N], %h: f32[N]) -> (f32[N]) {
  %y = scan(%h, %x) {length=T, consts=0, carries=1, reverse=false} (%a: f32[N], %b: f32[N]) {
    %z = scan(%b, %a) {length=2, consts=1, carries=1, reverse=false} (%c: f32[N], %d: f32[N]) {
      yield sin(add(%d, %c))
    }
    yield %z
  }
  yield %y
}
""")
    (outer,) = plan.steps
    (inner,) = outer.body
    assert isinstance(inner, Loop)
    assert inner.carries[0].start == inner.carries[0].home == outer.carries[0].home
    assert not plan.blocks


def test_branches_write_their_results():
    plan = planned("""
graph @f(%x: f32[T, N], %h: f32[N], %k: i64) -> (f32[N], i64) {
  %p = gt(%k, 1)
  %y, %i = cond(%p, %h, %k) then (%a: f32[N], %j: i64) { yield exp(%a), %j }
    otherwise (%a: f32[N], %j: i64) { yield %a, neg(%j) }
  yield %y, %i
}
""")
    _, branch = plan.steps
    assert isinstance(branch, Branch) and branch.flag.kind == "arena"
    for steps in (branch.then, branch.otherwise):
        written = [place for step in steps for place in step.args[len(step.node.operands) :]]
        assert set(written) == {Place("output", 0), Place("output", 1)}
    assert span(branch) == 2 + len(branch.then) + len(branch.otherwise)


def test_a_plan_of_loops_prints():
    plan = planned("""
graph @f(%x: f32[T, N], %h: f32[N], %k: i64) -> (f32[N]) {
  %y, %m = while(%h, %k) {consts=0} condition (%a: f32[N], %j: i64) { yield gt(%j, 0) }
      (%a: f32[N], %j: i64) {
    yield slice(neg(%a)) {starts=[N - 1], sizes=[N], steps=[-1]}, sub(%j, 1)
  }
  yield %y
}
""")
    assert isinstance(plan.steps[0], WhileLoop)
    assert str(plan).splitlines() == [
        "plan @f {",
        "  0: while arena 0",
        "      carry input 1 over output 0, N*4 bytes",
        "      carry input 2 by turns in arena 2 and arena 3, pointer 0 -> pointer 1, 8 bytes",
        "    condition:",
        "      1: @loop0(pointer 0) -> arena 0",
        "    body:",
        "      2: @loop1(output 0) -> arena 1",
        "      3: @loop2(pointer 0) -> pointer 1",
        "      4: @loop3(arena 1) -> output 0",
        "  5: end",
        "  arena 0: 1 bytes, steps 0 to 5",
        "  arena 1: N*4 bytes, steps 2 to 4",
        "  arena 2: 8 bytes, steps 0 to 5",
        "  arena 3: 8 bytes, steps 0 to 5",
        "}",
    ]
