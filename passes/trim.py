"""Trim: loops carry only what changes, and regions compute themselves what needs no memory.

Before:
    %a, %b = scan(%two, %x, %n) {consts=1, carries=2} (%c, %p, %q) {
      yield mul(%p, %c), %q
    }
    yield %a, %b
After (%q never changes, and %c is a number):
    %a = scan(%x) {consts=0, carries=1} (%p) {
      yield mul(%p, constant 2.0)
    }
    yield %a, %n
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops.base import Kind
from .narrow import narrow
from .regions import emit

CONTROL = ("scan", "while", "cond")


def trim(graph: Graph) -> Graph:
    """`graph` itself where it has no control flow, else a program with the same parameters and
    results."""
    if all(node.op.name not in CONTROL for node in graph.nodes):
        return graph
    return _Trimmer().run(graph)


class _Trimmer:
    def __init__(self) -> None:
        self.builder = Recording()
        self.new: dict[Value, Value] = {}
        self.numbers: dict[Value, bool] = {}  # whether a value follows from the program's text

    def run(self, graph: Graph) -> Graph:
        for param in graph.params:
            self.new[param] = self.builder.param(param.type, param.name)
        self.nodes(graph)
        yields = [self.new[v] for v in graph.yields]
        return narrow(self.builder.finish(graph.name, yields))

    def nodes(self, region: Region) -> None:
        for node in region.nodes:
            operands = [self.new[v] for v in node.operands]
            found: Sequence[Value]
            if node.op.name == "cond":
                found = self.cond(node, operands)
            elif node.op.name in CONTROL:
                found = self.loop(node, operands)
            else:
                found = emit(self.builder, node, operands, node.attrs, node.regions)
            for old, value in zip(node.results, found, strict=True):
                self.new[old] = value
                value.name = value.name or old.name

    def region(self, region: Region, sunk: Mapping[int, Value]) -> Region:
        """`region` built anew; parameters in `sunk` are computed inside, and stay unread."""
        params = region.params
        types, names = [p.type for p in params], [p.name for p in params]
        with self.builder.region(types, names, closed=True) as opened:
            self.new.update(zip(params, opened.params, strict=True))
            copies: dict[Value, Value] = {}
            for position, value in sunk.items():
                self.new[params[position]] = self.copy(value, copies)
            self.nodes(region)
            opened.yield_(*(self.new[v] for v in region.yields))
        return opened.closed

    # ---------------------------------------------------------------- what needs no memory

    def is_number(self, value: Value) -> bool:
        """Whether kernels compute `value` wherever it is read, from nothing."""
        if value not in self.numbers:
            node = value.node
            if node is None or node.op.kind not in (Kind.SOURCE, Kind.VIEW):
                known = False
            elif node.op.name == "constant":
                known = node.attrs["value"].array.size == 1
            elif node.op.kind is Kind.SOURCE:
                known = node.op.element is not None
            else:
                known = all(map(self.is_number, node.operands))
            self.numbers[value] = known
        return self.numbers[value]

    def copy(self, value: Value, copies: dict[Value, Value]) -> Value:
        """`value`, and what it is made of, emitted again."""
        if value not in copies:
            node = value.node
            assert node is not None, "a parameter is no number"
            operands = [self.copy(o, copies) for o in node.operands]
            (copies[value],) = emit(self.builder, node, operands, node.attrs, ())
        return copies[value]

    # ---------------------------------------------------------------- loops and branches

    def loop(self, node: Node, operands: Sequence[Value]) -> Sequence[Value]:
        """A scan or while; a carry that no turn changes becomes a const."""
        consts = node.attrs["consts"]
        carries = node.attrs.get("carries", len(operands) - consts)
        first = consts + carries
        sunk = {i: v for i, v in enumerate(operands[:consts]) if self.is_number(v)}
        regions = [self.region(r, sunk) for r in node.regions]
        body = regions[-1]
        same = [k for k in range(carries) if body.yields[k] is body.params[consts + k]]
        if len(same) == len(node.results):
            return operands[consts:first]
        kept = [k for k in range(carries) if k not in same]
        order = [
            *range(consts),
            *(consts + k for k in (*same, *kept)),
            *range(first, len(operands)),
        ]
        attrs = {**node.attrs, "consts": consts + len(same)}
        if "carries" in attrs:
            attrs["carries"] = len(kept)
        yields = tuple(y for k, y in enumerate(body.yields) if k not in same)
        regions[-1] = Region(body.params, body.nodes, yields)
        ordered = tuple(
            Region(tuple(r.params[i] for i in order), r.nodes, r.yields) for r in regions
        )
        found = iter(emit(self.builder, node, [operands[i] for i in order], attrs, ordered))
        return [
            operands[consts + k] if k in same else next(found) for k in range(len(node.results))
        ]

    def cond(self, node: Node, operands: Sequence[Value]) -> Sequence[Value]:
        """A branch; where it is known which one is taken, that takes its place."""
        flag, *given = operands
        if flag.node is not None and flag.node.op.name == "constant":
            return self.inline(node.regions[0 if flag.node.attrs["value"].array else 1], given)
        sunk = {i: v for i, v in enumerate(given) if self.is_number(v)}
        regions = tuple(self.region(r, sunk) for r in node.regions)
        return emit(self.builder, node, operands, node.attrs, regions)

    def inline(self, region: Region, operands: Sequence[Value]) -> Sequence[Value]:
        """The nodes of `region`, and what it yields."""
        self.new.update(zip(region.params, operands, strict=True))
        self.nodes(region)
        return [self.new[value] for value in region.yields]
