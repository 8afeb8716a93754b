"""Which groups become the same kernel: deep nets repeat their blocks, and each is written once.

`Signature` says all of a group that its kernel depends on, with numbers for values; so two groups
with equal keys have one kernel, which reads the values with the same numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ...ir.dims import Dim, Slot, of_atom
from ...ir.graph import Value
from ...ir.ops.base import Kind
from .groups import Group, Index, is_source, rename


class Signature:
    """What decides the kernel of a group, but for names and lines.

    Attributes:
        key: equal where the kernels are.
        values: what stands for each number in the key: the group's values and what they are made
            of, down to buffers.
    """

    def __init__(self, group: Group) -> None:
        self.values: list[Value] = []
        self._numbers: dict[Value, int] = {}
        self._entries: list[Hashable] = []
        self._members = group.members
        members = tuple(self._number(node.results[0]) for node in group.members)
        roots = tuple(self._number(value) for value, _ in group.roots)
        places = _Places(group)
        self.key: Hashable = (
            group.form,
            group.extents,
            group.reduced,
            members,
            roots,
            tuple(
                (self._number(s.value), places.of(s.index), places.of(s.at))
                for number in range(len(roots))
                for s in group.stores(number)
            ),
            tuple(
                (self._numbers[value], places.of(at))
                for value, at in group.place.items()
                if value.node in group.members and value in self._numbers
            ),
            tuple(self._entries),
        )

    def number(self, value: Value) -> int:
        """The number of a value that the kernel reads."""
        return self._numbers[value]

    def _number(self, value: Value) -> int:
        found = self._numbers.get(value)
        if found is None:
            entry = self._entry(value)
            found = self._numbers[value] = len(self.values)
            self.values.append(value)
            self._entries.append(entry)
        return found

    def _entry(self, value: Value) -> Hashable:
        """How `value` is made, or the type of the buffer that holds it."""
        node = value.node
        if node is None:
            return value.type
        computed = node in self._members
        if not (computed or node.op.kind is Kind.VIEW or is_source(value)):
            return value.type
        operands = tuple([self._number(operand) for operand in node.operands])
        return node.op, computed, operands, _attributes(node.attrs), value.index


def _attributes(attrs: Mapping[str, Any]) -> Hashable:
    return tuple(
        [(name, tuple(v) if isinstance(v, list) else v) for name, v in attrs.items()]
    )  # fmt: skip


class _Places:
    """Indices over the axes of a group, written over slots in their place."""

    def __init__(self, group: Group) -> None:
        self.axes = group.axes
        self.plain = {axis: (number,) for number, axis in enumerate(group.axes) if axis != 0}
        self.slots: Index | None = None
        self.extents: Sequence[Dim] = group.extents

    def of(self, place: Index) -> Hashable:
        """`place` as a tuple of (number of an axis,), of ints, and of expressions over slots."""
        found: list[Hashable] = []
        for dim in place:
            if isinstance(dim, int):
                found.append(dim)
            else:
                found.append(self.plain.get(dim) or self._general(dim))
        return tuple(found)

    def _general(self, dim: Dim) -> Dim:
        if self.slots is None:
            self.slots = tuple(of_atom(Slot(i, n)) for i, n in enumerate(self.extents))
        return rename((dim,), self.axes, self.slots)[0]
