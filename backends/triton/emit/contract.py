"""`contract`: a block of the result for each program, summed over blocks of k.

The operands' regions are computed on blocks, [rows, k] and [k, columns], like any others, so casts,
windows and what else feeds a product are part of its loop; the region `out` is computed on the
block of sums. Elements behind the end of k count as 0 in both operands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ....ir.access import unflatten
from ....ir.block_schedule import BlockSchedule
from ....ir.dims import Dim, Var, minimum, of_atom, product
from ....ir.graph import Node, Region, Value
from ....ir.ops.kernel import INDEX
from . import scalars
from .descriptors import Descriptor, Line, described
from .emitter import Emitter
from .facts import load_of
from .loops import open_axis
from .scope import Axis, Scope
from .text import Block, joined_shape


def spread_contract(
    e: Emitter, scope: Scope, node: Node, schedule: BlockSchedule
) -> tuple[Dim, Dim, Dim]:
    """A block of the results of a `contract` for each program; gives the grid."""
    return _Product(e, scope, node, schedule.wide).write(), 1, 1


class _Side:
    """Axes of a `contract` that are seen as one.

    Attributes:
        axes: (name of the attribute with its extent, number in it) of each.
        size: elements of a block.
        flat: stands for their flat index.
    """

    def __init__(self, node: Node, axes: Sequence[tuple[str, int]], size: int) -> None:
        self.axes = axes
        self.extents = tuple(node.attrs[name][number] for name, number in axes)
        self.size = size
        self.count = product(self.extents)
        self.blocks = (self.count + size - 1) // size
        self.flat = Value(INDEX)

    def places(self) -> dict[tuple[str, int], Dim]:
        """What each axis is at the flat index."""
        group = tuple(axis for axis, n in enumerate(self.extents) if n != 1)
        found: dict[tuple[str, int], Dim] = dict.fromkeys(self.axes, 0)
        if group:
            flat = of_atom(Var(self.flat, self.count))
            for axis, expr in unflatten(group, self.extents, flat).items():
                found[self.axes[axis]] = expr
        return found


class _Product:
    def __init__(self, e: Emitter, scope: Scope, node: Node, wide: bool) -> None:
        blocks = e.nests[node].contract
        assert blocks is not None, "a contract without blocks"
        self.e = e
        self.scope = scope
        self.node = node
        self.wide = wide
        self.blocks = blocks
        with_m, with_n = (_axes("batch", axes) for axes in (blocks.with_m, blocks.with_n))
        alone = [*_axes("m", blocks.alone_m), *_axes("n", blocks.alone_n)]
        turns = _axes("k", blocks.turns)

        def others(name: str) -> list[tuple[str, int]]:
            axes = _axes(name, range(len(node.attrs[name])))
            return [a for a in axes if a not in (*with_m, *with_n, *alone, *turns)]

        self.batch = _Side(node, [*others("batch"), *alone], 1)
        self.m = _Side(node, [*with_m, *others("m")], blocks.m)
        self.n = _Side(node, [*with_n, *others("n")], blocks.n)
        self.k, self.turns = _Side(node, others("k"), blocks.k), _Side(node, turns, 1)
        self.descriptors: dict[int, Descriptor] = {}  # by operand
        self.starts: dict[Value, str] = {}  # of the block of rows, and of columns
        self.rows, self.columns = (self.n, self.m) if blocks.swap else (self.m, self.n)

    def write(self) -> Dim:
        """Writes the body; gives the number of programs."""
        w, count = self.e.w, product((self.batch.count, self.m.blocks, self.n.blocks))
        program = w.let("program", f"tl.program_id(0){'.to(tl.int64)' if self.wide else ''}")
        if self.batch.count == 1:
            self._describe(self.scope)
        if not self.blocks.programs:
            self._block(program)
            return count
        tile, most = w.fresh("tile"), self.blocks.programs
        bounds = f"{program}, {self._text(count)}, {most}"
        with w.indented(f"for {tile} in tl.range({bounds}, flatten=True)"):
            self._block(tile)
        return minimum(count, most)

    def _block(self, tile: str) -> None:
        """The block of results with the number `tile`."""
        number, row, column = self._place(tile)
        outer = self.scope.inner()
        outer.values[self.batch.flat] = Block(number)
        if self.batch.count != 1:
            self._describe(outer)
        down, row_index = self._opened(outer, self.rows, row)
        across, column_index = self._opened(outer.inner(down), self.columns, column)
        inner = outer.inner(down, across)
        inner.values.update({self.rows.flat: row_index, self.columns.flat: column_index})
        shape = (self.rows.size, self.columns.size)
        dtype = self.node.attrs["acc"]
        sums = self.e.w.let("acc", f"tl.zeros({list(shape)}, {scalars.type_of(dtype)})")
        if self.node.attrs["dtype"].is_float:
            self._by_blocks(outer, inner, sums)
        else:
            self._one_by_one(inner, sums)
        if self.blocks.halves:
            self._halves(outer, down, row_index, column, sums)
        else:
            self._results(inner, Block(sums, shape))

    def _describe(self, scope: Scope) -> None:
        """Descriptors of both operands, where they are read so."""
        if not self.blocks.described:
            return
        k = Line(self.k.flat, self.k.count, self.k.size)
        for which, side in enumerate((self.m, self.n)):
            region, inner = self.node.regions[which], scope.inner()
            inner.exprs.update(self._places(region, ("m", "k") if which == 0 else ("k", "n")))
            own = Line(side.flat, side.count, side.size)
            self.descriptors[which] = described(self.e, inner, region, own, k)

    def _opened(self, scope: Scope, side: _Side, number: str) -> tuple[Axis, Block]:
        hint = "i" if side is self.m else "j"
        start = self.starts[side.flat] = self.e.w.let(f"{hint}0", f"{number} * {side.size}")
        return open_axis(self.e, scope, side.count, side.size, start, hint)

    # ------------------------------------------------------------------ programs

    def _place(self, tile: str) -> tuple[str, str, str]:
        """The point of the batch, the block of rows and the block of columns.

        Programs that run beside each other have the same few blocks of both operands: a group of
        row blocks and one block of columns, then the next block of columns."""
        w, down, across = self.e.w, self.rows.blocks, self.columns.blocks
        number = "0"
        if down == across == 1:
            return tile, "0", "0"
        if self.batch.count != 1:
            tiles = self._text(down * across)
            number = w.let("b", f"{tile} // {tiles}")
            tile = w.let("tile", f"{tile} % {tiles}")
        if down == 1:
            return number, "0", tile
        if across == 1:
            return number, tile, "0"
        group = self.blocks.group
        if isinstance(down, int) and down <= group:
            return number, f"({tile} % {down})", f"({tile} // {down})"
        width = self._text(across * group)
        first = w.let("first", f"{tile} // {width} * {group}")
        rows = str(group)
        if not (isinstance(down, int) and down % group == 0):
            rows = w.let("beside", f"tl.minimum({self._text(down)} - {first}, {group})")
        within = w.let("within", f"{tile} % {width}")
        return number, f"({first} + {within} % {rows})", f"({within} // {rows})"

    def _text(self, dim: Dim) -> str:
        return self.e.number(dim, self.scope).text

    # ------------------------------------------------------------------ sums

    def _by_blocks(self, outer: Scope, inner: Scope, sums: str) -> None:
        """acc += [rows, k] @ [k, columns]"""
        down, across = inner.open
        left, right = (1, 0) if self.blocks.swap else (0, 1)
        with self._loop(outer, self.k.size) as start:
            if self.blocks.described:
                rows, columns = self.starts[self.rows.flat], self.starts[self.columns.flat]
                a = self.descriptors[left].load(rows, start or "0", k_first=False)
                b = self.descriptors[right].load(columns, start or "0", k_first=True)
                self.e.w.line(f"{sums} = tl.dot({a}, {b}, {sums}{self._how()})")
                return
            k_left, index = self._k_axis(outer.inner(down), start)
            a = self._operand(left, outer, inner, (down, k_left), index, 1)
            k_right, index = self._k_axis(outer, start)
            b = self._operand(right, outer, inner, (k_right, across), index, 0)
            self.e.w.line(f"{sums} = tl.dot({a}, {b}, {sums}{self._how()})")

    @contextmanager
    def _loop(self, outer: Scope, size: int) -> Iterator[str | None]:
        """A loop over blocks of k, the start of which it gives; none where there is one only."""
        w, blocks, turns = self.e.w, (self.k.count + size - 1) // size, self.turns.count
        if blocks == turns == 1:
            outer.values[self.turns.flat] = Block("0")
            yield None if size > 1 else "0"
            return
        if turns == 1:
            start = w.fresh("k0" if size > 1 else "k")
            with w.indented(f"for {start} in range(0, {self._text(self.k.count)}, {size})"):
                yield f"{start}.to(tl.int64)" if self.wide else start
            return
        step = w.fresh("step")
        with w.indented(f"for {step} in range(0, {self._text(turns * blocks)})"):
            step = f"{step}.to(tl.int64)" if self.wide else step
            if blocks == 1:
                outer.values[self.turns.flat] = Block(w.let("turn", step))
                yield None if size > 1 else "0"
                return
            count = self._text(blocks)
            outer.values[self.turns.flat] = Block(w.let("turn", f"{step} // {count}"))
            yield w.let("k0", f"{step} % {count} * {size}")

    def _k_axis(self, scope: Scope, start: str | None) -> tuple[Axis, Block]:
        return open_axis(self.e, scope, self.k.count, self.k.size, start, "k")

    def _how(self) -> str:
        dtype = self.node.attrs["dtype"]
        if dtype.is_low_precision:
            return ""
        return f', input_precision="{self.blocks.precision}", out_dtype={scalars.type_of(dtype)}'

    def _operand(
        self,
        which: int,
        outer: Scope,
        inner: Scope,
        opened: tuple[Axis, Axis],
        k_index: Block,
        k_position: int,
    ) -> str:
        """A block of an operand, all of it."""
        scope = outer.inner(*opened)
        scope.values.update(inner.values)
        scope.values[self.k.flat] = k_index
        block = self._element(which, scope)
        (value,) = self.node.regions[which].yields
        shape, text = block.shape_at(2) or (1, 1), block.lifted(2)
        loaded = load_of(value) is not None
        for position, axis in enumerate(opened):
            along = shape[position] == axis.size
            # Of k, as the other operand may be infinite there; of the rest to make a whole block of
            # it, since not all that is spread out can be multiplied.
            needed = not (along and loaded) if position == k_position else not along
            if axis.mask is not None and needed:
                text = f"tl.where({axis.mask.lifted(2)}, {text}, 0.0)"
                shape = joined_shape([shape, axis.mask.shape_at(2)])
        if shape != scope.shape:
            text = f"tl.broadcast_to({text}, {list(scope.shape)})"
        return text if text.isidentifier() else self.e.w.let("ab"[k_position == 0], text)

    def _one_by_one(self, inner: Scope, sums: str) -> None:
        """acc += [rows, 1] * [1, columns], one k after the other."""
        dtype = self.node.attrs["acc"]
        with self._loop(inner, 1) as start:
            assert start is not None
            inner.values[self.k.flat] = Block(start)
            factors = []
            for which in (0, 1):
                block = self._element(which, inner.inner())
                text = scalars.cast(self.e.w, self.node.attrs["dtype"], dtype, block.lifted(2))
                factors.append(text)
            self.e.w.line(f"{sums} += {' * '.join(factors)}")

    def _element(self, which: int, scope: Scope) -> Block:
        """The region of an operand, computed in `scope`."""
        region = self.node.regions[which]
        scope.exprs.update(self._places(region, ("m", "k") if which == 0 else ("k", "n")))
        (block,) = self.e.run(region, scope)
        return self.e.typed(block, region.yields[0])

    def _places(self, region: Region, names: Sequence[str]) -> dict[Value, Dim]:
        """What the parameters of a region are: those of the batch, then of the axes `names`."""
        axes = [a for n in ("batch", *names) for a in _axes(n, range(len(self.node.attrs[n])))]
        found: dict[tuple[str, int], Dim] = {}
        for side in (self.batch, self.m, self.n, self.k, self.turns):
            found.update(side.places())
        return {param: found[axis] for param, axis in zip(region.params, axes, strict=False)}

    # ------------------------------------------------------------------ results

    def _halves(self, outer: Scope, down: Axis, rows: Block, column: str, sums: str) -> None:
        """The results of the first and then of the second half of the columns: what is computed of
        all sums at once would find no registers."""
        size = self.columns.size // 2
        w = self.e.w
        text = f"tl.reshape({sums}, [{self.rows.size}, 2, {size}])"
        first, second = w.fresh("first"), w.fresh("second")
        w.line(f"{first}, {second} = tl.split(tl.permute({text}, (0, 2, 1)))")
        for half, name in enumerate((first, second)):
            start = w.let(None, f"{column} * {2 * size} + {half * size}")
            scope = outer.inner(down)
            across, index = open_axis(self.e, scope, self.columns.count, size, start, "j")
            inner = outer.inner(down, across)
            inner.values.update({self.rows.flat: rows, self.columns.flat: index})
            self._results(inner, Block(name, (self.rows.size, size)))

    def _results(self, inner: Scope, sums: Block) -> None:
        """The region `out` on the block of sums."""
        out = self.node.regions[2]
        scope = inner.inner()
        scope.exprs.update(self._places(out, ("m", "n")))
        scope.values[out.params[-1]] = sums
        self.e.run_nodes(out.nodes, scope)


def _axes(name: str, numbers: Iterable[int]) -> list[tuple[str, int]]:
    return [(name, number) for number in numbers]
