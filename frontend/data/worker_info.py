"""Which worker of a `DataLoader` this process is: what needs none of what starts one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import SleyError


class WorkerError(SleyError, RuntimeError):
    """A worker process of a `DataLoader` has died, is late, or failed in a way that cannot be told
    by the exception itself."""


@dataclass(frozen=True)
class WorkerInfo:
    """What `get_worker_info()` gives: the worker's number, how many there are, the seed of its
    random generators, and its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process of a `DataLoader` what it is one of; elsewhere None.

    An `IterableDataset` reads it to give each worker a part of the examples.
    """
    return _info


def become(info: WorkerInfo) -> None:
    """From now on this process is the worker that `info` describes."""
    global _info
    _info = info
