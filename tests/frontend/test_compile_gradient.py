"""`backward()` outside of compiled functions."""

from __future__ import annotations

import numpy as np
import pytest

import sley
import sley.nn as nn
import sley.nn.functional as F
from sley import optim


def images(n: int, seed: int = 0) -> sley.Tensor:
    rng = np.random.default_rng(seed)
    return sley.tensor(rng.standard_normal((n, 6)).astype(np.float32))


def make() -> nn.Module:
    sley.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 3))


def test_a_compiled_model_trains_from_outside() -> None:
    eager, plain = make(), make()
    compiled = sley.compile(plain)
    steps = [optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (eager, compiled)]
    for turn, n in enumerate([8, 8, 5, 3, 8]):
        x, y = images(n, turn), sley.tensor(np.arange(n) % 3)
        losses = []
        for model, opt in zip((eager, compiled), steps, strict=True):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
        for a, b in zip(eager.parameters(), plain.parameters(), strict=True):
            np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), 1e-4, 1e-5)
            np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), 1e-4, 1e-5)
    assert len(compiled.compiled.programs) == 2
    assert np.allclose(eager[1].running_mean.numpy(), plain[1].running_mean.numpy(), atol=1e-6)


def test_gradients_of_arguments_and_of_several_results() -> None:
    def function(x: sley.Tensor, w: sley.Tensor) -> tuple[sley.Tensor, sley.Tensor, sley.Tensor]:
        h = (x @ w).tanh()
        return h.sum(1), (h * h).mean(), (x * 2.0).detach()

    compiled = sley.compile(function)
    found = []
    for call in (function, compiled):
        x, w = images(4).requires_grad_(), images(6, 1).requires_grad_()
        a, b, c = call(x, w)
        assert a.requires_grad and b.requires_grad and not c.requires_grad
        (a.exp().sum() + b * 3.0).backward()
        found.append((x.grad.numpy(), w.grad.numpy()))
    for eager, traced in zip(*found, strict=True):
        np.testing.assert_allclose(traced, eager, 1e-4, 1e-5)


def test_a_loss_whose_graph_was_used_up_has_none() -> None:
    w = images(2).requires_grad_()

    @sley.compile
    def step(x: sley.Tensor) -> sley.Tensor:
        loss = (w * x).sum()
        loss.backward()
        return loss

    loss = step(images(2, 1))
    with pytest.raises(sley.AutogradError):
        loss.backward()


def test_nothing_is_kept_under_no_grad() -> None:
    model = sley.compile(make())
    with sley.no_grad():
        assert not model(images(3)).requires_grad
    assert model(images(3)).requires_grad


def test_what_cannot_be() -> None:
    w = images(2).requires_grad_()
    function = sley.compile(lambda x: (w * x * w).sum())
    loss = function(images(2, 1))
    (gradient,) = sley.autograd.grad(loss, [w], retain_graph=True)
    assert gradient.shape == w.shape
    with pytest.raises(sley.AutogradError, match="second derivative"):
        sley.autograd.grad(loss, [w], create_graph=True)
    loss = function(images(2, 1))
    with sley.no_grad():
        w.mul_(2.0)
    with pytest.raises(sley.AutogradError, match="overwritten"):
        loss.backward()


def test_sizes_that_no_saved_value_tells() -> None:
    function = sley.compile(lambda x: x.sum() * 2.0)
    for n in (4, 3, 5):
        x = images(n).requires_grad_()
        function(x).backward()
        assert np.array_equal(x.grad.numpy(), np.full((n, 6), 2.0, np.float32))


def test_gradients_go_on_through_arguments_with_a_history() -> None:
    def cell(x: sley.Tensor, h: sley.Tensor) -> tuple[sley.Tensor, sley.Tensor]:
        return (x @ h).tanh(), h * 2.0

    compiled = sley.compile(cell)
    found = []
    for call in (cell, compiled):
        for n in (4, 2, 3):
            w = (sley.eye(6) + 0.1).requires_grad_()
            x, h = images(n), w
            for _ in range(3):  # the first time neither has a history, then both
                x, h = call(x, h)
            (x.sum() + h[:, 0].tanh().sum()).backward()
            found.append(w.grad.numpy())
    for eager, traced in zip(found[:3], found[3:], strict=True):
        np.testing.assert_allclose(traced, eager, 1e-4, 1e-5)


def test_a_program_without_the_history_does_not_serve_a_call_with_one() -> None:
    compiled = sley.compile(make())
    x = images(4)
    compiled(x)
    w = sley.ones(6, requires_grad=True)
    compiled(x * w).sum().backward()
    assert w.grad is not None and float(w.grad.abs().sum()) > 0
    with sley.no_grad():
        assert not compiled(x * w).requires_grad


def test_a_history_from_outside_is_no_matter_of_the_function() -> None:
    w = sley.ones(6, requires_grad=True)

    @sley.compile
    def walks(x: sley.Tensor) -> None:
        (x * x).sum().backward()

    @sley.compile
    def writes(x: sley.Tensor) -> sley.Tensor:
        return x.add_(1.0)

    with pytest.raises(sley.TraceError, match="history from outside, where"):
        walks(w * 2.0)
    with pytest.raises(sley.TraceError, match="writes to an argument that has a history"):
        writes(w * 2.0)
    assert w.grad is None


@pytest.mark.parametrize("kind", ["summed", "chosen", "scaled"])
@pytest.mark.parametrize("width", [1, 4, 9])
def test_rows_that_are_looked_up_and_what_belongs_to_their_group(kind: str, width: int) -> None:
    """What is scattered back is computed from values of the group of rows, of every column."""
    rng = np.random.default_rng(0)
    table = sley.tensor(rng.standard_normal((12, width)))
    rows = sley.tensor(rng.integers(0, 12, (6, 3)))
    weight = sley.tensor(rng.standard_normal(6))

    def gradient(table: sley.Tensor, rows: sley.Tensor, weight: sley.Tensor) -> sley.Tensor:
        table = table.detach().requires_grad_()
        found = table[rows]
        if kind == "summed":
            each = (found.sum(1) ** 2 - (found**2).sum(1)).sum(1)
        elif kind == "chosen":
            each = (found[:, [0, 0, 1]] * found[:, [1, 2, 2]]).sum(2).mean(1)
        else:
            each = found.mean((1, 2)).exp()
        (each * weight).sum().backward()
        assert table.grad is not None
        return table.grad

    eager = gradient(table, rows, weight)
    for dynamic in (False, True):
        compiled = sley.compile(gradient, dynamic=dynamic)(table, rows, weight)
        np.testing.assert_allclose(compiled, eager, rtol=1e-12, atol=1e-12)
