"""Buffers under construction: what memory planning knows of each until all is planned."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dims import Dim
from ..ir.graph import Value
from ..ir.plan import Place


class Buffer:
    """A buffer under construction. Without a `place` it is a block of the arena in the end, in use
    from step `first` to step `last`; or it is `same`, another buffer."""

    def __init__(self, nbytes: Dim, place: Place | None = None) -> None:
        self.nbytes = nbytes
        self.place = place
        self.first = -1
        self.last = -1
        self.same: Buffer | None = None

    def real(self) -> Buffer:
        buffer = self
        while buffer.same is not None:
            buffer = buffer.same
        return buffer

    def touch(self, step: int) -> None:
        buffer = self.real()
        buffer.first = step if buffer.first < 0 else min(buffer.first, step)
        buffer.last = max(buffer.last, step)

    def become(self, other: Buffer) -> None:
        """From now on this buffer is `other`, in use whenever one of them is."""
        mine, other = self.real(), other.real()
        if mine is other:
            return
        mine.same = other
        if mine.first >= 0:
            other.touch(mine.first)
            other.touch(mine.last)


class Buffers:
    """The buffers of a program and its regions, and what else their plans share.

    Attributes:
        buffers: of each value.
        numbers: how many steps there are so far; `pointers`: how many pointers.
        arena: the blocks, in the order in which they were placed.
    """

    def __init__(self) -> None:
        self.buffers: dict[Value, Buffer] = {}
        self.numbers = 0
        self.pointers = 0
        self.arena: dict[Buffer, int] = {}

    def number(self) -> int:
        """The number of the next step."""
        self.numbers += 1
        return self.numbers - 1

    def pointer(self) -> Place:
        self.pointers += 1
        return Place("pointer", self.pointers - 1)

    def place(self, buffer: Buffer) -> Place:
        """Where a buffer lies, once all is planned."""
        buffer = buffer.real()
        if buffer.place is None:
            buffer.place = Place("arena", len(self.arena))
            self.arena[buffer] = buffer.place.number
        return buffer.place

    def bind(self, params: Sequence[Value], buffers: Sequence[Buffer]) -> None:
        self.buffers.update(zip(params, buffers, strict=True))
