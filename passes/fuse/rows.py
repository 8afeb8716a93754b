"""Which values a row kernel keeps for the length of a row.

A row kernel runs several loops over each row: one for every reduction, one for what it stores. A
value that more than one of them reads is kept row-local: buffers always (the schedule may read them
again in place), computed ones where that is dearer than keeping them.
"""

from __future__ import annotations

from ...ir.dims import Dim, Var, atoms, of_atom
from ...ir.graph import Node, Value
from ...ir.ops.base import Kind
from .cost import ROW_VALUE
from .groups import THROUGH, Form, Group, Index, goes_along, made_of, reads
from .writer import Writer

Axes = tuple[int, ...]


def computed_rows(group: Group) -> dict[Value, Axes]:
    """The computed values of a row group to keep, with the axes that run within a row."""
    if group.form is not Form.ROW:
        return {}
    places = _places(group)
    wanted = _wanted(group)
    rows: dict[Value, Axes] = {}
    costs: dict[Value, int] = {}
    for node in group.members:  # operands before their readers
        value = node.results[0]
        cost = node.op.cost
        for operand in _operands(node, group):
            if operand not in rows:
                cost += costs[operand]
        costs[value] = 0 if node.op.kind is Kind.REDUCTION else cost
        axes = _within(places.get(value), group)
        if axes and len(wanted.get(value, ())) > 1 and costs[value] >= ROW_VALUE:
            rows[value] = axes
    return rows


def _operands(node: Node, group: Group) -> dict[Value, None]:
    """The members' values that `node` reads, through views."""
    found = (leaf for operand in node.operands for leaf in made_of(operand))
    return {leaf: None for leaf in found if leaf.node in group.members}


def _places(group: Group) -> dict[Value, Index | None]:
    """The index of every member's value over the group's axes; None where it is read at several.

    Values that were absorbed have no place of their own: it follows from their readers.
    """
    places: dict[Value, Index | None] = dict(group.place)
    for node in reversed(group.members):
        place = places.get(node.results[0])
        if place is None:
            continue
        point = group.axes if goes_along(node) else place
        for leaf, index in reads(node, point):
            if leaf.node in group.members and places.setdefault(leaf, index) != index:
                places[leaf] = None
    return places


def _wanted(group: Group) -> dict[Value, set[Node | None]]:
    """For each value the loops that read it: those of reductions, or None for what is stored."""
    wanted: dict[Value, set[Node | None]] = {}
    for value, _ in group.roots:
        if value.node in group.members:
            wanted.setdefault(value, set()).add(None)
    for node in reversed(group.members):
        value = node.results[0]
        loops = wanted.get(value, set())
        if goes_along(node) or len(loops) > 1:
            loops = {node}  # a loop of its own: it reads its operands once
        for leaf in _operands(node, group):
            wanted.setdefault(leaf, set()).update(loops)
    return wanted


def _within(place: Index | None, group: Group) -> Axes:
    """The axes of a value that run over the whole folded axes; () where it is not that plain."""
    if place is None:
        return ()
    folded = {a for a, axis in enumerate(group.axes) if a in group.reduced}
    inner = {group.axes[a] for a in folded if not isinstance(group.axes[a], int)}
    axes: list[int] = []
    for number, dim in enumerate(place):
        if dim in inner:
            axes.append(number)
        elif any(of_atom(atom) in inner for atom in atoms(dim)):
            return ()
    return tuple(axes)


def buffer_rows(draft: Writer) -> dict[Value, Axes]:
    """The buffers that several loops of a drafted kernel read along whole rows."""
    rows: dict[Value, Axes] = {}
    for value, found in draft.reads.items():
        node = value.node
        if node is not None and (node in draft.members or node.op.kind in THROUGH):
            continue
        within = [(serial, index) for serial, index, depth, _ in found if depth > 1]
        if len({serial for serial, _ in within}) < 2 or any(guarded for *_, guarded in found):
            continue
        axes = {_row_axes(draft, value, index) for _, index in within}
        only = axes.pop() if len(axes) == 1 else None
        if only:
            rows[value] = only
    return rows


def _row_axes(draft: Writer, value: Value, index: Index) -> Axes | None:
    """The axes of `value` that run over a whole row at `index`; None where it is not that plain."""
    axes: list[int] = []
    on_row = False
    for axis, dim in enumerate(index):
        depth = draft.depth_of((dim,))
        if depth <= 1:
            on_row = on_row or depth == 1
            continue
        if not _is_whole(dim, value.type.shape[axis]):
            return None
        axes.append(axis)
    return tuple(axes) if on_row else None


def _is_whole(dim: Dim, size: Dim) -> bool:
    """Whether `dim` is an axis variable that runs over `size`."""
    atom = next(atoms(dim))
    return isinstance(atom, Var) and dim == of_atom(atom) and atom.extent == size
