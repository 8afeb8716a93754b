"""The cost model: bytes saved against work repeated."""

from __future__ import annotations

from collections.abc import Iterable

from ...ir.dims import product
from ...ir.graph import Node, Value
from ...ir.ops.base import Kind
from .groups import Form, Group, leaves, read_axes

# Scalar instructions of an element that may be repeated each time it is read again ...
REPEAT = 4
REPEAT_CONTRACT = 64  # ... while the operand of a product is packed
REPEAT_SCALAR = 200  # ... where it is one element, computed once a kernel call
RECOMPUTE = 8  # that readers may repeat each rather than load, if it saves bytes ...
RECOMPUTE_BYTE = 3  # ... or so much for each byte that need not be stored or loaded
ROW_VALUE = 8  # a value of a row that costs as much is kept rather than computed again
MAX_MEMBERS = 128  # of a kernel: what compiles quickly and lives in registers


def work(nodes: Iterable[Node]) -> int:
    """Scalar instructions of one element of all `nodes`."""
    return sum(node.op.cost for node in nodes)


def is_scalar(value: Value) -> bool:
    size = value.type.size
    return isinstance(size, int) and size == 1


def repeats_cheaply(producer: Group) -> bool:
    """Whether every kernel that reads the values of `producer` may compute them itself."""
    if producer.form is not Form.LOOP or producer.roots:
        return False
    return all(map(is_scalar, producer.place)) and work(producer.members) <= REPEAT_SCALAR


def repeated_reads(node: Node) -> Iterable[tuple[Value, int]]:
    """The leaves of which `node` reads elements more than once, and the work it may repeat."""
    if node.op.kind is Kind.ATTENTION:
        for number, operand in enumerate(node.operands):
            for leaf, _ in leaves(operand, None):
                # Keys and values are read again for each block of queries.
                if number in (1, 2) or leaf.type.size != operand.type.size:
                    yield leaf, REPEAT
        return
    points = product(read_axes(node))
    for operand in node.operands:
        for leaf, _ in leaves(operand, None):
            if node.op.contract_map is not None:
                yield leaf, REPEAT_CONTRACT
            elif node.op.indexed_map is not None or points != leaf.type.size:
                yield leaf, REPEAT
