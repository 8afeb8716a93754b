"""Examples in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic

from ..errors import ArgumentError, DTypeError
from ..functions.random import randint
from ..random_state import Generator
from .collate import default_collate, default_convert
from .dataset import Example, IterableDataset
from .fetch import EndOfStream, Fetch
from .sampler import BatchSampler, RandomSampler, SequentialSampler

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from .crew import Crew

# What starts processes is loaded where a loader has some: it is much, and most loaders have none.


class DataLoader(Generic[Example]):
    """The examples of a dataset in batches, made by this process or by `num_workers` others.

    `batch_size=None` gives single examples, arrays as tensors. Batch k comes from worker k modulo
    `num_workers`, which is up to `prefetch_factor` (2) batches ahead; so the order, and every
    random number, depends on the seeds only. Worker i seeds the random generators of sley, numpy
    and `random` with a number drawn from `generator` plus i. Tensors come through shared memory.
    Workers end with the loop, or with the loader where they are `persistent_workers`.

    `pin_memory` and `in_order=False` are accepted without effect: copies to a GPU go through
    page-locked memory of sley's own, and batches always come in order. Datasets may hold tensors on
    a GPU where there are no workers; a process that was forked cannot use one.

    Args:
        timeout: seconds to wait for a batch from a worker; 0 for ever.
        worker_init_fn: called in each worker with its number.
        multiprocessing_context: "fork", "spawn", "forkserver" or such a context; by default what
            `multiprocessing` has. All but "fork" pickle the dataset.

    Raises:
        ArgumentError: arguments that exclude each other.
        WorkerError: while iterating: a worker has died or is late. Exceptions of the dataset come
            with their own type, and the worker's traceback as cause.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: BaseContext | str | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if num_workers == 0 and multiprocessing_context is not None:
            raise ArgumentError("DataLoader: multiprocessing_context needs num_workers > 0")
        iterable = isinstance(dataset, IterableDataset)
        if not iterable and not hasattr(dataset, "__getitem__"):
            raise DTypeError(
                f"DataLoader: what is given as dataset is of type {type(dataset).__name__}",
                hint="give what has __getitem__ and __len__, or an IterableDataset",
            )
        _check_order(batch_size, shuffle, sampler, batch_sampler, drop_last, iterable)
        self.dataset = dataset
        self.num_workers = num_workers
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.multiprocessing_context = _context(multiprocessing_context) if num_workers else None
        batched = batch_size is not None or batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._iterable = iterable
        self._crew: Crew | None = None
        self.sampler, self.batch_sampler = sampler, batch_sampler
        if iterable:
            return
        if sampler is None:
            self.sampler = (
                RandomSampler(dataset, generator=generator)
                if shuffle
                else SequentialSampler(dataset)
            )
        if batch_sampler is None and batch_size is not None:
            assert self.sampler is not None
            self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def __iter__(self) -> Iterator[Any]:
        seed = _drawn_seed(self.generator)
        if not self.num_workers:
            return _from_here(self._fetch(), self._keys())
        from .crew import Crew
        from .from_workers import FromWorkers, closing_on_error

        if self._crew is not None and self._crew.alive:
            with closing_on_error(self._crew):
                self._crew.begin_again(self.timeout)
            return FromWorkers(self._crew, self._keys(), self.timeout, closing=False)
        assert self.prefetch_factor is not None and self.multiprocessing_context is not None
        crew = Crew(
            self.multiprocessing_context,
            self.num_workers,
            seed,
            self._fetch(),
            self.worker_init_fn,
            self.prefetch_factor,
        )
        if self.persistent_workers:
            self._crew = crew
        return FromWorkers(crew, self._keys(), self.timeout, closing=not self.persistent_workers)

    def __len__(self) -> int:
        if not self._iterable:
            order: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
            return len(order)
        count = len(self.dataset)
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else math.ceil(count / self.batch_size)

    def _fetch(self) -> Fetch:
        batched = self.batch_sampler is not None or self.batch_size is not None
        return Fetch(self.dataset, self.collate_fn, batched, self._iterable, self.drop_last)

    def _keys(self) -> Iterator[Any]:
        """What a `Fetch` is asked for, batch by batch; without end for a stream."""
        if self._iterable:
            count = self.batch_size or 1
            return iter(lambda: count, None)
        order = self.sampler if self.batch_sampler is None else self.batch_sampler
        assert order is not None
        return iter(order)


def _from_here(fetch: Fetch, keys: Iterator[Any]) -> Iterator[Any]:
    for key in keys:
        try:
            batch = fetch(key)
        except EndOfStream:
            return
        yield batch


def _drawn_seed(generator: Generator | None) -> int:
    """What the workers' seeds begin from. Drawn in any case, so that the draws of a program do not
    depend on the number of workers."""
    high, low = randint(0, 1 << 31, (2,), generator=generator).tolist()
    return high << 31 | low


def _context(given: BaseContext | str | None) -> BaseContext:
    import multiprocessing

    if given is None or isinstance(given, str):
        return multiprocessing.get_context(given)
    return given


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ArgumentError(f"DataLoader: num_workers={num_workers}")
    if timeout < 0:
        raise ArgumentError(f"DataLoader: timeout={timeout}")
    if num_workers == 0 and (prefetch_factor is not None or persistent_workers):
        raise ArgumentError(
            "DataLoader: prefetch_factor and persistent_workers need num_workers > 0"
        )
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ArgumentError(f"DataLoader: prefetch_factor={prefetch_factor}")


def _check_order(
    batch_size: int | None,
    shuffle: bool | None,
    sampler: Any,
    batch_sampler: Any,
    drop_last: bool,
    iterable: bool,
) -> None:
    if iterable and (shuffle or sampler is not None or batch_sampler is not None):
        raise ArgumentError("DataLoader: the order of an IterableDataset is its own")
    if sampler is not None and shuffle:
        raise ArgumentError("DataLoader: sampler and shuffle exclude each other")
    if batch_sampler is not None and (
        batch_size != 1 or shuffle or sampler is not None or drop_last
    ):
        raise ArgumentError(
            "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
        )
    if batch_size is None and drop_last and batch_sampler is None:
        raise ArgumentError("DataLoader: drop_last has no meaning with batch_size=None")
    if batch_size is not None and batch_size < 1:
        raise ArgumentError(f"DataLoader: batch_size={batch_size}")
