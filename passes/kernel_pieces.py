"""One kernel written as several: what the passes that cut kernels have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.builder import Recording
from ..ir.graph import Graph, Node, Value


class Pieces:
    """Writes kernels that are made of pieces of `kernel`.

    Attributes:
        builder: of the kernel under construction.
        new: what stands there for the values of `kernel`.
    """

    def __init__(self, kernel: Graph) -> None:
        self.kernel = kernel
        self.builder = Recording()
        self.new: dict[Value, Value] = {}

    def begin(self) -> None:
        """A new kernel, with the inputs of the old one."""
        self.builder = Recording()
        self.new = {p: self.builder.param(p.type, p.name) for p in self.kernel.inputs}

    def copy(self, nodes: Iterable[Node]) -> None:
        """The nodes, which have no regions, on what stands for their operands."""
        for node in nodes:
            self.builder.line = node.line
            operands = [self.new[v] for v in node.operands]
            results = as_tuple(self.builder.emit(node.op, operands, node.attrs))
            self.new.update(zip(node.results, results, strict=True))

    def finish(self, name: str, outs: int) -> Graph:
        """The kernel, without the inputs that it does not read."""
        made = self.builder.finish(name, level="kernel", outs=outs)
        used = {v for node in made.walk() for v in node.operands}
        inputs = tuple(p for p in made.inputs if p in used)
        return Graph(name, inputs + made.out_params, made.nodes, (), level="kernel", outs=outs)


def launched_in_turn(
    node: Node, operands: Sequence[Value], kernels: Iterable[Graph]
) -> tuple[Value, ...]:
    """Launches `kernels` instead of the launch `node`; the results of the last of them. Parameters
    with one name are one buffer."""
    named = dict(zip((p.name for p in node.attrs["kernel"].inputs), operands, strict=True))
    results: tuple[Value, ...] = ()
    for kernel in kernels:
        results = as_tuple(node.op(*(named[p.name] for p in kernel.inputs), kernel=kernel))
        named.update(zip((p.name for p in kernel.out_params), results, strict=True))
    return results


def as_tuple(found: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    """The results of a node, also where it has one."""
    return (found,) if isinstance(found, Value) else found
