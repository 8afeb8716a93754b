"""LBFGS and averages of weights."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

import sley
import sley.nn as nn
from sley import ArgumentError, UnsupportedError
from sley.optim import LBFGS, swa_utils


def _rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def _closure(optimizer, function, x):
    def closure():
        optimizer.zero_grad()
        loss = function(x)
        loss.backward()
        return loss

    return closure


def test_lbfgs_finds_the_minimum():
    x = sley.tensor([-1.2, 1.0], dtype=sley.float64, requires_grad=True)
    optimizer = LBFGS([x], line_search_fn="strong_wolfe", max_iter=100)
    first = optimizer.step(_closure(optimizer, _rosenbrock, x))
    assert first.item() == pytest.approx(_rosenbrock([-1.2, 1.0]))
    found = optimize.minimize(_rosenbrock, [-1.2, 1.0], method="L-BFGS-B").x
    np.testing.assert_allclose(x.detach().numpy(), found, atol=1e-4)
    memory = optimizer.state_dict()["state"][0]
    assert memory["func_evals"] < 80 and memory["n_iter"] < 60


def _quadratic(seed=0):
    random = np.random.default_rng(seed)
    root = random.standard_normal((4, 4))
    matrix, b = root @ root.T + np.eye(4), random.standard_normal(4)
    a, c = sley.tensor(matrix), sley.tensor(b)
    return (lambda x: 0.5 * (x @ (a @ x)) - c @ x), np.linalg.solve(matrix, b)


def test_lbfgs_of_several_parameters_and_without_line_search():
    function, solution = _quadratic()
    parts = [sley.zeros(1, 3, dtype=sley.float64, requires_grad=True),
             sley.zeros(1, dtype=sley.float64, requires_grad=True)]  # fmt: skip

    def loss(parts):
        return function(sley.cat([parts[0][0], parts[1]]))

    optimizer = LBFGS(parts, lr=0.5, max_iter=10)
    closure = _closure(optimizer, loss, parts)
    losses = [optimizer.step(closure).item() for _ in range(10)]
    assert losses == sorted(losses, reverse=True)
    found = np.concatenate([p.detach().numpy().reshape(-1) for p in parts])
    np.testing.assert_allclose(found, solution, atol=1e-4)


def test_lbfgs_goes_on_from_its_state():
    function, _ = _quadratic(1)

    def run(saved_after):
        x = sley.zeros(4, dtype=sley.float64, requires_grad=True)
        optimizer = LBFGS([x], lr=0.3, max_iter=2, history_size=3)
        for turn in range(4):
            if turn == saved_after:
                state, optimizer = optimizer.state_dict(), LBFGS([x])
                optimizer.load_state_dict(state)
            optimizer.step(_closure(optimizer, function, x))
        return x.detach().numpy()

    np.testing.assert_array_equal(run(2), run(None))


def test_lbfgs_refuses():
    x = sley.zeros(2, requires_grad=True)
    with pytest.raises(ArgumentError, match="strong_wolfe"):
        LBFGS([x], line_search_fn="armijo")
    with pytest.raises(ArgumentError, match="one group"):
        LBFGS([{"params": [x]}, {"params": [sley.zeros(1, requires_grad=True)]}])
    optimizer = LBFGS([x])
    with pytest.raises(ArgumentError, match="closure"):
        optimizer.step()

    @sley.compile
    def step(y):
        return optimizer.step(_closure(optimizer, lambda x: (x * y).sum(), x))

    with pytest.raises(UnsupportedError, match="outside"):
        step(sley.ones(2))


AVERAGES = {
    "mean": ({}, lambda mean, new, count: mean + (new - mean) / (count + 1)),
    "ema": ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)},
            lambda mean, new, count: new if count == 0 else 0.9 * mean + 0.1 * new),
    "ema, one by one": ({"avg_fn": swa_utils.get_ema_avg_fn(0.8)},
                        lambda mean, new, count: new if count == 0 else 0.8 * mean + 0.2 * new),
}  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_models(name, compiled):
    options, average = AVERAGES[name]
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    averaged = swa_utils.AveragedModel(model, **options)
    assert list(averaged.state_dict())[:2] == ["n_averaged", "module.0.weight"]
    update = sley.compile(averaged.update_parameters) if compiled else averaged.update_parameters
    expected = model[0].weight.detach().numpy().copy()
    for count in range(4):
        with sley.no_grad():
            model[0].weight.add_(0.5 * (count + 1))
            model[1].running_mean.add_(1.0)
        expected = average(expected, model[0].weight.detach().numpy().copy(), count)
        update(model)
        found = averaged.module[0].weight.detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert averaged.n_averaged.item() == 4
    assert sley.equal(averaged.module[1].running_mean, model[1].running_mean)
    x = sley.ones(2, 2)
    assert sley.equal(averaged(x), averaged.module(x))


def test_averages_refuse():
    model = nn.Linear(2, 2)
    with pytest.raises(ArgumentError, match="both"):
        swa_utils.AveragedModel(
            model, avg_fn=swa_utils.get_swa_avg_fn(),
            multi_avg_fn=swa_utils.get_swa_multi_avg_fn(),
        )  # fmt: skip
    with pytest.raises(ArgumentError, match="decay"):
        swa_utils.get_ema_multi_avg_fn(1.5)


def test_statistics_over_a_loader():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, momentum=0.3)).eval()
    random = np.random.default_rng(0)
    batches = [sley.tensor(random.standard_normal((4, 2)).astype(np.float32)) for _ in range(3)]
    swa_utils.update_bn([(batch, None) for batch in batches], model)
    hidden = [model[0](batch).detach().numpy() for batch in batches]
    mean = np.mean([h.mean(0) for h in hidden], 0)
    np.testing.assert_allclose(model[1].running_mean.numpy(), mean, rtol=1e-4, atol=1e-6)
    assert model[1].momentum == 0.3 and not model.training


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_schedule_to_the_final_rate(strategy):
    optimizer = sley.optim.SGD([sley.zeros(1, requires_grad=True)], 0.5)
    schedule = swa_utils.SWALR(optimizer, 0.1, 4, strategy)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(6):
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    share = np.minimum(np.arange(7) / 4, 1)
    share = share if strategy == "linear" else (1 - np.cos(np.pi * share)) / 2
    np.testing.assert_allclose(rates, 0.5 + (0.1 - 0.5) * share, rtol=1e-6)


def test_momentum_cycles_against_the_rate():
    optimizer = sley.optim.SGD([sley.zeros(1, requires_grad=True)], 0.1, momentum=0.9)
    schedule = sley.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.5, 2)
    found = []
    for _ in range(5):
        group = optimizer.param_groups[0]
        found.append((round(group["lr"], 6), round(group["momentum"], 6)))
        schedule.step()
    assert found == [(0.1, 0.9), (0.3, 0.85), (0.5, 0.8), (0.3, 0.85), (0.1, 0.9)]


def test_a_scheduler_of_the_users() -> None:
    """Derived from the base under its former name, by `base_lrs` and `last_epoch`."""

    class Warm(sley.optim.lr_scheduler._LRScheduler):  # type: ignore[name-defined, misc]
        def __init__(self, optimizer, steps, last_epoch=-1):
            self.steps = steps
            super().__init__(optimizer, last_epoch)

        def get_lr(self):
            return [rate * min(1, (self.last_epoch + 1) / self.steps) for rate in self.base_lrs]

    optimizer = sley.optim.SGD([sley.ones(1, requires_grad=True)], lr=0.3)
    scheduler = Warm(optimizer, 3)
    rates = []
    for _ in range(3):
        rates += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.1, 0.2, 0.3])
