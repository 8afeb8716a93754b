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
        dims += dims_in(tuple(node.attrs[name] for name in sorted(node.attrs)))
    return tuple(symbols(dims))


def dims_in(item: Any) -> Iterator[Dim]:
    """The symbolic dimensions in an attribute, a tuple of attributes, ..."""
    if isinstance(item, Expr):
        yield item
    elif isinstance(item, tuple):
        for part in item:
            yield from dims_in(part)
