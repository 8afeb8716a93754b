"""Split contracts: a long sum of few results is cut into parts, for the programs of a GPU.

Before: `%y = launch(%a, %b) {kernel}`, where the kernel is a product of few blocks and very long
sums.
After: a launch that adds up each of a number of parts, kept as wide as they are summed, and one
that adds the parts and does what the kernel did with the sums.

How many parts there are follows from the sizes and the GPU; each has its own memory, so every run
gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import Recording
from ..ir.dims import Dim, Slot, of_atom, product
from ..ir.gpu_target import GpuTarget
from ..ir.graph import Graph, Node, Region, Value
from ..ir.literal import Literal
from ..ir.ops import OPS
from ..ir.ops.kernel import INDEX
from ..ir.types import tensor_type
from .kernel_pieces import Pieces, as_tuple, launched_in_turn
from .rewrite import rewrite

SIDE = 128  # rows and columns of a block that keeps a multiprocessor busy
LEAST_TERMS = 512  # of a part
MOST_PARTS = 32  # that one element is added up of
READ = 4  # elements of the operands for each that is written and added up afterwards


def split_contracts(graph: Graph, target: GpuTarget) -> Graph:
    """`graph` with such products cut; itself where there is none."""
    known: dict[Graph, tuple[Graph, Graph] | None] = {}
    for node in graph.walk():
        kernel = node.attrs["kernel"] if node.op.name == "launch" else None
        if kernel is not None and kernel not in known:
            known[kernel] = _split(kernel, target)
    if not any(known.values()):
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        both = known[node.attrs["kernel"]] if node.op.name == "launch" else None
        return None if both is None else launched_in_turn(node, operands, both)

    return rewrite(graph, rule, Recording())


def _split(kernel: Graph, target: GpuTarget) -> tuple[Graph, Graph] | None:
    """(the kernel of the parts, the kernel that adds them); None where `kernel` is left whole."""
    outer = [node for node in kernel.nodes if node.regions]
    names = [p.name for p in kernel.params]
    if len(outer) != 1 or outer[0].op.name != "contract" or len(set(names)) < len(names):
        return None
    (contract,) = outer
    if any(node.regions for region in contract.regions for node in region.nodes):
        return None
    axis, parts = _cut(contract, target)
    return _Parts(kernel, contract, axis, parts).made() if parts > 1 else None


def _cut(contract: Node, target: GpuTarget) -> tuple[int, int]:
    """(which axis of k is cut, into how many parts); 1 part where none is."""
    attrs = contract.attrs
    batch, m, n, k = (product(attrs[name]) for name in ("batch", "m", "n", "k"))
    if not all(isinstance(size, int) and size > 0 for size in (batch, m, n, k)):
        return 0, 1
    assert isinstance(batch, int) and isinstance(m, int) and isinstance(n, int)
    assert isinstance(k, int)
    blocks = batch * -(-m // SIDE) * -(-n // SIDE)
    most = min(
        MOST_PARTS,
        target.multiprocessors // blocks,
        k // LEAST_TERMS,
        k * (m + n) // (READ * m * n),
    )
    # The first axis that can be cut into most parts.
    found = [
        (max((p for p in range(1, most + 1) if size % p == 0), default=1), -axis)
        for axis, size in enumerate(attrs["k"])
    ]
    parts, axis = max(found, default=(1, 0))
    return -axis, parts


class _Parts(Pieces):
    """Writes both kernels."""

    def __init__(self, kernel: Graph, contract: Node, axis: int, parts: int) -> None:
        super().__init__(kernel)
        self.contract = contract
        self.axis = axis
        self.parts = parts
        attrs = contract.attrs
        self.batch, self.m, self.n = (tuple(attrs[name]) for name in ("batch", "m", "n"))
        self.size = attrs["k"][axis] // parts

    def made(self) -> tuple[Graph, Graph]:
        return self._first(), self._second()

    def _begin(self) -> Value:
        """A new kernel; gives the buffer of the parts."""
        self.begin()
        shape = (self.parts, *self.batch, *self.m, *self.n)
        return self.builder.param(tensor_type(self.contract.attrs["acc"], shape), "parts")

    def _first(self) -> Graph:
        """The product with one more axis of the batch, whose results are the sums."""
        parts = self._begin()
        lhs, rhs, out = self.contract.regions
        with self.builder:
            self._before()
            b = len(self.batch)
            operands = (
                self._operand(lhs, b + len(self.m) + self.axis),
                self._operand(rhs, b + self.axis),
            )
            extents = (self.parts, *self.batch, *self.m, *self.n)
            with self.builder.region([INDEX, *(p.type for p in out.params)]) as opened:
                *point, total = opened.params
                index = _slots(2, extents)
                self._emit("store", (parts, total, *point), {"index": index})
            k = list(self.contract.attrs["k"])
            k[self.axis] = self.size
            attrs = dict(self.contract.attrs)
            attrs |= {"batch": (self.parts, *self.batch), "k": tuple(k)}
            self._emit("contract", (), attrs, (*operands, opened.closed))
        return self.finish(f"{self.kernel.name}_parts", 1)

    def _operand(self, region: Region, cut: int) -> Region:
        """The region of an operand, in whose parameter number `cut` a part counts from 0."""
        with self.builder.region([INDEX, *(p.type for p in region.params)]) as opened:
            part, *params = opened.params
            self.new.update(zip(region.params, params, strict=True))
            place = of_atom(Slot(0, self.parts)) * self.size + of_atom(Slot(1, self.size))
            index = self._emit("index", (part, params[cut]), {"expr": place})
            self.new[region.params[cut]] = index[0]
            self.copy(region.nodes)
            opened.yield_(*(self.new.get(v, v) for v in region.yields))
        return opened.closed

    def _second(self) -> Graph:
        """All elements of the result, each from the sum of its parts."""
        parts = self._begin()
        outs = [self.builder.param(p.type, p.name) for p in self.kernel.out_params]
        self.new.update(zip(self.kernel.out_params, outs, strict=True))
        out, extents = self.contract.regions[2], (*self.batch, *self.m, *self.n)
        with self.builder:
            self._before()
            zero = self._zero()
            with self.builder.region([INDEX] * len(extents)) as opened:
                point = opened.params
                self.new.update(zip(out.params[:-1], point, strict=True))
                self.new[out.params[-1]] = self._sum(parts, zero, point)
                self.copy(out.nodes)
            self._emit("parallel", (), {"extents": extents}, (opened.closed,))
        return self.finish(f"{self.kernel.name}_joined", len(outs))

    def _zero(self) -> Value:
        zero = self.contract.attrs["acc"].numpy.type(0)
        return self._emit("constant", (), {"value": Literal(zero)})[0]

    def _sum(self, parts: Value, zero: Value, point: Sequence[Value]) -> Value:
        with self.builder.region([INDEX]) as body:
            where = (*body.params, *point)
            index = _slots(1, parts.type.shape)
            body.yield_(*self._emit("load", (parts, *where), {"index": index}))
        with self.builder.region([zero.type] * 2) as combine:
            combine.yield_(*self._emit("add", combine.params, {}))
        regions = (body.closed, combine.closed)
        return self._emit("reduce", (zero,), {"extents": (self.parts,)}, regions)[0]

    def _before(self) -> None:
        self.copy(node for node in self.kernel.nodes if node is not self.contract)

    def _emit(
        self,
        name: str,
        operands: Sequence[Value],
        attrs: dict,
        regions: tuple[Region, ...] = (),
    ) -> tuple[Value, ...]:
        self.builder.line = self.contract.line
        return as_tuple(self.builder.emit(OPS[name], operands, attrs, regions))


def _slots(first: int, extents: Sequence[Dim]) -> tuple[Dim, ...]:
    """One slot for each of the axes, the operands from number `first` on."""
    return tuple(
        0 if n == 1 else of_atom(Slot(first + number, n)) for number, n in enumerate(extents)
    )
