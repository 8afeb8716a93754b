"""May a kernel write a result over one of its operands? Read off the kernel's loads and stores.

It may where every element is read for the last time before the one store to its place: each load
of the operand precedes the store in the program, and both run over the same elements within one
turn of the `parallel` loops around them, whose turns never meet at an element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.access import Expressions, axes, axis_extents, replace_var
from ..ir.dims import Dim, Var, of_atom
from ..ir.graph import Graph, Node, Region, Value

_LOOPS = ("parallel", "reduce", "row", "cumulate")


@dataclass(frozen=True, slots=True)
class _Site:
    """An access: `path` leads to it from the kernel: (node, its position, region taken) ..."""

    node: Node
    path: tuple[tuple[Node, int, int], ...]
    offset: Dim


def may_overwrite(kernel: Graph, input: int, out: int) -> bool:
    """Whether result number `out` may lie in the buffer of operand number `input`.

    False where that cannot be shown. The operand's other readers are the caller's concern.
    """
    source, target = kernel.inputs[input], kernel.out_params[out]
    same_element = source.type.dtype.itemsize == target.type.dtype.itemsize
    if not same_element or source.type.nbytes != target.type.nbytes:
        return False
    users = {b: [n for n in kernel.walk() if b in n.operands] for b in (source, target)}
    if any(n.op.name == "many" for n in users[source] + users[target]):
        return _many_may_overwrite(users[source], users[target], source, target)
    return _accesses_allow(kernel, source, target, users[source], users[target])


def _many_may_overwrite(
    source_users: Sequence[Node], target_users: Sequence[Node], source: Value, target: Value
) -> bool:
    """The same for a `many`: both buffers belong to one item, and the region allows it."""
    if len(source_users) != 1 or len(target_users) != 1 or source_users[0] is not target_users[0]:
        return False
    (node,) = source_users
    if node.operands.count(source) != 1 or node.operands.count(target) != 1:
        return False
    body = node.regions[0]
    width = len(body.params) - 1
    group, a = divmod(node.operands.index(source), width)
    other, b = divmod(node.operands.index(target), width)
    if group != other:
        return False
    inner_source, inner_target = body.params[1 + a], body.params[1 + b]
    return _accesses_allow(
        body,
        inner_source,
        inner_target,
        [n for n in body.walk() if inner_source in n.operands],
        [n for n in body.walk() if inner_target in n.operands],
    )


def _accesses_allow(
    region: Region,
    source: Value,
    target: Value,
    source_users: Sequence[Node],
    target_users: Sequence[Node],
) -> bool:
    if any(n.op.name != "load" for n in source_users):
        return False
    if any(n.op.name != "store" or n.operands[1] is target for n in target_users):
        return False
    expressions = Expressions(axis_extents(region))
    reads = _Reads(source, expressions)
    loads, stores = [], []
    for node, path in _walk(region, ()):
        if node.op.name == "store" and node.operands[0] is target:
            stores.append(_Site(node, path, expressions.offset(node)))
        elif node.op.name == "load":
            loads += [_Site(node, path, offset) for offset in reads.of_load(node)]
    return all(_precedes(load, store) for load in loads for store in stores)


def _walk(
    region: Region, path: tuple[tuple[Node, int, int], ...]
) -> Iterator[tuple[Node, tuple[tuple[Node, int, int], ...]]]:
    for position, node in enumerate(region.nodes):
        yield node, (*path, (node, position, -1))
        for number, inner in enumerate(node.regions):
            yield from _walk(inner, (*path, (node, position, number)))


class _Reads:
    """Where loads read `source`: itself, or through a row that a schedule may compute again."""

    def __init__(self, source: Value, expressions: Expressions) -> None:
        self.source = source
        self.expressions = expressions
        self._rows: dict[Node, tuple[Dim, ...]] = {}

    def of_load(self, load: Node) -> tuple[Dim, ...]:
        if load.operands[0] is self.source:
            return (self.expressions.offset(load),)
        row = load.operands[0].node
        if row is None or row.op.name != "row":
            return ()
        offsets = self._of_row(row)
        if not offsets:
            return ()
        where = dict(zip(axes(row)[0], self.expressions.index(load), strict=True))
        return tuple(dict.fromkeys(replace_var(offset, where) for offset in offsets))

    def _of_row(self, row: Node) -> tuple[Dim, ...]:
        """The distinct offsets, by the row's axes. Rows read rows: each is looked at once."""
        if row not in self._rows:
            body = row.regions[0].nodes
            if any(node.regions for node in body):
                self._rows[row] = ()  # too dear to be computed again
            else:
                loads = [node for node in body if node.op.name == "load"]
                found = (offset for load in loads for offset in self.of_load(load))
                self._rows[row] = tuple(dict.fromkeys(found))
        return self._rows[row]


def _precedes(load: _Site, store: _Site) -> bool:
    """Whether within each turn of the loops around both, `load` has read every element that
    `store` writes before it is written."""
    common = 0
    while load.path[common] == store.path[common]:
        common += 1
    if any(not _turns_are_apart(node, region) for node, _, region in load.path[:common]):
        return False
    if load.path[common][1] >= store.path[common][1]:
        return False  # later, or in another region of the same node
    own = _axes_below(load.path[common:])
    theirs = _axes_below(store.path[common:])
    if own is None or theirs is None or [e for _, e in own] != [e for _, e in theirs]:
        return False
    if any(node.op.name not in ("parallel", "store") for node, _, _ in store.path[common:]):
        return False
    renamed = {
        mine: of_atom(Var(axis, extent))
        for (mine, _), (axis, extent) in zip(own, theirs, strict=True)
    }
    return replace_var(load.offset, renamed) == store.offset


def _turns_are_apart(node: Node, region: int) -> bool:
    """Whether no two turns of the region write to one element."""
    return node.op.name == "parallel" or (node.op.name == "contract" and region == 2)


def _axes_below(path: Sequence[tuple[Node, int, int]]) -> list[tuple[Value, Dim]] | None:
    """Axis variables of the loops on the path, with extents; None if something else is there."""
    found: list[tuple[Value, Dim]] = []
    for node, _, _ in path[:-1]:
        if node.op.name not in _LOOPS:
            return None
        found += zip(*axes(node), strict=True)
    return found
