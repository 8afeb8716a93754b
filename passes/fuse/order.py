"""An order of groups that is kept while groups grow.

A node may join a group unless another group that it reads runs after that one. To answer this
without a walk over the whole program, groups are numbered such that each comes after its producers:
only groups numbered in between can lie on a way from one to another. A new edge against the
numbering moves those on such ways, and no others (Pearce and Kelly, "A dynamic topological sort
algorithm for directed acyclic graphs", 2007).
"""

from __future__ import annotations

from collections.abc import Iterable

from .groups import Group


class Order:
    """Numbers of groups by their `producers`, to which edges are added by `connect` alone."""

    def __init__(self) -> None:
        self._number: dict[Group, int] = {}
        self._readers: dict[Group, list[Group]] = {}

    def add(self, group: Group) -> None:
        """Puts a new group last; its producers are in the order already."""
        self._number[group] = len(self._number)
        self._readers[group] = []
        for producer in group.producers:
            self._readers[producer].append(group)

    def precedes(self, group: Group, others: Iterable[Group]) -> bool:
        """Whether one of `others`, itself not counted, runs after `group`."""
        first = self._number[group]
        starts = [other for other in others if other is not group]
        return group in self._before(starts, first)

    def connect(self, producer: Group, group: Group) -> None:
        """Notes that `group` reads values of `producer`, which does not run after it."""
        if producer in group.producers:
            return
        group.producers[producer] = None
        self._readers[producer].append(group)
        first, last = self._number[group], self._number[producer]
        if first > last:
            return
        before = self._before([producer], first)
        after = self._after(group, last)
        moved = [*sorted(before, key=self._number.__getitem__), *after]
        numbers = sorted(self._number[g] for g in moved)
        self._number.update(zip(moved, numbers, strict=True))

    def readers(self, group: Group) -> tuple[Group, ...]:
        """The groups that read values of `group`."""
        return tuple(self._readers[group])

    def replace(self, group: Group, reader: Group) -> None:
        """Lets one of the readers of `group`, which waits for no other of them, stand for it."""
        for producer in group.producers:
            self.connect(producer, reader)
            self._readers[producer].remove(group)
        for other in self._readers.pop(group):
            del other.producers[group]
            if other is not reader:
                self.connect(reader, other)

    def _before(self, starts: list[Group], first: int) -> set[Group]:
        """`starts` and what runs before them, as far as it is numbered `first` or later."""
        found: set[Group] = set()
        pending = starts
        while pending:
            current = pending.pop()
            if current not in found and self._number[current] >= first:
                found.add(current)
                pending.extend(current.producers)
        return found

    def _after(self, group: Group, last: int) -> list[Group]:
        """`group` and what runs after it, as far as it is numbered `last` or earlier, in order."""
        found: set[Group] = set()
        pending = [group]
        while pending:
            current = pending.pop()
            if current not in found and self._number[current] <= last:
                found.add(current)
                pending.extend(self._readers[current])
        return sorted(found, key=self._number.__getitem__)
