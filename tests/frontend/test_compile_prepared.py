"""Compiled calls keep what they make of weights alone, and never use it after a weight changed."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import sley
from sley import nn
from sley.runtime.preparation import Preparation


@pytest.fixture
def runs(monkeypatch):
    """Counts the runs of preparations."""
    count = [0]
    run = Preparation.run

    def counted(self, pointers):
        count[0] += 1
        return run(self, pointers)

    monkeypatch.setattr(Preparation, "run", counted)
    return count


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(48, 64)
        self.norm = nn.BatchNorm1d(64)
        self.second = nn.Linear(64, 32)
        self.register_buffer("mask", (sley.rand(32, 64) > 0.5).float())

    def forward(self, x):
        h = self.norm(self.first(x)).relu()
        return sley.nn.functional.linear(h, self.second.weight * self.mask, self.second.bias)


@pytest.fixture
def net():
    sley.manual_seed(0)
    made = Net().eval()
    with sley.no_grad():
        made.norm.running_var.uniform_(0.5, 2)
    return made


X = np.random.default_rng(0).standard_normal((16, 48)).astype(np.float32)


def check(compiled, net, x=X):
    """A compiled call gives what the eager one does now."""
    with sley.no_grad():
        np.testing.assert_allclose(
            compiled(sley.tensor(x)).tolist(), net(sley.tensor(x)).tolist(), rtol=1e-4, atol=1e-5
        )


def compiled_and_kept(net, runs):
    """A compiled form of `net` that has kept what it prepared."""
    compiled = sley.compile(net)
    for _ in range(3):
        check(compiled, net)
    assert runs[0] == 1
    return compiled


def by_copy(net):
    net.first.weight.copy_(sley.randn(64, 48))


def by_arithmetic(net):
    net.second.weight.mul_(2)


def by_element(net):
    net.second.weight[3, 5] = 100.0


def by_view(net):
    net.first.weight.T[3].fill_(7.0)


def by_detached(net):
    net.first.weight.detach().add_(1)


def by_data(net):
    net.first.weight.data = sley.randn(64, 48)


def by_data_in_place(net):
    net.first.weight.data.mul_(3)


def by_buffer(net):
    net.mask.fill_(1)


def by_buffer_replaced(net):
    net.mask = sley.ones(32, 64)


def by_statistics(net):
    net.norm.running_var.fill_(4)


def by_state_dict(net):
    sley.manual_seed(5)
    net.load_state_dict(Net().state_dict())


def by_parameter(net):
    net.first.weight = nn.Parameter(sley.randn(64, 48))


def by_module(net):
    net.first = nn.Linear(48, 64)


def by_swap(net):
    a, b = net.first.weight, nn.Linear(48, 64).weight
    a.data, b.data = b.data, a.data


def by_training(net):
    net.train()
    optimizer = sley.optim.SGD(net.parameters(), lr=0.5)
    with sley.enable_grad():
        net(sley.tensor(X)).square().sum().backward()
    optimizer.step()
    net.eval()


def by_compiled_training(net):
    optimizer = sley.optim.SGD(net.parameters(), lr=0.5)

    @sley.compile
    def step(x):
        loss = net(x).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    with sley.enable_grad():
        step(sley.tensor(X))


def by_program_of_another(net):
    @sley.compile
    def double(w):
        w.mul_(2)

    double(net.first.weight.detach())


CHANGES = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_missed(net, runs, change):
    compiled = compiled_and_kept(net, runs)
    for _ in range(2):
        with sley.no_grad():
            before = net(sley.tensor(X)).tolist()
            change(net)
            changed = net(sley.tensor(X)).tolist() != before
        assert changed or change is by_buffer_replaced or change is by_buffer or change in AT_ONCE
        check(compiled, net)
    settled = runs[0]
    check(compiled, net)
    assert runs[0] == settled


AT_ONCE = (by_element, by_view, by_statistics, by_state_dict)  # the second time changes nothing


def test_requires_grad_and_dtype(net, runs):
    for p in net.parameters():
        p.requires_grad_(False)
    compiled = compiled_and_kept(net, runs)
    for p in net.parameters():
        p.requires_grad_(True)
    check(compiled, net)
    loss = compiled(sley.tensor(X)).square().sum()
    loss.backward()  # with gradients nothing is kept, and they are there
    assert net.first.weight.grad is not None
    with sley.no_grad():
        net.first.weight.add_(1)
    check(compiled, net)
    net.double()
    with sley.no_grad():
        for _ in range(2):
            found = compiled(sley.tensor(X.astype(np.float64)))
            assert found.dtype == sley.float64
            want = net(sley.tensor(X.astype(np.float64)))
            np.testing.assert_allclose(found.tolist(), want.tolist(), rtol=1e-9)
            net.first.weight.mul_(0.5)


@pytest.mark.parametrize("way", ["numpy", "dlpack", "buffer", "pointer"])
def test_memory_that_others_write(net, runs, way):
    compiled = compiled_and_kept(net, runs)
    weight = net.first.weight.detach()
    if way == "numpy":
        alias = weight.numpy()
    elif way == "dlpack":
        alias = np.from_dlpack(weight)
    elif way == "buffer":
        alias = np.asarray(weight)
    else:
        weight.data_ptr()
        alias = weight.array
    for k in range(3):
        alias[...] = np.full((64, 48), 0.1 * k, np.float32)  # no version tells of it
        check(compiled, net)


def test_memory_of_others(net, runs):
    array = np.random.default_rng(1).standard_normal((64, 48)).astype(np.float32)
    net.first.weight.data = sley.from_numpy(array)
    compiled = sley.compile(net)
    for k in range(3):
        array[...] = k
        check(compiled, net)


def test_programs_share_a_weight(net, runs):
    compiled = compiled_and_kept(net, runs)
    other = sley.compile(lambda x: sley.nn.functional.linear(x, net.first.weight))
    with sley.no_grad():
        x = sley.tensor(X)
        for k in range(3):
            net.first.weight.mul_(k + 2)
            check(compiled, net)
            want = x @ net.first.weight.T
            np.testing.assert_allclose(other(x).tolist(), want.tolist(), rtol=1e-4, atol=1e-4)


def test_a_program_that_writes_its_weight():
    w = sley.randn(64, 64)

    @sley.compile
    def step(x):
        y = x @ w
        w.add_(1)
        return y

    x = sley.randn(16, 64)
    for _ in range(3):
        want = (x @ w).tolist()
        np.testing.assert_allclose(step(x).tolist(), want, rtol=1e-4, atol=1e-4)


def test_state_that_moves_on():
    """An attribute that each call replaces is no weight."""

    class Memory(nn.Module):
        def __init__(self):
            super().__init__()
            self.state = sley.zeros(64, 64)

        def forward(self, x):
            y = x @ sley.exp(self.state)
            self.state = self.state + 0.5
            return y

    module, x = Memory(), sley.ones(16, 64)
    compiled = sley.compile(module)
    with sley.no_grad():
        for k in range(4):
            np.testing.assert_allclose(compiled(x).tolist(), np.full((16, 64), 64 * np.exp(k / 2)),
                                       rtol=1e-5)  # fmt: skip


def test_sizes_change(net, runs):
    compiled = sley.compile(net)
    for rows in (1, 3, 16, 5, 64, 300, 2, 16):
        check(compiled, net, np.resize(X, (rows, 48)))
    with sley.no_grad():
        net.first.weight.mul_(2)
    for rows in (1, 16, 300):
        check(compiled, net, np.resize(X, (rows, 48)))


def test_copies_and_pickles(net, runs):
    compiled = compiled_and_kept(net, runs)
    twin = copy.deepcopy(net)
    again = sley.compile(pickle.loads(pickle.dumps(net)))
    with sley.no_grad():
        twin.first.weight.mul_(2)
        net.first.weight.mul_(3)
    check(compiled, net)
    check(sley.compile(twin), twin)
    assert not np.allclose(again(sley.tensor(X)).tolist(), compiled(sley.tensor(X)).tolist())


def test_threads(net, runs):
    """Calls beside each other, and a write between two rounds of them."""
    compiled = compiled_and_kept(net, runs)
    for _ in range(4):
        with sley.no_grad():
            net.first.weight.mul_(1.5)
            want = net(sley.tensor(X)).tolist()
        wrong = []

        def work(want=want, wrong=wrong):
            with sley.no_grad():
                for _turn in range(20):
                    found = compiled(sley.tensor(X)).tolist()
                    if not np.allclose(found, want, rtol=1e-4, atol=1e-4):
                        wrong.append(found)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
