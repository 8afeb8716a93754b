"""Which loops are cut at the borders of what a kernel reads.

    for i, j: out[i, j] = j < 300 ? x[i, j] : y[i, j - 300]
    for i: { for j < 300: out[i, j] = x[i, j] } { for j >= 300: out[i, j] = y[i, j - 300] }

A concatenation, a pad or a roll reads a part of its operands on either side of a border. A loop
that crosses it reads all parts under masks; one that ends there reads one part by plain vectors.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import pairwise
from itertools import product as combinations
from math import prod

from ..ir.access import Access, Expressions, axes, collapse, dependents, index_uses
from ..ir.borders import Border, Chain, axes_of, border, deciding, known_at, specialised
from ..ir.dims import free_of_axes, nonnegative, product
from ..ir.graph import Node, Region, Value
from ..ir.ops.base import Kind

MOST_NODES = 160  # of all pieces' bodies together, if that is more than the body has: compile time
MOST_PIECES = 128  # of all loops together
BEGIN = 8  # instructions that beginning and ending a loop takes
MOVING = 40  # those of one whose ends differ from turn to turn, which the processor cannot foresee
UNKNOWN = 64  # vectors of a loop of unknown length
ACCESS = 2  # instructions that a load or store is worth

Groups = tuple[tuple[int, ...], ...]


def cuts(node: Node, expressions: Expressions) -> Iterator[Sequence[Chain]]:
    """Where the loops of `node` can be cut, what is to be tried first: all of them, those around
    the innermost, or this alone."""
    plain = all(n.op.name != "atomic" and not n.regions for n in node.regions[0].nodes)
    found = _chains(node, expressions) if plain and node.op.name == "parallel" else []
    if found:
        yield found
    if len(found) > 1:
        yield found[:-1]
        yield found[-1:]


def _chains(node: Node, expressions: Expressions) -> list[Chain]:
    """The loops of `node` that can be cut, and where. A comparison of several axes cuts the
    innermost; borders that come in no known order stay masks."""
    variables, extents = axes(node)
    found: dict[int, list[tuple[Border, Node]]] = {}
    for condition in deciding(node.regions[0]):
        involved = axes_of(condition, expressions, variables)
        if not involved or 0 in extents:
            continue
        axis = max(variables.index(v) for v in involved)
        where = border(condition, expressions, variables[axis])
        if where is not None and extents[axis] != 1:
            _insert(found.setdefault(axis, []), (where, condition))
    return [
        Chain(axis, tuple(c for _, c in chain), tuple(b for b, _ in chain))
        for axis, chain in sorted(found.items())
    ]


def _insert(chain: list[tuple[Border, Node]], new: tuple[Border, Node]) -> None:
    """Puts `new` where it belongs, if that is known."""
    position = len(chain)
    while position and not nonnegative(new[0].place - chain[position - 1][0].place):
        position -= 1
        if not nonnegative(chain[position][0].place - new[0].place):
            return
    chain.insert(position, new)


def cut_groups(
    node: Node, chosen: Sequence[Chain], expressions: Expressions, touched: Sequence[Access]
) -> Groups:
    """The axes that collapse where the loops are cut: each that a comparison depends on is the
    first of its group, so that a border along it is one along the group."""
    variables, extents = axes(node)
    conditions = {c for chain in chosen for c in chain.conditions}
    uses = index_uses(node.regions[0], expressions, conditions)
    groups = collapse(variables, extents, [*(a.offset for a in touched), *uses])
    firsts: set[int] = set()
    for chain in chosen:
        firsts |= _involved(node, chain, expressions)
    return _divided(groups, firsts)


def numbers(node: Node, chosen: Sequence[Chain], group: Sequence[int]) -> tuple[int, ...]:
    """The comparisons that cut the loop over `group`, as `Nest.cuts` has them."""
    nodes = node.regions[0].nodes
    return next(
        (tuple(map(nodes.index, chain.conditions)) for chain in chosen if chain.axis == group[0]),
        (),
    )


def _involved(node: Node, chain: Chain, expressions: Expressions) -> set[int]:
    """The axes that the comparisons of `chain` depend on."""
    variables, _ = axes(node)
    found = (axes_of(c, expressions, variables) or set() for c in chain.conditions)
    return {variables.index(v) for values in found for v in values}


def _divided(groups: Groups, firsts: Container[int]) -> Groups:
    """`groups` so divided that each axis in `firsts` is the first of its group: a border along it
    is one along the group."""
    found: list[tuple[int, ...]] = []
    for group in groups:
        start = 0
        for position in range(1, len(group)):
            if group[position] in firsts:
                found.append(group[start:position])
                start = position
        found.append(group[start:])
    return tuple(found)


def pays(
    node: Node,
    chosen: Sequence[Chain],
    expressions: Expressions,
    group: Sequence[int],
    native: int,
) -> bool:
    """Whether to cut: it is little code, and few more vectors of `native` lanes that do less.
    `group` has the axes that run in vectors, on which no other border may depend."""
    body = node.regions[0]
    for chain in chosen:
        if chain.axis != group[0] and group[0] in _involved(node, chain, expressions):
            return False
    pieces = [range(len(chain.places()) + 1) for chain in chosen]
    if prod(map(len, pieces)) > MOST_PIECES:
        return False
    bodies = {at: specialised(body, known_at(chosen, at)) for at in combinations(*pieces)}
    if sum(len(b.nodes) for b in bodies.values()) > max(MOST_NODES, len(body.nodes)):
        return False
    (variables, extents), innermost = axes(node), {group[0], group[-1]}
    lanes = [variables[axis] for axis in innermost]
    length = product(extents[axis] for axis in group)
    vectors = -(-length // native) if isinstance(length, int) else UNKNOWN
    along = next((k for k, chain in enumerate(chosen) if chain.axis == group[0]), None)
    runs: list[tuple[float, int]] = [(vectors, BEGIN)]
    if along is not None:
        runs = _runs(node, chosen[along], group, native, vectors)
    spent: dict[tuple[int, ...], float] = {}
    for at, piece in bodies.items():
        others = at if along is None else at[:along] + at[along + 1 :]
        count, begin = runs[0 if along is None else at[along]]
        spent[others] = spent.get(others, 0.0) + begin + count * _weight(piece, lanes)
    return max(spent.values()) < vectors * _weight(body, lanes)


def _weight(body: Region, lanes: Sequence[Value]) -> int:
    """What one vector takes along the axes `lanes`, roughly: what does not change there is outside
    of its loop."""
    changing: set[Value] = set()
    for variable in lanes:
        changing |= dependents(body, variable)
    total = 0
    for node in body.nodes:
        if node.op.name in ("load", "store"):
            total += ACCESS
        elif node.op.kind is Kind.ELEMENTWISE and node.results[0] in changing:
            total += node.op.cost
    return total


def _runs(
    node: Node, chain: Chain, group: Sequence[int], native: int, vectors: int
) -> list[tuple[float, int]]:
    """(vectors of `native` lanes, what its beginning takes) of each piece."""
    _, extents = axes(node)
    width = product(extents[axis] for axis in group[1:])
    whole, places = extents[chain.axis], chain.places()
    known = [place for place in places if isinstance(place, int)]
    if isinstance(width, int) and isinstance(whole, int) and len(known) == len(places):
        ends = [0, *(min(max(place, 0), whole) for place in known), whole]
        counts = [(b - a) * width for a, b in pairwise(ends)]
        return [(-(-count // native), BEGIN if count else 0) for count in counts]
    moving = not all(free_of_axes(place) for place in places)
    pieces = len(places) + 1
    return [(vectors / pieces, MOVING if moving else BEGIN)] * pieces
