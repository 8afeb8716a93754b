"""Which nodes share a kernel.

A group iterates over a domain: named axes with extents, of which a row group folds some. Every
value that a group computes has a *place*: its index as a function of the axes. A node joins a group
when it reads the group's values exactly at their places; then one pass over the domain computes
both. Everything is decided from kinds and index maps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ...ir.dims import Atom, Dim, Var, of_atom, product, substitute
from ...ir.graph import Node, Value
from ...ir.ops.base import ContractMap, Kind, Piece
from ...ir.ops.reduction import kept_axes

Index = tuple[Dim, ...]


THROUGH = (Kind.VIEW, Kind.SOURCE)  # kernels compute these wherever they are read
APART = (Kind.HOST, Kind.SORT, Kind.CONTROL)  # no kernel computes these
ONE_TASK = 1 << 16  # points that are folded to one element by a task alone


def in_block(node: Node) -> bool:
    """Whether a kernel puts rows in order that `node` has."""
    return node.op.name == "order" and bool(node.attrs.get("block"))


def is_apart(node: Node) -> bool:
    """Whether no kernel computes `node`."""
    return node.op.kind in APART and not in_block(node)


def keeps_shape(node: Node) -> bool:
    """Whether a kernel goes along an axis of the operand of `node` for as many elements."""
    return node.op.kind is Kind.CUMULATIVE or in_block(node)


def goes_along(node: Node) -> bool:
    """Whether a kernel goes along axes of the operand of `node`."""
    return node.op.kind is Kind.REDUCTION or keeps_shape(node)


class Form(StrEnum):
    """The kind of kernel that a group becomes."""

    LOOP = "loop"
    ROW = "row"
    CONTRACT = "contract"
    ATTEND = "attend"
    SCATTER = "scatter"
    APART = "apart"  # one node that is no kernel: it runs on the host, or runs other programs


@dataclass(frozen=True, slots=True)
class Store:
    """An element that a point of a group stores: that of `value` at `index`, to the place `at` of a
    root."""

    value: Value
    index: Index
    at: Index


class Group:
    """Nodes of one kernel.

    Attributes:
        axes: the index of the domain: one expression an axis (0 where the extent is 1).
        extents: sizes of the axes.
        reduced: numbers of the axes that a row group folds.
        place: index of each computed value, over `axes`.
        roots: what the kernel stores: values with their places.
        parts: number of a root -> what a point stores of it, where that is several elements.
        first, last: positions of the earliest and latest member in the program.
    """

    def __init__(self, form: Form, extents: Sequence[Dim], reduced: Sequence[int] = ()) -> None:
        self.form = form
        self.extents = tuple(extents)
        self.reduced = frozenset(reduced)
        self.axes = fresh_axes(self.extents)
        self.members: dict[Node, None] = {}
        self.place: dict[Value, Index] = {}
        self.producers: dict[Group, None] = {}
        self.roots: list[tuple[Value, Index]] = []
        self.parts: dict[int, tuple[Store, ...]] = {}
        self.contract: ContractMap | None = None
        self.first = -1
        self.last = -1

    def stores(self, number: int) -> tuple[Store, ...]:
        """What a point stores of the root of that number."""
        value, place = self.roots[number]
        return self.parts.get(number) or (Store(value, place, place),)

    @property
    def rows(self) -> tuple[Dim, ...]:
        """Extents of the axes that are not folded."""
        return tuple(n for a, n in enumerate(self.extents) if a not in self.reduced)

    @property
    def row_index(self) -> Index:
        return tuple(x for a, x in enumerate(self.axes) if a not in self.reduced)

    def add(self, node: Node, position: int, place: Index) -> None:
        self.members[node] = None
        self.place[node.results[0]] = place
        self.first = position if self.first < 0 else min(self.first, position)
        self.last = max(self.last, position)


def fresh_axes(extents: Sequence[Dim]) -> Index:
    return tuple(
        0 if isinstance(n, int) and n == 1 else of_atom(Var(_Axis(i), n))
        for i, n in enumerate(extents)
    )


class _Axis:
    """Stands for an axis of a group."""

    def __init__(self, number: int) -> None:
        self.name = f"axis{number}"


def rename(index: Index, old: Index, new: Index) -> Index:
    """`index` with the axes `old` (each a single axis or 0) replaced by the expressions `new`."""
    table: dict[Atom, Dim] = {}
    for before, after in zip(old, new, strict=True):
        if not isinstance(before, int):
            table[before.terms[0][0][0]] = after

    def replace(atom: Atom) -> Dim:
        found = table.get(atom)
        return of_atom(atom) if found is None else found

    return tuple(substitute(d, replace) for d in index)


def is_source(value: Value) -> bool:
    """Whether kernels make `value` themselves: a counter, or a constant of one element."""
    node = value.node
    if node is None or node.op.kind is not Kind.SOURCE:
        return False
    return node.op.element is not None or node.attrs["value"].array.size == 1


def is_view(value: Value) -> bool:
    return value.node is not None and value.node.op.kind is Kind.VIEW


def made_of(value: Value) -> Sequence[Value]:
    """The values that `value` is made of when views are read through, each once."""
    node = value.node
    if node is None or node.op.kind not in THROUGH:  # most are
        return (value,)
    found: dict[Value, None] = {}
    seen: set[Value] = set()
    pending = [value]
    while pending:
        value = pending.pop()
        if value in seen or is_source(value):
            continue
        seen.add(value)
        if is_view(value) and value.node is not None:
            pending.extend(value.node.operands)
        else:
            found[value] = None
    return tuple(found)


def leaves(value: Value, index: Index | None) -> Sequence[tuple[Value, Index | None]]:
    """The values that `value` is made of when views are read through, with the index of each.

    The index is None where it depends on data.
    """
    if index is None:
        return [(leaf, None) for leaf in made_of(value)]
    return [(leaf, at) for leaf, at, _ in guarded_leaves(value, index)]


def guarded_leaves(
    value: Value, index: Index | None
) -> Iterator[tuple[Value, Index | None, tuple[tuple[str, Dim], ...]]]:
    """As `leaves`, and the conditions under which each is read (none where the index is None)."""
    if value.node is None or value.node.op.kind not in THROUGH:  # most are
        yield value, index, ()
        return
    pending: list[tuple[Value, Index | None, tuple[tuple[str, Dim], ...]]] = [(value, index, ())]
    while pending:
        value, index, holds = pending.pop()
        if is_source(value):
            continue
        if not is_view(value):
            yield value, index, holds
            continue
        node = value.node
        assert node is not None
        if index is None:
            pending.extend((o, None, ()) for o in node.operands)
            continue
        assert node.op.index_map is not None
        for piece in node.op.index_map([o.type for o in node.operands], node.attrs, index):
            conditions = _open_conditions(piece)
            if conditions is None:
                continue
            if piece.operand >= 0:
                operand = node.operands[piece.operand]
                pending.append((operand, piece.index, (*holds, *conditions)))
            if not conditions:
                break


def _open_conditions(piece: Piece) -> tuple[tuple[str, Dim], ...] | None:
    """The conditions of `piece` that are no plain truths; None where one never holds."""
    found = []
    for relation, expr in piece.conditions:
        if not isinstance(expr, int):
            found.append((relation, expr))
        elif not (expr >= 0 if relation == "ge" else expr == 0):
            return None
    return tuple(found)


def reads(node: Node, place: Index) -> Iterator[tuple[Value, Index | None]]:
    """What `node` reads to compute its element at `place`: leaf values and their indices.

    For a node that folds axes `place` is the index of the operand's element.
    """
    if node.op.indexed_map is not None:
        where = node.op.indexed_map([o.type for o in node.operands], node.attrs, place)
        for number, operand in enumerate(node.operands):
            yield from leaves(operand, where.indices[1] if number == where.indices[0] else None)
        return
    for operand in node.operands:
        yield from leaves(operand, place)


def external_reads(group: Group) -> list[Value]:
    """Values that the group's kernel reads from buffers, in order of appearance."""
    found: dict[Value, None] = {}
    if group.form is Form.APART:
        return list(dict.fromkeys(o for node in group.members for o in node.operands))
    starts = [o for node in group.members for o in node.operands]
    starts += [value for value, _ in group.roots if value.node not in group.members]
    for start in starts:
        for leaf in made_of(start):
            if leaf.node not in group.members:
                found[leaf] = None
    return list(found)


def read_axes(node: Node) -> tuple[Dim, ...]:
    """Extents of the points at which `node` reads its operands."""
    if goes_along(node):
        return node.operands[0].type.shape
    return node.results[0].type.shape


def folded_axes(node: Node) -> tuple[int, ...]:
    """The axes of the operand along which a kernel goes."""
    if in_block(node):
        return (node.operands[0].type.ndim - 1,)
    return tuple(node.attrs["axes"] if "axes" in node.attrs else (node.attrs["axis"],))


def followed(value: Value, group: Group) -> Iterator[Index]:
    """Places of `value` in `group` when it is a reordering of a value that the group computes.

    None where a view's maps, one after the other, do not give the same expressions again: then
    the group would not find its own value at that place.
    """
    path: list[Node] = []
    while value not in group.place:
        if not is_view(value) or value.node is None or value.node.op.inverse_map is None:
            return
        path.append(value.node)
        value = value.node.operands[0]
    place = group.place[value]
    for node in reversed(path):
        assert node.op.inverse_map is not None and node.op.index_map is not None
        types, there = [o.type for o in node.operands], place
        place = node.op.inverse_map(types, node.attrs, there)
        if node.op.index_map(types, node.attrs, place)[0].index != there:
            return
    yield place


def find_place(node: Node, group: Group) -> Index | None:
    """Where `node` would stand in `group`, or None where it does not fit."""
    if group.form in (Form.SCATTER, Form.APART, Form.ATTEND):
        return None
    if goes_along(node):
        return _place_of_fold(node, group)
    if node.op.kind is not Kind.ELEMENTWISE and node.op.indexed_map is None:
        return None
    if node.op.indexed_map is not None and len(node.operands) == 3:
        return None  # a scatter runs over its updates: a kernel of its own
    shape = node.results[0].type.shape
    candidates: list[Index] = []
    for operand in node.operands:
        candidates.extend(followed(operand, group))
    if group.form in (Form.LOOP, Form.ROW):
        if shape == group.extents:
            candidates.append(group.axes)
        if group.form is Form.ROW and shape == group.rows:
            candidates.append(group.row_index)
    for place in candidates:
        if len(place) == len(shape) and fits(node, place, group):
            return place
    return None


def _place_of_fold(node: Node, group: Group) -> Index | None:
    axes, shape = folded_axes(node), node.operands[0].type.shape
    if shape != group.extents or group.form not in (Form.LOOP, Form.ROW):
        return None
    if group.form is Form.ROW and group.reduced != frozenset(axes):
        return None
    if group.form is Form.LOOP and len(shape) - 1 not in axes:
        return None  # a sum along columns reads best in a kernel of its own
    if (
        group.form is Form.LOOP
        and node.op.kind is Kind.REDUCTION
        and folds_all_of_many(shape, axes)
    ):
        return None  # so does one of everything, which would leave one task
    if not fits(node, group.axes, group):
        return None
    if keeps_shape(node):
        return group.axes
    return tuple(group.axes[a] for a in kept_axes(len(shape), axes))


def folds_all_of_many(shape: Sequence[Dim], axes: Collection[int]) -> bool:
    """Whether folding `axes` makes one element of very many, which tasks are to share."""
    points, kept = product(shape), product(n for a, n in enumerate(shape) if a not in axes)
    return kept == 1 and isinstance(points, int) and points > ONE_TASK


def fits(node: Node, place: Index, group: Group) -> bool:
    """Whether all that `node` reads of the group at `place` stands at its own place there."""
    return all(
        leaf not in group.place or group.place[leaf] == index for leaf, index in reads(node, place)
    )
