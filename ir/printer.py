"""Programs as text. The grammar is in docs/ir.md; `ir.parser` reads it back.

Names are deterministic: a value's own name where it has one that is free in its scope, else a
number in the order of definition.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .dims import Atom, Dim, Expr, Slot, format_expr
from .dtypes import DType, is_foreign
from .extents import param_extents
from .graph import Graph, Location, Node, Region, Value
from .literal import Literal
from .numerals import INLINE_LIMIT, array_digest, format_array
from .ops.kernel import INDEX
from .sugar import combine_ops, has_short_form, hidden_inits, index_slots, order_follows

KEYWORDS = {"tensor": "graph", "kernel": "kernel", "loop": "loops"}
AXES_IN_HEADER = ("parallel", "reduce", "row", "cumulate", "arrange")
COMMENT_COLUMN = 64
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def print_graph(graph: Graph) -> str:
    """The text of `graph`, preceded by the kernels that it launches."""
    return print_program(graph)[0]


def print_program(
    graph: Graph, *, names: bool = True, lines: bool = True
) -> tuple[str, dict[str, np.ndarray]]:
    """The text, and by sha256 the arrays of its constants over 64 elements.

    Without `names` values and kernels are numbered; without `lines` the user's lines are left out.
    """
    program = _Program(names, lines)
    program.define(graph, None)
    return "\n".join(program.definitions), program.constants


def save(graph: Graph, path: str | Path) -> None:
    """Write the text to `path` and, where there are any, the large constants to `path`.npz."""
    text, constants = print_program(graph)
    Path(path).write_text(text)
    if constants:
        np.savez(f"{path}.npz", **{k: a.view(np.uint8) if is_foreign(a.dtype) else a
                                   for k, a in constants.items()})  # type: ignore[arg-type] # fmt: skip


class _Program:
    """The definitions of a program; each kernel under a name of its own."""

    def __init__(self, with_names: bool, with_lines: bool) -> None:
        self.with_names = with_names
        self.with_lines = with_lines
        self.definitions: list[str] = []
        self.constants: dict[str, np.ndarray] = {}
        self.names: dict[str, str] = {}  # text without the name -> name

    def define(self, graph: Graph, schedule: Any) -> str:
        """The name under which `graph` with `schedule` stands in the text."""
        keyword, rest = KEYWORDS[graph.level], _Writer(self).graph(graph)
        note = "" if schedule is None else str(schedule)
        wanted = graph.name if self.with_names else keyword
        key = "\n".join((wanted, keyword, rest, note))
        if key in self.names:
            return self.names[key]
        name = self._free(wanted)
        self.names[key] = name
        self.definitions.append(f"{keyword} @{name}{rest}")
        if note:
            self.definitions.append(f"schedule @{name}: {note}\n")
        return name

    def _free(self, wanted: str) -> str:
        base = wanted if IDENTIFIER.fullmatch(wanted) else "_" + re.sub(r"[^\w.]", "_", wanted)
        name, count, taken = base, 0, set(self.names.values())
        while name in taken:
            count += 1
            name = f"{base}.{count}"
        return name


class _Writer:
    """Writes one definition."""

    def __init__(self, program: _Program) -> None:
        self.program = program
        self.lines: list[str] = []
        self.depth = 1
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.numbered = 0
        self.extents: dict[Value, Dim | None] = {}
        self.counts: Counter[Value] = Counter()

    def graph(self, graph: Graph) -> str:
        """What follows the name: parameters, results, body."""
        self.counts.update(_reads(graph))
        params = [self.param(v) for v in graph.params]
        inputs, outs = params[: len(graph.inputs)], params[len(graph.inputs) :]
        results = outs if graph.outs else [str(v.type) for v in graph.yields]
        self.nodes(graph)
        header = f"({', '.join(inputs)}) -> ({', '.join(results)}) {{"
        return "\n".join([header, *self.lines, "}"]) + "\n"

    # Names and lines.

    def define(self, value: Value) -> str:
        """The name, with its %, of a value that is defined here."""
        name = value.name if self.program.with_names else None
        if name is None or name in self.taken or IDENTIFIER.fullmatch(name) is None:
            name, self.numbered = str(self.numbered), self.numbered + 1
        self.taken.add(name)
        self.names[value] = f"%{name}"
        return self.names[value]

    def param(self, value: Value) -> str:
        name = self.define(value)
        return name if value.type is INDEX else f"{name}: {value.type}"

    def name(self, value: Value) -> str:
        """The name of a value that is read here; one that is not in scope shows as `%?`."""
        return self.names.get(value, "%?")

    def list(self, values: Iterable[Value]) -> str:
        return ", ".join(self.name(v) for v in values)

    def line(self, text: str, location: Location | None = None) -> None:
        text = "  " * self.depth + text
        if location is not None and self.program.with_lines:
            text = f"{text.ljust(COMMENT_COLUMN)}  // {location}"
        self.lines.append(text)

    # Nodes.

    def nodes(self, region: Region) -> None:
        hidden = hidden_inits(region, self.counts, self.program.with_lines)
        for node in region.nodes:
            if node in hidden:
                continue
            if node.regions:
                self.nested(node, bool(node.operands) and node.operands[0].node in hidden)
                continue
            text = self.short(node) or self.general(node, node.attrs)
            self.line(f"{self.results(node)}{text}{_types(node)}", node.line)
        if region.yields:
            self.line(f"yield {self.list(region.yields)}")

    def results(self, node: Node) -> str:
        names = [self.define(v) for v in node.results]
        return f"{', '.join(names)} = " if names else ""

    def general(self, node: Node, attrs: Mapping[str, Any]) -> str:
        return f"{node.op.name}({self.list(node.operands)}){self.attributes(attrs)}"

    def short(self, node: Node) -> str | None:
        """The short form of a node without regions, where it has one."""
        name, attrs = node.op.name, node.attrs
        if name == "constant":
            return f"constant {self.constant(attrs['value'].array)}"
        if name == "launch":
            kernel = self.program.define(attrs["kernel"], attrs.get("schedule"))
            return f"launch @{kernel}({self.list(node.operands)})"
        if not has_short_form(node):
            return None
        if name == "index":
            return f"index {self.expr(attrs['expr'], node)}{self.order(node)}"
        shown = {"index"}
        text = f"{self.name(node.operands[0])}[{self.place(node)}]{self.order(node)}"
        if name == "atomic":
            text, shown = f"{attrs['combine']} {text}", {"index", "combine"}
        if name in ("store", "atomic"):
            text += f" = {self.name(node.operands[1])}"
        if attrs.get("guarded") is True:
            text += f" if {self.name(node.operands[-1])}"
            shown.add("guarded")
        rest = {k: v for k, v in attrs.items() if k not in shown}
        return f"{name} {text}{self.attributes(rest)}"

    def place(self, node: Node) -> str:
        return ", ".join(self.expr(dim, node) for dim in node.attrs["index"])

    def order(self, node: Node) -> str:
        """` of (%j, %i)`: the index operands, where their order does not follow."""
        if order_follows(node):
            return ""
        _, first, end = index_slots(node) or ((), 0, 0)
        return f" of ({self.list(node.operands[first:end])})"

    def constant(self, array: np.ndarray) -> str:
        if array.size <= INLINE_LIMIT:
            return format_array(array)
        digest = array_digest(array)
        self.program.constants[digest] = array
        return f"sha256:{digest}"

    # Nodes with regions.

    def nested(self, node: Node, inits_hidden: bool) -> None:
        """The header, then each region in braces."""
        for region, extents in zip(node.regions, param_extents(node), strict=True):
            self.extents.update(zip(region.params, extents, strict=True))
        head = f"{self.results(node)}{node.op.name}"
        outer = set(self.taken)
        parts = dict(zip(node.op.region_names, node.regions, strict=True))
        attrs = dict(node.attrs)
        combine = combine_ops(node, self.program.with_lines)
        if combine is not None:
            head += f" {', '.join(combine)}"
            del parts["combine"]
        loop = node.op.name == "for" and has_short_form(node)
        if node.operands and not inits_hidden and not loop:
            head += f"({self.list(node.operands)})"
        if node.op.name in AXES_IN_HEADER:
            head += self.axes(node.regions[0], attrs.pop("extents"))
        elif loop:
            head += self.loop(node)
            attrs = {k: v for k, v in attrs.items() if k not in ("lo", "hi", "step", "carries")}
        head += self.attributes(attrs)
        location = node.line
        for label, region in parts.items():
            bare = label == "body" and (loop or node.op.name in AXES_IN_HEADER)
            self.line(f"{head}{'' if bare else self.label(label, region)} {{", location)
            self.depth += 1
            self.nodes(region)
            self.depth -= 1
            self.taken = set(outer)
            head, location = "}", None
        self.line(f"}}{_types(node)}")

    def axes(self, region: Region, extents: Iterable[Dim]) -> str:
        """` %i in N, %j in 8`, the parameters of the first region."""
        pairs = zip(region.params, extents, strict=True)
        return " " + ", ".join(f"{self.define(v)} in {format_expr(e)}" for v, e in pairs)

    def label(self, label: str, region: Region) -> str:
        """` combine (%a: f32, %b: f32)`; the label "body" and empty parentheses are left out."""
        params = ", ".join(self.param(v) for v in region.params)
        text = "" if label == "body" else f" {label}"
        return f"{text} ({params})" if params else text

    def loop(self, node: Node) -> str:
        """` %k = lo to hi step s carry (%p = %init)`."""
        attrs, body = node.attrs, node.regions[0]
        lo, hi = self.expr(attrs["lo"], node), self.expr(attrs["hi"], node)
        text = f" {self.define(body.params[0])} = {lo} to {hi}"
        text += self.order(node)
        if attrs["step"] != 1:
            text += f" step {attrs['step']}"
        if attrs["carries"]:
            pairs = zip(body.params[1:], node.operands, strict=False)
            text += f" carry ({', '.join(f'{self.define(p)} = {self.name(v)}' for p, v in pairs)})"
        return text

    # Attributes.

    def attributes(self, attrs: Mapping[str, Any]) -> str:
        if not attrs:
            return ""
        return " {" + ", ".join(f"{k}={self.attribute(v)}" for k, v in attrs.items()) + "}"

    def attribute(self, value: Any) -> str:
        """The text of one attribute's value; TypeError for one that has none."""
        if value is None or isinstance(value, (bool, np.bool_)):
            return {None: "none", True: "true", False: "false"}[
                None if value is None else bool(value)
            ]
        if isinstance(value, (int, np.integer)):
            return str(int(value))
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, Expr):
            return format_expr(value, _slot)
        if isinstance(value, DType):
            return value.name
        if isinstance(value, (tuple, list)):
            return f"[{', '.join(self.attribute(v) for v in value)}]"
        if isinstance(value, Literal):
            return f"literal({self.constant(value.array)} : {value.type})"
        raise TypeError(f"an attribute of type {type(value).__name__} has no text: {value!r}")

    def expr(self, dim: Dim, node: Node) -> str:
        """An index expression with the names of the operands in place of slots."""

        def spell(atom: Atom) -> str:
            if not isinstance(atom, Slot):
                return str(atom)
            value = node.operands[atom.position]
            known = self.extents.get(value)
            return self.name(value) + ("" if known == atom.extent else _extent(atom))

        return format_expr(dim, spell)


def _slot(atom: Atom) -> str:
    if isinstance(atom, Slot) and atom.extent is not None:
        return f"{atom}{_extent(atom)}"
    return str(atom)


def _extent(slot: Slot) -> str:
    return "<>" if slot.extent is None else f"<{format_expr(slot.extent, _slot)}>"


def _types(node: Node) -> str:
    return f" : {', '.join(str(v.type) for v in node.results)}" if node.results else ""


def _reads(region: Region) -> Iterator[Value]:
    yield from region.yields
    for node in region.nodes:
        yield from node.operands
        for inner in node.regions:
            yield from _reads(inner)
