"""Values, nodes, regions and graphs: one set of classes for every level of the program.

A graph is an ordered list of nodes. It is not edited in place: a pass reads one and builds another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .ops.base import OPS, active
from .types import TensorType

if TYPE_CHECKING:
    from .ops.base import Op


class Location(NamedTuple):
    """A place in the user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Value:
    """One SSA value: a parameter of a region (`node is None`) or result `index` of `node`.

    Operators (`a * b`, `-a`) emit through the active builder; both sides have equal types, or one
    is a Python number.
    """

    __slots__ = ("__weakref__", "index", "name", "node", "type")

    def __init__(
        self, type: TensorType, node: Node | None = None, index: int = 0, name: str | None = None
    ) -> None:
        self.type = type
        self.node = node
        self.index = index
        self.name = name

    def __repr__(self) -> str:
        return f"<%{self.name or '?'}: {self.type}>"

    def __add__(self, other: Value | float) -> Value:
        return _operate("add", self, other)

    def __radd__(self, other: float) -> Value:
        return _operate("add", other, self)

    def __sub__(self, other: Value | float) -> Value:
        return _operate("sub", self, other)

    def __rsub__(self, other: float) -> Value:
        return _operate("sub", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return _operate("mul", self, other)

    def __rmul__(self, other: float) -> Value:
        return _operate("mul", other, self)

    def __truediv__(self, other: Value | float) -> Value:
        return _operate("div", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return _operate("div", other, self)

    def __neg__(self) -> Value:
        return OPS["neg"](self)


def _operate(name: str, left: Value | float, right: Value | float) -> Value:
    """`name` of two values of one type; a Python number takes the type of the other side."""
    if not isinstance(left, Value):
        assert isinstance(right, Value)
        left = full(right.type, left)
    elif not isinstance(right, Value):
        right = full(left.type, right)
    return OPS[name](left, right)


def full(type: TensorType, number: float | int | bool) -> Value:
    """A value of `type` whose every element is `number`."""
    return active().full(type, number)


class Node:
    """One equation: results = op(operands) {attributes} with regions, made at `line`."""

    __slots__ = ("attrs", "line", "op", "operands", "regions", "results")

    def __init__(
        self,
        op: Op,
        operands: tuple[Value, ...],
        attrs: Mapping[str, Any],
        result_types: tuple[TensorType, ...],
        regions: tuple[Region, ...] = (),
        line: Location | None = None,
    ) -> None:
        self.op = op
        self.operands = operands
        self.attrs = attrs
        self.regions = regions
        self.line = line
        if len(result_types) == 1:
            self.results: tuple[Value, ...] = (Value(result_types[0], self),)
        else:
            self.results = tuple([Value(t, self, i) for i, t in enumerate(result_types)])

    def __repr__(self) -> str:
        return f"<{self.op.name} {[str(v.type) for v in self.operands]} {dict(self.attrs)}>"


class Region:
    """A list of nodes with parameters and the values that it yields."""

    __slots__ = ("nodes", "params", "yields")

    def __init__(
        self, params: tuple[Value, ...], nodes: tuple[Node, ...], yields: tuple[Value, ...] = ()
    ) -> None:
        self.params = params
        self.nodes = nodes
        self.yields = yields

    def walk(self) -> Iterator[Node]:
        """All nodes, those of nested regions included, outer before inner."""
        for node in self.nodes:
            yield node
            for region in node.regions:
                yield from region.walk()


class Graph(Region):
    """A whole program or kernel.

    Attributes:
        level: "tensor" (values are tensors), "kernel" or "loop" (values are scalars, vectors and
            buffers).
        outs: at kernel and loop level, the trailing parameters that are written; a tensor program
            has none and yields its results.
    """

    __slots__ = ("level", "name", "outs")

    def __init__(
        self,
        name: str,
        params: tuple[Value, ...],
        nodes: tuple[Node, ...],
        yields: tuple[Value, ...] = (),
        *,
        level: str = "tensor",
        outs: int = 0,
    ) -> None:
        super().__init__(params, nodes, yields)
        self.name = name
        self.level = level
        self.outs = outs

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The parameters that are read only."""
        return self.params[: len(self.params) - self.outs]

    @property
    def out_params(self) -> tuple[Value, ...]:
        """The buffers that the kernel writes."""
        return self.params[len(self.params) - self.outs :]

    def __str__(self) -> str:
        from .printer import print_graph

        return print_graph(self)


def uses(graph: Region) -> dict[Value, list[Node]]:
    """For each value, the nodes that read it (nested regions included), in order."""
    found: dict[Value, list[Node]] = {}
    for node in graph.walk():
        for operand in node.operands:
            found.setdefault(operand, []).append(node)
        for region in node.regions:
            for value in region.yields:
                found.setdefault(value, []).append(node)
    return found
