"""Mixed precision and optimizers on a GPU."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
from sley import amp, nn, optim
from sley.optim import lr_scheduler, swa_utils

CPU, CUDA = sley.device("cpu"), sley.device("cuda", 0)


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


def model_on(device: str) -> nn.Module:
    sley.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).to(device)


def batch(device: str) -> tuple[sley.Tensor, sley.Tensor]:
    x = sley.arange(20.0).reshape(5, 4) / 10
    return x.to(device), x[:, :2].sin().to(device)


# autocast


def test_autocast_is_of_one_kind_of_device():
    here, there = model_on("cpu"), model_on("cuda")
    x, y = batch("cpu")[0], batch("cuda")[0]
    with amp.autocast("cuda"):
        assert there(y).dtype is sley.float16 and here(x).dtype is sley.float32
        assert amp.is_autocast_enabled("cuda") and not amp.is_autocast_enabled("cpu")
        with amp.autocast("cpu"):
            assert here(x).dtype is sley.bfloat16 and there(y).dtype is sley.float16
        with amp.autocast("cuda", dtype=sley.bfloat16):
            assert there(y).dtype is sley.bfloat16 and there(y).softmax(-1).dtype is sley.float32
        with amp.autocast("cuda", enabled=False):
            assert there(y).dtype is sley.float32
        assert amp.get_autocast_dtype("cuda") is sley.float16
    assert not amp.is_autocast_enabled("cuda") and there(y).dtype is sley.float32
    forward = sley.compile(amp.autocast("cuda")(lambda y: there(y)))
    assert forward(y).dtype is sley.float16 and amp.is_autocast_available("cuda")


def scaled(kind: str, compiled: bool, **options) -> tuple[list[float], amp.GradScaler]:
    model, (x, y) = model_on(kind), batch(kind)
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    scaler = amp.GradScaler(init_scale=2.0**10, growth_interval=2, **options)

    def step(x, y):
        optimizer.zero_grad()
        with amp.autocast(kind, dtype=sley.float16):
            loss = nn.functional.mse_loss(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    if compiled:
        step = sley.compile(step)
    losses = [step(x, y).item() for _ in range(4)]
    assert scaler.get_scale() == 4096
    before = model[0].weight.detach().clone()
    step(x * float("inf"), y)  # gradients overflow: the step is left out
    assert sley.equal(model[0].weight, before) and scaler.get_scale() == 2048
    losses.append(step(x, y).item())
    return losses, scaler


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("options", [{}, {"device": "cuda"}])
def test_a_scaler_goes_where_the_losses_are(compiled, options):
    expected, _ = scaled("cpu", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses, scaler = scaled("cuda", compiled, **options)
    np.testing.assert_allclose(losses, expected, rtol=2e-3)
    assert scaler._scale.device == scaler._growth_tracker.device == CUDA
    other = amp.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == scaler.get_scale()


# Optimizers


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.05, amsgrad=True, foreach=True, capturable=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.05, fused=True),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "ASGD": optim.ASGD,
    "Adadelta": optim.Adadelta,
    "Adafactor": optim.Adafactor,
    "Adagrad": optim.Adagrad,
    "Adamax": optim.Adamax,
    "NAdam": optim.NAdam,
    "RAdam": optim.RAdam,
    "Rprop": optim.Rprop,
}


def trained(device: str, make, compiled: bool = False, steps: int = 2) -> list[float]:
    model, (x, y) = model_on(device), batch(device)
    optimizer = make(model.parameters())
    schedule = lr_scheduler.CosineAnnealingLR(optimizer, 4)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    losses = []
    for _ in range(steps):
        losses.append(step(x, y).item())
        schedule.step()
    for state in optimizer.state.values():
        assert all(t.device.type == device for t in state.values() if t.ndim)
    return losses


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    make = OPTIMIZERS[name]
    expected = trained("cpu", make)
    np.testing.assert_allclose(trained("cuda", make), expected, rtol=1e-4)
    np.testing.assert_allclose(trained("cuda", make, compiled=True), expected, rtol=1e-4)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs(search):
    def minimised(device):
        model, (x, y) = model_on(device), batch(device)
        options = {"lr": 0.5, "max_iter": 4, "line_search_fn": search}
        optimizer = optim.LBFGS(model.parameters(), **options)

        def loss():
            optimizer.zero_grad()
            found = nn.functional.mse_loss(model(x), y)
            found.backward()
            return found

        losses = [optimizer.step(loss).item() for _ in range(2)]
        again = optim.LBFGS(model.parameters(), **options)
        again.load_state_dict(optimizer.state_dict())
        return [*losses, again.step(loss).item()]

    np.testing.assert_allclose(minimised("cuda"), minimised("cpu"), rtol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
def test_averages(compiled):
    model = model_on("cuda")
    averaged = swa_utils.AveragedModel(model)
    moving = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5))

    def update():
        averaged.update_parameters(model)
        moving.update_parameters(model)

    update = sley.compile(update) if compiled else update
    first = model[0].bias.detach().clone()
    for _ in range(2):
        update()
        model[0].bias.data.add_(1)
    assert sley.allclose(averaged.module[0].bias, first + 0.5)
    assert sley.allclose(moving.module[0].bias, first + 0.5)
    assert averaged(batch("cuda")[0]).device == CUDA and averaged.n_averaged.item() == 2
    assert swa_utils.AveragedModel(model_on("cpu"), device="cuda").module[0].bias.device == CUDA


def test_statistics_of_batches_are_made_there():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).to("cuda")
    swa_utils.update_bn([batch("cpu")[0]], model, device="cuda")
    assert model[1].running_mean.device == CUDA
    assert sley.allclose(model[1].running_mean, model[0](batch("cuda")[0]).mean(0), atol=1e-6)


def test_gradients_are_clipped():
    model, (x, _) = model_on("cuda"), batch("cuda")
    model(x).sum().backward()
    total = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    assert total.device == CUDA and total.item() > 0.1
    left = nn.utils.get_total_norm([p.grad for p in model.parameters()])
    assert left.device == CUDA and left.item() == pytest.approx(0.1, rel=1e-4)
    nn.utils.clip_grad_value_(model.parameters(), 0.001)
    assert max(p.grad.abs().max().item() for p in model.parameters()) <= 0.0011
    vector = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(vector * 2, model.parameters())
    assert vector.device == model[0].weight.device == CUDA


def test_a_rate_may_lie_on_either_device():
    rate = sley.tensor(0.1, device="cuda")
    expected = trained("cpu", lambda p: optim.SGD(p, lr=0.1))
    np.testing.assert_allclose(trained("cuda", lambda p: optim.SGD(p, lr=rate)), expected, 1e-4)
