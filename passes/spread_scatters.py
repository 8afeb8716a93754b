"""Spread scatters: updates that join in any order need not wait for each other (on a GPU).

Before: `%s = launch(%base, %i, %u) {kernel}`, where the kernel copies the base and then joins the
updates to it, one after the other.
After: a launch that joins all updates to nothing by atomics, and one that joins what this gives to
the base; none where the base is nothing, as in the gradient of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..ir.access import axes
from ..ir.builder import Recording
from ..ir.dims import Atom, Dim, Slot, of_atom, substitute
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.kernel import INDEX
from ..ir.sugar import neutral
from .kernel_pieces import Pieces, launched_in_turn
from .rewrite import rewrite

# What the processor joins in one step, without an order that would show in more than rounding.
_WIDE = ("f32", "f64", "i32", "i64")
ATOMIC = {"add": _WIDE, "maximum": _WIDE[2:], "minimum": _WIDE[2:]}


def spread_scatters(graph: Graph) -> Graph:
    """`graph` with its scatters spread; itself where there is none that can be."""
    known: dict[Graph, tuple[Graph, ...] | None] = {}
    for node in graph.walk():
        kernel = node.attrs["kernel"] if node.op.name == "launch" else None
        if kernel is not None and kernel not in known:
            found = _find(kernel)
            known[kernel] = None if found is None else _Parts(kernel, found).made()
    if not any(known.values()):
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        kernels = known[node.attrs["kernel"]] if node.op.name == "launch" else None
        return None if kernels is None else launched_in_turn(node, operands, kernels)

    return rewrite(graph, rule, Recording())


_SUMS = "sums"


@dataclass(frozen=True, slots=True)
class _Found:
    """The nodes of a scatter: a loop over columns or None, in which the output is filled, and then
    joined in nested loops."""

    outer: Node | None
    copy: Node
    levels: tuple[Node, ...]
    load: Node
    joined: Node
    store: Node


def _find(kernel: Graph) -> _Found | None:
    names = [p.name for p in kernel.params]
    if len(kernel.out_params) != 1 or len({*names, _SUMS}) <= len(names):
        return None
    outer, inside = None, _with_regions(kernel)
    if len(inside) == 1 and inside[0].op.name == "parallel":
        outer = inside[0]
        inside = _with_regions(outer.regions[0])
    if [n.op.name for n in inside] != ["parallel", "for"]:
        return None
    copy, *levels = inside
    while below := _with_regions(levels[-1].regions[0]):
        if len(below) != 1 or below[0].op.name != "for":
            return None
        levels += below
    if any(n.operands or n.attrs["lo"] != 0 or n.attrs["step"] != 1 for n in levels):
        return None
    stores = [n for n in levels[-1].regions[0].nodes if n.op.name == "store"]
    filling = [n for n in copy.regions[0].nodes if n.op.name == "store" or n.regions]
    if len(stores) != 1 or len(filling) != 1 or filling[0].attrs.get("guarded"):
        return None
    joined = stores[0].operands[1].node
    if joined is None or stores[0].operands[0].type.dtype.name not in ATOMIC.get(
        joined.op.name, ()
    ):
        return None
    load = joined.operands[0].node
    if load is None or load.op.name != "load" or load.operands[0] is not stores[0].operands[0]:
        return None
    if load.operands[1:] != stores[0].operands[2:]:
        return None
    return _Found(outer, copy, tuple(levels), load, joined, stores[0])


def _with_regions(region: Region) -> list[Node]:
    return [n for n in region.nodes if n.regions]


class _Parts(Pieces):
    """Writes the kernels that stand for one."""

    def __init__(self, kernel: Graph, found: _Found) -> None:
        super().__init__(kernel)
        self.found = found

    def made(self) -> tuple[Graph, ...]:
        if self._from_nothing():
            return (self._updates(self.kernel.out_params[0].name),)
        return self._updates(_SUMS), self._joined()

    def _from_nothing(self) -> bool:
        """Whether the base is the neutral element everywhere."""
        filling = next(n for n in self.found.copy.regions[0].nodes if n.op.name == "store")
        made, dtype = filling.operands[1].node, filling.operands[0].type.dtype
        if made is None or made.op.name != "constant":
            return False
        nothing = neutral(self.found.joined.op.name, dtype).array
        return bool(np.array_equal(made.attrs["value"].array, nothing))

    def _updates(self, name: str | None) -> Graph:
        """Into the buffer `name`: parallel updates, columns { join the update atomically }"""
        found = self.found
        self.begin()
        out = self._buffer(name)
        regions = [*self._around(), *(level.regions[0] for level in found.levels)]
        extents = [level.attrs["hi"] for level in found.levels]
        params = [level.regions[0].params[0] for level in found.levels]
        element = found.joined.operands[1]
        wanted = self._needed([element, *found.store.operands[2:]], regions)
        with self.builder:
            self.copy(n for n in self.kernel.nodes if n in wanted)
            with self._points(extents, params):
                for region in regions:
                    self.copy(n for n in region.nodes if n in wanted)
                operands = [out, self.new[element]]
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
        sums, out = self._buffer(_SUMS), self._buffer(self.kernel.out_params[0].name)
        params, extents = axes(copy)
        regions = [*self._around(), copy.regions[0]]
        wanted = self._needed(filling.operands[1:], regions)
        with self.builder:
            self.copy(n for n in self.kernel.nodes if n in wanted)
            with self._points(extents, params):
                for region in regions:
                    self.copy(n for n in region.nodes if n in wanted)
                index = tuple(self.new[v] for v in filling.operands[2:])
                place = _moved(filling.attrs["index"], -1)
                self.builder.line = found.joined.line
                load = self.builder.emit(OPS["load"], (sums, *index), {"index": place})
                base = self.new[filling.operands[1]]
                value = self.builder.emit(found.joined.op, (base, load), {})
                self.builder.emit(OPS["store"], (out, value, *index), filling.attrs)
        return self.finish(f"{self.kernel.name}_joined", 1)

    # ------------------------------------------------------------------ writing

    def _buffer(self, name: str | None) -> Value:
        """One more buffer of the type of the output."""
        return self.builder.param(self.kernel.out_params[0].type, name)

    def _around(self) -> list[Region]:
        return [] if self.found.outer is None else [self.found.outer.regions[0]]

    def _columns(self) -> tuple[Sequence[Value], Sequence[Dim]]:
        return ((), ()) if self.found.outer is None else axes(self.found.outer)

    @contextmanager
    def _points(self, extents: Sequence[Dim], params: Sequence[Value]) -> Iterator[None]:
        """What is emitted meanwhile is the body of a `parallel` over these axes and the columns."""
        columns, more = self._columns()
        with self.builder.region([INDEX] * (len(extents) + len(more))) as opened:
            self.new.update(zip((*params, *columns), opened.params, strict=True))
            yield
        self.builder.emit(OPS["parallel"], (), {"extents": (*extents, *more)}, (opened.closed,))

    def _needed(self, values: Iterable[Value], regions: Sequence[Region]) -> set[Node]:
        """The nodes without regions on which these values depend."""
        used, found = set(values), set()
        for region in (*reversed(regions), self.kernel):
            for node in reversed(region.nodes):
                if not node.regions and any(v in used for v in node.results):
                    found.add(node)
                    used.update(node.operands)
        return found


def _moved(index: Sequence[Dim], by: int) -> tuple[Dim, ...]:
    """An index whose slots are other operands of its node."""

    def replace(atom: Atom) -> Dim:
        if isinstance(atom, Slot):
            return of_atom(Slot(atom.position + by, atom.extent))
        return of_atom(atom)

    return tuple(substitute(dim, replace) for dim in index)
