"""Attention that a compiled function writes out, with `backward()` called outside: the matrix of
weights does not leave the program."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sley
import sley.nn as nn
import sley.nn.functional as F

B, H, T, E = 2, 3, 24, 8
RNG = np.random.default_rng(11)
SEEN = sley.tensor(RNG.random((B, 1, 1, T)) > 0.3)
BIAS = sley.tensor(RNG.standard_normal((H, T, T)).astype(np.float32))


def plain(q, k, v):
    return F.softmax(q @ k.transpose(-2, -1) / math.sqrt(E), dim=-1) @ v


def masked(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(E)
    return scores.masked_fill(~SEEN, sley.finfo(scores.dtype).min).softmax(-1) @ v


def biased(q, k, v):
    scores = sley.einsum("bhtd,bhsd->bhts", q, k) * 0.25 + BIAS
    return sley.einsum("bhts,bhsd->bhtd", scores.softmax(-1), v)


def causal_and_dropped(q, k, v):
    scores = (q @ k.mT * 0.25).masked_fill(sley.ones(T, T, dtype=sley.bool).triu(1), float("-inf"))
    return F.dropout(scores.softmax(-1), 0.2) @ v


def shared_heads(q, k, v):
    k, v = (x[:, :1].expand(B, H, T, E) for x in (k, v))
    return (q @ k.mT * 0.25).softmax(-1) @ v


def made(*shape):
    return sley.tensor(RNG.standard_normal(shape).astype(np.float32))


def gradients(run, tensors, g):
    for x in tensors:
        x.grad = None
    sley.manual_seed(3)
    out = run(*tensors)
    out.backward(g)
    return [out.detach().numpy(), *(x.grad.numpy().copy() for x in tensors)]


FORMS = [plain, masked, biased, causal_and_dropped, shared_heads]


@pytest.mark.parametrize("function", FORMS, ids=lambda f: f.__name__)
def test_gradients_outside(function):
    tensors, g = [made(B, H, T, E).requires_grad_() for _ in range(3)], made(B, H, T, E)
    compiled = sley.compile(function)
    expected = gradients(function, tensors, g)
    for _ in range(2):
        for found, wanted in zip(gradients(compiled, tensors, g), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)
    text = compiled.lower(*tensors).text(after="trace")
    assert " attention(" in text and " exp(" not in text
    (signature,) = (line for line in text.splitlines() if line.startswith("graph @"))
    assert f"f32[{B}, {H}, {T}, {T}]" not in signature.split("->")[1]


def test_a_half_of_the_gradients():
    q, k, v = made(B, H, T, E).requires_grad_(), made(B, H, T, E), made(B, H, T, E).requires_grad_()
    g = made(B, H, T, E)
    results = []
    for run in (plain, sley.compile(plain)):
        q.grad = v.grad = None
        run(q, k, v).backward(g)
        results.append([q.grad.numpy().copy(), v.grad.numpy().copy()])
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)


def test_weights_that_are_a_result_stay():
    def both(q, k, v):
        weights = (q @ k.mT * 0.25).softmax(-1)
        return weights @ v, weights

    tensors, g = [made(B, H, T, E).requires_grad_() for _ in range(3)], made(B, H, T, E)
    compiled = sley.compile(both)
    first = gradients(lambda *args: both(*args)[0], tensors, g)
    for found, wanted in zip(
        gradients(lambda *args: compiled(*args)[0], tensors, g), first, strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)
    assert " attention(" not in compiled.lower(*tensors).text(after="trace")


def test_any_length():
    compiled = sley.compile(plain)
    for length in (5, 7, 20, 33):
        tensors, g = (
            [made(B, H, length, E).requires_grad_() for _ in range(3)],
            made(B, H, length, E),
        )
        expected = gradients(plain, tensors, g)
        for found, wanted in zip(gradients(compiled, tensors, g), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)


class Block(nn.Module):
    """Attention as written in many a tutorial."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.norm = nn.LayerNorm(size)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).split(c, dim=2)
        q, k, v = (y.view(b, t, self.heads, c // self.heads).transpose(1, 2) for y in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(sley.tril(sley.ones(t, t)) == 0, float("-inf"))
        y = F.softmax(scores, dim=-1) @ v
        return x + self.out(y.transpose(1, 2).contiguous().view(b, t, c))


def test_training_a_module():
    losses = []
    for compiled in (False, True):
        sley.manual_seed(0)
        model = nn.Sequential(Block(24, 3), nn.ReLU(), Block(24, 3))
        run = sley.compile(model) if compiled else model
        optimizer = sley.optim.Adam(model.parameters(), lr=1e-2)
        x = sley.tensor(np.random.default_rng(0).standard_normal((2, 17, 24)).astype(np.float32))
        losses.append([])
        for _ in range(4):
            optimizer.zero_grad()
            loss = (run(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
