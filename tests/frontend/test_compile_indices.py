"""Indices among the data: a compiled call raises where eager code would, before it writes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sley
import sley.nn as nn
import sley.nn.functional as F
from sley import optim


def integers(*values: int) -> sley.Tensor:
    return sley.tensor(np.array(values, np.int64))


CASES: dict[str, tuple[Callable[..., sley.Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "index": (lambda x, i: x[i] * 2.0, (0, 3, -4), (0, 4)),
    "negative": (lambda x, i: x[i] * 2.0, (0, 3), (0, -5)),
    "index_select": (lambda x, i: x.index_select(0, i), (3, 0), (4, 0)),
    "embedding": (lambda x, i: F.embedding(i, x), (3, 0), (1, -1)),
    "computed": (lambda x, i: x[(i + 1) // 2], (6, 0), (8, 0)),
    "write": (lambda x, i: x.index_add(0, i, x[:2]), (3, 0), (4, 0)),
    "gather": (lambda x, i: x.gather(1, i.reshape(2, 1)), (2, 0), (3, 0)),
    "two axes": (lambda x, i: x[i, -i - 1], (0, 2), (0, 3)),
    "scatter": (lambda x, i: x.scatter(1, i.reshape(2, 1), 5.0), (2, 0), (3, 0)),
    "index_put": (lambda x, i: x.index_put((i[:1], i[1:]), x[0, :1]), (3, 2), (0, 3)),
    "one_hot": (lambda x, i: F.one_hot(i, 4), (3, 0), (4, 0)),
    "classes": (lambda x, i: F.cross_entropy(x, i), (0, 2, 1, -100), (0, 3, 1, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_index_out_of_range(name: str) -> None:
    function, good, bad = CASES[name]
    compiled = sley.compile(function)
    x = sley.tensor(np.arange(12, dtype=np.float32).reshape(4, 3))
    np.testing.assert_allclose(
        compiled(x, integers(*good)).numpy(), function(x, integers(*good)).numpy(), 1e-5
    )
    for call in (function, compiled):
        with pytest.raises(sley.IndexingError):
            call(x, integers(*bad))
    assert len(compiled.programs) <= 2


def test_nothing_is_written_before_the_error() -> None:
    model = nn.Linear(4, 3)
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @sley.compile
    def step(x: sley.Tensor, y: sley.Tensor) -> sley.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    x = sley.tensor(np.ones((2, 4), np.float32))
    step(x, integers(0, 2))
    before = [p.detach().numpy().copy() for p in model.parameters()]
    grads = [p.grad.numpy().copy() for p in model.parameters()]
    with pytest.raises(sley.IndexingError, match="cross_entropy"):
        step(x, integers(0, 3))
    for p, old, grad in zip(model.parameters(), before, grads, strict=True):
        assert np.array_equal(p.detach().numpy(), old)
        assert np.array_equal(p.grad.numpy(), grad)
    step(x, integers(1, 1))
    assert len(step.programs) == 1


def test_an_index_that_the_model_makes_is_not_computed_twice() -> None:
    w = sley.tensor(np.eye(3, dtype=np.float32))
    function = sley.compile(lambda x: x[(x @ w).argmax(1)])
    x = sley.tensor(np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32))
    expected = x.numpy()[x.numpy().argmax(1)]
    assert np.array_equal(function(x).numpy(), expected)


def test_sizes_that_no_index_tells() -> None:
    @sley.compile
    def function(x: sley.Tensor, i: sley.Tensor) -> sley.Tensor:
        n = sley.arange(x.shape[0])
        return x[n] + x[(i + n.sum() * 0) % x.shape[0]].sum() + x[n * 0 + i]

    for rows in (4, 3, 5):
        x = sley.tensor(np.arange(rows, dtype=np.float32))
        i = integers(1)
        want = x.numpy() + 2.0
        assert np.array_equal(function(x, i).numpy(), want)
        with pytest.raises(sley.IndexingError):
            function(x, integers(rows))


def test_indices_counted_up_to_a_size_are_looked_at() -> None:
    """Positions beyond a table of them, the length being a symbol."""
    table = sley.nn.Embedding(8, 4)

    @sley.compile(dynamic=True)
    def embedded(x: sley.Tensor) -> sley.Tensor:
        return x + table(sley.arange(x.size(1)))

    for length in (3, 8):
        assert embedded(sley.ones(2, length, 4)).shape == (2, length, 4)
    with pytest.raises(IndexError, match=r"index 8 is not in 0 \.\. 7"):
        embedded(sley.ones(2, 9, 4))


def test_an_index_may_be_a_size_alone() -> None:
    """One position, behind a cache that grows."""
    table = sley.nn.Embedding(8, 4)

    @sley.compile
    def grown(token: sley.Tensor, cache: sley.Tensor) -> sley.Tensor:
        past = cache.size(1)
        here = token + table(sley.arange(past, past + token.size(1)))
        return sley.cat([cache, here], 1)

    cache = sley.zeros(2, 1, 4)
    for past in range(1, 8):
        cache = grown(sley.zeros(2, 1, 4), cache)
        np.testing.assert_array_equal(cache[0, -1].detach(), table.weight[past].detach())
    with pytest.raises(IndexError, match=r"index 8 is not in 0 \.\. 7"):
        grown(sley.zeros(2, 1, 4), cache)


@pytest.mark.parametrize("size", [100, 300, 70000])
def test_the_error_tells_the_index_and_narrow_ones_below_zero_are_found(size: int) -> None:
    compiled = sley.compile(lambda i, x: F.embedding(i, x))
    table = sley.zeros((size, 2))
    for dtype in (np.int32, np.int64):
        with pytest.raises(sley.IndexingError, match=f"-1 is not in 0 .. {size - 1}"):
            compiled(sley.tensor(np.array([3, -1, 5], dtype)), table)
        with pytest.raises(sley.IndexingError, match=f"{size} is not in"):
            compiled(sley.tensor(np.array([3, size, 5], dtype)), table)
        assert compiled(sley.tensor(np.array([3, size - 1], dtype)), table).shape == (2, 2)


def test_no_indices_of_nothing() -> None:
    compiled = sley.compile(lambda i, x: x.index_select(0, i))
    assert compiled(sley.zeros((0,), dtype=sley.int64), sley.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("shape", [(5, 3), (70, 65), (300, 129)])
def test_a_program_that_makes_new_tensors_looks_while_it_reads(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    x = sley.tensor(rng.standard_normal(shape).astype(np.float32))
    compiled = sley.compile(lambda x, i: (x.gather(1, i), x.gather(0, i % 2).sum()))
    for dtype in (np.int64, np.int32):
        index = rng.integers(0, shape[1], shape).astype(dtype)
        found, _ = compiled(x, sley.tensor(index))
        np.testing.assert_array_equal(found.numpy(), np.take_along_axis(x.numpy(), index, 1))
        for wrong in (-1, shape[1]):
            broken = index.copy()
            broken[-1, -1] = wrong
            with pytest.raises(sley.IndexingError, match=f"gather: index {wrong} is not in 0"):
                compiled(x, sley.tensor(broken))
    assert len(compiled.lower(x, sley.tensor(index)).graph.yields) == 2 + 2


def test_what_writes_looks_before() -> None:
    total = sley.zeros(3)

    @sley.compile
    def add(x: sley.Tensor, i: sley.Tensor) -> sley.Tensor:
        total.add_(x[i].sum(0))
        return x[i]

    x = sley.tensor(np.ones((4, 3), np.float32))
    add(x, integers(0, 3))
    with pytest.raises(sley.IndexingError):
        add(x, integers(0, 4))
    np.testing.assert_array_equal(total.numpy(), [2.0, 2.0, 2.0])
    assert len(add.lower(x, integers(0, 3)).graph.yields) == 2


def test_gradients_from_outside_of_what_looks_while_it_reads() -> None:
    compiled = sley.compile(lambda w, i: (w[i] ** 2).sum())
    w = sley.tensor(np.arange(6, dtype=np.float32).reshape(3, 2)).requires_grad_(True)
    compiled(w, integers(0, 2, 2)).backward()
    np.testing.assert_array_equal(w.grad.numpy(), [[0, 2], [0, 0], [16, 20]])
    with pytest.raises(sley.IndexingError):
        compiled(w, integers(0, 2, 3))
