"""From a group of nodes to the kernel that computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ...ir.dims import Dim, atoms
from ...ir.graph import Graph, Node, Region, Value
from ...ir.types import tensor_type
from .attention import write_attention
from .groups import Form, Group, Index, Store, folded_axes, keeps_shape, rename
from .rows import buffer_rows, computed_rows
from .writer import Writer, wide_dtype

Rows = Mapping[Value, tuple[int, ...]]
Body = Callable[[Writer, Group, Sequence[Value]], None]


def build_kernel(group: Group, name: str) -> tuple[Graph, list[Value]]:
    """The kernel of `group`, and the values of the program that it takes, in order.

    Its out parameters are the group's roots, in order.
    """
    if group.form is Form.CONTRACT:
        return _write(group, name, {}, _contract)
    if group.form is Form.ATTEND:
        return _write(group, name, {}, write_attention)
    if group.form is Form.SCATTER:
        return _write(group, name, {}, _scatter)
    prefixes = {node.results[0]: folded_axes(node) for node in group.members if keeps_shape(node)}
    rows = {**computed_rows(group), **prefixes}
    draft = Writer(set(group.members), rows)
    written = _written(draft, group, name, _loops)
    buffers = buffer_rows(draft)
    return _write(group, name, rows | buffers, _loops) if buffers else written


def _outs(group: Group) -> list[Value]:
    return [Value(v.type, name=f"out{i}") for i, (v, _) in enumerate(group.roots)]


def _write(group: Group, name: str, rows: Rows, body: Body) -> tuple[Graph, list[Value]]:
    return _written(Writer(set(group.members), rows), group, name, body)


def _written(writer: Writer, group: Group, name: str, body: Body) -> tuple[Graph, list[Value]]:
    outs = _outs(group)
    body(writer, group, outs)
    params = (*writer.buffers.values(), *outs)
    kernel = Graph(name, params, tuple(writer.scopes[0].nodes), (), level="kernel", outs=len(outs))
    return kernel, list(writer.buffers)


# Loops and rows ------------------------------------------------------------------------------


def _loops(writer: Writer, group: Group, outs: Sequence[Value]) -> None:
    """parallel rows { what a row has one of; parallel within { the rest } }."""
    rows = group.rows or (1,)
    with writer.scope(0, rows) as (outer, params, axes):
        outer_axes = axes if group.rows else ()
        inner = [a for a in range(len(group.extents)) if a in group.reduced]
        within: list[tuple[Value, Store]] = []
        for out, store in _stores(group, outs):
            if _depends_on(store.at, [group.axes[a] for a in inner]):
                within.append((out, store))
            else:
                _store(writer, out, store, group.row_index, outer_axes)
        if within:
            extents = [group.extents[a] for a in inner]
            with writer.scope(1, extents) as (scope, inner_params, inner_axes):
                full = _interleave(outer_axes, inner_axes, inner)
                for out, store in within:
                    _store(writer, out, store, group.axes, full)
                region = Region(inner_params, tuple(scope.nodes))
            writer.emit("parallel", (), {"extents": tuple(extents)}, (region,))
        region = Region(params, tuple(outer.nodes))
    writer.emit("parallel", (), {"extents": rows}, (region,))


def _stores(group: Group, outs: Sequence[Value]) -> Iterator[tuple[Value, Store]]:
    """What each point of the group's domain stores, and the buffer."""
    for number, out in enumerate(outs):
        for store in group.stores(number):
            yield out, store


def _store(writer: Writer, out: Value, store: Store, old: Index, new: Index) -> None:
    """Stores at the point where the axes `old` are `new`."""
    index, at = rename(store.index, old, new), rename(store.at, old, new)
    writer.store(out, at, writer.at(store.value, index))


def _interleave(outer: Index, inner: Index, positions: Sequence[int]) -> Index:
    without, within = iter(outer), iter(inner)
    total = len(outer) + len(inner)
    return tuple(next(within) if a in positions else next(without) for a in range(total))


def _depends_on(place: Index, axes: Sequence[Dim]) -> bool:
    inner = {atom for axis in axes for atom in atoms(axis)}
    return any(atom in inner for dim in place for atom in atoms(dim))


# Products ------------------------------------------------------------------------------------


def _contract(writer: Writer, group: Group, outs: Sequence[Value]) -> None:
    contract = group.contract
    assert contract is not None
    node = _anchor(group)
    dtype = node.results[0].type.dtype
    acc_dtype = wide_dtype(dtype)
    batch, m, n, k = contract.batch, contract.m or (1,), contract.n or (1,), contract.k or (1,)
    ranks = len(contract.m), len(contract.n), len(contract.k)

    with writer.scope(0, batch + m + k) as (scope, params, axes):
        b, mm, kk = _split(axes, batch, m)
        pieces = contract.lhs(b, mm[: ranks[0]], kk[: ranks[2]])
        element = writer.pieces(node.operands, pieces, dtype, None)
        lhs = Region(params, tuple(scope.nodes), (element,))
    with writer.scope(0, batch + k + n) as (scope, params, axes):
        b, kk, nn = _split(axes, batch, k)
        pieces = contract.rhs(b, kk[: ranks[2]], nn[: ranks[1]])
        element = writer.pieces(node.operands, pieces, dtype, None)
        rhs = Region(params, tuple(scope.nodes), (element,))
    with writer.scope(0, batch + m + n) as (scope, params, axes):
        acc = Value(tensor_type(acc_dtype, ()), name="acc")
        writer.depths[acc] = scope.depth
        b, mm, nn = _split(axes, batch, m)
        axes = (*b, *mm[: ranks[0]], *nn[: ranks[1]])
        place = rename(group.place[node.results[0]], group.axes, axes)
        writer.given[node.results[0], place] = writer.cast(acc, dtype)
        for out, (value, index) in zip(outs, group.roots, strict=True):
            index = rename(index, group.axes, axes)
            writer.store(out, index, writer.at(value, index))
        out_region = Region((*params, acc), tuple(scope.nodes))
    attrs = {"batch": batch, "m": m, "n": n, "k": k, "dtype": dtype, "acc": acc_dtype}
    writer.builder.line = node.line
    writer.emit("contract", (), attrs, (lhs, rhs, out_region))


def _split(axes: Index, first: Index, second: Index) -> tuple[Index, Index, Index]:
    a, b = len(first), len(first) + len(second)
    return axes[:a], axes[a:b], axes[b:]


def _anchor(group: Group) -> Node:
    """The contraction that the group is built around."""
    return next(n for n in group.members if n.op.contract_map is not None)


# Scatter -------------------------------------------------------------------------------------


def _scatter(writer: Writer, group: Group, outs: Sequence[Value]) -> None:
    """Copies the base, then writes the updates one index after the other: at each point of the axes
    that are not indexed, where there are any, since these do not meet."""
    (node,) = (n for n in group.members if n.results[0] in group.place)
    base, indices, updates = node.operands
    (out,) = outs
    indexed_map = node.op.indexed_map
    assert indexed_map is not None
    shape, first = updates.type.shape, node.attrs["axis"]
    end = first + indices.type.ndim
    apart = shape[:first] + shape[end:]

    def body(writer: Writer, axes: Index) -> None:
        with writer.scope(len(writer.scopes) - 1, base.type.shape[first : first + 1]) as opened:
            scope, params, (row,) = opened
            index = (*axes[:first], row, *axes[first:])
            writer.store(out, index, writer.at(base, index))
            copy = Region(params, tuple(scope.nodes))
        writer.emit("parallel", (), {"extents": base.type.shape[first : first + 1]}, (copy,))
        with writer.sequential(shape[first:end]) as numbers:
            index = (*axes[:first], *numbers, *axes[first:])
            where = indexed_map([o.type for o in node.operands], node.attrs, index)
            writer.scatter(out, node, where, writer.at(updates, index))

    if not apart:
        body(writer, ())
        return
    with writer.scope(0, apart) as (scope, params, axes):
        body(writer, axes)
        whole = Region(params, tuple(scope.nodes))
    writer.emit("parallel", (), {"extents": apart}, (whole,))
