"""A region as nodes of the program around it.

Before: `%y = call(%x) (%a) { %0 = exp(%a)  yield %0 }`. After: `%y = exp(%x)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.builder import Recording
from ..ir.graph import Node, Region, Value
from ..ir.ops.base import active


def inline(region: Region, operands: Sequence[Value]) -> list[Value]:
    """What `region`, which must be closed, yields for `operands`, emitted again through the active
    builder; regions inside are copied."""
    values: dict[Value, Value] = dict(zip(region.params, operands, strict=True))
    repeat(region.nodes, values)
    return [values[v] for v in region.yields]


def repeat(nodes: Iterable[Node], values: dict[Value, Value]) -> None:
    """Emit `nodes` again, with what stands in `values` for the values that they read; their
    results are added to it."""
    builder = active()
    for node in nodes:
        regions = tuple(copied(region) for region in node.regions)
        operands = [values[v] for v in node.operands]
        if type(builder) is Recording and builder.locate is None:
            builder.line = node.line
        found = builder.emit(node.op, operands, node.attrs, regions)
        results = (found,) if isinstance(found, Value) else found
        values.update(zip(node.results, results, strict=True))


def copied(region: Region) -> Region:
    """A closed region of the same kind with values of its own."""
    builder = Recording()
    params = tuple(Value(p.type, name=p.name) for p in region.params)
    with builder:
        yields = inline(region, params)
    return Region(params, tuple(builder.nodes), tuple(yields))
