"""The function of a kernel: parameters, the grid of programs, and its nodes."""

from __future__ import annotations

from collections.abc import Mapping

from ....ir.block_schedule import BlockSchedule, grid_node
from ....ir.graph import Graph
from ....ir.kernel_symbols import kernel_symbols
from ....ir.schedule import scheduled_nodes
from ..kernel import TritonKernel
from . import scalars
from .attend import spread_attend, spread_attend_gradient
from .contract import spread_contract
from .emitter import Emitter, Handler
from .grid import Programs, Spread, spread_many, spread_parallel
from .loops import emit_arrange, emit_cumulate, emit_parallel, emit_reduce, emit_row
from .scope import Scope
from .sequential import emit_for
from .text import Writer

HANDLERS: Mapping[str, Handler] = {
    "parallel": emit_parallel,
    "row": emit_row,
    "reduce": emit_reduce,
    "cumulate": emit_cumulate,
    "arrange": emit_arrange,
    "for": emit_for,
}
SPREAD: Mapping[str, Spread] = {
    "parallel": spread_parallel,
    "many": spread_many,
    "contract": spread_contract,
    "attend": spread_attend,
    "attend_gradient": spread_attend_gradient,
}


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
        self.sizes = {name: self.w.fresh(name) for name in kernel_symbols(kernel)}
        self.pointers = {p: self.w.fresh(p.name or "x") for p in kernel.params}
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

    def _body(self, scope: Scope) -> Programs:
        """Writes the body; gives the grid."""
        outer = grid_node(self.kernel)
        if outer is None:
            self._alone(scope)
            return 1, 1, 1
        self.e.run_nodes(self.kernel.nodes[: self.kernel.nodes.index(outer)], scope)
        return SPREAD[outer.op.name](self.e, scope, outer, self.schedule)

    def _alone(self, scope: Scope) -> None:
        """All of the kernel in one program: what one node stores the next may store over."""
        for number, node in enumerate(self.kernel.nodes):
            if number and node.regions:
                self.w.line("tl.debug_barrier()")
            self.e.node(node, scope)
