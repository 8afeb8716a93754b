"""Copies operands of a product into the panels that a matrix unit multiplies (`ir/ops/matrix.py`).

Rows have 32 terms side by side, then come the 32 of the next row; columns have two terms of each,
side by side. What is missing of the last 32 terms is 0 in both. A panel is filled as others are
(`packing.py`): *across*, by vectors over its own axis, two terms at a time, or *along*, by vectors
of 32 terms. Where that is not how it is to lie, squares of 16 x 16 pairs are transposed in
registers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....ir.dims import Dim, minimum
from ....ir.graph import Value
from ....ir.literal import Literal
from ....ir.ops.matrix import DEEP, SIDE
from .blocks import (
    Place,
    always_together,
    ceil_div,
    compare,
    fixed,
    lane_places,
    loop_over,
    walk_by_two,
)
from .packing import Operand, Panel, existing, is_cheap, over_k, transpose
from .scope import Expander, Scope


def pack_rows(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    """Element (k, i) to buffer[base + k // 32 * 32 * width + i * 32 + k % 32]."""
    if operand.form == "along":
        _rows_along(expander, scope, operand, panel)
    else:
        _rows_across(expander, scope, operand, panel)


def pack_columns(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    """Element (k, i) to buffer[base + k // 2 * 2 * width + i * 2 + k % 2]."""
    if operand.form == "along":
        _columns_along(expander, scope, operand, panel)
    else:
        _columns_across(expander, scope, operand, panel)


# ---------------------------------------------------------------------------- along


def _rows_along(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    def row(number: Dim) -> None:
        inner = scope.inner()
        _bind_row(expander, inner, operand, panel, number)

        def copy(at: Scope, first: Dim, mask: Value | None) -> None:
            where = panel.base + first * panel.width + number * DEEP
            _store(expander, panel, where, _terms(expander, at, operand, mask))

        over_k(expander, inner, operand, panel, DEEP, copy)

    left = panel.rows if panel.exists else minimum(panel.rows, operand.total - panel.start)
    loop_over(expander, fixed(expander, left), row)


def _columns_along(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    def group(number: Dim) -> None:
        column = fixed(expander, number * SIDE)

        def row(scope: Scope, r: Dim, mask: Value | None) -> Value:
            at = scope.inner()
            _bind_row(expander, at, operand, panel, column + r)
            return _terms(expander, at, operand, mask)

        def block(inner: Scope, first: Dim, mask: Value | None) -> None:
            if is_cheap(operand.region):
                rows = [row(inner, r, mask) for r in range(SIDE)]
            else:
                square = Square(expander, operand)
                loop_over(expander, SIDE, lambda r: square.store(r, row(inner, r, mask)))
                rows = square.rows()
            for pair, value in enumerate(transpose(expander, rows, group=2)):
                where = panel.base + (first + 2 * pair) * panel.width + column * 2
                _store(expander, panel, where, value)

        over_k(expander, scope, operand, panel, DEEP, block)

    loop_over(expander, _groups(expander, operand, panel, SIDE), group)


def _bind_row(
    expander: Expander, scope: Scope, operand: Operand, panel: Panel, number: Dim
) -> None:
    found = existing(expander, operand, panel, fixed(expander, panel.start + number))
    operand.own.bind(scope, [fixed(expander, p) for p in operand.own.split(found)])


def _terms(expander: Expander, scope: Scope, operand: Operand, mask: Value | None) -> Value:
    """32 terms of the row that is bound; 0 where there are none."""
    value = expander.widen(operand.element(expander, scope), DEEP)
    if mask is None:
        return value
    return expander.emit("where", mask, value, _zeros(expander, operand, DEEP))


# ---------------------------------------------------------------------------- across


def _columns_across(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    lanes = _lanes(operand, panel)

    def group(number: Dim) -> None:
        column = fixed(expander, number * lanes)

        def fill(place: Place) -> None:
            def two(first: list[Dim], second: list[Dim] | None, pair: Dim) -> None:
                terms = [_element(expander, scope, operand, place, k) for k in (first, second)]
                where = panel.base + pair * (2 * panel.width) + column * 2
                for number, value in enumerate(_interleaved(expander, terms)):
                    _store(expander, panel, where + number * DEEP, value)

            walk_by_two(expander, operand.k, panel.k0, panel.count, two)

        _at_columns(expander, operand, panel, column, fill)

    loop_over(expander, _groups(expander, operand, panel, lanes), group)
    _no_terms(expander, operand, panel)


def _no_terms(expander: Expander, operand: Operand, panel: Panel) -> None:
    """Zeros behind the last pair of terms."""
    first, last = (panel.count + 1) // 2, (panel.count + (DEEP - 1)) // DEEP * SIDE
    zeros = _zeros(expander, operand, DEEP)

    def pair(number: Dim) -> None:
        for column in range(0, panel.width, SIDE):
            where = panel.base + (first + number) * (2 * panel.width) + column * 2
            _store(expander, panel, where, zeros)

    missing = last - first
    if missing != 0:
        loop_over(expander, fixed(expander, missing), pair)


def _rows_across(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    lanes = _lanes(operand, panel)
    squares = [Square(expander, operand) for _ in range(lanes // SIDE)]
    end = fixed(expander, panel.k0 + panel.count)

    def group(number: Dim) -> None:
        row = fixed(expander, number * lanes)

        def fill(place: Place) -> None:
            def block(deep: Dim) -> None:
                begin = fixed(expander, panel.k0 + deep * DEEP)

                def pair(turn: Dim) -> None:
                    terms = [
                        _term_below(expander, scope, operand, place, begin + turn * 2 + t, end)
                        for t in (0, 1)
                    ]
                    for square, value in zip(squares, _interleaved(expander, terms), strict=True):
                        square.store(turn, value)

                loop_over(expander, SIDE, pair)
                found = [v for square in squares for v in transpose(expander, square.rows(), 2)]
                for r, value in enumerate(found):
                    where = panel.base + deep * (DEEP * panel.width) + (row + r) * DEEP
                    _store(expander, panel, where, value)

            loop_over(expander, ceil_div(panel.count, DEEP), block)

        _at_columns(expander, operand, panel, row, fill)

    loop_over(expander, _groups(expander, operand, panel, lanes), group)


def _term_below(
    expander: Expander, scope: Scope, operand: Operand, place: Place, k: Dim, end: Dim
) -> Value:
    """Term k of the neighbours at a place; 0 from `end` on."""
    k = fixed(expander, k)
    at = operand.k.split(fixed(expander, minimum(k, end - 1)))
    value = _element(expander, scope, operand, place, at)
    exists = expander.widen(compare(expander, "lt", k, end), _count(value))
    return expander.emit("where", exists, value, _zeros(expander, operand, _count(value)))


def _at_columns(
    expander: Expander, operand: Operand, panel: Panel, column: Dim, fill: Callable[[Place], None]
) -> None:
    """`fill(place)` for the neighbours from `column` on."""
    start, lanes = fixed(expander, panel.start + column), _lanes(operand, panel)
    for (place,) in lane_places(expander, operand.own, [start], operand.total, lanes, lanes):
        fill(place)


def _interleaved(expander: Expander, terms: list[Value]) -> list[Value]:
    """Two terms of each of 16 neighbours, side by side, and so on."""
    lanes = _count(terms[0])
    order = [lane for k in range(lanes) for lane in (k, lanes + k)]
    return [
        expander.emit("shuffle", *terms, lanes=tuple(order[k : k + DEEP]))
        for k in range(0, 2 * lanes, DEEP)
    ]


def _element(
    expander: Expander, scope: Scope, operand: Operand, place: Place, k: list[Dim] | None
) -> Value:
    """The term at `k` of the neighbours at a place; None: zeros."""
    positions, vector = place
    if k is None:
        return _zeros(expander, operand, vector.lanes)
    inner = scope.inner(vector)
    operand.k.bind(inner, k)
    operand.own.bind(inner, positions)
    return expander.widen(operand.element(expander, inner), vector.lanes)


# ---------------------------------------------------------------------------- parts


class Square:
    """Scratch for 16 vectors of 16 pairs, to be transposed."""

    def __init__(self, expander: Expander, operand: Operand) -> None:
        self.expander = expander
        self.buffer = expander.alloc((SIDE * DEEP,), operand.dtype)

    def store(self, number: Dim, value: Value) -> None:
        self.expander.access("store", (self.buffer, value), number * DEEP, lanes=DEEP)

    def rows(self) -> list[Value]:
        load, numbers = self.expander.access, range(SIDE)
        return [load("load", (self.buffer,), r * DEEP, lanes=DEEP) for r in numbers]


def _lanes(operand: Operand, panel: Panel) -> int:
    """Neighbours that are read at once: whole lines of memory, where the panel has so many and they
    never cross the end of a run."""
    wide = 2 * SIDE
    whole = panel.width % wide == 0 and always_together(operand.own, wide, wide)
    return wide if whole else SIDE


def _count(vector: Value) -> int:
    lanes = vector.type.shape[0]
    assert isinstance(lanes, int)
    return lanes


def _groups(expander: Expander, operand: Operand, panel: Panel, lanes: int) -> Dim:
    """How many times so many rows or columns of a panel there are."""
    most = panel.width // lanes
    if panel.exists:
        return most
    return fixed(expander, minimum(most, ceil_div(operand.total - panel.start, lanes)))


def _store(expander: Expander, panel: Panel, where: Dim, value: Value) -> None:
    expander.access("store", (panel.buffer, value), where, lanes=DEEP)


def _zeros(expander: Expander, operand: Operand, lanes: int) -> Value:
    zero = expander.emit("constant", value=Literal(np.zeros((), operand.dtype.numpy)))
    return expander.widen(zero, lanes)
