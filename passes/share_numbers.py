"""Kernels that differ in numbers alone become one, which reads them from a table.

Before: `%1 = launch(%x) {kernel=@loop0}  %2 = launch(%1) {kernel=@loop1}  ..`, whose kernels have
`%c = constant 0.3 : f32[]` here and `%c = constant 0.7 : f32[]` there.
After: `%t = constant [0.3]  %1 = launch(%x, %t) {kernel=@loop0}  %u = constant [0.7]
%2 = launch(%1, %u) {kernel=@loop0}  ..`, with `%c = load %t[0]` in the kernel.

To compile a kernel takes thousands of times as long as to read its numbers. Those that all kernels
of a kind have in common stay in the text, and few kernels stay as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.builder import Recording
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Region, Value, uses
from ..ir.literal import Literal
from ..ir.ops import OPS
from ..ir.ops.base import Kind
from ..ir.types import tensor_type
from .kernel_pieces import as_tuple
from .rewrite import rewrite

FEWEST = 4  # kernels that are worth a table
# Their numbers are part of how the work is cut; those of the first decide how they are evaluated.
_APART = ("pow", "many", "attend", "attend_gradient")


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a launch becomes: the kernel of its kind, and the tables that this reads last."""

    kernel: Graph
    tables: tuple[Literal, ...]


def share_numbers(graph: Graph) -> Graph:
    """`graph` with one kernel for those that differ in numbers alone; itself where there are few.

    The kernels compute the same results, bit by bit.
    """
    kernels = [n.attrs["kernel"] for n in graph.walk() if n.op.name == "launch"]
    known = _shared(list(dict.fromkeys(kernels)))
    if not known:
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        found = known.get(node.attrs["kernel"]) if node.op.name == "launch" else None
        if found is None:
            return None
        tables = [OPS["constant"](value=table) for table in found.tables]
        return as_tuple(node.op(*operands, *tables, kernel=found.kernel))

    return rewrite(graph, rule, Recording())


def _shared(kernels: Sequence[Graph]) -> Mapping[Graph, _Shared]:
    kinds: dict[Hashable, list[tuple[Graph, list[Node]]]] = {}
    if len(kernels) >= FEWEST:
        for kernel in kernels:
            form = _Form(kernel)
            if form.numbers:
                kinds.setdefault(form.key, []).append((kernel, form.numbers))
    known: dict[Graph, _Shared] = {}
    for alike in kinds.values():
        if len(alike) < FEWEST:
            continue
        literals = [[node.attrs["value"] for node in numbers] for _, numbers in alike]
        differ = [len(set(column)) > 1 for column in zip(*literals, strict=True)]
        first, numbers = alike[0]
        dtypes = [node.results[0].type.dtype for node in numbers]
        places = _Places(
            [d if differs else None for d, differs in zip(dtypes, differ, strict=True)]
        )
        if not places.lengths:  # they differ in the users' lines
            continue
        written = places.kernel(first, numbers)
        for (kernel, _), values in zip(alike, literals, strict=True):
            known[kernel] = _Shared(written, places.tables(values))
    return known


class _Form:
    """What a kernel is but for its numbers.

    Attributes:
        key: equal for kernels that differ in numbers, names and lines alone.
        numbers: the nodes that make those numbers, in order; empty where there are none to share.
    """

    def __init__(self, kernel: Graph) -> None:
        self.numbers: list[Node] = []
        self._ids: dict[Value, int] = {}
        readers = uses(kernel)
        free = not any(node.op.name in _APART[1:] for node in kernel.walk())
        self._shareable = {
            node
            for node in kernel.nodes
            if free and _is_free(node) and all(map(_computes, readers.get(node.results[0], ())))
        }
        self.key = (kernel.outs, self._region(kernel)) if self._shareable else None

    def _region(self, region: Region) -> Hashable:
        for param in region.params:
            self._ids[param] = len(self._ids)
        nodes = tuple([self._node(node) for node in region.nodes])
        types = tuple([param.type for param in region.params])
        return types, nodes, tuple([self._ids[value] for value in region.yields])

    def _node(self, node: Node) -> Hashable:
        operands = tuple([self._ids[value] for value in node.operands])
        regions = tuple([self._region(region) for region in node.regions])
        for value in node.results:
            self._ids[value] = len(self._ids)
        if node in self._shareable:
            self.numbers.append(node)
            return node.op, node.results[0].type
        attrs = tuple([(name, _plain(value)) for name, value in node.attrs.items()])
        return node.op, operands, attrs, regions


def _is_free(node: Node) -> bool:
    """Whether `node` is a number that decides nothing else, as 0, 1 and -1 often do."""
    if node.op.name != "constant" or not node.results[0].type.dtype.is_float:
        return False
    array = node.attrs["value"].array
    return array.shape == () and bool(np.isfinite(array)) and abs(float(array)) not in (0.0, 1.0)


def _computes(reader: Node) -> bool:
    return reader.op.kind is Kind.ELEMENTWISE and reader.op.name not in _APART


def _plain(value: Any) -> Hashable:
    """Of an attribute: True apart from 1, 1 from 1.0."""
    if isinstance(value, (list, tuple)):
        return tuple([_plain(item) for item in value])
    return type(value), value


class _Places:
    """Where numbers lie in the tables of a launch: one for each type.

    Attributes:
        at: of each number, its type and its place in that table; None where it stays in the text.
        lengths: of each type, how many numbers.
    """

    def __init__(self, dtypes: Sequence[DType | None]) -> None:
        self.at: list[tuple[DType, int] | None] = []
        self.lengths: dict[DType, int] = {}
        for dtype in dtypes:
            if dtype is None:
                self.at.append(None)
                continue
            place = self.lengths.get(dtype, 0)
            self.at.append((dtype, place))
            self.lengths[dtype] = place + 1

    def tables(self, values: Sequence[Literal]) -> tuple[Literal, ...]:
        """The tables with these numbers."""
        arrays = {d: np.empty(length, d.numpy) for d, length in self.lengths.items()}
        for at, value in zip(self.at, values, strict=True):
            if at is not None:
                arrays[at[0]][at[1]] = value.array
        return tuple(map(Literal, arrays.values()))

    def kernel(self, kernel: Graph, numbers: Sequence[Node]) -> Graph:
        """`kernel`, whose last inputs are the tables."""
        taken = {param.name for param in kernel.params}
        names = [f"numbers{n}" for n in range(len(taken) + len(self.lengths))]
        free = iter([name for name in names if name not in taken])
        tables = {
            dtype: Value(tensor_type(dtype, (length,)), name=next(free))
            for dtype, length in self.lengths.items()
        }
        found = dict(zip(numbers, self.at, strict=True))

        def rule(node: Node, operands: tuple[Value, ...]) -> Value | None:
            at = found.get(node)
            return None if at is None else OPS["load"](tables[at[0]], index=(at[1],))

        made = rewrite(kernel, rule, Recording())
        params = (*made.inputs, *tables.values(), *made.out_params)
        return Graph(made.name, params, made.nodes, (), level="kernel", outs=made.outs)
