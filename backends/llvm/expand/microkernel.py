"""The register tile: rows x columns accumulators that stay in registers while k runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ....ir.dims import Dim, Var, of_atom
from ....ir.graph import Value
from .scope import Expander

Reader = Callable[[Dim], Iterable[Value]]  # turn of k -> what the tile needs there


def multiply(
    expander: Expander,
    count: Dim,
    start: Sequence[Value],
    rows: Reader,
    columns: Reader,
    unrolled: bool = False,
    together: int = 1,
) -> list[Value]:
    """The accumulators after `count` turns: tile[i][v] += rows(k)[i] * columns(k)[v].

    `rows` gives scalars, `columns` vectors; `start` is row-major. `unrolled` writes out every turn
    (of a count that is known), with k a number; else so many turns are written out `together`,
    which divides their count.
    """

    def add(k: Dim, tile: Sequence[Value]) -> list[Value]:
        vectors = list(columns(k))
        lanes = vectors[0].type.shape[0]
        found: list[Value] = []
        for value in rows(k):  # each one is read right before its use, and so takes no register
            row = expander.widen(value, lanes)
            for vector in vectors:
                found.append(multiply_add(expander, row, vector, tile[len(found)]))
        return found

    if unrolled:
        assert isinstance(count, int), "only a known number of turns is unrolled"
        tile = list(start)
        for k in range(count):
            tile = add(k, tile)
        return tile

    def turn(variable: Value, tile: list[Value]) -> list[Value]:
        for k in range(together):
            tile = add(of_atom(Var(variable)) * together + k, tile)
        return tile

    return expander.loop(0, count // together, 1, list(start), turn, unroll=1)


def multiply_add(expander: Expander, a: Value, b: Value, total: Value) -> Value:
    """a * b + total; rounded once for floats, where the target can."""
    if a.type.dtype.is_float:
        return expander.emit("fma", a, b, total)
    return expander.emit("add", expander.emit("mul", a, b), total)
