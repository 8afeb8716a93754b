"""Draws of compiled functions: the same bits as eager ones, one offset each, in program order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley import nn

EXACT: dict[str, Callable[[], sley.Tensor]] = {
    "rand": lambda: sley.rand(5, 7),
    "rand float64": lambda: sley.rand(33, dtype=sley.float64),
    "rand float16": lambda: sley.rand(33, dtype=sley.float16),
    "rand bfloat16": lambda: sley.rand(33, dtype=sley.bfloat16),
    "rand empty": lambda: sley.rand(0, 3),
    "rand one": lambda: sley.rand(()),
    "rand_like": lambda: sley.rand_like(sley.ones(3, 4).t()),
    "randint": lambda: sley.randint(-5, 1000, (61,)),
    "bernoulli": lambda: sley.bernoulli(sley.full((67,), 0.3)),
    "dropout": lambda: F.dropout(sley.ones(9, 13), 0.4),
    "dropout all": lambda: F.dropout(sley.ones(9), 1.0),
    "uniform_": lambda: sley.zeros(4, 3).uniform_(-2.0, 5.0),
}
CLOSE: dict[str, Callable[[], sley.Tensor]] = {
    "randn": lambda: sley.randn(4099),
    "randn odd": lambda: sley.randn(3, 7),
    "randn float64": lambda: sley.randn(515, dtype=sley.float64),
    "randn_like": lambda: sley.randn_like(sley.ones(65)),
}


def both(draw: Callable[[], Any], seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    sley.manual_seed(seed)
    eager = draw().numpy()
    offset = sley.get_rng_state().numpy().tolist()
    sley.manual_seed(seed)
    compiled = sley.compile(draw)().numpy()
    assert sley.get_rng_state().numpy().tolist() == offset
    return eager, compiled


@pytest.mark.parametrize("name", EXACT)
def test_draws_are_bit_equal(name: str) -> None:
    eager, compiled = both(EXACT[name])
    assert eager.dtype == compiled.dtype and eager.shape == compiled.shape
    assert eager.tobytes() == compiled.tobytes()


@pytest.mark.parametrize("name", CLOSE)
def test_normal_draws_differ_by_four_ulp_at_most(name: str) -> None:
    eager, compiled = both(CLOSE[name])
    np.testing.assert_array_max_ulp(compiled, eager, 4)


def test_dropout_of_a_symbolic_size_is_bit_equal() -> None:
    drop = nn.Dropout(0.5)
    compiled = sley.compile(lambda x: drop(x))
    for rows in (8, 3, 1, 0, 21):
        x = sley.ones(rows, 5)
        sley.manual_seed(rows)
        eager = drop(x).numpy()
        sley.manual_seed(rows)
        assert compiled(x).numpy().tobytes() == eager.tobytes()
    assert len(compiled.programs) == 2


def test_each_draw_takes_one_offset_whatever_its_size_and_even_when_dead() -> None:
    def program(x: sley.Tensor) -> tuple:
        sley.rand(3)  # dead
        a = sley.rand(1000)
        F.dropout(x, 0.5)  # dead
        sley.randn(0)  # dead and empty
        b = sley.rand(2)
        return a, b

    x = sley.ones(4)
    for call in (program, sley.compile(program)):
        sley.manual_seed(3)
        a, b = call(x)
        assert sley.get_rng_state().numpy().tolist() == [3, 5]
        sley.set_rng_state(sley.tensor([3, 1]))
        assert sley.rand(1000).numpy().tobytes() == a.numpy().tobytes()
        sley.set_rng_state(sley.tensor([3, 4]))
        assert sley.rand(2).numpy().tobytes() == b.numpy().tobytes()


def test_seeds_and_states_between_compiled_calls() -> None:
    draw = sley.compile(lambda: sley.rand(4))
    sley.manual_seed(1)
    first, second = draw().numpy(), draw().numpy()
    assert not np.array_equal(first, second)
    sley.manual_seed(1)
    assert np.array_equal(draw().numpy(), first)
    state = sley.get_rng_state()
    assert np.array_equal(sley.rand(4).numpy(), second), "eager goes on where compiled was"
    sley.set_rng_state(state)
    assert np.array_equal(draw().numpy(), second)
    sley.manual_seed(2)
    assert not np.array_equal(draw().numpy(), first)
    assert len(draw.programs) == 1


def test_a_generator_of_its_own_is_captured() -> None:
    generator = sley.Generator().manual_seed(5)
    draw = sley.compile(lambda: (sley.rand(3, generator=generator), sley.rand(3)))
    sley.manual_seed(9)
    own, default = (t.numpy() for t in draw())
    again = sley.Generator().manual_seed(5)
    assert np.array_equal(sley.rand(3, generator=again).numpy(), own)
    sley.manual_seed(9)
    assert np.array_equal(sley.rand(3).numpy(), default)


def test_seeding_inside_a_compiled_function() -> None:
    def program() -> sley.Tensor:
        sley.manual_seed(4)
        return sley.rand(3)

    compiled = sley.compile(program)
    expected = program().numpy()
    sley.rand(2)
    for _ in range(2):
        assert np.array_equal(compiled().numpy(), expected)
        assert sley.get_rng_state().numpy().tolist() == [4, 1]


def test_no_draw_without_randomness() -> None:
    sley.manual_seed(1)
    drop = nn.Dropout(0.5).eval()
    sley.compile(lambda x: drop(x) * 2.0)(sley.ones(3))
    sley.compile(lambda x: F.dropout(x, 0.5, training=False))(sley.ones(3))
    assert sley.get_rng_state().numpy().tolist() == [1, 0]


def test_gradients_use_the_mask_of_the_forward_draw() -> None:
    @sley.compile
    def step(x: sley.Tensor) -> tuple:
        y = F.dropout(x, 0.5)
        y.sum().backward()
        return y, x.grad

    sley.manual_seed(0)
    y, grad = step(sley.ones(200, requires_grad=True))
    assert np.array_equal(y.detach().numpy(), grad.numpy()) and 0 < (grad.numpy() == 0).mean() < 1
