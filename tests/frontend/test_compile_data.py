"""`.data = ...` and `requires_grad` set inside a compiled step: as in eager, call after call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
import sley.nn as nn


def _nets() -> tuple[nn.Linear, nn.Linear]:
    sley.manual_seed(0)
    return nn.Linear(3, 2), nn.Linear(3, 2)


def _runs(step: Callable[[Callable[..., Any]], list[Any]]) -> None:
    """The same numbers eager and compiled."""
    eager, compiled = step(lambda f: f), step(sley.compile)
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-6)


def test_averages_by_new_data():
    def program(wrap):
        net, average = _nets()
        optimizer = sley.optim.SGD(net.parameters(), lr=0.1)

        @wrap
        def step(x):
            loss = net(x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for p, q in zip(average.parameters(), net.parameters(), strict=True):
                p.data = 0.9 * p.data + 0.1 * q.data
            return loss

        losses = [step(sley.ones(4, 3)) for _ in range(3)]
        return [*losses, *average.parameters(), average(sley.ones(1, 3))]

    _runs(program)


def test_views_of_the_old_memory_keep_what_they_hold():
    def program(wrap):
        weight = nn.Parameter(sley.ones(2))
        before = weight.detach()

        @wrap
        def step(factor):
            old = weight.data
            weight.data = weight.data * factor
            return old.clone(), weight * 1

        results = [*step(sley.tensor(2.0)), *step(sley.tensor(3.0))]
        assert weight.requires_grad and weight.is_leaf
        return [*results, before, weight]

    _runs(program)


def test_data_of_two_tensors_becomes_one():
    def program(wrap):
        weight, other = nn.Parameter(sley.ones(2)), sley.full((2,), 3.0)

        @wrap
        def step():
            weight.data = other
            weight.data.mul_(2)
            return weight.sum()

        results = [step(), step()]
        assert weight.data_ptr() == other.data_ptr()
        return [*results, weight, other]

    _runs(program)


def test_perturbation_whose_data_is_moved():
    def program(wrap):
        net, _ = _nets()

        @wrap
        def attack(x):
            delta = sley.zeros_like(x, requires_grad=True)
            for _ in range(3):
                net(x + delta).exp().sum().backward()
                delta.data = (delta + 0.1 * delta.grad.sign()).clamp(-0.2, 0.2)
                delta.grad.zero_()
            return delta.detach()

        return [attack(sley.ones(2, 3))]

    _runs(program)


def test_gradients_are_switched_off_and_on_inside_of_a_step():
    def program(wrap):
        maker, judge = _nets()
        judge = nn.Sequential(nn.Linear(2, 3), judge)
        optimizer = sley.optim.SGD(maker.parameters(), lr=0.1)

        @wrap
        def step(x):
            for p in judge.parameters():
                p.requires_grad = False
            loss = judge(maker(x)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for p in judge.parameters():
                p.requires_grad_(True)
            return loss

        losses = [step(sley.ones(4, 3)) for _ in range(3)]
        assert all(p.requires_grad and p.grad is None for p in judge.parameters())
        return [*losses, *maker.parameters()]

    _runs(program)


def test_what_stays_switched_off_is_off_after_the_call():
    weight = nn.Parameter(sley.ones(2))

    @sley.compile
    def freeze(x):
        weight.requires_grad_(False)
        return (weight * x).sum()

    assert not freeze(sley.ones(2)).requires_grad and not weight.requires_grad
    weight.requires_grad_()
    assert not freeze(sley.ones(2)).requires_grad and not weight.requires_grad


def test_what_cannot_be_set():
    weight = nn.Parameter(sley.ones(2))

    @sley.compile
    def of_another_type(x):
        weight.data = sley.ones(3)
        return x

    @sley.compile
    def of_an_argument(x):
        x.data = sley.zeros(2)
        return x * 1

    @sley.compile
    def inside_of_a_loop(x):
        def turn(carry, _):
            weight.requires_grad_(False)
            return carry * weight, None

        return sley.scan(turn, x, length=3)[0]

    for function, text in (
        (of_another_type, "captured tensor"),
        (of_an_argument, "an argument"),
        (inside_of_a_loop, "from outside is set inside"),
    ):
        with pytest.raises(sley.TraceError, match=text):
            function(sley.ones(2))
    assert weight.shape == (2,) and weight.requires_grad
