"""The function of a kernel: parameters, the grid of programs, and its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....ir.access import axes
from ....ir.block_schedule import BlockNest, BlockSchedule
from ....ir.dims import Dim, Var, of_atom, product
from ....ir.graph import Graph, Node, Value
from ....ir.kernel_symbols import kernel_symbols
from ....ir.ops.kernel import INDEX
from ....ir.schedule import scheduled_nodes
from ..kernel import TritonKernel
from . import scalars
from .loops import (
    arange,
    axis_exprs,
    emit_cumulate,
    emit_parallel,
    emit_reduce,
    emit_row,
)
from .scope import Axis, Emitter, Handler, Scope
from .sequential import emit_for
from .text import Block, Writer

HANDLERS: Mapping[str, Handler] = {
    "parallel": emit_parallel,
    "row": emit_row,
    "reduce": emit_reduce,
    "cumulate": emit_cumulate,
    "for": emit_for,
}
ALIGNED = 16  # bytes, of every buffer


def kernel_text(kernel: Graph, schedule: BlockSchedule, name: str) -> TritonKernel:
    """The text of `kernel` as the function `name`.

    Raises:
        NotImplementedError: the kernel has a node that this backend cannot write.
    """
    return _Function(kernel, schedule, name).text()


class _Function:
    def __init__(self, kernel: Graph, schedule: BlockSchedule, name: str) -> None:
        self.kernel = kernel
        self.schedule = schedule
        self.name = name
        self.w = Writer()
        nests = dict(zip(scheduled_nodes(kernel), schedule.nests, strict=True))
        self.pointers = {p: self.w.fresh(p.name or "x") for p in kernel.params}
        self.sizes = {name: self.w.fresh(name) for name in kernel_symbols(kernel)}
        self.e = Emitter(self.w, nests, HANDLERS, self.sizes)

    def text(self) -> TritonKernel:
        scope = Scope(None, ())
        scope.buffers.update(self.pointers)
        grid = self._body(scope)
        arguments = [
            (name, scalars.POINTERS[p.type.dtype.name]) for p, name in self.pointers.items()
        ]
        names = ", ".join((*self.pointers.values(), *self.sizes.values()))
        body = "\n".join(self.w.lines or ["    return"])
        source = f"@triton.jit\ndef {self.name}({names}):\n{body}\n"
        helpers = "\n".join(text.lstrip("\n") for text in self.w.helpers.values())
        return TritonKernel(
            self.name,
            f"{helpers}\n{source}" if helpers else source,
            (*arguments, *((name, "i64") for name in self.sizes.values())),
            tuple(range(len(arguments))),
            grid,
            self.schedule.warps,
            self.schedule.stages,
        )

    def _body(self, scope: Scope) -> tuple[Dim, Dim, Dim]:
        """Writes the body; gives the grid."""
        outer = outermost(self.kernel)
        if outer is None:
            self._alone(scope)
            return 1, 1, 1
        before = self.kernel.nodes[: self.kernel.nodes.index(outer)]
        self.e.run_nodes(before, scope)
        inner, programs = programs_over(self.e, scope, outer, self.schedule.wide)
        self.e.run_nodes(outer.regions[0].nodes, inner)
        return programs, 1, 1

    def _alone(self, scope: Scope) -> None:
        """All of the kernel in one program: what one node stores the next may store over."""
        for number, node in enumerate(self.kernel.nodes):
            if number and node.regions:
                self.w.line("tl.debug_barrier()")
            self.e.node(node, scope)


def outermost(kernel: Graph) -> Node | None:
    """The node over whose points programs are spread: the last of the kernel and the only one with
    a region, a `parallel`. None where the kernel is one program."""
    with_regions = [n for n in kernel.nodes if n.regions]
    if len(with_regions) != 1 or with_regions[0].op.name != "parallel":
        return None
    return with_regions[0] if with_regions[0] is kernel.nodes[-1] else None


def programs_over(
    e: Emitter, scope: Scope, node: Node, wide: bool
) -> tuple[Scope, Dim]:
    """The scope of the body of the outermost `parallel`, and how many programs there are."""
    nest, (params, extents) = e.nests[node], axes(node)
    sizes = [product(extents[axis] for axis in group) for group in nest.groups]
    blocks = [-(-n // b) for n, b in zip(sizes, nest.block, strict=True)]
    numbers = _program_numbers(e, scope, blocks, wide)
    inner, variables = scope, []
    for group, extent, size, number in zip(
        nest.groups, sizes, nest.block, numbers, strict=True
    ):
        variable, hint = Value(INDEX), params[group[-1]].name or "i"
        if size == 1:
            inner = inner.inner()
            inner.values[variable] = Block(e.w.let(hint, number))
        else:
            inner, variable = _block_axis(e, inner, extent, size, number, hint)
        variables.append(of_atom(Var(variable, extent)))
    inner = inner.inner()
    inner.exprs.update(axis_exprs(node, nest, variables))
    return inner, product(blocks)


def _block_axis(
    e: Emitter, scope: Scope, extent: Dim, size: int, number: str, hint: str
) -> tuple[Scope, Value]:
    shape = (1,) * scope.depth + (size,)
    index = Block(e.w.let(hint, f"{number} * {size} + {arange(size, scope.depth)}"), shape)
    mask = None
    if not (isinstance(extent, int) and extent % size == 0):
        bound = e.number(extent, scope).text
        mask = Block(e.w.let(f"{hint}_in", f"{index.text} < {bound}"), shape)
    axis = Axis(Value(INDEX), size, mask, whole=False)
    inner = scope.inner(axis)
    inner.values[axis.variable] = index
    return inner, axis.variable


def _program_numbers(e: Emitter, scope: Scope, blocks: Sequence[Dim], wide: bool) -> list[str]:
    """The number of this program along each group, the last one running fastest."""
    if not blocks:
        return []
    whole = e.w.let("program", f"tl.program_id(0){'.to(tl.int64)' if wide else ''}")
    found: list[str] = []
    for count in reversed(blocks[1:]):
        bound = e.number(count, scope).text
        found.insert(0, f"({whole} % {bound})")
        whole = e.w.let("rest", f"{whole} // {bound}")
    return [whole, *found]
