"""Whole programs on a GPU without one: passes, plan, commands, and the kernels' own text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import random_control
import random_graphs
from interpreted_gpu import InterpretedGpu
from training_steps import block_step, conv_step, mlp_step, step_arrays
from triton_texts import needs_triton

from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.passes.pipeline import run_passes

pytestmark = [
    needs_triton,
    pytest.mark.filterwarnings("ignore::sley.runtime.cuda.executable.HostStepWarning"),
]


def check(graph: Graph, arrays: list[np.ndarray], sizes: Mapping[str, int] | None = None) -> None:
    gpu = InterpretedGpu()
    executable = gpu.build(run_passes(graph, gpu.device.target))
    expected = evaluate(graph, arrays)
    for _ in range(2):  # one command after the other, then as a graph of the driver
        found = executable([array.copy() for array in arrays], sizes)
        for result, wanted in zip(found, expected, strict=True):
            assert result.shape == wanted.shape and result.dtype == wanted.dtype
            if wanted.dtype.kind in "biu":
                np.testing.assert_array_equal(result, wanted)
            else:
                np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-4)


STEPS = {
    "perceptron": (lambda: mlp_step((7, 5, 10)), 9, {"N": 9}),
    "convolution": (conv_step, 3, {"N": 3}),
    "attention": (block_step, 96, {}),
}


@pytest.mark.parametrize("name", STEPS)
def test_training_steps(name: str) -> None:
    step, rows, sizes = STEPS[name]
    graph, _ = step()
    check(graph, step_arrays(graph, rows), sizes)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs(seed: int) -> None:
    graph = random_graphs.random_graph(seed)
    for n in (3, 0):
        check(graph, random_graphs.random_arrays(graph, {"N": n}, seed), {"N": n})


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_with_loops_and_branches(seed: int) -> None:
    graph = random_control.random_control(seed)
    sizes = {"N": 3, "T": 4}
    check(graph, random_control.random_arrays(graph, sizes, seed), sizes)
