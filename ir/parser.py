"""Reads what `ir.printer` writes; the grammar is in docs/ir.md.

For programs written by hand: result types may be left out, an operand may be an op in place of a
name, and a number where an elementwise op takes a scalar.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .definition import Definition
from .graph import Graph
from .lexer import ParseError, Tokens
from .schedule import parse_schedule

__all__ = ["ParseError", "load", "parse", "parse_program"]
Arrays = Mapping[str, np.ndarray]


def parse(text: str, constants: Arrays | None = None) -> Graph:
    """The last graph that `text` defines; the kernels before it are those that it launches.

    Args:
        constants: the arrays that the text names by their sha256.

    Raises:
        ParseError: the text is no program; the message has line, column and a caret.
    """
    return parse_program(text, constants)[-1]


def parse_program(text: str, constants: Arrays | None = None) -> list[Graph]:
    """All graphs that `text` defines, in order; errors as `parse`."""
    tokens = Tokens(text)
    known: dict[str, tuple[Graph, Any]] = {}
    while not tokens.at("end"):
        if tokens.at("schedule"):
            _read_schedule(tokens, known)
            continue
        start = tokens.here
        graph = Definition(tokens, known, constants or {}).graph()
        if graph.name in known:
            tokens.fail(f"@{graph.name} is defined twice", start)
        known[graph.name] = (graph, None)
    if not known:
        tokens.fail("no definition: expected `graph`, `kernel` or `loops`")
    return [graph for graph, _ in known.values()]


def load(path: str | Path) -> Graph:
    """The program that `ir.printer.save` wrote to `path`."""
    beside = Path(f"{path}.npz")
    constants: Arrays = {}
    if beside.exists():
        with np.load(beside) as file:
            constants = dict(file)
    return parse(Path(path).read_text(), constants)


def _read_schedule(tokens: Tokens, known: dict[str, tuple[Graph, Any]]) -> None:
    token = tokens.take("schedule")
    name, _, text = token.text.removeprefix("schedule @").partition(":")
    if name not in known:
        tokens.fail(f"a schedule of @{name}, which is not defined", token)
    try:
        schedule = parse_schedule(text.strip())
    except (ValueError, SyntaxError, TypeError) as error:
        tokens.fail(f"no schedule: {error}", token)
    known[name] = (known[name][0], schedule)
