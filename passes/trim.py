"""Trim: loops and branches are given, carry and give only what is needed.

Before:
    %a, %b, %ys = scan(%w, %two, %x, %n, %zs) {consts=2, carries=2} (%v, %c, %p, %q, %z) {
      yield mul(%p, %c), %q, %z
    }
    yield %a, %b
After (%q never changes, nobody reads %ys, and %c is a number):
    %a = scan(%x) {consts=0, carries=1} (%p) {
      yield mul(%p, constant 2.0)
    }
    yield %a, %n
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops.base import Kind
from .dead import prune
from .regions import emit

TRIMMED = ("scan", "while", "cond")


def trim(graph: Graph) -> Graph:
    """`graph` itself where it has no control flow, else a program with the same parameters and
    results."""
    if all(node.op.name not in TRIMMED for node in graph.nodes):
        return graph
    return _Trimmer().run(prune(graph))


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
        return prune(self.builder.finish(graph.name, yields))

    def nodes(self, region: Region) -> None:
        """Emits the nodes of `region`, all of which are needed."""
        read = {operand for node in region.nodes for operand in node.operands}
        read.update(region.yields)
        for node in region.nodes:
            operands = [self.new[v] for v in node.operands]
            wanted = [result in read for result in node.results]
            if node.op.name == "cond":
                found = self.cond(node, operands, wanted)
            elif node.op.name in TRIMMED:
                found = self.loop(node, operands, wanted)
            else:
                regions = tuple(self.region(r, {}) for r in node.regions)
                found = dict(enumerate(emit(self.builder, node, operands, node.attrs, regions)))
            for number, value in found.items():
                self.new[node.results[number]] = value
                value.name = value.name or node.results[number].name

    def region(self, region: Region, sunk: Mapping[int, Value]) -> Region:
        """`region` built anew; parameters in `sunk` are computed inside, and stay unread."""
        region = _alive(region, _needed(region.yields, {}))
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

    def loop(
        self, node: Node, operands: Sequence[Value], wanted: Sequence[bool]
    ) -> dict[int, Value]:
        """A scan or while; its results by number, without those that nobody reads."""
        consts = node.attrs["consts"]
        carries = node.attrs.get("carries", len(operands) - consts)
        first = consts + carries
        sunk = {i: v for i, v in enumerate(operands[:consts]) if self.is_number(v)}
        regions = [self.region(r, sunk) for r in node.regions]
        body = regions[-1]
        same = [body.yields[k] is body.params[consts + k] for k in range(carries)]
        found = {k: operands[consts + k] for k in range(carries) if same[k]}

        roots = [y for k, y in enumerate(body.yields) if wanted[k] and k not in found]
        roots += [y for region in regions[:-1] for y in region.yields]
        links = {
            region.params[consts + k]: body.yields[k] for region in regions for k in range(carries)
        }
        needed = _needed(roots, links)

        def given(position: int) -> bool:
            return any(region.params[position] in needed for region in regions)

        held = [i for i in range(consts) if given(i)]
        held += [consts + k for k in range(carries) if same[k] and given(consts + k)]
        kept = [k for k in range(carries) if not same[k] and (wanted[k] or given(consts + k))]
        xs = [i for i in range(first, len(operands)) if given(i)]
        ys = [k for k in range(carries, len(wanted)) if wanted[k]]
        order = [*held, *(consts + k for k in kept), *xs]
        if not kept and not ys:
            return found
        trimmed = [
            Region(tuple(r.params[i] for i in order), r.nodes, r.yields) for r in regions[:-1]
        ]
        yields = tuple(body.yields[k] for k in (*kept, *ys))
        trimmed.append(Region(tuple(body.params[i] for i in order), body.nodes, yields))
        attrs = {**node.attrs, "consts": len(held)}
        if "carries" in attrs:
            attrs["carries"] = len(kept)
        closed = tuple(_alive(region, needed) for region in trimmed)
        results = emit(self.builder, node, [operands[i] for i in order], attrs, closed)
        found.update(zip((*kept, *ys), results, strict=True))
        return found

    def cond(
        self, node: Node, operands: Sequence[Value], wanted: Sequence[bool]
    ) -> dict[int, Value]:
        flag, *given = operands
        if flag.node is not None and flag.node.op.name == "constant":
            return self.inline(node.regions[0 if flag.node.attrs["value"].array else 1], given)
        sunk = {i: v for i, v in enumerate(given) if self.is_number(v)}
        regions = [self.region(r, sunk) for r in node.regions]
        kept = [k for k, read in enumerate(wanted) if read]
        needed = _needed((r.yields[k] for r in regions for k in kept), {})
        order = [
            i for i in range(len(given)) if any(region.params[i] in needed for region in regions)
        ]
        closed = tuple(
            _alive(
                Region(
                    tuple(r.params[i] for i in order), r.nodes, tuple(r.yields[k] for k in kept)
                ),
                needed,
            )
            for r in regions
        )
        results = emit(self.builder, node, [flag, *(given[i] for i in order)], node.attrs, closed)
        return dict(zip(kept, results, strict=True))

    def inline(self, region: Region, operands: Sequence[Value]) -> dict[int, Value]:
        """The nodes of `region` in place of the branch that always takes it."""
        self.new.update(zip(region.params, operands, strict=True))
        self.nodes(_alive(region, _needed(region.yields, {})))
        return {k: self.new[value] for k, value in enumerate(region.yields)}


def _needed(roots: Iterable[Value], links: Mapping[Value, Value]) -> set[Value]:
    """All values that `roots` follow from; one that has a link follows from that, too."""
    seen: set[Value] = set()
    pending = list(roots)
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in links:
            pending.append(links[value])
        if value.node is not None:
            pending.extend(value.node.operands)
    return seen


def _alive(region: Region, needed: set[Value]) -> Region:
    """`region` without the nodes none of whose results is needed."""
    nodes = tuple(n for n in region.nodes if any(result in needed for result in n.results))
    return (
        region if len(nodes) == len(region.nodes) else Region(region.params, nodes, region.yields)
    )
