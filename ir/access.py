"""What a kernel touches: index expressions over its axes, offsets of accesses, axes that collapse.

An i64 value of a kernel is seen as an expression over `Var`s: axis variables (with their extents)
and values that no expression describes, such as a loaded index.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .dims import (
    Atom,
    Compound,
    Dim,
    Expr,
    Slot,
    Var,
    add_all,
    atoms,
    of_atom,
    product,
    substitute,
    terms_of,
)
from .graph import Node, Region, Value
from .ops.kernel import INDEX
from .types import TensorType

ACCESSES = ("load", "store", "atomic")


def strides(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Row-major strides, in elements."""
    return tuple(product(shape[k + 1 :]) for k in range(len(shape)))


def flat_offset(type: TensorType, index: Sequence[Dim]) -> Dim:
    """The element number of `index` in a row-major buffer of `type`."""
    return add_all(i * s for i, s in zip(index, strides(type.shape), strict=True))


def axis_extents(region: Region) -> dict[Value, Dim]:
    """The extent of every axis variable of the nodes in `region`, nested ones included."""
    found: dict[Value, Dim] = {}
    for node in region.walk():
        for axis, extent in zip(*axes(node), strict=True):
            found[axis] = extent
    return found


def axes(node: Node) -> tuple[tuple[Value, ...], tuple[Dim, ...]]:
    """Axis variables of a node's first region and their extents; none for other nodes."""
    if node.op.name in ("parallel", "reduce", "row", "cumulate", "arrange"):
        extents = tuple(node.attrs["extents"])
        return node.regions[0].params[: len(extents)], extents
    return (), ()


class Expressions:
    """i64 values as expressions over the `Var`s of `extents` and of opaque values."""

    def __init__(self, extents: Mapping[Value, Dim]) -> None:
        self.extents = extents
        self.known: dict[Value, Dim] = {}

    def of(self, value: Value) -> Dim:
        """The expression of `value`."""
        if value not in self.known:
            self.known[value] = self._derive(value)
        return self.known[value]

    def _derive(self, value: Value) -> Dim:
        node = value.node
        if node is not None and node.op.name in ("index", "size"):
            return self.apply(node.attrs["expr"], node.operands)
        if node is not None and node.op.name == "constant":
            return int(node.attrs["value"].array)
        return of_atom(Var(value, self.extents.get(value)))

    def apply(self, dim: Dim, operands: Sequence[Value]) -> Dim:
        """`dim` with the operands' expressions in place of its slots."""

        def replace(atom: Atom) -> Dim:
            return self.of(operands[atom.position]) if isinstance(atom, Slot) else of_atom(atom)

        return substitute(dim, replace)

    def index(self, node: Node) -> tuple[Dim, ...]:
        """The index of a load, store or atomic."""
        return tuple(self.apply(dim, node.operands) for dim in node.attrs["index"])

    def offset(self, node: Node) -> Dim:
        """The flattened offset of a load, store or atomic."""
        return flat_offset(node.operands[0].type, self.index(node))


@dataclass(frozen=True, slots=True)
class Access:
    """A load, store or atomic: its node and flattened offset."""

    node: Node
    offset: Dim

    @property
    def writes(self) -> bool:
        return self.node.op.name != "load"


def accesses(
    region: Region, expressions: Expressions, inlined: Container[Node] = ()
) -> list[Access]:
    """All accesses in `region`, nested regions included.

    A load of a row that is in `inlined` counts as what the row's body accesses there; an element
    that rows of rows reach in several ways counts once for a row.
    """
    return _accesses(region, expressions, inlined, {})


def _accesses(
    region: Region,
    expressions: Expressions,
    inlined: Container[Node],
    rows: dict[Node, list[Access]],
) -> list[Access]:
    found: list[Access] = []
    for node in region.walk():
        if node.op.name not in ACCESSES:
            continue
        row = node.operands[0].node
        if row is None or row not in inlined:
            found.append(Access(node, expressions.offset(node)))
            continue
        if row not in rows:
            inner = _accesses(row.regions[0], expressions, inlined, rows)
            rows[row] = list(dict.fromkeys(inner))
        where = dict(zip(axes(row)[0], expressions.index(node), strict=True))
        found += [Access(a.node, replace_var(a.offset, where)) for a in rows[row]]
    return found


def index_uses(
    region: Region, expressions: Expressions, but: Container[Node] = ()
) -> Iterator[Dim]:
    """Expressions of the i64 values that are used as numbers, not only in an index; by nodes that
    are not in `but`."""
    for node in region.walk():
        if node in but:
            continue
        numbers: tuple[Value, ...] = node.operands
        if node.op.name in ACCESSES:
            numbers = () if node.op.name == "load" else node.operands[1:2]
        elif node.op.name in ("index", "size"):
            numbers = ()
        for inner in node.regions:
            numbers = (*numbers, *inner.yields)
        for value in numbers:
            if value.type is INDEX:
                yield expressions.of(value)


def dependents(region: Region, variable: Value) -> set[Value]:
    """The values computed in `region` that change with `variable`."""
    found = {variable}
    _collect_dependents(region, found)
    return found


def _collect_dependents(region: Region, found: set[Value]) -> None:
    for node in region.nodes:
        for inner in node.regions:
            _collect_dependents(inner, found)
        inside = any(o in found for n in _with_nested(node) for o in n.operands)
        if inside or any(y in found for inner in node.regions for y in inner.yields):
            found.update(node.results)
            for inner in node.regions:  # carried values and accumulators
                found.update(inner.params[_own_axes(node, found) :])
                _collect_dependents(inner, found)


def _own_axes(node: Node, found: set[Value]) -> int:
    """How many of the region's parameters run over ranges that are the same whatever changes."""
    if node.op.name != "for":
        return len(axes(node)[0])
    bounds = node.operands[node.attrs["carries"] :]
    return 0 if any(v in found for v in bounds) else 1


def _with_nested(node: Node) -> Iterator[Node]:
    yield node
    for region in node.regions:
        yield from region.walk()


def collapse(
    variables: Sequence[Value], extents: Sequence[Dim], dims: Sequence[Dim]
) -> tuple[tuple[int, ...], ...]:
    """Groups of adjacent axes such that each `dim` depends on a group's flat index affinely.

    Axes of extent 1 are left out.
    """
    groups: list[tuple[int, ...]] = []
    flat: Dim = 0  # the expression of the innermost group so far, as one variable
    inner: Dim = 1
    current = list(dims)
    for axis in reversed(range(len(extents))):
        if extents[axis] == 1:
            current = [replace_var(d, {variables[axis]: 0}) for d in current]
            continue
        if groups:
            joined, expressions = _join(variables[axis], extents[axis], flat, inner, current)
            if joined is not None:
                groups[0] = (axis, *groups[0])
                flat, inner, current = joined, extents[axis] * inner, expressions
                continue
        groups.insert(0, (axis,))
        flat, inner = of_atom(Var(variables[axis], extents[axis])), extents[axis]
    return tuple(groups)


def _join(
    outer: Value, extent: Dim, flat: Dim, inner: Dim, dims: Sequence[Dim]
) -> tuple[Dim | None, list[Dim]]:
    if isinstance(inner, int) and inner == 0:  # nothing runs, and no index can be divided
        return None, []
    variable = Value(outer.type)
    joined = of_atom(Var(variable, extent * inner))
    (flat_var,) = (a.value for a in atoms(flat) if isinstance(a, Var))
    mapping = {outer: joined // inner, flat_var: joined % inner}
    replaced = []
    for dim in dims:
        new = replace_var(dim, mapping)
        if any(isinstance(a, Var) and a.value is variable for a in _compound_atoms(new)):
            return None, []
        replaced.append(new)
    return joined, replaced


def _compound_atoms(dim: Dim) -> Iterator[Atom]:
    for monomial, _ in terms_of(dim):
        for atom in monomial:
            if isinstance(atom, Compound):
                yield from atoms(atom.left)
                yield from atoms(atom.right)


def replace_var(dim: Dim, mapping: Mapping[Value, Dim]) -> Dim:
    """`dim` with expressions in place of the variables in `mapping`."""
    if not isinstance(dim, Expr):
        return dim

    def replace(atom: Atom) -> Dim:
        if isinstance(atom, Var) and atom.value in mapping:
            return mapping[atom.value]
        return of_atom(atom)

    return substitute(dim, replace)


def unflatten(group: Sequence[int], extents: Sequence[Dim], flat: Dim) -> dict[int, Dim]:
    """The index along each axis of `group` at the flat index `flat`."""
    if any(isinstance(extents[axis], int) and extents[axis] == 0 for axis in group):
        return dict.fromkeys(group, 0)  # nothing runs
    found: dict[int, Dim] = {}
    rest = flat
    for axis in reversed(group[1:]):
        found[axis] = rest % extents[axis]
        rest = rest // extents[axis]
    found[group[0]] = rest
    return found


def coefficient(dim: Dim, variable: Value) -> Dim | None:
    """The factor of `variable` in `dim`; None where `dim` is not affine in it."""
    factor: Dim = 0
    for monomial, c in terms_of(dim):
        found = [a for a in monomial if isinstance(a, Var) and a.value is variable]
        rest = [a for a in monomial if not (isinstance(a, Var) and a.value is variable)]
        inside = any(
            isinstance(a, Var) and a.value is variable
            for atom in rest
            if isinstance(atom, Compound)
            for a in atoms(of_atom(atom))
        )
        if inside or len(found) > 1:
            return None
        if found:
            factor = factor + product([c, *(of_atom(a) for a in rest)])
    return factor
