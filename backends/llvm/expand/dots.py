"""A product with few rows whose columns lie along k in memory: dot products, nothing transposed.

Each accumulator is a vector of partial sums over k; its lanes are added up at the end. The rows are
copied once, the columns are read where they lie, each element once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, Var, minimum, of_atom
from ....ir.graph import Value
from ....ir.literal import Literal
from .blocks import fixed
from .microkernel import multiply_add
from .packing import Operand
from .scope import Expander, Scope, Vector

TOGETHER = 8  # accumulators, so that one does not wait for another


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an operand, copied: element (r, k) at buffer[r * width + k]."""

    buffer: Value
    width: int
    count: int


def copy_rows(expander: Expander, scope: Scope, operand: Operand, rows: Rows) -> None:
    """Fills the copy."""
    for row in range(rows.count):

        def turn(first: Dim, mask: Value | None, _: list[Value], row: int = row) -> list[Value]:
            value = _elements(expander, scope, operand, row, first, mask)
            where = first + row * rows.width
            expander.access("store", (rows.buffer, value), where, lanes=operand.lanes)
            return []

        _over_k(expander, operand, [], turn)


def dot(
    expander: Expander,
    scope: Scope,
    rows: Rows,
    operand: Operand,
    start: Dim,
    tile: Value,
    columns: int,
) -> None:
    """tile[r * columns + c] = sum over k of rows[r, k] * operand[start + c, k]."""
    together = 1
    while 2 * together * rows.count <= TOGETHER and columns % (2 * together) == 0:
        together *= 2

    def group(variable: Value, _: list[Value]) -> tuple[()]:
        first = of_atom(Var(variable))
        wanted = [minimum(start + first + c, operand.total - 1) for c in range(together)]
        sums = _sums(expander, scope, rows, operand, [fixed(expander, w) for w in wanted])
        for position, partial in enumerate(sums):
            r, c = divmod(position, together)
            total = _add_lanes(expander, partial)
            expander.access("store", (tile, total), first + (r * columns + c))
        return ()

    expander.loop(0, columns, together, (), group)


def _sums(
    expander: Expander, scope: Scope, rows: Rows, operand: Operand, columns: Sequence[Dim]
) -> list[Value]:
    """Vectors of partial sums, row-major over the rows and the given columns."""
    lanes = operand.lanes
    zeros = _zeros(expander, operand)

    def kept(value: Value, mask: Value | None) -> Value:
        return value if mask is None else expander.emit("where", mask, value, zeros)

    def turn(first: Dim, mask: Value | None, totals: list[Value]) -> list[Value]:
        found = [
            kept(_elements(expander, scope, operand, column, first, mask), mask)
            for column in columns
        ]
        result: list[Value] = []
        for r in range(rows.count):
            where = first + r * rows.width
            row = expander.access("load", (rows.buffer,), where, lanes=lanes)
            for value in found:
                total = totals[len(result)]
                result.append(multiply_add(expander, kept(row, mask), value, total))
        return result

    return _over_k(expander, operand, [zeros] * (rows.count * len(columns)), turn)


def _over_k(
    expander: Expander,
    operand: Operand,
    carried: list[Value],
    turn: Callable[[Dim, Value | None, list[Value]], list[Value]],
) -> list[Value]:
    """turn(k, mask, carried) for every vector of k, the last one masked if it is not full."""
    lanes, depth = operand.lanes, operand.depth
    whole = fixed(expander, depth // lanes * lanes)

    def full(variable: Value, inside: list[Value]) -> list[Value]:
        return turn(of_atom(Var(variable)), None, inside)

    carried = expander.loop(0, whole, lanes, carried, full)
    if depth % lanes == 0:
        return carried
    bound = expander.materialise(depth)

    def rest(variable: Value, inside: list[Value]) -> list[Value]:
        mask = expander.emit("mask", variable, bound, lanes=lanes)
        return turn(of_atom(Var(variable)), mask, inside)

    return expander.loop(whole, depth, lanes, carried, rest)


def _elements(
    expander: Expander, scope: Scope, operand: Operand, own: Dim, first: Dim, mask: Value | None
) -> Value:
    """The elements of one row or column for a vector of k."""
    lanes = operand.lanes
    iota = expander.emit("lanes", expander.integer(0), lanes=lanes)
    inner = scope.inner(Vector(lanes, iota, mask))
    operand.own.bind(inner, operand.own.split(own))
    operand.k.bind(inner, operand.k.split(first + of_atom(Var(iota, lanes))))
    return expander.widen(operand.element(expander, inner), lanes)


def _zeros(expander: Expander, operand: Operand) -> Value:
    zero = expander.emit("constant", value=Literal(np.zeros((), operand.dtype.numpy)))
    return expander.widen(zero, operand.lanes)


def _add_lanes(expander: Expander, value: Value) -> Value:
    """The sum of a vector's lanes, by halves."""
    lanes = value.type.shape[0]
    assert isinstance(lanes, int)
    while lanes > 1:
        value = expander.emit("add", expander.emit("low", value), expander.emit("high", value))
        lanes //= 2
    return expander.emit("extract", value, lane=0)
