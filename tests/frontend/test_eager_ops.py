"""How many ops an eager training step computes: bounds, so that no step grows by and by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import nn
from sley.frontend.tape import Tape


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the ops that are computed from here on."""
    names: list[str] = []
    emit: Callable[..., Any] = Tape.emit

    def counting(self: Tape, op: Any, *rest: Any) -> Any:
        names.append(op.name)
        return emit(self, op, *rest)

    monkeypatch.setattr(Tape, "emit", counting)
    return names


def test_a_step_of_two_linear_layers(emitted):
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = sley.optim.SGD(model.parameters(), lr=0.1)
    x, y = sley.randn(4, 20), sley.tensor([0, 2, 1, 1])
    emitted.clear()
    nn.CrossEntropyLoss()(model(x), y).backward()
    optimizer.step()
    assert emitted.count("dot_general") == 5  # the input wants no gradient
    assert len(emitted) <= 60


@pytest.mark.parametrize("turns", [3, 12])
def test_a_turn_of_a_plain_scan(emitted, turns):
    lstm, x = nn.LSTM(5, 4), sley.randn(turns, 2, 5)
    emitted.clear()
    lstm(x)[0].sum().backward()
    assert emitted.count("dot_general") <= 3 * turns + 3
    assert len(emitted) <= 60 * turns + 40


def test_the_gradient_of_the_slices_of_a_scan_is_made_once(emitted):
    xs = sley.randn(9, 2, requires_grad=True)
    total, _ = sley.scan(lambda c, x: (c + x * x, None), sley.zeros(2), xs)
    emitted.clear()
    total.sum().backward()
    assert "update_slice" not in emitted
    assert np.allclose(xs.grad.numpy(), 2 * xs.detach().numpy())


def test_the_users_floating_point_settings_stay_as_they_are():
    with np.errstate(divide="raise", over="warn"):
        before = np.geterr()
        assert (sley.ones(3) / 0).tolist() == [np.inf] * 3
        assert np.geterr() == before
        with pytest.raises(FloatingPointError):
            np.ones(3) / 0
