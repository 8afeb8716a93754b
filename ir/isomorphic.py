"""Whether two programs are the same but for names, and a hash of what they have in common."""

from __future__ import annotations

import hashlib
from typing import Any

from .graph import Graph, Node, Region, Value
from .printer import print_program


def isomorphic(a: Graph, b: Graph) -> bool:
    """Whether `a` and `b` have the same ops, attributes, types, symbols, regions and lines."""
    return difference(a, b) is None


def difference(a: Graph, b: Graph) -> str | None:
    """The first difference of two programs in words, or None; names do not count."""
    if (a.level, a.outs) != (b.level, b.outs):
        return f"level and outs: {a.level}, {a.outs} and {b.level}, {b.outs}"
    return _regions(a, b, {})


def graph_hash(graph: Graph, lines: bool = False, names: bool = False) -> str:
    """sha256, in hex, of the program; without the users' lines and names unless asked for."""
    text, _ = print_program(graph, lines=lines, names=names)
    return hashlib.sha256(text.encode()).hexdigest()


def _regions(a: Region, b: Region, same: dict[Value, Value]) -> str | None:
    if [v.type for v in a.params] != [v.type for v in b.params]:
        return f"parameters: {[str(v.type) for v in a.params]}, {[str(v.type) for v in b.params]}"
    same.update(zip(a.params, b.params, strict=True))
    if len(a.nodes) != len(b.nodes):
        return f"{len(a.nodes)} nodes and {len(b.nodes)}"
    for left, right in zip(a.nodes, b.nodes, strict=True):
        found = _nodes(left, right, same)
        if found is not None:
            return found
    return _values("yields", a.yields, b.yields, same)


def _nodes(a: Node, b: Node, same: dict[Value, Value]) -> str | None:
    if a.op is not b.op:
        return f"{a!r} and {b!r}"
    if a.line != b.line:
        return f"the line of {a!r}: {a.line} and {b.line}"
    found = _attributes(a, b) or _values(f"operands of {a!r}", a.operands, b.operands, same)
    if found is not None:
        return found
    if len(a.regions) != len(b.regions):
        return f"regions of {a!r}"
    for left, right in zip(a.regions, b.regions, strict=True):
        found = _regions(left, right, same)
        if found is not None:
            return f"in {a.op.name}: {found}"
    if [v.type for v in a.results] != [v.type for v in b.results]:
        return f"results of {a!r} and {b!r}"
    same.update(zip(a.results, b.results, strict=True))
    return None


def _attributes(a: Node, b: Node) -> str | None:
    for name in sorted({*a.attrs, *b.attrs}):
        left, right = a.attrs.get(name), b.attrs.get(name)
        if isinstance(left, Graph) and isinstance(right, Graph):
            found = difference(left, right)
            if found is not None:
                return f"kernel @{left.name}: {found}"
        elif _plain(left) != _plain(right):
            return f"attribute {name} of {a.op.name}: {left!r} and {right!r}"
    return None


def _plain(value: Any) -> Any:
    """Lists as tuples; True and 1 kept apart."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(v) for v in value)
    return (type(value).__name__, value) if isinstance(value, (bool, float)) else value


def _values(
    what: str, a: tuple[Value, ...], b: tuple[Value, ...], same: dict[Value, Value]
) -> str | None:
    if len(a) == len(b) and all(same.get(v) is w for v, w in zip(a, b, strict=True)):
        return None
    return f"{what}: {a!r} and {b!r}"
