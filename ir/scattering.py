"""Loops that scatter rows: what schedules and backends ask of them."""

from __future__ import annotations

from dataclasses import dataclass

from .access import Expressions, axes, axis_extents
from .graph import Node


@dataclass(frozen=True, slots=True)
class Scattering:
    """The body of a loop over columns: each is copied, then updated at rows that are data.

    Attributes:
        copy: the `parallel` over rows that fills the output.
        loop: the `for` over the updates, in order.
        store: the one store in it.
        axis: the axis of the output along which the rows lie.
    """

    copy: Node
    loop: Node
    store: Node
    axis: int


def scattering(node: Node) -> Scattering | None:
    """How the loop `node` scatters; None where it does something else."""
    inside = [n for n in node.regions[0].nodes if n.regions] if node.op.name == "parallel" else []
    if [n.op.name for n in inside] != ["parallel", "for"]:
        return None
    copy, loop = inside
    nested = [n for n in (loop, *loop.regions[0].walk()) if n.regions]
    if any(n.op.name != "for" or n.attrs["carries"] for n in nested):
        return None
    stores = [n for n in loop.regions[0].walk() if n.op.name == "store"]
    filling = [n for n in copy.regions[0].nodes if n.op.name == "store"]
    rows = axes(copy)[0]
    if len(stores) != 1 or len(filling) != 1 or len(rows) != 1:
        return None
    if filling[0].operands[0] is not stores[0].operands[0] or filling[0].attrs.get("guarded"):
        return None
    expressions = Expressions(axis_extents(node.regions[0]))
    index, row = expressions.index(filling[0]), expressions.of(rows[0])
    found = [axis for axis, dim in enumerate(index) if dim == row]
    return Scattering(copy, loop, stores[0], found[0]) if len(found) == 1 else None
