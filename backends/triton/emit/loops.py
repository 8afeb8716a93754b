"""Nodes with regions: what runs over the points of an axis, in one block or block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ....ir.access import axes, unflatten
from ....ir.block_schedule import BlockNest
from ....ir.dims import Dim, Var, of_atom, product
from ....ir.graph import Node, Region, Value
from ....ir.ops.kernel import INDEX
from ....ir.sugar import combine_ops
from .emitter import Emitter
from .scope import Axis, Here, Inline, Kept, Late, Scope
from .text import Block, Writer


def axis_exprs(node: Node, nest: BlockNest, variables: Sequence[Dim]) -> dict[Value, Dim]:
    """The axes of a node as expressions over the flat index of each of its groups."""
    params, extents = axes(node)
    found: dict[Value, Dim] = dict.fromkeys(params, 0)
    for group, flat in zip(nest.groups, variables, strict=True):
        for axis, expr in unflatten(group, extents, flat).items():
            found[params[axis]] = expr
    return found


def arange(size: int, position: int) -> str:
    """0, 1, .. along dimension `position` of blocks."""
    text = f"tl.arange(0, {size})"
    return f"{text}[{', '.join(['None'] * position + [':'])}]" if position else text


def open_axis(
    e: Emitter, scope: Scope, extent: Dim, size: int, start: str | None, hint: str
) -> tuple[Axis, Block]:
    """A new last dimension: the elements from `start` (None: 0) on, and their indices."""
    known = (extent, size, scope.depth)
    if start is None and (found := scope.find("lines", known)) is not None:
        return found
    shape = (1,) * scope.depth + (size,)
    counted = arange(size, scope.depth)
    index = Block(e.w.let(hint, counted if start is None else f"{start} + {counted}"), shape)
    mask = None
    if not (isinstance(extent, int) and extent % size == 0):
        bound = e.number(extent, scope).text
        mask = Block(e.w.let(f"{hint}_in", f"{index.text} < {bound}"), shape)
    axis = Axis(Value(INDEX), size, mask, start is None)
    if start is None:
        scope.lines[known] = axis, index
    return axis, index


@contextmanager
def opened(e: Emitter, scope: Scope, node: Node, backwards: bool = False) -> Iterator[Scope]:
    """The scope of the body of an inner node, inside a loop where its nest says so; from the last
    block to the first if `backwards`."""
    nest = e.nests[node]
    extents = axes(node)[1]
    if not nest.groups:
        inner = scope.inner()
        inner.exprs.update(axis_exprs(node, nest, ()))
        yield inner
        return
    extent, size = product(extents), nest.block[0]
    hint = axes(node)[0][0].name or "j"
    if not nest.walk:
        yield _entered(e, scope, node, None)
        return
    step = e.w.fresh(f"{hint}0" if size > 1 else hint)
    with e.w.indented(f"for {step} in range(0, {e.number(extent, scope).text}, {size})"):
        if backwards:
            last = e.number((extent - 1) // size * size, scope).text
            step = e.w.let(step, f"{last} - {step}")
        yield _entered(e, scope, node, step)


def _entered(e: Emitter, scope: Scope, node: Node, start: str | None) -> Scope:
    nest, (params, extents) = e.nests[node], axes(node)
    extent, size = product(extents), nest.block[0]
    if size == 1:
        inner, variable = scope.inner(), Value(INDEX)
        inner.values[variable] = Block(start or "0")
    else:
        axis, index = open_axis(e, scope, extent, size, start, params[0].name or "j")
        inner, variable = scope.inner(axis), axis.variable
        inner.values[variable] = index
    inner.point = of_atom(Var(variable, extent))
    inner.exprs.update(axis_exprs(node, nest, (inner.point,)))
    return inner


# ---------------------------------------------------------------------------- parallel, row


def emit_parallel(e: Emitter, scope: Scope, node: Node) -> None:
    """A `parallel` inside of a program."""
    with walked(e, scope, node) as inner:
        e.run_nodes(node.regions[0].nodes, inner)


@contextmanager
def walked(e: Emitter, scope: Scope, node: Node) -> Iterator[Scope]:
    """As `opened`, with the prefixes that the body reads and that come along with the loop."""
    late = _late(node.regions[0], scope)
    backwards = any(n.attrs["reverse"] for n in late)
    if backwards and not all(n.attrs["reverse"] for n in late):
        raise NotImplementedError("a loop that reads prefixes and suffixes of very long rows")
    before = [_start_of_prefixes(e, scope, n) for n in late]
    with opened(e, scope, node, backwards) as inner:
        for prefixes, totals in zip(late, before, strict=True):
            _prefixes_of_block(e, inner, prefixes, totals)
        yield inner


def _late(region: Region, scope: Scope) -> list[Node]:
    """The nodes whose prefixes a region reads and that come along with it, also by way of rows and
    of other prefixes; those that others read first."""
    found: dict[Node, None] = {}
    for node in region.walk():
        row = scope.find("rows", node.operands[0]) if node.op.name == "load" else None
        if isinstance(row, Inline | Late):
            found.update(dict.fromkeys(_late(row.node.regions[0], scope)))
        if isinstance(row, Late):
            found[row.node] = None
    return list(found)


def emit_row(e: Emitter, scope: Scope, node: Node) -> None:
    """A `row`: computed now and kept, or where it is read."""
    nest = e.nests[node]
    if not nest.keep:
        for number, result in enumerate(node.results):
            scope.rows[result] = Inline(node, number)
        return
    with opened(e, scope, node) as inner:
        blocks = e.run(node.regions[0], inner)
        axis = inner.open[-1]
        for value, block, result in zip(node.regions[0].yields, blocks, node.results, strict=True):
            full = e.masked(block, value, Block("0", literal=True), _unmasked(axis), inner)
            scope.rows[result] = Kept(full, node, axis)


def _unmasked(axis: Axis) -> Axis:
    return Axis(axis.variable, axis.size, None, axis.whole)


# ---------------------------------------------------------------------------- reduce


def emit_reduce(e: Emitter, scope: Scope, node: Node) -> None:
    """A `reduce`: of one block, or of accumulators that blocks are joined to."""
    nest, body = e.nests[node], node.regions[0]
    if any(v.type.shape for v in node.results):
        raise NotImplementedError("a reduction of rows")
    neutral = [e.typed(e.value(v, scope), v) for v in node.operands]
    if not nest.groups:
        with opened(e, scope, node) as inner:
            found = e.run(body, inner)
            joined = combined(e, node, neutral, found, inner)
            _bind(e, scope, node, joined)
        return
    size = nest.block[0]
    if not nest.walk:
        with opened(e, scope, node) as inner:
            axis = inner.open[-1]
            blocks = [
                e.masked(b, v, n, axis, inner)
                for b, v, n in zip(e.run(body, inner), body.yields, neutral, strict=True)
            ]
        _bind(e, scope, node, folded(e, node, blocks, scope.depth))
        return
    shape = (*scope.shape, size) if size > 1 else scope.shape
    totals = [
        Block(e.w.let(v.name or "total", _filled(n, v, shape, scope)), shape)
        for n, v in zip(neutral, node.results, strict=True)
    ]
    with walked(e, scope, node) as inner:
        found = [e.typed(b, v) for b, v in zip(e.run(body, inner), body.yields, strict=True)]
        if size > 1:
            axis = inner.open[-1]
            pairs = zip(found, body.yields, neutral, strict=True)
            found = [e.masked(b, v, n, axis, inner) for b, v, n in pairs]
        joined = combined(e, node, totals, found, inner)
        for total, new in zip(totals, _all_named(e, joined), strict=True):
            e.w.line(f"{total.text} = {new.lifted(inner.depth)}")
    _bind(e, scope, node, folded(e, node, totals, scope.depth) if size > 1 else totals)


def _all_named(e: Emitter, blocks: Sequence[Block]) -> list[Block]:
    """Names for what is assigned to several accumulators, each of which may read the others."""
    if len(blocks) == 1:
        return list(blocks)
    return [Block(e.w.let(None, b.text), b.shape) for b in blocks]


def _filled(block: Block, value: Value, shape: tuple[int, ...], scope: Scope) -> str:
    text = block.lifted(scope.depth)
    if not shape:
        return text
    if len(block.shape) < len(shape) and block.shape:
        text = block.lifted(len(shape))
    return f"tl.broadcast_to({text}, {list(shape)})"


def _bind(e: Emitter, scope: Scope, node: Node, blocks: Sequence[Block]) -> None:
    for result, block in zip(node.results, blocks, strict=True):
        scope.values[result] = e.named(result, block)


def combined(
    e: Emitter, node: Node, left: Sequence[Block], right: Sequence[Block], scope: Scope
) -> list[Block]:
    """Two partial results joined by the node's combine region, element by element."""
    region = node.regions[1]
    inner = scope.inner()
    inner.values.update(zip(region.params, (*left, *right), strict=True))
    return e.run(region, inner)


def folded(e: Emitter, node: Node, blocks: Sequence[Block], axis: int) -> list[Block]:
    """Blocks folded along their last dimension, number `axis`."""
    ops = combine_ops(node)
    if ops == ["add"] and node.results[0].type.dtype.name in ("f32", "f64", "i32", "i64"):
        return [Block(f"tl.sum({blocks[0].text}, {axis})", blocks[0].shape[:-1])]
    join = combine_function(e.w, node)
    if len(blocks) == 1:
        text = f"tl.reduce({blocks[0].text}, {axis}, {join})"
        return [Block(text, blocks[0].shape[:-1])]
    depth = len(blocks[0].shape)
    shape = tuple(max(sizes) for sizes in zip(*(b.shape_at(depth) for b in blocks), strict=True))
    members = ", ".join(_broadcast(b, shape) for b in blocks)
    text = e.w.let("folded", f"tl.reduce(({members}), {axis}, {join})")
    return [Block(f"{text}[{k}]", shape[:-1]) for k in range(len(blocks))]


def _broadcast(block: Block, shape: tuple[int, ...]) -> str:
    return block.text if block.shape == shape else f"tl.broadcast_to({block.text}, {list(shape)})"


def combine_function(writer: Writer, node: Node) -> str:
    """A function of the text that joins two partial results of a reduction."""
    region = node.regions[1]
    inside = Writer(writer.helpers)
    names = [inside.fresh(p.name or "a") for p in region.params]
    scope = Scope(None, ())
    scope.values.update((p, Block(n)) for p, n in zip(region.params, names, strict=True))
    yields = Emitter(inside, {}, {}, {}).run(region, scope)
    inside.line(f"return {', '.join(b.text for b in yields)}")
    body = "\n".join(inside.lines)
    key = hash_of(names, body)
    name = f"_combine_{key}"
    text = f"\n@triton.jit\ndef {name}({', '.join(names)}):\n{body}\n"
    return writer.helper(name, text)


def hash_of(names: Sequence[str], body: str) -> str:
    """A short name for a helper by its text, so that equal ones are written once."""
    return hashlib.sha256("\n".join((*names, body)).encode()).hexdigest()[:8]


# ---------------------------------------------------------------------------- arrange


def emit_arrange(e: Emitter, scope: Scope, node: Node) -> None:
    """The elements of a row in order; behind them the largest numbers fill the block."""
    nest, (body,), (result,) = e.nests[node], node.regions, node.results
    if nest.walk:
        raise NotImplementedError("putting rows in order that are longer than a block")
    with opened(e, scope, node) as inner:
        (block,) = e.run(body, inner)
        if not nest.groups:
            scope.rows[result] = Here(e.named(result, block))
            return
        axis, dtype = inner.open[-1], result.type.dtype
        largest = Block(str((1 << dtype.bits - 1) - 1), literal=True)
        full = e.masked(block, body.yields[0], largest, axis, inner)
        text = f"tl.sort({full.text}, {inner.depth - 1})"
        scope.rows[result] = Kept(e.named(result, Block(text, full.shape)), node, axis)


# ---------------------------------------------------------------------------- cumulate


def emit_cumulate(e: Emitter, scope: Scope, node: Node) -> None:
    """All prefixes: of one block now, of several along with the loop that reads them."""
    nest, body = e.nests[node], node.regions[0]
    if nest.walk:
        scope.rows.update((result, Late(node)) for result in node.results)
        return
    if not nest.groups:
        neutral = [e.typed(e.value(v, scope), v) for v in node.operands]
        with opened(e, scope, node) as inner:
            single = combined(e, node, neutral, e.run(body, inner), inner)
        for result, block in zip(node.results, single, strict=True):
            scope.rows[result] = Here(e.named(result, block))
        return
    with opened(e, scope, node) as inner:
        axis = inner.open[-1]
        neutral = [e.value(v, inner) for v in node.operands]
        blocks = [
            e.masked(b, v, n, axis, inner)
            for b, v, n in zip(e.run(body, inner), body.yields, neutral, strict=True)
        ]
        found = _scanned(e, inner, node, blocks)
    for result, block in zip(node.results, found, strict=True):
        scope.rows[result] = Kept(e.named(result, block), node, axis)


def _scanned(e: Emitter, inner: Scope, node: Node, blocks: Sequence[Block]) -> list[Block]:
    """The prefixes of blocks along their last dimension."""
    shape = tuple(max(s) for s in zip(*(b.shape for b in blocks), strict=True))
    members = ", ".join(_broadcast(b, shape) for b in blocks)
    reverse = ", reverse=True" if node.attrs["reverse"] else ""
    text = f"tl.associative_scan(({members},), {inner.depth - 1}, "
    found = e.w.let("prefixes", f"{text}{combine_function(e.w, node)}{reverse})")
    return [Block(f"{found}[{k}]", shape) for k in range(len(blocks))]


def _start_of_prefixes(e: Emitter, scope: Scope, node: Node) -> list[Block]:
    """What precedes the first block."""
    neutral = [e.typed(e.value(v, scope), v) for v in node.operands]
    return [
        Block(e.w.let("before", _filled(n, v, scope.shape, scope)), scope.shape)
        for n, v in zip(neutral, node.results, strict=True)
    ]


def _prefixes_of_block(e: Emitter, inner: Scope, node: Node, before: Sequence[Block]) -> None:
    """The prefixes of the block that is open, which is one of the loop that reads them."""
    body, here = node.regions[0], inner.inner()
    if e.nests[node].groups:
        here.exprs.update(axis_exprs(node, e.nests[node], (inner.point,)))
    if e.nests[node].block == (1,):
        found = [e.typed(b, v) for b, v in zip(e.run(body, here), body.yields, strict=True)]
        joined = _all_named(e, combined(e, node, before, found, inner))
        for result, total, new in zip(node.results, before, joined, strict=True):
            e.w.line(f"{total.text} = {new.lifted(inner.depth)}")
            inner.rows[result] = Here(total)
        return
    axis = inner.open[-1]
    neutral = [e.value(v, inner) for v in node.operands]
    blocks = [
        e.masked(b, v, n, axis, inner)
        for b, v, n in zip(e.run(body, here), body.yields, neutral, strict=True)
    ]
    named = [e.named(r, b) for r, b in zip(node.results, blocks, strict=True)]
    found = combined(e, node, before, _scanned(e, inner, node, named), inner)
    for result, block in zip(node.results, found, strict=True):
        inner.rows[result] = Kept(e.named(result, block), node, axis)
    depth = inner.depth - 1
    sums = combined(e, node, before, folded(e, node, named, depth), Scope(inner, inner.open[:-1]))
    for total, new in zip(before, _all_named(e, sums), strict=True):
        e.w.line(f"{total.text} = {new.lifted(depth)}")
