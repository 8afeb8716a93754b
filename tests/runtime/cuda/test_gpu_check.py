"""The script that checks a GPU runs on a simulated one, and notices what is wrong."""

from __future__ import annotations

import gpu_check
import pytest
from simulated_gpu import Fault, SimulatedGpu
from training_steps import conv_step, step_arrays

pytestmark = pytest.mark.filterwarnings("ignore::sley.runtime.cuda.executable.HostStepWarning")


@pytest.fixture
def gpu():
    return SimulatedGpu()


@pytest.fixture
def context(gpu):
    return gpu_check.Context(gpu.device, gpu.compiler.emit, gpu.compiler.compile_all)


@pytest.mark.parametrize("group", ["memory", "commands"])
def test_groups(group, context):
    results = list(gpu_check.run_group(group, context))
    assert len(results) > 5 and all(what == "ok" for _, what in results), results


@pytest.mark.parametrize("group", ["programs", "loops", "scatters", "choices", "ops", "gradients"])
def test_first_cases_of_groups_of_programs(group, context):
    for number, case in enumerate(gpu_check.GROUPS[group](context)):
        case.check(case.prepare())
        if number == 2:
            break


def test_training(context):
    case = next(gpu_check.training(context))
    assert case.name == "training perceptron"
    graph, donated = conv_step()
    executable = context.build(graph, donated)
    gpu_check._check_training(context.device, executable, step_arrays(graph, 3), steps=3)


def test_times_are_told(context):
    results = dict(gpu_check.run_group("times", context))
    assert all(what.startswith("ok, ") for what in results.values()), results
    assert "TB/s" in results["copies"] and "us a command" in results["on_the_host"]


def test_wrong_results_are_told(gpu, context, monkeypatch):
    monkeypatch.setattr(gpu.driver, "_copy", lambda copy: None)
    results = dict(gpu_check.run_group("commands", context))
    assert "AssertionError" in results["copy issued"]
    assert results["fill ('issued', 1, 1)"] == "ok"


def test_a_fault_is_the_last_result(gpu, context, monkeypatch):
    def fault(fill):
        raise Fault("made to fail")

    monkeypatch.setattr(gpu.driver, "_fill", fault)
    results = list(gpu_check.run_group("commands", context))
    assert len(results) == 1 and results[0][1].startswith("FAULT")
    assert len(list(gpu_check.run_group("commands", context, skip=5))) == 1
