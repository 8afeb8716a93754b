"""What a user's graph is: the values and nodes that outputs were made from."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...ir.graph import Node, Value
from ...ir.ops import OPS
from ..apply import is_tracked
from ..composite import CompositeNode
from ..context import ambient
from ..errors import AutogradError
from ..tape import TapeNode
from .history import owner_of

_STOP = OPS["stop_gradient"]


def tracking() -> Callable[[Any], bool]:
    """`is_tracked`, for the values of the current mode."""
    return operator.attrgetter("tracked") if ambient.trace is None else is_tracked


class Reached(NamedTuple):
    """What a walk from the outputs has found."""

    owned: list[Value]  # leaves and watched values, those nearer to the outputs first
    nodes: list[Node]  # operands before users


def _is_freed(node: Node) -> bool:
    """Whether an earlier `backward()` has used up what `node` keeps. In a trace a leaf, too, may be
    the result of a node; only those that lead on to tracked values are used up."""
    if isinstance(node, TapeNode):
        return node.freed
    trace = ambient.trace
    return trace is not None and node in trace.released and any(map(is_tracked, node.operands))


def reach(outputs: Sequence[Value], *, singly: bool = False) -> Reached:
    """Every tracked value that has an owner, and every node that leads on to one; `singly`: nodes
    of single ops, in the place of those that stand for several."""
    order: list[Value] = []
    nodes: dict[Node, None] = {}
    entered: set[Value | Node] = set()
    tracked = tracking()
    # A value below None is done when all that it was made from is.
    stack: list[Value | None] = list(reversed(outputs))
    while stack:
        value = stack.pop()
        if value is None:
            value = stack.pop()
            assert value is not None and value.node is not None
            order.append(value)
            nodes[value.node] = None
            continue
        if value in entered or not tracked(value):
            continue
        entered.add(value)
        node = value.node
        # A leaf of a trace may hold what was computed: it is where a history begins anyway.
        if node is None or node.op is _STOP:
            order.append(value)
            continue
        if node not in entered:
            if singly and isinstance(node, CompositeNode) and not node.freed:
                node.take_apart()
                node = value.node
                assert node is not None
            entered.add(node)
            if _is_freed(node):
                raise AutogradError(
                    "the graph of this tensor has been freed by an earlier backward()",
                    hint="use backward(retain_graph=True) the first time",
                )
        stack += (value, None, *node.operands)
    order.reverse()
    if ambient.trace is None:
        order = [v for v in order if v.leaf is not None]  # type: ignore[attr-defined]
    return Reached([v for v in order if owner_of(v) is not None], list(nodes))
