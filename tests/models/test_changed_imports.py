"""Habits of programs written for PyTorch, around the models: hooks, own optimizers, compiling in
place, parts that are compiled one by one."""

import copy
import pickle

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley import nn, optim

X = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)


def make():
    sley.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def test_a_module_compiled_in_place_is_the_same_module():
    eager, model = make(), make()
    model.compile()
    for n in (5, 4, 3):
        x = sley.tensor(X[:n])
        for m in (eager, model):
            m.zero_grad()
            m(x).square().sum().backward()
        for a, b in zip(eager.parameters(), model.parameters(), strict=True):
            np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), 1e-4, 1e-5)
    assert len(model._compiled.programs) == 2
    assert list(model.state_dict()) == list(eager.state_dict())


@pytest.mark.parametrize("in_place", [True, False])
def test_copies_of_compiled_modules_have_parameters_of_their_own(in_place):
    model, x = make(), sley.tensor(X)
    if in_place:
        model.compile()
    else:
        model = sley.compile(model)
    before = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with sley.no_grad():
            for p in other.parameters():
                p.zero_()
        assert float(other(x).abs().sum()) == 0
        np.testing.assert_array_equal(model(x).detach().numpy(), before.detach().numpy())


def test_encoder_and_decoder_compiled_one_by_one():
    """The gradient of the first goes through the second, that of a discriminator, too."""
    found = []
    for compiled in (False, True):
        encoder, decoder = make(), nn.Linear(3, 6)
        decoder.load_state_dict({"weight": sley.ones(6, 3) * 0.1, "bias": sley.zeros(6)})
        if compiled:
            encoder.compile()
            decoder.compile()
        x = sley.tensor(X)
        decoder(sley.zeros(5, 3))  # the first call of the decoder has no history before it
        for _ in range(2):
            F.mse_loss(decoder(encoder(x)), x).backward()
        found.append([p.grad.numpy() for p in (*encoder.parameters(), *decoder.parameters())])
    for eager, traced in zip(*found, strict=True):
        np.testing.assert_allclose(traced, eager, 1e-4, 1e-5)


class Signs(optim.Optimizer):
    """An optimizer of a user's own, that makes its state in its first step."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @sley.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state["mean"] = sley.zeros_like(p)
                state["mean"].mul_(0.9).add_(p.grad, alpha=0.1)
                p.add_(state["mean"].sign(), alpha=-group["lr"])


def test_a_step_that_makes_its_state_runs_as_python_once():
    found = []
    for compiled in (False, True):
        model, x = make(), sley.tensor(X)
        optimizer = Signs(model.parameters(), 0.1)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        run = sley.compile(step) if compiled else step
        found.append([run(x).item() for _ in range(4)])
    assert found[1] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize("make_optimizer", [optim.SGD, Signs])
def test_hooks_of_a_step(make_optimizer):
    model, x = make(), sley.tensor(X)
    optimizer = make_optimizer(model.parameters(), lr=0.1)
    calls, count = [], sley.zeros(())
    first = optimizer.register_step_pre_hook(lambda *given: calls.append(given))
    optimizer.register_step_post_hook(lambda *given: count.add_(1))

    def step(x):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()

    step(x)
    assert calls == [(optimizer, (), {})] and count.item() == 1
    first.remove()
    first.remove()
    compiled = sley.compile(step)
    compiled(x)
    compiled(x)
    assert len(calls) == 1 and count.item() == 3 and len(compiled.programs) == 1
    optimizer.register_step_post_hook(lambda *given: count.add_(10))
    compiled(x)
    assert count.item() == 14


def test_hooks_of_a_step_see_the_closure():
    model = make()
    optimizer = optim.LBFGS(model.parameters(), max_iter=2)
    calls = []
    optimizer.register_step_pre_hook(lambda _, args, kwargs: calls.append(args))

    def closure():
        optimizer.zero_grad()
        loss = model(sley.tensor(X)).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert calls == [(closure,)]


def test_sizes_by_name():
    assert sley.empty(size=(2, 3)).shape == (2, 3)
    assert sley.zeros(size=[2], dtype=sley.int64).tolist() == [0, 0]
    assert sley.ones(size=(0, 2)).shape == (0, 2)
    with pytest.raises(sley.ArgumentError, match="given twice"):
        sley.ones(2, size=(2,))


def test_ranges_and_tuples_index_like_lists():
    x = np.arange(12.0).reshape(3, 4)
    t = sley.tensor(x)
    expected = x[[0, 1, 2], [1, 0, 3]]
    np.testing.assert_array_equal(t[range(3), sley.tensor([1, 0, 3])].numpy(), expected)
    np.testing.assert_array_equal(t[(0, 1, 2), (1, 0, 3)].numpy(), expected)
    np.testing.assert_array_equal(
        sley.compile(lambda t: t[range(3), [1, 0, 3]])(t).numpy(), expected
    )
