"""Computing the nodes of a kernel's region with scalars and vectors."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.access import axes, coefficient, flat_offset
from ....ir.dims import Atom, Dim, Slot, Var, atoms, of_atom, product, substitute
from ....ir.dtypes import DType
from ....ir.graph import Node, Region, Value
from ....ir.literal import Literal
from ....ir.ops import Kind
from ....ir.ops.kernel import INDEX
from ....ir.schedule import Nest
from ....ir.target import Target
from . import patterns
from .combining import factors, is_sum, ordered_members
from .emitter import Emitter

NARROWEST = 4  # bytes of an element that LLVM stores rightly under a mask of one lane
REVERSIBLE = -1  # the stride of an access that is contiguous backwards


@dataclass(frozen=True, slots=True)
class Vector:
    """The vector axis of a loop body: `lanes` points at base + iota, those in `mask` (all if
    None) within the axis."""

    lanes: int
    iota: Value
    mask: Value | None = None


@dataclass(frozen=True, slots=True)
class Scratch:
    """A row value kept in memory: element `flat` of each lane at flat * lanes + lane."""

    buffer: Value
    shape: tuple[Dim, ...]
    vector: Vector | None


@dataclass(frozen=True, slots=True)
class Inline:
    """A row value that is computed where it is read."""

    node: Node
    result: int


@dataclass(frozen=True, slots=True)
class Late:
    """Prefixes that are computed along with the loop that reads them."""

    node: Node


@dataclass(frozen=True, slots=True)
class Here:
    """A row value of which one element is at hand: that at the scope's point."""

    value: Value


Row = Scratch | Inline | Late | Here


class Scope:
    """What the values of a kernel are inside one loop body.

    Scalars of the kernel are scalars or vectors of the loop graph; i64 ones may be known as
    expressions over `Var`s of loop values.
    """

    def __init__(self, parent: Scope | None, vector: Vector | None) -> None:
        self.parent = parent
        self.vector = vector
        self.values: dict[Value, Value] = {}
        self.exprs: dict[Value, Dim] = {}
        self.rows: dict[Value, Row] = {}
        self.buffers: dict[Value, tuple[Value, Dim]] = {}
        self.holding: dict[Value, bool] = {}  # conditions that are known to hold here

    def inner(self, vector: Vector | None = None) -> Scope:
        """A scope inside this one; in vectors of `vector`, or of this scope's."""
        return Scope(self, vector or self.vector)

    def find(self, table: str, value: Value) -> Any:
        """What `table` says of a kernel's value here or further out, or None."""
        scope: Scope | None = self
        while scope is not None:
            found = getattr(scope, table).get(value)
            if found is not None:
                return found
            scope = scope.parent
        return None


Handler = Callable[["Expander", Scope, Node], None]


class Expander(Emitter):
    """Emits loop-level nodes for kernel-level ones. `handlers` expand the nodes with loops."""

    def __init__(
        self, target: Target, nests: dict[Node, Nest], handlers: dict[str, Handler]
    ) -> None:
        super().__init__(target)
        self.nests = nests
        self.handlers = handlers

    # ------------------------------------------------------------------ regions

    def run(self, region: Region, scope: Scope) -> list[Value]:
        """Computes a region's nodes in `scope`; gives what it yields (no rows)."""
        self.run_nodes(region, scope)
        return [self.value(v, scope) for v in region.yields]

    def run_nodes(self, region: Region, scope: Scope) -> None:
        for node in region.nodes:
            self.builder.line = node.line
            self.node(node, scope)

    def node(self, node: Node, scope: Scope) -> None:
        name = node.op.name
        if name in ("index", "size"):
            scope.exprs[node.results[0]] = self.apply(node.attrs["expr"], node.operands, scope)
        elif name == "constant":
            self._constant(node, scope)
        elif name == "load":
            scope.values[node.results[0]] = self._load(node, scope)
        elif name in ("store", "atomic"):
            self._store(node, scope)
        elif node.op.kind is Kind.ELEMENTWISE:
            operands = self.same_lanes([self.value(v, scope) for v in node.operands])
            scope.values[node.results[0]] = self.emit(name, *operands, **node.attrs)
        elif name in self.handlers:
            self.handlers[name](self, scope, node)
        else:
            raise NotImplementedError(f"the CPU backend has no loops for the op {name}")

    # ------------------------------------------------------------------ values

    def value(self, value: Value, scope: Scope) -> Value:
        """The loop-level scalar or vector that stands for a kernel's scalar."""
        found = scope.find("values", value)
        if found is None:
            expr = scope.find("exprs", value)
            assert expr is not None, f"{value} is not computed yet"
            found = scope.values[value] = self.materialise(expr)
        return found

    def expr(self, value: Value, scope: Scope) -> Dim:
        """A kernel's i64 as an expression over loop-level values."""
        found = scope.find("exprs", value)
        if found is not None:
            return found
        known = scope.find("values", value)
        assert known is not None, f"{value} is not computed yet"
        return of_atom(Var(known))

    def apply(self, dim: Dim, operands: Sequence[Value], scope: Scope) -> Dim:
        """`dim` with the operands' expressions in place of its slots."""

        def replace(atom: Atom) -> Dim:
            if isinstance(atom, Slot):
                return self.expr(operands[atom.position], scope)
            return of_atom(atom)

        return substitute(dim, replace)

    def all_widened(self, values: Sequence[Value], scope: Scope) -> list[Value]:
        """The values as vectors where the scope has a vector axis (for what loops carry)."""
        vector = scope.vector
        return list(values) if vector is None else [self.widen(v, vector.lanes) for v in values]

    def _constant(self, node: Node, scope: Scope) -> None:
        literal = node.attrs["value"]
        if node.results[0].type is INDEX:
            scope.exprs[node.results[0]] = int(literal.array)
        else:
            scope.values[node.results[0]] = self.emit("constant", value=literal)

    # ------------------------------------------------------------------ memory

    def scratch(self, shape: tuple[Dim, ...], dtype: DType, scope: Scope) -> Scratch:
        """Memory for a row value of the scope's lanes."""
        lanes = (scope.vector.lanes,) if scope.vector else ()
        return Scratch(self.alloc((product(shape), *lanes), dtype), shape, scope.vector)

    def _load(self, node: Node, scope: Scope) -> Value:
        index = tuple(self.apply(d, node.operands, scope) for d in node.attrs["index"])
        guard = self._guard(node, scope)
        row = scope.find("rows", node.operands[0])
        if row is not None:
            return self.read_row(row, index, scope, guard)
        buffer, offset = self.place(node.operands[0], index, scope)
        return self.read(buffer, offset, scope, guard)

    def _guard(self, node: Node, scope: Scope) -> Value | None:
        """The condition of an access, where it has one that may not hold."""
        if not node.attrs.get("guarded") or scope.find("holding", node.operands[-1]):
            return None
        return self.value(node.operands[-1], scope)

    def place(self, buffer: Value, index: Sequence[Dim], scope: Scope) -> tuple[Value, Dim]:
        """The loop-level buffer and flat offset of an access to a buffer of the kernel."""
        found, start = scope.find("buffers", buffer)
        return found, start + flat_offset(buffer.type, index)

    def read_row(
        self, row: Row, index: tuple[Dim, ...], scope: Scope, guard: Value | None = None
    ) -> Value:
        """The element of a row value at `index`."""
        if isinstance(row, Scratch):
            return self.read(row.buffer, row_offset(row, index), scope, guard)
        if isinstance(row, Here):
            return row.value
        assert isinstance(row, Inline), "prefixes are read by one loop, along with which they come"
        inner = scope.inner()
        body = row.node.regions[0]
        inner.exprs.update(zip(axes(row.node)[0], index, strict=True))
        assert guard is None, "a row that is computed again is not read under a guard"
        self.run_nodes(body, inner)
        return self.value(body.yields[row.result], inner)

    def read(self, buffer: Value, offset: Dim, scope: Scope, guard: Value | None = None) -> Value:
        """The element at a flat offset: a scalar where no lane differs, else a vector."""
        vector = scope.vector
        stride = lane_stride(offset, vector)
        if stride == 0 and (guard is None or not guard.type.shape):
            return self.access("load", (buffer,), offset, guard=guard)
        assert vector is not None
        known = None if guard is not None else self._pattern(buffer, offset, vector)
        single = guard if guard is not None and vector.mask is None else None
        single = single if single is not None and not single.type.shape else None
        guard = self._masked(guard, vector)
        if not buffer.type.shape:
            return self._read_single(buffer, guard)
        if stride == 1:
            start = offset - of_atom(Var(vector.iota))
            if single is not None and patterns.holds(buffer, vector.lanes):
                return self._read_or_not(buffer, start, vector, single)
            return self.access("load", (buffer,), start, lanes=vector.lanes, guard=guard)
        if stride == REVERSIBLE:
            start = offset + of_atom(Var(vector.iota)) - (vector.lanes - 1)
            found = self.access(
                "load", (buffer,), start, lanes=vector.lanes, guard=guard and self.reverse(guard)
            )
            return self.reverse(found)
        if known is not None:
            return patterns.read(self, buffer, *known, guard)
        return self.access("load", (buffer,), self._spread(offset, vector), guard=guard)

    def write(
        self, buffer: Value, offset: Dim, value: Value, scope: Scope, guard: Value | None = None
    ) -> None:
        """Stores a scalar or vector at a flat offset."""
        vector = scope.vector
        stride = lane_stride(offset, vector)
        if stride == 0 and not value.type.shape and (guard is None or not guard.type.shape):
            self.access("store", (buffer, value), offset, guard=guard)
            return
        assert vector is not None
        value = self.widen(value, vector.lanes)
        known = None
        if guard is None and self.target.masks and value.type.dtype.itemsize >= NARROWEST:
            known = self._pattern(buffer, offset, vector, distinct=True)
        guard = self._masked(guard, vector)
        if not buffer.type.shape:
            self._write_single(buffer, value, guard, vector)
        elif stride == 1:
            start = offset - of_atom(Var(vector.iota))
            self.access("store", (buffer, value), start, lanes=vector.lanes, guard=guard)
        elif stride == REVERSIBLE:
            start = offset + of_atom(Var(vector.iota)) - (vector.lanes - 1)
            self.access(
                "store", (buffer, self.reverse(value)), start, lanes=vector.lanes,
                guard=guard and self.reverse(guard),
            )  # fmt: skip
        elif known is not None:
            patterns.write(self, buffer, *known, value, guard)
        else:
            self.access("store", (buffer, value), self._spread(offset, vector), guard=guard)

    def _read_or_not(self, buffer: Value, start: Dim, vector: Vector, guard: Value) -> Value:
        """A whole vector if a condition holds that all lanes share, else zeros. Then the vector at
        the buffer's begin is read, over and over: under a mask the processor would still fetch
        what lies at `start`, or find that there is nothing."""
        place = self.emit("where", guard, self.materialise(start), self.integer(0))
        found = self.access("load", (buffer,), of_atom(Var(place)), lanes=vector.lanes)
        zero = self.emit("constant", value=Literal(np.zeros((), buffer.type.dtype.numpy)))
        return self.emit("where", *self.same_lanes([guard, found, zero]))

    def _read_single(self, buffer: Value, guard: Value | None) -> Value:
        """The element of a 0-d buffer, which is always there; 0 in lanes without the guard."""
        found = self.access("load", (buffer,), 0)
        if guard is None:
            return found
        zero = Literal(np.zeros((), buffer.type.dtype.numpy))
        return self.emit(
            "where", *self.same_lanes([guard, found, self.emit("constant", value=zero)])
        )

    def _write_single(
        self, buffer: Value, value: Value, guard: Value | None, vector: Vector
    ) -> None:
        """Stores the lane with the guard (there is one at most) to a 0-d buffer."""
        for lane in range(vector.lanes):
            holds = guard and self.emit("extract", guard, lane=lane)
            self.access("store", (buffer, self.emit("extract", value, lane=lane)), 0, guard=holds)

    def _store(self, node: Node, scope: Scope) -> None:
        index = tuple(self.apply(d, node.operands, scope) for d in node.attrs["index"])
        guard = self._guard(node, scope)
        buffer, offset = self.place(node.operands[0], index, scope)
        value = self.value(node.operands[1], scope)
        if node.op.name == "atomic":
            # One task runs such a kernel, and no two lanes meet: a plain read, join and write.
            before = self.read(buffer, offset, scope, guard)
            value = self.emit(node.attrs["combine"], *self.same_lanes([before, value]))
        self.write(buffer, offset, value, scope, guard)

    def _masked(self, guard: Value | None, vector: Vector) -> Value | None:
        guard = guard and self.widen(guard, vector.lanes)
        if guard is None or vector.mask is None:
            return guard or vector.mask
        return self.emit("bit_and", guard, vector.mask)

    def _pattern(
        self, buffer: Value, offset: Dim, vector: Vector, distinct: bool = False
    ) -> tuple[Dim, patterns.Pattern, int] | None:
        """(base, distances of the lanes, lanes of a register) of an access that a few whole
        vectors and shuffles serve better than a gather or scatter; else None. The `distinct` have
        no two lanes at one element, and so have those under a mask."""
        if lane_stride(offset, vector) in (0, 1, REVERSIBLE) or not buffer.type.shape:
            return None
        found = patterns.lane_pattern(offset, vector.iota, vector.lanes)
        native = min(self.target.lanes(buffer.type.dtype), vector.lanes)
        distinct = distinct or vector.mask is not None
        if found is None or not patterns.is_close(found[1], native, distinct):
            return None
        return *found, native

    def _spread(self, offset: Dim, vector: Vector) -> Dim:
        """`offset` with a lane in it: a uniform one is splatted."""
        if lane_stride(offset, vector) == 0:
            return of_atom(Var(self.widen(self.materialise(offset), vector.lanes)))
        return offset

    # ------------------------------------------------------------------ partial results

    def combine(
        self,
        region: Region,
        left: Sequence[Value],
        right: Sequence[Value],
        scope: Scope,
        ascending: Container[int] = (),
    ) -> list[Value]:
        """Two partial results joined by a reduction's combine region, lane by lane. Of the members
        with numbers in `ascending` the left one is known to be smaller."""
        inner = scope.inner()
        inner.values.update(zip(region.params, (*left, *right), strict=True))
        if not (self.target.fma and is_sum(region)):
            for node in region.nodes:
                if any(k in ascending for k in ordered_members(node, region)):
                    true = Literal(np.bool_(True))
                    inner.values[node.results[0]] = self.emit("constant", value=true)
                else:
                    self.node(node, inner)
            return [self.value(v, inner) for v in region.yields]
        sums = []
        for total, element in zip(left, right, strict=True):
            pair = factors(element)
            name, operands = ("fma", pair) if pair else ("add", (element,))
            sums.append(self.emit(name, *self.same_lanes([*operands, total])))
        return sums


def row_offset(row: Scratch, index: Sequence[Dim]) -> Dim:
    """The flat offset in a row's memory."""
    flat: Dim = 0
    for extent, i in zip(row.shape, index, strict=True):
        flat = flat * extent + i
    if row.vector is not None:
        flat = flat * row.vector.lanes + of_atom(Var(row.vector.iota, row.vector.lanes))
    return flat


def lane_stride(offset: Dim, vector: Vector | None) -> Dim | None:
    """How far apart two neighbouring lanes are: 0 for a uniform offset, None if no constant."""
    if vector is None:
        return 0
    others = (a for a in atoms(offset) if isinstance(a, Var) and a.value is not vector.iota)
    return None if any(a.value.type.shape for a in others) else coefficient(offset, vector.iota)
