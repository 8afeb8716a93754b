"""Outputs of which so many rows of a loop join one part: what schedules and backends ask."""

from __future__ import annotations

from .access import Expressions, axes, axis_extents
from .dims import Compound, Dim, Var, of_atom, terms_of
from .graph import Graph, Node


def flat_number(node: Node) -> Dim:
    """The number of a point of a node's axes, in row-major order."""
    flat: Dim = 0
    for axis, extent in zip(*axes(node), strict=True):
        flat = flat * extent + (0 if extent == 1 else of_atom(Var(axis, extent)))
    return flat


def rows_of_a_part(kernel: Graph) -> int | None:
    """How many points of the outermost loop, which are neighbours, meet at the same elements of
    what atomics join; None where it is not so, or there are no atomics."""
    joins = [n for n in kernel.walk() if n.op.name == "atomic"]
    loops = [n for n in kernel.nodes if n.regions]
    if not joins or len(loops) != 1 or loops[0].op.name != "parallel":
        return None
    expressions = Expressions(axis_extents(kernel))
    found = {_divisor(expressions.index(n)[0], flat_number(loops[0])) for n in joins}
    return found.pop() if len(found) == 1 else None


def _divisor(dim: Dim, number: Dim) -> int | None:
    """d, if `dim` is number // d."""
    terms = terms_of(dim)
    if len(terms) != 1 or terms[0][1] != 1 or len(terms[0][0]) != 1:
        return None
    (atom,) = terms[0][0]
    if not isinstance(atom, Compound) or atom.function != "//" or atom.left != number:
        return None
    return atom.right if isinstance(atom.right, int) else None
