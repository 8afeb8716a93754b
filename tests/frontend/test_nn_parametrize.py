"""Parametrized modules: orthogonal weights; copies and pickles; cached values."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import sley
from sley import nn
from sley.nn.utils import parametrizations, parametrize

KEY = "parametrizations.weight.original"
MAPS = ("matrix_exp", "cayley", "householder")


def is_orthonormal(weight: sley.Tensor) -> bool:
    w = weight.detach().numpy()
    tall = w if w.shape[-2] >= w.shape[-1] else w.swapaxes(-1, -2)
    return np.allclose(tall.conj().swapaxes(-1, -2) @ tall, np.eye(tall.shape[-1]), atol=1e-9)


def moved(layer: nn.Module, steps: int = 3) -> nn.Module:
    """After some steps of training, by a compiled step."""
    optimizer = sley.optim.SGD(layer.parameters(), lr=0.1)
    x = sley.tensor(np.random.default_rng(1).standard_normal((4, layer.in_features)))

    @sley.compile
    def step() -> sley.Tensor:
        optimizer.zero_grad()
        loss = (layer(x).sin() * sley.arange(1.0, layer.out_features + 1)).sum()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(steps)]
    assert losses == sorted(losses, reverse=True)
    return layer


@pytest.mark.parametrize("map", MAPS)
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5), (1, 4)])
def test_orthogonal_weights_stay_so_when_they_are_trained(map: str, shape: tuple[int, int]) -> None:
    sley.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(*shape).double(), orthogonal_map=map)
    assert list(layer.state_dict()) == ["bias", KEY, "parametrizations.weight.0.base"]
    before = layer.weight.detach().clone()
    assert is_orthonormal(before)
    after = moved(layer).weight
    assert is_orthonormal(after)
    if shape[0] != 1 and shape != (3, 3):
        assert not np.allclose(after.detach(), before, atol=1e-3)


@pytest.mark.parametrize("map", MAPS)
def test_gradients_of_orthogonal_weights(map: str) -> None:
    sley.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(4, 3).double(), orthogonal_map=map)
    original = layer.parametrizations.weight.original
    if map != "householder":
        with sley.no_grad():
            original.add_(sley.randn_like(original) * 0.3)
    weights = sley.randn(3, 4, dtype=sley.float64)
    (found,) = sley.autograd.grad((layer.weight * weights).sum(), original)
    turn = sley.randn_like(found)
    if map == "householder":
        turn = sley.triu(turn, 1)  # of the transpose: below its diagonal
    values = []
    for step in (1e-6, -1e-6):
        with sley.no_grad():
            original.add_(turn * step)
            values.append((layer.weight * weights).sum().item())
            original.sub_(turn * step)
    expected = (values[0] - values[1]) / 2e-6
    assert (found * turn).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_complex_weights_become_unitary() -> None:
    layer = nn.Linear(3, 3, dtype=sley.complex128)
    assert is_orthonormal(parametrizations.orthogonal(layer).weight)
    with pytest.raises(sley.ArgumentError, match="householder"):
        parametrizations.orthogonal(nn.Linear(2, 2, dtype=sley.complex64), "weight", "householder")


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5)])
@pytest.mark.parametrize("trivialized", [True, False])
def test_assigned_matrices_are_kept(shape: tuple[int, int], trivialized: bool) -> None:
    layer = parametrizations.orthogonal(
        nn.Linear(*shape).double(), orthogonal_map="householder", use_trivialization=trivialized
    )
    drawn = np.random.default_rng(3).standard_normal((5, 5))
    q = np.linalg.qr(drawn)[0][: shape[1], : shape[0]] if shape != (3, 3) else -np.eye(3)
    q = np.linalg.qr(q.T)[0].T if shape == (5, 3) else q
    q = np.linalg.qr(q)[0] if shape == (3, 5) else q
    layer.weight = sley.tensor(q)
    np.testing.assert_allclose(layer.weight.detach(), q, atol=1e-12)


def test_what_orthogonal_refuses() -> None:
    with pytest.raises(sley.ArgumentError, match="none of"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="qr")
    with pytest.raises(sley.ArgumentError, match="no parameter"):
        parametrizations.orthogonal(nn.ReLU())
    with pytest.raises(sley.ShapeError, match="matrix"):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")
    plain = nn.Linear(2, 2)
    with pytest.raises(sley.UnsupportedError, match="trivialization"):
        parametrizations.orthogonal(plain, use_trivialization=False)
    assert list(plain.state_dict()) == ["weight", "bias"]
    with pytest.raises(sley.ShapeError, match="expected a matrix"):
        parametrizations.orthogonal(plain).weight = sley.eye(3)


WRAPPERS: list[Callable[[nn.Module], nn.Module]] = [
    parametrizations.orthogonal, parametrizations.weight_norm, parametrizations.spectral_norm,
    nn.utils.weight_norm, nn.utils.spectral_norm,
]  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_pickles_are_modules_of_their_own(wrap, copied) -> None:
    sley.manual_seed(0)
    layer = wrap(nn.Linear(3, 4)).eval()
    other = copied(nn.Sequential(layer, layer))[1]
    assert type(other).__name__ == type(layer).__name__ and isinstance(other, nn.Linear)
    assert list(other.state_dict()) == list(layer.state_dict())
    x = sley.randn(2, 3)
    np.testing.assert_array_equal(other(x).detach(), layer(x).detach())
    expected = layer.weight.detach().clone()
    with sley.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    np.testing.assert_array_equal(layer.weight.detach(), expected)
    assert not np.array_equal(other(x).detach(), layer(x).detach())
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other(x).detach(), layer(x).detach())


class Counted(nn.Module):
    calls = 0

    def forward(self, value: sley.Tensor) -> sley.Tensor:
        Counted.calls += 1
        return value * 2


def test_cached_values_are_computed_once() -> None:
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Counted())
    Counted.calls = 0
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
        assert layer.weight is first and Counted.calls == 1
    assert layer.weight is not first and Counted.calls == 2
