"""Examples by number, or one after the other."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic

from ..errors import ArgumentError, ShapeError
from ..functions.random import randperm
from ..random_state import Generator
from ..tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with a default, as Python 3.13 has it

    # What an example is; Any where a dataset does not say it.
    Example = TypeVar("Example", covariant=True, default=Any)
else:
    from typing import TypeVar

    Example = TypeVar("Example", covariant=True)


class Dataset(Generic[Example]):
    """Examples by number: subclasses define `__getitem__` and `__len__`."""

    def __getitem__(self, index: Any) -> Example:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__()")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[Example]):
    """Examples one after the other: subclasses define `__iter__`.

    With worker processes each iterates over a copy of its own: `get_worker_info()` tells which
    part it should give.
    """

    def __iter__(self) -> Iterator[Example]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__()")

    def __add__(self, other: Dataset) -> Any:
        return ChainDataset([self, other])


class ChainDataset(IterableDataset):
    """Several iterable datasets one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise ArgumentError(f"ChainDataset of a {type(dataset).__name__}: no stream")
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


class TensorDataset(Dataset):
    """Example i is the tuple of row i of each tensor.

    Raises:
        ShapeError: the first axes differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if len({t.shape[0] for t in tensors}) > 1:
            raise ShapeError(f"TensorDataset: rows {[t.shape[0] for t in tensors]}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class StackDataset(Dataset):
    """Several datasets of one length side by side: example i is the tuple of their examples i, or
    for named datasets the dict.

    Raises:
        ArgumentError: there are none, or both kinds.
        ShapeError: the lengths differ.

    >>> StackDataset(image=["a", "b"], label=[3, 5])[1]
    {'image': 'b', 'label': 5}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ArgumentError("StackDataset takes datasets, or named datasets")
        self.datasets: Any = kwargs or args
        parts = list(kwargs.values()) or list(args)
        if len({len(part) for part in parts}) > 1:
            raise ShapeError(f"StackDataset: {[len(part) for part in parts]} examples")
        self._length = len(parts[0])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset):
    """Several datasets one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("ConcatDataset of no datasets")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise ArgumentError("ConcatDataset of a stream", hint="use ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"index {index} of {len(self)} examples")
        number = bisect.bisect_right(self.cumulative_sizes, place)
        before = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][place - before]


class Subset(Dataset):
    """The examples of another dataset that `indices` names."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The examples of several indices at once: by the dataset's own `__getitems__`, if it has
        one."""
        inner = [self.indices[i] for i in indices]
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(inner)
        return [self.dataset[i] for i in inner]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """The dataset divided at random into subsets of the given lengths, or of the given shares
    (which add up to 1; what is left over goes to the first ones).

    Raises:
        ArgumentError: the lengths do not add up to that of the dataset.
    """
    size = len(dataset)
    if any(isinstance(n, float) for n in lengths) and math.isclose(sum(lengths), 1):
        counts = [math.floor(size * share) for share in lengths]
        for k in range(size - sum(counts)):
            counts[k % len(counts)] += 1
    else:
        counts = [int(n) for n in lengths]
    if sum(counts) != size:
        raise ArgumentError(f"random_split: lengths {list(lengths)} of {size} examples")
    order = randperm(size, generator=generator).tolist()
    ends = list(itertools.accumulate(counts))
    return [Subset(dataset, order[end - n : end]) for end, n in zip(ends, counts, strict=True)]
