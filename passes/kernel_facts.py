"""What a schedule asks of the regions of a kernel."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.access import Access, coefficient, dependents
from ..ir.dims import Var, atoms
from ..ir.graph import Region, Value
from ..ir.ops.base import Kind


def cost_of(region: Region) -> int:
    """Scalar instructions of one turn, nested loops counted once."""
    return sum(n.op.cost for n in region.walk() if n.op.kind is Kind.ELEMENTWISE)


def rounds(combine: Region) -> bool:
    """Whether joining two partial results rounds: then long sums are summed in blocks."""
    return any(
        n.op.name not in ("maximum", "minimum", "where") and n.results[0].type.dtype.is_float
        for n in combine.walk()
        if n.op.kind is Kind.ELEMENTWISE
    )


def strides_along(
    body: Region, variable: Value, found: Sequence[Access]
) -> tuple[float, int, bool]:
    """(weight of strided or gathered accesses, number of contiguous ones, whether lanes may
    meet at one element) along `variable`."""
    changing = dependents(body, variable)
    strided, contiguous, scattered = 0.0, 0, False
    for access in found:
        factor = coefficient(access.offset, variable)
        opaque = any(
            isinstance(a, Var) and a.value is not variable and a.value in changing
            for a in atoms(access.offset)
        )
        if factor == 0 and not opaque:
            scattered = scattered or access.node.op.name == "atomic"
        elif factor == 1 and not opaque:
            contiguous += 1
        else:
            strided += 3 if access.writes else 1
            scattered = scattered or access.node.op.name == "atomic"
    return strided, contiguous, scattered
