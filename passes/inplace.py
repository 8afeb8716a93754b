"""May a kernel write a result over one of its operands? Read off the kernel's loads and stores.

It may where every element is read for the last time before the one store to its place: each load
of the operand precedes the store in the program, and both run over the same elements within one
turn of the `parallel` loops around them, whose turns never meet at an element.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.access import Expressions, axes, axis_extents, replace_var
from ..ir.dims import Dim, Var, of_atom
from ..ir.graph import Graph, Node, Region, Value

_Path = tuple[tuple[Node, int, int], ...]
_LOOPS = ("parallel", "reduce", "row", "cumulate", "arrange")


@dataclass(frozen=True, slots=True)
class _Site:
    """An access: `path` leads to it from the kernel: (node, its position, region taken) ..."""

    node: Node
    path: _Path
    offset: Dim


def may_overwrite(kernel: Graph, input: int, out: int) -> bool:
    """Whether result number `out` may lie in the buffer of operand number `input`.

    False where that cannot be shown. The operand's other readers are the caller's concern.
    """
    source, target = kernel.inputs[input], kernel.out_params[out]
    same_element = source.type.dtype.itemsize == target.type.dtype.itemsize
    if not same_element or source.type.nbytes != target.type.nbytes:
        return False
    accesses = _accesses_of(kernel)
    users = accesses.users.get(source, []), accesses.users.get(target, [])
    if any(n.op.name == "many" for n in users[0] + users[1]):
        return _many_may_overwrite(*users, source, target)
    return accesses.allow(source, target)


def copies(kernel: Graph) -> bool:
    """Whether a kernel of one operand and one result stores each element where it stood, as a
    change of the shape does."""
    loops = [n for n in kernel.nodes if n.regions]
    if len(kernel.nodes) != 1 or len(loops) != 1 or loops[0].op.name != "parallel":
        return False
    body = loops[0].regions[0].nodes
    if [n.op.name for n in body] != ["load", "store"] or any(n.attrs.get("guarded") for n in body):
        return False
    load, store = body
    source, target = load.operands[0], store.operands[0]
    whole = store.operands[1] is load.results[0] and source.type.nbytes == target.type.nbytes
    expressions = Expressions(axis_extents(kernel))
    return whole and expressions.offset(load) == expressions.offset(store)


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
    return _accesses_of(body).allow(inner_source, inner_target)


class _Accesses:
    """The loads and stores of a kernel, or of the region of a `many`.

    Attributes:
        users: the nodes that have a value as an operand, inner regions included.
    """

    def __init__(self, region: Region) -> None:
        self.expressions = Expressions(axis_extents(region))
        self.users: dict[Value, list[Node]] = {}
        self._stores: dict[Value, list[_Site]] = {}
        self._loads: dict[Value, list[_Site]] = {}
        self._rows: list[tuple[Node, _Path]] = []  # loads of rows
        self._indices: dict[Node, tuple[Dim, ...]] = {}  # of loads, for every source
        for node, path in _walk(region, ()):
            for value in dict.fromkeys(node.operands):
                self.users.setdefault(value, []).append(node)
            if node.op.name not in ("load", "store"):
                continue
            buffer = node.operands[0]
            if node.op.name == "store":
                site = _Site(node, path, self.expressions.offset(node))
                self._stores.setdefault(buffer, []).append(site)
            elif buffer.node is not None and buffer.node.op.name == "row":
                self._rows.append((node, path))
            else:
                site = _Site(node, path, self.expressions.offset(node))
                self._loads.setdefault(buffer, []).append(site)

    def allow(self, source: Value, target: Value) -> bool:
        """Whether `target` may lie in the buffer of `source`."""
        if any(n.op.name != "load" for n in self.users.get(source, [])):
            return False
        written = self.users.get(target, [])
        if any(n.op.name != "store" or n.operands[1] is target for n in written):
            return False
        stores = self._stores.get(target, [])
        if not all(_precedes(a, b) for a in self._loads.get(source, []) for b in stores):
            return False
        reads = _Reads(source, self.expressions, self._indices)
        return all(
            _precedes(_Site(node, path, offset), store)
            for node, path in self._rows
            for offset in reads.of_load(node)
            for store in stores
        )


# A plan asks for one kernel after the other, and for each operand and result of it.
_accesses_of = functools.lru_cache(maxsize=8)(_Accesses)


def _walk(region: Region, path: _Path) -> Iterator[tuple[Node, _Path]]:
    for position, node in enumerate(region.nodes):
        yield node, (*path, (node, position, -1))
        for number, inner in enumerate(node.regions):
            yield from _walk(inner, (*path, (node, position, number)))


class _Reads:
    """Where loads read `source`: itself, or through a row that a schedule may compute again."""

    def __init__(
        self, source: Value, expressions: Expressions, indices: dict[Node, tuple[Dim, ...]]
    ) -> None:
        self.source = source
        self.expressions = expressions
        self._indices = indices
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
        if load not in self._indices:
            self._indices[load] = self.expressions.index(load)
        where = dict(zip(axes(row)[0], self._indices[load], strict=True))
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
