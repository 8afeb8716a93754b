"""Which nodes have a short form in the text, one from which the parser makes the same node again.

A short form leaves out what follows from the rest: the order of index operands, combine regions
of one op for each member of the tuple, neutral elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .dims import Atom, Dim, Slot, format_expr
from .dtypes import DType
from .graph import Node, Region, Value
from .literal import Literal
from .ops.reduction import MAX, MIN, PROD, SUM

NEUTRAL = {m.combine: m.identity for m in (SUM, PROD, MAX, MIN)}
FIRST_INDEX = {"load": 1, "store": 2, "atomic": 2, "prefetch": 1, "index": 0}


def neutral(combine: str, dtype: DType) -> Literal:
    """The neutral element of the op named `combine`, as a scalar constant."""
    return Literal(np.asarray(NEUTRAL[combine](dtype)).astype(dtype.numpy))


def first_uses(dims: Sequence[Dim]) -> list[int]:
    """The positions of the slots in `dims`, in the order in which the text shows them."""
    seen: dict[int, None] = {}

    def note(atom: Atom) -> str:
        if isinstance(atom, Slot):
            seen[atom.position] = None
        return ""

    for dim in dims:
        format_expr(dim, note)
    return list(seen)


def short_access(node: Node) -> bool:
    """Whether the index operands of a load, store, atomic, prefetch or index follow from its
    index expressions."""
    name = node.op.name
    if name not in FIRST_INDEX:
        return False
    first = FIRST_INDEX[name]
    end = len(node.operands) - (1 if node.attrs.get("guarded") is True else 0)
    dims = (node.attrs["expr"],) if name == "index" else tuple(node.attrs["index"])
    return _in_order(node, dims, first, end)


def short_loop(node: Node) -> bool:
    """The same of a `for` with the slots in its bounds."""
    dims = (node.attrs["lo"], node.attrs["hi"])
    return _in_order(node, dims, node.attrs["carries"], len(node.operands))


def _in_order(node: Node, dims: Sequence[Dim], first: int, end: int) -> bool:
    index_operands = node.operands[first:end]
    distinct = len(set(index_operands)) == len(index_operands)
    return distinct and first_uses(dims) == list(range(first, end))


def combine_ops(node: Node) -> list[str] | None:
    """The op of each member where the combine region joins the tuples member by member."""
    if node.op.name not in ("reduce", "cumulate"):
        return None
    region, count = node.regions[1], len(node.operands)
    if len(region.params) != 2 * count or len(region.nodes) != count or count == 0:
        return None
    names = []
    for k, inner in enumerate(region.nodes):
        pair = (region.params[k], region.params[count + k])
        plain = not inner.attrs and inner.line == node.line and len(inner.results) == 1
        if not plain or inner.operands != pair or inner.op.name not in NEUTRAL:
            return None
        names.append(inner.op.name)
    if region.yields != tuple(inner.results[0] for inner in region.nodes):
        return None
    return names


def hidden_inits(region: Region, counts: Mapping[Value, int]) -> set[Node]:
    """The constants in `region` that a short `reduce` or `cumulate` leaves out: neutral elements
    right before it that nothing else reads (`counts`: how often each value is read)."""
    hidden: set[Node] = set()
    for position, node in enumerate(region.nodes):
        combine = combine_ops(node)
        if combine is None or position < len(combine):
            continue
        inits = region.nodes[position - len(combine) : position]
        if all(
            _is_neutral(init, name, node) and operand.node is init and counts[operand] == 1
            for init, name, operand in zip(inits, combine, node.operands, strict=True)
        ):
            hidden.update(inits)
    return hidden


def _is_neutral(init: Node, combine: str, reader: Node) -> bool:
    if init.op.name != "constant" or init.line != reader.line or init.results[0].type.shape:
        return False
    return init.attrs["value"] == neutral(combine, init.results[0].type.dtype)
