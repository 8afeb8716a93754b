"""Reductions and prefixes against numpy, eager and recorded, with symbolic sizes."""

from __future__ import annotations

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import dynamic
from scipy import special

import sley

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
I = np.array([[3, -1, 4], [1, -5, 9]], np.int64)
B = np.array([[True, False], [True, True]])


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), [1]])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "any", "all", "var", "std"])
def test_reductions(name, dim, keep):
    axis = tuple(dim) if isinstance(dim, list) else dim
    extra = {"ddof": 1} if name in ("var", "std") else {}
    agree(
        lambda x: getattr(sley, name)(x, dim, keepdim=keep),
        lambda x: np.asarray(getattr(np, name)(x, axis=axis, keepdims=keep, **extra)),
        X, rtol=1e-5,
    )  # fmt: skip


def test_numpy_spells_the_arguments_otherwise():
    x = sley.tensor(X)
    assert x.sum(axis=1, keepdims=True).shape == (2, 1, 4)
    with pytest.raises(sley.ArgumentError):
        sley.sum(x, dim=1, axis=1)


def test_dtypes_of_sums():
    assert sley.sum(sley.tensor(B)).item() == 3
    assert sley.sum(sley.tensor(I)).dtype is sley.int64
    assert sley.tensor([1, 2], dtype=sley.uint8).sum().dtype is sley.int64
    assert sley.tensor(I).sum(dtype=sley.float32).dtype is sley.float32
    assert sley.prod(sley.tensor(I), 1).tolist() == [-12, -45]
    with pytest.raises(sley.DTypeError):
        sley.mean(sley.tensor(I))
    with pytest.raises(sley.ArgumentError):
        sley.sum(sley.tensor(X), (0, 0))
    with pytest.raises(sley.IndexingError):
        sley.sum(sley.tensor(X), 3)


def test_halves_are_averaged_in_float32():
    x = sley.full((4096,), 3.0, dtype=sley.float16)
    assert x.mean().item() == 3.0 and x.mean().dtype is sley.float16
    many = sley.full((70000,), 1.0, dtype=sley.float16)
    assert many.mean().item() == 1.0 and many.var(correction=0).item() == 0


def test_max_and_min_forms():
    x = sley.tensor([[1.0, 3.0, 3.0], [2.0, np.nan, 5.0]])
    assert x[0].max().item() == 3
    values, indices = x.max(1)
    assert indices.tolist() == [1, 1] and values[0].item() == 3 and np.isnan(values[1].item())
    assert x.max(dim=1).values.shape == (2,)
    assert sley.min(sley.tensor(I), 0).indices.tolist() == [1, 1, 0]
    assert sley.max(sley.tensor(I), sley.tensor(0)).tolist() == [[3, 0, 4], [1, 0, 9]]
    assert sley.argmax(sley.tensor(I)).item() == 5
    assert sley.argmin(sley.tensor(I), 1, keepdim=True).tolist() == [[1], [1]]
    assert sley.aminmax(sley.tensor(I)).max.item() == 9
    with pytest.raises(sley.ArgumentError):
        sley.zeros(0).max()


def test_gradients_of_ties():
    x = sley.tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max(0).values.backward()
    assert x.grad.tolist() == [0, 1, 0]
    x.grad = None
    x.amax().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5]


def test_prefixes():
    for dim in (0, 1, 2):
        agree(lambda x, d=dim: sley.cumsum(x, d), lambda x, d=dim: np.cumsum(x, d), X, rtol=1e-5)
        agree(lambda x, d=dim: sley.cumprod(x, d), lambda x, d=dim: np.cumprod(x, d), X, rtol=1e-5)
        agree(lambda x, d=dim: sley.cummax(x, d)[0],
              lambda x, d=dim: np.maximum.accumulate(x, d), X)  # fmt: skip
    values, indices = sley.cummax(sley.tensor([1, 3, 3, 2]), 0)
    assert values.tolist() == [1, 3, 3, 3] and indices.tolist() == [0, 1, 2, 2]
    values, indices = sley.cummin(sley.tensor([5, -(2**63), 0]), 0)
    assert values.tolist() == [5, -(2**63), -(2**63)] and indices.tolist() == [0, 1, 1]
    nan = sley.cummin(sley.tensor([1.0, np.nan, 0.0]), 0)
    assert np.isnan(nan.values.tolist()[2]) and nan.indices.tolist() == [0, 1, 1]
    assert sley.cumsum(sley.tensor([True, True]), 0).tolist() == [1, 2]


@pytest.mark.parametrize("p", ["fro", 1, 2, 3.5, np.inf, -np.inf, 0])
def test_norms(p):
    order = 2 if p == "fro" else p
    agree(
        lambda x: sley.norm(x, p, 1),
        lambda x: np.linalg.norm(x, ord=order, axis=1), X, rtol=1e-5,
    )  # fmt: skip


def test_more_statistics():
    agree(lambda x: sley.logsumexp(x, 1), lambda x: special.logsumexp(x, axis=1), X, rtol=1e-5)
    assert sley.logsumexp(sley.tensor([-np.inf, -np.inf]), 0).item() == -np.inf
    assert sley.logsumexp(sley.tensor([1e4, 1e4]), 0).item() == pytest.approx(1e4 + np.log(2))
    assert sley.count_nonzero(sley.tensor(I)).item() == 6
    agree(lambda x: sley.nansum(x), np.nansum, np.float32([1, np.nan, 2]))
    agree(lambda x: sley.nanmean(x), np.nanmean, np.float32([1, np.nan, 2]))
    var, mean = sley.var_mean(sley.tensor(X), 1, keepdim=True)
    np.testing.assert_allclose(var.array, X.var(1, ddof=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(mean.array, X.mean(1, keepdims=True), rtol=1e-5)
    assert sley.var(sley.tensor(X), unbiased=False).item() == pytest.approx(X.var(), rel=1e-5)
    assert sley.tensor(5.0).sum(0).item() == 5 and sley.tensor(5.0).argmax().item() == 0


def test_gradients():
    differentiates(lambda x: sley.var(x, 1), X)
    differentiates(lambda x: sley.std(x, (0, 2)), X)
    differentiates(lambda x: sley.logsumexp(x, -1), X)
    differentiates(lambda x: sley.norm(x, 2, 0), X)
    differentiates(lambda x: sley.norm(x, 3), X)
    differentiates(lambda x: sley.prod(x, 1), X)
    differentiates(lambda x: sley.max(x, 2)[0], X)
    differentiates(lambda x: sley.cummin(x, 1)[0], X)
    zero = sley.zeros(3, requires_grad=True)
    sley.norm(zero).backward()
    assert zero.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(0), lambda x: x.var(0), lambda x: x.std(), lambda x: x.sum(0, True),
        lambda x: sley.logsumexp(x, 0), lambda x: x.cumsum(0), lambda x: x.max(1)[1],
        lambda x: x.cummax(0)[1], lambda x: x.norm(dim=0),
    ],
)  # fmt: skip
def test_symbolic_sizes(function):
    recorded, _ = dynamic(function, [("N", 4)], {"N": 3})
    for size in (1, 3, 6):
        x = np.random.default_rng(size).standard_normal((size, 4)).astype(np.float32)
        (param,) = recorded.graph.params
        (found,) = recorded.run({param: x})
        np.testing.assert_allclose(found, function(sley.tensor(x)).array, rtol=1e-6)
