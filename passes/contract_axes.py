"""Where the axes of a `contract` go when it is computed in blocks of m, n and k on a GPU.

A convolution knows by comparing sums of positions and taps whether a window leaves the image. In a
block of positions and taps that is a comparison for each element of the block. So either the taps
or the positions, whichever are fewer, get out of the blocks: into a loop, or into the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.access import Expressions, index_uses
from ..ir.dims import Dim, Var, atoms, product
from ..ir.graph import Node, Region, Value

LEAST = 16  # elements of a block along any axis: what tensor cores multiply at once
UNKNOWN = 4096  # elements of an axis whose extent is a symbol


@dataclass(frozen=True, slots=True)
class Axes:
    """Numbers of axes.

    Attributes:
        with_m, with_n: of the batch, that run along m or n in front of its axes.
        alone_m, alone_n: of m and n, of which a program has one element.
        turns: of k, of which a block has one element.
    """

    with_m: tuple[int, ...] = ()
    with_n: tuple[int, ...] = ()
    alone_m: tuple[int, ...] = ()
    alone_n: tuple[int, ...] = ()
    turns: tuple[int, ...] = ()


def arranged(node: Node) -> Axes:
    """Where the axes of a `contract` go."""
    lhs, rhs, _ = node.regions
    b, m, k = (len(node.attrs[name]) for name in ("batch", "m", "k"))
    left, right = _read(lhs), _read(rhs)
    with_n = tuple(a for a in range(b) if lhs.params[a] not in left)
    with_m = tuple(a for a in range(b) if rhs.params[a] not in right and a not in with_n)
    turns_m, alone_m = _apart(node, lhs, "m", lhs.params[b : b + m], lhs.params[b + m :])
    turns_n, alone_n = _apart(node, rhs, "n", rhs.params[b + k :], rhs.params[b : b + k])
    turns = tuple(sorted({*turns_m, *turns_n}))
    if _points(node, "k", turns) < LEAST:
        turns = ()
    return Axes(with_m, with_n, alone_m, alone_n, turns)


def _read(region: Region) -> set[Value]:
    """The values that nodes of a region read."""
    return {operand for node in region.walk() for operand in node.operands}


def _apart(
    node: Node, region: Region, name: str, own: Sequence[Value], k: Sequence[Value]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(axes of k, own axes) that leave the blocks; only one of both has any."""
    extents = dict(zip((*own, *k), (*node.attrs[name], *node.attrs["k"]), strict=True))
    mixed: set[Value] = set()
    for dim in index_uses(region, Expressions(extents)):
        found = {a.value for a in atoms(dim) if isinstance(a, Var) and extents.get(a.value, 1) != 1}
        if found & {*own} and found & {*k}:
            mixed |= found
    of_own = tuple(a for a, v in enumerate(own) if v in mixed)
    of_k = tuple(a for a, v in enumerate(k) if v in mixed)
    sizes = [_points(node, n, _others(node, n, a)) for n, a in ((name, of_own), ("k", of_k))]
    if not mixed or any(dim == 0 for dim in extents.values()):
        return (), ()
    if sizes[1] <= sizes[0] and _points(node, "k", of_k) >= LEAST:
        return of_k, ()
    if sizes[0] <= sizes[1] and _points(node, name, of_own) >= LEAST:
        return (), of_own
    return (), ()


def _others(node: Node, name: str, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(a for a in range(len(node.attrs[name])) if a not in axes)


def _points(node: Node, name: str, without: Sequence[int]) -> int:
    """Elements along all axes but these; very many where their number is not known."""
    found = product(n for a, n in enumerate(node.attrs[name]) if a not in without)
    return found if isinstance(found, int) else UNKNOWN


def sizes_in_blocks(node: Node, axes: Axes) -> Iterator[Sequence[Dim]]:
    """The extents that are one in the grid, in m, in n and in k."""
    batch, m, n, k = (node.attrs[name] for name in ("batch", "m", "n", "k"))
    taken = (*axes.with_m, *axes.with_n)
    yield (
        *(d for a, d in enumerate(batch) if a not in taken),
        *(m[a] for a in axes.alone_m), *(n[a] for a in axes.alone_n),
    )  # fmt: skip
    yield (*(batch[a] for a in axes.with_m), *(d for a, d in enumerate(m) if a not in axes.alone_m))
    yield (*(batch[a] for a in axes.with_n), *(d for a, d in enumerate(n) if a not in axes.alone_n))
    yield tuple(d for a, d in enumerate(k) if a not in axes.turns)
