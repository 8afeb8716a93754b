"""Assigns every computing node of a program to a group, and groups to kernels."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from ...ir.dims import Dim
from ...ir.graph import Node, Region, Value
from ...ir.ops.base import Kind
from ...ir.ops.reduction import kept_axes
from .absorbing import Reading, drawn_again, may_absorb, parted
from .attention import attention_group
from .cost import MAX_MEMBERS, repeats_cheaply
from .groups import (
    Form,
    Group,
    Index,
    Store,
    external_reads,
    find_place,
    folded_axes,
    followed,
    fresh_axes,
    goes_along,
    is_apart,
    is_view,
    keeps_shape,
    made_of,
    rename,
)
from .images import apart
from .joining import join_loops
from .order import Order
from .parts import side_by_side
from .recompute import recompute


class Clustering:
    """Groups of a program or a region of it, in an order in which they can run.

    Attributes:
        groups: in execution order.
        yields: for each result of the program, its group and the number of the root there.
    """

    def __init__(self, graph: Region) -> None:
        self.graph = graph
        self.group_of: dict[Node, Group] = {}
        self.groups: list[Group] = []
        self.order = Order()  # of the groups, while they grow
        self.copies: dict[Value, Group] = {}  # groups that store what no other can
        self.yields: list[tuple[Group, int]] = []
        needed = live_nodes(graph)
        for position, node in enumerate(graph.nodes):
            if node not in needed or node.op.kind in (Kind.VIEW, Kind.SOURCE):
                continue
            if is_apart(node):
                self.place_apart(node, position)
            else:
                self.place_node(node, position)
        self.root_results()
        self.absorb()
        self.join_loops()
        recompute(self.groups)
        self.drop_idle()
        self.root_shared()
        self.groups = in_order(self.groups)

    # Growing groups ------------------------------------------------------------------------

    def place_node(self, node: Node, position: int) -> None:
        """Puts `node` into a group that it fits, or into one of its own.

        Loops come last: one that only feeds `node` can be absorbed afterwards.
        """
        sources = self.sources(node)
        for group in sorted(sources, key=lambda g: (g.form is Form.LOOP, -g.last)):
            if len(group.members) >= MAX_MEMBERS:
                continue
            place = find_place(node, group)
            if place is None or self.order.precedes(group, sources):
                continue
            if goes_along(node) and group.form is Form.LOOP:
                group.form, group.reduced = Form.ROW, frozenset(folded_axes(node))
            self.join(node, position, group, place, sources)
            return
        group, place = new_group(node)
        self.append(group)
        self.join(node, position, group, place, sources)

    def join(
        self, node: Node, position: int, group: Group, place: tuple[Dim, ...],
        sources: Iterable[Group],
    ) -> None:  # fmt: skip
        group.add(node, position, place)
        self.group_of[node] = group
        for source in sources:
            if source is not group:
                self.order.connect(source, group)

    def append(self, group: Group) -> None:
        self.groups.append(group)
        self.order.add(group)

    def place_apart(self, node: Node, position: int) -> None:
        """A group of `node` alone, whose operands and results are buffers."""
        group = Group(Form.APART, ())
        group.members[node] = None
        group.first = group.last = position
        for value in node.results:
            group.place[value] = fresh_axes(value.type.shape)
            group.roots.append((value, group.place[value]))
        for operand in dict.fromkeys(node.operands):
            source = self.store(operand, position)
            if source is not None:
                group.producers[source] = None
        self.group_of[node] = group
        self.append(group)

    def store(self, value: Value, position: int) -> Group | None:
        """The group that stores `value`, which is made its root; None for a buffer that is there
        already: a parameter or a constant."""
        if value.node is None or "value" in value.node.attrs:
            return None
        group, place = self.home(value)
        if group is None or place is None:
            if value not in self.copies:
                self.copies[value] = self.copy_group(value, position)
            return self.copies[value]
        if all(value is not root for root, _ in group.roots):
            group.roots.append((value, place))
        return group

    def copy_group(self, value: Value, position: int) -> Group:
        """A new group that will store `value`, a view or a source."""
        joined = self.joined_group(value)
        group = joined or Group(Form.LOOP, value.type.shape)
        for leaf in made_of(value):
            if leaf.node in self.group_of:
                source = self.group_of[leaf.node]
                group.producers[source] = None
                if joined is None:  # else it may move into this group
                    self.add_root(source, leaf)
        group.first = group.last = position
        if joined is None:
            group.roots.append((value, group.axes))
        self.append(group)
        return group

    def joined_group(self, value: Value) -> Group | None:
        """A group that stores an element of each of the parts of `value` at every point, where
        loops over the same points compute them: the real and imaginary parts of complex numbers."""
        node = value.node
        if node is None or node.op.joined_map is None:
            return None
        group: Group | None = None
        parts: list[Store] = []
        for number, operand in enumerate(node.operands):
            source, place = self.home(operand)
            if source is None or place is None or source.form is not Form.LOOP:
                return self.group_of_parts(value)
            group = group or Group(Form.LOOP, source.extents)
            if source.extents != group.extents:
                return self.group_of_parts(value)
            here = rename(place, source.axes, group.axes)
            parts.append(Store(operand, here, _place_of_part(node, number, here)))
        assert group is not None
        _add_parts(group, value, parts)
        return group

    def group_of_parts(self, value: Value) -> Group | None:
        """The same over the points of a part, where all have one shape, whoever computes them."""
        assert value.node is not None
        operands = value.node.operands
        if not side_by_side(operands, value.node.attrs["axis"]):
            return None
        group = Group(Form.LOOP, operands[0].type.shape)
        parts = [
            Store(operand, group.axes, _place_of_part(value.node, number, group.axes))
            for number, operand in enumerate(operands)
        ]
        _add_parts(group, value, parts)
        return group

    def sources(self, node: Node) -> dict[Group, None]:
        """The groups whose values `node` reads."""
        found: dict[Group, None] = {}
        for operand in node.operands:
            for leaf in made_of(operand):
                if leaf.node in self.group_of:
                    found[self.group_of[leaf.node]] = None
        return found

    # What kernels store --------------------------------------------------------------------

    def root_results(self) -> None:
        """Makes every result of the program a root of some group: each its own buffer."""
        taken: set[Value] = set()
        for value in self.graph.yields:
            group, place = self.home(value)
            again = value in taken
            if again and group is not None and group.form in (Form.SCATTER, Form.APART):
                group = None  # it stores its result once
            if group is None or place is None:
                group = None if again else self.copies.get(value)
                group = group or self.copy_group(value, len(self.graph.nodes))
                place, again = group.axes, False
            known = [] if again else [i for i, (root, _) in enumerate(group.roots) if root is value]
            taken.add(value)
            self.yields.append((group, known[0] if known else len(group.roots)))
            if not known:
                group.roots.append((value, place))

    def home(self, value: Value) -> tuple[Group | None, tuple[Dim, ...] | None]:
        """The group that can store `value`, if it is computed or a reordering of what is."""
        core = value
        while is_view(core) and core.node is not None and core.node.op.inverse_map is not None:
            core = core.node.operands[0]
        if core.node not in self.group_of:
            return None, None
        group = self.group_of[core.node]
        if group.form in (Form.SCATTER, Form.APART) and value is not core:
            return None, None
        return group, next(followed(value, group), None)

    def add_root(self, group: Group, value: Value) -> None:
        if all(value is not root for root, _ in group.roots):
            group.roots.append((value, group.place[value]))

    def root_shared(self) -> None:
        """Makes the values that other groups read roots of their groups."""
        for group in self.groups:
            for leaf in external_reads(group):
                if leaf.node in self.group_of:
                    self.add_root(self.group_of[leaf.node], leaf)

    def drop_idle(self) -> None:
        """Takes out the members, and the groups, that neither a result nor a reader needs."""
        wanted: dict[Value, None] = {}
        for group in reversed(in_order(self.groups)):
            pending = [v for v, _ in group.roots] + [v for v in group.place if v in wanted]
            if not pending:
                self.groups.remove(group)
                continue
            used: set[Node] = set()
            while pending:
                for leaf in made_of(pending.pop()):
                    if leaf.node in group.members and leaf.node not in used:
                        used.add(leaf.node)
                        pending.extend(leaf.node.operands)
            group.members = {node: None for node in group.members if node in used}
            wanted.update(dict.fromkeys(external_reads(group)))

    # Absorbing -----------------------------------------------------------------------------

    def absorb(self) -> None:
        """Moves groups into their readers where that costs less than storing their values."""
        readers: dict[Group, dict[Group, None]] = {g: {} for g in self.groups}
        for group in self.groups:
            for producer in group.producers:
                readers[producer][group] = None
        apart = parted(in_order(self.groups), readers)
        readings: dict[Group, Reading] = {}
        for group in sorted(self.groups, key=lambda g: -g.last):
            into = list(readers[group])
            if not into or group in apart or group.roots or group.form is not Form.LOOP:
                continue
            for reader in into:
                if reader not in readings:
                    readings[reader] = Reading(reader)
            alone = len(into) == 1 and may_absorb(group, into[0], readings[into[0]])
            if not (repeats_cheaply(group) or alone or drawn_again(group, into)):
                continue
            for reader in into:
                readings[reader].absorb(group)
                self.merge(group, reader, readers)
            for producer in group.producers:
                readers[producer].pop(group, None)
            self.groups.remove(group)

    def join_loops(self) -> None:
        """Moves loops into readers over the same points, with what they store."""
        order = Order()  # absorbing has changed who reads whom
        for group in in_order(self.groups):
            order.add(group)
        moved = join_loops(self.groups, order)
        for group, (reader, _) in moved.items():
            self.group_of.update(dict.fromkeys(group.members, reader))
        for number, (group, root) in enumerate(self.yields):
            while group in moved:  # a reader may have moved on with what had moved into it
                group, before = moved[group]
                root += before
            self.yields[number] = group, root

    def merge(self, group: Group, reader: Group, readers: dict[Group, dict[Group, None]]) -> None:
        reader.members = {**group.members, **reader.members}
        reader.producers.pop(group, None)
        for producer in group.producers:
            reader.producers[producer] = None
            readers[producer][reader] = None
        reader.first = min(group.first, reader.first)
        for node in group.members:
            self.group_of[node] = reader


def _place_of_part(node: Node, number: int, index: Index) -> Index:
    """Where an operand's element is in the result that it is joined to."""
    assert node.op.joined_map is not None
    place: Index = node.op.joined_map([o.type for o in node.operands], node.attrs, number, index)
    return place


def _add_parts(group: Group, value: Value, parts: Sequence[Store]) -> None:
    """Makes `value` the root of a new group, a part of it at a time."""
    group.roots.append((value, parts[0].at))
    group.parts[0] = tuple(parts)


def live_nodes(graph: Region) -> set[Node]:
    """The nodes that a result depends on."""
    live: set[Node] = {v.node for v in graph.yields if v.node is not None}
    for node in reversed(graph.nodes):
        if node in live:
            live.update(o.node for o in node.operands if o.node is not None)
    return live


def new_group(node: Node) -> tuple[Group, tuple[Dim, ...]]:
    """A group made for `node`, and the place of its result."""
    result = node.results[0].type
    if node.op.contract_map is not None:
        contract = apart(node.op.contract_map([o.type for o in node.operands], node.attrs))
        group = Group(Form.CONTRACT, contract.batch + contract.m + contract.n)
        group.contract = contract
        b, m = len(contract.batch), len(contract.m)
        axes = group.axes
        return group, contract.result(axes[:b], axes[b : b + m], axes[b + m :])
    if node.op.kind is Kind.ATTENTION:
        group = attention_group(node)
        return group, group.place[node.results[0]]
    if goes_along(node):
        shape, folded = node.operands[0].type.shape, folded_axes(node)
        group = Group(Form.ROW, shape, folded)
        if keeps_shape(node):
            return group, group.axes
        return group, tuple(group.axes[a] for a in kept_axes(len(shape), folded))
    if node.op.indexed_map is not None and len(node.operands) == 3:
        group = Group(Form.SCATTER, result.shape)
        return group, group.axes
    group = Group(Form.LOOP, result.shape)
    return group, group.axes


def in_order(groups: list[Group]) -> list[Group]:
    """`groups` sorted so that each comes after its producers, else by first position."""
    numbers = {g: number for number, g in enumerate(groups)}
    waiting = {g: sum(1 for p in g.producers if p in numbers) for g in groups}
    readers: dict[Group, list[Group]] = {g: [] for g in groups}
    for group in groups:
        for producer in group.producers:
            if producer in readers:
                readers[producer].append(group)
    ready = [(g.first, numbers[g]) for g in groups if not waiting[g]]
    heapq.heapify(ready)
    ordered: list[Group] = []
    while ready:
        group = groups[heapq.heappop(ready)[1]]
        ordered.append(group)
        for reader in readers[group]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (reader.first, numbers[reader]))
    assert len(ordered) == len(groups), "the groups form a cycle"
    return ordered
