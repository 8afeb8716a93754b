"""What the attention kernels have in common: their axes by letters, operands and scores of blocks.

The letters are those of `ir.ops.attend`: b(atch), g(roups), l (queries), s (keys), e (features),
v (width).
"""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.access import unflatten
from ....ir.dims import Dim, Var, of_atom, product
from ....ir.dtypes import DType
from ....ir.graph import Node, Region, Value
from ....ir.ops.attend import AXES, extents_of
from ....ir.ops.attention import hidden_of, scale_of
from ....ir.ops.kernel import INDEX
from .emitter import Emitter
from .loops import arange
from .scalars import type_of
from .scope import Axis, Scope
from .text import Block


@dataclass(frozen=True, slots=True)
class _Line:
    """A block of an axis that is open: the names of its indices and of which are within it."""

    variable: Value
    size: int
    start: str
    index: str
    mask: str | None


class Parts:
    """An attention kernel of which a program has some blocks."""

    def __init__(self, e: Emitter, scope: Scope, node: Node, wide: bool) -> None:
        nest = e.nests[node]
        assert nest.attend is not None
        self.e, self.scope, self.node, self.wide = e, scope, node, wide
        self.regions = dict(zip(AXES[node.op.name], node.regions, strict=True))
        self.dtype: DType = node.attrs["dtype"]
        self.acc = type_of(node.attrs["acc"])
        self.precision = nest.attend.precision
        self.scale = repr(scale_of(node.attrs))
        self._sizes = {
            "l": nest.attend.queries, "s": nest.attend.keys,
            "e": nest.attend.features, "v": nest.attend.width,
        }  # fmt: skip
        self._points: dict[str, tuple[Dim, ...]] = {"p": ()}  # keys are never in parts here
        self._lines: dict[str, _Line] = {}

    # ------------------------------------------------------------------ axes

    def extent(self, letter: str) -> Dim:
        return product(extents_of(self.node.attrs, letter)[0])

    def points(self, letters: str) -> Dim:
        """How many points these axes have."""
        return product(n for part in extents_of(self.node.attrs, letters) for n in part)

    def block(self, letter: str) -> int:
        """Elements of a block."""
        return self._sizes[letter]

    def end(self, letter: str) -> str:
        return self.e.number(self.extent(letter), self.scope).text

    def at(self, letters: str, number: str) -> None:
        """These axes are at the point with this number."""
        parts = extents_of(self.node.attrs, letters)
        extents = [n for part in parts for n in part]
        variable = Value(INDEX)
        self.scope.values[variable] = Block(number)
        flat = of_atom(Var(variable, product(extents)))
        found = unflatten(range(len(extents)), extents, flat) if extents else {}
        start = 0
        for letter, part in zip(letters, parts, strict=True):
            self._points[letter] = tuple(found[start + k] for k in range(len(part)))
            start += len(part)

    def open(self, letter: str, start: str) -> None:
        """A block of this axis, from element `start` on."""
        size, extent = self._sizes[letter], self.extent(letter)
        begin = "" if start == "0" else f"{start} + "
        index = self.e.w.let(letter, f"{begin}{arange(size, 0)}")
        mask = None
        if not (isinstance(extent, int) and extent % size == 0):
            mask = self.e.w.let(f"{letter}_in", f"{index} < {self.end(letter)}")
        self._lines[letter] = _Line(Value(INDEX), size, start, index, mask)

    def mask(self, letter: str) -> str | None:
        """Which elements of the open block are within the axis; None where all are."""
        return self._lines[letter].mask

    def last_key(self, queries: int) -> str:
        """Beyond the last key that the open queries see."""
        if not self.node.attrs["causal"]:
            return self.end("s")
        return f"tl.minimum({self.end('s')}, {self._lines['l'].start} + {queries})"

    def first_query(self) -> str:
        """The first query of the first block that sees one of the open keys."""
        if not self.node.attrs["causal"]:
            return "0"
        size = self._sizes["l"]
        return f"{self._lines['s'].start} // {size} * {size}"

    # ------------------------------------------------------------------ regions

    def _inside(self, region: Region, letters: str) -> Scope:
        """The scope of a region: blocks of those of its axes that are open."""
        inner, position = self.scope.inner(), 0
        exprs: list[Dim] = []
        for letter in letters:
            if letter in "pbg":
                exprs += self._points[letter]
                continue
            line, before = self._lines[letter], ["None"] * position
            lifted = f"[{', '.join([*before, ':'])}]" if before else ""
            shape = (1,) * position + (line.size,)
            mask = None if line.mask is None else Block(f"{line.mask}{lifted}", shape)
            inner = inner.inner(Axis(line.variable, line.size, mask, whole=False))
            inner.values[line.variable] = Block(f"{line.index}{lifted}", shape)
            exprs.append(of_atom(Var(line.variable, self.extent(letter))))
            position += 1
        inner = inner.inner()
        inner.exprs.update(zip(region.params, exprs, strict=False))
        return inner

    def operand(self, part: str) -> str:
        """The open block of an operand; numbers are 0 beyond its axes."""
        region, letters = self.regions[part], AXES[self.node.op.name][part]
        inner = self._inside(region, letters)
        (yielded,) = region.yields
        block = self.e.typed(self.e.run(region, inner)[0], yielded)
        text = block.lifted(inner.depth)
        loaded = yielded.node is not None and yielded.node.op.name == "load"
        if block.shape_at(inner.depth) != inner.shape:
            loaded = False  # the same beyond the axis as within
            text = f"tl.broadcast_to({text}, {list(inner.shape)})"
        masks = [axis.mask.lifted(inner.depth) for axis in inner.open if axis.mask is not None]
        if masks and not loaded and yielded.type.dtype.kind != "bool":
            text = f"tl.where({' & '.join(masks)}, {text}, 0.0)"
        return text if text.isidentifier() else self.e.w.let(part, text)

    def use(self, part: str, result: str) -> None:
        """Stores what the region makes of a block of the result."""
        region, letters = self.regions[part], AXES[self.node.op.name][part]
        inner = self._inside(region, letters)
        inner.values[region.params[-1]] = Block(result, inner.shape)
        self.e.run_nodes(region.nodes, inner)

    # ------------------------------------------------------------------ scores

    @property
    def how(self) -> str:
        """The argument of a product that says what becomes of float32."""
        return "" if self.dtype.is_low_precision else f', input_precision="{self.precision}"'

    @property
    def hides(self) -> bool:
        """Whether there is a mask of bools."""
        if not self.node.attrs["masked"]:
            return False
        return self.regions["mask"].yields[0].type.dtype.kind == "bool"

    def narrow(self, text: str) -> str:
        """Weights as what tensor cores multiply with the operands."""
        return f"{text}.to({type_of(self.dtype)})" if self.dtype.is_low_precision else text

    def scores(self, query: str, key: str) -> str:
        """query keyᵀ scale + mask of the open blocks; -inf where a key is not seen."""
        let, attrs = self.e.w.let, self.node.attrs
        dot = f"tl.dot({query}, tl.trans({key}){self.how})"
        scores = let("scores", f"{dot} * {self.scale}")
        if self.hides:
            hidden = repr(hidden_of(attrs)).replace("-inf", "float('-inf')")
            scores = let("scores", f"tl.where({self.operand('mask')}, {scores}, {hidden})")
        elif attrs["masked"]:
            scores = let("scores", f"{scores} + {self.operand('mask')}.to({self.acc})")
        seen = []
        if attrs["causal"]:
            seen.append(f"({self._lines['l'].index}[:, None] >= {self._lines['s'].index}[None, :])")
        if self.mask("s") is not None:
            seen.append(f"{self.mask('s')}[None, :]")
        if not seen:
            return scores
        return let("scores", f"tl.where({' & '.join(seen)}, {scores}, float('-inf'))")
