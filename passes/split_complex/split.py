"""Split complex: every complex value becomes two real ones, so that no later pass meets any.

Before: `%1 = exp(%z) : c64[N]`. After: `%2, %3` of f32[N], computed from `%z.re` and `%z.im`.

At the borders a complex buffer stays what numpy has, seen as pairs: a parameter c64[N] becomes
f32[N, 2], a result likewise. What numpy computes on the host is called through `paired`. The
operands and results of control flow are two real values each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...ir.builder import Rewriting
from ...ir.graph import Graph, Node, Region, Value
from ...ir.ops.base import Kind, Op
from ...ir.ops.paired import PAIRED, PARTS, pairs_type
from ...ir.ops.view import CONCAT, RESHAPE, SLICE
from ...ir.types import TensorType
from ..dead import prune
from .pair import Pair
from .rules import RULES, Operand

_HOST = (Kind.HOST, Kind.SORT)
# Products have no real form that keeps their order of operations: numpy computes them.
_PRODUCTS = ("reduce_prod", "cumprod")
# Attributes of a view of a complex buffer as a view of it seen as pairs, which stay together.
_WITH_PAIRS: dict[str, Callable[[Node], dict[str, Any]]] = {
    "reshape": lambda node: {"shape": (*node.attrs["shape"], PARTS)},
    "transpose": lambda node: {"perm": (*node.attrs["perm"], len(node.attrs["perm"]))},
    "slice": lambda node: {
        "starts": (*node.attrs["starts"], 0),
        "sizes": (*node.attrs["sizes"], PARTS),
        "steps": (*node.attrs["steps"], 1),
    },
    "broadcast": lambda node: {
        "shape": (*node.attrs["shape"], PARTS),
        "dims": (*node.attrs["dims"], len(node.attrs["shape"])),
    },
}


class SplitError(TypeError):
    """An op of complex numbers that has no real form. The message names it and the user's line."""


def split_complex(graph: Graph) -> Graph:
    """A program without complex values that computes what `graph` does; `graph` itself where it
    has none. Buffers keep their contents, parameters and results their order.

    Raises:
        SplitError: an op has no rule for complex numbers.
    """
    return prune(_Splitter().graph(graph)) if _has_complex(graph) else graph


def _has_complex(region: Region) -> bool:
    return any(_is_complex(v) for v in region.params) or any(
        any(_is_complex(v) for v in node.results)
        or any(_has_complex(inner) for inner in node.regions)
        for node in region.nodes
    )


def _is_complex(value: Value) -> bool:
    return value.type.dtype.is_complex


class _Splitter:
    """Builds the real program.

    Attributes:
        new: what stands for each value.
        whole: of pairs that were taken from a buffer, or are a view of such, that buffer.
    """

    def __init__(self) -> None:
        self.builder = Rewriting()
        self.new: dict[Value, Operand] = {}
        self.whole: dict[Pair, Value] = {}

    def graph(self, graph: Graph) -> Graph:
        builder = self.builder
        with builder:
            params = [builder.param(pairs_type(p.type), p.name) for p in graph.params]
            for old, param in zip(graph.params, params, strict=True):
                self.new[old] = self.parted(param, old.name) if _is_complex(old) else param
            self.nodes(graph)
            yields = [self.buffer(self.new[v]) for v in graph.yields]
        return builder.finish(graph.name, yields, level=graph.level, outs=graph.outs)

    # Borders

    def parted(self, buffer: Value, name: str | None) -> Pair:
        """The parts of a buffer of pairs."""
        *shape, _ = buffer.type.shape
        parts = []
        for place, suffix in enumerate(("re", "im")):
            starts, sizes = (0,) * len(shape) + (place,), (*shape, 1)
            column = SLICE(buffer, starts=starts, sizes=sizes, steps=(1,) * len(sizes))
            parts.append(_named(RESHAPE(column, shape=tuple(shape)), name, suffix))
        pair = Pair(*parts)
        self.whole[pair] = buffer
        return pair

    def buffer(self, value: Operand) -> Value:
        """A pair as one buffer of pairs; a real value as it is."""
        if not isinstance(value, Pair):
            return value
        if value not in self.whole:
            shape = value.re.type.shape
            columns = [RESHAPE(part, shape=(*shape, 1)) for part in value]
            self.whole[value] = CONCAT(*columns, axis=len(shape))
        return self.whole[value]

    # Nodes

    def nodes(self, region: Region) -> None:
        for node in region.nodes:
            self.builder.line = node.line
            operands = [self.new[v] for v in node.operands]
            for old, value in zip(node.results, self.results(node, operands), strict=True):
                self.new[old] = value
                if isinstance(value, Pair):
                    _named(value.re, old.name, "re")
                    _named(value.im, old.name, "im")
                elif value.name is None:
                    value.name = old.name

    def results(self, node: Node, operands: Sequence[Operand]) -> Sequence[Operand]:
        if node.op.kind is Kind.CONTROL and node.op.name != "launch":
            return self.control(node, operands)
        if not any(_is_complex(v) for v in (*node.operands, *node.results)):
            return _sequence(self.builder.emit(node.op, operands, node.attrs))  # type: ignore[arg-type]
        if node.op.kind in _HOST or node.op.name in _PRODUCTS or _multiplies(node):
            return self.on_host(node, operands)
        rule = RULES.get(node.op.name)
        if rule is None:
            place = f" ({node.line})" if node.line is not None else ""
            raise SplitError(f"{node.op.name} of complex numbers cannot be compiled{place}")
        found = rule(node, operands)
        if node.op.name not in _WITH_PAIRS:
            return [found]
        (operand,) = operands
        if isinstance(operand, Pair) and isinstance(found, Pair) and operand in self.whole:
            buffer = self.whole[operand]
            self.whole[found] = node.op(buffer, **_WITH_PAIRS[node.op.name](node))
        return [found]

    def on_host(self, node: Node, operands: Sequence[Operand]) -> Sequence[Operand]:
        names = tuple(node.attrs)
        found = PAIRED(
            *(self.buffer(v) for v in operands),
            op=node.op.name,
            complex=tuple(isinstance(v, Pair) for v in operands),
            names=names,
            values=tuple(node.attrs[name] for name in names),
        )
        return [
            self.parted(value, None) if _is_complex(old) else value
            for old, value in zip(node.results, _sequence(found), strict=True)
        ]

    # Control flow

    def control(self, node: Node, operands: Sequence[Operand]) -> Sequence[Operand]:
        """A node with regions, each complex operand and result as two real ones."""
        attrs = dict(node.attrs)
        first = 0
        for counted in ("consts", "carries"):
            if counted in attrs:
                last = first + attrs[counted]
                attrs[counted] = len(_flat(operands[first:last]))
                first = last
        regions = tuple(self.region(node.op, region) for region in node.regions)
        self.builder.line = node.line  # not that of the last node inside
        found = iter(_sequence(self.builder.emit(node.op, _flat(operands), attrs, regions)))
        return [
            Pair(next(found), next(found)) if _is_complex(old) else next(found)
            for old in node.results
        ]

    def region(self, op: Op, region: Region) -> Region:
        types: list[TensorType] = []
        names: list[str | None] = []
        for param in region.params:
            halves = ("re", "im") if _is_complex(param) else ("",)
            type = param.type.with_dtype(param.type.dtype.to_real())
            types += [type] * len(halves)
            names += [param.name and (f"{param.name}.{h}" if h else param.name) for h in halves]
        closed = op.kind is Kind.CONTROL
        with self.builder.region(types, names, closed=closed) as opened:
            inner = iter(opened.params)
            for param in region.params:
                is_pair = _is_complex(param)
                self.new[param] = Pair(next(inner), next(inner)) if is_pair else next(inner)
            self.nodes(region)
            opened.yield_(*_flat([self.new[v] for v in region.yields]))
        return opened.closed


def _multiplies(node: Node) -> bool:
    return node.op.name == "scatter" and node.attrs["combine"] == "mul"


def _flat(values: Iterable[Operand]) -> list[Value]:
    return [part for v in values for part in (v if isinstance(v, Pair) else (v,))]


def _sequence(found: Any) -> Sequence[Value]:
    return (found,) if isinstance(found, Value) else found


def _named(value: Value, name: str | None, suffix: str) -> Value:
    if name is not None and value.name is None:
        value.name = f"{name}.{suffix}"
    return value
