"""The tasks of a kernel: how much of its outermost loop each is, how many are worth a thread."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.access import axes
from ..ir.dims import Dim, product
from ..ir.graph import Graph, Node
from ..ir.ops.attend import AXES
from ..ir.schedule import Nest, scheduled_nodes
from ..ir.target import Target
from .schedule_columns import columns_of_a_task, whole_rows

TILE = 2  # squares along each side of a tile: few enough pages are open at a time


def task_elements(kernel: Graph, target: Target, nests: Mapping[Node, Nest], leaf: bool) -> int:
    """Elements of a task of the outermost loop, where that is vectorised: what fits in L1. `leaf`:
    what loops inside is too short to be worth vectors."""
    outer = next(scheduled_nodes(kernel), None)
    if outer is None or nests[outer].vector is None:
        return 1
    nest, (variables, extents) = nests[outer], axes(outer)
    if nest.sweep:
        return _swept_columns(kernel, target, outer, nest)
    if nest.shared is not None:
        columns = product(extents[axis] for axis in nest.groups[nest.vector or 0])
        return whole_rows(columns, nest.lanes)
    if not variables:
        width = sum(p.type.dtype.itemsize for p in outer.regions[0].params[1:])
        return nest.lanes * max(1, target.l1 // max(1, width * nest.lanes))
    if not leaf:
        return nest.lanes
    if nest.turn:
        return TILE * nest.turn
    width = sum(p.type.dtype.itemsize for p in kernel.params) or 1
    if nest.cuts:  # a piece reads about as much as it stores
        width = 2 * sum(p.type.dtype.itemsize for p in kernel.out_params)
    return nest.lanes * max(1, target.l1 // (width * nest.lanes))


def _swept_columns(kernel: Graph, target: Target, outer: Node, nest: Nest) -> int:
    """Columns of a task that passes over their rows."""
    _, extents = axes(outer)
    sizes = [product(extents[axis] for axis in group) for group in nest.groups]
    assert nest.vector is not None
    columns = sizes.pop(nest.vector)
    loops = [n for n in outer.regions[0].nodes if n.op.name in ("reduce", "parallel")]
    return columns_of_a_task(
        target,
        nest.lanes,
        columns,
        product(sizes),
        product(axes(loops[0])[1]),
        len(loops),
        max(p.type.dtype.itemsize for p in kernel.params),
        sum(2 * len(n.results) for n in loops),
    )


def grain(kernel: Graph, target: Target, nests: Mapping[Node, Nest]) -> int:
    """Tasks that together touch about as much as L1 holds."""
    outer = next(scheduled_nodes(kernel), None)
    if (
        outer is None
        or outer.op.name in ("contract", *AXES)
        or nests[outer].vector is not None
        or nests[outer].together
    ):
        return 1
    points: Dim = 1
    for node in scheduled_nodes(outer.regions[0]):
        size = product(axes(node)[1])
        if not isinstance(size, int) or not isinstance(points, int):
            return 1
        points = max(points, size)
    assert isinstance(points, int)
    width = sum(p.type.dtype.itemsize for p in kernel.params) or 1
    return max(1, target.l1 // (width * max(1, points)))
