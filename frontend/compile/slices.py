"""Parts of a trace as programs of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...ir import dims
from ...ir.builder import Recording
from ...ir.dims import Dim
from ...ir.graph import Value


def telling_sizes(
    builder: Recording, params: Sequence[Value], sizes: Iterable[Dim] = ()
) -> list[Value]:
    """Those of `params` whose shapes tell sizes that the program of `builder` (or `sizes`) needs
    and its own parameters do not: as parameters that nothing reads, they make it run."""
    shapes = [v.type.shape for node in builder.nodes for v in node.results]
    needed = {name for shape in (*shapes, tuple(sizes)) for name in dims.symbols(shape)}
    known = {name for p in builder.params for name in dims.symbols(p.type.shape)}
    telling: list[Value] = []
    for param in params:
        told = set(dims.symbols(param.type.shape)) & (needed - known)
        if told:
            telling.append(param)
            known |= told
    return telling
