"""Ops that numpy evaluates between the kernels of a program: results, errors, and what an error
leaves behind."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.ir.graph import Location
from sley.ir.ops import OPS
from sley.ir.ops.base import Kind, define
from sley.ir.parser import parse
from sley.ir.plan import HostCall, Place
from sley.ir.verifier import verify
from sley.runtime.compile import Options, compile_graph
from sley.runtime.host_calls import HostCalls, HostError
from sley.runtime.threads import get_num_threads, set_num_threads


class Steep:
    """Twice the operand; what `before` says happens first."""

    def __init__(self):
        self.before = lambda x: None

    def evaluate(self, arrays, attrs):
        (x,) = arrays
        self.before(x)
        return [x * 2]


@pytest.fixture
def steep():
    made = Steep()
    define("steep", Kind.HOST, lambda types, attrs: types, made.evaluate, "test", arity=1)
    yield made
    del OPS["steep"]


@pytest.fixture(params=[1, 2])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


MIXED = """
graph @mixed(%x: f32[N, 4], %w: f32[4, 5], %s: f32[N, 4]) -> (f32[N, 5], i64[5, N], f32[N, 4]) {
  %a = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
  %t = transpose(%a) {perm=[1, 0]}
  %v, %i = sort(%t) {axis=1, descending=false}
  %b = exp(%v)
  %c = transpose(%b) {perm=[1, 0]}
  %d = add(%c, %a)
  %e = steep(%s)
  %f = steep(transpose(%e) {perm=[1, 0]})
  %k = steep(constant [0.5, 1.0, 2.0, 3.0] : f32[4])
  %g = mul(transpose(%f) {perm=[1, 0]}, broadcast(%k) {shape=[N, 4], dims=[1]})
  yield %d, %i, %g
}
"""


def arrays_of(graph, n, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [tuple(n if not isinstance(d, int) else d for d in p.type.shape) for p in graph.params]
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("donated", [{}, {2: 2}], ids=["fresh", "donated"])
def test_host_ops_between_kernels(steep, threads, donated):
    graph = parse(MIXED)
    executable = compile_graph(graph, Options(donated=donated, verify=True))
    for n in (0, 1, 7, 3000):
        arrays = arrays_of(graph, n)
        expected = [np.array(a) for a in evaluate(graph, arrays)]
        planned = evaluate_plan(executable.plan, [*arrays, *executable.constants])
        found = executable(arrays)
        found = [*found, arrays[2]] if donated else found
        for made, wanted in (*zip(planned, expected), *zip(found, expected)):
            np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)


def test_a_plan_with_host_calls_prints(steep):
    graph = parse(
        "graph @f(%x: f32[N]) -> (f32[N], i64[N]) {\n"
        "  %v, %i = sort(neg(%x)) {axis=0, descending=true}  // a.py:3 in f\n"
        "  yield %v, %i\n}\n"
    )
    verify(graph)
    plan = compile_graph(graph).plan
    assert str(plan).splitlines() == [
        "plan @f {",
        "  0: @loop0(input 0) -> arena 0    // a.py:3 in f",
        "  1: order(arena 0) -> output 1    // a.py:3 in f",
        "  2: @loop1(output 1, input 0) -> output 0, output 1    // a.py:3 in f",
        "  arena 0: N*8 bytes, steps 0 to 1",
        "}",
    ]


STEP = """
graph @step(%w: f32[N], %m: f32[N], %x: f32[N]) -> (f32[N], f32[N], f32[N]) {
  %y = add(%m, %x)
  %z = steep(%y)                   // model.py:12 in step
  %u = add(%w, %x)
  %h = steep(mul(%u, %z))          // model.py:14 in step
  yield %y, %u, %h
}
"""


def test_no_input_is_written_before_the_last_step_that_may_fail(steep):
    """The new states are known before the last call of the host."""
    graph = parse(STEP)
    executable = compile_graph(graph, Options(donated={0: 1, 1: 0}))
    steps = executable.plan.steps
    last = max(n for n, step in enumerate(steps) if isinstance(step, HostCall))
    for step in steps[: last + 1]:
        written = step.args[len(step.node.operands) :]
        assert all(place.kind != "input" for place in written)
    arrays = arrays_of(graph, 9)
    before = [a.copy() for a in arrays]
    for failing_call in (1, 2):
        calls = []

        def fail(x, failing_call=failing_call, calls=calls):
            calls.append(1)
            if len(calls) == failing_call:
                raise np.linalg.LinAlgError("singular")

        steep.before = fail
        with pytest.raises(HostError, match=r"steep .model.py:1[24] in step.: singular") as caught:
            executable(arrays)
        assert caught.value.op == "steep"
        assert isinstance(caught.value.cause, np.linalg.LinAlgError)
        assert caught.value.line == Location("model.py", (12, 14)[failing_call - 1], "step")
        assert len(calls) == failing_call, "nothing runs after the error"
        for array, old in zip(arrays, before, strict=True):
            assert array.tobytes() == old.tobytes()
    steep.before = lambda x: None
    expected = [np.array(a) for a in evaluate(graph, arrays)]
    (result,) = executable(arrays)
    assert np.array_equal(result, expected[2])
    assert np.array_equal(arrays[1], expected[0]) and np.array_equal(arrays[0], expected[1])


def test_updates_after_the_last_host_call_are_in_place(steep):
    graph = parse(
        "graph @f(%w: f32[N], %x: f32[N]) -> (f32[N]) {\n"
        "  %z = steep(%x)\n  %u = add(%w, %z)\n  yield %u\n}\n"
    )
    plan = compile_graph(graph, Options(donated={0: 0})).plan
    assert plan.steps[-1].args[-1] == Place("input", 0)


def test_updates_wait_for_the_last_host_call(steep):
    """So that they need no copy; one that the host call itself needs cannot wait."""
    graph = parse(
        "graph @f(%w: f32[N], %v: f32[N], %x: f32[N]) -> (f32[N], f32[N], f32[N]) {\n"
        "  %a = add(%w, %x)\n  %b = mul(%v, %x)\n  %z = steep(%b)\n  yield %a, %b, %z\n}\n"
    )
    executable = compile_graph(graph, Options(donated={0: 0, 1: 1}))
    assert [type(step).__name__ for step in executable.plan.steps] == [
        "Launch", "HostCall", "Launch", "Copy",
    ]  # fmt: skip
    arrays = arrays_of(graph, 4)
    expected = [np.array(a) for a in evaluate(graph, arrays)]
    (last,) = executable(arrays)
    for made, wanted in zip((arrays[0], arrays[1], last), expected, strict=True):
        assert np.array_equal(made, wanted)


def test_ctrl_c_ends_the_call(steep):
    graph = parse(STEP)
    executable = compile_graph(graph, Options(donated={0: 1, 1: 0}))
    arrays = arrays_of(graph, 5)
    before = [a.copy() for a in arrays]

    def interrupt(x):
        raise KeyboardInterrupt

    steep.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        executable(arrays)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays, before, strict=True))


def test_a_signal_before_a_step_can_begin_is_not_lost(steep, monkeypatch):
    """Its handler raises where nothing can keep the error; the program ends all the same."""
    lost = []

    def interrupted(self, address, number):
        raise KeyboardInterrupt

    monkeypatch.setattr(HostCalls, "_call", interrupted)
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    graph = parse(STEP)
    executable = compile_graph(graph, Options(donated={0: 1, 1: 0}))
    arrays = arrays_of(graph, 5)
    before = [a.copy() for a in arrays]
    with pytest.raises(KeyboardInterrupt):
        executable(arrays)
    assert len(lost) == 1, "no later step began"
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays, before, strict=True))


def test_operands_cannot_be_written(steep):
    graph = parse("graph @f(%x: f32[N]) -> (f32[N]) {\n  %y = steep(%x)\n  yield %y\n}\n")

    def write(x):
        x[:] = 0

    steep.before = write
    arrays = arrays_of(graph, 4)
    before = arrays[0].copy()
    with pytest.raises(HostError, match="read-only"):
        compile_graph(graph)(arrays)
    assert np.array_equal(arrays[0], before)


def test_a_result_of_another_shape_is_an_error():
    define("short", Kind.HOST, lambda t, a: t, lambda x, a: [x[0][:-1]], "test", arity=1)
    try:
        graph = parse("graph @f(%x: f32[N]) -> (f32[N]) {\n  %y = short(%x)\n  yield %y\n}\n")
        with pytest.raises(HostError, match=r"type f32\[N\] got an array float32\[3\]"):
            compile_graph(graph)(arrays_of(graph, 4))
    finally:
        del OPS["short"]


def test_calls_of_several_threads_do_not_meet(steep):
    """Calls overlap inside of the host op; those with a negative operand fail."""
    graph = parse(
        "graph @f(%w: f32[N], %x: f32[N]) -> (f32[N], f32[N]) {\n"
        "  %z = steep(neg(%x))\n  %u = add(%w, %z)\n  %r = mul(%z, %x)\n  yield %u, %r\n}\n"
    )
    executable = compile_graph(graph, Options(donated={0: 0}))
    meeting = threading.Barrier(4)

    def meet(x):
        meeting.wait(10)
        if x[0] > 0:
            raise ValueError(f"it is {x[0]}")

    steep.before = meet
    found = {}

    def call(number, size):
        sign = -1 if number % 2 else 1
        state, x = np.full(size, 10.0, np.float32), np.full(size, sign * (number + 1), np.float32)
        try:
            (result,) = executable([state, x])
            found[number] = result, state
        except HostError as error:
            found[number] = error, state

    for _ in range(3):
        workers = [threading.Thread(target=call, args=(n, 3 + n)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for number in range(4):
            result, state = found[number]
            if number % 2:
                assert str(result).endswith(f"it is {number + 1}.0")
                assert (state == 10).all()
            else:
                assert (result == -2 * (number + 1) ** 2).all()
                assert (state == 10 - 2 * (number + 1)).all()


LOOP = """
graph @train(%w: f32[N], %m: f32[N], %x: f32[T, N]) -> (f32[N], f32[N], f32[N]) {
  %a, %b = scan(%w, %m, %x) {length=T, consts=0, carries=2, reverse=false}
      (%wt: f32[N], %mt: f32[N], %xt: f32[N]) {
    %s = steep(mul(%wt, %xt))   // loop.py:7 in turn
    yield add(%wt, %s), neg(%mt)
  }
  %flag = gt(reduce_sum(%x) {axes=[0, 1]}, 1000.0)
  %c = cond(%flag, %a) then (%u: f32[N]) { yield steep(%u) }
    otherwise (%u: f32[N]) { yield exp(%u) }
  yield %a, %b, %c
}
"""


def test_a_failing_turn_of_a_loop_leaves_the_inputs(steep, threads):
    graph = parse(LOOP)
    executable = compile_graph(graph, Options(donated={0: 0, 1: 1}, verify=True))
    arrays = [np.ones(s, np.float32) for s in ((5,), (5,), (6, 5))]
    before = [a.copy() for a in arrays]
    turns = []

    def fail(x):
        turns.append(1)
        if len(turns) == 4:
            raise ValueError("too steep")

    steep.before = fail
    with pytest.raises(HostError, match=r"loop.py:7 in turn.: too steep"):
        executable(arrays)
    assert len(turns) == 4
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays, before, strict=True))
    steep.before = lambda x: None
    expected = [np.array(a) for a in evaluate(graph, arrays)]
    (last,) = executable(arrays)
    for made, wanted in zip((arrays[0], arrays[1], last), expected, strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-5)
