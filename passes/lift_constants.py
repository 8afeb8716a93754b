"""Constants of tensor size become parameters: code is compiled for their type, not their contents.

Before: `%c = constant() {value=[...]}` among the nodes.
After: one more parameter for each different constant; the arrays go beside the program.
"""

from __future__ import annotations

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Value
from ..ir.literal import Literal
from .rewrite import rewrite


def lift_constants(graph: Graph) -> tuple[Graph, tuple[Literal, ...]]:
    """(the program with parameters appended for its constants, the constants in their order).

    Constants inside of kernels stay where they are.
    """
    lifted: dict[Literal, Value] = {}
    builder = Recording()

    def rule(node: Node, operands: tuple[Value, ...]) -> Value | None:
        if node.op.name != "constant":
            return None
        value = node.attrs["value"]
        if value not in lifted:
            lifted[value] = builder.param(value.type, node.results[0].name)
        return lifted[value]

    return rewrite(graph, rule, builder), tuple(lifted)
