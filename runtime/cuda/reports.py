"""Small results that the host looks at when they have come: nobody waits for them.

They are copied to pinned memory behind what makes them, and behind them a mark that tells that they
are there.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .driver import Driver
from .memory import Block

WORD = 8  # bytes of a result
_WORDS = 4096  # of pinned memory

# Takes the words of a report; what it raises, the one who looks raises.
Told = Callable[[Sequence[int]], None]


class _Report(NamedTuple):
    """Where the words of a report come to lie, and behind them its mark."""

    first: int
    mark: int
    told: Told


class Reports:
    """The reports of one GPU, in the order in which they come. The caller holds the GPU's lock."""

    def __init__(self, driver: Driver, one: Block) -> None:
        """`one`: memory of the GPU that holds the word 1."""
        self._driver = driver
        self._one = one
        address = driver.allocate_host(_WORDS * WORD)
        self._words = (ctypes.c_uint64 * _WORDS).from_address(address)
        self._address = address
        self._next = 0
        self._pending: deque[_Report] = deque()
        self._event = driver.event()

    def expect(self, blocks: Sequence[Block], told: Told) -> None:
        """Has `told` called with the words that the blocks will hold, one of each, by whoever looks
        after they have come."""
        count = len(blocks)
        if self._next + count + 1 > _WORDS:
            self._driver.record(self._event)
            self._driver.wait(self._event)
            self.look()
            self._next = 0
        first, self._next = self._next, self._next + count + 1
        self._words[first + count] = 0
        for place, block in enumerate([*blocks, self._one], first):
            self._driver.download(self._address + place * WORD, block.address, WORD)
        self._pending.append(_Report(first, first + count, told))

    def look(self) -> None:
        """Tells what has come; raises what the first that complains raises."""
        while self._pending and self._words[self._pending[0].mark]:
            first, mark, told = self._pending.popleft()
            told(self._words[first:mark])
