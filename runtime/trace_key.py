"""A hash of a traced program before any pass: ops, attributes, types and constants, and nothing
that does not change what it is compiled to (names, lines).

It is computed in one walk, without the program's text, so a program that is on disk is found in a
few microseconds for each op.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import llvmlite
import numpy as np

from ..ir import LOADED_AT
from ..ir.dims import Expr
from ..ir.dtypes import DType
from ..ir.graph import Graph, Region, Value
from ..ir.literal import Literal
from ..ir.numerals import array_digest
from ..ir.ops import OPS
from ..ir.ops.base import Kind

# What decides the code that a program becomes. The frontend decides only the program.
_ROOMS = ("ir", "passes", "backends", "runtime")
_MAY_FAIL = (Kind.HOST, Kind.SORT)
_INTEGERS = {int}


class NoKey(Exception):
    """The program holds something that has no text, so there is no telling when it is the same."""


def trace_key(graph: Graph) -> tuple[bytes, dict[Literal, int]]:
    """(the hash, the program's constants numbered).

    Raises:
        NoKey: an attribute has no text, or an op is not of the table.
    """
    walk = _Walk()
    walk.graph(graph)
    return hashlib.sha256("\n".join(walk.lines).encode()).digest(), walk.literals


@functools.cache
def source_key() -> str | None:
    """A hash of everything that compiles: sley's own source, llvmlite and numpy, which computes
    what is constant. A file stands there with size and time, by which Python itself tells whether
    its bytecode is of that source. None where there is no source to look at, or where it has
    changed since it was loaded."""
    files = _source()
    if not files or _newest(files) > LOADED_AT:
        return None
    parts = (llvmlite.__version__, np.__version__, *map(str, files))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def source_changed() -> bool:
    """Whether a file has changed since it was, or may have been, loaded: modules are also loaded
    after `source_key` was asked for."""
    return _newest(_source()) > LOADED_AT


def _source() -> list[tuple[str, int, int]]:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return sorted(file for room in _ROOMS for file in _stamps(os.path.join(root, room)))


def _newest(files: list[tuple[str, int, int]]) -> int:
    return max((time for _, _, time in files), default=0)


def _stamps(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of each source file below `folder`."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # the package is no folder
        return
    for entry in entries:
        if entry.name.endswith(".py"):
            status = entry.stat()
            yield entry.path, status.st_size, status.st_mtime_ns
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _stamps(entry.path)


class _Walk:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.literals: dict[Literal, int] = {}
        self.numbers: dict[Value, int] = {}

    def graph(self, graph: Graph) -> None:
        self.lines.append(f"{graph.level} {graph.outs}")
        self.region(graph)

    def region(self, region: Region) -> None:
        numbers, lines = self.numbers, self.lines
        number_of = numbers.__getitem__
        for param in region.params:
            numbers[param] = len(numbers)
            lines.append(str(param.type))
        for node in region.nodes:
            op = node.op
            if OPS.get(op.name) is not op:
                raise NoKey(f"{op.name} is no op of the table")
            text = f"{op.name}{[*map(number_of, node.operands)]}"
            if node.attrs:
                text += self.attributes(node.attrs)
            if op.kind in _MAY_FAIL:  # its error shows the line
                text += json.dumps(node.line)
            lines.append(text)
            for inner in node.regions:
                lines.append("{")
                self.region(inner)
            for value in node.results:
                numbers[value] = len(numbers)
        lines.append(f"yield {[*map(number_of, region.yields)]}")

    def attributes(self, attrs: Mapping[str, Any]) -> str:
        return ",".join([f"{name}={self.attribute(value)}" for name, value in attrs.items()])

    def attribute(self, value: Any) -> str:
        kind = type(value)
        if kind is tuple and set(map(type, value)) == _INTEGERS:  # shapes, mostly
            return repr(value)
        if kind is int or kind is bool or value is None:
            return repr(value)
        if kind is str:
            return json.dumps(value)
        if kind is tuple or kind is list:
            return f"[{','.join([self.attribute(v) for v in value])}]"
        if kind is Expr:
            return f"({value})"
        if kind is DType:
            return value.name
        if kind is Literal:
            return self.literal(value)
        if isinstance(value, (np.integer, np.bool_)):
            return repr(value.item())
        if kind is Graph:
            inner = _Walk()
            inner.literals = self.literals
            inner.graph(value)
            return json.dumps("\n".join(inner.lines))
        from ..ir.schedule import Schedule  # which a trace does not have

        if kind is Schedule:
            return json.dumps(str(value))
        raise NoKey(f"an attribute of type {kind.__name__}")

    def literal(self, value: Literal) -> str:
        self.literals.setdefault(value, len(self.literals))
        return f"constant {array_digest(value.array)}"
