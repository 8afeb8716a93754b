"""In which order the launches of a program run: the program's, or one that keeps fewer bytes alive.

Before: the order of the trace. After: one in which what is large dies early, and what makes the new
contents of a buffer comes after the readers of the old.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

from ..ir.dims import Dim, Symbol, substitute
from ..ir.graph import Node, Region, Value
from ..ir.plan import Interval, peak_live_bytes

_TYPICAL_SIZE = 64  # stands for every symbol when orders are compared
_WORTH_REORDERING = 0.9  # another order than the program's must need at most so much of its peak


def launch_order(
    graph: Region, donated: Mapping[int, int], fallible: Collection[Node] = ()
) -> list[Node]:
    """The program's order, or one that keeps fewer bytes alive.

    Args:
        donated: result number -> number of the parameter whose contents it replaces. What makes it
            comes after those that read the old contents, and after the nodes `fallible`, where that
            is possible.
    """
    before = _dependences(graph, donated, fallible)
    plain = [graph.nodes[n] for n in _first_come(*before)]
    lean = _LeanOrder(graph, plain, before).run()
    if _live_peak(graph, lean) < _WORTH_REORDERING * _live_peak(graph, plain):
        return lean
    return plain


def _dependences(
    graph: Region, donated: Mapping[int, int], fallible: Collection[Node]
) -> tuple[list[set[int]], list[set[int]]]:
    """For each launch, the launches that must precede it, and those that should."""
    number = {node: n for n, node in enumerate(graph.nodes)}
    readers: dict[Value, set[int]] = {}
    must: list[set[int]] = [set() for _ in graph.nodes]
    should: list[set[int]] = [set() for _ in graph.nodes]
    for n, node in enumerate(graph.nodes):
        for operand in node.operands:
            readers.setdefault(operand, set()).add(n)
            if operand.node is not None:
                must[n].add(number[operand.node])
    last = -1  # of the nodes that may fail, which keep their order
    for n, node in enumerate(graph.nodes):
        if node in fallible:
            if last >= 0:
                should[n] |= {last} - must[n]
            last = n
    before_last = _ancestors(last, must)
    for result, source in donated.items():
        maker = graph.yields[result].node
        if maker is not None:
            n = number[maker]
            should[n] |= readers.get(graph.params[source], set()) - must[n] - {n}
            if n not in before_last:
                should[n] |= {last} - must[n]
    return must, should


def _ancestors(n: int, must: Sequence[set[int]]) -> set[int]:
    """`n` and all that precedes it; every node where there is no such `n` (-1)."""
    if n < 0:
        return set(range(len(must)))
    found, pending = {n}, [n]
    while pending:
        more = must[pending.pop()] - found
        found |= more
        pending += more
    return found


def _first_come(must: Sequence[set[int]], should: Sequence[set[int]]) -> list[int]:
    """The order of the program, but each launch after those that should precede it."""
    followers: list[list[int]] = [[] for _ in must]
    missing = [len(a | b) for a, b in zip(must, should, strict=True)]
    for n, before in enumerate(zip(must, should, strict=True)):
        for other in before[0] | before[1]:
            followers[other].append(n)
    ready = [n for n, count in enumerate(missing) if not count]
    done: set[int] = set()
    order: list[int] = []
    while len(order) < len(must):
        if ready:
            n = heapq.heappop(ready)
        else:  # it should wait for what follows from it: the new contents are copied later
            n = next(n for n in range(len(must)) if n not in done and must[n] <= done)
        if n in done:
            continue
        done.add(n)
        order.append(n)
        for follower in followers[n]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, follower)
    return order


class _LeanOrder:
    """An order found from its end: next to last comes, of the launches whose results are all used
    later, the one that lets the fewest bytes be alive before it."""

    def __init__(
        self, graph: Region, plain: Sequence[Node], before: tuple[list[set[int]], list[set[int]]]
    ) -> None:
        self.nodes = graph.nodes
        position = {node: p for p, node in enumerate(plain)}
        self.before: list[set[int]] = []
        self.missing = [0] * len(graph.nodes)
        for n, (must, should) in enumerate(zip(*before, strict=True)):
            kept = {s for s in should if position[self.nodes[s]] < position[self.nodes[n]]}
            self.before.append(must | kept)
            for other in self.before[n]:
                self.missing[other] += 1
        self.readers: dict[Value, list[int]] = {}
        for n, node in enumerate(graph.nodes):
            for operand in set(node.operands):
                self.readers.setdefault(operand, []).append(n)
        self.kept = set(graph.yields)
        self.live: set[Value] = set()
        self.done: set[int] = set()
        self.heap: list[tuple[int, int]] = []

    def run(self) -> list[Node]:
        order: list[Node] = []
        for n in range(len(self.nodes)):
            self._offer(n)
        while len(order) < len(self.nodes):
            rank, negative = heapq.heappop(self.heap)
            n = -negative
            if n in self.done or rank != self._growth(n):
                continue  # a newer entry tells its rank
            self.done.add(n)
            order.append(self.nodes[n])
            self._make_live(self.nodes[n])
            for other in self.before[n]:
                self.missing[other] -= 1
                self._offer(other)
        return order[::-1]

    def _offer(self, n: int) -> None:
        if n not in self.done and not self.missing[n]:
            heapq.heappush(self.heap, (self._growth(n), -n))

    def _counts(self, value: Value) -> bool:
        return value.node is not None and value not in self.kept

    def _growth(self, n: int) -> int:
        """How many more bytes are alive before launch `n` than after it."""
        node = self.nodes[n]
        read = {v for v in node.operands if self._counts(v) and v not in self.live}
        made = [v for v in node.results if v in self.live]
        return sum(_typical(v.type.nbytes) for v in read) - sum(
            _typical(v.type.nbytes) for v in made
        )

    def _make_live(self, node: Node) -> None:
        self.live -= set(node.results)
        for value in set(node.operands):
            if self._counts(value) and value not in self.live:
                self.live.add(value)
                for reader in self.readers[value]:  # to them it costs nothing any more
                    self._offer(reader)


def _typical(dim: Dim) -> int:
    def size(atom: object) -> int:
        assert isinstance(atom, Symbol)
        return _TYPICAL_SIZE

    return dim if isinstance(dim, int) else substitute(dim, size)


def _live_peak(graph: Region, order: Sequence[Node]) -> int:
    last = last_uses(order)
    kept = set(graph.yields)
    lives = [
        Interval(_typical(v.type.nbytes), step, last.get(v, step))
        for step, node in enumerate(order)
        for v in node.results
        if v not in kept
    ]
    return peak_live_bytes(lives)


def last_uses(order: Sequence[Node]) -> dict[Value, int]:
    """The position of the last reader of each value."""
    return {v: step for step, node in enumerate(order) for v in node.operands}
