"""Random loops in loops and branches: compiled they give what they do eager, gradients too."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import sley

Body = Callable[[sley.Tensor, sley.Tensor, sley.Tensor], sley.Tensor]
SHAPES = ((2, 3), (3, 2, 3), (3, 3))  # of the carry, the xs and a weight


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    sley.set_default_dtype(sley.float64)
    yield
    sley.set_default_dtype(sley.float32)


def in_place(h: sley.Tensor, x: sley.Tensor, w: sley.Tensor) -> sley.Tensor:
    g = h * 1.0
    g[..., 1] = x[..., 0] * h[..., 2]
    g[0].mul_(2.0)
    return g


STEPS: list[Body] = [
    lambda h, x, w: sley.tanh(h),
    lambda h, x, w: h * x,
    lambda h, x, w: h + x * 0.5,
    lambda h, x, w: h @ w,
    lambda h, x, w: sley.exp(-h * h),
    lambda h, x, w: (h - h.mean(-1, keepdim=True)) / (h.std(-1, keepdim=True) + 1),
    lambda h, x, w: sley.cat([x, h], dim=-1)[..., 1:4],
    lambda h, x, w: sley.softmax(h, dim=-1) + h.mean(0),
    lambda h, x, w: h.cumsum(-1) * 0.5,
    lambda h, x, w: sley.nn.functional.dropout(h, 0.3),
    lambda h, x, w: sley.where(h > x, h, x * h),
    lambda h, x, w: h[:, sley.tensor([2, 0, 1])],
    in_place,
]


def branched(one: Body, other: Body) -> Body:
    return lambda h, x, w: sley.cond(
        (h * x).sum() > 0, lambda h: one(h, x, w), lambda h: other(h, x, w), h
    )


def looped(body: Body) -> Body:
    def step(h, x, w):
        def turn(c, r):
            c = body(c, x * r, w)
            return c, c * r

        h, ys = sley.scan(turn, h, sley.linspace(0.2, 1, 3))
        return h + ys.mean(0)

    return step


def counted(body: Body) -> Body:
    return lambda h, x, w: sley.fori_loop(0, 2, lambda i, c: body(c, x + i, w), h)


def drawn_body(rng: random.Random, depth: int) -> Body:
    steps: list[Body] = []
    for _ in range(rng.randint(2, 6)):
        kind = rng.randrange(len(STEPS) + (4 if depth else 0)) - len(STEPS)
        if kind < 0:
            steps.append(STEPS[kind])
        elif kind == 0:
            steps.append(counted(drawn_body(rng, depth - 1)))
        elif kind == 1:
            steps.append(branched(drawn_body(rng, depth - 1), drawn_body(rng, depth - 1)))
        else:
            steps.append(looped(drawn_body(rng, depth - 1)))

    def body(h, x, w):
        for step in steps:
            h = step(h, x, w)
        return sley.tanh(h)

    return body


def drawn_program(seed: int, depth: int) -> Callable[..., sley.Tensor]:
    rng = random.Random(seed)
    body, reverse, has_ys = drawn_body(rng, depth), rng.random() < 0.5, rng.random() < 0.7

    def program(h, xs, w):
        def turn(c, x):
            c = body(c, x, w)
            return c, (c.sum() if has_ys else None)

        h, ys = sley.scan(turn, h, xs, reverse=reverse)
        return (h**2).sum() + (ys.sum() if has_ys else 0)

    return program


def with_gradients(program: Callable[..., sley.Tensor]) -> Callable[..., Any]:
    def run(*args):
        leaves = [a.detach().requires_grad_() for a in args]
        loss = program(*leaves)
        return (loss, *sley.autograd.grad(loss, leaves, materialize_grads=True))

    return run


def of_gradients(program: Callable[..., sley.Tensor]) -> Callable[..., sley.Tensor]:
    def run(*leaves):
        found = sley.autograd.grad(
            program(*leaves), leaves, create_graph=True, materialize_grads=True
        )
        return sley.sin(found[0]).sum() + sley.sin(found[1]).sum() + sley.sin(found[2]).sum()

    return run


@pytest.mark.parametrize(("seed", "order"), [(0, 1), (1, 1), (4, 1), (5, 1), (2, 2), (3, 2)])
def test_compiled_is_eager(seed: int, order: int) -> None:
    program = drawn_program(seed, depth=3 - order)
    run = with_gradients(program if order == 1 else of_gradients(program))
    rng = np.random.default_rng(seed)
    args = [sley.tensor(rng.normal(size=shape)) for shape in SHAPES]
    sley.manual_seed(1)
    expected = [t.detach().numpy() for t in run(*args)]
    compiled = sley.compile(run, dynamic=True if seed % 3 == 0 else None)
    sley.manual_seed(1)
    for found, wanted in zip(compiled(*args), expected, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-7, atol=1e-9)
