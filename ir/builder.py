"""Builders: the three ways to emit a node.

`Recording` never folds, merges or drops (traces, tape, parser): a gradient may be asked of any
value that it made. `Rewriting` folds constants, removes duplicates and applies local rules as it
goes; only passes use it. `Evaluating` computes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .dtypes import converted
from .evaluate import with_regions
from .graph import Graph, Location, Node, Region, Value
from .literal import Literal, array_type
from .ops.base import OPS, Kind, Op, TypeRuleError, pop_builder, push_builder
from .types import TensorType

FOLD_LIMIT = 64  # elements of a constant that folding may make


class Builder:
    """Emits nodes. `with builder:` makes it the active one of this thread."""

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Any:
        """The result of `op`, or the tuple of results where it has not exactly one.

        Raises:
            TypeRuleError: the operands or attributes do not fit the op.
        """
        raise NotImplementedError

    def full(self, type: TensorType, number: float | int | bool) -> Value:
        """A value of `type` whose every element is `number`."""
        literal = Literal(converted(np.asarray(number), type.dtype))
        scalar = self.emit(OPS["constant"], (), {"value": literal})
        if not type.shape:
            return scalar
        return self.emit(OPS["broadcast"], (scalar,), {"shape": type.shape, "dims": ()})

    def __enter__(self) -> Any:
        push_builder(self)
        return self

    def __exit__(self, *exc: object) -> None:
        pop_builder()


def make_node(
    op: Op,
    operands: Sequence[Value],
    attrs: Mapping[str, Any],
    regions: tuple[Region, ...] = (),
    line: Location | None = None,
) -> Node:
    """A checked node: arity, attribute names and the op's type rule."""
    operands = tuple(operands)
    if op.arity is not None and len(operands) != op.arity:
        raise TypeRuleError(f"{op.name} takes {op.arity} operands, got {len(operands)}")
    if len(regions) != op.regions:
        raise TypeRuleError(f"{op.name} takes {op.regions} regions, got {len(regions)}")
    if attrs or op.attributes:
        _check_attributes(op, attrs)
    given = {**attrs, "regions": regions} if op.regions else attrs
    results = op.infer([v.type for v in operands], given)
    return Node(op, operands, attrs, tuple(results), regions, line)


def _check_attributes(op: Op, attrs: Mapping[str, Any]) -> None:
    for name in attrs:
        if name not in op.attributes:
            raise TypeRuleError(f"{op.name} has no attribute {name!r}")
    if len(attrs) == len(op.attributes):
        return
    for name in op.attributes:
        if name not in attrs and name not in op.optional:
            raise TypeRuleError(f"{op.name} needs the attribute {name!r}")


def unpack(node: Node) -> Any:
    return node.results[0] if len(node.results) == 1 else node.results


class Recording(Builder):
    """Appends every node, as it is, with the line that `locate()` names."""

    def __init__(self, locate: Callable[[], Location | None] | None = None) -> None:
        self.params: list[Value] = []
        self.nodes: list[Node] = []
        self.locate = locate
        self.line: Location | None = None  # of the node being rewritten, when `locate` is None

    def param(self, type: TensorType, name: str | None = None) -> Value:
        """A new parameter of the program."""
        value = Value(type, name=name)
        self.params.append(value)
        return value

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Any:
        line = self.locate() if self.locate is not None else self.line
        node = make_node(op, operands, attrs or {}, regions, line)
        self.nodes.append(node)
        results = node.results
        return results[0] if len(results) == 1 else results

    @contextmanager
    def region(
        self, types: Sequence[TensorType], names: Sequence[str | None] = (), *, closed: bool = False
    ) -> Iterator[OpenRegion]:
        """Nodes emitted inside the `with` go to a new region with parameters of these types; a
        `closed` one (those of control flow) reads no value from outside."""
        names = tuple(names) + (None,) * (len(types) - len(names))
        opened = OpenRegion(tuple(Value(t, name=n) for t, n in zip(types, names, strict=True)))
        outer, self.nodes = self.nodes, []
        try:
            yield opened
            opened.close(self.nodes)
        finally:
            self.nodes = outer

    def finish(
        self, name: str, yields: Sequence[Value] = (), *, level: str = "tensor", outs: int = 0
    ) -> Graph:
        """The graph of all that was emitted."""
        return Graph(
            name, tuple(self.params), tuple(self.nodes), tuple(yields), level=level, outs=outs
        )


class OpenRegion:
    """A region under construction; `closed` is the `Region` once its `with` block has ended."""

    def __init__(self, params: tuple[Value, ...]) -> None:
        self.params = params
        self.yields: tuple[Value, ...] = ()
        self.closed: Region

    def yield_(self, *values: Value) -> None:
        """What the region yields; call it once, last."""
        self.yields = values

    def close(self, nodes: Sequence[Node]) -> None:
        self.closed = Region(self.params, tuple(nodes), self.yields)


Rule = Callable[[Builder, Op, tuple[Value, ...], Mapping[str, Any]], Any]


class Rewriting(Recording):
    """Folds constants, merges equal nodes and applies `rule` before it appends a node.

    `rule(builder, op, operands, attrs)` gives what stands for the node, or None to keep it.
    """

    def __init__(self, rule: Rule | None = None) -> None:
        super().__init__()
        self.rule = rule
        self._seen: list[dict[tuple, Node]] = [{}]

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Any:
        operands, attrs = tuple(operands), attrs or {}
        if self.rule is not None:
            instead = self.rule(self, op, operands, attrs)
            if instead is not None:
                return instead
        if regions or op.kind in (Kind.KERNEL, Kind.LOOP, Kind.CONTROL):
            return super().emit(op, operands, attrs, regions)
        key = (op, operands, tuple(sorted(attrs.items(), key=lambda item: item[0])))
        for seen in self._seen:
            if key in seen:
                return unpack(seen[key])
        node = make_node(op, operands, attrs, (), self.line)
        folded = fold(node)
        if folded is not None:
            node = make_node(OPS["constant"], (), {"value": folded}, (), self.line)
            key = (node.op, (), (("value", folded),))
            for seen in self._seen:
                if key in seen:
                    return unpack(seen[key])
        self._seen[-1][key] = node
        self.nodes.append(node)
        return unpack(node)

    @contextmanager
    def region(
        self, types: Sequence[TensorType], names: Sequence[str | None] = (), *, closed: bool = False
    ) -> Iterator[OpenRegion]:
        outer = self._seen
        self._seen = [{}] if closed else [*outer, {}]
        try:
            with super().region(types, names, closed=closed) as opened:
                yield opened
        finally:
            self._seen = outer


def fold(node: Node) -> Literal | None:
    """The constant that `node` computes, if it is one of at most `FOLD_LIMIT` elements."""
    if node.op.kind in (Kind.SOURCE, Kind.HOST) or len(node.results) != 1 or not node.operands:
        return None
    arrays = []
    for operand in node.operands:
        if operand.node is None or operand.node.op.name != "constant":
            return None
        arrays.append(operand.node.attrs["value"].array)
    type = node.results[0].type
    size = type.size
    if not isinstance(size, int) or size > FOLD_LIMIT:
        return None
    if size == 0 and not all(isinstance(dim, int) for dim in type.shape):
        return None  # no elements, whatever the symbols are
    if node.op.kind is Kind.VIEW and size > 1:
        return None  # kernels read through views; the number that is repeated stays a number
    with np.errstate(all="ignore"):
        (array,) = node.op.evaluate(arrays, node.attrs)
    return Literal(array)


class Concrete(Value):
    """A value that is known: what `Evaluating` handles. `node` is set only while recording."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray, type: TensorType | None = None) -> None:
        super().__init__(type or array_type(array))
        self.array = array


class Evaluating(Builder):
    """Computes each op at once with its numpy evaluation.

    With `record=True` every result keeps the node that made it, so that gradients may be asked
    of it; otherwise it keeps nothing alive.
    """

    def __init__(
        self, record: bool = False, locate: Callable[[], Location | None] | None = None
    ) -> None:
        self.record = record
        self.locate = locate

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Any:
        attrs = attrs or {}
        line = self.locate() if self.record and self.locate is not None else None
        node = make_node(op, operands, attrs, regions, line)
        with np.errstate(all="ignore"):
            arrays = op.evaluate(
                [v.array for v in operands],  # type: ignore[attr-defined]
                with_regions(attrs, regions, {}),
            )
        results = []
        for i, (array, symbolic) in enumerate(zip(arrays, node.results, strict=True)):
            result = Concrete(array, symbolic.type)
            if self.record:
                result.node, result.index = node, i
            results.append(result)
        if self.record:
            node.results = tuple(results)
        return results[0] if len(results) == 1 else tuple(results)
