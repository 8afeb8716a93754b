"""What a call of an executable needs: memory of its own, and new arrays for its results."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import addressof
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from .memory import aligned
from .threads import ThreadPool


class NewArray(NamedTuple):
    """A fresh result; `is_small`: its memory is nothing but new."""

    shape: tuple[int, ...]
    dtype: np.dtype
    allocate: Callable[[], Any]
    is_small: bool

    def make(self) -> np.ndarray:
        return ndarray(self.shape, self.dtype, self.allocate())


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """What is known once the symbols have values; `results`: the fresh ones."""

    sizes: tuple[int, ...]
    offsets: tuple[int, ...]
    arena: int
    stride: int
    results: tuple[NewArray, ...]


class Memory:
    """Uninitialised memory of a lease."""

    __slots__ = ("_owner", "address", "nbytes")

    def __init__(self, nbytes: int) -> None:
        self._owner, self.address = aligned(nbytes)
        self.nbytes = nbytes


class Lease:
    """The memory of one call that is under way: frame, arena and scratch."""

    __slots__ = ("address", "arena", "binding", "frame", "pool", "scratch")

    def __init__(self, slots: int) -> None:
        self.frame = (ctypes.c_int64 * slots)()
        self.address = addressof(self.frame)
        self.arena = Memory(0)
        self.scratch = Memory(0)
        self.binding: Binding | None = None
        self.pool: ThreadPool | None = None
