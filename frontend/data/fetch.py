"""From the numbers of examples to a batch, in the process that calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from .collate import default_collate
from .dataset import Dataset, Subset, TensorDataset


class EndOfStream(Exception):
    """An `IterableDataset` has no more examples."""


@dataclass
class Fetch:
    """What one process does for a batch.

    Attributes:
        collate: makes a batch of a list of examples, or converts one example where `batched` is
            false.
        iterable: the dataset is a stream; the key is then how many examples to take of it.
    """

    dataset: Any
    collate: Callable[[Any], Any]
    batched: bool
    iterable: bool
    drop_last: bool
    _stream: Iterator[Any] | None = field(default=None, repr=False)

    def restart(self) -> None:
        """Begin the stream anew at the next call."""
        self._stream = None

    def __call__(self, key: Any) -> Any:
        """The batch of the examples `key`.

        Raises:
            EndOfStream: of an iterable dataset.
        """
        if self.iterable:
            return self._from_stream(key)
        if not self.batched:
            return self.collate(self.dataset[key])
        if self.collate is default_collate:
            rows = _rows(self.dataset, key)
            if rows is not None:
                return rows
        if hasattr(self.dataset, "__getitems__"):
            return self.collate(self.dataset.__getitems__(key))
        return self.collate([self.dataset[number] for number in key])

    def _from_stream(self, count: int) -> Any:
        if self._stream is None:
            self._stream = iter(self.dataset)
        examples = list(islice(self._stream, count if self.batched else 1))
        if len(examples) < count:
            self._stream = iter(())  # an iterator that has ended is not asked again
        if not examples or (self.batched and self.drop_last and len(examples) < count):
            raise EndOfStream
        return self.collate(examples if self.batched else examples[0])


def _rows(dataset: Dataset, numbers: Sequence[int]) -> list[Any] | None:
    """The batch of rows of tensors by one gather each; None for datasets of another kind."""
    places = numbers
    while type(dataset) is Subset:
        indices = dataset.indices
        places, dataset = [indices[number] for number in places], dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    return list(dataset[np.asarray(places, np.int64)])
