"""Values that a reader computes again from smaller or closer ones, rather than to load them.

The mask of a pooling window has an element for each place in the window, though the number of the
chosen place tells it; a normalised value follows from one that its reader loads anyway. The slope
of an activation is several values to load, which one tells: its argument.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from ...ir.dims import Dim, add_all, nonnegative, product
from ...ir.graph import Node, Value
from ...ir.ops.base import Kind
from .absorbing import computed_at
from .cost import MAX_MEMBERS, RECOMPUTE, RECOMPUTE_BYTE, repeated_reads
from .groups import Form, Group, external_reads, made_of

SWEEPS = 3  # one choice may make another worthwhile
MAX_RECOMPUTED = 24  # nodes


class _Reads:
    """What a group reads from buffers, and what work it may do instead.

    Attributes:
        values: of other groups and of the program.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.values = dict.fromkeys(external_reads(group))

    @functools.cached_property
    def slack(self) -> dict[Value, float]:
        """The work that the group may repeat for one element, where that is limited. None while it
        packs the operand of a product: that is fastest where it reads plain memory."""
        slack: dict[Value, float] = {}
        for node in self.group.members:
            for leaf, allowed in repeated_reads(node):
                here = -1 if node.op.contract_map is not None else allowed
                slack[leaf] = min(here, slack.get(leaf, here))
        return slack

    def may_compute(self, value: Value, cost: int, count: int) -> bool:
        """Whether the group may compute `value` by `count` nodes of this cost."""
        if self.group.form is Form.SCATTER or len(self.group.members) + count > MAX_MEMBERS:
            return False
        return cost <= self.slack.get(value, cost)


def recompute(groups: list[Group]) -> None:
    """Copies nodes from groups into the groups that read them, where that moves fewer bytes.

    What a group need not compute any more stays among its members.
    """
    reads = {group: _Reads(group) for group in groups}
    touched = True
    for _ in range(SWEEPS):
        if not touched:
            break
        touched = False
        readers: dict[Value, list[Group]] = {}
        for group, read in reads.items():
            for value in read.values:
                readers.setdefault(value, []).append(group)
        for group in groups:
            stored = {value for value, _ in group.roots}
            together: dict[tuple[Group, ...], list[Value]] = {}
            for value in list(group.place):
                into = readers.get(value)
                if not into or value in stored:
                    continue
                if _move([value], group, into, reads, readers):
                    touched = True
                else:
                    together.setdefault(tuple(into), []).append(value)
            for common, values in together.items():
                for alike in _by_shape(values):
                    if len(alike) > 1 and _move(alike, group, common, reads, readers):
                        touched = True


def _by_shape(values: Sequence[Value]) -> Iterable[list[Value]]:
    shapes: dict[tuple[Dim, ...], list[Value]] = {}
    for value in values:
        shapes.setdefault(value.type.shape, []).append(value)
    return shapes.values()


def _move(
    values: Sequence[Value], group: Group, into: Sequence[Group],
    reads: dict[Group, _Reads], readers: dict[Value, list[Group]],
) -> bool:  # fmt: skip
    """Lets the groups `into` compute `values` of `group`, all of one shape, if that pays."""
    nodes, needed = _closure(values, group, readers)
    if not nodes or any(v.node in group.members and v not in group.place for v in needed):
        return False
    stored = {v for v, _ in group.roots}
    before = add_all(v.type.nbytes for v in values) * (1 + len(into))
    after: Dim = 0
    for leaf in needed:
        kept = leaf.node not in group.members or leaf in stored or leaf in readers
        fetched = sum(1 for reader in into if leaf not in reads[reader].values)
        after = after + leaf.type.nbytes * ((not kept) + fetched)
    if before == after or not nonnegative(before - after):
        return False
    computed = [v.node for v, _ in computed_at(values, nodes) if v.node is not None]
    cost = sum(node.op.cost for node in computed if _reads_memory(node))
    points = product(values[0].type.shape)
    allowed = RECOMPUTE_BYTE * (before - after) - cost * len(into) * points
    if cost > RECOMPUTE and not nonnegative(allowed):
        return False
    if not all(reads[g].may_compute(v, cost, len(nodes)) for g in into for v in values):
        return False
    for reader in into:
        reader.members = _in_order({**dict.fromkeys(nodes), **reader.members})
        reader.first = min(reader.first, group.first)
        for producer in group.producers:
            reader.producers[producer] = None
        reads[reader] = _Reads(reader)
    for value in values:
        del readers[value]
    for reader in into:
        for leaf in needed:
            if reader not in readers.setdefault(leaf, []):
                readers[leaf].append(reader)
    return True


def _closure(
    values: Sequence[Value], group: Group, readers: dict[Value, list[Group]]
) -> tuple[list[Node], dict[Value, None]]:
    """The elementwise members of `group` that make `values` of others in memory, in the program's
    order, and those others; nothing where they are more than any recomputation may cost."""
    stored = {v for v, _ in group.roots}
    found: dict[Node, None] = {}
    needed: dict[Value, None] = {}
    pending = list(values)
    while pending:
        current = pending.pop()
        node = current.node
        in_memory = current not in values and (current in stored or current in readers)
        if node not in group.members or in_memory or node.op.kind is not Kind.ELEMENTWISE:
            needed[current] = None
            continue
        assert node is not None
        if node in found:
            continue
        if len(found) >= MAX_RECOMPUTED:
            return [], {}
        found[node] = None
        pending.extend(leaf for operand in node.operands for leaf in made_of(operand))
    return [node for node in group.members if node in found], needed


def _in_order(members: dict[Node, None]) -> dict[Node, None]:
    """`members` with operands before their readers: nodes that are copied may read what was copied
    before them."""
    ordered: dict[Node, None] = {}
    pending = [(node, False) for node in reversed(members)]
    while pending:
        node, ready = pending.pop()
        if node in ordered:
            continue
        if ready:
            ordered[node] = None
            continue
        pending.append((node, True))
        for operand in node.operands:
            for leaf in made_of(operand):
                if leaf.node is not None and leaf.node in members:
                    pending.append((leaf.node, False))
    return ordered


def _reads_memory(node: Node) -> bool:
    """Whether `node` reads more than counters and constants, which loops hold outside."""
    pending = list(node.operands)
    while pending:
        for leaf in made_of(pending.pop()):
            if leaf.node is None or leaf.node.op.kind is not Kind.ELEMENTWISE:
                return True
            if not leaf.node.operands:
                return True
            pending.extend(leaf.node.operands)
    return False
