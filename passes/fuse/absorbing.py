"""What a kernel would compute again if it absorbed another.

A kernel computes a value once for each index at which it reads it. So where it reads one at two
indices, all that it absorbed behind that value is computed twice, and so on behind that. `Reading`
counts this while a group grows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

from ...ir.graph import Node, Value
from .cost import MAX_MEMBERS, RECOMPUTE, is_scalar, repeated_reads, repeats_cheaply, work
from .groups import (
    Form,
    Group,
    Index,
    external_reads,
    fresh_axes,
    goes_along,
    guarded_leaves,
    made_of,
)

# Where a value is read: its index and the conditions under which; of an index that depends on data,
# what tells this read from others.
Point = tuple[Index | None, Hashable]


class Reading:
    """At how many points a group reads the values of others, and what work it may repeat there.

    Attributes:
        points: for each value that is read and not computed by the group, where.
        slack: the scalar instructions that one read of a value may still cost, where that is read
            more often than it has elements.
    """

    def __init__(self, group: Group) -> None:
        self.members = set(group.members)
        self.points: dict[Value, set[Point]] = {}
        self.slack: dict[Value, float] = {}
        self._seen: set[tuple[Value, Point]] = set()  # what was absorbed, and where it is computed
        for node in group.members:
            if node.results[0] in group.place:
                self._note(_reads_at(node, _own_point(node, group)))
        for number in range(len(group.roots)):
            for store in group.stores(number):
                self._note(_leaves_at(store.value, (store.index, ())))
        self._limit(group.members, math.inf)

    def of(self, producer: Group) -> tuple[int, float]:
        """(points of its domain that are read, the least slack) of the values of `producer`."""
        points: set[Hashable] = set()
        slack = math.inf
        for value, place in producer.place.items():
            standing = None if place == producer.axes else place
            points.update((standing, point) for point in self.points.get(value, ()))
            slack = min(slack, self.slack.get(value, math.inf))
        return len(points), slack

    def absorb(self, producer: Group) -> None:
        """Counts what is read when the members of `producer` are computed here, too."""
        _, slack = self.of(producer)
        self.members.update(producer.members)
        for value in producer.place:
            self.slack.pop(value, None)
            for point in self.points.pop(value, ()):
                self._note(_followed(value, point, self.members, self._seen))
        self._limit(producer.members, slack - work(producer.members))

    def _note(self, found: Iterable[tuple[Value, Point]]) -> None:
        for leaf, point in found:
            if leaf.node not in self.members:
                self.points.setdefault(leaf, set()).add(point)

    def _limit(self, members: Iterable[Node], slack: float) -> None:
        """Lets no read of `members` cost more than `slack`, nor more than their kinds allow."""
        for node in members:
            for operand in node.operands:
                for leaf in made_of(operand):
                    if slack < math.inf and leaf.node not in self.members:
                        self.slack[leaf] = min(self.slack.get(leaf, math.inf), slack)
            for leaf, allowed in repeated_reads(node):
                if leaf.node not in self.members:
                    least = min(allowed, slack, self.slack.get(leaf, math.inf))
                    self.slack[leaf] = least


def computed_at(values: Sequence[Value], members: Iterable[Node]) -> set[tuple[Value, Point]]:
    """What of `members` is computed for one element of `values`, which have one shape: values,
    and where."""
    seen: set[tuple[Value, Point]] = set()
    here, inside = fresh_axes(values[0].type.shape), set(members)
    for value in values:
        for _ in _followed(value, (here, ()), inside, seen):
            pass
    return seen


def _followed(
    value: Value, point: Point, members: set[Node], seen: set[tuple[Value, Point]]
) -> Iterator[tuple[Value, Point]]:
    """What `value` at `point` is made of, through `members`: values of others, and where.

    What was `seen` before is computed already.
    """
    pending = [(value, point)]
    while pending:
        current, at = pending.pop()
        if current.node not in members:
            yield current, at
        elif (current, at) not in seen:
            seen.add((current, at))
            pending.extend(_reads_at(current.node, at))


def _reads_at(node: Node, point: Point) -> Iterator[tuple[Value, Point]]:
    """The values that `node` reads to compute its element at `point`, through views, and where."""
    index, why = point
    if index is None or node.op.indexed_map is None:
        for operand in node.operands:
            yield from _leaves_at(operand, point)
        return
    where = node.op.indexed_map([o.type for o in node.operands], node.attrs, index)
    for number, operand in enumerate(node.operands):
        known = number == where.indices[0]
        yield from _leaves_at(operand, (where.indices[1], why) if known else (None, (node, point)))


def _leaves_at(operand: Value, point: Point) -> Iterator[tuple[Value, Point]]:
    index, why = point
    for number, (leaf, at, conditions) in enumerate(guarded_leaves(operand, index)):
        if at is None and leaf is not operand:
            yield leaf, (None, (operand, number, point))
        else:
            yield leaf, (at, (why, conditions) if conditions else why)


def _own_point(node: Node, group: Group) -> Point:
    """Where `node`, which has a place in `group`, is computed."""
    if group.form in (Form.APART, Form.ATTEND) or node.op.contract_map is not None:
        return None, node
    if node.op.indexed_map is not None and len(node.operands) == 3:
        return None, node  # a scatter runs over its updates
    if goes_along(node):
        return group.axes, ()
    return group.place[node.results[0]], ()


def may_absorb(producer: Group, consumer: Group, reading: Reading) -> bool:
    """Whether computing `producer` inside its only reader costs less than storing its values."""
    if not _may_move(producer):
        return False
    if len(producer.members) + len(consumer.members) > MAX_MEMBERS:
        return False
    if repeats_cheaply(producer):
        return True
    points, slack = reading.of(producer)
    cost = work(producer.members)
    return cost <= slack and max(cost, 1) * (points - 1) <= RECOMPUTE


def parted(groups: Sequence[Group], readers: Mapping[Group, Collection[Group]]) -> set[Group]:
    """The groups that stay apart from their only readers, so that what lies behind a reader makes
    few kernels: where that is too much for one, its largest parts are kernels of their own.

    Every part is as large as it may be before its reader grows, which gives the fewest of them
    (Kundu and Misra, "A linear tree partitioning algorithm", 1977). If readers grew first, many
    would be full when only a few nodes are left of each of their producers.

    Args:
        groups: in execution order.
        readers: of each of them.
    """
    found: set[Group] = set()
    sizes: dict[Group, int] = {}
    for group in groups:
        size = len(group.members)
        moving = []
        for producer in group.producers:
            if repeats_cheaply(producer):
                size += sizes[producer]
            elif len(readers[producer]) == 1 and _may_move(producer):
                moving.append(producer)
        size += sum(sizes[producer] for producer in moving)
        for producer in sorted(moving, key=lambda p: -sizes[p]):
            if size <= MAX_MEMBERS:
                break
            found.add(producer)
            size -= sizes[producer]
        sizes[group] = size
    return found


def _may_move(group: Group) -> bool:
    return group.form is Form.LOOP and not group.roots


def drawn_again(producer: Group, readers: Sequence[Group]) -> bool:
    """Whether all `readers` compute the values of `producer` themselves, be it dear: attentions
    whose dropout is drawn from a few numbers, and is as large as the scores that they never store.
    """
    return (
        producer.form is Form.LOOP
        and not producer.roots
        and all(reader.form is Form.ATTEND for reader in readers)
        and all(is_scalar(value) for value in external_reads(producer))
    )
