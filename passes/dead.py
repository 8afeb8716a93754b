"""Dead code: nodes of a tensor program whose results nobody reads.

Before: `%0 = exp(%x)  %1 = neg(%x)  yield %1`. After: `%1 = neg(%x)  yield %1`.
"""

from __future__ import annotations

from ..ir.graph import Graph, Value


def prune(graph: Graph) -> Graph:
    """`graph` without the nodes that its results do not depend on; the others are shared with it.

    Parameters stay, read or not: they are the signature.
    """
    read: set[Value] = set(graph.yields)
    kept = []
    for node in reversed(graph.nodes):
        if node.results and not any(result in read for result in node.results):
            continue
        kept.append(node)
        read.update(node.operands)
        for region in node.regions:
            read.update(region.yields)
            read.update(operand for inner in region.walk() for operand in inner.operands)
    kept.reverse()
    return Graph(
        graph.name, graph.params, tuple(kept), graph.yields, level=graph.level, outs=graph.outs
    )
