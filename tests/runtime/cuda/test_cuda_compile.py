"""From a graph to an executable on a GPU: Triton texts, one for each distinct kernel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from simulated_gpu import SimulatedGpu
from training_steps import mlp_step

from sley.backends.triton.compile import CompiledText, CompileFailure
from sley.backends.triton.target import gpu_target
from sley.ir.evaluate import evaluate
from sley.ir.parser import parse
from sley.passes.pipeline import run_passes
from sley.runtime.build import CompileError
from sley.runtime.compile import Options
from sley.runtime.cuda import build
from sley.runtime.cuda import compile as compiling
from sley.runtime.cuda.executable import HostStepWarning


class FakeCompiler:
    """Gives every text some machine code, or what `failing` says."""

    def __init__(self):
        self.texts = []
        self.failing = None

    def compile_all(self, kernels, target):
        self.texts += kernels
        self.target = target
        return [self.compile(kernel) for kernel in kernels]

    def compile(self, kernel):
        if self.failing is not None:
            return CompileFailure(kernel, self.failing, "it said no")
        return CompiledText(
            cubin=kernel.source.encode(), ptx="", symbol=kernel.name, warps=8, shared_bytes=64,
            registers=32, spill_bytes=0, global_scratch=(256, 128), profile_scratch=(0, 1),
            capability=90,
        )  # fmt: skip


class LoadingDriver:
    """Wraps the simulated driver: whatever is loaded is its own handle."""

    def __init__(self):
        self.loaded = []

    def load(self, cubin, symbol, shared_bytes):
        self.loaded.append((cubin, symbol, shared_bytes))
        return self.loaded[-1]


@pytest.fixture
def compiler(monkeypatch):
    found = FakeCompiler()
    monkeypatch.setattr(compiling, "cubin_compiler", lambda: found)
    return found


@pytest.fixture
def device(monkeypatch):
    gpu, loading = SimulatedGpu(), LoadingDriver()
    monkeypatch.setattr(gpu.driver, "load", loading.load)
    gpu.device.loaded = loading.loaded
    return gpu.device


def test_kernels_are_loaded_as_they_were_compiled(compiler, device):
    graph, donated = mlp_step((7, 5, 10))
    executable = compiling.compile_graph(graph, device, Options(donated=donated))
    assert executable.donated == donated and compiler.target.name == "sm_90"
    assert {text.name for text in compiler.texts} <= {"contract", "row", "loop", "many"}
    kernels = executable.kernels.values()
    assert len(device.loaded) == len({k.function for k in kernels}) <= len(kernels)
    for kernel in kernels:
        cubin, symbol, shared = kernel.function.handle
        assert f"def {symbol}(" in cubin.decode() and kernel.name.startswith(symbol)
        assert (kernel.function.threads, kernel.function.shared_bytes) == (256, shared) == (256, 64)
        assert kernel.scratch == 256


def test_programs_share_loaded_kernels(compiler, device):
    for name in "ab":
        graph = parse(f"graph @{name}(%x: f32[N]) -> (f32[N]) {{ yield tanh(%x) }}")
        compiling.compile_graph(graph, device, Options())
    assert len(device.loaded) == 1


@pytest.mark.parametrize("kind", ["error", "crash", "timeout", "limit"])
def test_what_cannot_be_compiled_is_shown(compiler, device, kind):
    compiler.failing = kind
    graph = parse("graph @f(%x: f32[N]) -> (f32[N]) { yield tanh(%x) }")
    with pytest.raises(CompileError, match=rf"Triton kernel loop: {kind}: it said no") as caught:
        compiling.compile_graph(graph, device, Options(), fallback=False)
    assert "@triton.jit" in str(caught.value)


def test_what_cannot_be_written_names_the_line(compiler, device, monkeypatch):
    def refuse(kernel, schedule, name):
        raise NotImplementedError("no such node")

    monkeypatch.setattr(compiling, "kernel_text", refuse)
    graph = parse(
        "graph @f(%x: f32[N]) -> (f32[N]) {\n  %y = tanh(%x)    // model.py:3 in forward\n"
        "  yield %y\n}"
    )
    with pytest.raises(CompileError, match=r"kernel @loop0 \(model.py:3 in forward\): no such"):
        compiling.compile_graph(graph, device, Options(), fallback=False)


PARTLY = """
graph @partly(%x: f32[N]) -> (f32[N], f32[N]) {
  %y = cumsum(%x) {axis=0, reverse=false}    // model.py:3 in forward
  %z = tanh(%y)    // model.py:4 in forward
  yield %z, cumsum(%z) {axis=0, reverse=true}
}
"""


@pytest.mark.parametrize("how", ["not written", "not compiled"])
def test_kernels_without_code_run_on_the_host_with_a_warning(how):
    gpu, count = SimulatedGpu(), itertools.count()

    def emit(kernel, schedule, target):
        if how == "not written" and next(count) == 0:
            raise NotImplementedError(f"no such node {how}")
        return gpu.compiler.emit(kernel, schedule, target)

    def compile_all(texts, target):
        made = gpu.compiler.compile_all(texts, target)
        if how == "not compiled":
            made[0] = CompileFailure(texts[0], "crash", "a signal")
        return made

    graph = parse(PARTLY)
    lowered = run_passes(graph, gpu_target("sm_90"), donated={0: 0})
    with pytest.raises(CompileError):
        build.build(lowered, gpu.device, emit, compile_all)
    count = itertools.count()
    with pytest.warns(HostStepWarning, match="has no code for GPUs .*: it runs on the host"):
        executable = build.build(lowered, gpu.device, emit, compile_all, fallback=True)
    assert executable.on_host and executable.may_fail
    for size in (5, 1, 0, 7):
        x = np.linspace(-1, 1, size, dtype=np.float32)
        expected = evaluate(graph, [x])
        for _ in range(2):
            own = x.copy()
            (found,) = executable([own])
            np.testing.assert_allclose(own, expected[0], rtol=1e-5)
            np.testing.assert_allclose(found, expected[1], rtol=1e-5, atol=1e-6)
