"""Cuts a program into kernels that touch memory as little as possible.

Before: a tensor program. After: the same program as `launch` nodes, each with its kernel.

    %0 = dot_general(%x, %w)                 %0 = launch(%x, %w, %b) {kernel=@contract0}
    %1 = broadcast(%b)               ->
    %2 = add(%0, %1)
    yield tanh(%2)
"""

from __future__ import annotations

from ...ir.builder import Recording
from ...ir.graph import Graph, Value
from ...ir.ops import OPS
from .cluster import Clustering
from .kernels import build_kernel


def fuse(graph: Graph) -> Graph:
    """`graph` as launches of kernels. Every result is a buffer of its own."""
    clustering = Clustering(graph)
    builder = Recording()
    new: dict[Value, Value] = {}
    for param in graph.params:
        new[param] = builder.param(param.type, param.name)
    made: dict[tuple, Value] = {}
    for number, group in enumerate(clustering.groups):
        kernel, reads = build_kernel(group, f"{group.form}{number}")
        builder.line = next((n.line for n in group.members if n.line is not None), None)
        operands = [new[v] if v in new else _constant(builder, v, new) for v in reads]
        results = builder.emit(OPS["launch"], operands, {"kernel": kernel})
        results = (results,) if isinstance(results, Value) else results
        for root, ((value, _), result) in enumerate(zip(group.roots, results, strict=True)):
            result.name = value.name
            new.setdefault(value, result)
            made[group, root] = result
    yields = [made[group, root] for group, root in clustering.yields]
    return builder.finish(graph.name, yields)


def _constant(builder: Recording, value: Value, new: dict[Value, Value]) -> Value:
    """An array of the program's text, which kernels read from memory."""
    node = value.node
    assert node is not None and "value" in node.attrs, f"{value} is not computed by any kernel"
    new[value] = builder.emit(node.op, (), node.attrs)
    return new[value]
