"""Attention: softmax(q kᵀ s + mask) v that was written out becomes the op, with its gradient.

Before:
    %0 = dot_general(%q, %k)    %1 = mul(%0, constant 0.125)    %2 = where(%hide, -inf, %1)
    %3 = reduce_max(%2)    %4 = exp(sub(%2, %3))    %5 = reduce_sum(%4)    %6 = div(%4, %5)
    %7 = where(%keep, mul(%6, constant 1.25), 0)    %8 = dot_general(%7, %v)
After:
    %8, %sums = attention(%q, %k, %v, bit_not(%hide), where(%keep, 1.25, 0)) {scale=0.125, ..}

Only where nobody else needs the weights. A gradient is found by taking the one of what was matched
again: where that gives values that the program has, these are its cotangents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from ..ir.builder import Rewriting
from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.ops.attention import ATTENTION, ATTENTION_GRADIENT
from ..ir.ops.view import TRANSPOSE
from .attention_primitives import row_means
from .autodiff.backward import backward
from .dead import prune
from .match_attention import Match, match_attention
from .simplify import simplified

MOST_AXES = 5  # of a cotangent whose axes may stand in another order

Gradients = tuple[Value | None, Value | None, Value | None]


@dataclass(frozen=True, slots=True)
class _Found:
    """A match, and what of the program it stands for.

    Attributes:
        cotangent: of the result, with its axes in the order `order`; None where the gradient is not
            part of the program.
        gradients: values of the program that are the cotangents of query, key and value, or None.
        turns: the permutations of the axes of these that make the cotangents of them.
    """

    match: Match
    cotangent: Value | None = None
    order: tuple[int, ...] = ()
    gradients: Gradients = (None, None, None)
    turns: tuple[tuple[int, ...], ...] = ()


def recognise_attention(graph: Graph) -> Graph:
    """`graph` itself, or a program with the same parameters and results, up to rounding, in which
    attention that was written out is the op."""
    names = {node.op.name for node in graph.nodes}
    if not {"dot_general", "exp", "reduce_sum"} <= names:
        return graph
    matches = [m for m in map(match_attention, graph.nodes) if m is not None]
    if not matches:
        return graph
    search = _Search(graph)
    found = _unseen(graph, [search.gradient_of(match) for match in matches])
    return prune(_Replacer(found).run(graph)) if found else graph


# Gradients -----------------------------------------------------------------------------------


class _Search:
    """Finds the gradients of matches in a program: a copy of it, to which gradients are added, each
    node of which that the program has merges with it."""

    def __init__(self, graph: Graph) -> None:
        self.builder = Rewriting(simplified)
        self.new: dict[Value, Value] = {}
        self.old: dict[Value, Value] = {}  # of the copy -> of the program
        self.products: dict[Value, list[Node]] = {}  # that read a value
        with self.builder:
            for param in graph.params:
                self._known(param, self.builder.param(param.type, param.name))
            for node in graph.nodes:
                self._copy(node)

    def _copy(self, node: Node) -> None:
        if node.regions:  # not looked into: its results stand for themselves
            for value in node.results:
                self._known(value, Value(value.type))
            return
        made = self.builder.emit(node.op, [self.new[v] for v in node.operands], node.attrs)
        results = (made,) if isinstance(made, Value) else made
        for before, after in zip(node.results, results, strict=True):
            self._known(before, after)
        if node.op.name == "dot_general":
            for value in node.operands:
                self.products.setdefault(value, []).append(node)

    def _known(self, before: Value, after: Value) -> None:
        self.new[before] = after
        self.old.setdefault(after, before)

    def gradient_of(self, match: Match) -> _Found:
        """`match`, with the gradient that the program takes of it, if it does."""
        for node in self.products[match.value]:
            for cotangent in node.operands:
                if node.results[0] is match.result or cotangent is match.value:
                    continue
                for order in _orders(cotangent.type.shape, match.result.type.shape):
                    pulled = [self._seen(v) for v in self._pulled(match, cotangent, order)]
                    gradients, turns = zip(*pulled, strict=True)
                    if any(v is not None for v in gradients):
                        return _Found(match, cotangent, order, gradients, turns)
        return _Found(match)

    def _seen(self, made: Value | None) -> tuple[Value | None, tuple[int, ...]]:
        """(the value of the program, the order of its axes) that `made` is, or (None, ())."""
        if made is None:
            return None, ()
        order = tuple(range(made.type.ndim))
        while made not in self.old:
            node = made.node
            if node is None or node.op is not TRANSPOSE:
                return None, ()
            made = node.operands[0]
            order = tuple(node.attrs["perm"][axis] for axis in order)
        return self.old[made], order

    def _pulled(self, match: Match, cotangent: Value, order: tuple[int, ...]) -> list[Value | None]:
        """What `cotangent` makes of query, key and value."""
        wrt = [self.new[v] for v in (match.query, match.key, match.value)]
        ends = {*wrt, self.new[match.top], *(self.new[v] for v in match.reads)}
        with self.builder:
            g = _transposed(self.new[cotangent], order)
            return list(backward([self.new[match.result]], [g], wrt, lambda v: v not in ends))


def _orders(given: Sequence[Dim], wanted: Sequence[Dim]) -> Iterator[tuple[int, ...]]:
    """The permutations of axes that make the shape `wanted` of `given`, the plain one first."""
    if len(given) == len(wanted) <= MOST_AXES:
        for order in permutations(range(len(given))):
            if all(given[a] == n for a, n in zip(order, wanted, strict=True)):
                yield order


# What is left --------------------------------------------------------------------------------


def _unseen(graph: Graph, found: Sequence[_Found]) -> list[_Found]:
    """Those of `found` after whose replacement nobody needs the weights."""
    kept = list(found)
    while True:
        live = _live(graph, kept)
        fewer = [f for f in kept if not any(v in live for v in f.match.inside)]
        if len(fewer) == len(kept):
            return fewer
        kept = fewer


def _live(graph: Graph, found: Sequence[_Found]) -> set[Value]:
    """The values that the program computes once `found` is replaced."""
    reads: dict[Value, list[Value]] = {}
    for f in found:
        forward = [f.match.query, f.match.key, f.match.value, *f.match.reads]
        reads[f.match.result] = forward
        gradient = [*forward, f.match.result] + ([f.cotangent] if f.cotangent is not None else [])
        reads.update((v, gradient) for v in f.gradients if v is not None)
    live: set[Value] = set()
    pending = list(graph.yields)
    while pending:
        value = pending.pop()
        if value in live:
            continue
        live.add(value)
        if value in reads:
            pending.extend(reads[value])
        elif value.node is not None:
            pending.extend(value.node.operands)
            pending.extend(o for r in value.node.regions for n in r.walk() for o in n.operands)
    return live


class _Replacer:
    """Builds the program again with the ops in place of what was found."""

    def __init__(self, found: Sequence[_Found]) -> None:
        self.forward = {f.match.result: f for f in found}
        self.backward = {
            v: (f, k) for f in found for k, v in enumerate(f.gradients) if v is not None
        }
        self.builder = Rewriting(simplified)
        self.new: dict[Value, Value] = {}
        self.operands: dict[int, tuple[Value, ...]] = {}
        self.results: dict[int, tuple[Value, Value]] = {}
        self.gradients: dict[int, Sequence[Value]] = {}

    def run(self, graph: Graph) -> Graph:
        with self.builder:
            for param in graph.params:
                self.new[param] = self.builder.param(param.type, param.name)
            for node in graph.nodes:
                self.builder.line = node.line
                self.node(node)
            yields = [self.new[v] for v in graph.yields]
        return self.builder.finish(graph.name, yields)

    def node(self, node: Node) -> None:
        value = node.results[0] if node.results else None
        if value in self.forward:
            self.new[value] = self.attend(self.forward[value])
        elif value in self.backward:
            self.new[value] = self.pull(*self.backward[value])
        else:
            operands = [self.new[v] for v in node.operands]
            made = self.builder.emit(node.op, operands, node.attrs, node.regions)
            results = (made,) if isinstance(made, Value) else made
            self.new.update(zip(node.results, results, strict=True))
        for result in node.results:
            if self.new[result].name is None:
                self.new[result].name = result.name

    def attend(self, found: _Found) -> Value:
        match = found.match
        self.operands[id(found)] = operands = match.operands(self.new)
        result, sums = ATTENTION(*operands, **match.attrs)
        self.results[id(found)] = result, sums
        return _transposed(result, match.result_order)

    def pull(self, found: _Found, number: int) -> Value:
        """The cotangent of query, key or value, with its axes as the program has them."""
        match = found.match
        if id(found) not in self.gradients:
            assert found.cotangent is not None
            result, sums = self.results[id(found)]
            g = _transposed(self.new[found.cotangent], found.order)
            g = _transposed(g, _inverse(match.result_order))
            operands = (*self.operands[id(found)], sums, row_means(result, g), g)
            self.gradients[id(found)] = ATTENTION_GRADIENT(*operands, **match.attrs)
        g = _transposed(self.gradients[id(found)][number], _inverse(match.orders[number]))
        return _transposed(g, _inverse(found.turns[number]))


def _transposed(value: Value, perm: Sequence[int]) -> Value:
    perm = tuple(perm)
    return value if perm == tuple(range(len(perm))) else TRANSPOSE(value, perm=perm)


def _inverse(perm: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(perm)), key=lambda k: perm[k]))
