"""Loops, branches and host steps inside of one another: machine code, and the planned arena."""

from __future__ import annotations

import numpy as np
import pytest
from random_control import random_arrays, random_control

from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.ir.verifier import verify
from sley.runtime.compile import Options, compile_graph
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
