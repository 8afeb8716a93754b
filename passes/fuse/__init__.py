"""Cuts a program into kernels that touch memory as little as possible.

Before: a tensor program. After: the same program as `launch` nodes, each with its kernel, and the
nodes that no kernel computes: those of the host and of control flow, whose regions are cut
likewise.

    %0 = dot_general(%x, %w)                 %0 = launch(%x, %w, %b) {kernel=@contract0}
    %1 = broadcast(%b)               ->
    %2 = add(%0, %1)
    yield tanh(%2)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ...ir.builder import Recording
from ...ir.graph import Graph, Node, Region, Value
from ...ir.ops import OPS
from ..rewrite import rewrite
from .alike import Signature
from .cluster import Clustering
from .groups import Form, Group
from .kernels import build_kernel
from .many import join_updates
from .parts import with_parts


def fuse(graph: Graph) -> Graph:
    """`graph` as launches of kernels. Every result is a buffer of its own, and so is every
    operand of a node that is no launch."""
    return join_updates(_Fuser().run(with_parts(_without_barriers(graph))))


def _without_barriers(graph: Graph) -> Graph:
    """Barriers have kept apart what simplify would have merged; nothing merges from here on."""
    if all(node.op.name != "barrier" for node in graph.walk()):
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return operands if node.op.name == "barrier" else None

    return rewrite(graph, rule, Recording())


class _Fuser:
    """Writes the fused program: its builder, the distinct kernels with the numbers of what they
    read, and what stands for values."""

    def __init__(self) -> None:
        self.builder = Recording()
        self.kernels: dict[Hashable, tuple[Graph, list[int]]] = {}
        self.new: dict[Value, Value] = {}

    def run(self, graph: Graph) -> Graph:
        for param in graph.params:
            self.new[param] = self.builder.param(param.type, param.name)
        return self.builder.finish(graph.name, self.groups(graph))

    def groups(self, region: Region) -> list[Value]:
        """Emits all groups of `region`; what it yields."""
        clustering = Clustering(region)
        made: dict[tuple[Group, int], Value] = {}
        for group in clustering.groups:
            results = self.apart(group) if group.form is Form.APART else self.launch(group)
            for root, ((value, _), result) in enumerate(zip(group.roots, results, strict=True)):
                result.name = value.name
                self.new.setdefault(value, result)
                made[group, root] = result
        return [made[group, root] for group, root in clustering.yields]

    def launch(self, group: Group) -> Sequence[Value]:
        kernel, reads = self.kernel(group)
        line = next((n.line for n in group.members if n.line is not None), None)
        operands = [self.buffer(v) for v in reads]
        self.builder.line = line
        return _values(self.builder.emit(OPS["launch"], operands, {"kernel": kernel}))

    def kernel(self, group: Group) -> tuple[Graph, list[Value]]:
        """The kernel of `group`, that of an earlier group if it is the same, and what it reads."""
        signature = Signature(group)
        if signature.key not in self.kernels:
            kernel, reads = build_kernel(group, f"{group.form}{len(self.kernels)}")
            self.kernels[signature.key] = kernel, [signature.number(v) for v in reads]
        kernel, numbers = self.kernels[signature.key]
        return kernel, [signature.values[number] for number in numbers]

    def apart(self, group: Group) -> Sequence[Value]:
        (node,) = group.members
        operands = [self.buffer(v) for v in node.operands]
        if node.op.name == "barrier":
            return operands
        regions = tuple(self.region(r) for r in node.regions)
        self.builder.line = node.line
        return _values(self.builder.emit(node.op, operands, node.attrs, regions))

    def region(self, region: Region) -> Region:
        params = region.params
        types, names = [p.type for p in params], [p.name for p in params]
        with self.builder.region(types, names, closed=True) as opened:
            self.new.update(zip(params, opened.params, strict=True))
            opened.yield_(*self.groups(region))
        return opened.closed

    def buffer(self, value: Value) -> Value:
        """What holds `value`; an array of the program's text is one that kernels read."""
        if value not in self.new:
            node = value.node
            assert node is not None and "value" in node.attrs, f"{value} is not computed"
            self.new[value] = self.builder.emit(node.op, (), node.attrs)
        return self.new[value]


def _values(results: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return (results,) if isinstance(results, Value) else results
