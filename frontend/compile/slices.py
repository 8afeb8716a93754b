"""Parts of a trace as programs of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...ir import dims
from ...ir.builder import Recording
from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.kernel_symbols import dims_in


def telling_sizes(
    builder: Recording, params: Sequence[Value], sizes: Iterable[Dim] = ()
) -> list[Value]:
    """Those of `params` whose shapes tell sizes that the program of `builder` (or `sizes`) needs
    and its own parameters do not: as parameters that nothing reads, they make it run."""
    needed = set(dims.symbols((*sizes, *_sizes_in(builder.nodes))))
    known = {name for p in builder.params for name in dims.symbols(p.type.shape)}
    telling: list[Value] = []
    for param in params:
        told = set(dims.symbols(param.type.shape)) & (needed - known)
        if told:
            telling.append(param)
            known |= told
    return telling


def _sizes_in(nodes: Iterable[Node]) -> Iterator[Dim]:
    """The sizes of the results and in the attributes of `nodes` and of what their regions hold."""
    for node in nodes:
        for value in node.results:
            yield from value.type.shape
        yield from dims_in(tuple(node.attrs.values()))
        for region in node.regions:
            yield from _sizes_in(region.nodes)
