"""The gradient of sorting: each element's cotangent goes back to where the element stood.

Of a piece of the sorted elements (the largest k, a median) the others have zeros for cotangents:
where the program says so, the places of the piece are enough, and nobody needs the rest of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.ops.view import SLICE
from .rule import Cotangent, NotDifferentiable, Rule, scattered_along

Cotangents = Sequence[Value | None]


def _sort(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = cotangents[0]
    assert g is not None, "the indices are integers and have no cotangent"
    places, axis = node.results[1], node.attrs["axis"]
    piece = _written(g, axis)
    if piece is None:
        return (scattered_along(g, places, axis),)
    update, starts, steps = piece
    taken = SLICE(places, starts=starts, sizes=update.type.shape, steps=steps)
    return (scattered_along(update, taken, axis, places.type.shape[axis]),)


def _written(g: Value, axis: int) -> tuple[Value, tuple[Dim, ...], tuple[int, ...]] | None:
    """(what, starts, steps) if `g` is zeros but for a piece of `axis`."""
    if g.node is None or g.node.op.name != "update_slice":
        return None
    base, update = g.node.operands
    fill = base.node
    while fill is not None and fill.op.name == "broadcast":
        fill = fill.operands[0].node
    if fill is None or fill.op.name != "constant" or np.any(fill.attrs["value"].array):
        return None
    pairs = enumerate(zip(update.type.shape, g.type.shape, strict=True))
    if any(m != n for a, (m, n) in pairs if a != axis):
        return None
    return update, g.node.attrs["starts"], g.node.attrs["steps"]


SORTING: dict[str, Rule | NotDifferentiable] = {"sort": _sort}
