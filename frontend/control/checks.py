"""Indices that a loop reads by, checked for all turns at once by the program around it.

Machine code cannot raise (see `compile/checks.py`). An index that follows from the xs and consts of
a loop is known before it runs; one that follows from the carry is not, and is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...ir.dims import Dim
from ...ir.graph import Node, Region, Value
from ...ir.ops.base import Kind
from ...passes.batching.rule import Arrived, Lanes
from ...passes.batching.walk import batched_values
from ..context import ambient
from ..trace_builder import IndexCheck

_PLAIN = (Kind.ELEMENTWISE, Kind.VIEW, Kind.SOURCE, Kind.INDEXED, Kind.REDUCTION)


def check_turns(
    checks: Sequence[IndexCheck],
    consts: Mapping[Value, Value],
    xs: Mapping[Value, Value],
    length: Dim,
) -> None:
    """Have the ambient trace check what the body of a loop reads by.

    Args:
        checks: of values of the body.
        consts: by parameter of the body, the operand that every turn sees.
        xs: by parameter of the body, the operand that is sliced along its first axis.
        length: the number of turns.
    """
    trace, lanes = ambient.trace, Lanes(length)
    assert trace is not None
    known = {p: Arrived(value, False) for p, value in consts.items()}
    known.update((p, Arrived(value, True)) for p, value in xs.items())
    for check in checks:
        nodes = _leading_to(check.indices)
        own = {v for node in nodes for v in node.results}
        read = dict.fromkeys(
            v for v in (*(o for n in nodes for o in n.operands), check.indices) if v not in own
        )
        plain = all(n.op.kind in _PLAIN and n.op.name != "rng_bits" for n in nodes)
        if not plain or not all(v in known for v in read):
            continue
        region = Region(tuple(read), tuple(nodes), (check.indices,))
        (found,) = batched_values(region, [known[v] for v in read], lanes)
        trace.builder.checks.append(check._replace(indices=found.value))


def _leading_to(value: Value) -> list[Node]:
    """The nodes that compute `value`, operands first."""
    order: dict[Node, None] = {}
    pending = [(value.node, False)]
    while pending:
        node, done = pending.pop()
        if node is None or node in order:
            continue
        if done:
            order[node] = None
            continue
        pending.append((node, True))
        pending.extend((operand.node, False) for operand in node.operands)
    return list(order)
