"""Sums of parts that do not meet, zeros around each: the way back of `chunk` and `unbind`.

    %a = update_slice(0, %x) {starts=[0]}
    %b = update_slice(0, %y) {starts=[n]}    ->    %s = barrier(concat(%x + 0, %y + 0))
    %s = add(%a, %b)

A kernel over the points of the sum would compute every part at each of them, under a mask. The
barrier keeps the concatenation in memory, where one kernel over the points of a part stores an
element of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ...ir.builder import Recording
from ...ir.dims import Dim, product
from ...ir.graph import Graph, Node, Region, Value
from ...ir.ops.base import OPS, Kind
from ...ir.ops.elementwise import ADD
from ...ir.ops.view import CONCAT, PAD, UPDATE_SLICE
from ..rewrite import rewrite
from ..uniform import filled, is_number

MOST = 8  # parts that a loop stores side by side
LEAST_RUN = 64  # elements of each that lie together


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a value is made of along `axis`, zeros elsewhere: (begin, end, value) of each."""

    axis: int
    parts: tuple[tuple[int, int, Value], ...]


def side_by_side(parts: Sequence[Value], axis: int) -> bool:
    """Whether one loop stores an element of each of `parts`, which follow one another along `axis`,
    at every point."""
    if not 1 < len(parts) <= MOST or len({part.type.shape for part in parts}) > 1:
        return False
    run = product(parts[0].type.shape[axis:])
    return not isinstance(run, int) or run >= LEAST_RUN


def with_parts(graph: Graph) -> Graph:
    """`graph` with such sums as concatenations; itself where there are none."""
    if not any(_sums_parts(node) for node in graph.walk()):
        return graph
    readers = _readers(graph)
    known: dict[Value, _Parts] = {}

    def rule(node: Node, operands: tuple[Value, ...]) -> Any:
        found = _parts_of(node, operands, known)
        if found is None:
            return None
        value = _joined(found, node.results[0]) if _worth(readers[node.results[0]]) else None
        if value is None:
            value = node.op(*operands, **node.attrs)
            known[value] = found
        return value

    return rewrite(graph, rule, Recording())


def _sums_parts(node: Node) -> bool:
    """Whether `node` may be such a sum, of two parts."""
    if node.op is not ADD:
        return False
    return all(v.node is not None and v.node.op in (PAD, UPDATE_SLICE) for v in node.operands)


def _readers(graph: Graph) -> Mapping[Value, list[Node | None]]:
    """Who reads each value; None for a result."""
    found: dict[Value, list[Node | None]] = {v: [] for node in graph.walk() for v in node.results}

    def note(region: Region) -> None:
        for node in region.nodes:
            for operand in dict.fromkeys(node.operands):
                found.setdefault(operand, []).append(node)
            for inner in node.regions:
                note(inner)
        for value in region.yields:
            found.setdefault(value, []).append(None)

    note(graph)
    return found


def _worth(readers: list[Node | None]) -> bool:
    """Whether a sum is stored anyway, rather than computed where its one reader is."""
    if len(readers) == 1 and readers[0] is not None:
        return readers[0].op.kind is not Kind.ELEMENTWISE
    return bool(readers)


def _parts_of(
    node: Node, operands: tuple[Value, ...], known: Mapping[Value, _Parts]
) -> _Parts | None:
    """The parts of the result of a `pad` or `update_slice`, or of a sum of such."""
    if node.op is PAD:
        x, fill = operands
        plain = all(n == 0 for n in node.attrs["interior"]) and is_number(fill, 0)
        return _part(x, node.attrs["low"], node.results[0]) if plain else None
    if node.op is UPDATE_SLICE:
        base, x = operands
        plain = all(n == 1 for n in node.attrs["steps"]) and is_number(base, 0)
        return _part(x, node.attrs["starts"], node.results[0]) if plain else None
    if node.op is not ADD or any(v not in known for v in operands):
        return None
    left, right = (known[v] for v in operands)
    if left.axis != right.axis:
        return None
    parts = sorted((*left.parts, *right.parts), key=lambda part: part[0])
    if any(end > begin for (_, end, _), (begin, _, _) in pairwise(parts)):
        return None
    return _Parts(left.axis, tuple(parts))


def _part(x: Value, starts: Sequence[Dim], whole: Value) -> _Parts | None:
    """The part `x`, of which zeros are at the ends of one axis of `whole`."""
    sizes = tuple(zip(x.type.shape, whole.type.shape, strict=True))
    axes = [axis for axis, (size, total) in enumerate(sizes) if size != total]
    if len(axes) != 1:
        return None
    (axis,) = axes
    start, (size, total) = starts[axis], sizes[axis]
    if not (isinstance(start, int) and isinstance(size, int) and isinstance(total, int)):
        return None
    return _Parts(axis, ((start, start + size, x),)) if 0 <= start <= total - size else None


def _joined(found: _Parts, whole: Value) -> Value | None:
    """The parts one after the other, kept in memory; None where they do not fill `whole`, or no
    loop would store them side by side."""
    total = sum(end - begin for begin, end, _ in found.parts)
    values = [value for _, _, value in found.parts]
    if total != whole.type.shape[found.axis] or not side_by_side(values, found.axis):
        return None
    parts = [_with_zero_added(part) for _, _, part in found.parts]
    value: Value = OPS["barrier"](CONCAT(*parts, axis=found.axis))
    return value


def _with_zero_added(part: Value) -> Value:
    """What the sum with zeros is: -0 becomes 0."""
    if not part.type.dtype.is_float:
        return part
    return ADD(part, filled(part.type, np.zeros((), part.type.dtype.numpy)))
