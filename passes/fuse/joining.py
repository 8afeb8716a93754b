"""Loops over the same points that stay apart because a node has joined another of its sources.

    m = m*b + g                    # stored: a loop
    w = w*d - m/(sqrt(v) + e)      # joined the loop that makes v, and loads m

The loop of m becomes part of its reader, which computes m at the very point where it needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...ir.dims import atoms, product
from ...ir.graph import Node, Value
from ..row_folds import FEWEST, NARROWEST, WIDEST
from .cost import MAX_MEMBERS
from .groups import Form, Group, Index, folds_all_of_many, goes_along, leaves, reads, rename
from .order import Order


def join_loops(groups: list[Group], order: Order) -> dict[Group, tuple[Group, int]]:
    """Moves loops, with what they store, into a reader over the same points.

    Args:
        groups: all of a region; those that have moved are taken out.
        order: of these groups.

    Returns:
        Where each that has moved is now: the group, and how many roots that one had before.
    """
    moved: dict[Group, tuple[Group, int]] = {}
    for group in sorted(groups, key=lambda g: -g.last):
        if group.form is not Form.LOOP:
            continue
        for reader in order.readers(group):
            if _reads_at_own_points(reader, group) and not order.precedes(group, reader.producers):
                moved[group] = reader, len(reader.roots)
                order.replace(group, reader)
                _move(group, reader)
                groups.remove(group)
                break
    return moved


def _reads_at_own_points(reader: Group, group: Group) -> bool:
    """Whether `reader` has the points of `group` and reads its values nowhere else."""
    if reader.form not in (Form.LOOP, Form.ROW) or reader.extents != group.extents:
        return False
    if _only_folds_rows(reader):
        return False  # the loop takes that fold along (`fold_in_rows`)
    if len(reader.members) + len(group.members) > MAX_MEMBERS or group.parts:
        return False
    places = {**dict(group.roots), **group.place}
    found = list(_read(reader, places))
    return bool(found) and all(
        index == rename(places[value], group.axes, reader.axes) for value, index in found
    )


def _only_folds_rows(group: Group) -> bool:
    """Whether a group folds all of very many elements, or the columns of many rows, and computes no
    more of each element."""
    extents, folded = group.extents, group.reduced
    if group.form is not Form.ROW or any(_depends(place, group) for _, place in group.roots):
        return False
    if folds_all_of_many(extents, folded):
        return True
    rows, columns = product(extents[: len(folded)]), product(extents[len(folded) :])
    if folded != frozenset(range(len(folded))) or not isinstance(columns, int):
        return False
    long = not isinstance(rows, int) or rows >= FEWEST
    return long and NARROWEST <= columns <= WIDEST


def _depends(place: Index, group: Group) -> bool:
    """Whether `place` changes along an axis that the group folds."""
    folded = {a for axis in group.reduced for a in atoms(group.axes[axis])}
    return any(atom in folded for dim in place for atom in atoms(dim))


def _read(reader: Group, values: Mapping[Value, Index]) -> Iterator[tuple[Value, Index | None]]:
    """The accesses of `reader` to these values, each with its index there; None where that is not
    known."""
    for node in reader.members:
        for leaf, index in reads(node, _points(reader, node)):
            if leaf in values:
                yield leaf, index if node.results[0] in reader.place else None
    for number in range(len(reader.roots)):
        for store in reader.stores(number):
            for leaf, index in leaves(store.value, store.index):
                if leaf in values:
                    yield leaf, index


def _points(reader: Group, node: Node) -> Index:
    """The index at which `node` reads."""
    if goes_along(node):
        return reader.axes
    result = node.results[0]
    return reader.place.get(result, (0,) * result.type.ndim)


def _move(group: Group, reader: Group) -> None:
    def at(place: Index) -> Index:
        return rename(place, group.axes, reader.axes)

    reader.members = {**group.members, **reader.members}
    reader.place = {**{v: at(p) for v, p in group.place.items()}, **reader.place}
    reader.roots += [(value, at(place)) for value, place in group.roots]
    reader.first = min(group.first, reader.first)
