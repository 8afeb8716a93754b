"""What `sley.compile` and the settings choose between on a GPU, on a simulated one."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
from sley.runtime.cuda import compile as compiling
from sley.runtime.cuda.tuned import Memory


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    simulated = SimulatedGpu()
    memory = Memory(simulated.driver.info, None)
    monkeypatch.setattr(compiling, "memory_of", lambda info: memory)
    with as_cuda(simulated):
        yield simulated


def kernels(gpu) -> list[str]:
    return [text.name for text in gpu.compiler.compiled]


@pytest.mark.parametrize("size", ["number", "symbol"])
def test_a_function_is_tuned_where_that_is_asked_for(gpu, size):
    def scaled(x):
        return x.exp() * 2

    x = sley.linspace(0, 1, 5000)
    dynamic = {"x": {0: "N"}} if size == "symbol" else None
    for tune, texts in ((None, 1), (True, 3), (None, 1)):
        compiled = sley.compile(scaled, tune=tune, dynamic=dynamic)
        before = len(kernels(gpu))
        found = compiled(x.to("cuda")).cpu()
        assert len(kernels(gpu)) - before >= texts
        np.testing.assert_allclose(found.numpy(), np.exp(x.numpy()) * 2, rtol=1e-6)
        if tune is None:
            assert len(kernels(gpu)) - before == 1


def test_the_setting_counts_for_all(gpu, monkeypatch):
    monkeypatch.setenv("SLEY_TUNE", "1")
    from sley.runtime import config

    config.reload()
    try:
        sley.compile(lambda x: x + 1)(sley.zeros(5000).to("cuda"))
        assert len(kernels(gpu)) > 2
        before = len(kernels(gpu))
        sley.zeros(5000).to("cuda") * 3  # eager ops are not tuned
        assert len(kernels(gpu)) - before <= 2
    finally:
        monkeypatch.delenv("SLEY_TUNE")
        config.reload()


def test_gradients_outside_are_tuned_with_the_function(gpu):
    w = sley.randn(40, 30).to("cuda").requires_grad_()
    compiled = sley.compile(lambda x: (x @ w).square().sum(), tune=True)
    loss = compiled(sley.randn(20, 40).to("cuda"))
    before = len(kernels(gpu))
    loss.backward()
    assert len(kernels(gpu)) - before > 4 and w.grad is not None


def test_a_processor_is_not_tuned(gpu):
    assert sley.compile(lambda x: x + 1, tune=True)(sley.ones(3)).tolist() == [2, 2, 2]
    assert not kernels(gpu)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_sums_in_order(gpu, compiled):
    x, i, u = sley.randn(9, 5), sley.randint(0, 9, (40,)), sley.randn(40, 5)
    function = (lambda x, i, u: x.index_add(0, i, u)) if not compiled else (
        sley.compile(lambda x, i, u: x.index_add(0, i, u))
    )  # fmt: skip
    placed = [t.to("cuda") for t in (x, i, u)]
    function(*placed)
    assert any(name.endswith("_updates") for name in kernels(gpu))
    before = len(kernels(gpu))
    sley.use_deterministic_algorithms(True)
    try:
        found = function(*placed)
    finally:
        sley.use_deterministic_algorithms(False)
    made = kernels(gpu)[before:]
    assert [name.rpartition("_")[2] for name in made if "scatter" in name] == [
        "order", "starts", "sums",
    ]  # fmt: skip
    np.testing.assert_allclose(
        found.cpu().numpy(), x.index_add(0, i, u).numpy(), rtol=1e-4, atol=1e-4
    )
