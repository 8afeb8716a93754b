"""Compiling: equal kernels once, object code found again, errors that say where."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from launches import add, launch, program, random_arrays, reverse, scale, softmax
from programs import record
from training_steps import conv_step, mlp_step, step_arrays

from sley.backends.llvm.kernel import compile_kernel
from sley.backends.llvm.target import host_target
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Location
from sley.ir.literal import Literal
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.passes.pipeline import lower_launches
from sley.runtime import objects
from sley.runtime.build import CompileError, build
from sley.runtime.compile import Options, compile_graph

N = symbol("N")
TARGET = host_target()


def mlp(hidden=16):
    """softmax(tanh(x @ w + b) @ v) and the sum of its squares."""

    def body(values):
        x, w, b, v = values
        dot = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
        h = OPS["dot_general"](x, w, **dot)
        h = OPS["tanh"](h + OPS["broadcast"](b, shape=h.type.shape, dims=(1,)))
        y = OPS["dot_general"](h, v, **dot)
        top = OPS["reduce_max"](y, axes=(1,), ties="even")
        e = OPS["exp"](y - OPS["broadcast"](top, shape=y.type.shape, dims=(0,)))
        norm = OPS["reduce_sum"](e, axes=(1,))
        p = e / OPS["broadcast"](norm, shape=y.type.shape, dims=(0,))
        return [p, OPS["reduce_sum"](p * p, axes=(0, 1))]

    shapes = [(N, 12), (12, hidden), (hidden,), (hidden, 5)]
    return record(body, [tensor_type(f32, s) for s in shapes])


def test_a_tensor_program_at_every_size():
    graph = mlp()
    executable = compile_graph(graph, Options(verify=True))
    hashes = executable.object_hashes
    for size in (0, 1, 7, 64):
        arrays = random_arrays(graph, size, {"N": size})
        for result, wanted in zip(executable(arrays), evaluate(graph, arrays), strict=True):
            np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=1e-6)
    assert executable.object_hashes == hashes
    assert compile_graph(mlp()).object_hashes == hashes
    assert compile_graph(mlp(24)).object_hashes != hashes


def test_stages_and_dump():
    seen = []
    executable = compile_graph(mlp(), Options(dump=lambda name, program: seen.append(name)))
    assert seen == [name for name, _ in executable.stages]
    assert seen[0] == "trace" and seen[-1] == "plan memory"
    for _, stage in executable.stages:
        assert str(stage)


def test_an_sgd_step_in_place():
    def body(values):
        p, m, g, rate = values
        spread = OPS["broadcast"](rate, shape=p.type.shape, dims=())
        new_m = m * 0.9 + g
        return [p - spread * new_m, new_m]

    graph = record(body, [tensor_type(f32, (N, 3))] * 3 + [tensor_type(f32, ())])
    executable = compile_graph(graph, Options(donated={0: 0, 1: 1}))
    rng = np.random.default_rng(0)
    p, m, g = (rng.standard_normal((40, 3)).astype(np.float32) for _ in range(3))
    rate = np.float32(0.1)
    for _ in range(3):
        expected = evaluate(graph, [p, m, g, np.asarray(rate)])
        assert executable([p, m, g, np.asarray(rate)]) == []
        assert np.array_equal(p, expected[0]) and np.array_equal(m, expected[1])
    assert not executable.plan.blocks and len(executable.plan.steps) == len(executable.kernels)


def test_large_constants_are_inputs_that_the_executable_holds():
    table = np.arange(200, dtype=np.float32)

    def body(values):
        constant = OPS["constant"](value=Literal(table))
        return [values[0] + constant * 2.0]

    graph = record(body, [tensor_type(f32, (200,))])
    executable = compile_graph(graph)
    (result,) = executable([np.ones(200, np.float32)])
    assert np.array_equal(result, 1 + 2 * table)
    assert len(executable.inputs) == 1

    table = table[::-1].copy()  # other contents are the same code
    other = compile_graph(record(body, [tensor_type(f32, (200,))]))
    assert other.object_hashes == executable.object_hashes
    assert np.array_equal(other([np.ones(200, np.float32)])[0], 1 + 2 * table)


def counted():
    """An emitter that counts what it is asked for; a new one knows no earlier kernels."""
    asked = []

    def emit(kernel, schedule, target, name):
        asked.append(name)
        return compile_kernel(kernel, schedule, target, name)

    return emit, asked


def test_equal_kernels_are_compiled_once():
    emit, asked = counted()

    def body(x):
        return [launch(scale((N,)), launch(reverse(N), launch(scale((N,)), x)))]

    for _ in range(2):
        executable = build(lower_launches(program([(N,)], body), TARGET), TARGET, emit)
        assert len(executable.kernels) == 2
    assert len(asked) == 2


def test_names_and_lines_do_not_count_but_types_do():
    first, second = scale((N,)), scale((N,))
    second.name = "another"
    for node in second.walk():
        node.line = Location("model.py", 7, "forward")
    emit, asked = counted()

    def body(x):
        return [launch(first, x), launch(second, x), launch(scale((N, 1)), y)]

    y = None

    def run(x, z):
        nonlocal y
        y = z
        return body(x)

    executable = build(lower_launches(program([(N,), (N, 1)], run), TARGET), TARGET, emit)
    assert len(executable.kernels) == len(asked) == 2


def test_threads_that_compile_the_same_program():
    emit, asked = counted()
    results = []

    def work():
        graph = program([(N,), (N,)], lambda x, y: [launch(add((N,)), launch(reverse(N), x), y)])
        executable = build(lower_launches(graph, TARGET), TARGET, emit)
        results.append(executable([np.ones(3, np.float32)] * 2)[0].tolist())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [[2.0] * 3] * 4
    assert len(asked) == 2


def test_object_code_is_found_on_disk(tmp_path, monkeypatch):
    settings = dataclasses.replace(objects.config(), cache_dir=tmp_path)
    monkeypatch.setattr(objects, "config", lambda: settings)
    made = []
    original = objects.native.compile_object

    def compile_object(text, **options):
        made.append(text)
        return original(text, **options)

    monkeypatch.setattr(objects.native, "compile_object", compile_object)
    graph = program([(N, 9)], lambda x: [launch(softmax(N, 9), x)])
    results = []
    for _ in range(2):
        emit, _ = counted()
        executable = build(lower_launches(graph, TARGET), TARGET, emit)
        results.append(executable([np.ones((2, 9), np.float32)])[0])
    assert len(made) == 2  # the kernel and the entry, once
    assert np.array_equal(*results)
    assert len(list((tmp_path / "objects").iterdir())) == 2


def broken(kernel, schedule, target, name):
    return "this is no LLVM text", 0, 1


def refusing(kernel, schedule, target, name):
    raise NotImplementedError("the op has no rule")


@pytest.mark.parametrize("emit, message", [(broken, "cannot parse"), (refusing, "no rule")])
def test_errors_name_kernel_text_and_line(emit, message):
    graph = program([(N,)], lambda x: [launch(scale((N,)), x)])
    graph.nodes[0].line = Location("model.py", 12, "forward")
    with pytest.raises(CompileError) as caught:
        build(lower_launches(graph, TARGET), TARGET, emit)
    text = str(caught.value)
    assert message in text and "@scale" in text and "model.py:12 in forward" in text
    path = text.rsplit(" ", 1)[1]
    with open(path) as file:
        assert file.read()
    assert build(lower_launches(graph, TARGET), TARGET)  # and nothing broken is remembered


def test_a_broken_pass_is_named():
    wrong = Graph("wrong", (), (), (record(lambda v: v, [tensor_type(f32, ())]).params[0],))
    with pytest.raises(ValueError) as caught:
        compile_graph(wrong, Options(verify=True))
    assert "'trace'" in caught.value.__notes__[0]


STEPS = {"perceptron": lambda: mlp_step([12, 16, 16, 10]), "convolutions": conv_step}


@pytest.mark.parametrize("make", STEPS.values(), ids=STEPS)
def test_a_training_step_is_one_program_for_every_size(make):
    graph, donated = make()
    executable = compile_graph(graph, Options(donated=donated))
    for size in (32, 7, 1, 0, 33):
        arrays = step_arrays(graph, size)
        for _ in range(2):
            expected = evaluate(graph, arrays)
            (loss,) = executable(arrays)
            np.testing.assert_allclose(loss, expected[0], rtol=1e-5, atol=1e-6)
            for result, source in donated.items():
                np.testing.assert_allclose(arrays[source], expected[result], rtol=1e-4, atol=1e-6)
