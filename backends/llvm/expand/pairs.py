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
from .blocks import Place, ceil_div, compare, fixed, lane_places, loop_over, walk_by_two
from .packing import Operand, Panel, existing, over_k, transpose
from .scope import Expander, Scope

INTERLEAVED = tuple(lane for k in range(SIDE) for lane in (k, SIDE + k))


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
    square = expander.alloc((SIDE * DEEP,), operand.dtype)

    def group(number: Dim) -> None:
        column = fixed(expander, number * SIDE)

        def block(inner: Scope, first: Dim, mask: Value | None) -> None:
            def row(r: Dim) -> None:
                at = inner.inner()
                _bind_row(expander, at, operand, panel, column + r)
                value = _terms(expander, at, operand, mask)
                expander.access("store", (square, value), r * DEEP, lanes=DEEP)

            loop_over(expander, SIDE, row)
            for pair, value in enumerate(_transposed(expander, square)):
                where = panel.base + (first + 2 * pair) * panel.width + column * 2
                _store(expander, panel, where, value)

        over_k(expander, scope, operand, panel, DEEP, block)

    loop_over(expander, _groups(expander, operand, panel), group)


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
    def group(number: Dim) -> None:
        column = fixed(expander, number * SIDE)

        def fill(place: Place) -> None:
            def two(first: list[Dim], second: list[Dim] | None, pair: Dim) -> None:
                value = _interleaved(expander, scope, operand, place, first, second)
                where = panel.base + pair * (2 * panel.width) + column * 2
                _store(expander, panel, where, value)

            walk_by_two(expander, operand.k, panel.k0, panel.count, two)

        _at_columns(expander, operand, panel, column, fill)

    loop_over(expander, _groups(expander, operand, panel), group)
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
    square = expander.alloc((SIDE * DEEP,), operand.dtype)
    end = fixed(expander, panel.k0 + panel.count)

    def group(number: Dim) -> None:
        row = fixed(expander, number * SIDE)

        def fill(place: Place) -> None:
            def block(deep: Dim) -> None:
                begin = fixed(expander, panel.k0 + deep * DEEP)

                def pair(turn: Dim) -> None:
                    terms = [fixed(expander, begin + turn * 2 + t) for t in (0, 1)]
                    value = _pair_below(expander, scope, operand, place, terms, end, panel)
                    expander.access("store", (square, value), turn * DEEP, lanes=DEEP)

                loop_over(expander, SIDE, pair)
                for r, value in enumerate(_transposed(expander, square)):
                    where = panel.base + deep * (DEEP * panel.width) + (row + r) * DEEP
                    _store(expander, panel, where, value)

            loop_over(expander, (panel.count + (DEEP - 1)) // DEEP, block)

        _at_columns(expander, operand, panel, row, fill)

    loop_over(expander, _groups(expander, operand, panel), group)


def _pair_below(
    expander: Expander, scope: Scope, operand: Operand, place: Place, terms: list[Dim], end: Dim,
    panel: Panel,
) -> Value:  # fmt: skip
    """The two `terms` of 16 rows; 0 from `end` on."""
    if panel.count % DEEP == 0:
        first, second = (operand.k.split(k) for k in terms)
        return _interleaved(expander, scope, operand, place, first, second)
    found = []
    for k in terms:
        at = operand.k.split(fixed(expander, minimum(k, end - 1)))
        value = _element(expander, scope, operand, place, at)
        exists = expander.widen(compare(expander, "lt", k, end), SIDE)
        found.append(expander.emit("where", exists, value, _zeros(expander, operand, SIDE)))
    return expander.emit("shuffle", *found, lanes=INTERLEAVED)


def _at_columns(
    expander: Expander, operand: Operand, panel: Panel, column: Dim, fill: Callable[[Place], None]
) -> None:
    """`fill(place)` for the 16 neighbours from `column` on."""
    start = fixed(expander, panel.start + column)
    for (place,) in lane_places(expander, operand.own, [start], operand.total, SIDE, SIDE):
        fill(place)


def _interleaved(
    expander: Expander, scope: Scope, operand: Operand, place: Place, first: list[Dim],
    second: list[Dim] | None,
) -> Value:  # fmt: skip
    """Two terms of each of 16 neighbours, side by side; without `second` that is 0."""
    left = _element(expander, scope, operand, place, first)
    if second is None:
        right = _zeros(expander, operand, SIDE)
    else:
        right = _element(expander, scope, operand, place, second)
    return expander.emit("shuffle", left, right, lanes=INTERLEAVED)


def _element(
    expander: Expander, scope: Scope, operand: Operand, place: Place, k: list[Dim]
) -> Value:
    positions, vector = place
    inner = scope.inner(vector)
    operand.k.bind(inner, k)
    operand.own.bind(inner, positions)
    return expander.widen(operand.element(expander, inner), SIDE)


# ---------------------------------------------------------------------------- parts


def _groups(expander: Expander, operand: Operand, panel: Panel) -> Dim:
    """How many times 16 rows or columns of a panel there are."""
    most = panel.width // SIDE
    if panel.exists:
        return most
    return fixed(expander, minimum(most, ceil_div(operand.total - panel.start, SIDE)))


def _transposed(expander: Expander, square: Value) -> list[Value]:
    """The square of pairs that lies there, the other way round."""
    rows = [expander.access("load", (square,), r * DEEP, lanes=DEEP) for r in range(SIDE)]
    return transpose(expander, rows, group=2)


def _store(expander: Expander, panel: Panel, where: Dim, value: Value) -> None:
    expander.access("store", (panel.buffer, value), where, lanes=DEEP)


def _zeros(expander: Expander, operand: Operand, lanes: int) -> Value:
    zero = expander.emit("constant", value=Literal(np.zeros((), operand.dtype.numpy)))
    return expander.widen(zero, lanes)
