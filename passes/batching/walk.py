"""The walk over a program for one example that makes it one for many, and whole programs.

Before: `graph @f(%x: f32[3]) { %0 = reduce_sum(%x) {axes=[0]} : f32[]  yield %0 }`.
After, for N: `graph @f_batched(%x: f32[N, 3]) { %0 = reduce_sum(%x) {axes=[1]} : f32[N] ...`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.builder import Recording
from ...ir.dims import Dim
from ...ir.graph import Graph, Node, Region, Value
from ..autodiff.backward import emitting_lines
from .rule import Arrived, BatchingError, Lanes, NotBatched, all_batched, results_of

RANDOM = "rng_bits"


def batched_values(region: Region, operands: Sequence[Arrived], lanes: Lanes) -> list[Arrived]:
    """What a closed region yields for many examples, emitted through the active builder.

    Nodes that no batched operand reaches are emitted as they are.

    Raises:
        BatchingError: an op has no form for many examples, or draws random numbers where
            `lanes.randomness` is "error".
    """
    new: dict[Value, Arrived] = dict(zip(region.params, operands, strict=True))
    with emitting_lines() as set_line:
        for node in region.nodes:
            set_line(node.line)
            made = _batched_node(node, [new[v] for v in node.operands], lanes)
            new.update(zip(node.results, made, strict=True))
    return [new[value] for value in region.yields]


def _batched_node(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> list[Arrived]:
    from .table import rule_of

    is_batched = any(operand.is_batched for operand in operands)
    if _draws(node):
        if lanes.randomness == "error":
            raise BatchingError(f"random numbers are drawn for many examples{_place(node)}")
        is_batched = is_batched or lanes.randomness == "different"
    if not is_batched:
        values = [operand.value for operand in operands]
        made = node.op(*values, regions=node.regions, **node.attrs)
        return [Arrived(value, False) for value in results_of(made)]
    rule = rule_of(node.op)
    if isinstance(rule, NotBatched):
        raise BatchingError(
            f"{node.op.name} has no form for many examples: {rule.reason}{_place(node)}"
        )
    found = results_of(rule(node, operands, lanes))
    return [value if isinstance(value, Arrived) else Arrived(value, True) for value in found]


def _draws(node: Node) -> bool:
    """Whether a node, or one in its regions, draws random numbers."""
    if node.op.name == RANDOM:
        return True
    return any(inner.op.name == RANDOM for region in node.regions for inner in region.walk())


def _place(node: Node) -> str:
    return f" ({node.line})" if node.line is not None else ""


def batch(graph: Graph, batched: Sequence[bool], size: Dim, randomness: str = "error") -> Graph:
    """The program that computes `graph` for `size` examples.

    Parameters: those of `graph`; the ones that `batched` names have a leading axis of `size`.
    Results: those of `graph`, each with that leading axis.

    Raises:
        BatchingError: see `batched_values`.
    """
    builder, lanes = Recording(), Lanes(size, randomness)
    given = []
    for param, is_batched in zip(graph.params, batched, strict=True):
        shape = (size, *param.type.shape) if is_batched else param.type.shape
        value = builder.param(param.type.with_shape(shape), param.name)
        given.append(Arrived(value, is_batched))
    with builder:
        yields = all_batched(batched_values(graph, given, lanes), lanes)
    return builder.finish(f"{graph.name}_batched", yields)
