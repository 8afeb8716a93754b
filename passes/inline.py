"""A region as nodes of the program around it.

Before: `%y = call(%x) (%a) { %0 = exp(%a)  yield %0 }`. After: `%y = exp(%x)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.graph import Region, Value
from ..ir.ops.base import active


def inline(region: Region, operands: Sequence[Value]) -> list[Value]:
    """What `region`, which must be closed, yields for `operands`, emitted again through the active
    builder; nested regions are shared with it."""
    values: dict[Value, Value] = dict(zip(region.params, operands, strict=True))
    builder: Any = active()
    for node in region.nodes:
        found = builder.emit(node.op, [values[v] for v in node.operands], node.attrs, node.regions)
        results = (found,) if isinstance(found, Value) else found
        values.update(zip(node.results, results, strict=True))
    return [values[v] for v in region.yields]
