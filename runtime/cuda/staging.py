"""Copies between the host and a GPU, by way of pinned memory.

From memory that is not pinned the driver would copy too, but wait for the stream first.
"""

from __future__ import annotations

import ctypes
from typing import Any

from .driver import Driver

HALF = 2 << 20  # bytes; below, a copy's own cost begins to count
_STEP = 64  # what lies in a half begins at multiples of it


class Staging:
    """Two buffers for each direction: one is filled while the other is copied."""

    def __init__(self, driver: Driver, half: int = HALF) -> None:
        self._driver = driver
        self._half = half
        self._up = _Pair(driver, half)
        self._down = _Pair(driver, half)
        self._used = 0  # of the half that is filled

    def upload(self, target: int, source: int, nbytes: int) -> None:
        """Copies to the GPU from any memory of the host, which may change afterwards."""
        done = 0
        while done < nbytes:
            if self._used >= self._half:
                self._up.turn()
                self._used = 0
            count = min(self._half - self._used, nbytes - done)
            place = self._up.address + self._used
            ctypes.memmove(place, source + done, count)
            self._driver.upload(target + done, place, count)
            self._used += -(-count // _STEP) * _STEP
            done += count

    def download(self, target: int, source: int, nbytes: int) -> None:
        """Copies to any memory of the host, and waits until it is there."""
        before: tuple[int, int, int] | None = None
        for done in range(0, nbytes, self._half):
            count = min(self._half, nbytes - done)
            self._driver.download(self._down.address, source + done, count)
            self._driver.record(self._down.event)
            # The last piece is taken out while this one is copied.
            self._take_out(before)
            before = (self._down.number, target + done, count)
            self._down.swap()
        self._take_out(before)

    def _take_out(self, piece: tuple[int, int, int] | None) -> None:
        if piece is None:
            return
        number, target, count = piece
        self._driver.wait(self._down.events[number])
        ctypes.memmove(target, self._down.addresses[number], count)


class _Pair:
    """Two pinned buffers, and a mark for each; `number` is the one at hand."""

    def __init__(self, driver: Driver, half: int) -> None:
        self._driver = driver
        first = driver.allocate_host(2 * half)
        self.addresses = (first, first + half)
        self.events: tuple[Any, Any] = (driver.event(), driver.event())
        self.number = 0

    @property
    def address(self) -> int:
        return self.addresses[self.number]

    @property
    def event(self) -> Any:
        return self.events[self.number]

    def swap(self) -> None:
        self.number = 1 - self.number

    def turn(self) -> None:
        """The other buffer, once what was copied from it is there."""
        self._driver.record(self.event)
        self.swap()
        self._driver.wait(self.event)
