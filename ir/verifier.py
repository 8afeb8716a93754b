"""Checks of a program, run after every pass under the tests.

Each rule is one function or one guard with its own message, and has a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .builder import make_node
from .dims import Expr, Slot, Symbol, Var, atoms
from .graph import Graph, Node, Region, Value
from .ops import OPS, Kind, TypeRuleError
from .printer import IDENTIFIER
from .terms import DTYPES

SCALAR_SOURCES = ("constant", "size")
INDEX_ATTRIBUTES = ("index", "expr", "lo", "hi")
WRITES = ("store", "atomic")
ROWS = ("row", "cumulate", "arrange")
RESERVED = DTYPES | {"true", "false", "none", "literal"}
LOOP_STRUCTURE = ("load", "store", "atomic", "index", "for")
# What a type rule may raise when an attribute has the wrong form.
MALFORMED = (TypeError, ValueError, IndexError, KeyError, AttributeError)


class VerifyError(ValueError):
    """A program breaks a rule. The message has the rule, the node with its operand types, and the
    user's line."""


def verify(graph: Graph, symbols: Sequence[str] = ()) -> None:
    """Check `graph` and the kernels that it launches.

    Args:
        symbols: size symbols that are known though no parameter has them in its shape.

    Raises:
        VerifyError: a rule is broken.
    """
    _Verifier(graph, symbols).run()


class _Verifier:
    def __init__(self, graph: Graph, symbols: Sequence[str]) -> None:
        self.graph = graph
        self.symbols = {*symbols, *_symbols_of_types(graph.params)}
        self.scope: set[Value] = set()
        self.defined: set[Value] = set()
        self.seen: set[Node] = set()
        self.buffers: set[Value] = set()  # what load and store may name
        self.writable: set[Value] = set()

    def run(self) -> None:
        graph = self.graph
        self.signature()
        for value in graph.params:
            self.define(value, None)
        if graph.level != "tensor":
            self.buffers.update(graph.params)
            self.writable.update(graph.out_params)
        self.region(graph, None)
        if graph.level != "tensor":
            self.outputs()

    def fail(self, rule: str, node: Node | None = None) -> None:
        message = f"graph @{self.graph.name}: {rule}"
        if node is not None:
            types = ", ".join(str(v.type) for v in node.operands)
            message += f"\n  {_text(self.graph, node)}\n  {node.op.name} of ({types})"
            if node.line is not None:
                message += f"\n  at {node.line}"
        raise VerifyError(message)

    def signature(self) -> None:
        graph = self.graph
        if graph.level not in ("tensor", "kernel", "loop"):
            self.fail(f"there is no level {graph.level!r}")
        for symbol in sorted(self.symbols):
            if symbol in RESERVED or IDENTIFIER.fullmatch(symbol) is None:
                self.fail(f"{symbol!r} is no name for a size")
        if not 0 <= graph.outs <= len(graph.params):
            self.fail(f"{graph.outs} of {len(graph.params)} parameters are outputs")
        if graph.level == "tensor" and graph.outs:
            self.fail("a tensor program yields its results, it has no output parameters")
        if graph.level != "tensor" and graph.yields:
            self.fail("a kernel writes its outputs, it yields nothing")

    # Scopes.

    def define(self, value: Value, node: Node | None) -> None:
        if value in self.defined:
            self.fail("a value is defined twice", node)
        self.defined.add(value)
        self.scope.add(value)

    def region(self, region: Region, node: Node | None) -> None:
        for inner in region.nodes:
            self.node(inner)
        for value in region.yields:
            if value not in self.scope:
                self.fail("a region yields a value that is not defined in it or around it", node)

    def node(self, node: Node) -> None:
        if node in self.seen:
            self.fail("a node stands in the program twice", node)
        self.seen.add(node)
        for value in node.operands:
            if value not in self.scope:
                self.fail("an operand is not defined before this node, or not in scope", node)
        self.level(node)
        self.type_rule(node)
        self.expressions(node)
        if self.graph.level == "tensor":
            self.known_symbols(node)
        else:
            self.storage(node)
        outer = set(self.scope) if node.regions else self.scope
        for region in node.regions:
            if node.op.kind is Kind.CONTROL:
                self.scope = set()  # closed: it reads its parameters only
            for value in region.params:
                self.define(value, node)
            self.enter(node, region)
            self.region(region, node)
            self.scope = set(outer)
        for position, value in enumerate(node.results):
            if value.node is not node or value.index != position:
                self.fail(f"result {position} does not name this node as its own", node)
            self.define(value, node)
        if node.op.name == "launch":
            verify(node.attrs["kernel"], sorted(self.symbols))

    # Rules of every level.

    def level(self, node: Node) -> None:
        op, level = node.op, self.graph.level
        if OPS.get(op.name) is not op:
            self.fail(f"{op.name} is not in the table of ops", node)
        if level == "tensor":
            fits = op.kind not in (Kind.KERNEL, Kind.LOOP)
        else:
            scalar = op.kind is Kind.ELEMENTWISE or op.name in SCALAR_SOURCES
            structure = op.kind is Kind.KERNEL if level == "kernel" else op.name in LOOP_STRUCTURE
            fits = scalar or structure or (level == "loop" and op.kind is Kind.LOOP)
        if not fits:
            self.fail(f"{op.name} is no op of the {level} level", node)

    def type_rule(self, node: Node) -> None:
        try:
            again = make_node(node.op, node.operands, node.attrs, node.regions)
        except TypeRuleError as error:
            self.fail(str(error), node)
        except MALFORMED as error:
            self.fail(f"an attribute is malformed: {error!r}", node)
        expected, found = ([v.type for v in n.results] for n in (again, node))
        if expected != found:
            self.fail(f"the type rule gives {_show(expected)}, the node has {_show(found)}", node)

    def expressions(self, node: Node) -> None:
        for name, value in node.attrs.items():
            for expr in _expressions(value):
                for atom in atoms(expr):
                    if isinstance(atom, Var):
                        self.fail(f"the attribute {name} holds a value, not an operand slot", node)
                    if isinstance(atom, Slot) and name not in INDEX_ATTRIBUTES:
                        self.fail(f"the attribute {name} may not depend on operands", node)

    def known_symbols(self, node: Node) -> None:
        graphs = [v for v in node.attrs.values() if isinstance(v, Graph)]
        used = {
            *_symbols_of_types(node.results),
            *_symbols_of_attributes(node),
            *(s for g in graphs for inner in g.walk() for s in _symbols_of_attributes(inner)),
        }
        for symbol in sorted(used - self.symbols):
            self.fail(f"the size {symbol} is in no parameter's shape", node)

    # Rules of kernels and loops.

    def storage(self, node: Node) -> None:
        """Buffers and rows are read by load alone; only outputs and scratch are written."""
        name = node.op.name
        if self.graph.level == "kernel" and "lanes" in node.attrs:
            self.fail("vectors belong to the loop level", node)
        if name in ("load", "prefetch", *WRITES) and node.operands[0] not in self.buffers:
            self.fail(f"{name} takes a buffer or row first, not a scalar", node)
        if name in WRITES and node.operands[0] not in self.writable:
            self.fail(f"{name} writes to what is no output of the kernel", node)
        if name in ("load", "prefetch", *WRITES):
            self.scalars(node, node.operands[1:])
        elif name == "tile_product":
            if any(v not in self.buffers for v in node.operands[:3]):
                self.fail("tile_product takes three buffers first", node)
            if node.operands[2] not in self.writable:
                self.fail("tile_product adds to what is no output or scratch", node)
            self.scalars(node, node.operands[3:])
        elif name in ("many", "pick"):
            for value in node.operands[name == "pick" :]:
                if value not in self.graph.params:
                    self.fail(f"{name} takes buffers of the kernel", node)
        elif name not in ("reduce", "for", "cumulate"):
            self.scalars(node, node.operands)
        if name in ROWS or name in ("alloc", "pick"):
            self.buffers.update(node.results)
        if name == "pick" and all(v in self.writable for v in node.operands[1:]):
            self.writable.update(node.results)
        if self.graph.level == "kernel" and name in ("reduce", "for"):
            self.buffers.update(v for v in node.results if v.type.shape)
        if name == "alloc":
            self.writable.update(node.results)

    def scalars(self, node: Node, values: Sequence[Value]) -> None:
        for value in values:
            vector = value.type.ndim == 1 and self.graph.level == "loop"
            if value in self.buffers or not (value.type.shape == () or vector):
                self.fail(f"{node.op.name} takes scalars; a buffer or row is read by load", node)

    def enter(self, node: Node, region: Region) -> None:
        """The parameters of `region` that are buffers or rows."""
        if self.graph.level == "tensor":
            return
        if node.op.name == "many":
            self.buffers.update(region.params[1:])
            width = len(region.params) - 1
            for position, param in enumerate(region.params[1:]):
                if all(v in self.writable for v in node.operands[position::width]):
                    self.writable.add(param)
        elif self.graph.level == "kernel":
            self.buffers.update(v for v in region.params if v.type.shape)

    def outputs(self) -> None:
        """Every output is written, and by stores or by atomics of one op."""
        how: dict[Value, set[str]] = {}
        for node in self.graph.walk():
            if node.op.name in WRITES:
                verb = str(node.attrs.get("combine", "store"))
                how.setdefault(node.operands[0], set()).add(verb)
        for node in self.graph.walk():
            if node.op.name == "many":
                params = node.regions[0].params[1:]
                for position, value in enumerate(node.operands):
                    verbs = how.get(params[position % len(params)], set())
                    how.setdefault(value, set()).update(verbs)
            elif node.op.name == "pick":
                for value in node.operands[1:]:
                    how.setdefault(value, set()).update(how.get(node.results[0], set()))
        for position, value in enumerate(self.graph.out_params):
            found = sorted(how.get(value, set()))
            if not found:
                self.fail(f"output {position} (%{value.name or '?'}) is never written")
            if len(found) > 1:
                self.fail(f"output {position} (%{value.name or '?'}) is written by {found}")


def _show(types: Sequence[Any]) -> str:
    return ", ".join(map(str, types)) or "no result"


def _expressions(value: Any) -> Iterator[Expr]:
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _expressions(item)


def _symbols_of_types(values: Sequence[Value]) -> Iterator[str]:
    for value in values:
        yield from _symbol_names(value.type.shape)


def _symbols_of_attributes(node: Node) -> Iterator[str]:
    for value in node.attrs.values():
        yield from _symbol_names(value)


def _symbol_names(value: Any) -> Iterator[str]:
    for expr in _expressions(value):
        yield from (a.name for a in atoms(expr) if isinstance(a, Symbol))


def _text(graph: Graph, node: Node) -> str:
    """The node in the general form, with the names that the text of the graph would show if each
    is free; a broken node shows too."""
    names: dict[Value, str] = {}

    def enter(values: Sequence[Value]) -> None:
        for value in values:
            names.setdefault(value, value.name or str(len(names)))

    enter(graph.params)
    for inner in graph.walk():
        enter(inner.results)
        for region in inner.regions:
            enter(region.params)
    operands = ", ".join(f"%{names.get(v, '?')}" for v in node.operands)
    results = ", ".join(f"%{names[v]}" for v in node.results)
    plain = {k: v for k, v in node.attrs.items() if not isinstance(v, Graph)}
    attrs = " {" + ", ".join(f"{k}={v}" for k, v in plain.items()) + "}" if plain else ""
    return f"{results}{' = ' if results else ''}{node.op.name}({operands}){attrs}"
