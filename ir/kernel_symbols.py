"""The size symbols that a kernel's function takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .dims import Dim, Expr, symbols
from .graph import Graph


def kernel_symbols(graph: Graph) -> tuple[str, ...]:
    """The size symbols of a kernel, in the order in which its function takes their values: that of
    their first appearance."""
    dims = [dim for value in graph.params for dim in value.type.shape]
    for node in graph.walk():
        dims += _dims_in(tuple(node.attrs[name] for name in sorted(node.attrs)))
    return tuple(symbols(dims))


def _dims_in(item: Any) -> Iterator[Dim]:
    if isinstance(item, Expr):
        yield item
    elif isinstance(item, tuple):
        for part in item:
            yield from _dims_in(part)
