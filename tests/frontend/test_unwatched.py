"""What runs without the hook that watches a traced function, and what does not."""

from typing import Any

import numpy as np

import sley
import sley.nn as nn
import sley.nn.functional as F

factor = 2.0


def test_a_hook_of_a_tensor_is_watched():
    """The gradient is walked unwatched, hooks on the way are the user's: what they read counts."""
    global factor
    factor = 2.0

    @sley.compile
    def gradient(x: sley.Tensor) -> sley.Tensor:
        x = x.detach().requires_grad_()
        y = x * 3
        y.register_hook(lambda g: g * factor)
        y.sum().backward()
        return x.grad

    x = sley.ones(3)
    np.testing.assert_array_equal(gradient(x).numpy(), [6, 6, 6])
    factor = 5.0
    np.testing.assert_array_equal(gradient(x).numpy(), [15, 15, 15])


class Scaled(sley.optim.SGD):
    def _update(self, group: Any, parameters: list[sley.Tensor]) -> None:
        for parameter in parameters:
            parameter.sub_(parameter.grad * factor)


def test_an_optimizer_of_the_users_is_watched():
    global factor
    factor = 1.0
    weight = nn.Parameter(sley.zeros(2))
    optimizer = Scaled([weight], lr=0.1)

    @sley.compile
    def step() -> None:
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()

    step()
    factor = 10.0
    step()
    np.testing.assert_array_equal(weight.detach().numpy(), [-11, -11])


def test_the_hook_is_back_afterwards():
    """What runs after a walk, a step and a norm is found as before."""
    global factor
    weight = nn.Parameter(sley.ones(2, 4))
    optimizer = sley.optim.SGD([weight], lr=0.5)

    def late() -> float:
        return factor

    @sley.compile
    def step(x: sley.Tensor) -> sley.Tensor:
        optimizer.zero_grad()
        F.layer_norm(x * weight, (4,)).square().sum().backward()
        optimizer.step()
        return x * late()

    x = sley.ones(2, 4)
    factor = 3.0
    np.testing.assert_array_equal(step(x).numpy(), np.full((2, 4), 3.0))
    factor = 4.0
    np.testing.assert_array_equal(step(x).numpy(), np.full((2, 4), 4.0))


def test_lines_stay_the_users():
    weight = nn.Parameter(sley.ones(2, 4))
    optimizer = sley.optim.AdamW([weight])

    @sley.compile
    def step(x: sley.Tensor) -> None:
        loss = F.rms_norm(x * weight, (4,)).sum()
        loss.backward()
        optimizer.step()

    lowered = step.lower(sley.ones(2, 4))
    lines = {n.line.function for n in lowered.graph.walk() if n.line is not None}
    assert lines == {"step"}
    numbers = {n.line.line for n in lowered.graph.walk() if n.line is not None}
    first = step.__wrapped__.__code__.co_firstlineno
    assert numbers <= {first + 2, first + 3, first + 4} and len(numbers) >= 2
