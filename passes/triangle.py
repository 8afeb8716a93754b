"""Which conditions on a matrix are a triangle: true iff column <= row + d, or iff not.

Read off the counters that a condition is made of: `tril` and `triu` of ones, compared positions.
"""

from __future__ import annotations

from typing import NamedTuple

from ..ir.graph import Node, Value


class Triangle(NamedTuple):
    """True iff column <= row + `diagonal` (`below`), or iff column > row + `diagonal`."""

    diagonal: int
    below: bool

    def negated(self) -> Triangle:
        return Triangle(self.diagonal, not self.below)


def triangle(value: Value, row: int, column: int) -> Triangle | None:
    """What `value`, a condition or a number that counts as false where it is 0, is over its axes
    `row` and `column`; None where it is no triangle, or that is not seen."""
    node = value.node
    if node is None:
        return None
    name = node.op.name
    if name == "broadcast":
        dims = node.attrs["dims"]
        if row not in dims or column not in dims:
            return None
        return triangle(node.operands[0], dims.index(row), dims.index(column))
    if name == "slice" and _from_the_corner(node, row, column):
        return triangle(node.operands[0], row, column)
    if name == "cast":
        return triangle(node.operands[0], row, column)
    if name == "bit_not":
        return _negated(triangle(node.operands[0], row, column))
    if name == "where":
        return _chosen(node, row, column)
    if name in ("eq", "ne") and number(node.operands[1]) == 0:
        found = triangle(node.operands[0], row, column)
        return found if name == "ne" else _negated(found)
    if name in ("ge", "gt"):
        left, right = node.operands
        return _compared(name, left, right, row, column)
    if name in ("le", "lt"):
        left, right = node.operands
        return _compared("ge" if name == "le" else "gt", right, left, row, column)
    return None


def number(value: Value) -> float | None:
    """The number that every element of `value` is, where the program says it."""
    node = value.node
    while node is not None and node.op.name == "broadcast":
        node = node.operands[0].node
    if node is None or node.op.name != "constant" or node.attrs["value"].array.size != 1:
        return None
    return float(node.attrs["value"].array.reshape(()))


def _negated(found: Triangle | None) -> Triangle | None:
    return None if found is None else found.negated()


def _from_the_corner(node: Node, row: int, column: int) -> bool:
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    return all(starts[a] == 0 and steps[a] == 1 for a in (row, column))


def _chosen(node: Node, row: int, column: int) -> Triangle | None:
    """`where` of two numbers, one of which is 0."""
    condition, *sides = node.operands
    values = [number(side) for side in sides]
    if None in values or (values[0] == 0) == (values[1] == 0):
        return None
    found = triangle(condition, row, column)
    return _negated(found) if values[0] == 0 else found


def _compared(name: str, left: Value, right: Value, row: int, column: int) -> Triangle | None:
    """left >= right, or left > right, of positions."""
    first, second = (_position(v, row, column) for v in (left, right))
    if first is None or second is None or first[0] == second[0]:
        return None
    strict = name == "gt"
    if first[0] == "row":
        return Triangle(first[1] - second[1] - strict, True)
    return Triangle(second[1] - first[1] - (not strict), False)


def _position(value: Value, row: int, column: int) -> tuple[str, int] | None:
    """("row" or "column", what is added to it)."""
    node = value.node
    if node is None:
        return None
    if node.op.name == "iota":
        return {row: ("row", 0), column: ("column", 0)}.get(node.attrs["axis"])
    if node.op.name == "broadcast":
        dims = node.attrs["dims"]
        places = [dims.index(a) if a in dims else -1 for a in (row, column)]
        return _position(node.operands[0], *places)
    if node.op.name not in ("add", "sub"):
        return None
    moved = number(node.operands[1])
    found = _position(node.operands[0], row, column)
    if moved is None or found is None or moved != int(moved):
        return None
    return found[0], found[1] + (int(moved) if node.op.name == "add" else -int(moved))
