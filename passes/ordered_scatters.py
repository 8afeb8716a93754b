"""Ordered scatters: floats that meet at one place are added up in the order of the updates, by as
many programs as there are places (on a GPU), so that every run gives the same bits.

Before: `%s = launch(%base, %i, %u) {kernel}`, where the kernel copies the base and then adds the
updates to it, one after the other.
After, three launches: `order`, the numbers of the updates sorted by the rows that they go to, those
of one row as they were; `starts`, where each row's begin in it; and the result, each of whose
elements walks over the updates of its row.

The place of an update in the order is how many come before it, which is counted: of u updates and
r rows that takes u (u + r) comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..ir.access import axes
from ..ir.dims import Dim, Slot, atoms, of_atom, product
from ..ir.dtypes import DType, i64
from ..ir.graph import Graph, Value
from ..ir.literal import Literal
from ..ir.ops import OPS
from ..ir.ops.kernel import INDEX
from ..ir.types import tensor_type
from .kernel_pieces import as_tuple
from .scatter_kernels import ORDER, STARTS, Scatter, ScatterPieces


def ordered_scatter(kernel: Graph, found: Scatter) -> tuple[Graph, ...] | None:
    """The three kernels; None where `kernel` is left as it is, which adds up in order, too, but in
    one program for each column."""
    pieces = _Ordered(kernel, found)
    return pieces.made() if pieces.may() else None


class _Ordered(ScatterPieces):
    def __init__(self, kernel: Graph, found: Scatter) -> None:
        super().__init__(kernel, found)
        last = -1 if found.store.attrs.get("guarded") else None
        self.guard = found.store.operands[-1] if last else None
        self.columns = set(() if found.outer is None else axes(found.outer)[0])
        self.keys = [v for v in found.store.operands[2:last] if v not in self.columns]
        self.extents, self.params = self.updates()
        self.count = product(self.extents)

    def may(self) -> bool:
        """Whether one axis alone is indexed by data, which are the same for all columns."""
        if self.found.joined.op.name != "add" or len(self.keys) != 1:
            return False
        position = self.found.store.operands.index(self.keys[0])
        places = [d for d in self.found.store.attrs["index"] if _reads(d, position)]
        if len(axes(self.found.copy)[0]) != 1 or places != [of_atom(Slot(position))]:
            return False
        needed = self.needed(self.keys, self.inside())
        return not any(v in self.columns for node in needed for v in node.operands)

    def made(self) -> tuple[Graph, ...]:
        """The kernels."""
        self.rows = axes(self.found.copy)[1][0]
        return self._order(), self._starts(), self._sums()

    # ------------------------------------------------------------------ the order

    def _order(self) -> Graph:
        """parallel u { order[how many come before u] = u }"""
        self.begin()
        order = self.builder.param(tensor_type(i64, (self.count,)), ORDER)
        with self.builder:
            self._outside(self.keys)
            with self.builder.region([INDEX] * len(self.extents)) as opened:
                key, number = self._key(opened.params)
                with self.builder.region([INDEX] * len(self.extents)) as body:
                    other, position = self._key(body.params)
                    same = self._op("bit_and", self._op("eq", other, key),
                                    self._op("lt", position, number))  # fmt: skip
                    before = self._op("bit_or", self._op("lt", other, key), same)
                    body.yield_(self._one_where(before))
                place = self._counted(self.extents, body.closed)
                index = {"index": (of_atom(Slot(2, self.count)),), "combine": "add"}
                self._emit("atomic", (order, number, place), index)
            self._emit("parallel", (), {"extents": tuple(self.extents)}, (opened.closed,))
        return self.finish(f"{self.kernel.name}_order", 1)

    def _starts(self) -> Graph:
        """parallel row { starts[row] = how many updates go to rows before it }"""
        self.begin()
        count = self.rows + 1
        starts = self.builder.param(tensor_type(i64, (count,)), STARTS)
        with self.builder:
            self._outside(self.keys)
            with self.builder.region([INDEX]) as opened:
                (row,) = opened.params
                number = self._index((row,), of_atom(Slot(0, count)))
                with self.builder.region([INDEX] * len(self.extents)) as body:
                    before = self._op("lt", self._key(body.params)[0], number)
                    body.yield_(self._one_where(before))
                found = self._counted(self.extents, body.closed)
                self._emit("store", (starts, found, row), {"index": (of_atom(Slot(2, count)),)})
            self._emit("parallel", (), {"extents": (count,)}, (opened.closed,))
        return self.finish(f"{self.kernel.name}_starts", 1)

    def _key(self, params: Sequence[Value]) -> tuple[Value, Value]:
        """The row that the update at a point goes to, and its number."""
        self.new.update(zip(self.params, params, strict=True))
        self._update(self.keys)
        flat: Dim = 0
        for position, extent in enumerate(self.extents):
            flat = flat * extent + of_atom(Slot(position, extent))
        return self.new[self.keys[0]], self._index(params, flat)

    def _one_where(self, condition: Value) -> Value:
        return self._op("where", condition, self._number(1, i64), self._number(0, i64))

    def _counted(self, extents: Sequence[Dim], body: object) -> Value:
        """The sum of what `body` yields."""
        zero = self._number(0, i64)
        with self.builder.region([zero.type] * 2) as combine:
            combine.yield_(self._op("add", *combine.params))
        regions = (body, combine.closed)
        return self._emit("reduce", (zero,), {"extents": tuple(extents)}, regions)[0]

    # ------------------------------------------------------------------ the sums

    def _sums(self) -> Graph:
        """parallel row, columns { base + the sum over k from starts[row] to starts[row + 1] of the
        update number order[k] }"""
        found, copy = self.found, self.found.copy
        filling = next(n for n in copy.regions[0].nodes if n.op.name == "store")
        element = found.joined.operands[1]
        wanted = [element, *([] if self.guard is None else [self.guard])]
        self.begin()
        order = self.builder.param(tensor_type(i64, (self.count,)), ORDER)
        starts = self.builder.param(tensor_type(i64, (self.rows + 1,)), STARTS)
        out = self.builder.param(self.out.type, self.out.name)
        around = [*self.around(), copy.regions[0]]
        base = self.needed(filling.operands[1:], around)
        with self.builder:
            self._outside(wanted)
            self.copy(n for n in self.kernel.nodes if n in base and n.results[0] not in self.new)
            with self.points((self.rows,), axes(copy)[0]):
                for region in around:
                    self.copy(n for n in region.nodes if n in base)
                (row,) = (self.new[v] for v in axes(copy)[0])
                lo, hi = (self._start(starts, row, more) for more in (0, 1))
                total = self._total(order, lo, hi, wanted)
                start = self.cast(self.new[filling.operands[1]], self.wide)
                value = self.cast(self._op("add", start, total), self.dtype)
                index = (self.new[v] for v in filling.operands[2:])
                self._emit("store", (out, value, *index), filling.attrs)
        return self.finish(f"{self.kernel.name}_sums", 1)

    def _start(self, starts: Value, row: Value, more: int) -> Value:
        place = of_atom(Slot(1, self.rows)) + more
        return self._emit("load", (starts, row), {"index": (place,)})[0]

    def _total(self, order: Value, lo: Value, hi: Value, wanted: Sequence[Value]) -> Value:
        zero, size = self._number(0, self.wide), self.count + 1
        bounds = {"lo": of_atom(Slot(1, size)), "hi": of_atom(Slot(2, size))}
        with self.builder.region([INDEX, zero.type]) as body:
            turn, total = body.params
            place = {"index": (of_atom(Slot(1, self.count)),)}
            number = self._emit("load", (order, turn), place)[0]
            self.new.update(zip(self.params, self._point(number), strict=True))
            self._update(wanted)
            update = self.cast(self.new[wanted[0]], self.wide)
            if self.guard is not None:
                update = self._op("where", self.new[self.guard], update, zero)
            body.yield_(self._op("add", total, update))
        attrs = {**bounds, "step": 1, "carries": 1}
        return self._emit("for", (zero, lo, hi), attrs, (body.closed,))[0]

    def _point(self, number: Value) -> list[Value]:
        """Where the loops over updates are at update `number`."""
        found: list[Value] = []
        rest: Dim = of_atom(Slot(0, self.count))
        for extent in reversed(self.extents):
            found.insert(0, self._index((number,), rest % extent))
            rest = rest // extent
        return found

    # ------------------------------------------------------------------ writing

    def _outside(self, values: Sequence[Value]) -> None:
        """What `values` depend on outside of all loops."""
        wanted = self.needed(values, self.inside())
        self.copy(n for n in self.kernel.nodes if n in wanted)

    def _update(self, values: Sequence[Value]) -> None:
        """What `values` depend on in the loops around an update."""
        regions = self.inside()
        wanted = self.needed(values, regions)
        for region in regions:
            self.copy(n for n in region.nodes if n in wanted)

    def _op(self, name: str, *operands: Value) -> Value:
        return self._emit(name, operands, {})[0]

    def _index(self, operands: Sequence[Value], expr: Dim) -> Value:
        return self._emit("index", operands, {"expr": expr})[0]

    def _number(self, number: int, dtype: DType) -> Value:
        value = Literal(np.asarray(number, dtype.numpy))
        return self._emit("constant", (), {"value": value})[0]

    def _emit(
        self, name: str, operands: Sequence[Value], attrs: Mapping, regions: tuple = ()
    ) -> tuple[Value, ...]:
        self.builder.line = self.found.joined.line
        return as_tuple(self.builder.emit(OPS[name], operands, attrs, regions))


def _reads(dim: Dim, position: int) -> bool:
    return any(isinstance(a, Slot) and a.position == position for a in atoms(dim))
