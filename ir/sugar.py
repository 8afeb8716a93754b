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


def index_slots(node: Node) -> tuple[Sequence[Dim], int, int] | None:
    """The index expressions of a node and the range of operands that are their slots."""
    name, attrs = node.op.name, node.attrs
    if name == "for":
        return (attrs["lo"], attrs["hi"]), attrs["carries"], len(node.operands)
    if name not in FIRST_INDEX:
        return None
    end = len(node.operands) - (1 if attrs.get("guarded") is True else 0)
    dims = (attrs["expr"],) if name == "index" else tuple(attrs["index"])
    return dims, FIRST_INDEX[name], end


def has_short_form(node: Node) -> bool:
    """Whether the node's index can be spelled with the names of operands."""
    found = index_slots(node)
    if found is None:
        return False
    operands = node.operands[found[1] : found[2]]
    return len(set(operands)) == len(operands)


def order_follows(node: Node) -> bool:
    """Whether the order of the index operands is that in which the expressions name them."""
    found = index_slots(node)
    assert found is not None
    return first_uses(found[0]) == list(range(found[1], found[2]))


def combine_ops(node: Node, one_line: bool = False) -> list[str] | None:
    """The op of each member where the combine region joins the tuples member by member; with
    `one_line` only where the user's line of the ops is the node's."""
    if node.op.name not in ("reduce", "cumulate"):
        return None
    region, count = node.regions[1], len(node.operands)
    if len(region.params) != 2 * count or len(region.nodes) != count or count == 0:
        return None
    names = []
    for k, inner in enumerate(region.nodes):
        pair = (region.params[k], region.params[count + k])
        plain = not inner.attrs and len(inner.results) == 1
        if one_line and inner.line != node.line:
            return None
        if not plain or inner.operands != pair or inner.op.name not in NEUTRAL:
            return None
        names.append(inner.op.name)
    if region.yields != tuple(inner.results[0] for inner in region.nodes):
        return None
    return names


def hidden_inits(region: Region, counts: Mapping[Value, int], one_line: bool) -> set[Node]:
    """The constants in `region` that a short `reduce` or `cumulate` leaves out: neutral elements
    right before it, with `one_line` of its line, that nothing else reads (`counts`: how often each
    value is read)."""
    hidden: set[Node] = set()
    for position, node in enumerate(region.nodes):
        combine = combine_ops(node, one_line)
        if combine is None or position < len(combine):
            continue
        inits = region.nodes[position - len(combine) : position]
        if one_line and any(init.line != node.line for init in inits):
            continue
        if all(
            _is_neutral(init, name) and operand.node is init and counts[operand] == 1
            for init, name, operand in zip(inits, combine, node.operands, strict=True)
        ):
            hidden.update(inits)
    return hidden


def _is_neutral(init: Node, combine: str) -> bool:
    if init.op.name != "constant" or init.results[0].type.shape:
        return False
    return init.attrs["value"] == neutral(combine, init.results[0].type.dtype)
