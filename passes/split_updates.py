"""Split updates: what an optimizer does with a weight's gradient is a loop after the product.

Before: `%w1, %m1 = launch(%x, %g, %w, %m) {kernel}`, a product whose results meet the elements of
several buffers as large as they are.
After: a launch that stores the sums, and one that does what the kernel did with them.

A tile of a product touches a few elements of many rows of each buffer; a loop reads and writes them
as streams. That is worth the sums' way through memory, where the buffers are many and large.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.builder import Recording
from ..ir.dims import Dim, Slot, add_all, of_atom
from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.kernel import INDEX
from ..ir.types import TensorType, tensor_type
from .kernel_pieces import Pieces, as_tuple
from .rewrite import rewrite

BUFFERS = 5  # read or written for each element: a weight and one mean of its gradients make four
LARGE = 1 << 20  # bytes of them all


def split_updates(graph: Graph) -> Graph:
    """`graph` with the updates of large weights apart; itself where there are none."""
    known: dict[Graph, _Halves | None] = {}
    for node in graph.walk():
        kernel = node.attrs["kernel"] if node.op.name == "launch" else None
        if kernel is not None and kernel not in known:
            known[kernel] = _split(kernel)
    if not any(known.values()):
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        halves = known[node.attrs["kernel"]] if node.op.name == "launch" else None
        return None if halves is None else halves.launched(node, operands)

    return rewrite(graph, rule, Recording())


def _split(kernel: Graph) -> _Halves | None:
    """The kernel as two; None where it is left whole. Parameters with one name are one buffer."""
    outer = [node for node in kernel.nodes if node.regions]
    names = [p.name for p in kernel.params]
    if len(outer) != 1 or outer[0].op.name != "contract" or len(set(names)) < len(names):
        return None
    (contract,) = outer
    if any(node.regions for region in contract.regions for node in region.nodes):
        return None
    return _Halves(kernel, contract) if _meets_much(contract) else None


def _meets_much(contract: Node) -> bool:
    """Whether the results meet many large buffers."""
    types = {
        node.operands[0]: node.operands[0].type
        for node in contract.regions[2].nodes
        if node.op.name in ("load", "store")
    }
    size = tensor_type(contract.attrs["acc"], _extents(contract)).size
    large = [type.nbytes for type in types.values() if type.size == size]
    total = add_all(large)
    return len(large) >= BUFFERS and (not isinstance(total, int) or total >= LARGE)


def _extents(contract: Node) -> tuple[Dim, ...]:
    return tuple(n for name in ("batch", "m", "n") for n in contract.attrs[name])


class _Halves(Pieces):
    """The two kernels.

    Attributes:
        sums: how the first one's result is named: as the kernel's that has the sums as they are, if
            there is one.
        first, second: the kernels.
    """

    def __init__(self, kernel: Graph, contract: Node) -> None:
        super().__init__(kernel)
        self.contract = contract
        self.extents = _extents(contract)
        self.out = contract.regions[2]
        self.value, self.casting = self._summed()
        self.stored = self._stored()
        self.sums = self.stored.operands[0].name if self.stored else _fresh("sums", kernel)
        self.first = self._first()
        self.second = self._second()

    def launched(self, node: Node, operands: Sequence[Value]) -> tuple[Value, ...]:
        """What stands for the results of the launch `node`."""
        named = dict(zip((p.name for p in self.kernel.inputs), operands, strict=True))
        for kernel in (self.first, self.second):
            results = as_tuple(node.op(*(named[p.name] for p in kernel.inputs), kernel=kernel))
            named.update(zip((p.name for p in kernel.out_params), results, strict=True))
        return tuple(named[p.name] for p in self.kernel.out_params)

    def _summed(self) -> tuple[Value, Node | None]:
        """The value that is stored between the kernels: the sum, or what all cast it to, and that
        cast."""
        total = self.out.params[-1]
        readers = [node for node in self.out.nodes if total in node.operands]
        if len(readers) == 1 and readers[0].op.name == "cast":
            return readers[0].results[0], readers[0]
        return total, None

    def _stored(self) -> Node | None:
        """The store of that value into a result of this very shape, if there is one."""
        where = (*self.out.params[:-1],)
        for node in self.out.nodes:
            if node.op.name != "store" or node.operands[1] is not self.value:
                continue
            buffer, _, *point = node.operands
            same = tuple(point) == where and node.attrs["index"] == _slots(2, self.extents)
            if same and buffer.type.shape == self.extents and not node.attrs.get("guarded"):
                return node
        return None

    def _first(self) -> Graph:
        """The product."""
        lhs, rhs, out = self.contract.regions
        self.begin()
        with self.builder:
            self.copy(self._needed((lhs, rhs)))
            operands = [self._copied(region) for region in (lhs, rhs)]
            sums = self.builder.param(self._type, self.sums)
            with self.builder.region([p.type for p in out.params]) as opened:
                self.new.update(zip(out.params, opened.params, strict=True))
                if self.casting is not None:
                    self.copy([self.casting])
                *point, _ = opened.params
                attrs = {"index": _slots(2, self.extents)}
                self._emit("store", (sums, self.new[self.value], *point), attrs)
            self._emit("contract", (), dict(self.contract.attrs), (*operands, opened.closed))
        return self.finish(f"{self.kernel.name}_sums", 1)

    @property
    def _type(self) -> TensorType:
        return tensor_type(self.value.type.dtype, self.extents)

    def _second(self) -> Graph:
        """All elements of the result, each from its sum."""
        self.begin()
        sums = self.builder.param(self._type, self.sums)
        outs = [p for p in self.kernel.out_params if p.name != self.sums]
        self.new.update((p, self.builder.param(p.type, p.name)) for p in outs)
        with self.builder:
            self.copy(self._needed((self.out,)))
            with self.builder.region([INDEX] * len(self.extents)) as opened:
                point = opened.params
                self.new.update(zip(self.out.params[:-1], point, strict=True))
                attrs = {"index": _slots(1, self.extents)}
                (self.new[self.value],) = self._emit("load", (sums, *point), attrs)
                self.copy(n for n in self.out.nodes if n not in (self.casting, self.stored))
            self._emit("parallel", (), {"extents": self.extents}, (opened.closed,))
        return self.finish(f"{self.kernel.name}_update", len(outs))

    def _needed(self, regions: Iterable[Region]) -> list[Node]:
        """The nodes before the product that `regions` read."""
        wanted = {v for region in regions for v in (*_operands(region), *region.yields)}
        found: list[Node] = []
        for node in reversed(self.kernel.nodes):
            if node is not self.contract and not wanted.isdisjoint(node.results):
                wanted.update(node.operands)
                found.append(node)
        return found[::-1]

    def _copied(self, region: Region) -> Region:
        with self.builder.region([p.type for p in region.params]) as opened:
            self.new.update(zip(region.params, opened.params, strict=True))
            self.copy(region.nodes)
            opened.yield_(*(self.new[v] for v in region.yields))
        return opened.closed

    def _emit(
        self,
        name: str,
        operands: Sequence[Value],
        attrs: dict,
        regions: tuple[Region, ...] = (),
    ) -> tuple[Value, ...]:
        self.builder.line = self.contract.line
        return as_tuple(self.builder.emit(OPS[name], operands, attrs, regions))


def _operands(region: Region) -> Iterable[Value]:
    return (v for node in region.nodes for v in node.operands)


def _slots(first: int, extents: Sequence[Dim]) -> tuple[Dim, ...]:
    """One slot for each of the axes, the operands from number `first` on."""
    return tuple(
        0 if n == 1 else of_atom(Slot(first + number, n)) for number, n in enumerate(extents)
    )


def _fresh(name: str, kernel: Graph) -> str:
    taken = {p.name for p in kernel.params}
    while name in taken:
        name += "_"
    return name
