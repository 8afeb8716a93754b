"""Reverse mode: from cotangents of some values to cotangents of the values they came from.

Works on the nodes that made the values (`value.node`), wherever these came from: a recording
builder, a parsed program or the eager tape. See Griewank and Walther, "Evaluating Derivatives",
chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...ir.graph import Location, Node, Value
from ...ir.ops.base import TypeRuleError, active
from ...ir.ops.elementwise import ADD
from .rule import GradientError, NotDifferentiable, RegionRule
from .table import GRADIENTS

_UNKNOWN = NotDifferentiable("no rule is known for it")

Observer = Callable[[Node, Sequence["Value | None"]], None]


def backward(
    outputs: Sequence[Value],
    cotangents: Sequence[Value | None],
    wrt: Sequence[Value],
    follow: Callable[[Value], bool] = lambda value: True,
    observe: Observer | None = None,
) -> list[Value | None]:
    """The cotangents of `wrt`: for each, the sum over `outputs` of cotangent times derivative.

    Emits through the active builder, each node at the line of the one that it differentiates. A
    value in `wrt` may be a result on the way: what flows through it still reaches those before it.

    Args:
        outputs: values to start from.
        cotangents: one for each output, of its type; None for an output that does not count.
        wrt: values whose cotangents are wanted.
        follow: whether the walk goes on to the node that made a value.
        observe: is shown each node with the cotangents that its rule gave for its operands.

    Returns:
        For each of `wrt` a value of its type, or None where no path of floats leads to it.

    Raises:
        GradientError: a path leads through an op without a gradient.
        TypeRuleError: a cotangent has not the type of its output.
    """
    arrived: dict[Value, Value] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is None or not output.type.dtype.is_inexact:
            continue
        if cotangent.type != output.type:
            raise TypeRuleError(f"a cotangent {cotangent.type} for a value {output.type}")
        _arrive(arrived, output, cotangent)
    kept = set(wrt)
    order, live = nodes_between(list(arrived), kept, follow)
    with emitting_lines() as set_line:
        for node in reversed(order):
            incoming: list[Value | None] = []
            reached = False
            for result in node.results:
                cotangent = arrived.get(result) if result in kept else arrived.pop(result, None)
                incoming.append(cotangent)
                reached = reached or cotangent is not None
            if reached:
                set_line(node.line)
                _apply_rule(node, incoming, arrived, live, observe)
    return [arrived.get(value) for value in wrt]


def nodes_between(
    outputs: Sequence[Value], wrt: set[Value], follow: Callable[[Value], bool]
) -> tuple[list[Node], set[Value]]:
    """The nodes on a path from `wrt` to `outputs`, operands before users, and the values on it."""
    order: list[Node] = []
    live = {value for value in wrt if value.type.dtype.is_inexact}
    for node in _topological(outputs, follow):
        if any(operand in live for operand in node.operands):
            order.append(node)
            live.update(r for r in node.results if r.type.dtype.is_inexact and follow(r))
    return order, live


def _topological(outputs: Sequence[Value], follow: Callable[[Value], bool]) -> list[Node]:
    """Every node that made a float which `outputs` depend on, operands before users."""
    order: list[Node] = []
    seen: set[Node] = set()
    for output in outputs:
        if output.node is None or output.node in seen or not follow(output):
            continue
        seen.add(output.node)
        stack: list[tuple[Node, Iterator[Value]]] = [(output.node, iter(output.node.operands))]
        while stack:
            node, operands = stack[-1]
            for operand in operands:
                made_by = operand.node
                if made_by is None or made_by in seen or not operand.type.dtype.is_inexact:
                    continue
                if follow(operand):
                    seen.add(made_by)
                    stack.append((made_by, iter(made_by.operands)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def _apply_rule(
    node: Node,
    incoming: Sequence[Value | None],
    arrived: dict[Value, Value],
    live: set[Value],
    observe: Observer | None,
) -> None:
    """Adds what `node` sends to those of its operands that are live."""
    wanted = [operand in live for operand in node.operands]
    found = pulled(node, incoming, wanted)
    if observe is not None:
        observe(node, found)
    for operand, value in zip(node.operands, found, strict=True):
        if value is not None:
            _arrive(arrived, operand, value)


def pulled(
    node: Node, incoming: Sequence[Value | None], wanted: Sequence[bool]
) -> list[Value | None]:
    """What the rule of `node` makes of the cotangents of its results: for each operand that is
    wanted its cotangent, None where it has no influence.

    Raises:
        GradientError: the op has no gradient.
    """
    rule = GRADIENTS.get(node.op.name, _UNKNOWN)
    if isinstance(rule, NotDifferentiable):
        place = f" ({node.line})" if node.line is not None else ""
        raise GradientError(f"{node.op.name} has no gradient: {rule.reason}{place}")
    pulls = (
        rule.pull(node, incoming, [bool(w) for w in wanted])
        if isinstance(rule, RegionRule)
        else rule(node, incoming)
    )
    found: list[Value | None] = []
    for operand, cotangent, is_wanted in zip(node.operands, pulls, wanted, strict=True):
        if not is_wanted or cotangent is None:
            found.append(None)
            continue
        value = cotangent if isinstance(cotangent, Value) else cotangent()
        if value.type is not operand.type:
            raise TypeRuleError(
                f"the gradient rule of {node.op.name} gives {value.type} for {operand.type}"
            )
        found.append(value)
    return found


def _arrive(arrived: dict[Value, Value], value: Value, cotangent: Value) -> None:
    before = arrived.get(value)
    arrived[value] = cotangent if before is None else ADD(before, cotangent)


@contextmanager
def emitting_lines() -> Iterator[Callable[[Location | None], None]]:
    """Gives a function that sets the line of what the active builder emits from then on."""
    builder: Any = active()
    before = builder.locate
    here = before() if before is not None else getattr(builder, "line", None)
    current = here

    def set_line(line: Location | None) -> None:
        nonlocal current
        current = line if line is not None else here

    builder.locate = lambda: current
    try:
        yield set_line
    finally:
        builder.locate = before
