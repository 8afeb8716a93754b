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
from .rule import Cotangent, GradientError, NotDifferentiable, RegionRule
from .table import GRADIENTS

_UNKNOWN = NotDifferentiable("no rule is known for it")

Observer = Callable[[Node, Sequence["Value | None"]], None]


def backward(
    outputs: Sequence[Value],
    cotangents: Sequence[Value | None],
    wrt: Sequence[Value],
    follow: Callable[[Value], bool] = lambda value: True,
    observe: Observer | None = None,
    nodes: Sequence[Node] | None = None,
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
        nodes: every node from which the outputs are reached by values that `follow` holds for,
            operands before users, where the caller knows them.

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
        before = arrived.get(output)
        arrived[output] = cotangent if before is None else ADD(before, cotangent)
    kept = set(wrt)
    if nodes is None:
        nodes = _topological(list(arrived), follow)
    with emitting_lines() as set_line:
        for node, wanted in reversed(_on_paths(nodes, kept, follow)):
            incoming: list[Value | None] = []
            for result in node.results:
                take = arrived.get if result in kept else arrived.pop
                incoming.append(take(result, None))
            if incoming.count(None) == len(incoming):
                continue
            set_line(node.line)
            found = pulled(node, incoming, wanted)
            if observe is not None:
                observe(node, found)
            for operand, value in zip(node.operands, found, strict=True):
                if value is None:
                    continue
                before = arrived.get(operand)
                arrived[operand] = value if before is None else ADD(before, value)
    return [arrived.get(value) for value in wrt]


def nodes_between(
    outputs: Sequence[Value], wrt: set[Value], follow: Callable[[Value], bool]
) -> list[Node]:
    """The nodes on a path from `wrt` to `outputs`, operands before users."""
    return [node for node, _ in _on_paths(_topological(outputs, follow), wrt, follow)]


def _on_paths(
    nodes: Sequence[Node], wrt: set[Value], follow: Callable[[Value], bool]
) -> list[tuple[Node, list[bool]]]:
    """Those of `nodes` that floats of `wrt` lead to, with which operands lie on such a path."""
    found: list[tuple[Node, list[bool]]] = []
    reached: set[Node | None] = set()
    for node in nodes:
        wanted = []
        for operand in node.operands:
            leads = operand in wrt or (operand.node in reached and follow(operand))
            wanted.append(leads and operand.type.dtype.is_inexact)
        if True in wanted:
            reached.add(node)
            found.append((node, wanted))
    return found


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


def pulled(
    node: Node, incoming: Sequence[Value | None], wanted: Sequence[bool]
) -> list[Value | None]:
    """What the rule of `node` makes of the cotangents of its results: for each operand that is
    wanted its cotangent, None where it has no influence.

    Raises:
        GradientError: the op has no gradient.
    """
    rule = GRADIENTS.get(node.op.name, _UNKNOWN)
    pulls: Sequence[Cotangent]
    if isinstance(rule, RegionRule):
        pulls = rule.pull(node, incoming, wanted)
    elif isinstance(rule, NotDifferentiable):
        place = f" ({node.line})" if node.line is not None else ""
        raise GradientError(f"{node.op.name} has no gradient: {rule.reason}{place}")
    else:
        pulls = rule(node, incoming)
    found: list[Value | None] = []
    for operand, cotangent, is_wanted in zip(node.operands, pulls, wanted, strict=True):
        value = None
        if is_wanted and cotangent is not None:
            value = cotangent if isinstance(cotangent, Value) else cotangent()
            if value.type is not operand.type:
                raise TypeRuleError(
                    f"the gradient rule of {node.op.name} gives {value.type} for {operand.type}"
                )
        found.append(value)
    return found


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
