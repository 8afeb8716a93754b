"""Spread scatters: updates that join in any order need not wait for each other (on a GPU).

Before: `%s = launch(%base, %i, %u) {kernel}`, where the kernel copies the base and then joins the
updates to it, one after the other.
After: a launch that joins all updates to nothing by atomics, and one that joins what this gives to
the base; none where the base is nothing, as in the gradient of an embedding. Halves are joined as
float32.

Where the same bits are wanted on every run, floats are added up in order (`ordered_scatters.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.access import axes
from ..ir.builder import Recording
from ..ir.dims import Atom, Dim, Slot, of_atom, substitute
from ..ir.graph import Graph, Node, Value
from ..ir.numerics import EXACT, Numerics
from ..ir.ops import OPS
from ..ir.types import tensor_type
from .kernel_pieces import launched_in_turn
from .ordered_scatters import ordered_scatter
from .rewrite import rewrite
from .scatter_kernels import SUMS, ScatterPieces, find_scatter


def spread_scatters(graph: Graph, numerics: Numerics = EXACT) -> Graph:
    """`graph` with its scatters spread; itself where there is none that can be."""
    known: dict[Graph, tuple[Graph, ...] | None] = {}
    for node in graph.walk():
        kernel = node.attrs["kernel"] if node.op.name == "launch" else None
        if kernel is not None and kernel not in known:
            known[kernel] = _spread(kernel, numerics)
    if not any(known.values()):
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        kernels = known[node.attrs["kernel"]] if node.op.name == "launch" else None
        return None if kernels is None else launched_in_turn(node, operands, kernels)

    return rewrite(graph, rule, Recording())


def _spread(kernel: Graph, numerics: Numerics) -> tuple[Graph, ...] | None:
    """The kernels that stand for `kernel`; None where it is left as it is."""
    found = find_scatter(kernel)
    if found is None:
        return None
    if numerics.deterministic and found.store.operands[0].type.dtype.is_float:
        return ordered_scatter(kernel, found)
    return _Atomics(kernel, found).made()


class _Atomics(ScatterPieces):
    """Updates that meet by atomics."""

    def made(self) -> tuple[Graph, ...]:
        """The updates, joined by atomics, and what joins them to the base, if they are not all."""
        if self.from_nothing() and self.wide is self.dtype:
            return (self._updates(self.out.name),)
        return self._updates(SUMS), self._joined()

    def _updates(self, name: str | None) -> Graph:
        """Into the buffer `name`: parallel updates, columns { join the update atomically }"""
        found = self.found
        self.begin()
        out = self._buffer(name)
        regions = self.inside()
        extents, params = self.updates()
        element = found.joined.operands[1]
        wanted = self.needed([element, *found.store.operands[2:]], regions)
        with self.builder:
            self.copy(n for n in self.kernel.nodes if n in wanted)
            with self.points(extents, params):
                for region in regions:
                    self.copy(n for n in region.nodes if n in wanted)
                operands = [out, self.cast(self.new[element], self.wide)]
                operands += [self.new[v] for v in found.store.operands[2:]]
                attrs = {**found.store.attrs, "combine": found.joined.op.name}
                self.builder.line = found.store.line
                self.builder.emit(OPS["atomic"], operands, attrs)
        return self.finish(f"{self.kernel.name}_updates", 1)

    def _joined(self) -> Graph:
        """parallel rows, columns { store base joined with what the updates gave }"""
        found, copy = self.found, self.found.copy
        filling = next(n for n in copy.regions[0].nodes if n.op.name == "store")
        self.begin()
        sums = self._buffer(SUMS)
        out = self.builder.param(self.out.type, self.out.name)
        params, extents = axes(copy)
        regions = [*self.around(), copy.regions[0]]
        wanted = self.needed(filling.operands[1:], regions)
        with self.builder:
            self.copy(n for n in self.kernel.nodes if n in wanted)
            with self.points(extents, params):
                for region in regions:
                    self.copy(n for n in region.nodes if n in wanted)
                index = tuple(self.new[v] for v in filling.operands[2:])
                place = _moved(filling.attrs["index"], -1)
                self.builder.line = found.joined.line
                load = self.builder.emit(OPS["load"], (sums, *index), {"index": place})
                base = self.cast(self.new[filling.operands[1]], self.wide)
                joined = self.builder.emit(found.joined.op, (base, load), {})
                value = self.cast(joined, self.dtype)
                self.builder.emit(OPS["store"], (out, value, *index), filling.attrs)
        return self.finish(f"{self.kernel.name}_joined", 1)

    def _buffer(self, name: str | None) -> Value:
        """One more buffer of the shape of the output, to add up in."""
        return self.builder.param(tensor_type(self.wide, self.out.type.shape), name)


def _moved(index: Sequence[Dim], by: int) -> tuple[Dim, ...]:
    """An index whose slots are other operands of its node."""

    def replace(atom: Atom) -> Dim:
        if isinstance(atom, Slot):
            return of_atom(Slot(atom.position + by, atom.extent))
        return of_atom(atom)

    return tuple(substitute(dim, replace) for dim in index)
