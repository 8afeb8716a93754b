"""Optimizers of complex parameters, their state dicts, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sley
from sley import optim

KINDS = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.Adam, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    (optim.AdamW, {"lr": 0.1}),
    (optim.Adamax, {"lr": 0.1}),
    (optim.NAdam, {"lr": 0.1}),
    (optim.RAdam, {"lr": 0.1}),
    (optim.RMSprop, {"lr": 0.1, "momentum": 0.5, "centered": True}),
    (optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.5}),
    (optim.Adadelta, {"lr": 1.0}),
    (optim.Rprop, {"lr": 0.1}),
    (optim.ASGD, {"lr": 0.1, "lambd": 0.1, "t0": 1}),
]
IDS = [kind.__name__ for kind, _ in KINDS]
START = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]])
START.setflags(write=False)


def loss(pairs: sley.Tensor) -> sley.Tensor:
    return (pairs * pairs + pairs.sin() * pairs[..., :1]).sum()


def real_run(kind: Any, options: Any, steps: int) -> np.ndarray:
    p = sley.tensor(START, requires_grad=True)
    optimizer = kind([p], **options)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(p).backward()
        optimizer.step()
    return p.detach().numpy()


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=IDS)
@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "compiled"])
def test_a_complex_parameter_is_two_real_ones(kind, options, is_compiled) -> None:
    z = sley.tensor(START[:, 0] + 1j * START[:, 1], requires_grad=True)
    optimizer = kind([z], **options)

    def step() -> None:
        optimizer.zero_grad()
        loss(sley.view_as_real(z)).backward()
        optimizer.step()

    run = sley.compile(step) if is_compiled else step
    for _ in range(4):
        run()
    expected = real_run(kind, options, 4)
    np.testing.assert_allclose(z.detach().numpy().view(np.float64).reshape(-1, 2), expected)
    for state in optimizer.state[z].values():
        assert state.ndim == 0 or state.dtype is sley.complex128


def test_lbfgs_of_complex_parameters() -> None:
    z = sley.tensor([1 + 2j, -3j], dtype=sley.complex128, requires_grad=True)
    one = sley.tensor(0.5j, dtype=sley.complex128, requires_grad=True)
    target = sley.tensor([2 - 1j, 1 + 1j], dtype=sley.complex128)
    optimizer = optim.LBFGS([z, one], line_search_fn="strong_wolfe")

    def closure() -> sley.Tensor:
        optimizer.zero_grad()
        value = ((z - target).abs() ** 2).sum() + (one - 3).abs() ** 2
        value.backward()
        return value

    optimizer.step(closure)
    np.testing.assert_allclose(z.detach(), target, atol=1e-6)
    assert abs(one.item() - 3) < 1e-6


@pytest.mark.parametrize("kind", [optim.Adafactor, optim.SparseAdam])
def test_who_takes_no_complex_parameters(kind) -> None:
    z = sley.tensor([1j], requires_grad=True)
    with pytest.raises(sley.DTypeError, match="complex"):
        kind([z])


def test_sparse_adam_takes_no_dense_gradients() -> None:
    p = sley.ones(2, requires_grad=True)
    optimizer = optim.SparseAdam([p])
    p.sum().backward()
    with pytest.raises(RuntimeError, match="does not support dense gradients"):
        optimizer.step()
    assert p.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS], ids=IDS)
def test_steps_are_not_differentiable(kind) -> None:
    p = sley.ones(2, requires_grad=True)
    kind([p], differentiable=False)
    with pytest.raises(sley.UnsupportedError, match="differentiable"):
        kind([p], differentiable=True)


def test_adafactor_keeps_rows_and_columns_of_the_last_two_axes() -> None:
    p, vector = sley.ones(2, 3, 4, requires_grad=True), sley.ones(5, requires_grad=True)
    optimizer = optim.Adafactor([p, vector])
    shapes = {name: tuple(t.shape) for name, t in optimizer.state[p].items()}
    assert shapes == {"step": (), "row_var": (2, 3, 1), "col_var": (2, 1, 4)}
    assert tuple(optimizer.state[vector]["variance"].shape) == (5,)
    for wrong in ({"d": 0.5}, {"beta2_decay": 0.1}, {"eps": (-1.0, 1.0)}, {"lr": -1.0}):
        with pytest.raises(sley.ArgumentError):
            optim.Adafactor([p], **wrong)


def test_asgd_averages_from_t0_on() -> None:
    p = sley.tensor([4.0], dtype=sley.float64, requires_grad=True)
    optimizer, seen = optim.ASGD([p], lr=0.1, lambd=0.0, t0=2), []
    for _ in range(5):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
        seen.append(p.item())
    # The mean begins with the last parameter that is copied, that of step t0 + 2.
    assert optimizer.state[p]["ax"].item() == pytest.approx(np.mean(seen[3:]))
    assert optimizer.state[p]["mu"].item() == pytest.approx(1 / 3)


def test_hooks_around_state_dicts() -> None:
    p, seen = sley.ones(2, requires_grad=True), []
    optimizer = optim.Adam([p])
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("save"))
    handle = optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    optimizer.register_state_dict_post_hook(lambda o, s: seen.append(len(s)), prepend=True)
    saved = optimizer.state_dict()
    assert saved["more"] == 1 and seen == ["save", 2]
    handle.remove()
    assert "more" not in optimizer.state_dict()

    optimizer.register_load_state_dict_pre_hook(lambda o, state: {**state, **state.pop("inner")})
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    given = {"inner": saved}
    saved["param_groups"][0]["lr"] = 0.5
    optimizer.load_state_dict(given)
    assert optimizer.param_groups[0]["lr"] == 0.5 and seen[-1] == "loaded" and "inner" in given


def test_hooks_belong_to_lbfgs_too() -> None:
    p, seen = sley.ones(2, requires_grad=True), []
    optimizer = optim.LBFGS([p])
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("save"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen.count("loaded") == 1 and seen.count("save") == 1


def test_a_state_of_pytorch_without_a_count_goes_on() -> None:
    ps = [sley.ones(2, requires_grad=True) for _ in range(2)]
    first, second = (optim.SGD([p], lr=0.1, momentum=0.9, dampening=0.5) for p in ps)
    for _ in range(2):
        first.zero_grad()
        (ps[0] ** 2).sum().backward()
        first.step()
        saved = first.state_dict()
        del saved["state"][0]["step"]
        second.load_state_dict(saved)
    for _ in range(2):
        for p, optimizer in zip(ps, (first, second), strict=True):
            p.grad = sley.ones(2)
            optimizer.step()
    buffers = [o.state[p]["momentum_buffer"].tolist() for p, o in zip(ps, (first, second))]
    assert buffers[0] == buffers[1]


@pytest.mark.parametrize("kind", [optim.RMSprop, optim.Adadelta, optim.Rprop])
def test_the_count_of_pytorchs_states_is_taken(kind) -> None:
    p = sley.ones(2, requires_grad=True)
    optimizer = kind([p])
    p.grad = sley.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["step"] = sley.tensor(7.0)
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert optimizer.state_dict()["state"][0]["step"].item() == 8
