"""Programs as users write them: on a GPU they give what they give on the processor."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
import sley.nn as nn
import sley.nn.functional as F
import sley.optim as optim

pytestmark = pytest.mark.filterwarnings("ignore::sley.runtime.cuda.executable.HostStepWarning")


def plain(function):
    return function


def batch(device, size, seed):
    rng = np.random.default_rng(seed)
    x = sley.tensor(rng.standard_normal((size, 5)).astype(np.float32), device=device)
    return x, sley.tensor(rng.integers(0, 3, size), device=device)


def gan(device, compiled):
    """Two optimizers, a graph that both gradients go through."""
    maker = nn.Sequential(nn.Linear(2, 6), nn.LeakyReLU(0.2), nn.Linear(6, 5)).to(device)
    judge = nn.Sequential(nn.Linear(5, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1)).to(device)
    first, second = optim.Adam(maker.parameters(), lr=0.01), optim.Adam(judge.parameters(), lr=0.01)
    loss = nn.BCEWithLogitsLoss()

    def step(x):
        fake = maker(sley.randn(x.shape[0], 2, device=device))
        one = sley.ones(x.shape[0], 1, device=device)
        second.zero_grad()
        judged = loss(judge(x), one) + loss(judge(fake.detach()), one * 0)
        judged.backward()
        second.step()
        first.zero_grad()
        made = loss(judge(fake), one)
        made.backward()
        first.step()
        return judged, made

    step = compiled(step)
    found = [value for seed in range(3) for value in step(batch(device, 4, seed)[0])]
    return [*found, *maker.parameters(), *judge.parameters()]


def carried(device, compiled):
    """Tied weights, padding, a hidden state that is carried over."""
    words, cell = nn.Embedding(9, 4, padding_idx=0), nn.GRU(4, 4, batch_first=True)
    model = nn.ModuleList([words, cell]).to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)

    def step(x, state):
        y, state = cell(words(x), state)
        scores = F.linear(y[:, :-1], words.weight).reshape(-1, 9)
        loss = F.cross_entropy(scores, x[:, 1:].reshape(-1), ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, state.detach()

    step, state, found = compiled(step), sley.zeros(1, 2, 4, device=device), []
    for seed in range(3):
        x = np.random.default_rng(seed).integers(0, 9, (2, 5))
        loss, state = step(sley.tensor(x, device=device), state)
        found.append(loss)
    return [*found, state, *model.parameters()]


def moved(device, compiled):
    """A model and its optimizer's state go to the device and back while they are trained."""
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step, found = compiled(step), []
    for seed, place in enumerate(["cpu", device, device, "cpu", "cpu"]):
        model.to(place)
        for state in optimizer.state.values():
            for name, value in state.items():
                state[name] = value.to(place) if isinstance(value, sley.Tensor) else value
        found.append(step(*batch(place, 4, seed)))
    return [*found, *model.parameters()]


def buffers(device, compiled):
    """State outside of a function: shifted, written through views by it and by others."""
    count = sley.zeros((), dtype=sley.int64, device=device)
    rows = sley.zeros(4, 3, device=device)

    def push(x):
        count.add_(1)
        rows[1:] = rows[:-1].clone()
        rows[0] = x
        return rows.sum(0) * count

    push = compiled(push)
    found = [push(sley.full((3,), float(k), device=device)) for k in range(3)]
    rows[1].add_(10)
    return [*found, push(rows[2]), push(rows[:, 0][:3]), count, rows]


def written(device, compiled):
    """Writes through views, at indices, by masks; gradients of what was written."""

    def work(x):
        y = x * 2
        y[1] = y[0] * 3
        y[:, 1].mul_(2)
        z = sley.zeros(6, 5, device=device)
        z[2:4] = y[:2]
        z.view(-1)[3] = y[5, 0]
        z.T[2].add_(y[:, 0])
        z[sley.tensor([4, 1], device=device), 0] = y[0, :2]
        z = z.masked_fill(z > 3, 1.0)
        return (y * z + z.exp()).sum()

    x = batch(device, 6, 0)[0].requires_grad_()
    loss = compiled(work)(x)
    loss.backward()
    return [loss, x.grad]


@pytest.mark.parametrize("compiled", [plain, sley.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("program", [gan, carried, moved, buffers, written])
def test_as_on_the_processor(program, compiled):
    results = []
    with as_cuda(SimulatedGpu()):
        for device in ("cpu", "cuda"):
            sley.manual_seed(0)
            results.append([t.detach().cpu().numpy() for t in program(device, compiled)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("compiled", [plain, sley.compile], ids=["eager", "compiled"])
def test_threads_train_beside_each_other(compiled):
    def train(device, seed):
        weight = sley.full((5, 3), 0.1 * seed, device=device, requires_grad=True)
        optimizer = optim.SGD([weight], lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(x @ weight, y)
            loss.backward()
            optimizer.step()
            return loss

        step = compiled(step)
        return [step(*batch(device, 4 + k % 2, k)).item() for k in range(6)]

    found: dict[int, list[float]] = {}
    with as_cuda(SimulatedGpu()):
        threads = [
            threading.Thread(target=lambda k=k: found.update({k: train("cuda", k)}))
            for k in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for k in range(3):
        np.testing.assert_allclose(found[k], train("cpu", k), rtol=1e-4)
