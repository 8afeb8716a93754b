"""Computing the nodes of a kernel's region on blocks of elements: scalars, indices, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ....ir.access import axes, flat_offset
from ....ir.block_schedule import BlockNest
from ....ir.dims import (
    Atom,
    Compound,
    Dim,
    Expr,
    Slot,
    Symbol,
    Var,
    lower,
    nonnegative,
    of_atom,
    substitute,
)
from ....ir.dtypes import f32, i64
from ....ir.graph import Node, Region, Value
from ....ir.literal import Literal
from ....ir.ops import Kind
from ....ir.ops.kernel import INDEX
from . import scalars
from .facts import fits_32_bits, load_of
from .scope import Axis, Here, Inline, Kept, Row, Scope
from .text import Block, Writer, joined_shape

Handler = Callable[["Emitter", Scope, Node], None]


class Emitter:
    """Writes the nodes of a kernel. `handlers` write those with regions."""

    def __init__(
        self,
        writer: Writer,
        nests: Mapping[Node, BlockNest],
        handlers: Mapping[str, Handler],
        symbols: Mapping[str, str],
    ) -> None:
        self.w = writer
        self.nests = nests
        self.handlers = handlers
        self.symbols = symbols

    # ------------------------------------------------------------------ regions

    def run(self, region: Region, scope: Scope) -> list[Block]:
        """Computes a region's nodes in `scope`; gives what it yields (no rows)."""
        self.run_nodes(region.nodes, scope)
        return [self.value(v, scope) for v in region.yields]

    def run_nodes(self, nodes: Sequence[Node], scope: Scope) -> None:
        for node in nodes:
            self.node(node, scope)

    def node(self, node: Node, scope: Scope) -> None:
        name = node.op.name
        if name in ("index", "size"):
            scope.exprs[node.results[0]] = self.apply(node.attrs["expr"], node.operands, scope)
        elif name == "constant":
            self._constant(node, scope)
        elif name == "load":
            self._load(node, scope)
        elif name in ("store", "atomic"):
            self._store(node, scope)
        elif name == "where" and load_of(node.results[0]) is not None:
            scope.values[node.results[0]] = self.value(node.operands[1], scope)
        elif node.op.kind is Kind.ELEMENTWISE:
            operands = self._small_numbers(node, scope)
            if operands is None:
                operands = [self.value(v, scope) for v in node.operands]
            block = self.elementwise(node, operands, scope.depth)
            scope.values[node.results[0]] = self.named(node.results[0], block)
        elif name in self.handlers:
            self.handlers[name](self, scope, node)
        else:
            raise NotImplementedError(f"the GPU backend has no kernels with the op {name}")

    def named(self, value: Value, block: Block) -> Block:
        """The block under a name of its own."""
        return Block(self.w.let(value.name, block.text), block.shape)

    def elementwise(self, node: Node, operands: Sequence[Block], depth: int) -> Block:
        """The result of an elementwise node."""
        name, dtype = node.op.name, node.operands[0].type.dtype
        shape = joined_shape([b.shape_at(depth) for b in operands])
        if all(b.literal for b in operands):
            operands = [self.typed(b, v) for b, v in zip(operands, node.operands, strict=True)]
        texts = [b.lifted(depth) for b in operands]
        if name in ("cast", "bitcast", "random_bits", "where"):
            texts = [
                self.typed(b, v).lifted(depth) for b, v in zip(operands, node.operands, strict=True)
            ]
        if name == "cast":
            return Block(scalars.cast(self.w, dtype, node.attrs["dtype"], texts[0]), shape)
        if name == "bitcast":
            return Block(scalars.bitcast(self.w, dtype, node.attrs["dtype"], texts[0]), shape)
        if name == "where":
            return Block(f"tl.where({', '.join(texts)})", shape)
        if name == "random_bits":
            return Block(scalars.philox(self.w, node.attrs["bits"], *texts), shape)
        rule = scalars.RULES[name]
        if not dtype.is_low_precision or name in scalars.ON_BITS:
            return Block(rule(scalars.At(self.w, dtype), *texts), shape)
        wide = [
            b.lifted(depth) if b.literal else f"{b.lifted(depth)}.to(tl.float32)" for b in operands
        ]
        text = rule(scalars.At(self.w, f32), *wide)
        if node.results[0].type.dtype is dtype:
            text = f"{text}.to({scalars.type_of(dtype)})"
        return Block(text, shape)

    def _small_numbers(self, node: Node, scope: Scope) -> list[Block] | None:
        """The operands of a comparison of indices that fit 32 bits, with as many bits as they come
        with: half the registers of what they are by type."""
        if node.op.name not in COMPARISONS or node.operands[0].type is not INDEX:
            return None
        dims = [scope.find("exprs", v) for v in node.operands]
        if not all(dim is not None and fits_32_bits(dim) for dim in dims):
            return None
        blocks = [self.number(dim, scope) for dim in dims]
        return None if all(b.literal for b in blocks) else blocks

    # ------------------------------------------------------------------ values

    def value(self, value: Value, scope: Scope) -> Block:
        """The block that stands for a kernel's scalar."""
        found = scope.find("values", value)
        if found is None:
            expr = scope.find("exprs", value)
            assert expr is not None, f"{value} is not computed yet"
            number = self.number(expr, scope)
            if number.literal:
                found = Block(f"tl.full([], {number.text}, tl.int64)")
            else:
                text = self.w.let(value.name, f"tl.cast({number.lifted(scope.depth)}, tl.int64)")
                found = Block(text, number.shape_at(scope.depth))
            scope.values[value] = found
        return found

    def typed(self, block: Block, value: Value) -> Block:
        """`block` with the type of the value for which it stands, even where it is a literal."""
        if not block.literal:
            return block
        return Block(f"tl.full([], {block.text}, {scalars.type_of(value.type.dtype)})")

    def expr(self, value: Value, scope: Scope) -> Dim:
        """A kernel's i64 as an expression over values of the text."""
        found = scope.find("exprs", value)
        return of_atom(Var(value)) if found is None else found

    def apply(self, dim: Dim, operands: Sequence[Value], scope: Scope) -> Dim:
        """`dim` with the operands' expressions in place of its slots."""

        def replace(atom: Atom) -> Dim:
            if isinstance(atom, Slot):
                return self.expr(operands[atom.position], scope)
            return of_atom(atom)

        return substitute(dim, replace)

    def _constant(self, node: Node, scope: Scope) -> None:
        value, literal = node.results[0], node.attrs["value"]
        if value.type is INDEX:
            scope.exprs[value] = int(literal.array)
        else:
            scope.values[value] = constant(literal)

    # ------------------------------------------------------------------ numbers

    def number(self, dim: Dim, scope: Scope) -> Block:
        """An index expression as text: 32 or 64 bits, whichever its parts have."""
        if not isinstance(dim, Expr):
            return Block(str(dim), literal=True)
        text, shape = self._sum(dim, scope)
        return Block(f"({text})" if " " in text else text, shape)

    def _sum(self, dim: Dim, scope: Scope) -> tuple[str, tuple[int, ...]]:
        """An index expression with no parentheses around it, and its shape."""
        if not isinstance(dim, Expr):
            return str(dim), ()
        parts: list[tuple[tuple[int, ...], bool, str]] = []
        for monomial, factor in dim.terms:
            # Scalars first: what all elements share is multiplied once.
            factors = sorted((self._atom(a, scope) for a in monomial), key=lambda b: len(b.shape))
            texts = [b.lifted(scope.depth) for b in factors]
            if abs(factor) != 1 or not texts:
                texts.insert(0, str(abs(factor)))
            shape = joined_shape([b.shape_at(scope.depth) for b in factors])
            parts.append((shape, factor < 0, " * ".join(texts)))
        parts.sort(key=lambda part: (len(part[0]), math.prod(part[0]), part[1]))
        text = "".join(f" {'-' if negative else '+'} {part}" for _, negative, part in parts)
        text = text[3:] if text[1] == "+" else f"-{text[3:]}"
        return text, joined_shape([shape for shape, _, _ in parts])

    def _atom(self, atom: Atom, scope: Scope) -> Block:
        if isinstance(atom, Symbol):
            return Block(self.symbols[atom.name])
        if isinstance(atom, Var):
            return self.value(atom.value, scope)
        assert isinstance(atom, Compound)
        left, right = self.number(atom.left, scope), self.number(atom.right, scope)
        shape = joined_shape([b.shape_at(scope.depth) for b in (left, right)])
        pair = f"{left.lifted(scope.depth)}, {right.lifted(scope.depth)}"
        if atom.function != "//":
            return Block(f"tl.{atom.function}imum({pair})", shape)
        low = lower(atom.left)
        if low is not None and nonnegative(low):
            return Block(f"({left.lifted(scope.depth)} // {right.lifted(scope.depth)})", shape)
        divide = scalars.At(self.w, i64).call("_floor_div", *pair.split(", ", 1))
        return Block(divide, shape)

    # ------------------------------------------------------------------ memory

    def _load(self, node: Node, scope: Scope) -> None:
        result = node.results[0]
        index = tuple(self.apply(d, node.operands, scope) for d in node.attrs["index"])
        guard = self.value(node.operands[-1], scope) if node.attrs.get("guarded") else None
        row = scope.find("rows", node.operands[0])
        if row is not None:
            scope.values[result] = self._read_row(row, index, scope, guard)
            return
        place, mask = self._place(node.operands[0], index, scope, guard)
        other = ", other=0" if mask else ""
        text = f"tl.load({place.text}{mask}{other})"
        scope.values[result] = self.named(result, Block(text, place.shape))

    def _store(self, node: Node, scope: Scope) -> None:
        buffer, stored = node.operands[:2]
        index = tuple(self.apply(d, node.operands, scope) for d in node.attrs["index"])
        guard = self.value(node.operands[-1], scope) if node.attrs.get("guarded") else None
        value = self.typed(self.value(stored, scope), stored)
        place, mask = self._place(buffer, index, scope, guard, value)
        text = value.lifted(scope.depth)
        if node.op.name == "store":
            self.w.line(f"tl.store({place.text}, {text}{mask})")
            return
        combine = node.attrs["combine"]
        if combine not in ATOMICS or buffer.type.dtype.kind == "bool":
            raise NotImplementedError(f"no atomic {combine} of {buffer.type.dtype.public}")
        if place.shape:
            text = f"tl.broadcast_to({text}, {list(place.shape)})"
        self.w.line(f"tl.{ATOMICS[combine]}({place.text}, {text}{mask}, sem='relaxed')")

    def _place(
        self,
        buffer: Value,
        index: tuple[Dim, ...],
        scope: Scope,
        guard: Block | None,
        value: Block | None = None,
    ) -> tuple[Block, str]:
        """The pointer of an access and ", mask", or "" where no element is switched off. What is
        stored, `value`, is stored from all elements of the block."""
        text, first = self._sum(flat_offset(buffer.type, index), scope)
        masks = [guard] if guard is not None else []
        if scope.running is not None:
            masks.append(scope.running)
        others = [*masks, value] if value is not None else masks
        shape = joined_shape([first, *(b.shape_at(scope.depth) for b in others)])
        for position, axis in enumerate(scope.open):
            if axis.mask is not None and (value is not None or (shape and shape[position] > 1)):
                masks.append(axis.mask)
        shape = joined_shape([shape, *(m.shape_at(scope.depth) for m in masks)])
        pointer = scope.find("buffers", buffer)
        text = pointer if text == "0" else f"{pointer} + {text}"
        if shape != first:
            text = f"tl.broadcast_to({text}, {list(shape)})"
        mask = " & ".join(m.lifted(scope.depth) for m in masks)
        return Block(text, shape), f", {mask}" if mask else ""

    # ------------------------------------------------------------------ rows

    def _read_row(
        self, row: Row, index: tuple[Dim, ...], scope: Scope, guard: Block | None
    ) -> Block:
        """The element of a row value at `index`."""
        if isinstance(row, Kept):
            block = self._read_kept(row, index, scope)
        elif isinstance(row, Here):
            block = row.block
        elif isinstance(row, Inline):
            inner = scope.inner()
            inner.exprs.update(zip(axes(row.node)[0], index, strict=True))
            body = row.node.regions[0]
            self.run_nodes(body.nodes, inner)
            block = self.typed(self.value(body.yields[row.result], inner), body.yields[row.result])
        else:
            raise NotImplementedError("prefixes are read by the loop along which they come")
        if guard is not None:
            shape = joined_shape([b.shape_at(scope.depth) for b in (block, guard)])
            text = f"tl.where({guard.lifted(scope.depth)}, {block.lifted(scope.depth)}, 0)"
            block = Block(self.w.let(None, text), shape)
        return block

    def _read_kept(self, row: Kept, index: tuple[Dim, ...], scope: Scope) -> Block:
        flat: Dim = 0
        for extent, i in zip(row.node.attrs["extents"], index, strict=True):
            flat = flat * extent + i
        position = len(row.block.shape) - 1
        reader = scope.open[position] if position < scope.depth else None
        if flat == of_atom(Var(row.axis.variable)):
            return row.block
        if reader is not None and reader.whole and reader.size == row.axis.size:
            if flat == of_atom(Var(reader.variable)):
                return row.block
        place = self.number(flat, scope)
        if scope.depth != position + 1:
            raise NotImplementedError("a row is read at another place from a loop inside")
        full = (*row.block.shape[:-1], scope.shape[-1])
        text = f"tl.broadcast_to(tl.cast({place.lifted(scope.depth)}, tl.int32), {list(full)})"
        return Block(self.w.let(None, f"tl.gather({row.block.text}, {text}, {position})"), full)

    # ------------------------------------------------------------------ axes

    def masked(self, block: Block, value: Value, other: Block, axis: Axis, scope: Scope) -> Block:
        """`block` over all of the last open axis, with `other` where there is nothing."""
        shape = joined_shape([block.shape_at(scope.depth), (1,) * (scope.depth - 1) + (axis.size,)])
        text = self.typed(block, value).lifted(scope.depth)
        if axis.mask is not None:
            neutral = self.typed(other, value).lifted(scope.depth)
            return Block(f"tl.where({axis.mask.text}, {text}, {neutral})", shape)
        if block.shape_at(scope.depth) != shape:
            text = f"tl.broadcast_to({text}, {list(shape)})"
        return Block(text, shape)


COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
ATOMICS = {"add": "atomic_add", "maximum": "atomic_max", "minimum": "atomic_min"}


def constant(literal: Literal) -> Block:
    """A scalar constant: a literal where it takes the right type by itself."""
    dtype, number = literal.type.dtype, literal.array.item()
    if dtype.kind == "bool":
        return Block(f"tl.full([], {bool(number)}, tl.int1)")
    if dtype.is_float8:
        return Block(f"tl.full([], {int(literal.array.view(np.uint8))}, tl.uint8)")
    if dtype.is_float and not math.isfinite(number):
        return Block(f"tl.full([], float('{number}'), {scalars.type_of(dtype)})")
    if dtype.is_float:
        number = float(number)
        text = repr(number) if number >= 0 and repr(number)[0] != "-" else f"({number!r})"
        if dtype.bits == 64:
            return Block(f"tl.full([], {text}, tl.float64)")
        return Block(text, literal=True)
    return Block(f"tl.full([], {int(number)}, {scalars.type_of(dtype)})")
