"""Constants of tensor size become parameters: code is compiled for their type, not their contents.

Before: `%c = constant() {value=[...]}` among the nodes.
After: one more parameter for each different constant; the arrays go beside the program.
"""

from __future__ import annotations

from ..ir.builder import Recording
from ..ir.graph import Graph, Value
from ..ir.literal import Literal


def lift_constants(graph: Graph) -> tuple[Graph, tuple[Literal, ...]]:
    """(the program with parameters appended for its constants, the constants in their order).

    Constants of shape () stay where they are, unless nothing but launches is left.
    """
    fused = all(node.op.name in ("launch", "constant") for node in graph.nodes)
    lifted: dict[Literal, Value] = {}
    builder = Recording()
    new: dict[Value, Value] = {p: builder.param(p.type, p.name) for p in graph.params}
    for node in graph.nodes:
        value = node.attrs.get("value")
        if node.op.name == "constant" and (fused or value.type.shape):
            if value not in lifted:
                lifted[value] = builder.param(value.type, node.results[0].name)
            new[node.results[0]] = lifted[value]
            continue
        builder.line = node.line
        made = builder.emit(node.op, [new[v] for v in node.operands], node.attrs, node.regions)
        results = (made,) if isinstance(made, Value) else made
        for old, result in zip(node.results, results, strict=True):
            result.name = old.name
            new[old] = result
    lifted_graph = builder.finish(graph.name, [new[v] for v in graph.yields])
    return lifted_graph, tuple(lifted)
