"""How many programs eager steps on a GPU compile."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
import sley.nn as nn
import sley.nn.functional as F
from sley.runtime.cuda.programs import Programs


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


@pytest.fixture
def made(monkeypatch):
    """A list that grows by one with each program."""
    made = []
    make = Programs._make
    monkeypatch.setattr(Programs, "_make", lambda *args: made.append(args[1]) or make(*args))
    return made


def counts(made: list, call, sizes) -> list[int]:
    found = []
    for size in sizes:
        before = len(made)
        call(size)
        found.append(len(made) - before)
    return found


def test_a_step_of_training_compiles_no_more_at_known_sizes(made):
    sley.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.3), nn.Linear(7, 3)
    ).to("cuda")
    optimizer = sley.optim.AdamW(model.parameters(), lr=0.1)

    def step(size):
        x, y = sley.randn(size, 5, device="cuda"), sley.randint(0, 3, (size,), device="cuda")
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    found = counts(made, step, [8, 8, 11, 11, 13, 17])
    assert found[1] == found[3] == 0
    assert found[4] <= 2 and found[5] <= 2  # the second size has made programs of all sizes


@pytest.mark.parametrize(
    "call",
    [
        lambda n: sley.randn(n, 3, device="cuda"),
        lambda n: sley.full((2, n), 1.5, device="cuda"),
        lambda n: sley.arange(n, device="cuda"),
        lambda n: sley.ones(n, 6, device="cuda").T @ sley.ones(n, 6, device="cuda"),
        lambda n: sley.ones(n, 6, device="cuda")[:, 2:5].exp(),
    ],
    ids=["drawn", "filled", "counted", "transposed", "columns"],
)
def test_programs_serve_all_sizes(made, call):
    assert sum(counts(made, call, [8, 11, 13, 17, 19])[2:]) == 0


def test_programs_of_all_sizes_give_what_the_processor_gives():
    for n in (8, 11, 1, 13, 0, 17):
        for device_of in (lambda x: x[:, 2:5].exp(), lambda x: x[::2].T * 2, lambda x: x.T @ x):
            x = sley.arange(6.0 * n).reshape(n, 6) / 50
            found = device_of(x.to("cuda")).cpu()
            np.testing.assert_allclose(found.numpy(), device_of(x).numpy(), rtol=1e-5)
    sley.manual_seed(0)
    drawn = [sley.randn(n, 3, device="cuda").cpu() for n in (4, 5, 0, 6)]
    sley.manual_seed(0)
    for found, n in zip(drawn, (4, 5, 0, 6), strict=True):
        np.testing.assert_allclose(found.numpy(), sley.randn(n, 3).numpy(), rtol=1e-5)
