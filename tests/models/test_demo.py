"""The demo's net on the digits: accuracy, the same losses eager and compiled, memory, kernels, and
its step by the numpy evaluation of every stage and of the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import nn, optim
from sley.frontend.compile.program import Program
from sley.frontend.demo.model import make_training
from sley.frontend.demo.report import count_kernels, count_ops
from sley.frontend.demo.training import load_data, train
from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.nn import functional as F

EPOCHS = 14  # fewer than the demo's


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_and_losses(seed: int) -> None:
    data = load_data(seed)
    assert len(data.test_labels) == round(0.2 * 1797) and len(data.train_labels) == 1438
    eager, compiled = (train(data, seed, EPOCHS, c, progress=False) for c in (False, True))
    assert eager.accuracy >= 0.97 and compiled.accuracy >= 0.97
    first = eager.epoch_steps  # rounding grows over the steps
    np.testing.assert_allclose(compiled.losses[:first], eager.losses[:first], 1e-4)
    np.testing.assert_allclose(compiled.losses[:5], eager.losses[:5], 1e-6)
    assert compiled.step is not None
    assert len(compiled.step.programs) == 2, "full batches, and every size for the last one"


def demo_step(rows: int) -> tuple[Callable[..., Any], sley.Tensor, sley.Tensor]:
    rng = np.random.default_rng(rows)
    step = make_training(0, 1).step
    x = sley.tensor(rng.random((rows, 1, 8, 8), np.float32))
    return step, x, sley.tensor(rng.integers(0, 10, rows))


def perceptron_step(rows: int) -> tuple[Callable[..., Any], sley.Tensor, sley.Tensor]:
    sley.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(12):
        layers += [nn.Linear(48, 48), nn.GELU()]
    model = nn.Sequential(*layers[:-1])
    opt = optim.AdamW(model.parameters(), lr=0.01)

    def step(x: sley.Tensor, y: sley.Tensor) -> sley.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    rng = np.random.default_rng(rows)
    x = rng.standard_normal((rows, 48)).astype(np.float32)
    return step, sley.tensor(x), sley.tensor(rng.integers(0, 48, rows))


STEPS = {"demo": demo_step, "perceptron": perceptron_step}


def program_of(name: str, rows: int, **options: Any) -> Program:
    step, x, y = STEPS[name](rows)
    compiled = sley.compile(step, **options)
    compiled.lower(x, y)
    return compiled.programs[-1]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_the_arena_is_hardly_larger_than_what_lives(name: str, dynamic: bool) -> None:
    named = {"x": {0: "N"}, "y": {0: "N"}}
    executable = program_of(name, 32, dynamic=named if dynamic else False).executable
    for rows in (32, 7, 64) if dynamic else (32,):
        sizes = {"N": rows} if dynamic else {}
        live = executable.peak_live_bytes(sizes)
        assert 0 < executable.arena_bytes(sizes) <= 1.3 * live


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_few_kernels(name: str) -> None:
    program = program_of(name, 32)
    assert count_kernels(program) < count_ops(program) / 4


@pytest.mark.parametrize("name", STEPS)
def test_every_stage_computes_the_same(name: str) -> None:
    """The trace, the program after each pass, the plan in its own arena with what is freed
    poisoned, and the machine code: all by the numbers of one step."""
    step, x, y = STEPS[name](5)
    compiled = sley.compile(step)
    lowered = compiled.lower(x, y)
    (program,) = compiled.programs
    stages = [g for _, g in lowered.executable.stages if hasattr(g, "nodes")]
    assert len(stages) >= 4
    arrays = _inputs(program, x, y)
    expected = evaluate(program.graph, arrays)
    for stage in stages:
        given = arrays + _constants(stage, len(arrays), lowered.executable)
        for a, b in zip(expected, evaluate(stage, given), strict=True):
            np.testing.assert_allclose(b, a, 2e-4, 2e-6)
    plan = lowered.executable.plan
    planned = evaluate_plan(plan, arrays + _constants(plan.graph, len(arrays), lowered.executable))
    for a, b in zip(expected, planned, strict=True):
        np.testing.assert_allclose(b, a, 2e-4, 2e-6)
    loss = step(x, y).item()
    step, x, y = STEPS[name](5)
    assert sley.compile(step)(x, y).item() == pytest.approx(loss, rel=1e-5)


def _inputs(program: Program, *arguments: sley.Tensor) -> list[np.ndarray]:
    """What the parameters of a program hold, in order."""
    found: list[np.ndarray] = [np.empty(0)] * len(program.graph.params)
    for slot, position in program._leaf_slots:
        found[slot] = arguments[position].numpy().copy()
    for slot, (storage, _) in zip(program._capture_slots, program.captures, strict=True):
        assert storage.array is not None
        found[slot] = storage.array.copy()
    return found


def _constants(graph: Any, count: int, executable: Any) -> list[np.ndarray]:
    """The large constants that became inputs."""
    return list(executable.constants)[: len(graph.params) - count]
