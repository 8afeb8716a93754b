"""Forward mode: from tangents of some values to tangents of the values that they lead to.

There is no second table of rules. A gradient rule is linear in its cotangents, so the map that it
transposes is found by transposing it again: the rule is recorded with a cotangent that stands for
any, and what the walk of `backward` brings from the operands' tangents to that one is the tangent
of the result. Ops with regions have forward forms of their own in `forward_control`.

See Griewank and Walther, "Evaluating Derivatives", chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...ir.builder import Recording
from ...ir.graph import Node, Value
from ...ir.ops.base import TypeRuleError, active
from ...ir.types import TensorType
from .backward import backward, emitting_lines, nodes_between, pulled
from .rule import zeros

Tangents = Sequence[Value | None]
# Gives the tangents of a node's results, None where one is zero, from those of its operands.
ForwardRule = Callable[[Node, Tangents], Tangents]


def forward(
    inputs: Sequence[Value],
    tangents: Tangents,
    outputs: Sequence[Value],
    follow: Callable[[Value], bool] = lambda value: True,
    dummy: Callable[[TensorType], Value] = zeros,
) -> list[Value | None]:
    """The tangents of `outputs`: derivatives along `tangents`, the directions of `inputs`.

    Emits through the active builder, each node at the line of the one that it differentiates. Works
    on the nodes that made the values, as `backward` does.

    Args:
        inputs: values to start from; those on the way from one to another count as independent.
        tangents: one for each input, of its type; None for a direction of zeros.
        outputs: values whose tangents are wanted.
        follow: whether a tangent goes on to the results of the node that made a value.
        dummy: makes the cotangent that rules are recorded with; a builder that computes at once
            needs one that its nodes remember.

    Returns:
        For each of `outputs` a value of its type, or None where no path of floats leads to it.

    Raises:
        GradientError: a path leads through an op without a gradient.
        TypeRuleError: a tangent has not the type of its input.
    """
    known: dict[Value, Value] = {}
    for value, tangent in zip(inputs, tangents, strict=True):
        if tangent is None or not value.type.dtype.is_inexact:
            continue
        if tangent.type != value.type:
            raise TypeRuleError(f"a tangent {tangent.type} for a value {value.type}")
        known[value] = tangent
    given = set(inputs)
    order = nodes_between(outputs, set(known), follow)
    with emitting_lines() as set_line:
        for node in order:
            arriving = [known.get(operand) for operand in node.operands]
            moves = any(result.type.dtype.is_inexact for result in node.results)
            if not moves or all(tangent is None for tangent in arriving):
                continue
            set_line(node.line)
            found = pushed(node, arriving, dummy)
            for result, tangent in zip(node.results, found, strict=True):
                if tangent is not None and result not in given:
                    known[result] = tangent
    return [known.get(output) for output in outputs]


def pushed(node: Node, tangents: Tangents, dummy: Callable[[TensorType], Value]) -> Tangents:
    """The tangents of a node's results."""
    from .forward_control import FORWARD

    rule = FORWARD.get(node.op.name)
    if rule is not None:
        return rule(node, tangents)
    with _only_needed() as keep:
        seeds = [dummy(r.type) if r.type.dtype.is_inexact else None for r in node.results]
        wanted = [tangent is not None for tangent in tangents]
        pairs = [
            (cotangent, tangent)
            for cotangent, tangent in zip(pulled(node, seeds, wanted), tangents, strict=True)
            if cotangent is not None and tangent is not None
        ]
        # What the rule made, and nothing of what came before the node.
        outside = {*node.operands, *node.results}
        found = iter(
            backward(
                [cotangent for cotangent, _ in pairs],
                [tangent for _, tangent in pairs],
                [seed for seed in seeds if seed is not None],
                lambda value: value not in outside,
            )
        )
        result = [None if seed is None else next(found) for seed in seeds]
        keep.update(value for value in result if value is not None)
    return result


@contextmanager
def _only_needed() -> Iterator[set[Value]]:
    """Of the nodes that a recording builder makes inside, those stay that the values put into the
    set depend on. A builder that computes at once keeps nothing anyhow."""
    builder = active()
    needed: set[Value] = set()
    if not isinstance(builder, Recording):
        yield needed
        return
    before, builder.nodes = builder.nodes, []
    try:
        yield needed
        kept = []
        for node in reversed(builder.nodes):
            if any(result in needed for result in node.results):
                kept.append(node)
                needed.update(node.operands)
        before.extend(reversed(kept))
    finally:
        builder.nodes = before
