"""Tiles of a loop that reads along one axis and stores along another: squares are read by vectors
along the first, transposed in registers, and kept while the loop runs over them."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.access import Expressions, axes, axis_extents, coefficient
from ....ir.dims import Dim, Var, minimum, of_atom
from ....ir.graph import Node, Value
from .loops import Carried, bind, group_extents
from .packing import transpose
from .scope import Expander, Scope, Vector

UNIFORM = ("index", "size", "constant")


def run_tile(expander: Expander, scope: Scope, node: Node, flat: Dim, lo: Dim) -> None:
    """The points of a tile that begins at `lo`, for the vector at `flat`."""
    _Tile(expander, scope, node, flat).run(lo)


class _Tile:
    def __init__(self, expander: Expander, scope: Scope, node: Node, flat: Dim) -> None:
        self.expander = expander
        self.scope = scope
        self.node = node
        self.nest = expander.nests[node]
        self.flat = flat
        assert self.nest.tile is not None
        self.group, self.points = self.nest.tile
        self.extent = group_extents(node, self.nest)[self.group]

    def run(self, lo: Dim) -> None:
        side, hi = self.nest.turn, minimum(lo + self.points, self.extent)
        vector = self.scope.vector
        if side and vector is not None and vector.mask is None and vector.lanes == side:
            full = lo + (hi - lo) // side * side
            self.expander.loop(lo, full, side, (), self._square)
            lo = full
        self.expander.loop(lo, hi, 1, (), self._point)

    def _point(self, variable: Value, _: Carried) -> Sequence[Value]:
        inner = self._at(self.scope, of_atom(Var(variable, self.extent)))
        self.expander.run_nodes(self.node.regions[0], inner)
        return ()

    def _square(self, variable: Value, _: Carried) -> Sequence[Value]:
        """As many points as the vector has lanes."""
        expander, side, body = self.expander, self.nest.turn, self.node.regions[0]
        first = of_atom(Var(variable, self.extent))
        kept: dict[Node, Value] = {}
        for load in self._across():
            kept[load] = expander.alloc((side * side,), load.results[0].type.dtype)
            for row, value in enumerate(transpose(expander, self._rows(load, first))):
                expander.access("store", (kept[load], value), row * side, lanes=side)

        def turn(number: Value, _: Carried) -> Sequence[Value]:
            row = of_atom(Var(number, side))
            inner = self._at(self.scope, first + row)
            for load, square in kept.items():
                found = expander.access("load", (square,), row * side, lanes=side)
                inner.values[load.results[0]] = found
            for node in body.nodes:
                if node not in kept:
                    expander.node(node, inner)
            return ()

        expander.loop(0, side, 1, (), turn)
        return ()

    def _across(self) -> list[Node]:
        """The loads that are contiguous along the tile, and not along the vector."""
        variables, _ = axes(self.node)
        assert self.nest.vector is not None
        along, across = (variables[self.nest.groups[g][-1]] for g in (self.nest.vector, self.group))
        expressions = Expressions(
            axis_extents(self.node.regions[0])
            | dict(zip(variables, axes(self.node)[1], strict=True))
        )
        found = []
        for node in self.node.regions[0].nodes:
            if node.op.name != "load" or node.attrs.get("guarded"):
                continue
            offset = expressions.offset(node)
            if any(n.op.name not in UNIFORM for n in self._before(node)):
                continue
            if coefficient(offset, across) == 1 and coefficient(offset, along) not in (0, 1):
                found.append(node)
        return found

    def _before(self, load: Node) -> list[Node]:
        """The nodes of the body that a load depends on."""
        used, found = set(load.operands), []
        for node in reversed(self.node.regions[0].nodes):
            if any(v in used for v in node.results):
                used.update(node.operands)
                found.append(node)
        return found[::-1]

    def _rows(self, load: Node, first: Dim) -> list[Value]:
        """The square at `first` as vectors along the tile, one for each lane of the vector."""
        expander, side, vector = self.expander, self.nest.turn, self.scope.vector
        assert vector is not None and self.nest.vector is not None
        start = self.flat - of_atom(Var(vector.iota, side))
        iota = expander.emit("lanes", expander.integer(0), lanes=side)
        rows = []
        for lane in range(side):
            inner = self.scope.inner(Vector(side, iota))
            bind(inner, self.node, self.nest, self.nest.vector, start + lane)
            bind(inner, self.node, self.nest, self.group, first + of_atom(Var(iota, side)))
            for node in (*self._before(load), load):
                expander.node(node, inner)
            rows.append(inner.values[load.results[0]])
        return rows

    def _at(self, scope: Scope, point: Dim) -> Scope:
        inner = scope.inner()
        bind(inner, self.node, self.nest, self.group, point)
        return inner
