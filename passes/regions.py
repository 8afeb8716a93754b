"""How nodes of control flow hand values to their regions: what passes over regions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..ir.builder import Recording
from ..ir.graph import Node, Region, Value


def consts_end(node: Node) -> tuple[int, int]:
    """Where a value that every region of `node` is to see may be inserted: its position among the
    operands, and among the parameters of each region."""
    if node.op.name == "cond":
        return len(node.operands), len(node.operands) - 1
    return node.attrs["consts"], node.attrs["consts"]


def with_consts(node: Node, count: int) -> Mapping[str, Any]:
    """The attributes of `node` with `count` more operands that its regions see."""
    if node.op.name == "cond":
        return node.attrs
    return {**node.attrs, "consts": node.attrs["consts"] + count}


def inserted(values: Sequence[Any], position: int, more: Sequence[Any]) -> list[Any]:
    """`values` with `more` before `position`."""
    return [*values[:position], *more, *values[position:]]


def emit(
    builder: Recording,
    node: Node,
    operands: Sequence[Value],
    attrs: Mapping[str, Any],
    regions: tuple[Region, ...],
) -> tuple[Value, ...]:
    """The results of a node like `node`, at its line, always as a tuple."""
    builder.line = node.line
    results = builder.emit(node.op, operands, attrs, regions)
    return (results,) if isinstance(results, Value) else results
