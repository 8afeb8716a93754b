"""Memory planning: a program of launches -> its `Plan`.

Before: values without an address. After: an order of the launches; for every value an input, a
result's fresh buffer, or a block of the arena; values that may lie over one that dies share its
buffer. A donated result ends in an input's buffer: it is written there at once where nothing else
has to read the old contents, otherwise copied there at the end. All copies to inputs come last.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from ..ir.dims import Dim, Symbol, substitute
from ..ir.graph import Graph, Node, Value
from ..ir.ops.base import Kind
from ..ir.plan import Block, Copy, HostCall, Interval, Launch, Place, Plan, Step, peak_live_bytes
from .inplace import may_overwrite

HOST = (Kind.HOST, Kind.SORT)  # evaluated by numpy; it may fail

_TYPICAL_SIZE = 64  # stands for every symbol when orders are compared
_WORTH_REORDERING = 0.9  # another order than the program's must need at most so much of its peak


def plan_memory(graph: Graph, donated: Mapping[int, int] | None = None) -> Plan:
    """The plan of `graph`, whose nodes are launches and calls of the host.

    Args:
        donated: result number -> input number whose buffer takes the result. The caller promises
            that no other input shares that buffer.

    Raises:
        ValueError: a donation to an input of another type, or two to one input.
    """
    donated = dict(donated or {})
    _check(graph, donated)
    return _Planner(graph, donated, _order(graph, donated)).run()


def _check(graph: Graph, donated: Mapping[int, int]) -> None:
    for node in graph.nodes:
        if node.op.name != "launch" and node.op.kind not in HOST:
            raise ValueError(f"{node.op.name} in @{graph.name} was not fused into a kernel")
    if len(set(donated.values())) != len(donated):
        raise ValueError(f"two results of @{graph.name} are donated to one input: {donated}")
    for result, source in donated.items():
        new, old = graph.yields[result].type, graph.params[source].type
        if new is not old:
            raise ValueError(f"result {result} is {new}, the input {source} donated to it {old}")


# ---------------------------------------------------------------------------------------- order


def _order(graph: Graph, donated: Mapping[int, int]) -> list[Node]:
    """The program's order, or one that keeps fewer bytes alive; in both, a launch that makes the
    new contents of an input comes after those that read the old, where that is possible."""
    before = _dependences(graph, donated)
    plain = [graph.nodes[n] for n in _first_come(*before)]
    lean = _LeanOrder(graph, plain, before).run()
    if _live_peak(graph, lean) < _WORTH_REORDERING * _live_peak(graph, plain):
        return lean
    return plain


def _dependences(graph: Graph, donated: Mapping[int, int]) -> tuple[list[set[int]], list[set[int]]]:
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
    for result, source in donated.items():
        maker = graph.yields[result].node
        if maker is not None:
            n = number[maker]
            should[n] |= readers.get(graph.params[source], set()) - must[n] - {n}
    return must, should


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
        self, graph: Graph, plain: Sequence[Node], before: tuple[list[set[int]], list[set[int]]]
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


def _live_peak(graph: Graph, order: Sequence[Node]) -> int:
    last = _last_uses(order)
    kept = set(graph.yields)
    lives = [
        Interval(_typical(v.type.nbytes), step, last.get(v, step))
        for step, node in enumerate(order)
        for v in node.results
        if v not in kept
    ]
    return peak_live_bytes(lives)


def _last_uses(order: Sequence[Node]) -> dict[Value, int]:
    return {v: step for step, node in enumerate(order) for v in node.operands}


# -------------------------------------------------------------------------------------- buffers


class _Buffer:
    """A buffer under construction: `place` is set at once for inputs and results."""

    def __init__(self, nbytes: Dim, place: Place | None = None) -> None:
        self.nbytes = nbytes
        self.place = place
        self.first: int | None = None
        self.last = 0

    def touch(self, step: int) -> None:
        self.first = step if self.first is None else self.first
        self.last = step


class _Planner:
    def __init__(self, graph: Graph, donated: Mapping[int, int], order: Sequence[Node]) -> None:
        self.graph = graph
        self.donated = donated
        self.order = order
        self.last = _last_uses(order)
        self.last_fallible = max(
            (p for p, node in enumerate(order) if node.op.kind in HOST), default=-1
        )
        self.kept = set(graph.yields)
        self.buffers: dict[Value, _Buffer] = {
            p: _Buffer(p.type.nbytes, Place("input", i)) for i, p in enumerate(graph.params)
        }
        self.donations = {graph.yields[k]: graph.params[i] for k, i in donated.items()}
        self.steps: list[tuple[Node | None, list[_Buffer]]] = []

    def run(self) -> Plan:
        saved = self._save_inputs()
        for position, node in enumerate(self.order):
            self._plan_launch(position, node)
        self._return_results(saved)
        return self._finish()

    def _copy(self, source: _Buffer, target: _Buffer) -> None:
        self.steps.append((None, [source, target]))

    def _save_inputs(self) -> dict[Value, _Buffer]:
        """Parameters that are results: their old contents are copied before anything is written.

        Gives the copy of each that is to be moved to another input at the end."""
        saved: dict[Value, _Buffer] = {}
        for k, value in enumerate(self.graph.yields):
            if value.node is not None:
                continue
            if k not in self.donated:
                self._copy(self.buffers[value], _Buffer(value.type.nbytes, Place("output", k)))
            elif self.graph.params[self.donated[k]] is not value and value not in saved:
                saved[value] = _Buffer(value.type.nbytes)
                self._copy(self.buffers[value], saved[value])
        return saved

    def _plan_launch(self, position: int, node: Node) -> None:
        taken: set[_Buffer] = set()
        for out, value in enumerate(node.results):
            buffer = self._donated_buffer(position, node, out) or self._reused_buffer(
                position, node, out, taken
            )
            if buffer is None:
                buffer = _Buffer(value.type.nbytes)
            taken.add(buffer)
            self.buffers[value] = buffer
            if value in self.kept and buffer.place is None:
                buffer.place = self._result_place(value)
        self.steps.append((node, [self.buffers[v] for v in (*node.operands, *node.results)]))

    def _result_place(self, value: Value) -> Place | None:
        """The first of the results that `value` is and that are not donated."""
        for k, result in enumerate(self.graph.yields):
            if result is value and k not in self.donated:
                return Place("output", k)
        return None

    def _donated_buffer(self, position: int, node: Node, out: int) -> _Buffer | None:
        """The input that result `out` is donated to, if it may be written now: nobody reads the
        old contents any more, and no step that follows can fail."""
        old = self.donations.get(node.results[out])
        if old is None or self.last.get(old, -1) > position or position <= self.last_fallible:
            return None
        if not _allows(node, old, out):
            return None
        return self.buffers[old]

    def _reused_buffer(
        self, position: int, node: Node, out: int, taken: set[_Buffer]
    ) -> _Buffer | None:
        """The buffer of an operand that dies here and that result `out` may be written over."""
        value = node.results[out]
        for operand in node.operands:
            buffer = self.buffers[operand]
            free = operand.node is not None and operand not in self.kept and buffer not in taken
            if not free or buffer.place is not None or self.last[operand] != position:
                continue
            if operand.type.nbytes == value.type.nbytes and _allows(node, operand, out):
                return buffer
        return None

    def _return_results(self, saved: Mapping[Value, _Buffer]) -> None:
        """Second copies of results, then what is still to be moved to the inputs."""
        for k, value in enumerate(self.graph.yields):
            place = Place("output", k)
            if value.node is None or k in self.donated or self.buffers[value].place == place:
                continue
            self._copy(self.buffers[value], _Buffer(value.type.nbytes, place))
        for k, source in self.donated.items():
            value, target = self.graph.yields[k], self.buffers[self.graph.params[source]]
            held = saved.get(value, self.buffers[value])
            if held is not target:
                self._copy(held, target)

    def _finish(self) -> Plan:
        arena: dict[_Buffer, int] = {}
        for step, (_, buffers) in enumerate(self.steps):
            for buffer in buffers:
                if buffer.place is None or buffer in arena:
                    arena.setdefault(buffer, len(arena))
                    buffer.place = Place("arena", arena[buffer])
                    buffer.touch(step)
        steps = tuple(_step(node, buffers) for node, buffers in self.steps)
        blocks = tuple(Block(b.nbytes, b.first or 0, b.last) for b in arena)
        places = {v: b.place for v, b in self.buffers.items() if b.place is not None}
        return Plan(self.graph, steps, places, blocks, self.donated)


def _allows(node: Node, operand: Value, out: int) -> bool:
    """Whether result `out` may be written over `operand`, in whichever positions it is read."""
    if node.op.name != "launch":
        return False
    kernel = node.attrs["kernel"]
    return all(
        may_overwrite(kernel, position, out)
        for position, value in enumerate(node.operands)
        if value is operand
    )


def _step(node: Node | None, buffers: Sequence[_Buffer]) -> Step:
    places = tuple(b.place for b in buffers if b.place is not None)
    if node is None:
        return Copy(places[0], places[1], buffers[0].nbytes)
    return Launch(node, places) if node.op.name == "launch" else HostCall(node, places)
