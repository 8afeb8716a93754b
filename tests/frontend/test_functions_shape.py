"""Shapes, joining, choosing by index, creating: against numpy, eager and recorded."""

from __future__ import annotations

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import check, dynamic

import sley
from sley import ArgumentError, IndexingError, ShapeError, TraceError

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
M = np.arange(12, dtype=np.float32).reshape(3, 4)

PAIRS = {
    "flatten": (lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
    "unflatten": (lambda x: x.unflatten(2, (2, -1)), lambda x: x.reshape(2, 3, 2, 2)),
    "ravel": (lambda x: x.ravel(), np.ravel),
    "squeeze": (lambda x: x[:, :1].squeeze(1), lambda x: x[:, 0]),
    "squeeze all": (lambda x: x[:1, :1].squeeze(), lambda x: x[0, 0]),
    "unsqueeze": (lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
    "permute": (lambda x: x.permute(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    "T": (lambda x: x.T, lambda x: x.T),
    "mT": (lambda x: x.mT, lambda x: x.swapaxes(1, 2)),
    "movedim": (lambda x: x.movedim((0, 1), (1, 2)), lambda x: np.moveaxis(x, (0, 1), (1, 2))),
    "expand": (lambda x: x[:, :1].expand(-1, 5, 4), lambda x: np.broadcast_to(x[:, :1], (2, 5, 4))),
    "cat": (lambda x: sley.cat([x, x + 1], -1), lambda x: np.concatenate([x, x + 1], -1)),
    "stack": (lambda x: sley.stack([x, x + 1], 1), lambda x: np.stack([x, x + 1], 1)),
    "hstack": (lambda x: sley.hstack([x, x]), lambda x: np.hstack([x, x])),
    "vstack": (lambda x: sley.vstack([x, x]), lambda x: np.vstack([x, x])),
    "dstack": (lambda x: sley.dstack([x[0], x[1]]), lambda x: np.dstack([x[0], x[1]])),
    "repeat": (lambda x: x.repeat(2, 1, 1, 3), lambda x: np.tile(x, (2, 1, 1, 3))),
    "tile": (lambda x: x.tile(2), lambda x: np.tile(x, 2)),
    "repeat_interleave": (lambda x: x.repeat_interleave(3, 1), lambda x: np.repeat(x, 3, 1)),
    "roll": (lambda x: x.roll((1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
    "roll flat": (lambda x: x.roll(5), lambda x: np.roll(x, 5)),
    "flip": (lambda x: x.flip(0, 2), lambda x: np.flip(x, (0, 2))),
    "fliplr": (lambda x: x.fliplr(), np.fliplr),
    "rot90": (lambda x: x.rot90(1, (1, 2)), lambda x: np.rot90(x, 1, (1, 2))),
    "rot270": (lambda x: x.rot90(-1, (1, 2)), lambda x: np.rot90(x, -1, (1, 2))),
    "narrow": (lambda x: x.narrow(2, 1, 2), lambda x: x[:, :, 1:3]),
    "select": (lambda x: x.select(1, -1), lambda x: x[:, -1]),
    "diagonal": (lambda x: x.diagonal(1, 1, 2), lambda x: np.diagonal(x, 1, 1, 2)),
    "diagonal low": (lambda x: x.diagonal(-1, 1, 2), lambda x: np.diagonal(x, -1, 1, 2)),
    "tril": (lambda x: x.tril(1), lambda x: np.tril(x, 1)),
    "triu": (lambda x: x.triu(-1), lambda x: np.triu(x, -1)),
    "unfold": (lambda x: x.unfold(2, 2, 1),
               lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, 2)),
    "atleast": (lambda x: sley.atleast_3d(x[0, 0]), lambda x: np.atleast_3d(x[0, 0])),
    "index_select": (lambda x: x.index_select(2, sley.tensor([3, 0, 3])),
                     lambda x: x[..., [3, 0, 3]]),
    "take": (lambda x: x.take(sley.tensor([[5, -1]])), lambda x: np.take(x, [[5, -1]])),
    "masked_fill": (lambda x: x.masked_fill(x > 5, 0.5), lambda x: np.where(x > 5, 0.5, x)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_one_tensor(name):
    function, reference = PAIRS[name]
    agree(function, reference, X)
    differentiates(function, X / 10)


def test_views_share_memory_and_are_written_through():
    x = sley.tensor(X)
    for view in (
        x.view(6, 4), x.reshape(-1), x.flatten(), x.T, x.permute(1, 0, 2), x.transpose(0, 2),
        x.squeeze(), x.unsqueeze(0), x.narrow(0, 1, 1), x.select(2, 1), x.diagonal(0, 1, 2),
        x.expand(3, 2, 3, 4), x.unbind(1)[0], x.split(2, 1)[1], x.chunk(2, 2)[0], x.movedim(0, 1),
    ):  # fmt: skip
        assert view.storage is x.storage
    for copy in (x.flip(0), x.roll(1, 0), x.repeat(1, 1, 1), x.contiguous().clone()):
        assert copy.storage is not x.storage
    x.diagonal(0, 1, 2).fill_(-1.0)
    assert x[0, 1, 1].item() == -1
    x.chunk(2, 2)[1].zero_()
    assert x[..., 2:].abs().sum().item() == 0
    check(lambda t: (t.diagonal(0, 1, 2).fill_(5.0), t * 1.0)[1], X)
    with pytest.raises(ShapeError, match="reshape"):
        x.T.view(24)


def test_cutting():
    x = sley.tensor(np.arange(10))
    assert [p.tolist() for p in x.split(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [len(p) for p in x.split([1, 2, 7])] == [1, 2, 7]
    assert [len(p) for p in x.chunk(3)] == [4, 4, 2]
    assert [len(p) for p in x.tensor_split(3)] == [4, 3, 3]
    assert [p.tolist() for p in x.tensor_split([2, -1])] == [[0, 1], list(range(2, 9)), [9]]
    assert len(x.unbind()) == 10
    with pytest.raises(ArgumentError):
        x.split([1, 2])
    with pytest.raises(IndexingError):
        x.narrow(0, 8, 3)
    with pytest.raises(ShapeError):
        sley.cat([sley.zeros(2, 3), sley.zeros(2, 4)])
    assert sley.cat([sley.zeros(0), sley.ones(2, 1)]).shape == (2, 1)
    assert sley.cat([sley.tensor([1]), sley.tensor([0.5])]).dtype is sley.float32


def test_gather_and_scatter():
    index = np.array([[0, 2, 1], [3, 0, 0]])

    def taken(x, i):
        return sley.gather(x, 1, i)

    agree(taken, lambda x, i: np.take_along_axis(x[:2], i, 1), M, index)
    agree(lambda x, i: sley.take_along_dim(x, i, 1), lambda x, i: np.take_along_axis(x, i, 1),
          M[:2], index)  # fmt: skip
    differentiates(taken, M / 10, index)
    base = sley.zeros(2, 4)
    src = sley.tensor([[1.0, 2, 3], [4, 5, 6]])
    places = sley.tensor(index)
    assert base.scatter(1, places, src).tolist() == [[1, 3, 2, 0], [6, 0, 0, 4]]
    assert base.scatter_add(1, places, src).tolist() == [[1, 3, 2, 0], [11, 0, 0, 4]]
    assert base.scatter(1, places, 7.0).sum().item() == 35
    differentiates(lambda b, s: sley.scatter_add(b, 1, places, s), base.array, src.array)
    differentiates(lambda b, s: sley.scatter(b, 1, places, s), base.array, src.array)
    assert sley.index_add(base, 1, sley.tensor([1, 1]), sley.ones(2, 2), alpha=2).tolist() == [
        [0, 4, 0, 0], [0, 4, 0, 0],
    ]  # fmt: skip
    assert base.index_copy(0, sley.tensor([1]), sley.ones(1, 4)).sum().item() == 4
    assert base.index_fill(1, sley.tensor([0]), 3).sum().item() == 6
    put = base.index_put((sley.tensor([0, 0]), sley.tensor([1, 1])), sley.tensor(1.0), True)
    assert put[0, 1].item() == 2 and base[0, 1].item() == 0
    with pytest.raises(IndexingError):
        taken(sley.tensor(M), sley.tensor([[4]]))
    with pytest.raises(ShapeError):
        taken(sley.tensor(M), sley.tensor([0]))


def test_what_depends_on_data_is_eager_only():
    x = sley.tensor([[0, 3], [4, 0]])
    assert x.nonzero().tolist() == [[0, 1], [1, 0]]
    assert [p.tolist() for p in x.nonzero(as_tuple=True)] == [[0, 1], [1, 0]]
    assert x.masked_select(x > 0).tolist() == [3, 4]
    assert x.repeat_interleave(sley.tensor([2, 1]), 0).tolist() == [[0, 3], [0, 3], [4, 0]]
    with pytest.raises(TraceError, match="where"):
        check(lambda t: t.nonzero(), np.ones(3))


# Creating


def test_filled_tensors():
    assert sley.zeros(2, 3).array.tolist() == np.zeros((2, 3)).tolist()
    assert sley.ones((2,), dtype=sley.int64).dtype is sley.int64
    assert sley.full((2,), 3).dtype is sley.int64 and sley.full((2,), 3.0).dtype is sley.float32
    assert sley.full((2,), True).dtype is sley.bool
    assert sley.full((), sley.tensor(2.0)).item() == 2
    like = sley.ones_like(sley.tensor(X), dtype=sley.float64)
    assert like.shape == X.shape and like.dtype is sley.float64
    assert sley.zeros(2, requires_grad=True).requires_grad
    filled = sley.full((2, 2), 1.5, dtype=sley.bfloat16)
    filled[0, 0] = 2.0
    assert filled.tolist() == [[2.0, 1.5], [1.5, 1.5]]
    with pytest.raises(ShapeError):
        sley.zeros(-1)
    with pytest.raises(ArgumentError):
        sley.zeros(1, device="cuda")


def test_counted_tensors():
    assert sley.arange(4).tolist() == [0, 1, 2, 3] and sley.arange(4).dtype is sley.int64
    assert sley.arange(5, 1, -2).tolist() == [5, 3]
    np.testing.assert_array_equal(sley.arange(0, 1, 0.1).array, np.arange(0, 1, 0.1).astype("f4"))
    assert sley.arange(3, dtype=sley.float32).dtype is sley.float32
    for n in (0, 1, 2, 7):
        np.testing.assert_allclose(
            sley.linspace(-1, 2, n, dtype=sley.float64).array, np.linspace(-1, 2, n), rtol=1e-15
        )
    np.testing.assert_allclose(sley.logspace(0, 2, 5).array, np.logspace(0, 2, 5), rtol=1e-6)
    assert sley.linspace(0, 1, 11)[-1].item() == 1
    with pytest.raises(ArgumentError):
        sley.arange(1, 5, 0)
    check(lambda x: x + sley.arange(3) + sley.linspace(0, 1, 3), np.zeros(3, np.float32))


def test_matrices_and_grids():
    np.testing.assert_array_equal(sley.eye(2, 3).array, np.eye(2, 3))
    np.testing.assert_array_equal(sley.diag(sley.tensor([1, 2]), -1).array, np.diag([1, 2], -1))
    np.testing.assert_array_equal(sley.diag(sley.tensor(M), 1).array, np.diag(M, 1))
    np.testing.assert_array_equal(sley.tril_indices(3, 4).array, np.stack(np.tril_indices(3, 0, 4)))
    for indexing in ("ij", "xy"):
        found = sley.meshgrid(sley.arange(2), sley.arange(3), indexing=indexing)
        for x, y in zip(found, np.meshgrid(range(2), range(3), indexing=indexing), strict=True):
            np.testing.assert_array_equal(x.array, y)
    assert sley.one_hot(sley.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(IndexingError):
        sley.one_hot(sley.tensor([2]), 2)


def test_numbers_of_dtypes():
    assert sley.finfo(sley.float32).eps == np.finfo(np.float32).eps
    assert sley.finfo(sley.bfloat16).max > 3e38 and sley.iinfo(sley.int32).max == 2**31 - 1
    with pytest.raises(sley.DTypeError):
        sley.finfo(sley.int64)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(), lambda x: x.reshape(-1, 2), lambda x: x.repeat(2, 1),
        lambda x: x.flip(0), lambda x: sley.cat([x, x]), lambda x: sley.stack([x, x], 1),
        lambda x: x.roll(1, 0) if x.shape[0] else x, lambda x: x.unsqueeze(1).expand(-1, 3, 4),
        lambda x: sley.zeros_like(x) + sley.arange(x.shape[0])[:, None],
        lambda x: x.chunk(2, 1)[1], lambda x: x.gather(1, sley.zeros(x.shape, dtype=sley.int64)),
        lambda x: sley.tril(x.mT @ x), lambda x: x + sley.eye(x.shape[0], 4),
        lambda x: x + sley.linspace(0, 1, x.shape[0])[:, None],
    ],
)  # fmt: skip
def test_symbolic_sizes(function):
    recorded, _ = dynamic(function, [("N", 4)], {"N": 3})
    for size in (2, 5):
        x = np.random.default_rng(size).standard_normal((size, 4)).astype(np.float32)
        (found,) = recorded.run({recorded.graph.params[0]: x})
        np.testing.assert_allclose(found, function(sley.tensor(x)).array, rtol=1e-6)
