"""Picks: one element of each row of what lies in memory is read, rather than the row.

Before: `%h = eq(iota(axis), %t)`, `%s = reduce_sum(where(%h, %x, 0)) {axes=[axis]}`, as losses of
class numbers compute it, where `%x` is an input that nothing else reads
After: the element of `%x` at `%t`, 0 where there is none: `where(inside, gather(%x, place), 0)`

Where the rows are read anyway, or are computed, the sum costs nothing more and is left alone.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from ..ir.builder import Recording
from ..ir.dims import product
from ..ir.dtypes import i64
from ..ir.graph import Graph, Node, Value, full
from ..ir.ops import elementwise as ew
from ..ir.ops.indexed import GATHER
from ..ir.ops.source import IOTA
from .autodiff.rule import reshaped, size_value
from .dead import prune
from .rewrite import rewrite


class _Pick(NamedTuple):
    """The element of `source` at `place` along `axis`."""

    source: Value
    place: Value
    axis: int


def pick(graph: Graph) -> Graph:
    """`graph` with its picks; itself where there are none."""
    uses = Counter(v for node in graph.walk() for v in node.operands)
    for region in (graph, *(r for node in graph.walk() for r in node.regions)):
        uses.update(region.yields)
    found: set[Node] = set()
    for node in graph.nodes:
        picked = _picked(node, node.operands[0]) if node.op.name == "reduce_sum" else None
        if picked is not None and picked.source in graph.params:
            if uses[picked.source] == 1 and uses[node.operands[0]] == 1:
                found.add(node)
    if not found:
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> Value | None:
        picked = _picked(node, operands[0]) if node in found else None
        return None if picked is None else _gathered(picked)

    return prune(rewrite(graph, rule, Recording()))


def _picked(node: Node, summed: Value) -> _Pick | None:
    """What the sum `node` of `summed` picks."""
    where = summed.node
    if len(node.attrs["axes"]) != 1 or where is None or where.op.name != "where":
        return None
    (axis,), (hits, source, other) = node.attrs["axes"], where.operands
    size = source.type.shape[axis]
    if not isinstance(size, int) or not size:
        return None  # there may be nothing to pick
    if not _is_zero(other) or hits.node is None or hits.node.op.name != "eq":
        return None
    for counter, spread in (hits.node.operands, hits.node.operands[::-1]):
        if counter.node is None or spread.node is None:
            continue
        if counter.node.op.name != "iota" or counter.node.attrs["axis"] != axis:
            continue
        others = tuple(a for a in range(source.type.ndim) if a != axis)
        if spread.node.op.name == "broadcast" and spread.node.attrs["dims"] == others:
            return _Pick(source, spread.node.operands[0], axis)
    return None


def _is_zero(value: Value) -> bool:
    node = value.node
    while node is not None and node.op.name == "broadcast":
        node = node.operands[0].node
    return node is not None and node.op.name == "constant" and not np.any(node.attrs["value"].array)


def _gathered(pick: _Pick) -> Value:
    source, axis = pick.source, pick.axis
    shape, own = source.type.shape, pick.place.type.shape
    number = pick.place
    if number.type.dtype is not i64:
        number = ew.CAST(number, dtype=i64)
    inside = ew.BIT_AND(
        ew.GE(number, full(number.type, 0)), ew.LT(number, size_value(shape[axis], i64, own))
    )
    number = ew.WHERE(inside, number, full(number.type, 0))
    place = number * size_value(product(shape[axis + 1 :]), i64, own)
    for k, a in enumerate(a for a in range(len(shape)) if a != axis):
        stride = size_value(product(shape[a + 1 :]), i64, own)
        place = place + IOTA(shape=own, axis=k, dtype=i64) * stride
    flat = reshaped(source, (product(shape),))
    taken = GATHER(flat, reshaped(place, (product(own),)), axis=0)
    found = reshaped(taken, own)
    # As the sum has it: 0, never -0.
    return ew.WHERE(inside, found + full(found.type, 0), full(found.type, 0))
