"""Many small alike: the same update of many tensors becomes one kernel.

    %w0n = launch(%lr, %w0, %g0) {kernel=@loop3}
    %w1n = launch(%lr, %w1, %g1) {kernel=@loop4}     ->    %w0n, %w1n, .. = launch(%lr, %w0, %g0,
    ..                                                         %w1, %g1, ..) {kernel=@many3}

The kernels compute the same elementwise function, each element from those at the same place, and
nothing in the program waits for what they give: an optimizer over its parameters. Shapes may
differ, since the kernel sees its buffers as flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.access import Expressions, axes, axis_extents, flat_offset
from ...ir.builder import Recording
from ...ir.dims import Dim, Slot, of_atom, product, symbol
from ...ir.graph import Graph, Node, Region, Value
from ...ir.ops import OPS
from ...ir.ops.base import Kind
from ...ir.ops.kernel import INDEX
from ...ir.types import tensor_type

MAX_BUFFERS = 128  # of one kernel
SMALL = 1 << 16  # bytes of buffers that may live on until the last of the updates runs


class _Form:
    """A kernel that may be one of many.

    Attributes:
        body: its node that runs over the elements.
        extent: number of elements.
        shared: numbers of the inputs of which it reads one element, the same for all.
        inputs: numbers of the inputs that it reads element by element.
        key: equal for kernels that compute the same function of their inputs.
    """

    __slots__ = ("body", "extent", "inputs", "key", "shared")

    def __init__(self, kernel: Graph, shared: Sequence[Value], key: tuple) -> None:
        self.body = kernel.nodes[-1]
        self.extent: Dim = product(self.body.attrs["extents"])
        self.shared = [kernel.inputs.index(value) for value in shared]
        self.inputs = [n for n in range(len(kernel.inputs)) if n not in self.shared]
        self.key = key


class _Item:
    """A launch that may be one of many."""

    __slots__ = ("form", "node")

    def __init__(self, node: Node, form: _Form) -> None:
        self.node = node
        self.form = form

    @property
    def kernel(self) -> Graph:
        kernel: Graph = self.node.attrs["kernel"]
        return kernel

    @property
    def shared(self) -> tuple[Value, ...]:
        """The operands that are the same for all items."""
        return tuple(self.node.operands[n] for n in self.form.shared)

    @property
    def buffers(self) -> tuple[Value, ...]:
        """The parameters of the kernel that are this item's own, in the order of `many`."""
        return (*(self.kernel.inputs[n] for n in self.form.inputs), *self.kernel.out_params)


def join_updates(graph: Graph) -> Graph:
    """`graph`, a program of launches, with updates of many tensors as few kernels."""
    joiner = _Joiner()
    for param in graph.params:
        joiner.new[param] = joiner.builder.param(param.type, param.name)
    joiner.nodes(graph)
    return joiner.builder.finish(graph.name, [joiner.new[v] for v in graph.yields])


class _Joiner:
    def __init__(self) -> None:
        self.builder = Recording()
        self.new: dict[Value, Value] = {}

    def nodes(self, region: Region) -> None:
        """Emits all of a region; updates that run together after everything else."""
        groups = _groups(region)
        joined = {item.node for group in groups for item in group}
        for node in region.nodes:
            if node not in joined:
                operands = [self.new[v] for v in node.operands]
                regions = tuple(self.region(r) for r in node.regions)
                self.results(node, node.op, operands, node.attrs, regions, node.results)
        for group in groups:
            first = group[0]
            operands = [self.new[v] for v in first.shared]
            operands += [self.new[i.node.operands[n]] for i in group for n in i.form.inputs]
            results = [value for item in group for value in item.node.results]
            attrs = {"kernel": _kernel(group)}
            self.results(first.node, OPS["launch"], operands, attrs, (), results)

    def region(self, region: Region) -> Region:
        types, names = [p.type for p in region.params], [p.name for p in region.params]
        with self.builder.region(types, names, closed=True) as opened:
            self.new.update(zip(region.params, opened.params, strict=True))
            self.nodes(region)
            opened.yield_(*(self.new[v] for v in region.yields))
        return opened.closed

    def results(
        self, node: Node, op: Any, operands: Sequence[Value], attrs: Any,
        regions: tuple[Region, ...], old: Sequence[Value],
    ) -> None:  # fmt: skip
        self.builder.line = node.line
        made = self.builder.emit(op, operands, attrs, regions)
        made = (made,) if isinstance(made, Value) else made
        for before, value in zip(old, made, strict=True):
            value.name = before.name
            self.new[before] = value


# Which launches belong together --------------------------------------------------------------


def _groups(region: Region) -> list[list[_Item]]:
    """The launches of `region` that become one each, at least two of them."""
    read = {operand for node in region.nodes for operand in node.operands}
    kept = {*region.params, *region.yields}
    forms: dict[Graph, _Form | None] = {}
    found: dict[tuple, list[_Item]] = {}
    for node in region.nodes:
        if node.op.name != "launch" or any(v in read for v in node.results):
            continue
        kernel = node.attrs["kernel"]
        if kernel not in forms:
            forms[kernel] = _form(kernel)
        form = forms[kernel]
        distinct = len(set(node.operands)) == len(node.operands)
        if form is not None and distinct and _may_wait(node, kept):
            item = _Item(node, form)
            found.setdefault((form.key, item.shared), []).append(item)
    groups = []
    for items in found.values():
        first = items[0]
        most = max(1, (MAX_BUFFERS - len(first.shared)) // len(first.buffers))
        groups += [items[k : k + most] for k in range(0, len(items), most)]
    return [group for group in groups if len(group) > 1]


def _may_wait(node: Node, kept: set[Value]) -> bool:
    """Whether running `node` last keeps no large buffer alive."""
    return all(
        value in kept or (isinstance(value.type.nbytes, int) and value.type.nbytes <= SMALL)
        for value in node.operands
    )


def _form(kernel: Graph) -> _Form | None:
    """The kernel as one of many; None if it is more than a function of elements."""
    body = kernel.nodes[-1]
    if body.op.name != "parallel":
        return None
    reader = _Reader(kernel)
    if not all(reader.outside(inner) for inner in kernel.nodes[:-1]):
        return None
    if not all(reader.inside(inner) for inner in body.regions[0].nodes):
        return None
    if any(out not in reader.numbers for out in kernel.out_params):
        return None
    return _Form(kernel, list(reader.shared), tuple(reader.key))


class _Reader:
    """Writes a kernel down such that equal functions are equal, whatever their extents."""

    def __init__(self, kernel: Graph) -> None:
        body = kernel.nodes[-1]
        variables, extents = axes(body)
        self.expressions = Expressions(axis_extents(kernel))
        # An axis of extent 1 is 0 in the index expressions of a fused kernel.
        here = [0 if n == 1 else self.expressions.of(v) for v, n in zip(variables, extents)]
        # Of the element that a point computes, among all.
        self.flat = flat_offset(tensor_type(INDEX.dtype, extents), here)
        self.size = product(extents)
        self.given = set(kernel.inputs)
        self.shared: dict[Value, int] = {}
        self.numbers: dict[Value, int] = {}  # of values and of the item's own buffers
        self.key: list[Any] = []

    def outside(self, node: Node) -> bool:
        """Notes what all elements share."""
        if node.op.name == "load" and not node.attrs.get("guarded"):
            buffer = node.operands[0]
            offset = self.expressions.offset(node)
            if buffer not in self.given or not isinstance(offset, int):
                return False
            self.note(node, (self.shared.setdefault(buffer, len(self.shared)), offset))
            return True
        return self.elementwise(node)

    def inside(self, node: Node) -> bool:
        """Notes what is done for each element."""
        if node.op.name not in ("load", "store"):
            return self.elementwise(node)
        buffer = node.operands[0]
        if node.attrs.get("guarded") or buffer in self.shared or buffer.node is not None:
            return False
        if buffer.type.size != self.size or self.expressions.offset(node) != self.flat:
            return False
        number = self.numbers.setdefault(buffer, len(self.numbers))
        stored = self.numbers[node.operands[1]] if node.op.name == "store" else None
        self.note(node, (number, buffer.type.dtype, stored))
        return True

    def elementwise(self, node: Node) -> bool:
        if node.op.kind is not Kind.ELEMENTWISE and node.op.name != "constant":
            return False
        if any(v not in self.numbers for v in node.operands):
            return False  # it computes with the place of the element
        operands = tuple(self.numbers[v] for v in node.operands)
        self.note(node, (operands, tuple(sorted(node.attrs.items()))))
        return True

    def note(self, node: Node, what: tuple) -> None:
        self.key.append((node.op.name, what))
        for value in node.results:
            self.numbers[value] = len(self.numbers)


# The kernel of many --------------------------------------------------------------------------


def _kernel(group: Sequence[_Item]) -> Graph:
    """One kernel for all items: the shared operands, then the inputs, then the outputs of each."""
    first = group[0]
    builder = Recording()
    new: dict[Value, Value] = {}
    for number in first.form.shared:
        param = first.kernel.inputs[number]
        new[param] = builder.param(param.type, f"in{len(builder.params)}")
    own: list[list[Value]] = [[] for _ in group]
    for item, buffers in zip(group, own, strict=True):
        for number in item.form.inputs:
            type = item.kernel.inputs[number].type
            buffers.append(builder.param(type, f"in{len(builder.params)}"))
    outs = 0
    for item, buffers in zip(group, own, strict=True):
        for out in item.kernel.out_params:
            buffers.append(builder.param(out.type, f"out{outs}"))
            outs += 1
    _copy(first.kernel.nodes[:-1], builder, new)
    flat = [tensor_type(v.type.dtype, (symbol("L"),)) for v in first.buffers]
    builder.line = first.form.body.line
    with builder.region([INDEX, *flat]) as opened:
        new.update(zip(first.buffers, opened.params[1:], strict=True))
        _copy(first.form.body.regions[0].nodes, builder, new, opened.params[0])
    operands = [buffer for buffers in own for buffer in buffers]
    attrs = {"extents": tuple(item.form.extent for item in group)}
    builder.line = first.form.body.line
    builder.emit(OPS["many"], operands, attrs, (opened.closed,))
    name = f"many{first.kernel.name.lstrip('abcdefghijklmnopqrstuvwxyz')}"
    return builder.finish(name, (), level="kernel", outs=outs)


def _copy(
    nodes: Sequence[Node], builder: Recording, new: dict[Value, Value], place: Value | None = None
) -> None:
    """Emits `nodes`; the accesses among them at `place`, where it is given."""
    for node in nodes:
        builder.line = node.line
        operands = [new[v] for v in node.operands if v in new]
        attrs = node.attrs
        if place is not None and node.op.name in ("load", "store"):
            operands = [*operands, place]
            attrs = {"index": (of_atom(Slot(len(operands) - 1)),)}
        made = builder.emit(node.op, operands, attrs)
        if node.results:
            new[node.results[0]] = made
