"""Models of linear layers: depth, losses, clipping, shared and frozen parameters."""

import numpy as np
import pytest
from model_training import check_training, labelled, usual_step

import sley
import sley.nn.functional as F
from sley import nn, optim

SIZES = (32, 7, 1, 13, 2)


def classify(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh, nn.SiLU])
def test_twelve_layers(activation):
    def make():
        layers = [nn.Linear(20, 24), activation()]
        for _ in range(10):
            layers += [nn.Linear(24, 24), activation()]
        model = nn.Sequential(*layers, nn.Linear(24, 5))
        return usual_step(model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), classify)

    check_training(make, labelled(SIZES, (20,), 5), programs=2)


def test_an_empty_batch_serves_with_the_same_program():
    def make():
        model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def summed(model, x, y):
            return F.cross_entropy(model(x), y, reduction="sum")

        return usual_step(model, optimizer, summed)

    check_training(make, labelled((8, 3, 0, 1, 0, 5), (20,), 5), programs=2)


def test_smoothed_labels_and_clipped_gradients():
    weight = sley.linspace(0.5, 1.5, 5)

    def make():
        model = nn.Sequential(nn.Linear(20, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 5))
        optimizer = optim.SGD(
            model.parameters(), lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.01
        )

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x) * 5, y, weight=weight, label_smoothing=0.1)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            return {"loss": loss, "norm": norm}

        return model, step

    check_training(make, labelled(SIZES, (20,), 5), programs=2)


def test_shared_and_frozen_parameters():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.frozen = nn.Linear(20, 20), nn.Linear(20, 20)
            self.frozen.requires_grad_(False)
            self.heads = nn.ModuleDict({"a": nn.Linear(20, 5), "b": nn.Linear(20, 5)})

        def forward(self, x):
            h = F.elu(self.shared(F.softplus(self.frozen(F.elu(self.shared(x))))))
            return self.heads["a"](h) + self.heads["b"](x)

    def make():
        model = Twice()
        learnt = [p for p in model.parameters() if p.requires_grad]
        return usual_step(model, optim.Adagrad(learnt, lr=0.05), classify)

    state = check_training(make, labelled(SIZES, (20,), 5), programs=2).state
    assert "shared.weight.grad" in state and "frozen.weight.grad" not in state


def test_contrastive_pairs():
    def make():
        model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 8))

        def contrast(model, a, b):
            u, v = F.normalize(model(a), dim=-1), F.normalize(model(b), dim=-1)
            scores, own = u @ v.T / 0.1, sley.arange(a.shape[0])
            return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2

        return usual_step(model, optim.RMSprop(model.parameters(), lr=1e-3), contrast)

    rng = np.random.default_rng(1)
    pairs = [rng.standard_normal((2, n, 10)).astype(np.float32) for n in (16, 5, 9, 1)]
    check_training(make, pairs, programs=2)


def test_autoencoder():
    def make():
        model = nn.Sequential(
            nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 6), nn.Tanh(),
            nn.Linear(6, 36), nn.Sigmoid(),
        )  # fmt: skip
        optimizer = optim.Adam(model.parameters(), lr=1e-2)
        return usual_step(model, optimizer, lambda model, x: F.mse_loss(model(x), x))

    rng = np.random.default_rng(2)
    batches = [(rng.random((n, 36), dtype=np.float32),) for n in (16, 4, 9)]
    check_training(make, batches, programs=2)


def test_float64():
    def make():
        model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 5)).double()
        return usual_step(model, optim.AdamW(model.parameters(), lr=1e-2), classify)

    batches = [(x.astype(np.float64), y) for x, y in labelled(SIZES, (20,), 5)]
    check_training(make, batches, programs=2, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [sley.float16, sley.bfloat16])
def test_half_precision(dtype):
    def make():
        model = nn.Sequential(nn.Linear(20, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 5))
        model.to(dtype)
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        return usual_step(model, optimizer, lambda m, x, y: F.cross_entropy(m(x.to(dtype)), y))

    check_training(make, labelled((8, 3, 5), (20,), 5), programs=2, rtol=0.05, atol=0.01)
