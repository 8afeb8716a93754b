"""Brings in lines of memory while sums are made: where results will lie, what is read next."""

from __future__ import annotations

from ....ir.dims import Dim, minimum
from ....ir.graph import Node
from ....ir.ops.kernel import INDEX
from .blocks import fixed
from .packing import Operand
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
                _follow(expander, inner, node, "store")


def prefetch_row(
    expander: Expander, scope: Scope, operand: Operand, row: Dim, use: str = "load"
) -> None:
    """The lines that a row of an operand is loaded from, or (`use` "store") a row of a result goes
    to, as far as index expressions tell where they are."""
    used = [n for n in operand.region.nodes if n.op.name == use and not n.attrs.get("guarded")]
    if not used or len(operand.k.runs) > 1:
        return
    step = max(1, LINE // min(n.operands[0].type.dtype.itemsize for n in used))
    outer = scope.inner()
    operand.own.bind(outer, [fixed(expander, p) for p in operand.own.split(row)])
    assert isinstance(operand.depth, int), "rows of a known length"
    for column in range(0, operand.depth, step):
        inner = outer.inner()
        operand.k.bind(inner, operand.k.split(column))
        for node in operand.region.nodes:
            _follow(expander, inner, node, use)


def _follow(expander: Expander, scope: Scope, node: Node, use: str) -> None:
    """Computes a node's index, or hints at what it touches if it is a `use`: a load or store."""
    known = all(scope.find("exprs", v) is not None for v in node.operands if v.type is INDEX)
    if not known:
        return
    if node.op.name in ("index", "size") or (
        node.op.name == "constant" and node.results[0].type is INDEX
    ):
        expander.node(node, scope)
    elif node.op.name == use and not node.attrs.get("guarded"):
        index = [expander.apply(d, node.operands, scope) for d in node.attrs["index"]]
        buffer, offset = expander.place(node.operands[0], index, scope)
        if use == "store":
            expander.access("prefetch", (buffer,), offset, writes=True)
        else:
            expander.access("prefetch", (buffer,), offset)
