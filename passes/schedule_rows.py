"""Which rows and prefixes a kernel computes where they are read, rather than keep them."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.access import Access, Expressions, accesses, axes, replace_var
from ..ir.graph import Graph, Node, Region, Value
from ..ir.target import Target
from .kernel_facts import cost_of
from .schedule_columns import DEAR

CHEAP = 2  # scalar instructions that are cheaper to repeat than to keep in scratch


class Inlining:
    """The choice for one kernel.

    Attributes:
        inlined: the nodes that are computed where they are read, once `choose` has run.
    """

    def __init__(self, kernel: Graph, target: Target, expressions: Expressions) -> None:
        self.kernel = kernel
        self.target = target
        self.expressions = expressions
        self.inlined: set[Node] = set()

    def choose(self, region: Region) -> None:
        """Adds the nodes of `region` and what is inside to `inlined`."""
        for position, node in enumerate(region.nodes):
            for inner in node.regions:
                self.choose(inner)
            if node.op.name == "row" and self._cheap_row(node, region.nodes[position + 1 :]):
                self.inlined.add(node)
        for position, node in enumerate(region.nodes):
            if node.op.name == "cumulate" and self._read_along(node, region.nodes[position + 1 :]):
                self.inlined.add(node)

    def _cheap_row(self, row: Node, later: Sequence[Node]) -> bool:
        """Whether computing the elements of a row where they are read costs less than keeping
        them: what does not stay in the cache until then is kept at the price of memory."""
        size = sum(v.type.nbytes for v in row.results if isinstance(v.type.nbytes, int))
        dear = DEAR if size > self.target.l2 // 2 else CHEAP
        return cost_of(row.regions[0]) <= dear and self.repeatable(row, later)

    def repeatable(self, row: Node, later: Sequence[Node]) -> bool:
        """Whether the elements of a row may be computed where they are read."""
        body = row.regions[0]
        if any(node.regions for node in body.nodes):
            return False
        if any(
            value in region.yields
            for node in later
            for region in _regions(node)
            for value in row.results
        ):
            return False
        if any(
            n.attrs.get("guarded") for node in later for n in _with_nested(node) if _loads(n, row)
        ):
            return False
        return self._readable_later(row, later)

    def _readable_later(self, row: Node, later: Sequence[Node]) -> bool:
        """Whether no store may have changed what the row's body reads when it is read again.

        An output may share the memory of an input of its size, if that is read first.
        """
        sizes = {out.type.nbytes for out in self.kernel.out_params}
        read = [n.operands[0] for n in row.regions[0].walk() if n.op.name == "load"]
        if not any(buffer.node is None and buffer.type.nbytes in sizes for buffer in read):
            return True
        stored = False
        for node in later:
            loads = [n for n in _with_nested(node) if _loads(n, row)]
            stores = any(n.op.name in ("store", "atomic") for n in _with_nested(node))
            if loads and (stored or (stores and not self._same_point(node, loads))):
                return False
            stored = stored or stores
        return True

    def _same_point(self, node: Node, loads: Sequence[Node]) -> bool:
        """Whether all `loads` read the row at the very point that `node` runs over."""
        if node.op.name != "parallel" or any(inner.regions for inner in node.regions[0].nodes):
            return False
        own = tuple(self.expressions.of(axis) for axis in axes(node)[0])
        return all(self.expressions.index(load) == own for load in loads)

    def _read_along(self, prefixes: Node, later: Sequence[Node]) -> bool:
        """Whether one loop alone reads the prefixes, each at its own point, and may do so while
        they are computed: then it needs no copy of them."""
        readers = [n for n in later if n not in self.inlined and prefixes in self._rows(n)]
        if len(readers) != 1 or readers[0].op.name != "parallel":
            return False
        (loop,) = readers
        ((axis, *others), extents), body = axes(loop), loop.regions[0]
        if others or extents != axes(prefixes)[1] or any(n.regions for n in body.nodes):
            return False
        if any(row is not prefixes and row.op.name == "cumulate" for row in self._rows(loop)):
            return False
        here = {self.expressions.of(axis)}
        found = accesses(body, self.expressions, self.inlined)
        places = {a.offset for a in found if a.node.operands[0].node is prefixes}
        return places == here and self._only_own_point(prefixes, axis, found)

    def _only_own_point(self, prefixes: Node, axis: Value, found: Sequence[Access]) -> bool:
        """Whether the stores among `found` overwrite nothing that a later prefix needs: an output
        may share the memory of an input of its size."""
        own = axes(prefixes)[0][0]
        here = {own: self.expressions.of(axis)}
        read = [
            (a.node.operands[0].type.nbytes, replace_var(a.offset, here))
            for a in accesses(prefixes.regions[0], self.expressions, self.inlined)
        ]
        return all(
            offset == store.offset
            for store in found
            if store.writes
            for nbytes, offset in read
            if nbytes == store.node.operands[0].type.nbytes
        )

    def _rows(self, node: Node) -> set[Node]:
        """The rows and prefixes that `node` loads, through those that are computed where read."""
        found: set[Node] = set()
        for inner in _with_nested(node):
            row = inner.operands[0].node if inner.op.name == "load" else None
            if row is not None:
                found.add(row)
                found |= self._rows(row) if row in self.inlined else set()
        return found


def _with_nested(node: Node) -> list[Node]:
    return [node, *(n for region in node.regions for n in region.walk())]


def _regions(node: Node) -> list[Region]:
    return [region for n in _with_nested(node) for region in n.regions]


def _loads(node: Node, row: Node) -> bool:
    return node.op.name == "load" and node.operands[0] in row.results
