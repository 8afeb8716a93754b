"""Sums over the turns of a loop, taken after it where that is less work.

Before: each turn adds a product to a sum of its size,  `%w2 = add(%w, dot_general(%a, %b))`.
After: the turns yield `%a` and `%b`, and one product contracts the axis of the turns, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...ir.dims import add_all, nonnegative
from ...ir.graph import Node, Value
from ...ir.ops.contraction import DOT_GENERAL
from ...ir.ops.elementwise import ADD
from ...ir.ops.reduction import REDUCE_SUM
from ...ir.ops.view import RESHAPE, TRANSPOSE

# Of a sum of so many elements a turn may yield one more, so that it need not pass the sum on: for
# small batches, where adding to the sum is most of a product's work.
_SUM_FOR_ONE = 8


class Sums:
    """How the sums over all turns of some values of a turn are found.

    Attributes:
        carried: values that each turn adds to a sum.
        stacked: values that each turn yields.
    """

    def __init__(
        self, values: Sequence[Value], nodes: Sequence[Node], known: Mapping[Value, Value]
    ) -> None:
        """`nodes`: those of a turn that may be looked through; `known`: what holds a value of all
        turns, stacked."""
        self._nodes = set(nodes)
        self._known = dict(known)
        self.carried: list[Value] = []
        self.stacked: list[Value] = []
        for value in values:
            self._products(value)
        for value in values:
            self._rest(value)

    def _parts(self, value: Value) -> Sequence[Value]:
        """What the sum of `value` is a linear function of, if it is one."""
        node = value.node
        if node is None or node not in self._nodes:
            return ()
        if node.op in (TRANSPOSE, RESHAPE):
            return node.operands
        return node.operands if node.op is ADD else ()

    def _products(self, value: Value) -> None:
        """Notes the operands of products that are worth it."""
        for part in self._parts(value):
            self._products(part)
        node = value.node
        if node is None or node not in self._nodes or node.op is not DOT_GENERAL:
            return
        new = [v for v in node.operands if v not in self._known and v not in self.stacked]
        if all(v.node in self._nodes for v in new):
            kept, size = add_all(v.type.size for v in new), value.type.size
            if nonnegative(size - _SUM_FOR_ONE * kept):
                self.stacked += dict.fromkeys(new)

    def _rest(self, value: Value) -> None:
        parts = self._parts(value)
        for part in parts:
            self._rest(part)
        if not parts and not self._after(value) and value not in self.carried:
            self.carried.append(value)

    def _after(self, value: Value) -> bool:
        """Whether the sum of a product or of a reduction can be taken after the loop."""
        node = value.node
        if node is None or node not in self._nodes or node.op not in (DOT_GENERAL, REDUCE_SUM):
            return False
        return all(v in self._known or v in self.stacked for v in node.operands)

    def total(
        self, value: Value, carried: Mapping[Value, Value], made: Mapping[Value, Value]
    ) -> Value:
        """The sum of `value` over all turns, from what the loop gave for `carried`, `stacked`."""
        node = value.node
        if value in carried:
            return carried[value]
        assert node is not None
        parts = [self.total(part, carried, made) for part in self._parts(value)]
        if parts:
            found: Value = node.op(*parts, **node.attrs)
            return found
        whole = [made[v] if v in made else self._known[v] for v in node.operands]
        if node.op is REDUCE_SUM:
            return REDUCE_SUM(whole[0], axes=(0, *(a + 1 for a in node.attrs["axes"])))
        return DOT_GENERAL(*whole, **_over_turns(node))


def _over_turns(node: Node) -> dict[str, Any]:
    """The attributes of a product whose operands have an axis of turns in front, contracted."""
    moved = {name: tuple(a + 1 for a in axes) for name, axes in node.attrs.items()}
    for name in ("lhs_contract", "rhs_contract"):
        moved[name] = (0, *moved[name])
    return moved


def leading_to(nodes: Sequence[Node], values: Sequence[Value]) -> list[Node]:
    """Those of `nodes` that `values` depend on, in order."""
    needed = set(values)
    found = []
    for node in reversed(nodes):
        if any(v in needed for v in node.results):
            found.append(node)
            needed.update(node.operands)
    return found[::-1]
