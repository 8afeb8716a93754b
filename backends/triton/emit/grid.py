"""The node over whose points programs are spread: which of them a program computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.access import axes
from ....ir.block_schedule import BlockSchedule
from ....ir.dims import Dim, Var, of_atom, product
from ....ir.graph import Node, Value
from ....ir.ops.kernel import INDEX
from .emitter import Emitter
from .loops import arange, axis_exprs
from .scope import Axis, Scope
from .text import Block

Programs = tuple[Dim, Dim, Dim]
Spread = Callable[[Emitter, Scope, Node, BlockSchedule], Programs]


def spread_parallel(e: Emitter, scope: Scope, node: Node, schedule: BlockSchedule) -> Programs:
    """A block of the points of a `parallel` for each program; gives the grid."""
    nest, (params, extents) = e.nests[node], axes(node)
    sizes = [product(extents[axis] for axis in group) for group in nest.groups]
    blocks = [(n + b - 1) // b for n, b in zip(sizes, nest.block, strict=True)]
    numbers = _program_numbers(e, scope, blocks, schedule.wide)
    inner, variables = scope, []
    for group, extent, size, number in zip(nest.groups, sizes, nest.block, numbers, strict=True):
        hint = params[group[-1]].name or "i"
        if size == 1:
            inner, variable = inner.inner(), Value(INDEX)
            inner.values[variable] = Block(e.w.let(hint, number))
        else:
            inner, variable = block_axis(e, inner, extent, size, number, hint)
        variables.append(of_atom(Var(variable, extent)))
    inner = inner.inner()
    inner.exprs.update(axis_exprs(node, nest, variables))
    e.run_nodes(node.regions[0].nodes, inner)
    return product(blocks), 1, 1


def spread_many(e: Emitter, scope: Scope, node: Node, schedule: BlockSchedule) -> Programs:
    """A block of the elements of one group of a `many` for each program; gives the grid."""
    (body,) = node.regions
    width, size = len(body.params) - 1, e.nests[node].block[0]
    extents, number = node.attrs["extents"], "tl.int64" if schedule.wide else "tl.int32"
    program = e.w.let("program", f"tl.program_id(0).to({number})")
    names = [e.w.fresh(p.name or "x") for p in body.params[1:]]
    count, first = e.w.fresh("count"), e.w.fresh("first")
    start: Dim = 0
    for position, extent in enumerate(extents):
        pointers = node.operands[position * width : (position + 1) * width]
        texts = [scope.find("buffers", p) for p in pointers]
        texts += [f"tl.cast({e.number(n, scope).text}, {number})" for n in (extent, start)]
        pairs = list(zip([*names, count, first], texts, strict=True))
        if not position:
            for name, text in pairs:
                e.w.line(f"{name} = {text}")
        else:
            with e.w.indented(f"if program >= {e.number(start, scope).text}"):
                for name, text in pairs:
                    e.w.line(f"{name} = {text}")
        start = start + (extent + size - 1) // size
    counted = arange(size, 0)
    index = Block(e.w.let("i", f"({program} - {first}) * {size} + {counted}"), (size,))
    mask = Block(e.w.let("i_in", f"{index.text} < {count}"), (size,))
    axis = Axis(Value(INDEX), size, mask, whole=False)
    inner = scope.inner(axis)
    inner.values[axis.variable] = index
    inner.exprs[body.params[0]] = of_atom(Var(axis.variable))
    inner.buffers.update(zip(body.params[1:], names, strict=True))
    e.run_nodes(body.nodes, inner)
    return start, 1, 1


def block_axis(
    e: Emitter, scope: Scope, extent: Dim, size: int, number: str, hint: str
) -> tuple[Scope, Value]:
    """A new last dimension: block `number` of an axis; the scope with it, and its index."""
    shape = (1,) * scope.depth + (size,)
    index = Block(e.w.let(hint, f"{number} * {size} + {arange(size, scope.depth)}"), shape)
    mask = None
    if not (isinstance(extent, int) and extent % size == 0):
        bound = e.number(extent, scope).text
        mask = Block(e.w.let(f"{hint}_in", f"{index.text} < {bound}"), shape)
    axis = Axis(Value(INDEX), size, mask, whole=False)
    inner = scope.inner(axis)
    inner.values[axis.variable] = index
    return inner, axis.variable


def _program_numbers(e: Emitter, scope: Scope, blocks: Sequence[Dim], wide: bool) -> list[str]:
    """The number of this program along each group, the last one running fastest."""
    if not blocks:
        return []
    whole = e.w.let("program", f"tl.program_id(0){'.to(tl.int64)' if wide else ''}")
    found: list[str] = []
    for count in reversed(blocks[1:]):
        bound = e.number(count, scope).text
        found.insert(0, f"({whole} % {bound})")
        whole = e.w.let("rest", f"{whole} // {bound}")
    return [whole, *found]
