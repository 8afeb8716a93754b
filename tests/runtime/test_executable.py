"""Executables run what the program says, with memory of their own at each call."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from launches import (
    add,
    both,
    launch,
    program,
    random_arrays,
    random_program,
    reverse,
    row_sum,
    scale,
    softmax,
)

from sley.backends.llvm.native import host
from sley.backends.llvm.target import host_target
from sley.ir.dims import symbol
from sley.ir.evaluate import evaluate
from sley.passes.pipeline import lower_launches
from sley.runtime.build import build
from sley.runtime.threads import get_num_threads, set_num_threads

N, M = symbol("N"), symbol("M")


def compiled(graph, donated=None):
    target = host_target()
    return build(lower_launches(graph, target, donated=donated), target)


def check(executable, graph, sizes=None, seed=0):
    """All results, those in donated inputs included, are the evaluator's, bit for bit."""
    arrays = random_arrays(graph, seed, sizes)
    expected = [np.array(a) for a in evaluate(graph, arrays, sizes)]  # may be an input itself
    results = executable(arrays)
    for k, array in zip(executable.plan.fresh, results, strict=True):
        assert np.array_equal(array, expected[k]), f"result {k} of\n{executable.plan}"
    for k, source in executable.plan.donated.items():
        assert np.array_equal(arrays[source], expected[k]), f"result {k} of\n{executable.plan}"
    return results


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed):
    graph = random_program(seed, 15, (N, 3 * M + 40, 100))
    executable = compiled(graph)
    for size in (0, 1, 7, 33):
        check(executable, graph, {"N": size, "M": 2 * size}, seed)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_with_donation(seed):
    graph = random_program(seed, 10, (N, 10))
    donated, free = {}, list(range(len(graph.params)))
    for k, value in enumerate(graph.yields):
        fitting = [i for i in free if graph.params[i].type is value.type]
        if fitting:
            donated[k] = fitting[0]
            free.remove(fitting[0])
    executable = compiled(graph, donated)
    for size in (1, 50, 3):
        check(executable, graph, {"N": size}, seed)


def test_one_executable_serves_all_sizes():
    graph = program([(N, M)], lambda x: [launch(row_sum(N, M), launch(softmax(N, M), x))])
    executable = compiled(graph)
    for n, m in ((0, 5), (3, 1), (1, 17), (100, 33), (0, 0)):
        (result,) = executable([np.ones((n, m), np.float32)])
        assert result.shape == (n,)
        np.testing.assert_allclose(result, np.ones(n) if m else 0, rtol=1e-6)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def test_large_work_through_the_pool(threads):
    graph = program([(N,), (N,)], lambda x, y: launch(both((N,)), launch(add((N,)), x, y), y))
    executable = compiled(graph)
    for size in (100_001, 5, 400_000):
        check(executable, graph, {"N": size})


def test_a_changed_number_of_threads_is_noticed():
    graph = program([(N, M)], lambda x: [launch(softmax(N, M), x)])
    executable, before = compiled(graph), get_num_threads()
    arrays = random_arrays(graph, 0, {"N": 500, "M": 300})
    (first,) = executable(arrays)
    try:
        for count in (4, 1, 2):
            set_num_threads(count)
            assert np.array_equal(executable(arrays)[0], first)
    finally:
        set_num_threads(before)


@pytest.mark.parametrize("size", [3, 50_000])
def test_results_are_never_overwritten(size):
    graph = program([(N,)], lambda x: [launch(scale((N,)), x)])
    executable = compiled(graph)
    held = []
    for number in range(20):
        held.append(executable([np.full(size, number, np.float32)])[0])
        if number % 3 == 0:
            held[number // 2] = None  # its memory may serve again
    for number, array in enumerate(held):
        assert array is None or (array == number * 0.5).all()


def test_results_can_be_written_to_and_outlive_the_executable():
    graph = program([(N,)], lambda x: [launch(scale((N,)), x)])
    (result,) = compiled(graph)([np.ones(20_000, np.float32)])
    result += 1
    assert (result == 1.5).all()


def test_a_donated_input_is_updated_in_place():
    graph = program([(N,), (N,)], lambda p, g: [launch(add((N,)), p, g)])
    executable = compiled(graph, {0: 0})
    p = np.zeros(100, np.float32)
    for _ in range(3):
        assert executable([p, np.ones(100, np.float32)]) == []
    assert (p == 3).all()


def test_two_calls_at_the_same_time():
    size, count = 50_000, 30
    chain = (N,)

    def body(x):
        y = launch(reverse(N), launch(reverse(N), x))
        return [launch(add(chain), y, launch(reverse(N), launch(reverse(N), y)))]

    executable = compiled(program([chain], body))
    wrong = []

    def work(seed):
        array = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
        for _ in range(count):
            if not np.array_equal(executable([array])[0], array + array):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_forked_child_runs_programs():
    graph = program([(N,), (N,)], lambda x, y: [launch(add((N,)), x, y)])
    executable = compiled(graph)
    x = np.ones(300_000, np.float32)
    executable([x, x])
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = bool((executable([x, x])[0] == 2).all())
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_another_processor_is_compiled_for_but_not_run():
    target = host_target("aarch64")
    graph = program([(N,)], lambda x: [launch(scale((N,)), x)])
    executable = build(lower_launches(graph, target), target)
    assert "fmul" in executable.assembly()
    if not host("aarch64").runnable:
        with pytest.raises(RuntimeError, match="compiled for aarch64"):
            executable([np.ones(3, np.float32)])


def test_pointers():
    graph = program([(N,), (N,)], lambda x, y: [launch(add((N,)), x, y)])
    executable = compiled(graph)
    assert executable.symbols == ("N",)
    x = np.arange(5, dtype=np.float32)
    (result,) = executable.run([x.ctypes.data, x.ctypes.data], (5,))
    assert np.array_equal(result, x + x)
    with pytest.raises(ValueError, match="takes 2 inputs, got 1"):
        executable.run([x.ctypes.data], (5,))


def test_arrays_that_do_not_fit():
    graph = program([(N,), (N,)], lambda x, y: [launch(add((N,)), x, y)])
    executable = compiled(graph, {0: 1})
    x = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="f32"):
        executable([x, x.astype(np.float64)])
    with pytest.raises(ValueError, match="f32"):
        executable([x, np.zeros(5, np.float32)])
    with pytest.raises(ValueError, match="2 arrays, got 1"):
        executable([x])
    with pytest.raises(ValueError, match="input 1 is overwritten"):
        executable([x, np.zeros(8, np.float32)[::2]])


def test_an_input_that_is_not_dense_is_copied():
    graph = program([(N,)], lambda x: [launch(scale((N,)), x)])
    x = np.arange(10, dtype=np.float32)[::-2]
    assert np.array_equal(compiled(graph)([x])[0], x * 0.5)


def test_what_tools_ask_for():
    graph = program([(N,)], lambda x: [launch(reverse(N), launch(reverse(N), x))])
    executable = compiled(graph)
    assert [k.name for k in executable.kernels] == ["reverse"]
    assert [name for name, _ in executable.stages] == ["trace", "schedule", "plan memory"]
    assert [graph.level for graph in executable.loops()] == ["loop"]
    assert executable.llvm().count("define void @sley_") == 2
    assert executable.kernels[0].symbol in executable.assembly()
    assert executable.peak_live_bytes({"N": 100}) == 400
    assert executable.arena_bytes({"N": 100}) == 448
