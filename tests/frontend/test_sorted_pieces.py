"""Gradients of pieces of what is sorted: the program computes the places of the piece alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sley

PIECES: dict[str, Callable[[sley.Tensor], sley.Tensor]] = {
    "topk": lambda x: sley.topk(x, 3, 1)[0],
    "topk, first axis": lambda x: sley.topk(x, 2, 0, largest=False)[0],
    "kthvalue": lambda x: sley.kthvalue(x, 4, 1)[0],
    "median": lambda x: sley.median(x, 1)[0],
    "every other": lambda x: sley.sort(x, 1)[0][:, 1::2],
    "other axis": lambda x: sley.sort(x, 1)[0][2:4],
    "both axes": lambda x: sley.sort(x, 1)[0][2:4, :3],
    "all": lambda x: sley.sort(x, 0)[0],
}


@pytest.mark.parametrize("name", PIECES)
def test_gradient_of_a_piece(name: str) -> None:
    piece = PIECES[name]

    def step(x: sley.Tensor) -> sley.Tensor:
        x = x.detach().requires_grad_(True)
        found = piece(x)
        (found * sley.arange(found.numel()).reshape(found.shape)).sum().backward()
        return x.grad

    x = sley.tensor(np.random.default_rng(8).permutation(35).reshape(7, 5).astype(np.float32))
    compiled = sley.compile(step)
    np.testing.assert_array_equal(compiled(x).numpy(), step(x).numpy())


def test_only_the_places_of_the_piece_are_sorted() -> None:
    def step(x: sley.Tensor) -> sley.Tensor:
        x = x.detach().requires_grad_(True)
        sley.topk(x, 2, 1)[0].sum().backward()
        return x.grad

    x = sley.tensor(np.random.default_rng(8).standard_normal((4, 1000)).astype(np.float32))
    text = sley.compile(step).lower(x).text(after="lower sort")
    assert "limit=2" in text and "limit=1000" not in text
