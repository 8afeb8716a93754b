"""What attention kernels are made of: panels and rows in scratch, products, loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.dims import Dim, Var, maximum, minimum, of_atom, product
from ....ir.graph import Node, Region, Value
from ....ir.literal import Literal
from ....ir.ops.attend import AXES, extents_of
from ....ir.ops.attention import part_size
from ....ir.schedule import AttendSchedule
from .blocks import Axes, ceil_div, fixed, joined_axes, lane_places, loop_over
from .microkernel import Reader, multiply
from .packing import Operand, Panel, pack
from .prefetch import prefetch_row
from .scope import Expander, Scope

PAGE = 4096  # bytes between addresses that share a set of the first cache


@dataclass(frozen=True, slots=True)
class Part:
    """A region, and its axes by letter (see `ir.ops.attend`)."""

    region: Region
    axes: dict[str, Axes]


@dataclass(frozen=True, slots=True)
class QueryBlock:
    """A block of queries: its first one, how many there are, and in how many panels."""

    first: Dim
    count: Dim
    panels: Dim


@dataclass(frozen=True, slots=True)
class Held:
    """Elements in scratch: `depth` of them for each row, or of each panel, or of each query."""

    buffer: Value
    depth: int


class Attention:
    """The sizes of an attention kernel, and what its loops share."""

    def __init__(self, expander: Expander, node: Node) -> None:
        chosen = expander.nests[node].attend
        if chosen is None:
            raise ValueError(f"{node.op.name} needs an AttendSchedule")
        self.expander = expander
        self.schedule: AttendSchedule = chosen
        attrs = node.attrs
        self.batch, self.groups, self.queries, self.keys, features, width = (
            product(dims) for dims in extents_of(attrs, "bglsev")
        )
        if not (isinstance(features, int) and isinstance(width, int)):
            raise ValueError(f"{node.op.name} of {features} features and a width of {width}")
        self.features, self.width = features, width
        self.parts_of_keys: int = attrs.get("parts", 1)
        self.part_keys: Dim = self.keys
        if self.parts_of_keys > 1:
            assert isinstance(self.keys, int), "keys that are cut are a number"
            self.part_keys = part_size(self.keys, self.parts_of_keys)
        self.acc = attrs["acc"]
        self.lanes = chosen.lanes
        self.vectors = chosen.nr // chosen.lanes
        self.offsets = range(0, chosen.nr, chosen.lanes)
        self.scale = float(attrs["scale"].array)
        self.hidden = float(attrs["hidden"].array)
        self.causal, self.safe = attrs["causal"], attrs["safe"]
        self.masked, self.factored = attrs["masked"], attrs["factored"]
        self.parts = {
            name: _part(region, letters, attrs)
            for (name, letters), region in zip(
                AXES[node.op.name].items(), node.regions, strict=True
            )
        }

    def uses(self, name: str) -> bool:
        """Whether anything is made of the result `name`."""
        return bool(self.parts[name].region.nodes)

    # ------------------------------------------------------------------ tasks

    def tasks(self, scope: Scope, total: Dim, body: Callable[[Scope, Dim], None]) -> None:
        """The outermost loop."""
        if total == 0:
            return

        def turn(variable: Value, _: list[Value]) -> Sequence[Value]:
            body(scope.inner(), of_atom(Var(variable, total)))
            return ()

        self.expander.loop(0, total, 1, (), turn, parallel=True)

    def bind_outer(self, scope: Scope, number: Dim) -> None:
        """Lets the axes of batch and groups be at the flat index `number` over both."""
        batch = fixed(self.expander, number // self.groups)
        self.bind_batch(scope, batch)
        self.bind_group(scope, fixed(self.expander, number - batch * self.groups))

    def bind_batch(self, scope: Scope, batch: Dim) -> None:
        self._bind(scope, "b", batch)

    def bind_group(self, scope: Scope, group: Dim) -> None:
        self._bind(scope, "g", group)

    def bind_part(self, scope: Scope, part: Dim) -> None:
        self._bind(scope, "p", part)

    def _bind(self, scope: Scope, letter: str, flat: Dim) -> None:
        for part in self.parts.values():
            if letter in part.axes:
                axes = part.axes[letter]
                axes.bind(scope, [fixed(self.expander, p) for p in axes.split(flat)])

    def query_block(self, first: Dim) -> QueryBlock:
        """The block that begins at the query `first`."""
        count = fixed(self.expander, minimum(self.schedule.queries, self.queries - first))
        return QueryBlock(first, count, fixed(self.expander, ceil_div(count, self.schedule.nr)))

    # ------------------------------------------------------------------ causal

    def evened(self, number: Dim, count: Dim) -> Dim:
        """The number of a piece of work, of `count` that grow (or shrink) with it: first and last
        ones take turns, so that tasks next to each other have as much to do as any others."""
        half = fixed(self.expander, number // 2)
        odd = number - 2 * half
        return fixed(self.expander, half + odd * (count - 1 - 2 * half))

    def seen(self, start: Dim, first: Dim, count: Dim) -> Dim:
        """How many of `count` keys from `first` on the panel of the queries from `start` on sees,
        if it is causal."""
        return fixed(self.expander, maximum(0, minimum(count, start + self.schedule.nr - first)))

    def plain_rows(self, start: Dim, first: Dim, seen: Dim) -> Dim:
        """How many of the `seen` first keys are in whole tiles that all queries from `start` on
        see."""
        whole = fixed(self.expander, maximum(0, minimum(seen, start + 1 - first)))
        return fixed(self.expander, whole // self.schedule.mr * self.schedule.mr)

    # ------------------------------------------------------------------ scratch

    def alloc(self, size: Dim) -> Value:
        return self.expander.alloc((size,), self.acc)

    def emit(self, name: str, *operands: Value, **attrs: Any) -> Value:
        return self.expander.emit(name, *operands, **attrs)

    def load(self, buffer: Value, place: Dim) -> Value:
        """A vector."""
        return self.expander.access("load", (buffer,), place, lanes=self.lanes)

    def store(self, buffer: Value, place: Dim, value: Value) -> None:
        self.expander.access("store", (buffer, value), place, lanes=self.lanes)

    def vector(self, number: float) -> Value:
        literal = Literal(np.asarray(number).astype(self.acc.numpy))
        return self.expander.widen(self.expander.emit("constant", value=literal), self.lanes)

    def fill(self, buffer: Value, vectors: Dim, value: Value) -> None:
        """The first `vectors` vectors of `buffer` become `value`."""
        count = fixed(self.expander, vectors)
        loop_over(self.expander, count, lambda k: self.store(buffer, k * self.lanes, value))

    def height(self, extent: int) -> int:
        """Rows of the register tiles over an axis of `extent`."""
        tiles = max(1, -(-extent // self._most_rows))
        return max(1, -(-extent // tiles))

    @property
    def _most_rows(self) -> int:
        target = self.expander.target
        spare = 2 if target.fma else 4
        return max(1, min((target.registers - spare - self.vectors) // self.vectors, 16))

    def padded_rows(self, extent: int, height: int) -> int:
        """Rows that tiles of `height` and squares of vectors over `extent` take."""
        return max(round_up(extent, height), round_up(extent, self.lanes))

    def panel_buffer(self, name: str, depth: int, panels: int) -> Held:
        """Room for `panels` panels of the operand `name`."""
        deep = round_up(max(depth, 1), self.lanes)  # vectors over the depth are stored whole
        return Held(self.alloc(panels * deep * self.schedule.nr), deep)

    def block_buffer(self, name: str) -> Value:
        """Room for the elements of `name` where a panel meets a block of keys."""
        return self.alloc(round_up(self.schedule.keys, self.lanes) * self.schedule.nr)

    def rows_buffer(self, name: str, rows: int) -> Held:
        """Room for `rows` rows of the operand `name`, each contiguous."""
        extent = self.parts[name].axes[AXES_OF_ROWS[name]].extents
        deep = round_up(max(known(product(extent)), 1), self.lanes)
        if deep * self.acc.itemsize % PAGE == 0:
            deep += self.lanes  # else the elements of one column would share a set of the cache
        # A tile of columns may reach past the last one.
        return Held(self.alloc(rows * deep + round_up(self._most_rows, self.lanes)), deep)

    # ------------------------------------------------------------------ operands

    def fill_panels(self, scope: Scope, name: str, held: Held, block: QueryBlock) -> None:
        """The panels of a block of queries: element (k, query) at k * nr + query."""
        operand = self._operand(name, "l", AXES_OF_ROWS[name], getattr(self.schedule, name))
        nr = self.schedule.nr

        def panel(number: Dim) -> None:
            base = fixed(self.expander, number * (held.depth * nr))
            start = fixed(self.expander, block.first + number * nr)
            exists = operand.total % nr == 0
            where = Panel(
                held.buffer, base, nr, start, nr, 0, operand.depth, nr, held.depth, exists
            )
            pack(self.expander, scope.inner(), operand, where)

        loop_over(self.expander, block.panels, panel)

    def fill_block(
        self, scope: Scope, name: str, buffer: Value, start: Dim, first: Dim, count: Dim
    ) -> None:
        """The elements of `name` for a panel and `count` keys: (key, query) at key * nr + query."""
        operand = self._operand(name, "l", "s", getattr(self.schedule, name))
        nr = self.schedule.nr
        deep = round_up(self.schedule.keys, self.lanes)
        where = Panel(buffer, 0, nr, start, nr, first, count, nr, deep, operand.total % nr == 0)
        pack(self.expander, scope.inner(), operand, where)

    def fill_rows(
        self, scope: Scope, name: str, held: Held, first: Dim, count: Dim, own: str = "s"
    ) -> None:
        """Rows first .. first + count, filled up to a whole tile by the last one."""
        operand = self._operand(name, own, AXES_OF_ROWS[name], "rows")
        rows = ceil_div(count, self.schedule.mr) * self.schedule.mr

        def row(number: Dim) -> None:
            base, start = fixed(self.expander, number * held.depth), first + number
            where = Panel(
                held.buffer, base, 1, start, 1, 0, operand.depth, 1, held.depth
            )  # fmt: skip
            pack(self.expander, scope.inner(), operand, where)

        loop_over(self.expander, fixed(self.expander, rows), row)

    def prefetch_keys(self, scope: Scope, first: Dim, panel: Dim, tile: Dim) -> None:
        """Hints at some rows of keys and values of the block after the one that begins at `first`,
        for a tile of a panel: all tiles together bring in the block while products are made."""
        s = self.schedule
        if isinstance(self.part_keys, int) and self.part_keys <= s.keys:
            return
        tiles, panels = s.keys // s.mr, s.queries // s.nr
        share = -(-s.keys // (tiles * panels))
        for r in range(share):
            row = first + s.keys + (panel * tiles + tile) * share + r
            row = fixed(self.expander, minimum(row, self.keys - 1))
            for name in ("key", "value"):
                operand = self._operand(name, "s", AXES_OF_ROWS[name], "rows")
                prefetch_row(self.expander, scope, operand, row)

    def prefetch_result(self, scope: Scope, name: str, start: Dim, tile: Dim) -> None:
        """Hints at some rows of a panel's result, the first one of which is `start`, for a tile of
        the last block of keys."""
        s = self.schedule
        share = -(-s.nr // (s.keys // s.mr))
        operand = self._operand(name, "l", AXES_OF_ROWS[name], "rows")
        for r in range(share):
            row = fixed(self.expander, minimum(start + tile * share + r, self.queries - 1))
            prefetch_row(self.expander, scope, operand, row, "store")

    def fill_queries(self, scope: Scope, name: str, buffer: Value, block: QueryBlock) -> None:
        """What there is one of for each query of a block."""
        part, nr = self.parts[name], self.schedule.nr
        axes = part.axes["l"]

        def panel(number: Dim) -> None:
            rows = number * nr
            starts = [fixed(self.expander, block.first + rows + v) for v in self.offsets]
            for found in lane_places(self.expander, axes, starts, self.queries, self.lanes, nr):
                for v, (position, vector) in zip(self.offsets, found, strict=True):
                    inner = scope.inner(vector)
                    axes.bind(inner, position)
                    (value,) = self.expander.run(part.region, inner)
                    self.store(buffer, rows + v, self.expander.widen(value, self.lanes))

        loop_over(self.expander, block.panels, panel)

    def _operand(self, name: str, own: str, k: str, form: str) -> Operand:
        part = self.parts[name]
        total, depth = (product(part.axes[letter].extents) for letter in (own, k))
        axes = part.axes
        return Operand(
            part.region, axes["b"], axes[own], axes[k], total, depth, self.acc, self.lanes, form
        )

    # ------------------------------------------------------------------ products

    def product(
        self, count: Dim, height: int, rows: Reader, columns: Reader,
        begin: Sequence[Value] | None = None,
    ) -> list[Value]:  # fmt: skip
        """A register tile of `height` rows after `count` turns."""
        if begin is None:
            begin = [self.vector(0)] * (height * self.vectors)
        return multiply(self.expander, count, begin, rows, columns)

    def rows_of(self, held: Held, first: Dim, count: int | None = None) -> Reader:
        """Turn k: element k of the rows from `first` on."""
        base = fixed(self.expander, first * held.depth)

        def read(k: Dim) -> Iterator[Value]:
            for r in range(self.schedule.mr if count is None else count):
                yield self.expander.access("load", (held.buffer,), base + k + r * held.depth)

        return read

    def columns_as_rows(self, held: Held, first: Dim, count: int | None = None) -> Reader:
        """Turn k: the elements of row k from the column `first` on."""
        height = self.height(self.width) if count is None else count

        def read(k: Dim) -> Iterator[Value]:
            for c in range(height):
                yield self.expander.access("load", (held.buffer,), k * held.depth + first + c)

        return read

    def columns_of(self, buffer: Value, base: Dim, step: int) -> Reader:
        """Turn k: the vectors at base + k * step."""

        def read(k: Dim) -> list[Value]:
            return [self.load(buffer, base + k * step + v) for v in self.offsets]

        return read

    # ------------------------------------------------------------------ loops

    def over_rows(
        self, count: Dim, carried: Sequence[Value],
        body: Callable[[Dim, list[Value]], list[Value]],
    ) -> list[Value]:  # fmt: skip
        """body(row, carried) -> carried for `count` rows."""

        def turn(variable: Value, inside: list[Value]) -> list[Value]:
            return body(of_atom(Var(variable)), inside)

        return self.expander.loop(0, count, 1, list(carried), turn)


# The axis along which an operand or a result lies in rows.
AXES_OF_ROWS = {
    "query": "e", "key": "e", "value": "v", "cotangent": "v", "out": "v",
    "of_query": "e", "of_key": "e", "of_value": "v",
}  # fmt: skip


def _part(region: Region, letters: str, attrs: Any) -> Part:
    groups: list[tuple[Value, ...]] = []
    extents: dict[Value, Dim] = {}
    position = 0
    for dims in extents_of(attrs, letters):
        variables = region.params[position : position + len(dims)]
        groups.append(variables)
        extents.update(zip(variables, dims, strict=True))
        position += len(dims)
    return Part(region, dict(zip(letters, joined_axes(region, extents, groups), strict=True)))


def known(dim: Dim) -> int:
    assert isinstance(dim, int), "features and width are numbers"
    return dim


def round_up(a: int, b: int) -> int:
    return (a + b - 1) // b * b
