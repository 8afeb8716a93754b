"""Writes the body of a kernel: any element of any tensor value, where its index is known.

`Writer.at(value, index)` emits the scalar that stands at `index` of a tensor value. It reads only
kinds and index maps, so that a new op of a known kind needs nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...ir.dims import Dim, Var, lower, nonnegative, of_atom, product, upper
from ...ir.dtypes import DType, f32, i32, i64
from ...ir.graph import Node, Region, Value
from ...ir.ops.base import IndexedMap, Kind, Piece
from ...ir.ops.reduction import kept_axes
from ...ir.types import TensorType
from .groups import in_block, keeps_shape
from .scopes import Index, Scopes


class Writer(Scopes):
    """The elements of one kernel.

    Args:
        members: the nodes that the kernel computes; every other value is read from a buffer, but
            views and counting sources, which are read through.
        rows: values to keep row-local: (value) -> its axes that run within a row.

    Attributes:
        given: what a product hands to its `out` region.
        reads: for each value (serial number of the scope, index, depth, guarded) of each read.
    """

    def __init__(self, members: set[Node], rows: Mapping[Value, tuple[int, ...]]) -> None:
        super().__init__()
        self.members = members
        self.rows = rows
        self.given: dict[tuple[Value, Index], Value] = {}
        self.reads: dict[Value, list[tuple[int, Index, int, bool]]] = {}
        self._writing_row: set[Value] = set()

    # Elements ------------------------------------------------------------------------------

    def at(self, value: Value, index: Index, guard: Value | None = None) -> Value:
        """The scalar at `index` of the tensor `value`.

        Where `guard` is false the result is unspecified, and no memory is touched.
        """
        if guard is not None and within(index, value.type.shape):
            guard = None  # it is there anyway: one element, whoever reads it and when
        if value in self.rows and value not in self._writing_row:
            return self.row_element(value, index, guard)
        if (value, index) in self.given:
            return self.given[value, index]
        depth = self.depth_of(index, guard)
        memo = self.scopes[depth].memo
        key = (value, index, guard)
        found = memo.get(key)
        if found is None:
            read = (self.scopes[depth].serial, index, depth, guard is not None)
            self.reads.setdefault(value, []).append(read)
            self.builder.line = value.node.line if value.node is not None else self.builder.line
            found = self.element(value, index, guard)
            memo[key] = found
        return found

    def element(self, value: Value, index: Index, guard: Value | None) -> Value:
        node = value.node
        if node is None:
            return self.load(self.buffer(value), index, guard)
        if node.op.kind is Kind.VIEW:
            assert node.op.index_map is not None
            pieces = node.op.index_map([o.type for o in node.operands], node.attrs, index)
            return self.pieces(node.operands, pieces, value.type.dtype, guard)
        if node.op.element is not None:
            return self.counted(node, index, value.type.dtype)
        if is_number(node):
            number = node.attrs["value"].array.reshape(())
            return self.constant(number, value.type.dtype, self.depth_of(index))
        if node not in self.members:
            return self.load(self.buffer(value), index, guard)
        if node.op.kind is Kind.ELEMENTWISE:
            operands = [self.at(o, index, guard) for o in node.operands]
            depth = self.depth_of((), *operands)
            self.builder.line = node.line
            return self.emit(node.op, operands, node.attrs, depth=depth)
        if node.op.kind is Kind.REDUCTION:
            return self.reduction(node, index, guard)
        if keeps_shape(node):
            raise AssertionError(f"what {node.op.name} gives is a row value")
        assert node.op.indexed_map is not None, f"{node.op.name} has no element of its own"
        return self.gathered(node, index, guard)

    def counted(self, node: Node, index: Index, dtype: DType) -> Value:
        assert node.op.element is not None
        expr = node.op.element(node.attrs, index)
        depth = self.depth_of((expr,))

        def make() -> Value:
            number = self.integer(expr, depth)
            if dtype is i64:
                return number
            return self.emit("cast", (number,), {"dtype": dtype}, depth=depth)

        return self.cached(("integer", expr, dtype), depth, make)

    def gathered(self, node: Node, index: Index, guard: Value | None) -> Value:
        where = node.op.indexed_map([o.type for o in node.operands], node.attrs, index)  # type: ignore[misc]
        found = self.at(node.operands[where.indices[0]], where.indices[1], guard)
        if found.type.dtype is not i64:
            depth = self.depth_of((), found)
            found = self.emit("cast", (found,), {"dtype": i64}, depth=depth)
        place = of_atom(Var(found))
        inside = self.inside(place, where.size, guard)
        return self.at(node.operands[where.source[0]], where.source[1](place), inside)

    def pieces(
        self, operands: Sequence[Value], pieces: Sequence[Piece], dtype: DType, guard: Value | None
    ) -> Value:
        """The element that the first piece whose conditions hold gives."""
        branches: list[tuple[Value | None, Piece]] = []
        for piece in pieces:
            holds: Value | None = None
            possible = True
            for relation, expr in piece.conditions:
                known = self.condition(relation, expr)
                if isinstance(known, bool):
                    possible = possible and known
                else:
                    holds = self.both(holds, known)
            if possible:
                branches.append((holds, piece))
            if possible and holds is None:
                break
        elements: list[Value] = []
        outside = guard  # holds where no earlier piece applies
        for holds, piece in branches:
            if piece.operand < 0:
                elements.append(self.constant(0, dtype, 0))
                continue
            operand = operands[piece.operand]
            safe = holds is None and within(piece.index, operand.type.shape)
            inside = guard if safe else self.both(outside, holds)
            elements.append(self.at(operand, piece.index, inside))
            if holds is not None and piece is not branches[-1][1]:
                outside = self.both(outside, self.negation(holds))
        result: Value | None = None
        for (holds, _), element in zip(reversed(branches), reversed(elements), strict=True):
            if result is None:
                result = element
                continue
            assert holds is not None
            depth = self.depth_of((), holds, element, result)
            result = self.emit("where", (holds, element, result), depth=depth)
        assert result is not None
        return result

    # Scattering ----------------------------------------------------------------------------

    def scatter(self, out: Value, node: Node, where: IndexedMap, element: Value) -> None:
        """Sets or combines `element` at the place that the index operand names, if it is inside."""
        found = self.cast(self.at(node.operands[where.indices[0]], where.indices[1]), i64)
        position = of_atom(Var(found))
        inside = self.inside(position, where.size, None)
        place = where.source[1](position)
        if node.attrs["combine"] != "set":
            joined = (self.fresh_load(out, place, inside), element)
            element = self.emit(node.attrs["combine"], joined)
        operands, slotted = self.slots(place, 2)
        attrs = {"index": slotted, "guarded": True}
        self.emit("store", [out, element, *operands, inside], attrs)

    # Reductions ----------------------------------------------------------------------------

    def reduction(self, node: Node, index: Index, guard: Value | None) -> Value:
        """A `reduce` over the node's axes at the kept `index`."""
        (source,) = node.operands
        axes = tuple(node.attrs["axes"])
        kept = kept_axes(source.type.ndim, axes)
        extents = tuple(source.type.shape[a] for a in axes)
        depth = max(self.depth_of(index, guard), 1)
        monoid = node.op.monoid
        assert monoid is not None
        wide = wide_dtype(source.type.dtype)
        inits = [self.constant(monoid.identity(wide), wide, depth)]
        counter = counter_dtype(extents)
        with self.scope(depth, extents) as (scope, params, inner):
            place: list[Dim] = [0] * source.type.ndim
            for axis, dim in (*zip(kept, index, strict=True), *zip(axes, inner, strict=True)):
                place[axis] = dim
            element = self.cast(self.at(source, tuple(place), guard), wide)
            yields = [element]
            if monoid.arg:
                position: Dim = 0
                for extent, dim in zip(extents, inner, strict=True):
                    position = position * extent + dim
                yields.append(self.cast(self.integer(position, scope.depth), counter))
            body = Region(params, tuple(scope.nodes), tuple(yields))
        if monoid.arg:  # where no element is better than the neutral one, the first is it
            inits.append(self.constant(0, counter, depth))
        types = [v.type for v in inits]
        region = self.combine_arg if monoid.arg else self.combine
        combine = region(monoid.combine, types)
        self.builder.line = node.line
        result = self.emit("reduce", inits, {"extents": extents}, (body, combine), depth=depth)
        found = result[1] if monoid.arg else result
        return self.cast(found, node.results[0].type.dtype)

    def combine(self, name: str, types: Sequence[TensorType]) -> Region:
        """The region (a, b) -> name(a, b)."""
        with self.scope(len(self.scopes) - 1, ()) as (scope, _, _):
            a, b = Value(types[0]), Value(types[0])
            self.depths[a] = self.depths[b] = scope.depth
            joined = self.emit(name, (a, b))
            return Region((a, b), tuple(scope.nodes), (joined,))

    def combine_arg(self, better: str, types: Sequence[TensorType]) -> Region:
        """Keeps the (value, position) to be preferred: NaN, then `better`, then the first.

        The order of the positions is asked once, so that little is left where it is known.
        """
        with self.scope(len(self.scopes) - 1, ()) as (scope, _, _):
            params = tuple(Value(types[i % 2]) for i in range(4))
            a, i, b, j = params
            for p in params:
                self.depths[p] = scope.depth
            a_first = self.as_good(better, a, b)
            b_first = self.emit("bit_not", (self.as_good(better, b, a),))
            wins = self.emit("where", (self.emit("lt", (i, j)), a_first, b_first))
            value = self.emit("where", (wins, a, b))
            position = self.emit("where", (wins, i, j))
            return Region(params, tuple(scope.nodes), (value, position))

    def as_good(self, better: str, a: Value, b: Value) -> Value:
        """Whether `a` is to be preferred where it comes first."""
        good = self.emit({"gt": "ge", "lt": "le"}[better], (a, b))
        if not a.type.dtype.is_float:
            return good
        return self.emit("bit_or", (self.emit("ne", (a, a)), good))

    # Row values ----------------------------------------------------------------------------

    def row_element(self, value: Value, index: Index, guard: Value | None) -> Value:
        """An element of a value that is kept row-local: writes the row at its first use."""
        inner = self.rows[value]
        outer = tuple(d for a, d in enumerate(index) if a not in inner)
        depth = max(self.depth_of(outer), 1)
        row = self.cached(("row", value, outer), depth, lambda: self.write_row(value, outer, depth))
        within = tuple(index[a] for a in inner)
        at_depth = self.depth_of(within, guard)
        key = ("row element", value, outer, within, guard)
        return self.cached(key, max(depth, at_depth), lambda: self.load(row, within, guard))

    def write_row(self, value: Value, outer: Index, depth: int) -> Value:
        inner = self.rows[value]
        extents = tuple(value.type.shape[a] for a in inner)
        node = value.node
        if node is not None and node in self.members and node.op.kind is Kind.CUMULATIVE:
            return self.write_prefixes(node, outer, depth)
        if node is not None and node in self.members and in_block(node):
            return self.write_order(node, outer, depth)
        with self.scope(depth, extents) as (scope, params, axes):
            self._writing_row.add(value)
            element = self.at(value, self.join(value, outer, axes))
            self._writing_row.discard(value)
            body = Region(params, tuple(scope.nodes), (element,))
        return self.emit("row", (), {"extents": extents}, (body,), depth=depth)

    def write_prefixes(self, node: Node, outer: Index, depth: int) -> Value:
        (source,), (value,) = node.operands, node.results
        monoid = node.op.monoid
        assert monoid is not None
        wide = wide_dtype(source.type.dtype)
        extents = tuple(source.type.shape[a] for a in self.rows[value])
        with self.scope(depth, extents) as (scope, params, axes):
            element = self.cast(self.at(source, self.join(value, outer, axes)), wide)
            body = Region(params, tuple(scope.nodes), (element,))
        init = self.constant(monoid.identity(wide), wide, depth)
        combine = self.combine(monoid.combine, [init.type])
        attrs = {"extents": extents, "reverse": node.attrs["reverse"]}
        self.builder.line = node.line
        result = self.emit("cumulate", (init,), attrs, (body, combine), depth=depth)
        if wide is value.type.dtype:
            return result
        with self.scope(depth, extents) as (scope, params, axes):
            narrow = self.cast(self.load(result, axes), value.type.dtype)
            body = Region(params, tuple(scope.nodes), (narrow,))
        return self.emit("row", (), {"extents": extents}, (body,), depth=depth)

    def write_order(self, node: Node, outer: Index, depth: int) -> Value:
        (source,), (value,) = node.operands, node.results
        extents = tuple(source.type.shape[a] for a in self.rows[value])
        with self.scope(depth, extents) as (scope, params, axes):
            element = self.at(source, self.join(value, outer, axes))
            body = Region(params, tuple(scope.nodes), (element,))
        self.builder.line = node.line
        return self.emit("arrange", (), {"extents": extents}, (body,), depth=depth)

    def join(self, value: Value, outer: Index, inner: Index) -> Index:
        """The full index of `value` from its outer and its within-row parts."""
        within, without = iter(inner), iter(outer)
        axes = self.rows[value]
        return tuple(next(within) if a in axes else next(without) for a in range(value.type.ndim))


def within(index: Index, shape: Sequence[Dim]) -> bool:
    """Whether `index` provably lies in `shape`."""
    for dim, size in zip(index, shape, strict=True):
        low, high = lower(dim), upper(dim)
        if low is None or high is None or not (nonnegative(low) and nonnegative(size - 1 - high)):
            return False
    return True


def counter_dtype(extents: Sequence[Dim]) -> DType:
    """What counts the points of `extents`: as narrow as is known to be enough, since positions are
    kept beside vectors of elements."""
    size = product(extents)
    return i32 if isinstance(size, int) and size <= np.iinfo(np.int32).max else i64


def is_number(node: Node) -> bool:
    """Whether `node` is a constant of one element, which a kernel carries in its text."""
    return (
        node.op.kind is Kind.SOURCE
        and "value" in node.attrs
        and node.attrs["value"].array.size == 1
    )


def wide_dtype(dtype: DType) -> DType:
    """What sums of `dtype` are carried in."""
    return f32 if dtype.is_low_precision else dtype
