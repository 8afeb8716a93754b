"""Kernels of a program and of its preparation are compiled together, the long ones first."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import sley
from sley.runtime import build


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of kernels in the order in which their compilation began, one at a time."""
    names: list[str] = []
    lock, compiled = threading.Lock(), build._compile_kernel

    def note(key, node, target, emit):
        with lock:
            names.append(node.attrs["kernel"].name)
        return compiled(key, node, target, emit)

    monkeypatch.setattr(build, "_compile_kernel", note)
    monkeypatch.setattr(build, "_kept", {})
    return names


def test_products_begin_before_loops_and_preparations_beside_both(begun, monkeypatch):
    batches: list[set[str]] = []
    compile_all = build._compile_kernels

    def note(distinct, target, emit):
        batches.append({node.attrs["kernel"].name for node in distinct.values()})
        return compile_all(distinct, target, emit)

    monkeypatch.setattr(build, "_compile_kernels", note)
    monkeypatch.setattr("sley.runtime.compile.entry_of", lambda *_: None)
    weight = sley.tensor(np.random.default_rng(0).standard_normal((96, 128), np.float32))
    x = sley.tensor(np.random.default_rng(1).standard_normal((40, 96), np.float32))

    function = sley.compile(lambda x: (x @ weight).cumsum(0))
    np.testing.assert_allclose(
        function(x).numpy(), (x.numpy() @ weight.numpy()).cumsum(0), rtol=2e-4, atol=2e-4
    )

    (program,) = function.programs
    assert program.executable.preparation is not None, "the weight's panels"
    assert len(batches) == 1 and len(batches[0]) >= 2
    assert begun[0].startswith("contract")
    assert len(begun) == len(set(begun))


def test_a_kernel_that_the_program_and_its_preparation_share_is_one(begun, monkeypatch):
    monkeypatch.setattr("sley.runtime.compile.entry_of", lambda *_: None)
    weights = [
        sley.tensor(np.random.default_rng(k).standard_normal((64, 64), np.float32)) for k in (0, 1)
    ]
    x = sley.tensor(np.random.default_rng(2).standard_normal((32, 64), np.float32))
    function = sley.compile(lambda x: (x @ weights[0]) @ weights[1])
    want = x.numpy() @ weights[0].numpy() @ weights[1].numpy()
    np.testing.assert_allclose(function(x).numpy(), want, rtol=1e-3, atol=1e-3)
    assert len(begun) <= 3
