"""An operand of a `contract` as its schedule sees it: which axes collapse, how it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.access import (
    Access,
    Expressions,
    accesses,
    axis_extents,
    coefficient,
    collapse,
    index_uses,
)
from ..ir.dims import Dim, product
from ..ir.graph import Region, Value


@dataclass(frozen=True, slots=True)
class Side:
    """An operand: its own axes and those of k (none of extent 1), how many own points there are,
    into how many runs the axes of both collapse, how far the innermost one of each reaches, its
    accesses, and whether an element is one of them as it is."""

    own: Sequence[Value]
    k: Sequence[Value]
    extent: Dim
    own_runs: int
    k_runs: int
    last_own: Dim
    last_run: Dim
    accesses: Sequence[Access]
    plain: bool


def side_of(
    region: Region, own: Sequence[Value], k: Sequence[Value], sizes: Sequence[Dim],
    depths: Sequence[Dim],
) -> Side:  # fmt: skip
    """The operand that `region` computes, of axes `own` of `sizes` and `k` of `depths`."""
    extents = dict(zip((*own, *k), (*sizes, *depths), strict=True))
    expressions = Expressions({**axis_extents(region), **extents})
    found = accesses(region, expressions)
    dims = [a.offset for a in found] + list(index_uses(region, expressions))
    runs = () if 0 in depths else collapse(k, depths, dims)
    own_runs = () if 0 in sizes else collapse(own, sizes, dims)
    last_own = product(sizes[axis] for axis in own_runs[-1]) if own_runs else 1
    last_run = product(depths[axis] for axis in runs[-1]) if runs else 1
    own = [v for v in own if extents[v] != 1]
    k = [v for v in k if extents[v] != 1]
    (value,) = region.yields
    loads = [n for n in region.walk() if n.op.name == "load" and not n.attrs.get("guarded")]
    plain = len(found) == 1 and [value.node] == loads
    return Side(own, k, product(sizes), len(own_runs), len(runs), last_own, last_run, found, plain)


def innermost(variables: Sequence[Value], extents: Sequence[Dim]) -> Value | None:
    """The last axis that has more than one point."""
    kept = [v for v, e in zip(variables, extents, strict=True) if e != 1]
    return kept[-1] if kept else None


def strided(found: Sequence[Access], variable: Value | None) -> int:
    """How many accesses are neither the same nor neighbours for neighbours along `variable`."""
    if variable is None:
        return 0
    return sum(coefficient(a.offset, variable) not in (0, 1) for a in found)
