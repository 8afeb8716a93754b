"""`row` and nested `for` and `parallel` as loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ....ir.access import axes
from ....ir.dims import Dim, Var, of_atom, product
from ....ir.graph import Node, Value
from .loops import Carried, for_each, native_lanes, vector_loop
from .prefixes import run_prefixes
from .scope import Expander, Here, Inline, Late, Row, Scope, Scratch, row_offset


def expand_parallel(expander: Expander, scope: Scope, node: Node) -> None:
    """Loops over the points; prefixes that are computed where they are read come along."""
    late = next((r for r in read_rows(node, scope) if isinstance(r, Late)), None)
    if late is None:
        for_each(expander, scope, node, lambda inner: expander.run_nodes(node.regions[0], inner))
        return
    axis = axes(node)[0][0]

    def visit(inner: Scope, index: Dim, prefix: Sequence[Value]) -> None:
        inner.exprs[axis] = index
        inner.rows.update((v, Here(p)) for v, p in zip(late.node.results, prefix, strict=True))
        expander.run_nodes(node.regions[0], inner)

    run_prefixes(expander, scope, late.node, visit)


def read_rows(node: Node, scope: Scope) -> Iterator[Row]:
    """The rows that the regions of `node` load, through those that are computed where read."""
    for inner in (n for region in node.regions for n in region.walk()):
        row = scope.find("rows", inner.operands[0]) if inner.op.name == "load" else None
        if row is None:
            continue
        yield row
        if isinstance(row, Inline):
            yield from read_rows(row.node, scope)


def expand_row(expander: Expander, scope: Scope, node: Node) -> None:
    """Nothing now, if the elements are computed where they are read; else loops that fill
    scratch memory."""
    if expander.nests[node].recompute:
        scope.rows.update((value, Inline(node, k)) for k, value in enumerate(node.results))
        return
    held = [expander.scratch(v.type.shape, v.type.dtype, scope) for v in node.results]
    scope.rows.update(zip(node.results, held, strict=True))

    def fill(inner: Scope) -> None:
        index = [expander.expr(axis, inner) for axis in axes(node)[0]]
        for row, value in zip(held, expander.run(node.regions[0], inner), strict=True):
            expander.write(row.buffer, row_offset(row, index), value, inner)

    for_each(expander, scope, node, fill)


def expand_for(expander: Expander, scope: Scope, node: Node) -> None:
    """A sequential loop of the kernel."""
    carries, body = node.attrs["carries"], node.regions[0]
    lo, hi = (expander.apply(node.attrs[name], node.operands, scope) for name in ("lo", "hi"))
    start = [expander.value(v, scope) for v in node.operands[:carries]]

    def turn(variable: Value, carried: Carried) -> Sequence[Value]:
        inner = scope.inner()
        inner.exprs[body.params[0]] = of_atom(Var(variable))
        inner.values.update(zip(body.params[1:], carried, strict=True))
        return expander.all_widened(expander.run(body, inner), scope)

    end = expander.loop(lo, hi, node.attrs["step"], expander.all_widened(start, scope), turn)
    scope.values.update(zip(node.results, end, strict=True))


def copy_row(expander: Expander, scope: Scope, source: Row, target: Scratch) -> None:
    """Copies a row value, element by element in order of its axes."""
    size = product(target.shape)

    def copy(inner: Scope, flat: Dim, _: Carried) -> Sequence[Value]:
        index = _index_of(target.shape, flat)
        value = expander.read_row(source, index, inner)
        expander.write(target.buffer, row_offset(target, index), value, inner)
        return ()

    if scope.vector is None:
        lanes = native_lanes(expander, target.buffer.type.dtype)
        vector_loop(expander, scope, size, lanes, 0, size, copy)
        return
    expander.loop(0, size, 1, (), lambda i, _: copy(scope.inner(), of_atom(Var(i, size)), []))


def _index_of(shape: Sequence[Dim], flat: Dim) -> tuple[Dim, ...]:
    index: list[Dim] = []
    for extent in reversed(shape[1:]):
        index.insert(0, flat % extent)
        flat = flat // extent
    return (flat, *index)
