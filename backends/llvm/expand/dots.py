"""A product with few rows whose columns lie along k in memory: dot products, nothing transposed.

Each accumulator is a vector of partial sums over k; its lanes are added up at the end. The columns
are read where they lie, and so are rows that lie along k; other rows are copied once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, Var, minimum, of_atom
from ....ir.graph import Value
from ....ir.literal import Literal
from .blocks import fixed, loop_over
from .microkernel import multiply_add
from .packing import Operand
from .scope import Expander, Scope, Vector

TOGETHER = 8  # columns at most; where all are in use, nothing waits


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an operand from number `first` on: where they lie, or, with a buffer, copied:
    element (r, k) at buffer[base + r * width + k]."""

    operand: Operand
    first: Dim
    buffer: Value | None = None
    base: Dim = 0
    width: int = 0


def copy_rows(expander: Expander, scope: Scope, rows: Rows, count: Dim) -> None:
    """Fills the copy of `count` rows."""
    operand, buffer = rows.operand, rows.buffer
    assert buffer is not None, "rows that are read in place are not copied"

    def copy(number: Dim) -> None:
        row = fixed(expander, minimum(rows.first + number, operand.total - 1))

        def turn(first: Dim, mask: Value | None, _: list[Value]) -> list[Value]:
            value = _elements(expander, scope, operand, row, first, mask)
            where = rows.base + number * rows.width + first
            expander.access("store", (buffer, value), where, lanes=operand.lanes)
            return []

        _over_k(expander, operand, [], turn)

    loop_over(expander, count, copy)


def dot(
    expander: Expander,
    scope: Scope,
    rows: Rows,
    height: int,
    operand: Operand,
    start: Dim,
    tile: Value,
    columns: int,
) -> None:
    """tile[r * columns + c] = sum over k of rows[r, k] * operand[start + c, k], for r < height."""
    together = 1
    while 2 * together <= min(TOGETHER, columns) and _fit(expander, height, 2 * together):
        together *= 2

    def group(variable: Value, _: list[Value]) -> tuple[()]:
        first = of_atom(Var(variable))
        wanted = [minimum(start + first + c, operand.total - 1) for c in range(together)]
        found = [fixed(expander, w) for w in wanted]
        sums = _sums(expander, scope, rows, height, operand, found)
        for r in range(height):
            partial = sums[r * together : (r + 1) * together]
            where = first + r * columns
            if together == 1:
                total = expander.emit("extract", add_lanes(expander, partial), lane=0)
                expander.access("store", (tile, total), where)
            else:
                total = add_lanes(expander, partial)
                expander.access("store", (tile, total), where, lanes=together)
        return ()

    expander.loop(0, columns, together, (), group)


def _fit(expander: Expander, height: int, columns: int) -> bool:
    """Whether the accumulators and one step of both operands fit the registers."""
    step = columns + 1 if height > 1 else 1  # a single use reads from memory
    return height * columns + step <= expander.target.registers


def _sums(
    expander: Expander,
    scope: Scope,
    rows: Rows,
    height: int,
    operand: Operand,
    columns: Sequence[Dim],
) -> list[Value]:
    """Vectors of partial sums, row-major over the rows and the given columns."""
    lanes = operand.lanes
    zeros = _zeros(expander, operand)

    def kept(value: Value, mask: Value | None) -> Value:
        return value if mask is None else expander.emit("where", mask, value, zeros)

    def row(r: int, first: Dim, mask: Value | None) -> Value:
        if rows.buffer is None:
            return _elements(expander, scope, rows.operand, rows.first + r, first, mask)
        where = rows.base + r * rows.width + first
        return expander.access("load", (rows.buffer,), where, lanes=lanes)

    def turn(first: Dim, mask: Value | None, totals: list[Value]) -> list[Value]:
        found = [
            kept(_elements(expander, scope, operand, column, first, mask), mask)
            for column in columns
        ]
        result: list[Value] = []
        for r in range(height):
            left = kept(row(r, first, mask), mask)
            for value in found:
                result.append(multiply_add(expander, left, value, totals[len(result)]))
        return result

    return _over_k(expander, operand, [zeros] * (height * len(columns)), turn)


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


def add_lanes(expander: Expander, vectors: Sequence[Value]) -> Value:
    """A vector of the sums of the lanes of each of `vectors`; their numbers are powers of two.

    Two vectors become one by halves, so that each has its own piece of it; then the pieces are
    folded.
    """
    found = list(vectors)
    lanes = found[0].type.shape[0]
    assert isinstance(lanes, int)
    piece = lanes
    while len(found) > 1 and piece > 1:
        pairs = zip(found[::2], found[1::2], strict=True)
        found = [_fold(expander, a, b, piece) for a, b in pairs]
        piece //= 2
    while piece > 1:
        found = [_fold(expander, v, None, piece) for v in found]
        piece //= 2
    while len(found) > 1:
        found = [expander.emit("join", a, b) for a, b in zip(found[::2], found[1::2], strict=True)]
    return found[0]


def _fold(expander: Expander, a: Value, b: Value | None, piece: int) -> Value:
    """Each piece of `a`, and of `b` where it is given, with its second half added to its first."""
    lanes = a.type.shape[0]
    assert isinstance(lanes, int)
    total = lanes if b is None else 2 * lanes
    lower = tuple(lane for lane in range(total) if lane % piece < piece // 2)
    upper = tuple(lane for lane in range(total) if lane % piece >= piece // 2)
    other = a if b is None else b
    halves = [expander.emit("shuffle", a, other, lanes=lanes) for lanes in (lower, upper)]
    return expander.emit("add", *halves)
