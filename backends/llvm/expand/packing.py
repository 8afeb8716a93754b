"""Copies an operand of a product into panels: `width` neighbours side by side for each k.

The operand is a region, evaluated here and nowhere else: casts, windows and whatever was fused
into it cost once per panel. Three ways: *across* evaluates vectors over the panel's own axis, one k
after the other; *along* evaluates vectors over k, one row after the other, and transposes
squares of them in registers, for an operand whose neighbours in memory are neighbours in k;
*rows* evaluates vectors over k and leaves each row by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from ....ir.dims import Dim, Var, minimum, of_atom
from ....ir.dtypes import DType
from ....ir.graph import Region, Value
from ....ir.literal import Literal
from ....ir.ops.base import Kind
from .blocks import Axes, always_together, fixed, lane_places, loop_over, walk
from .microkernel import Reader
from .scope import Expander, Scope

UNROLLED_COST = 2  # scalar instructions of a region that is written out for each row of a square


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a product.

    Attributes:
        region: computes an element from (batch, own and k axes).
        batch, own, k: its axes as the region sees them.
        total: points of `own`.
        depth: points of `k`.
        dtype: what the elements become in the panels.
        lanes: elements of a vector.
        form: "across", "along", "rows", "direct" or "dots", see `ContractSchedule`.
    """

    region: Region
    batch: Axes
    own: Axes
    k: Axes
    total: Dim
    depth: Dim
    dtype: DType
    lanes: int
    form: str

    def element(self, expander: Expander, scope: Scope) -> Value:
        """The element, or elements, where the axes are bound, as `dtype`."""
        (value,) = expander.run(self.region, scope)
        if value.type.dtype is self.dtype:
            return value
        return expander.emit("cast", value, dtype=self.dtype)

    def place(self, expander: Expander, scope: Scope, own: Dim, k: Dim) -> tuple[Value, Dim]:
        """(buffer, flat offset) of an element that is one of memory as it is."""
        inner = scope.inner()
        self.own.bind(inner, self.own.split(own))
        self.k.bind(inner, self.k.split(k))
        for node in self.region.nodes:
            if node.op.name == "load":
                index = [expander.apply(d, node.operands, inner) for d in node.attrs["index"]]
                return expander.place(node.operands[0], index, inner)
            expander.node(node, inner)
        raise ValueError("the region reads no memory")

    def rows(self, expander: Expander, scope: Scope, first: Dim, count: int, k0: Dim) -> Reader:
        """For each k, counted from `k0`, the elements of `count` rows from `first` on, read where
        they lie."""
        rows = []
        for r in range(count):
            rows.append(scope.inner())
            positions = self.own.split(first + r)
            if len(positions) > 1:
                positions = [fixed(expander, p) for p in positions]
            self.own.bind(rows[-1], positions)

        def read(k: Dim) -> Iterator[Value]:
            at = self.k.indices(self.k.split(k0 + k))
            for row in rows:
                inner = row.inner()
                inner.exprs.update(at)
                yield self.element(expander, inner)

        return read


@dataclass(frozen=True, slots=True)
class Panel:
    """Where a panel goes: element (k, i) to buffer[base + k * width + i], or, in the form "rows",
    to buffer[base + i * depth + k].

    Attributes:
        start: the flat own index of i = 0.
        rows: how many i are wanted (at most width, a multiple of the lanes).
        k0, count: the range of k.
        aligned: a number that divides `start`.
        depth: the k that the panel has room for.
        exists: whether no row of it is past the end of the operand.
    """

    buffer: Value
    base: Dim
    width: int
    start: Dim
    rows: int
    k0: Dim
    count: Dim
    aligned: int
    depth: int
    exists: bool = False


def pack(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    """Fills a panel. Rows past the end of the operand hold arbitrary numbers."""
    if operand.form == "along":
        _pack_along(expander, scope, operand, panel)
    elif operand.form == "rows":
        _pack_rows(expander, scope, operand, panel)
    else:
        _pack_across(expander, scope, operand, panel)


def _pack_across(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    if always_together(operand.own, operand.lanes, panel.aligned):
        _pack_columns(expander, scope, operand, panel, range(0, panel.width, operand.lanes))
        return

    # Few vectors cross the end of a run, so each one looks for itself.
    def turn(variable: Value, _: list[Value]) -> tuple[()]:
        _pack_columns(expander, scope, operand, panel, [of_atom(Var(variable))])
        return ()

    expander.loop(0, panel.width, operand.lanes, (), turn)


def _pack_columns(
    expander: Expander, scope: Scope, operand: Operand, panel: Panel, columns: Sequence[Dim]
) -> None:
    """The vectors of a panel that start at the given columns."""
    lanes, own, total = operand.lanes, operand.own, operand.total
    starts = [fixed(expander, panel.start + v) for v in columns]
    aligned = panel.aligned if len(starts) > 1 else gcd(panel.aligned, lanes)
    for places in lane_places(expander, own, starts, total, lanes, aligned):

        def at_k(positions: list[Dim], turn: Dim, places: list = places) -> None:
            for v, (point, vector) in zip(columns, places, strict=True):
                inner = scope.inner(vector)
                operand.k.bind(inner, positions)
                own.bind(inner, point)
                value = expander.widen(operand.element(expander, inner), lanes)
                where = panel.base + turn * panel.width + v
                expander.access("store", (panel.buffer, value), where, lanes=lanes)

        walk(expander, operand.k, panel.k0, panel.count, at_k)


def _pack_along(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    lanes = operand.lanes
    if panel.width == lanes:
        _pack_squares(expander, scope, operand, panel, 0, panel.rows)
        return

    def group(number: Dim) -> None:
        _pack_squares(expander, scope, operand, panel, fixed(expander, number * lanes), lanes)

    loop_over(expander, panel.width // lanes, group)


def _pack_squares(
    expander: Expander, scope: Scope, operand: Operand, panel: Panel, column: Dim, count: int
) -> None:
    """`count` rows, which go to the columns from `column` on."""
    lanes = operand.lanes
    begin = fixed(expander, panel.start + column)

    def row(number: Dim) -> Dim:
        return existing(expander, operand, panel, begin + number)

    rows = [row(r) for r in range(count)]

    def square(inner: Scope, first: Dim, _: Value | None) -> None:
        if is_cheap(operand.region):
            found = [_row(expander, inner, operand, r) for r in rows]
        else:
            found = _rows_by_loop(expander, inner, operand, count, row)
        zero = expander.emit("constant", value=Literal(np.zeros((), operand.dtype.numpy)))
        found += [expander.widen(zero, lanes)] * (lanes - count)
        for turn, value in enumerate(transpose(expander, found)):
            where = panel.base + (first + turn) * panel.width + column
            expander.access("store", (panel.buffer, value), where, lanes=lanes)

    over_k(expander, scope, operand, panel, lanes, square)


def over_k(
    expander: Expander,
    scope: Scope,
    operand: Operand,
    panel: Panel,
    lanes: int,
    body: Callable[[Scope, Dim, Value | None], None],
) -> None:
    """`body(scope of a vector over k, its first k in the panel, which lanes are terms)` for all k
    of a panel."""

    def turn(variable: Value, _: list[Value]) -> tuple[()]:
        first = of_atom(Var(variable))
        k, end = fixed(expander, panel.k0 + first), panel.k0 + panel.count
        aligned = lanes if panel.k0 % lanes == 0 else 1
        for ((positions, vector),) in lane_places(expander, operand.k, [k], end, lanes, aligned):
            inner = scope.inner(vector)
            operand.k.bind(inner, positions)
            body(inner, first, vector.mask)
        return ()

    expander.loop(0, panel.count, lanes, (), turn)


def _pack_rows(expander: Expander, scope: Scope, operand: Operand, panel: Panel) -> None:
    lanes = operand.lanes

    def row(number: Dim) -> None:
        found = existing(expander, operand, panel, fixed(expander, panel.start + number))
        inner = scope.inner()
        positions = [fixed(expander, p) for p in operand.own.split(found)]
        operand.own.bind(inner, positions)

        def copy(at: Scope, first: Dim, _: Value | None) -> None:
            value = expander.widen(operand.element(expander, at), lanes)
            where = panel.base + number * panel.depth + first
            expander.access("store", (panel.buffer, value), where, lanes=lanes)

        over_k(expander, inner, operand, panel, lanes, copy)

    loop_over(expander, panel.rows, row)


def existing(expander: Expander, operand: Operand, panel: Panel, row: Dim) -> Dim:
    """`row`, but the last one for those past the end: what is read there is not used."""
    if panel.exists:
        return row
    return fixed(expander, minimum(row, operand.total - 1))


def is_cheap(region: Region) -> bool:
    """Whether little enough is computed for an element to be written out for each row."""
    cost = sum(n.op.cost for n in region.walk() if n.op.kind is Kind.ELEMENTWISE)
    return cost <= UNROLLED_COST


def _row(expander: Expander, scope: Scope, operand: Operand, row: Dim) -> Value:
    """The elements of a row at the scope's vector of k."""
    inner = scope.inner()
    operand.own.bind(inner, operand.own.split(row))
    return expander.widen(operand.element(expander, inner), operand.lanes)


def _rows_by_loop(
    expander: Expander, scope: Scope, operand: Operand, count: int, row: Callable[[Dim], Dim]
) -> list[Value]:
    """The same of many rows by a loop over them, through a square of scratch."""
    lanes = operand.lanes
    square = expander.alloc((lanes * lanes,), operand.dtype)

    def turn(variable: Value, _: list[Value]) -> tuple[()]:
        number = of_atom(Var(variable))
        value = _row(expander, scope, operand, row(number))
        expander.access("store", (square, value), number * lanes, lanes=lanes)
        return ()

    expander.loop(0, count, 1, (), turn)
    return [expander.access("load", (square,), r * lanes, lanes=lanes) for r in range(count)]


def transpose(expander: Expander, rows: list[Value], group: int = 1) -> list[Value]:
    """The columns of a square of vectors: halves of ever smaller blocks change places. `group`
    neighbours count as one element."""
    lanes = len(rows)
    found, step = list(rows), lanes // 2
    while step:
        upper = tuple(lane if not lane & step else lanes + lane - step for lane in range(lanes))
        lower = tuple(lane + step if not lane & step else lanes + lane for lane in range(lanes))
        for r in range(lanes):
            if not r & step:
                a, b = found[r], found[r + step]
                found[r] = expander.emit("shuffle", a, b, lanes=_grouped(upper, group))
                found[r + step] = expander.emit("shuffle", a, b, lanes=_grouped(lower, group))
        step //= 2
    return found


def _grouped(lanes: tuple[int, ...], group: int) -> tuple[int, ...]:
    return tuple(lane * group + g for lane in lanes for g in range(group))
