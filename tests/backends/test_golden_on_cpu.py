"""The kernels written by hand, compiled from their text and compared with their evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kernel_running import compile_and_run
from random_graphs import random_graph

from sley.backends.llvm.kernel import compile_kernel
from sley.backends.llvm.native import assembly
from sley.backends.llvm.target import host_target
from sley.ir.dims import evaluate, symbols
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.kernel_symbols import kernel_symbols
from sley.ir.parser import parse_program
from sley.ir.schedule import parse_schedule
from sley.passes.pipeline import run_passes
from sley.passes.schedule import schedule

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "kernels"
KERNELS = {
    graph.name: graph
    for file in sorted(FOLDER.glob("*.ir"))
    for graph in parse_program(file.read_text())
    if graph.level == "kernel"
}
SIZES = {"N": 13, "D": 37, "B": 2, "T": 5, "S": 9, "I": 20, "H": 6, "W": 5, "C": 3, "O": 4}
CPUS = ("host", "x86-64-v3", "x86-64")


def sizes_of(kernel):
    names = symbols(d for param in kernel.params for d in param.type.shape)
    return {name: SIZES.get(name, 7) for name in names}


def inputs_of(kernel, sizes):
    rng = np.random.default_rng(5)
    return [
        np.abs(rng.standard_normal([evaluate(d, sizes) for d in p.type.shape])).astype(
            p.type.dtype.numpy
        )
        for p in kernel.inputs
    ]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", KERNELS)
def test_computes_what_the_kernel_means(name, cpu):
    kernel = KERNELS[name]
    sizes = sizes_of(kernel)
    arrays = inputs_of(kernel, sizes)
    results = compile_and_run(kernel, arrays, sizes, cpu=cpu, pieces=2)
    for result, expected in zip(results, evaluate_kernel(kernel, arrays), strict=True):
        np.testing.assert_allclose(result, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("cpu", [*CPUS, "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("name", KERNELS)
def test_schedules_read_back_and_code_is_the_same_each_time(name, cpu):
    kernel, target = KERNELS[name], host_target(cpu)
    chosen = schedule(kernel, target)
    assert parse_schedule(str(chosen)) == chosen
    compiled = compile_kernel(kernel, chosen, target, "kernel")
    assert compiled == compile_kernel(kernel, parse_schedule(str(chosen)), target, "kernel")


@pytest.mark.parametrize("name", KERNELS)
def test_llvm_emits_code_for_aarch64(name):
    kernel, target = KERNELS[name], host_target("aarch64")
    text = compile_kernel(kernel, schedule(kernel, target), target, "kernel").text
    code = assembly(text, cpu=target.cpu, features=target.features, triple=target.triple)
    assert ".4s" in code


@pytest.mark.parametrize("seed", range(10))
def test_kernels_of_random_programs(seed):
    cpu = CPUS[seed % len(CPUS)]
    graph = run_passes(random_graph(seed, 16), host_target(cpu)).plan.graph
    for node in graph.nodes:
        kernel, chosen = node.attrs["kernel"], node.attrs["schedule"]
        sizes = dict.fromkeys(kernel_symbols(kernel), 5)
        if not set(sizes) <= set(symbols(d for p in kernel.inputs for d in p.type.shape)):
            continue  # the evaluation learns sizes from the inputs alone
        arrays = inputs_of(kernel, sizes)
        results = compile_and_run(kernel, arrays, sizes, cpu=cpu, pieces=2, schedule=chosen)
        for result, expected in zip(results, evaluate_kernel(kernel, arrays), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
