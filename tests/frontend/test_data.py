"""Datasets, samplers and loaders."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import sley
from sley import ArgumentError
from sley.utils import data

ROWS = data.TensorDataset(sley.arange(10), sley.arange(10) * 2.0)


def test_batches():
    batches = list(data.DataLoader(ROWS, 4))
    assert [b[0].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[1][1].tolist() == [8, 10, 12, 14]
    assert len(data.DataLoader(ROWS, 4, drop_last=True)) == 2
    assert len(list(data.DataLoader(ROWS, 4, drop_last=True))) == 2
    single = next(iter(data.DataLoader(ROWS, batch_size=None)))
    assert single[0].item() == 0
    sley.manual_seed(0)
    loader = data.DataLoader(ROWS, 3, shuffle=True)
    first, second = ([n for b in loader for n in b[0].tolist()] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second


def test_collate():
    batch = data.default_collate(
        [{"a": 1, "b": (np.ones(2), "x")}, {"a": 2, "b": (np.ones(2), "y")}]
    )
    assert batch["a"].tolist() == [1, 2] and batch["b"][0].shape == (2, 2)
    assert batch["b"][1] == ["x", "y"]
    with pytest.raises(sley.DTypeError):
        data.default_collate([object()])
    loader = data.DataLoader([3, 1], 2, collate_fn=sum)
    assert list(loader) == [4]


def test_datasets():
    sley.manual_seed(0)
    parts = data.random_split(ROWS, [0.75, 0.25])
    assert [len(p) for p in parts] == [8, 2]
    assert sorted(int(p[i][0]) for p in parts for i in range(len(p))) == list(range(10))
    joined = parts[0] + parts[1]
    assert len(joined) == 10 and joined[-1][0].item() == parts[1][1][0].item()
    with pytest.raises(ArgumentError):
        data.random_split(ROWS, [3, 3])
    with pytest.raises(sley.ShapeError):
        data.TensorDataset(sley.ones(2), sley.ones(3))

    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [b.tolist() for b in data.DataLoader(Stream(), 2)] == [[0, 1], [2, 3], [4]]


def test_samplers():
    sley.manual_seed(0)
    drawn = list(data.WeightedRandomSampler([0.0, 1.0, 3.0], 200))
    assert set(drawn) == {1, 2} and 100 < drawn.count(2) < 190
    assert sorted(data.SubsetRandomSampler([4, 7])) == [4, 7]
    assert len(list(data.RandomSampler(ROWS, True, 25))) == 25
    batches = data.BatchSampler(data.SequentialSampler(ROWS), 4, False)
    assert len(batches) == 3 and len(list(data.DataLoader(ROWS, batch_sampler=batches))) == 3


def test_shuffle_and_sampler_exclude_each_other():
    with pytest.raises(ArgumentError):
        data.DataLoader(ROWS, shuffle=True, sampler=data.SequentialSampler(ROWS))


def test_collate_as_documented():
    assert data.default_collate([1.5, 2]).dtype is sley.float64
    assert data.default_collate([True, False]).dtype is sley.bool
    assert data.default_collate([np.float32(1), np.float32(2)]).dtype is sley.float32
    with pytest.raises(sley.ShapeError, match="elements"):
        data.default_collate([[1, 2], [1]])
    with pytest.raises(sley.ShapeError, match="shapes"):
        data.default_collate([np.ones(2), np.ones(3)])
    with pytest.raises(sley.DTypeError, match="dtype"):
        data.default_collate([np.array("a"), np.array("b")])


def test_convert():
    Pair = collections.namedtuple("Pair", "x y")
    array = np.ones((2, 2), np.float32)
    got = data.default_convert(Pair({"a": array}, [3, "s", (array, b"x")]))
    assert type(got) is Pair and got.y[:2] == [3, "s"] and got.y[2][1] == b"x"
    array[0] = 5
    assert got.x["a"][0].tolist() == [5, 5], "the same memory"
    assert isinstance(next(iter(data.DataLoader([array], batch_size=None))), sley.Tensor)


def test_stacked_and_chained():
    pair = data.StackDataset(ROWS, range(10))
    assert pair[2][1] == 2 and pair[2][0][1].item() == 4 and len(pair) == 10
    with pytest.raises(sley.ShapeError):
        data.StackDataset(ROWS, range(9))
    with pytest.raises(ArgumentError):
        data.StackDataset()
    with pytest.raises(ArgumentError, match="stream"):
        list(data.ChainDataset([ROWS]))


def test_rows_of_subsets_are_gathered():
    inner = data.Subset(data.Subset(ROWS, list(range(9, -1, -1))), [0, 2, 4])
    (batch,) = data.DataLoader(inner, 3)
    assert batch[0].tolist() == [9, 7, 5] and type(batch) is list

    class Doubled(data.TensorDataset):
        def __getitem__(self, index):
            return tuple(2 * row for row in super().__getitem__(index))

    (batch,) = data.DataLoader(Doubled(sley.arange(3)), 3)
    assert batch[0].tolist() == [0, 2, 4], "a subclass gives its own examples"

    class Many(data.Dataset):
        def __getitems__(self, indices):
            return [10 * i for i in indices]

    (batch,) = data.DataLoader(data.Subset(Many(), [3, 1]), 2)
    assert batch.tolist() == [30, 10]


def test_types_of_examples_may_be_named():
    class Ones(data.Dataset[int]):
        def __getitem__(self, index: int) -> int:
            return 1

        def __len__(self) -> int:
            return 3

    class Backwards(data.Sampler[int]):
        def __iter__(self):
            return iter([2, 1, 0])

    loader: data.DataLoader[int] = data.DataLoader(Ones(), 2, sampler=Backwards())
    assert [b.tolist() for b in loader] == [[1, 1], [1]]


def test_no_examples():
    empty = data.TensorDataset(sley.zeros(0, 2))
    for shuffle in (False, True):
        assert list(data.DataLoader(empty, 2, shuffle=shuffle)) == []
        assert list(data.DataLoader(empty, 2, shuffle=shuffle, num_workers=2)) == []
