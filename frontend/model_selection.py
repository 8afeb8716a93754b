"""`sley.model_selection`: which examples to train on, and which to hold out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError
from .functions.random import randperm
from .random_state import Generator
from .tensor import Tensor

Split = tuple[np.ndarray, np.ndarray]
Randomness = int | Generator | None


def kfold(
    examples: Any, n_splits: int = 5, *, shuffle: bool = False, random_state: Randomness = None
) -> Iterator[Split]:
    """`n_splits` times (numbers to train on, numbers held out), int64: each example is held out
    once. Without `shuffle` the parts are runs of neighbours.

    Args:
        examples: how many, or what has so many (a dataset, a tensor).
        random_state: of the shuffling: a seed, a generator, or None for the default stream.

    Raises:
        ArgumentError: fewer than 2 splits, or more than examples.

    >>> [held_out.tolist() for _, held_out in kfold(5, 2)]
    [[0, 1, 2], [3, 4]]
    """
    count = _count(examples)
    _check_splits(n_splits, count)
    order = _shuffled(count, random_state) if shuffle else np.arange(count)
    part = np.empty(count, np.int64)
    for number, held_out in enumerate(np.array_split(order, n_splits)):
        part[held_out] = number
    return _splits(part, n_splits)


def stratified_kfold(
    y: Any, n_splits: int = 5, *, shuffle: bool = False, random_state: Randomness = None
) -> Iterator[Split]:
    """As `kfold`, with about the same share of each class in every part. `y` holds the classes.

    Raises:
        ArgumentError: fewer than 2 splits, or more than each class has examples.

    >>> y = [0, 0, 0, 0, 1, 1]
    >>> [held_out.tolist() for _, held_out in stratified_kfold(y, 2)]
    [[0, 1, 4], [2, 3, 5]]
    """
    classes = _classes(y)
    counts = np.bincount(classes)
    _check_splits(n_splits, counts.max(initial=0))
    # Dealing out the sorted examples like cards gives each part its number of each class.
    ascending = np.sort(classes)
    dealt = [np.bincount(ascending[k::n_splits], minlength=len(counts)) for k in range(n_splits)]
    part = np.empty(len(classes), np.int64)
    generator = _generator(random_state)
    for number in range(len(counts)):
        places = np.repeat(np.arange(n_splits), [d[number] for d in dealt])
        part[classes == number] = places[_shuffled(len(places), generator)] if shuffle else places
    return _splits(part, n_splits)


def train_test_split(
    *arrays: Any,
    test_size: float | None = None,
    train_size: float | None = None,
    random_state: Randomness = None,
    shuffle: bool = True,
    stratify: Any = None,
) -> list[Any]:
    """Each of the arrays, tensors and lists in two: [train, test, train, test, ...], all cut in the
    same way.

    Args:
        test_size, train_size: shares (floats) or numbers of examples; a quarter is held out unless
            given.
        stratify: classes, of which both parts get about the same shares.

    Raises:
        ShapeError: the arrays have different lengths.
        ArgumentError: a part would be empty, or both are more than there is.

    >>> train, test = train_test_split([1, 2, 3, 4], shuffle=False)
    >>> train, test
    ([1, 2, 3], [4])
    """
    lengths = [_count(array) for array in arrays]
    if not lengths:
        raise ArgumentError("train_test_split of nothing")
    if len(set(lengths)) > 1:
        raise ShapeError(f"train_test_split of {lengths} examples")
    count = lengths[0]
    train, test = _sizes(count, test_size, train_size)
    if stratify is not None:
        if not shuffle:
            raise ArgumentError("train_test_split: stratify without shuffle")
        kept, held_out = _stratified(_classes(stratify), train, test, _generator(random_state))
    else:
        order = _shuffled(count, random_state) if shuffle else np.arange(count)
        # Shuffled, the first ones are held out; else the last ones.
        kept = order[test : test + train] if shuffle else order[:train]
        held_out = order[:test] if shuffle else order[train : train + test]
    return [_taken(array, part) for array in arrays for part in (kept, held_out)]


def _splits(part: np.ndarray, n_splits: int) -> Iterator[Split]:
    numbers = np.arange(len(part))
    return ((numbers[part != k], numbers[part == k]) for k in range(n_splits))


def _stratified(classes: np.ndarray, train: int, test: int, generator: Generator | None) -> Split:
    counts = np.bincount(classes)
    if counts.min() < 2 or min(train, test) < len(counts):
        raise ArgumentError(
            f"train_test_split: classes of {counts.tolist()} examples into {train} and {test}",
            hint="both parts need at least one of each class",
        )
    held = _apportioned(counts, test)
    kept = np.minimum(_apportioned(counts, train), counts - held)
    kept[np.argmax(counts - held - kept)] += train - kept.sum()
    parts: tuple[list, list] = ([], [])
    for number in range(len(counts)):
        own = np.flatnonzero(classes == number)[_shuffled(counts[number], generator)]
        parts[1].append(own[: held[number]])
        parts[0].append(own[held[number] : held[number] + kept[number]])
    whole = [np.concatenate(part) for part in parts]
    return tuple(w[_shuffled(len(w), generator)] for w in whole)


def _apportioned(counts: np.ndarray, total: int) -> np.ndarray:
    """`total` in the shares of `counts`, whole numbers: the largest remainders are rounded up."""
    exact = counts * (total / counts.sum())
    whole = np.floor(exact).astype(np.int64)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole


def _sizes(count: int, test_size: float | None, train_size: float | None) -> tuple[int, int]:
    if test_size is None and train_size is None:
        test_size = 0.25
    test = None if test_size is None else _size(count, test_size, math.ceil)
    train = None if train_size is None else _size(count, train_size, math.floor)
    train = count - test if train is None and test is not None else train
    test = count - train if test is None and train is not None else test
    assert train is not None and test is not None
    if train < 1 or test < 1 or train + test > count:
        raise ArgumentError(f"train_test_split: {count} examples into {train} and {test}")
    return train, test


def _size(count: int, size: float, rounded: Any) -> int:
    if isinstance(size, float):
        if not 0 < size < 1:
            raise ArgumentError(f"train_test_split: the share {size} is not between 0 and 1")
        return rounded(count * size)
    return int(size)


def _taken(array: Any, numbers: np.ndarray) -> Any:
    if isinstance(array, (Tensor, np.ndarray)):
        return array[numbers]
    return [array[number] for number in numbers]


def _count(examples: Any) -> int:
    return examples if isinstance(examples, int) else len(examples)


def _classes(y: Any) -> np.ndarray:
    """By example the number of its class, counted as they first occur."""
    values = y.detach().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if values.ndim != 1:
        raise ShapeError(f"classes {list(values.shape)}: one for each example")
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _check_splits(n_splits: int, count: int) -> None:
    if not 2 <= n_splits <= count:
        raise ArgumentError(f"{n_splits} splits of {count} examples: 2 to {count} can be made")


def _generator(random_state: Randomness) -> Generator | None:
    return Generator(random_state) if isinstance(random_state, int) else random_state


def _shuffled(count: int, random_state: Randomness) -> np.ndarray:
    return randperm(int(count), generator=_generator(random_state)).numpy()


__all__ = ["kfold", "stratified_kfold", "train_test_split"]
