"""Kernels that scatter: their loops, and what the passes that write them anew have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..ir.access import axes
from ..ir.dims import Dim
from ..ir.dtypes import DType, f32
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.kernel import INDEX
from ..ir.sugar import neutral
from .kernel_pieces import Pieces, as_tuple

SUMS, ORDER, STARTS = BUFFERS = "sums", "order", "starts"  # names of buffers, new to a kernel
# What the processor joins in one step, without an order that would show in more than rounding;
# halves as float32.
_WIDE = ("f32", "f64", "i32", "i64")
ATOMIC = {"add": (*_WIDE, "f16", "bf16"), "maximum": _WIDE[2:], "minimum": _WIDE[2:]}


@dataclass(frozen=True, slots=True)
class Scatter:
    """The nodes of a scatter: a loop over columns or None, in which the output is filled, and then
    joined in nested loops."""

    outer: Node | None
    copy: Node
    levels: tuple[Node, ...]
    load: Node
    joined: Node
    store: Node


def find_scatter(kernel: Graph) -> Scatter | None:
    """How a kernel scatters what can be joined in any order; None where it does something else."""
    names = [p.name for p in kernel.params]
    if len(kernel.out_params) != 1 or len({*names, *BUFFERS}) != len(names) + len(BUFFERS):
        return None
    outer, inside = None, _with_regions(kernel)
    if len(inside) == 1 and inside[0].op.name == "parallel":
        outer = inside[0]
        inside = _with_regions(outer.regions[0])
    if [n.op.name for n in inside] != ["parallel", "for"]:
        return None
    copy, *levels = inside
    while below := _with_regions(levels[-1].regions[0]):
        if len(below) != 1 or below[0].op.name != "for":
            return None
        levels += below
    if any(n.operands or n.attrs["lo"] != 0 or n.attrs["step"] != 1 for n in levels):
        return None
    stores = [n for n in levels[-1].regions[0].nodes if n.op.name == "store"]
    filling = [n for n in copy.regions[0].nodes if n.op.name == "store" or n.regions]
    if len(stores) != 1 or len(filling) != 1 or filling[0].attrs.get("guarded"):
        return None
    joined = stores[0].operands[1].node
    if joined is None or stores[0].operands[0].type.dtype.name not in ATOMIC.get(
        joined.op.name, ()
    ):
        return None
    load = joined.operands[0].node
    if load is None or load.op.name != "load" or load.operands[0] is not stores[0].operands[0]:
        return None
    if load.operands[1:] != stores[0].operands[2:]:
        return None
    return Scatter(outer, copy, tuple(levels), load, joined, stores[0])


def _with_regions(region: Region) -> list[Node]:
    return [n for n in region.nodes if n.regions]


class ScatterPieces(Pieces):
    """Writes kernels that stand for one.

    Attributes:
        found: its loops.
        out: what is updated; `dtype` its elements, `wide` what they are joined as.
    """

    def __init__(self, kernel: Graph, found: Scatter) -> None:
        super().__init__(kernel)
        self.found = found
        self.out = kernel.out_params[0]
        self.dtype = self.out.type.dtype
        self.wide = f32 if self.dtype.is_low_precision else self.dtype

    def from_nothing(self) -> bool:
        """Whether the base is the neutral element everywhere."""
        filling = next(n for n in self.found.copy.regions[0].nodes if n.op.name == "store")
        made, dtype = filling.operands[1].node, filling.operands[0].type.dtype
        if made is None or made.op.name != "constant":
            return False
        nothing = neutral(self.found.joined.op.name, dtype).array
        return bool(np.array_equal(made.attrs["value"].array, nothing))

    def cast(self, value: Value, dtype: DType) -> Value:
        """`value` as that dtype."""
        if value.type.dtype is dtype:
            return value
        return as_tuple(self.builder.emit(OPS["cast"], (value,), {"dtype": dtype}))[0]

    def inside(self) -> list[Region]:
        """The regions around an update, the outermost first."""
        return [*self.around(), *(level.regions[0] for level in self.found.levels)]

    def updates(self) -> tuple[list[Dim], list[Value]]:
        """The extents of the loops over updates, and what counts in them."""
        levels = self.found.levels
        return [n.attrs["hi"] for n in levels], [n.regions[0].params[0] for n in levels]

    def around(self) -> list[Region]:
        return [] if self.found.outer is None else [self.found.outer.regions[0]]

    def _columns(self) -> tuple[Sequence[Value], Sequence[Dim]]:
        return ((), ()) if self.found.outer is None else axes(self.found.outer)

    @contextmanager
    def points(self, extents: Sequence[Dim], params: Sequence[Value]) -> Iterator[None]:
        """What is emitted meanwhile is the body of a `parallel` over these axes and the columns."""
        columns, more = self._columns()
        with self.builder.region([INDEX] * (len(extents) + len(more))) as opened:
            self.new.update(zip((*params, *columns), opened.params, strict=True))
            yield
        self.builder.emit(OPS["parallel"], (), {"extents": (*extents, *more)}, (opened.closed,))

    def needed(self, values: Iterable[Value], regions: Sequence[Region]) -> set[Node]:
        """The nodes without regions on which these values depend."""
        used, found = set(values), set()
        for region in (*reversed(regions), self.kernel):
            for node in reversed(region.nodes):
                if not node.regions and any(v in used for v in node.results):
                    found.add(node)
                    used.update(node.operands)
        return found
