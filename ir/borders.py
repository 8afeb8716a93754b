"""Conditions of a loop body that change once along an axis: where they do, and what is left of the
body where they are known."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .access import Expressions, coefficient
from .builder import make_node
from .dims import Dim, Var, atoms, of_atom
from .graph import Node, Region, Value
from .literal import Literal
from .ops import OPS
from .ops.kernel import INDEX

RELATIONS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True, slots=True)
class Border:
    """A condition holds from `place` on along an axis (`rising`), or before it. The place may
    depend on other axes."""

    place: Dim
    rising: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """The comparisons at whose borders the loop over an axis is cut, borders ascending."""

    axis: int
    conditions: tuple[Node, ...]
    borders: tuple[Border, ...]

    def places(self) -> list[Dim]:
        """The distinct borders."""
        return list(dict.fromkeys(b.place for b in self.borders))

    def known(self, piece: int) -> dict[Value, bool]:
        """What holds in piece number `piece`."""
        places = self.places()
        return {
            node.results[0]: (piece > places.index(b.place)) == b.rising
            for node, b in zip(self.conditions, self.borders, strict=True)
        }


def known_at(chosen: Sequence[Chain], at: Sequence[int]) -> dict[Value, bool]:
    """What holds in the piece number `at` of each chain."""
    return {
        condition: holds
        for chain, piece in zip(chosen, at, strict=True)
        for condition, holds in chain.known(piece).items()
    }


def border(node: Node, expressions: Expressions, variable: Value) -> Border | None:
    """Where the comparison `node` changes along the axis `variable`; None where that is not seen,
    or it does not change by ones along it."""
    left, right = (expressions.of(v) for v in node.operands)
    difference = left - right
    if node.op.name in ("le", "lt"):
        difference = -difference
    if node.op.name in ("gt", "lt"):
        difference = difference - 1
    factor = coefficient(difference, variable)  # it holds where this is >= 0
    if factor == 1:
        return Border(of_atom(Var(variable, expressions.extents.get(variable))) - difference, True)
    if factor == -1:
        own = of_atom(Var(variable, expressions.extents.get(variable)))
        return Border(difference + own + 1, False)
    return None


def deciding(body: Region) -> list[Node]:
    """The comparisons of indices on which accesses or selections of `body` depend, in order."""
    wanted: set[Value] = set()
    found = []
    for node in reversed(body.nodes):
        name = node.op.name
        if node.attrs.get("guarded"):
            wanted.add(node.operands[-1])
        elif name == "where":
            wanted.add(node.operands[0])
        elif name in ("bit_and", "bit_or", "bit_not") and node.results[0] in wanted:
            wanted.update(node.operands)
        elif name in RELATIONS and node.results[0] in wanted:
            if all(v.type is INDEX for v in node.operands):
                found.append(node)
    return found[::-1]


def axes_of(node: Node, expressions: Expressions, variables: Container[Value]) -> set[Value] | None:
    """The axes that the comparison `node` depends on; None if also on what is none of them."""
    found = set()
    for value in node.operands:
        for atom in atoms(expressions.of(value)):
            if isinstance(atom, Var):
                found.add(atom.value)
    return found if all(v in variables for v in found) else None


def specialised(body: Region, known: Mapping[Value, bool]) -> Region:
    """`body` where the bools in `known` are what it says: what they guard or choose is folded, and
    what nobody uses then is left out. The parameters are the same, and there are no yields."""
    folding = _Folding(dict(known))
    for node in body.nodes:
        folding.add(node)
    return Region(body.params, tuple(_used(folding.nodes)))


class _Folding:
    """The nodes of a body, folded one after the other.

    Attributes:
        known: bools that are the same everywhere.
        new: what stands for the values that have changed.
    """

    def __init__(self, known: dict[Value, bool]) -> None:
        self.known = known
        self.new: dict[Value, Value] = {}
        self.nodes: list[Node] = []

    def add(self, node: Node) -> None:
        if any(v in self.known for v in node.results):
            return
        name = node.op.name
        if name in ("bit_and", "bit_or", "bit_not") and self.decided(node):
            return
        if name == "where" and node.operands[0] in self.known:
            chosen = node.operands[1 if self.known[node.operands[0]] else 2]
            if chosen in self.known:
                self.known[node.results[0]] = self.known[chosen]
            else:
                self.new[node.results[0]] = self.new.get(chosen, chosen)
            return
        if node.attrs.get("guarded") and node.operands[-1] in self.known:
            self.access(node, self.known[node.operands[-1]])
            return
        self.write(node, node.operands, node.attrs)

    def decided(self, node: Node) -> bool:
        """Whether the logical `node` is known, or the same as one of its operands."""
        (result,), operands = node.results, node.operands
        facts = [self.known.get(v) for v in operands]
        if node.op.name == "bit_not":
            if facts[0] is not None:
                self.known[result] = not facts[0]
            return facts[0] is not None
        deciding = node.op.name == "bit_or"
        if deciding in facts:
            self.known[result] = deciding
            return True
        rest = [v for v, fact in zip(operands, facts, strict=True) if fact is None]
        if not rest:
            self.known[result] = not deciding
        elif len(rest) == 1:
            self.new[result] = self.new.get(rest[0], rest[0])
        return len(rest) < 2

    def access(self, node: Node, holds: bool) -> None:
        """A guarded access of which it is known whether it is done."""
        if holds:
            attrs = {k: v for k, v in node.attrs.items() if k != "guarded"}
            self.write(node, node.operands[:-1], attrs)
        elif node.results:
            zero = Literal(np.zeros((), node.results[0].type.dtype.numpy))
            self.write(node, (), {"value": zero}, "constant")

    def write(
        self, node: Node, operands: Sequence[Value], attrs: Mapping, name: str | None = None
    ) -> None:
        """`node`, or what stands for it, on what stands for the operands."""
        mapped = tuple(self.operand(v) for v in operands)
        if name is None and mapped == node.operands:
            self.nodes.append(node)
            return
        made = make_node(OPS[name or node.op.name], mapped, attrs, (), node.line)
        self.nodes.append(made)
        self.new.update(zip(node.results, made.results, strict=True))

    def operand(self, value: Value) -> Value:
        if value in self.known and value not in self.new:
            literal = Literal(np.bool_(self.known[value]))
            constant = make_node(OPS["constant"], (), {"value": literal})
            self.nodes.append(constant)
            self.new[value] = constant.results[0]
        return self.new.get(value, value)


def _used(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that store, and those that they need."""
    used: set[Value] = set()
    kept = []
    for node in reversed(nodes):
        if not node.results or any(v in used for v in node.results):
            kept.append(node)
            used.update(node.operands)
    return kept[::-1]
