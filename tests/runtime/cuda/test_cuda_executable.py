"""Programs on a simulated GPU: the results of the plan's evaluation, bit for bit, at each call."""

from __future__ import annotations

import gc
import threading
import warnings

import numpy as np
import pytest
import random_control
import random_graphs
from kernel_building import atomic, e, load, parallel
from kernel_building import kernel as built
from launches import add, both, launch, program, reverse, scale
from simulated_gpu import SimulatedGpu
from training_steps import block_step, conv_step, mlp_step, step_arrays

import sley
from sley import nn
from sley.backends.triton.target import gpu_target
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import by_name
from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.ir.ops import OPS
from sley.ir.parser import parse
from sley.ir.plan import Loop
from sley.ir.sugar import neutral
from sley.ir.types import tensor_type
from sley.passes.pipeline import lower_launches, run_passes
from sley.runtime.cuda import actions
from sley.runtime.cuda.executable import HostStepWarning
from sley.runtime.host_calls import HostError

N, M = symbol("N"), symbol("M")

# Random programs run steps on the host: what else these warnings say is tested by itself.
pytestmark = pytest.mark.filterwarnings("ignore::sley.runtime.cuda.executable.HostStepWarning")


def on_gpu(graph, donated=None, gpu=None):
    gpu = gpu or SimulatedGpu()
    return gpu, gpu.build(run_passes(graph, gpu_target("sm_90"), donated=donated))


def fused(graph, donated=None):
    gpu = SimulatedGpu()
    return gpu, gpu.build(lower_launches(graph, gpu_target("sm_90"), donated=donated))


def check(gpu, executable, arrays, sizes=None, calls=3):
    """All results of repeated calls, those in donated inputs included, are the plan's."""
    constants = [literal.array for literal in executable.constants]
    expected = evaluate_plan(executable.plan, [*arrays, *constants], sizes)
    for call in range(calls):
        own = [array.copy() for array in arrays]
        fresh = iter(executable(own, sizes))
        for k, wanted in enumerate(expected):
            source = executable.donated.get(k)
            found = next(fresh) if source is None else own[source]
            assert found.shape == wanted.shape and found.dtype == wanted.dtype
            assert found.tobytes() == wanted.tobytes(), f"call {call}, result {k}, {sizes}"
        gpu.forget_workspace()


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


@pytest.mark.parametrize("seed", range(16))
def test_random_programs(seed):
    graph = random_graphs.random_graph(seed)
    gpu, executable = on_gpu(graph, donations(graph, seed) if seed % 2 else None)
    for n in (3, 1, 0, 5, 3):
        check(gpu, executable, random_graphs.random_arrays(graph, {"N": n}, seed), {"N": n}, 2)


@pytest.mark.parametrize("seed", range(16))
def test_random_programs_with_loops_and_branches(seed):
    graph = random_control.random_control(seed)
    gpu, executable = on_gpu(graph, donations(graph, seed) if seed % 2 else None)
    for sizes in ({"N": 3, "T": 7}, {"N": 1, "T": 1}, {"N": 0, "T": 2}, {"N": 2, "T": 0}):
        check(gpu, executable, random_control.random_arrays(graph, sizes, seed), sizes, 2)


@pytest.mark.parametrize("seed", range(16, 28))
def test_random_programs_whose_loops_are_not_recorded(seed, monkeypatch):
    """The turns are taken one by one, as where a step in them runs on the host."""
    monkeypatch.setattr(actions, "MAX_UNROLLED", 1)
    graph = random_control.random_control(seed)
    gpu, executable = on_gpu(graph, donations(graph, seed))
    for sizes in ({"N": 3, "T": 7}, {"N": 1, "T": 1}, {"N": 2, "T": 4}, {"N": 2, "T": 0}):
        check(gpu, executable, random_control.random_arrays(graph, sizes, seed), sizes, 2)


TURNING = """
graph @turning(%x: f32[T, 3], %h: f32[3]) -> (f32[3], f32[T, 3]) {
  %y, %z = scan(%h, %x) {length=T, consts=0, carries=1, reverse=true} (%a: f32[3], %b: f32[3]) {
    %r = slice(%a) {starts=[2], sizes=[3], steps=[-1]}
    yield %r, exp(add(%a, %b))
  }
  yield %y, %z
}
"""


@pytest.mark.parametrize("unrolled", [1, 4096])
@pytest.mark.parametrize("donated", [{}, {0: 1}])
def test_carries_that_two_buffers_take_turns_to_hold(donated, unrolled, monkeypatch):
    monkeypatch.setattr(actions, "MAX_UNROLLED", unrolled)
    gpu, executable = on_gpu(parse(TURNING), donated)
    (loop,) = (step for step in executable.plan.walk() if isinstance(step, Loop))
    (carry,) = loop.carries
    assert carry.spare is not None and (carry.start == carry.home) == bool(donated)
    for turns in (4, 5, 1, 0, 2):
        rng = np.random.default_rng(turns)
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((turns, 3), (3,))]
        check(gpu, executable, arrays, {"T": turns})


def test_the_evaluation_of_the_program_is_the_same():
    """What the plan gives is what the program means, so the tests above show something."""
    graph = random_graphs.random_graph(3)
    executable = on_gpu(graph)[1]
    arrays = random_graphs.random_arrays(graph, {"N": 5}, 3)
    for found, wanted in zip(executable(arrays, {"N": 5}), evaluate(graph, arrays), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


class Held:
    """Inputs that stay on the GPU from call to call, as parameters of a model do."""

    def __init__(self, gpu, executable, arrays):
        self.gpu, self.executable = gpu, executable
        self.shapes = [(a.shape, a.dtype) for a in arrays]
        self.blocks = [gpu.device.put(a) for a in arrays]

    def run(self, sizes=()):
        return self.executable.run([block.address for block in self.blocks], sizes)

    def arrays(self):
        pairs = zip(self.blocks, self.shapes, strict=True)
        return [self.gpu.device.get(block.address, *shape) for block, shape in pairs]


@pytest.mark.parametrize(
    ("make", "rows", "sizes"),
    [(lambda: mlp_step((7, 5, 10)), 9, (9,)), (conv_step, 3, (3,)), (block_step, 96, ())],
)
def test_training_steps_replayed_and_issued_one_by_one(make, rows, sizes):
    """20 steps as graphs, and with every command issued and waited for: the same bits."""
    graph, donated = make()
    arrays = step_arrays(graph, rows)
    losses, states = [], []
    calls = 20 if rows < 20 else 4
    for blocking in (False, True):
        gpu, executable = on_gpu(graph, donated)
        gpu.device.blocking = blocking
        held = Held(gpu, executable, arrays)
        found = [held.run(sizes)[0] for _ in range(calls)]
        losses.append([gpu.device.get(b.address, (), np.dtype(np.float32)) for b in found])
        states.append([array.tobytes() for array in held.arrays()])
        assert executable.replayed(sizes) == (not blocking)
        assert (gpu.driver.replays == calls - 1) == (not blocking)
    assert losses[0] == losses[1] and states[0] == states[1]
    assert len(set(map(float, losses[0]))) == calls  # each step has changed the parameters


def test_a_first_step_is_the_evaluators():
    graph, donated = mlp_step((7, 5, 10))
    gpu, executable = on_gpu(graph, donated)
    arrays = step_arrays(graph, 9)
    expected = evaluate(graph, arrays)
    held = Held(gpu, executable, arrays)
    (loss,) = held.run((9,))
    after = held.arrays()
    found = [gpu.device.get(loss.address, (), np.dtype(np.float32)), *after[: len(donated)]]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def traced(function, *arguments):
    """The graph of a function, and its donations."""
    compiled = sley.compile(function)
    compiled(*arguments)
    (made,) = compiled.programs
    return made.graph, made.executable.donated


def test_traces_of_models():
    """A step of a small net with an embedding and an LSTM, whose loops are recorded."""
    sley.manual_seed(0)
    net = nn.Sequential(nn.Embedding(11, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 11))
    rnn = nn.LSTM(8, 8)
    optimizer = sley.optim.Adam([*net.parameters(), *rnn.parameters()])

    def step(tokens):
        optimizer.zero_grad()
        y, _ = rnn(net[:2](tokens))
        loss = nn.functional.cross_entropy(net[2:](y).reshape(-1, 11), tokens.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss

    tokens = sley.tensor(np.random.default_rng(0).integers(0, 11, (6, 3)))
    graph, donated = traced(step, tokens)
    gpu, executable = on_gpu(graph, donated)
    assert any(isinstance(step, Loop) for step in executable.plan.walk())
    rng = np.random.default_rng(1)
    arrays = []
    for param in graph.params:
        shape, dtype = param.type.shape, param.type.dtype
        made = rng.uniform(0.1, 1, shape) if dtype.is_float else rng.integers(0, 11, shape)
        arrays.append(np.asarray(made).astype(dtype.numpy))
    check(gpu, executable, arrays)


def test_results_stay_as_long_as_they_are_held():
    graph = program([(N,)], lambda x: [launch(reverse(N), launch(reverse(N), x))])
    gpu, executable = fused(graph)
    held = Held(gpu, executable, [np.zeros(5, np.float32)])
    kept = []
    for number in range(20):
        gpu.device.write(held.blocks[0].address, np.full(5, number, np.float32))
        kept.append(held.run((5,))[0])
        if number % 3 == 0:
            kept[number // 2] = None  # its memory may serve again
    for number, block in enumerate(kept):
        if block is not None:
            found = gpu.device.get(block.address, (5,), np.dtype(np.float32))
            assert (found == number).all()


def test_memory_serves_again_only_when_nobody_holds_it():
    graph = program([(N,)], lambda x: [launch(scale((N,)), x)])
    gpu, executable = fused(graph)
    held = Held(gpu, executable, [np.zeros(5, np.float32)])
    (first,) = held.run((5,))
    (second,) = held.run((5,))
    address = first.address
    assert second.address != address
    del first
    gc.collect()
    assert held.run((5,))[0].address == address


def test_inputs_that_move_are_followed_by_the_graph():

    def body(x, y):
        for _ in range(4):
            x = launch(reverse(N), x)
        return [launch(add((N,)), x, y)]

    gpu, executable = fused(program([(N,), (N,)], body))
    held = Held(gpu, executable, [np.ones(4, np.float32), np.ones(4, np.float32)])
    for number in range(8):
        if number >= 3:
            held.blocks[1] = gpu.device.put(np.full(4, number, np.float32))
        (result,) = held.run((4,))
        found = gpu.device.get(result.address, (4,), np.dtype(np.float32))
        assert (found == 1 + (number if number >= 3 else 1)).all()
    assert gpu.driver.replays == 7 and gpu.driver.updates > 0


def test_a_graph_serves_again_after_all_buffers_have_moved():
    graph, donated = mlp_step((7, 5, 10))
    gpu, executable = on_gpu(graph, donated)
    arrays = step_arrays(graph, 9)
    for expected in (2, 4):  # the first call with new buffers is issued one by one
        held = Held(gpu, executable, arrays)
        for _ in range(3):
            held.run((9,))
        assert gpu.driver.replays == expected


def test_programs_of_one_command_need_no_graph():
    gpu, executable = fused(program([(N,)], lambda x: [launch(scale((N,)), x)]))
    check(gpu, executable, [np.ones(4, np.float32)], calls=4)
    assert gpu.driver.replays == 0


@pytest.mark.parametrize(
    ("dtype", "combine"),
    [
        ("f32", "add"), ("f32", "maximum"), ("f64", "add"), ("f64", "mul"), ("f64", "minimum"),
        ("f16", "maximum"), ("bf16", "mul"), ("i64", "minimum"), ("i8", "maximum"), ("i32", "mul"),
    ],
)  # fmt: skip
def test_what_atomics_join_begins_with_the_neutral_element(dtype, combine):
    """Every call of the kernel: 7 numbers join to 3."""

    def body(x, out):
        with parallel(N) as (i,):
            place = e(i) - e(i) // 3 * 3
            atomic(out, load(x, i), place, combine=combine)

    kernel = built([(dtype, (N,))], [(dtype, (3,))], body, "joining")
    line = tensor_type(by_name(dtype), (N,))
    with Recording() as builder:
        x = builder.param(line)
        graph = builder.finish("joined", [launch(kernel, x)])
    gpu, executable = fused(graph)
    x = np.array([3, 1, 2, -1, 2, 1, 2]).astype(by_name(dtype).numpy)
    check(gpu, executable, [x], {"N": 7})
    (found,) = executable([x])
    ufunc = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}
    expected = [ufunc[combine].reduce(x[k::3]) for k in range(3)]
    assert np.array_equal(found, np.array(expected, x.dtype))
    (empty,) = executable([x[:0]])
    assert np.array_equal(empty, np.full(3, neutral(combine, by_name(dtype)).array))


def test_nothing_is_launched_for_no_elements():
    graph = program([(N,), (N,)], lambda x, y: [*launch(both((N,)), x, y)])
    gpu, executable = fused(graph)
    for _ in range(3):
        assert [a.shape for a in executable([np.zeros(0, np.float32)] * 2)] == [(0,), (0,)]
    assert gpu.driver.issued == gpu.driver.replays == 0


def test_one_program_serves_all_sizes():
    graph, _ = mlp_step((7, 5, 10))
    gpu, executable = on_gpu(graph)
    for rows in (4, 1, 9, 0, 4):
        check(gpu, executable, step_arrays(graph, rows), {"N": rows})


def test_programs_share_the_memory_that_they_need_while_they_run():
    gpu = SimulatedGpu()
    first = on_gpu(mlp_step((7, 5, 10))[0], gpu=gpu)[1]
    second = on_gpu(mlp_step((7, 64, 10))[0], gpu=gpu)[1]
    for executable in (first, second, first, second):
        check(gpu, executable, step_arrays(executable.graph, 5), {"N": 5})
    reserved = gpu.device.pool.statistics.reserved
    for executable in (first, second) * 3:
        check(gpu, executable, step_arrays(executable.graph, 5), {"N": 5})
    assert gpu.device.pool.statistics.reserved == reserved


def test_inputs_that_begin_anywhere_are_copied():
    graph = program([(N,), (N,)], lambda p, g: [launch(add((N,)), p, g)])
    gpu, executable = fused(graph, {0: 0})
    data = np.arange(9, dtype=np.float32)
    whole, other = gpu.device.put(data), gpu.device.put(data)
    for _ in range(3):
        assert executable.run([whole.address + 4, other.address + 8], (7,)) == []
    expected = data.copy()
    expected[1:8] += 3 * data[2:]
    assert np.array_equal(gpu.device.get(whole.address, (9,), data.dtype), expected)


def test_copies_of_inputs_live_until_all_is_issued():
    body = lambda x, y, z: [launch(add((N,)), launch(add((N,)), x, y), z)]
    gpu, executable = fused(program([(N,), (N,), (N,)], body))
    data = np.arange(30, dtype=np.float32)
    block = gpu.device.put(data)
    for _ in range(3):
        (result,) = executable.run([block.address + 4 * k for k in (1, 10, 19)], (7,))
        found = gpu.device.get(result.address, (7,), data.dtype)
        assert np.array_equal(found, data[1:8] + data[10:17] + data[19:26])


ODD = """
graph @odd(%x: f32[5, 3], %h: f32[3]) -> (f32[3], f32[5, 3]) {
  %y, %z = scan(%h, %x) {length=5, consts=0, carries=1, reverse=false} (%a: f32[3], %b: f32[3]) {
    %c = tanh(add(%a, %b))
    %r = slice(%c) {starts=[2], sizes=[3], steps=[-1]}
    yield %r, exp(%c)
  }
  yield %y, %z
}
"""


def test_kernels_are_told_which_buffers_begin_anywhere():
    """A turn's piece of 12 bytes is not aligned: no vector may be read from there."""
    gpu, executable = on_gpu(parse(ODD))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((5, 3), (3,))]
    check(gpu, executable, arrays)
    assert any(len(t.divisible) < len(t.arguments) for t in gpu.compiler.compiled)
    aligned, even = SimulatedGpu(), ODD.replace("3]", "4]").replace("[2]", "[3]")
    executable = on_gpu(parse(even), gpu=aligned)[1]
    assert all(len(t.divisible) == len(t.arguments) for t in aligned.compiler.compiled)


def test_long_loops_are_not_recorded_turn_by_turn(monkeypatch):
    monkeypatch.setattr(actions, "MAX_UNROLLED", 400)
    text = ODD.replace("5", "300")
    executable = on_gpu(parse(text))[1]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((300, 3), (3,))]
    found = executable(arrays)
    for a, b in zip(found, evaluate(parse(text), arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert not executable.replayed()


def test_calls_from_several_threads():
    graph, _ = mlp_step((7, 5, 10))
    executable = on_gpu(graph)[1]
    arrays = [step_arrays(graph, 5, seed) for seed in range(4)]
    expected = [[a.tobytes() for a in executable(given)] for given in arrays]
    wrong = []

    def work(number):
        for _ in range(5):
            if [a.tobytes() for a in executable(arrays[number])] != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


ON_HOST = """
graph @inverse(%x: f64[N, N], %w: f64[N, N]) -> (f64[N, N], f64[N, N]) {
  %a = add(%x, %w)
  %y = linalg_inv(%a)    // model.py:7 in forward
  yield add(%w, %y), mul(%a, %y)
}
"""


def test_a_step_on_the_host_is_told_once_with_its_line():
    graph = parse(ON_HOST)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gpu, executable = on_gpu(graph, {0: 1})
        on_gpu(graph)
    assert [(w.category, w.filename, w.lineno) for w in caught] == [
        (HostStepWarning, "model.py", 7)
    ]
    assert "linalg_inv has no kernel" in str(caught[0].message)
    rng = np.random.default_rng(0)
    check(gpu, executable, [rng.standard_normal((6, 6)), rng.standard_normal((6, 6))])
    assert executable.may_fail and not executable.replayed((6,))


def test_where_a_step_on_the_host_fails_the_inputs_stay():
    gpu, executable = on_gpu(parse(ON_HOST), {0: 1})
    held = Held(gpu, executable, [np.eye(3), np.eye(3)])
    inverse = OPS["linalg_inv"].evaluate

    def failing(operands, attrs):
        raise ValueError("now")

    object.__setattr__(OPS["linalg_inv"], "evaluate", failing)
    try:
        with pytest.raises(HostError, match=r"linalg_inv \(model.py:7 in forward\): now"):
            held.run((3,))
    finally:
        object.__setattr__(OPS["linalg_inv"], "evaluate", inverse)
    assert all(np.array_equal(a, np.eye(3)) for a in held.arrays())
    assert len(held.run((3,))) == 1


def test_arguments_that_do_not_fit():
    graph = program([(N,), (N,)], lambda x, y: [launch(add((N,)), x, y)])
    executable = fused(graph, {0: 1})[1]
    x = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="f32"):
        executable([x, x.astype(np.float64)])
    with pytest.raises(ValueError, match="takes 2 inputs, got 1"):
        executable.run([0], (5,))
    with pytest.raises(ValueError, match="input 1 is overwritten"):
        executable([x, np.zeros(8, np.float32)[::2]])
