"""State that an optimizer of the user's makes at its first step, in compiled functions."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import sley


class Lion(sley.optim.Optimizer):
    """Sign of momentum, with state made when it is needed."""

    def __init__(self, params, lr=1e-2):
        super().__init__(params, {"lr": lr})

    @sley.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state["average"] = sley.zeros_like(p)
                average = state["average"]
                p.add_((average * 0.9 + p.grad * 0.1).sign(), alpha=-group["lr"])
                average.mul_(0.99).add_(p.grad, alpha=0.01)


class Counting(Lion):
    def step(self, closure=None):
        super().step()
        for p in self.param_groups[0]["params"]:
            self.state[p].setdefault("count", 0)
            self.state[p]["count"] += 1


def model(kind=Lion):
    sley.manual_seed(0)
    layer = sley.nn.Linear(3, 2).double()
    optimizer = kind(layer.parameters())

    def step(x):
        optimizer.zero_grad()
        loss = (layer(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return layer, optimizer, step


def batch():
    return sley.tensor(np.random.default_rng(0).standard_normal((4, 3)))


def test_the_first_call_runs_as_python_and_the_others_are_compiled():
    plain, step = model()[2], sley.compile(model()[2])
    expected = [float(plain(batch())) for _ in range(4)]
    found = [float(step(batch()))]
    assert step.programs == []
    found += [float(step(batch())) for _ in range(3)]
    assert len(step.programs) == 1
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_the_recording_put_into_a_list_is_taken_out_again():
    seen = []
    plain = model()[2]

    @sley.compile
    def step(x):
        seen.append(len(seen))
        return plain(x)

    step(batch())
    assert seen == [0]
    with pytest.raises(sley.TraceError, match="seen changed while the function was recorded"):
        step(batch())
    assert seen == [0]


def test_a_number_that_each_step_replaces_is_refused():
    _, optimizer, plain = model(Counting)
    for _ in range(4):
        plain(batch())
    assert [s["count"] for s in optimizer.state.values()] == [4, 4]

    layer, optimizer, plain = model(Counting)
    step = sley.compile(plain)
    step(batch())
    before = layer.weight.tolist()
    with pytest.raises(sley.TraceError, match="'count' of an optimizer becomes another Python int"):
        step(batch())
    assert layer.weight.tolist() == before
    assert [s["count"] for s in optimizer.state.values()] == [1, 1]


@pytest.mark.parametrize("kind", [sley.optim.Adam, sley.optim.NAdam, sley.optim.Adamax])
def test_a_parameter_without_a_gradient_counts_its_own_steps(kind) -> None:
    """A layer that only some steps use, and one that none does."""
    found = []
    for compiled in (False, True):
        sley.manual_seed(0)
        net = sley.nn.ModuleList([sley.nn.Linear(2, 2).double() for _ in range(3)])
        optimizer = kind(net.parameters(), lr=0.1)

        def step(x: sley.Tensor, both: bool) -> sley.Tensor:
            optimizer.zero_grad()  # noqa: B023
            y = net[0](x)  # noqa: B023
            y = y + net[1](x) if both else y  # noqa: B023
            loss = (y * y).sum()
            loss.backward()
            optimizer.step()  # noqa: B023
            return loss

        call = sley.compile(step) if compiled else step
        x = sley.tensor(np.arange(4.0).reshape(2, 2))
        found.append([call(x, both).item() for both in (False, False, True, True, False, True)])
        if compiled:
            assert len(call.programs) <= 3
        counts = [optimizer.state[layer.weight]["step"].item() for layer in net]
        assert counts == [6, 3, 0]
    np.testing.assert_allclose(*found, rtol=1e-12)


class Decaying(sley.optim.Optimizer):
    """Branches on its numbers, as many optimizers do."""

    def __init__(self, params, lr=0.1, weight_decay=0.0, betas=(0.9, 0.0)):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas})

    @sley.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            decay = group["weight_decay"]
            for p in group["params"]:
                change = p.grad
                if decay != 0:
                    change = change + decay * p
                if decay > 0.0:
                    change = change * 2
                if group["betas"][1]:
                    change = change * group["betas"][1]
                if not decay:
                    change = change * 3
                p.add_(change, alpha=-group["lr"])


def test_a_step_may_branch_on_whether_a_number_is_zero() -> None:
    found = []
    for compiled in (False, True):
        _, optimizer, step = model(Decaying)
        call = sley.compile(step) if compiled else step
        group = optimizer.param_groups[0]
        losses = []
        for i, (decay, beta) in enumerate([(0, 0), (0.1, 0), (0.2, 0), (-0.1, 0), (0, 0.5)]):
            group["weight_decay"], group["betas"], group["lr"] = decay, (0.9, beta), 0.1 / (i + 1)
            losses.append(call(sley.ones(2, 3, dtype=sley.float64)).item())
        found.append(losses)
        if compiled:
            assert len(call.programs) == 4  # (0.2, 0) runs what was made for (0.1, 0)
    np.testing.assert_allclose(*found, rtol=1e-12)
    assert copy.deepcopy(optimizer).param_groups[0]["betas"] == (0.9, 0.5)
