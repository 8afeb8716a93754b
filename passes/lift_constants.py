"""Constants of tensor size become parameters: code is compiled for their type, not their contents.

Before: `%c = constant() {value=[...]}` among the nodes, or in a region.
After: one more parameter for each different constant; the arrays go beside the program. A region
gets its constants as further consts of its node.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Region, Value
from ..ir.literal import Literal
from .regions import consts_end, emit, inserted, with_consts


def lift_constants(graph: Graph) -> tuple[Graph, tuple[Literal, ...]]:
    """(the program with parameters appended for its constants, the constants in their order).

    Constants inside of kernels stay where they are.
    """
    lifter = _Lifter()
    for param in graph.params:
        lifter.new[param] = lifter.builder.param(param.type, param.name)
    for value in _constants(graph):
        lifter.known[value] = lifter.builder.param(value.type)
    lifter.nodes(graph)
    yields = [lifter.new[v] for v in graph.yields]
    return lifter.builder.finish(graph.name, yields), tuple(_constants(graph))


def _constants(*regions: Region) -> list[Literal]:
    """The different constants of regions and those inside, in order."""
    nodes = (node for region in regions for node in region.walk())
    return list(dict.fromkeys(n.attrs["value"] for n in nodes if n.op.name == "constant"))


class _Lifter:
    """Builds the new program. `known`: what holds each constant in the region at hand."""

    def __init__(self) -> None:
        self.builder = Recording()
        self.new: dict[Value, Value] = {}
        self.known: dict[Literal, Value] = {}

    def nodes(self, region: Region) -> None:
        for node in region.nodes:
            if node.op.name == "constant":
                found = self.known[node.attrs["value"]]
                found.name = found.name or node.results[0].name
                self.new[node.results[0]] = found
                continue
            for old, value in zip(node.results, self.node(node), strict=True):
                self.new[old] = value
                value.name = old.name

    def node(self, node: Node) -> tuple[Value, ...]:
        operands = [self.new[v] for v in node.operands]
        wanted = _constants(*node.regions)
        if not wanted:
            regions = tuple(self.region(r, 0, ()) for r in node.regions)
            return emit(self.builder, node, operands, node.attrs, regions)
        position, param = consts_end(node)
        operands = inserted(operands, position, [self.known[value] for value in wanted])
        regions = tuple(self.region(r, param, wanted) for r in node.regions)
        return emit(self.builder, node, operands, with_consts(node, len(wanted)), regions)

    def region(self, region: Region, position: int, wanted: Sequence[Literal]) -> Region:
        """`region` with further parameters, at `position`, for the constants `wanted`."""
        types = inserted([p.type for p in region.params], position, [v.type for v in wanted])
        names = inserted([p.name for p in region.params], position, [None] * len(wanted))
        outer = self.known
        with self.builder.region(types, names, closed=True) as opened:
            params = list(opened.params)
            self.known = dict(zip(wanted, params[position:], strict=False))
            del params[position : position + len(wanted)]
            self.new.update(zip(region.params, params, strict=True))
            self.nodes(region)
            opened.yield_(*(self.new[v] for v in region.yields))
        self.known = outer
        return opened.closed
