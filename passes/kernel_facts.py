"""What a schedule asks of the regions of a kernel."""

from __future__ import annotations

from ..ir.graph import Region
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
