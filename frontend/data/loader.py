"""Examples in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from ..construct import tensor
from ..errors import ArgumentError, DTypeError, UnsupportedError
from ..functions.joining import stack
from ..random_state import Generator
from ..tensor import Tensor
from .dataset import IterableDataset, TensorDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler


def default_collate(batch: list[Any]) -> Any:
    """A list of examples as one: tensors, arrays and numbers stacked along a new first axis,
    strings in a list, tuples, lists and dicts element by element.

    Raises:
        DTypeError: an example holds something else.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, (np.ndarray, np.generic)):
        return tensor(np.stack(batch))
    if isinstance(first, (bool, int, float)):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([example[key] for example in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(list(part)) for part in zip(*batch, strict=True)))
    if isinstance(first, (tuple, list)):
        return [default_collate(list(part)) for part in zip(*batch, strict=True)]
    raise DTypeError(
        f"default_collate: a batch of {type(first).__name__}", hint="give a collate_fn"
    )


class DataLoader:
    """The examples of a dataset in batches.

    `batch_size=None` gives single examples. `pin_memory`, `timeout`, `prefetch_factor` and
    `persistent_workers` are accepted without effect: batches are made by the calling process.

    Raises:
        UnsupportedError: `num_workers` is not 0.
        ArgumentError: arguments that exclude each other.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        generator: Generator | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if num_workers:
            raise UnsupportedError("DataLoader with worker processes", hint="use num_workers=0")
        if sampler is not None and shuffle:
            raise ArgumentError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler or drop_last):
            raise ArgumentError(
                "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
            )
        self.dataset = dataset
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        self.collate_fn = collate_fn or default_collate
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ArgumentError("DataLoader: the order of an IterableDataset is its own")
            return
        if sampler is None:
            sampler = (
                RandomSampler(dataset, generator=generator)
                if shuffle
                else SequentialSampler(dataset)
            )
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        if batch_sampler is None and batch_size is not None:
            self.batch_sampler = BatchSampler(sampler, batch_size, drop_last)

    def __iter__(self) -> Iterator[Any]:
        if self._iterable:
            return self._from_stream()
        if self.batch_sampler is None:
            return (self.dataset[number] for number in self.sampler)
        return (self._batch(numbers) for numbers in self.batch_sampler)

    def _batch(self, numbers: list[int]) -> Any:
        if isinstance(self.dataset, TensorDataset) and self.collate_fn is default_collate:
            return list(self.dataset[np.asarray(numbers)])  # one gather for each tensor
        return self.collate_fn([self.dataset[number] for number in numbers])

    def _from_stream(self) -> Iterator[Any]:
        stream = iter(self.dataset)
        if self.batch_size is None:
            yield from stream
            return
        while batch := list(islice(stream, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def __len__(self) -> int:
        if self._iterable:
            count = len(self.dataset)
            size = self.batch_size or 1
            return count // size if self.drop_last else -(-count // size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]
