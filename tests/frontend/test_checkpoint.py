"""`checkpoint`: the same gradients with less memory, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import ArgumentError, AutogradError, TraceError, nn
from sley.frontend.tensor import Tensor
from sley.utils.checkpoint import checkpoint, checkpoint_sequential

DEPTH = 6
Forward = Callable[[nn.Module, Tensor], Tensor]


def network() -> nn.Sequential:
    sley.manual_seed(1)
    return nn.Sequential(
        *(
            nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.3), nn.LayerNorm(8))
            for _ in range(DEPTH)
        )
    )


def plain(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def layer_by_layer(model: Any, x: Tensor) -> Tensor:
    for layer in model:
        x = checkpoint(layer, x, use_reentrant=False)
    return x


def in_segments(model: Any, x: Tensor) -> Tensor:
    return checkpoint_sequential(model, 3, x)


def gradients(forward: Forward, compiled: bool, dynamic: bool | None = None) -> list[np.ndarray]:
    model = network()
    x = sley.tensor(np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32))
    x.requires_grad_()
    sley.manual_seed(5)

    def step(x: Tensor) -> Tensor:
        loss = (forward(model, x) ** 2).mean()
        loss.backward()
        return loss

    loss = (sley.compile(step, dynamic=dynamic) if compiled else step)(x)
    found = [loss, x.grad, *(p.grad for p in model.parameters()), sley.rand(3)]
    return [t.detach().numpy() for t in found]


@pytest.mark.parametrize("forward", [layer_by_layer, in_segments])
@pytest.mark.parametrize("compiled, dynamic", [(False, None), (True, None), (True, True)])
def test_gradients_are_the_same(forward: Forward, compiled: bool, dynamic: bool | None) -> None:
    """With dropout: the second run draws the same numbers, and the stream goes on as without."""
    for found, expected in zip(
        gradients(forward, compiled, dynamic), gradients(plain, False), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_memory_falls() -> None:
    """Of a deep network compiled with its gradients: layers are computed again one by one."""

    def layer() -> nn.Module:
        return nn.Sequential(
            nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.GELU(), nn.LayerNorm(32)
        )

    def peak(forward: Forward) -> int:
        model = nn.Sequential(*(layer() for _ in range(8)))

        def step(x: Tensor) -> Tensor:
            loss = (forward(model, x) ** 2).mean()
            loss.backward()
            return loss

        compiled = sley.compile(step)
        compiled.lower(sley.randn(256, 32))
        return compiled.programs[0].executable.peak_live_bytes()

    everything = peak(plain)
    assert peak(layer_by_layer) < everything / 2
    assert peak(in_segments) < 0.6 * everything


def test_eager_keeps_arguments_and_results_only() -> None:
    """The tape holds one node for a checkpointed function, however long it is."""
    x = sley.ones(3, requires_grad=True)
    y = checkpoint(lambda x: x.sin().exp().tanh().sigmoid(), x)
    assert str(y.grad_fn) == "<CheckpointBackward>"
    assert y.grad_fn.node.operands[0].node is None


def test_trees_keywords_and_results_without_gradients() -> None:
    x = sley.tensor([1.0, 2.0], requires_grad=True)

    def f(data: dict, *, scale: float) -> tuple:
        return {"y": data["x"] * scale}, data["x"] > 1.5, "text"

    for run in (lambda f: f, sley.compile):
        found, flags, text = run(lambda x: checkpoint(f, {"x": x}, scale=3.0))(x)
        assert text == "text" and flags.numpy().tolist() == [False, True]
        x.grad = None
        found["y"].sum().backward()
        assert x.grad.numpy().tolist() == [3.0, 3.0]
    with sley.no_grad():
        assert not checkpoint(f, {"x": x}, scale=3.0)[0]["y"].requires_grad


def test_second_derivatives_and_transformations() -> None:
    w = sley.tensor([0.3, 0.4], dtype=sley.float64, requires_grad=True)
    x = sley.tensor([1.0, 2.0], dtype=sley.float64)

    def inner(x: Tensor) -> Tensor:
        return (x * w).sin().exp()

    def f(x: Tensor) -> Tensor:
        return checkpoint(inner, x).sum()

    expected = sley.hessian(lambda x: inner(x).sum())(x).detach().numpy()
    for g in (sley.hessian(f), sley.compile(sley.hessian(f))):
        np.testing.assert_allclose(g(x).detach().numpy(), expected)
    rows = sley.vmap(sley.grad(f))(sley.stack([x, 2 * x]))
    np.testing.assert_allclose(
        rows[1].detach().numpy(), sley.grad(lambda x: inner(x).sum())(2 * x).detach().numpy()
    )
    f(x).backward()
    (of_w,) = sley.autograd.grad(inner(x).sum(), w)
    np.testing.assert_allclose(w.grad.numpy(), of_w.numpy())


def test_without_preserved_random_numbers() -> None:
    x = sley.ones(1000, requires_grad=True)
    checkpoint(lambda x: x * sley.rand(1000), x, preserve_rng_state=False).sum().backward()
    other = x.grad.numpy().copy()
    x.grad = None
    y = checkpoint(lambda x: x * sley.rand(1000), x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    assert (other != x.grad.numpy()).any()


def test_errors() -> None:
    x = sley.ones(3, requires_grad=True)
    with pytest.raises(ArgumentError, match="takes a function"):
        checkpoint(3, x)
    with pytest.raises(ArgumentError, match="7 segments of 6"):
        checkpoint_sequential(network(), 7, sley.ones(2, 8))
    y = x * 1
    z = checkpoint(sley.sin, y)
    y.add_(1)
    with pytest.raises(AutogradError, match="overwritten in place"):
        z.sum().backward()
    held = sley.zeros(3)

    def writes(x: Tensor) -> Tensor:
        with sley.no_grad():
            held.add_(1)
        return x * 2

    with pytest.raises(TraceError, match="a checkpointed function"):
        sley.compile(lambda x: checkpoint(writes, x))(x)
