"""The nodes of a region, emitted again with other values for its parameters.

Before: `%y = call(%a) { (%x) { %0 = exp(%x) yield %0 } }`. After: `%0 = exp(%a)`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Region, Value
from ..ir.ops.base import active


def inline(region: Region, operands: Sequence[Value]) -> list[Value]:
    """What a closed region yields for `operands`, computed by nodes that the active builder gets.
    Regions inside it are shared: they are closed, too."""
    builder = active()
    new: dict[Value, Value] = dict(zip(region.params, operands, strict=True))
    for node in region.nodes:
        made = builder.emit(node.op, [new[v] for v in node.operands], node.attrs, node.regions)
        new.update(zip(node.results, made if isinstance(made, tuple) else (made,), strict=True))
    return [new[value] for value in region.yields]
