"""Brings in the lines where a tile's results will lie, while its sums are made."""

from __future__ import annotations

from ....ir.dims import Dim, minimum
from ....ir.graph import Node
from ....ir.ops.kernel import INDEX
from .blocks import fixed
from .product import Product
from .scope import Expander, Scope

LINE = 64  # bytes of a line of the cache


def prefetch(
    expander: Expander, scope: Scope, product: Product, corner: tuple[Dim, Dim], height: int
) -> None:
    """The lines that the `out` region stores for `height` rows from `corner` on, as far as index
    expressions tell where they are."""
    result, width = product.result, product.schedule.nr
    if max(len(result.rows.runs), len(result.columns.runs)) > 1:
        return
    stores = [n for n in result.region.nodes if n.op.name == "store" and not n.attrs.get("guarded")]
    if not stores:
        return
    step = max(1, LINE // min(n.operands[0].type.dtype.itemsize for n in stores))
    columns = [minimum(corner[1] + c, product.columns.total - 1) for c in range(0, width, step)]
    columns = [fixed(expander, c) for c in columns]
    for r in range(height):
        row = fixed(expander, minimum(corner[0] + r, product.rows.total - 1))
        for column in columns:
            inner = scope.inner()
            result.rows.bind(inner, result.rows.split(row))
            result.columns.bind(inner, result.columns.split(column))
            for node in result.region.nodes:
                _follow(expander, inner, node)


def _follow(expander: Expander, scope: Scope, node: Node) -> None:
    """Computes a node's index, or hints at what it stores."""
    known = all(scope.find("exprs", v) is not None for v in node.operands if v.type is INDEX)
    if not known:
        return
    if node.op.name in ("index", "size") or (
        node.op.name == "constant" and node.results[0].type is INDEX
    ):
        expander.node(node, scope)
    elif node.op.name == "store" and not node.attrs.get("guarded"):
        index = [expander.apply(d, node.operands, scope) for d in node.attrs["index"]]
        buffer, offset = expander.place(node.operands[0], index, scope)
        expander.access("prefetch", (buffer,), offset, writes=True)
