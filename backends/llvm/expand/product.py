"""A `contract` node as rows times columns, with the scratch that its blocks need."""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.dims import Dim, maximum, product
from ....ir.dtypes import DType, i64
from ....ir.graph import Node, Region, Value
from ....ir.ops.matrix import DEEP
from ....ir.schedule import ContractSchedule
from .blocks import Axes, ceil_div, joined_axes
from .packing import Operand
from .scope import Expander

PAGE = 4096  # bytes between addresses that share a set of the first cache
IN_PLACE = ("direct", "dots")  # forms of operands that are not copied


@dataclass(frozen=True, slots=True)
class Result:
    """The `out` region and its axes; its last parameter is the sum."""

    region: Region
    batch: Axes
    rows: Axes
    columns: Axes


@dataclass(frozen=True, slots=True)
class Scratch:
    """Memory of one task.

    Attributes:
        rows: packed rows: panel, k, element (`row_width` of them); panel, element, k in the form
            "rows"; for a matrix unit see `pairs.py`. None where they are read in place.
        columns: packed columns: panel, k, element (nr of them). None likewise.
        tiles: sums: tile, row, column. One tile where all of k is one block (a column of them for
            a matrix unit), else all of a block.
        packed: which blocks `columns` and `rows` hold.
        depth: the k that a panel has room for.
    """

    rows: Value | None
    columns: Value | None
    tiles: Value
    packed: Value
    depth: int
    row_width: int


class Product:
    """Attributes: the two operands, the result, extents (`batch`, `depth`), the number of blocks
    along m, n and k, whether all of k is a `single` block, and the dtypes `acc` of sums and
    `packed` of panels."""

    def __init__(self, node: Node, schedule: ContractSchedule) -> None:
        lhs, rhs, out = node.regions
        batch, m, n, k = (tuple(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        self.schedule = schedule
        self.acc: DType = node.attrs["acc"]
        self.packed: DType = node.attrs["dtype"] if schedule.matrix else self.acc
        self.batch, self.depth = product(batch), product(k)
        forms = (schedule.rows, schedule.columns)
        if schedule.swap:
            forms = (forms[1], forms[0])
        over_batch, over_m, over_k = axes_of(lhs, batch, m, k)
        left = self._operand(lhs, over_batch, over_m, over_k, product(m), forms[0])
        over_batch, over_k, over_n = axes_of(rhs, batch, k, n)
        right = self._operand(rhs, over_batch, over_n, over_k, product(n), forms[1])
        over_batch, over_m, over_n = axes_of(out, batch, m, n)
        if schedule.swap:
            self.rows, self.columns = right, left
            self.result = Result(out, over_batch, over_n, over_m)
        else:
            self.rows, self.columns = left, right
            self.result = Result(out, over_batch, over_m, over_n)
        self.blocks_m = ceil_div(self.rows.total, schedule.mc)
        self.blocks_n = ceil_div(self.columns.total, schedule.nc)
        self.blocks_k = maximum(1, ceil_div(self.depth, schedule.kc))
        self.single = self.blocks_k == 1

    def _operand(
        self, region: Region, batch: Axes, own: Axes, k: Axes, total: Dim, form: str
    ) -> Operand:
        lanes = self.schedule.lanes
        return Operand(region, batch, own, k, total, self.depth, self.packed, lanes, form)

    @property
    def tasks(self) -> Dim:
        return self.batch * self.blocks_n * self.blocks_m

    def allocate(self, expander: Expander) -> Scratch:
        """The scratch of a task."""
        schedule, lanes = self.schedule, self.schedule.lanes
        deep = min(self.depth, schedule.kc) if isinstance(self.depth, int) else schedule.kc
        deep = _round_up(
            deep, DEEP if schedule.matrix else lanes
        )  # vectors over k are stored whole
        if self.rows.form == "rows" and deep * self.acc.itemsize % PAGE == 0:
            deep += lanes  # else the elements of one k would share a set of the cache
        by_rows = schedule.matrix or self.rows.form == "rows" or self.columns.form == "dots"
        row_width = schedule.mr if by_rows else _round_up(schedule.mr, lanes)
        panels = schedule.mc // schedule.mr
        rows = columns = None
        if self.rows.form not in IN_PLACE:
            rows = expander.alloc((panels * row_width * deep,), self.packed)
        if self.columns.form not in IN_PLACE:
            columns = expander.alloc((schedule.nc * deep,), self.packed)
        tiles = panels * (1 if self.single else schedule.nc // schedule.nr)
        if self.single and not schedule.matrix:
            tiles = 1
        return Scratch(
            rows=rows,
            columns=columns,
            tiles=expander.alloc((tiles * schedule.mr * schedule.nr,), self.acc),
            packed=expander.alloc((2,), i64),
            depth=deep,
            row_width=row_width,
        )


def _round_up(a: int, b: int) -> int:
    return (a + b - 1) // b * b


def axes_of(region: Region, *groups: tuple[Dim, ...]) -> list[Axes]:
    """`Axes` of a region whose first parameters are those of `groups`."""
    extents: dict[Value, Dim] = {}
    variables: list[list[Value]] = []
    position = 0
    for group in groups:
        variables.append(list(region.params[position : position + len(group)]))
        extents.update(zip(variables[-1], group, strict=True))
        position += len(group)
    return joined_axes(region, extents, variables)
