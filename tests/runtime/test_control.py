"""Loops, branches and host steps inside of one another: machine code, and the planned arena."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from random_control import random_arrays, random_control

from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.ir.ops import OPS
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.runtime.compile import Options, compile_graph
from sley.runtime.host_calls import HostError
from sley.runtime.threads import get_num_threads, set_num_threads

SIZES = ({"N": 3, "T": 7}, {"N": 1, "T": 1}, {"N": 0, "T": 2}, {"N": 2, "T": 0})


@pytest.fixture(params=[1, 2])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def donations(graph, seed):
    """Some results that inputs of their type take."""
    rng = np.random.default_rng(seed)
    free = [i for i in range(len(graph.params)) if rng.random() < 0.7]
    found = {}
    for k, value in enumerate(graph.yields):
        fitting = [i for i in free if graph.params[i].type is value.type]
        if fitting and rng.random() < 0.7:
            found[k] = fitting[0]
            free.remove(fitting[0])
    return found


def check(graph, donated, seed):
    executable = compile_graph(graph, Options(donated=donated, verify=True))
    for number, sizes in enumerate(SIZES):
        arrays = random_arrays(graph, sizes, seed + number)
        expected = [np.array(a) for a in evaluate(graph, arrays)]
        planned = evaluate_plan(executable.plan, [*arrays, *executable.constants])
        fresh = iter(executable(arrays))
        found = [arrays[donated[k]] if k in donated else next(fresh) for k in range(len(expected))]
        for k, wanted in enumerate(expected):
            for what, made in (("planned", planned[k]), ("compiled", found[k])):
                np.testing.assert_allclose(
                    made, wanted, rtol=1e-4, atol=1e-5,
                    err_msg=f"{what} result {k} at {sizes} of\n{graph}\n{executable.plan}",
                )  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    graph = random_control(seed)
    verify(graph)
    check(graph, donations(graph, seed) if seed % 2 else {}, seed)


@pytest.mark.parametrize("seed", range(40, 46))
def test_random_programs_on_threads(seed, threads):
    graph = random_control(seed)
    check(graph, donations(graph, seed), seed)


@pytest.mark.parametrize("seed", range(60, 80))
def test_whichever_step_fails_the_inputs_stay(seed):
    """Each call of the host fails once, at any depth of loops and branches."""
    graph = random_control(seed)
    executable = compile_graph(graph, Options(donated=donations(graph, seed)))
    arrays = random_arrays(graph, SIZES[0], seed)
    before = [a.copy() for a in arrays]
    sort, counts = OPS["sort"].evaluate, [0, -1]

    def counted(operands, attrs):
        counts[0] += 1
        if counts[0] == counts[1]:
            raise ValueError("now")
        return sort(operands, attrs)

    object.__setattr__(OPS["sort"], "evaluate", counted)
    try:
        executable([a.copy() for a in arrays])
        total = counts[0]
        for failing in range(1, min(total, 12) + 1):
            counts[:] = [0, failing]
            with pytest.raises(HostError, match="now"):
                executable(arrays)
            assert counts[0] == failing
            assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays, before, strict=True))
    finally:
        object.__setattr__(OPS["sort"], "evaluate", sort)


LARGE = """
graph @large(%x: f32[T, N], %h: f32[N]) -> (f32[N], f32[T, N]) {
  %y, %z = scan(%h, %x) {length=T, consts=0, carries=1, reverse=false} (%a: f32[N], %b: f32[N]) {
    %c = tanh(add(%a, %b))
    %r = slice(%c) {starts=[N - 1], sizes=[N], steps=[-1]}
    yield %r, exp(%c)
  }
  yield %y, %z
}
"""


def test_kernels_inside_loops_run_on_the_pool(threads):
    """Each turn has work for several threads: the results are those of one, bit for bit."""
    executable = compile_graph(parse(LARGE))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((6, 100_003), (100_003,))]
    assert "call void @launch(" in executable.entry_text
    found = executable(arrays)
    for made, wanted in zip(found, evaluate(parse(LARGE), arrays), strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)
    set_num_threads(1)
    for made, alone in zip(found, executable(arrays), strict=True):
        assert np.array_equal(made, alone)


def test_a_thousand_turns_are_one_foreign_call():
    """The entry is called once, and its text does not grow with the number of turns."""
    text = LARGE.replace("T", "1000").replace("N", "4")
    executable = compile_graph(parse(text))
    calls, entry = [], executable._entry

    def counted(address):
        calls.append(address)
        entry(address)

    executable._entry = counted
    arrays = [np.ones((1000, 4), np.float32), np.zeros(4, np.float32)]
    found = executable(arrays)
    assert len(calls) == 1
    for made, wanted in zip(found, evaluate(parse(text), arrays), strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-4)
    short = compile_graph(parse(text.replace("1000", "10"))).entry_text
    assert executable.entry_text.count("\n") == short.count("\n")


def test_calls_of_a_loop_from_several_threads():
    executable = compile_graph(parse(LARGE))
    cases = []
    for number in range(6):
        rng = np.random.default_rng(number)
        size = 50 + number
        arrays = [rng.standard_normal(s).astype(np.float32) for s in ((40 + number, size), (size,))]
        cases.append((arrays, evaluate(parse(LARGE), arrays)))
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            results = list(pool.map(lambda case: executable(case[0]), cases))
            for made, (_, wanted) in zip(results, cases, strict=True):
                for a, b in zip(made, wanted, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
