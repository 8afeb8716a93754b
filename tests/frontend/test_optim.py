"""Optimizers against updates written by hand in numpy, groups, saving, schedules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from recording import record, state

import sley
import sley.nn as nn
from sley import ArgumentError, LoadError, optim

START = np.array([[1.0, -2.0], [0.5, 3.0]], np.float64)


def _gradient(p):
    return 2 * p + np.cos(p)


def _loss(p):
    return (p * p + p.sin()).sum()


def _sgd(p, g, s, t, lr, momentum=0.0, dampening=0.0, decay=0.0, nesterov=False):
    g = g + decay * p
    if momentum:
        s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return p - lr * g


def _adam(p, g, s, t, lr, decay=0.0, decoupled=False, amsgrad=False, b1=0.9, b2=0.99, eps=1e-8):
    if decoupled:
        p = p * (1 - lr * decay)
    else:
        g = g + decay * p
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    s["top"] = np.maximum(s.get("top", 0), s["v"])
    v = s["top"] if amsgrad else s["v"]
    root = np.sqrt(v) / math.sqrt(1 - b2**t) + eps
    return p - lr / (1 - b1**t) * s["m"] / root


def _rmsprop(p, g, s, t, lr, alpha=0.9, momentum=0.0, centered=False, eps=1e-8):
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    v = s["v"]
    if centered:
        s["c"] = alpha * s.get("c", 0) + (1 - alpha) * g
        v = v - s["c"] ** 2
    s["b"] = momentum * s.get("b", 0) + g / (np.sqrt(v) + eps)
    return p - lr * s["b"]


def _adagrad(p, g, s, t, lr, slow=0.0, start=0.0, eps=1e-10):
    s["v"] = s.get("v", start) + g * g
    return p - lr / (1 + (t - 1) * slow) * g / (np.sqrt(s["v"]) + eps)


def _adadelta(p, g, s, t, lr, rho=0.9, eps=1e-6):
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
    change = np.sqrt(s.get("d", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["d"] = rho * s.get("d", 0) + (1 - rho) * change**2
    return p - lr * change


def _adamax(p, g, s, t, lr, b1=0.9, b2=0.99, eps=1e-8):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["u"] = np.maximum(b2 * s.get("u", 0), abs(g) + eps)
    return p - lr / (1 - b1**t) * s["m"] / s["u"]


def _nadam(p, g, s, t, lr, b1=0.9, b2=0.99, eps=1e-8, psi=4e-3):
    mu, after = (b1 * (1 - 0.5 * 0.96 ** (k * psi)) for k in (t, t + 1))
    s["mu"] = s.get("mu", 1) * mu
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    root = np.sqrt(s["v"] / (1 - b2**t)) + eps
    return p - lr * ((1 - mu) / (1 - s["mu"]) * g + after / (1 - s["mu"] * after) * s["m"]) / root


def _radam(p, g, s, t, lr, b1=0.9, b2=0.8, eps=1e-8):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    most = 2 / (1 - b2) - 1
    rho = most - 2 * t * b2**t / (1 - b2**t)
    mean = s["m"] / (1 - b1**t)
    if rho <= 5:
        return p - lr * mean
    r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
    return p - lr * mean * r * math.sqrt(1 - b2**t) / (np.sqrt(s["v"]) + eps)


def _rprop(p, g, s, t, lr):
    size, before = s.get("s", lr), s.get("g", 0 * g)
    turn = np.sign(g * before)
    s["s"] = np.clip(size * np.where(turn > 0, 1.2, np.where(turn < 0, 0.5, 1)), 1e-6, 50)
    s["g"] = np.where(turn < 0, 0, g)
    return p - np.sign(s["g"]) * s["s"]


def _asgd(p, g, s, t, lr, lambd=0.1, alpha=0.75, t0=2.0, decay=0.0):
    g = g + decay * p
    eta, mu = s.get("eta", lr), s.get("mu", 1.0)
    p = p * (1 - lambd * eta) - eta * g
    s["ax"] = s.get("ax", 0) + (p - s.get("ax", 0)) * mu
    s["eta"], s["mu"] = lr / (1 + lambd * lr * t) ** alpha, 1 / max(1, t - t0)
    return p


def _adafactor(p, g, s, t, lr, decay=0.0, eps=(2.0**-52, 1e-3), d=1.0):
    keep, rate = t**-0.8, min(lr, 1 / math.sqrt(t))
    size = max(eps[1], math.sqrt((p * p).mean())) * rate
    p = p * (1 - lr * decay)
    s["r"] = s.get("r", 0) * (1 - keep) + (g * g).mean(-1, keepdims=True) * keep
    s["c"] = s.get("c", 0) * (1 - keep) + (g * g).mean(-2, keepdims=True) * keep
    u = g / np.sqrt(s["r"] * s["c"] / s["r"].mean())
    return p - size / max(1, math.sqrt((u * u).mean()) / d) * u


BETAS = {"betas": (0.9, 0.99)}
CASES = [
    (optim.SGD, {"lr": 0.1}, _sgd, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, _sgd,
     {"lr": 0.1, "momentum": 0.9, "decay": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}, _sgd,
     {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, _sgd,
     {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (optim.Adam, {"lr": 0.1, **BETAS}, _adam, {"lr": 0.1}),
    (optim.Adam, {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True, **BETAS}, _adam,
     {"lr": 0.1, "decay": 0.2, "amsgrad": True}),
    (optim.AdamW, {"lr": 0.1, "weight_decay": 0.2, **BETAS}, _adam,
     {"lr": 0.1, "decay": 0.2, "decoupled": True}),
    (optim.RMSprop, {"lr": 0.1, "alpha": 0.9}, _rmsprop, {"lr": 0.1}),
    (optim.RMSprop, {"lr": 0.1, "alpha": 0.9, "momentum": 0.5, "centered": True}, _rmsprop,
     {"lr": 0.1, "momentum": 0.5, "centered": True}),
    (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.5}, _adagrad,
     {"lr": 0.1, "slow": 0.2, "start": 0.5}),
    (optim.Adadelta, {"lr": 1.0}, _adadelta, {"lr": 1.0}),
    (optim.Adamax, {"lr": 0.1, **BETAS}, _adamax, {"lr": 0.1}),
    (optim.NAdam, {"lr": 0.1, **BETAS}, _nadam, {"lr": 0.1}),
    (optim.RAdam, {"lr": 0.1, "betas": (0.9, 0.8)}, _radam, {"lr": 0.1}),
    (optim.Rprop, {"lr": 0.1}, _rprop, {"lr": 0.1}),
    (optim.ASGD, {"lr": 0.1, "lambd": 0.1, "t0": 2, "weight_decay": 0.2}, _asgd,
     {"lr": 0.1, "decay": 0.2}),
    (optim.Adafactor, {"lr": 0.1}, _adafactor, {"lr": 0.1}),
    (optim.Adafactor, {"lr": 0.1, "weight_decay": 0.2, "d": 2.0, "eps": (1e-9, 5.0)}, _adafactor,
     {"lr": 0.1, "decay": 0.2, "d": 2.0, "eps": (1e-9, 5.0)}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].__name__}-{len(c[1])}")
def test_steps_are_the_ones_written_by_hand(case):
    kind, given, by_hand, numbers = case
    parameter = nn.Parameter(sley.tensor(START))
    optimizer = kind([parameter], **given)
    expected, memory = START.copy(), {}
    for t in range(1, 9):
        optimizer.zero_grad()
        _loss(parameter).backward()
        optimizer.step()
        expected = by_hand(expected, _gradient(expected), memory, t, **numbers)
        np.testing.assert_allclose(parameter.detach().array, expected, rtol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].__name__}-{len(c[1])}")
def test_a_recorded_step_is_the_first_and_every_later_one(case):
    kind, given, _, _ = case
    eager, traced = (nn.Parameter(sley.tensor(START.astype(np.float32))) for _ in range(2))
    optimizers = kind([eager], **given), kind([traced], **given)

    def step(parameter, optimizer):
        optimizer.zero_grad()
        _loss(parameter).backward()
        optimizer.step()

    recorded = record(lambda: step(traced, optimizers[1]))
    for _ in range(3):
        step(eager, optimizers[0])
        found = recorded.run(state(recorded))
        for capture, array in zip(recorded.trace.captures.values(), found, strict=False):
            capture.storage.array[...] = array
        np.testing.assert_allclose(traced.detach().array, eager.detach().array, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].__name__}-{len(c[1])}")
def test_compiled_steps_follow_a_changing_rate(case):
    kind, given, _, _ = case
    values = []
    for compiled in (False, True):
        parameter = nn.Parameter(sley.tensor(START.astype(np.float32)))
        optimizer = kind([parameter], **given)

        def step(parameter=parameter, optimizer=optimizer):
            optimizer.zero_grad()
            _loss(parameter).backward()
            optimizer.step()

        function = sley.compile(step) if compiled else step
        for _ in range(4):
            function()
            optimizer.param_groups[0]["lr"] *= 0.5
        values.append(parameter.detach().array)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5)


def test_maximize_and_halves():
    p = nn.Parameter(sley.tensor([1.0], dtype=sley.bfloat16))
    optimizer = optim.SGD([p], lr=0.5, maximize=True)
    (p * 2).sum().backward()
    optimizer.step()
    assert p.item() == 2.0 and p.dtype is sley.bfloat16


def test_numbers_are_written_into_tensors():
    p = nn.Parameter(sley.ones(1))
    optimizer = optim.SGD([p], lr=0.5)
    (group,) = optimizer.param_groups
    tensor, epoch = group.number("lr"), sley.frontend.epoch.epoch.count
    group["lr"] = 0.25
    assert group["lr"] == 0.25 and tensor.item() == 0.25 and group.number("lr") is tensor
    group["lr"] *= 2
    assert group["lr"] == 0.5 and sley.frontend.epoch.epoch.count == epoch
    recorded = record(lambda: (p.sum().backward(), optimizer.step())[0])
    assert tensor.storage in recorded.trace.captures
    lr = sley.tensor(0.125)
    assert optim.SGD([p], lr=lr).param_groups[0].number("lr") is lr


def test_a_number_that_leaves_zero_changes_the_program():
    p = nn.Parameter(sley.ones(1))
    optimizer = optim.SGD([p], lr=0.5)
    count = sley.frontend.epoch.epoch.count
    optimizer.param_groups[0]["momentum"] = 0.9
    assert sley.frontend.epoch.epoch.count > count
    assert "momentum_buffer" in optimizer.state[p]
    for _ in range(2):
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()
    assert p.item() == pytest.approx(1 - 0.5 - 0.5 * 1.9)


def test_parameters_without_gradient_rest():
    a, b = (nn.Parameter(sley.ones(1)) for _ in range(2))
    optimizer = optim.Adam([a, b], lr=0.1)
    shared = optimizer.state[a]["step"]
    assert shared is optimizer.state[b]["step"]
    for k in range(4):
        optimizer.zero_grad()
        (a + b if k != 1 else a * 1).sum().backward()
        optimizer.step()
    assert optimizer.state[a]["step"].item() == 4 and optimizer.state[b]["step"].item() == 3
    alone = nn.Parameter(sley.ones(1))
    other = optim.Adam([alone], lr=0.1)
    for _ in range(3):
        other.zero_grad()
        alone.sum().backward()
        other.step()
    assert b.item() == pytest.approx(alone.item(), rel=1e-6)


def test_groups():
    a, b = (nn.Parameter(sley.ones(1)) for _ in range(2))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    (a + b).sum().backward()
    optimizer.step()
    assert (a.item(), b.item()) == pytest.approx((0.9, 0.5))
    optimizer.add_param_group({"params": [nn.Parameter(sley.ones(1))], "momentum": 0.9})
    assert len(optimizer.param_groups) == 3 and "SGD (" in repr(optimizer)
    assert set(optimizer.param_groups[0]) >= {"params", "lr", "momentum", "nesterov"}
    with pytest.raises(ArgumentError, match="twice"):
        optimizer.add_param_group({"params": [a]})
    with pytest.raises(ArgumentError):
        optim.SGD([], lr=0.1)
    with pytest.raises(ArgumentError, match="lr"):
        optim.SGD([a], lr=-1.0)
    with pytest.raises(ArgumentError):
        optim.SGD([a], nesterov=True)
    with pytest.raises(ArgumentError):
        optim.Adam([a], betas=(1.0, 0.9))
    with pytest.raises(sley.DTypeError):
        optim.SGD([1.0])


def test_closures_and_zero_grad():
    p = nn.Parameter(sley.ones(1))
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1 and p.item() == 0
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("kind", [optim.Adam, optim.SGD, optim.RMSprop, optim.Adagrad])
def test_saved_state_goes_on(kind):
    given = {"momentum": 0.9} if kind in (optim.SGD, optim.RMSprop) else {}
    one, two = (nn.Parameter(sley.tensor(START)) for _ in range(2))
    first, second = kind([one], lr=0.1, **given), kind([two], lr=0.3, **given)

    def step(p, optimizer):
        optimizer.zero_grad()
        _loss(p).backward()
        optimizer.step()

    for _ in range(3):
        step(one, first)
    saved = first.state_dict()
    assert saved["param_groups"][0]["params"] == [0] and set(saved["state"]) == {0}
    with sley.no_grad():
        two.copy_(one)
    second.load_state_dict(saved)
    assert second.param_groups[0]["lr"] == 0.1
    for _ in range(2):
        step(one, first)
        step(two, second)
    np.testing.assert_array_equal(one.detach().array, two.detach().array)
    with pytest.raises(LoadError, match="size of optimizer's group"):
        kind([two, nn.Parameter(sley.ones(1))], lr=0.1, **given).load_state_dict(saved)


# Schedules


def _rates(make, steps, lr=1.0):
    optimizer = optim.SGD([nn.Parameter(sley.ones(1))], lr=lr, momentum=0.5)
    scheduler = make(optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == rates[-1:]
    return rates


S = optim.lr_scheduler
SCHEDULES = {
    "StepLR": (lambda o: S.StepLR(o, 2, 0.5), lambda t: 0.5 ** (t // 2)),
    "MultiStepLR": (lambda o: S.MultiStepLR(o, [2, 5], 0.1),
                    lambda t: 0.1 ** ((t >= 2) + (t >= 5))),
    "ExponentialLR": (lambda o: S.ExponentialLR(o, 0.9), lambda t: 0.9**t),
    "ConstantLR": (lambda o: S.ConstantLR(o, 0.5, 3), lambda t: 0.5 if t < 3 else 1.0),
    "LinearLR": (lambda o: S.LinearLR(o, 0.5, 1.0, 4), lambda t: 0.5 + 0.5 * min(t, 4) / 4),
    "PolynomialLR": (lambda o: S.PolynomialLR(o, 4, 2.0), lambda t: (1 - min(t, 4) / 4) ** 2),
    "CosineAnnealingLR": (lambda o: S.CosineAnnealingLR(o, 5, 0.1),
                          lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / 5)) / 2),
    "CosineAnnealingWarmRestarts": (
        lambda o: S.CosineAnnealingWarmRestarts(o, 2, 2),
        lambda t: (1 + math.cos(math.pi * ((t % 2) / 2 if t < 2 else (t - 2) / 4 if t < 6
                                           else (t - 6) / 8))) / 2),
    "LambdaLR": (lambda o: S.LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 1 / (1 + t)),
    "MultiplicativeLR": (lambda o: S.MultiplicativeLR(o, lambda t: 0.8), lambda t: 0.8**t),
    "CyclicLR": (lambda o: S.CyclicLR(o, 0.5, 1.0, 2),
                 lambda t: 0.5 + 0.5 * (t % 4 if t % 4 <= 2 else 4 - t % 4) / 2),
    "SequentialLR": (lambda o: S.SequentialLR(
        o, [S.ConstantLR(o, 0.1, 100), S.ExponentialLR(o, 0.5)], [3]),
        lambda t: 0.1 if t < 3 else 0.5 ** (t - 3)),
    "ChainedScheduler": (lambda o: S.ChainedScheduler([S.ExponentialLR(o, 0.9), S.StepLR(o, 3)]),
                         lambda t: 0.9**t * 0.1 ** (t // 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_follow_their_formulas(name):
    make, formula = SCHEDULES[name]
    np.testing.assert_allclose(_rates(make, 8), [formula(t) for t in range(9)], atol=1e-12)


def test_one_cycle():
    rates = _rates(lambda o: S.OneCycleLR(o, 1.0, total_steps=10), 9)
    assert rates[0] == pytest.approx(0.04) and max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 2 and rates[-1] == pytest.approx(0.04 / 1e4)
    optimizer = optim.SGD([nn.Parameter(sley.ones(1))], lr=1.0, momentum=0.5)
    S.OneCycleLR(optimizer, 1.0, total_steps=10)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.95)


def test_reduce_on_plateau():
    optimizer = optim.SGD([nn.Parameter(sley.ones(1))], lr=1.0)
    scheduler = S.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=0.3)
    rates = []
    for value in (1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4):
        scheduler.step(sley.tensor(value))
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1, 1, 1, 0.5, 0.5, 0.3, 0.3]


def test_schedules_are_saved():
    optimizer = optim.SGD([nn.Parameter(sley.ones(1))], lr=1.0)
    one = S.StepLR(optimizer, 2)
    one.step()
    saved = one.state_dict()
    assert saved["last_epoch"] == 1 and "optimizer" not in saved
    two = S.StepLR(optim.SGD([nn.Parameter(sley.ones(1))], lr=1.0), 5)
    two.load_state_dict(saved)
    assert two.step_size == 2 and two.last_epoch == 1
