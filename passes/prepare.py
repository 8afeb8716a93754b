"""Prepare: what follows from inputs alone that stay the same from call to call is a program of its
own, which runs when one of them has changed.

Before: `%y = dot_general(%x, mul(%w, %mask))`, %w and %mask being such inputs.
After:  `%y = dot_general(%x, %p)`, with `%p = mul(%w, %mask)` as one more input, and beside it the
        program that makes %p of %w and %mask.

Views and numbers stay where kernels read through them, and so does what would take more memory than
it is made of. A weight that a product of not too many rows would pack at each call is laid out in
panels (`panels.py`).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Value
from ..ir.ops.base import Kind
from ..ir.ops.contraction import DOT_GENERAL
from ..ir.ops.view import RESHAPE, TRANSPOSE
from ..ir.target import AnyTarget
from .dead import prune
from .panels import laid_in_panels, packs, product_of_panels, rows_of, takes_panels
from .regions import emit

MOST_ROWS = 256  # of a product, beside which packing its weight is much
SMALL = 1 << 16  # bytes that are kept whatever is done with them
LEAST_WORK = 256  # elements that are worth a program of their own

_STAYS = (Kind.HOST, Kind.SORT, Kind.CONTROL)
_FREE = (Kind.VIEW, Kind.SOURCE)
_PRODUCTS = (Kind.CONTRACTION, Kind.ATTENTION)
_PLAIN = (*_FREE, Kind.ELEMENTWISE)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A program in two parts.

    Attributes:
        graph: the program with one more parameter, behind the others, for each prepared value.
        preparation: what gives these values.
        slots: the numbers of the parameters of the program that `preparation` takes.
    """

    graph: Graph
    preparation: Graph
    slots: tuple[int, ...]


def prepare(graph: Graph, fixed: Collection[int], target: AnyTarget) -> Prepared | None:
    """The two parts of a program; None where that saves nothing.

    Args:
        fixed: the numbers of the parameters that stay the same over many calls.
    """
    if not fixed:
        return None
    known = _Known(graph, fixed)
    weights = [node for node in graph.nodes if known.varies(node) and _packs(node, known, target)]
    laid = _Layouts(graph, weights, target)
    if weights:
        known = _Known(laid.graph, fixed)
    wanted = list(known.wanted(laid.values))
    if sum(_size(value) for value in wanted) < LEAST_WORK:
        return None
    return _cut(laid.graph, wanted)


def _packs(node: Node, known: _Known, target: AnyTarget) -> bool:
    """Whether `node` is a product that would pack a weight which stays the same."""
    if node.op is not DOT_GENERAL or node.operands[1] not in known.same:
        return False
    rows = rows_of(node)
    if isinstance(rows, int) and rows > MOST_ROWS:
        return False
    return packs(node, target)


class _Layouts:
    """A program whose products `weights` read their right side laid out.

    Attributes:
        graph: that program.
        values: the layouts in it.
    """

    def __init__(self, graph: Graph, weights: Sequence[Node], target: AnyTarget) -> None:
        self.graph = graph
        self.values: set[Value] = set()
        if not weights:
            return
        builder = Recording()
        new: dict[Value, Value] = {p: builder.param(p.type, p.name) for p in graph.params}
        known: dict[tuple[Value, int, bool], Value] = {}
        chosen = set(weights)
        for node in graph.nodes:
            operands = [new[v] for v in node.operands]
            if node not in chosen:
                found: Sequence[Value] = emit(builder, node, operands, node.attrs, node.regions)
            else:
                builder.line = node.line
                (contracted,) = node.attrs["rhs_contract"]
                x, w = operands
                key = (w, contracted, takes_panels(node, target))
                if key not in known:
                    known[key] = _laid_out(builder, *key, target)
                found = [_product(builder, node, x, known[key], key[2])]
            for old, value in zip(node.results, found, strict=True):
                new[old] = value
                value.name = value.name or old.name
        self.values = set(known.values())
        self.graph = builder.finish(graph.name, [new[v] for v in graph.yields])


def _laid_out(
    builder: Recording, weight: Value, contracted: int, in_panels: bool, target: AnyTarget
) -> Value:
    """`weight` in panels, or transposed."""
    if in_panels:
        return laid_in_panels(builder, weight, contracted, target)
    found: Value = builder.emit(TRANSPOSE, (weight,), {"perm": (1, 0)})
    return found


def _product(builder: Recording, node: Node, x: Value, weight: Value, in_panels: bool) -> Value:
    """The result of the product `node`, with its right side laid out."""
    if in_panels:
        return product_of_panels(builder, node, x, weight)
    found: Value = builder.emit(DOT_GENERAL, (x, weight), {**node.attrs, "rhs_contract": (0,)})
    return found


class _Reader(enum.Enum):
    """How a value is read: where a kernel wants an element; by a product, which packs it; as a
    buffer of its own."""

    POINTS = enum.auto()
    PRODUCT = enum.auto()
    BUFFER = enum.auto()


_READERS = {
    **dict.fromkeys(_PRODUCTS, _Reader.PRODUCT),
    **dict.fromkeys(_STAYS, _Reader.BUFFER),
}


class _Known:
    """What of a program follows from inputs that stay the same.

    Attributes:
        same: those values.
        numbers: those of them that follow from the text of the program, for little.
    """

    def __init__(self, graph: Graph, fixed: Collection[int]) -> None:
        self.graph = graph
        self.same = {p for number, p in enumerate(graph.params) if number in fixed}
        self.numbers: set[Value] = set()
        self._sources: dict[Value, frozenset[Value]] = {p: frozenset({p}) for p in self.same}
        self._dear: set[Value] = set()  # what is not computed again for little
        for node in graph.nodes:
            if node.op.kind not in _STAYS and all(v in self.same for v in node.operands):
                self._add(node)

    def _add(self, node: Node) -> None:
        self.same.update(node.results)
        if node.op.kind in _PLAIN and all(v in self.numbers for v in node.operands):
            self.numbers.update(node.results)
        sources = frozenset().union(*(self._sources[v] for v in node.operands))
        dear = node.op.kind not in _PLAIN or any(v in self._dear for v in node.operands)
        for value in node.results:
            self._sources[value] = sources
            if dear:
                self._dear.add(value)

    def varies(self, node: Node) -> bool:
        """Whether `node` must be computed at each call."""
        return not any(value in self.same for value in node.results)

    def wanted(self, laid: Collection[Value]) -> Iterable[Value]:
        """The values that are worth preparing, of those that the rest of the program reads; `laid`
        are."""
        found: set[Value] = set()
        seen: set[tuple[Value, _Reader]] = set()
        pending = list(self._read())
        while pending:
            value, reader = item = pending.pop()
            if item in seen or value not in self.same or value in self.numbers:
                continue
            seen.add(item)
            node = value.node
            if node is None:
                continue
            if value in laid or self._pays(value, node, reader):
                found.add(value)
            else:
                through = _Reader.PRODUCT if reader is _Reader.BUFFER else reader
                pending.extend((operand, through) for operand in node.operands)
        order = (value for node in self.graph.nodes for value in node.results)
        return [value for value in order if value in found]

    def _read(self) -> Iterator[tuple[Value, _Reader]]:
        """What the nodes that vary read, and how."""
        for node in self.graph.nodes:
            if self.varies(node):
                reader = _READERS.get(node.op.kind, _Reader.POINTS)
                yield from ((operand, reader) for operand in node.operands)

    def _pays(self, value: Value, node: Node, reader: _Reader) -> bool:
        """Whether a value is worth its memory."""
        size, made_of = value.type.nbytes, 0
        for source in self._sources[value]:
            nbytes = source.type.nbytes
            made_of += nbytes if isinstance(nbytes, int) else 0
        if not isinstance(size, int) or value.type.ndim == 0:
            return False
        if node.op.kind in _FREE:  # else it would be copied at each call
            copied = node.op.kind is Kind.VIEW and node.op is not RESHAPE
            return copied and reader is _Reader.BUFFER and size <= made_of
        if value in self._dear or size <= SMALL:
            return size <= max(made_of, SMALL) or node.op.kind in _PRODUCTS
        return 2 * size <= made_of or (reader is not _Reader.POINTS and size <= made_of)


def _size(value: Value) -> int:
    size = value.type.size
    return size if isinstance(size, int) else 0


def _cut(graph: Graph, wanted: Sequence[Value]) -> Prepared:
    """The program that reads `wanted` as parameters, and the one that gives them."""
    needed = prune(Graph(f"{graph.name}_prepared", graph.params, graph.nodes, tuple(wanted)))
    read = {operand for node in needed.nodes for operand in node.operands}
    slots = tuple(number for number, param in enumerate(graph.params) if param in read)
    first, rest = Recording(), Recording()
    new = {graph.params[slot]: first.param(graph.params[slot].type) for slot in slots}
    _repeat(needed.nodes, first, new)
    preparation = first.finish(needed.name, [new[v] for v in wanted])

    new = {param: rest.param(param.type, param.name) for param in graph.params}
    given = {value: rest.param(value.type, value.name) for value in wanted}
    new.update(given)
    kept = [node for node in graph.nodes if not any(v in given for v in node.results)]
    kept = list(_reached(kept, given, graph.yields))
    _repeat(kept, rest, new)
    return Prepared(rest.finish(graph.name, [new[v] for v in graph.yields]), preparation, slots)


def _reached(
    nodes: Sequence[Node], given: Collection[Value], yields: Iterable[Value]
) -> Sequence[Node]:
    """Those of `nodes` that `yields` follow from where the values `given` are known."""
    needed = {v for v in yields if v not in given}
    kept = []
    for node in reversed(nodes):
        if node.results and not any(v in needed for v in node.results):
            continue
        kept.append(node)
        needed.update(v for v in node.operands if v not in given)
    return kept[::-1]


def _repeat(nodes: Iterable[Node], builder: Recording, new: dict[Value, Value]) -> None:
    """Emits `nodes` again; `new` tells what stands for the values they read."""
    for node in nodes:
        found = emit(builder, node, [new[v] for v in node.operands], node.attrs, node.regions)
        for old, value in zip(node.results, found, strict=True):
            new[old] = value
            value.name = value.name or old.name
