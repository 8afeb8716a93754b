"""Reads one graph of a program's text: statements, in the order of the grammar in docs/ir.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .builder import make_node
from .dims import Dim
from .extents import axis_extents
from .graph import Graph, Location, Node, Region, Value
from .lexer import LOCATION, Token, Tokens
from .literal import Literal
from .numerals import from_numbers
from .ops import OPS, Kind, Op
from .ops.kernel import INDEX
from .printer import AXES_IN_HEADER, KEYWORDS
from .sugar import FIRST_INDEX, NEUTRAL, neutral
from .terms import Slots, TermReader
from .types import TensorType

LEVELS = {keyword: level for level, keyword in KEYWORDS.items()}
Arrays = Mapping[str, np.ndarray]
# What a type rule may raise when attributes written by hand have the wrong form.
MALFORMED = (TypeError, ValueError, IndexError, KeyError, AttributeError)


class Definition(TermReader):
    """Reads one graph."""

    def __init__(
        self, tokens: Tokens, known: Mapping[str, tuple[Graph, Any]], constants: Arrays
    ) -> None:
        super().__init__(tokens, constants)
        self.known = known
        self.nodes: list[Node] = []
        self.implied: list[Node] = []  # of combine regions that the text leaves out

    def graph(self) -> Graph:
        t = self.tokens
        keyword = t.take("word")
        if keyword.text not in LEVELS:
            t.fail(f"expected `graph`, `kernel` or `loops`, found {keyword.text!r}", keyword)
        name = t.take("symbol").text[1:]
        params = self.params()
        t.expect("->")
        outs: tuple[Value, ...] = ()
        results: list[TensorType] = []
        if t.ahead(1).kind == "value":
            outs = self.params()
        else:
            t.expect("(")
            results = self.types_until(")")
        opening = t.expect("{")
        yields = self.statements()
        self.same_types([v.type for v in yields], results, opening)
        return Graph(
            name,
            params + outs,
            tuple(self.nodes),
            yields,
            level=LEVELS[keyword.text],
            outs=len(outs),
        )

    def same_types(
        self, found: Sequence[TensorType], written: Sequence[TensorType], token: Token
    ) -> None:
        if list(found) != list(written):
            shown = [", ".join(map(str, types)) or "nothing" for types in (found, written)]
            self.tokens.fail(f"the type is {shown[0]}, not {shown[1]}", token)

    # Statements.

    def statements(self) -> tuple[Value, ...]:
        """Everything up to the closing brace; the values that are yielded."""
        t = self.tokens
        while not t.mark("}"):
            if t.word("yield"):
                yields = [self.operand()]
                while t.mark(","):
                    yields.append(self.operand())
                t.expect("}")
                return tuple(yields)
            self.statement()
        return ()

    def statement(self) -> None:
        """`%a, %b = operation : types  // location`."""
        t = self.tokens
        first, begin = len(self.nodes), t.here
        names: list[Token] = []
        while t.at("value"):
            names.append(t.take("value"))
            if not t.mark(","):
                t.expect("=")
        node, location = self.operation()
        if t.mark(":"):
            start = t.here
            types = [self.type()]
            while t.mark(","):
                types.append(self.type())
            self.same_types([v.type for v in node.results], types, start)
        location = location or self.location()
        for made in (*self.nodes[first:], *self.implied):
            made.line = location
        self.implied.clear()
        if len(names) != len(node.results):
            count = len(node.results)
            t.fail(f"{node.op.name} has {count} results, {len(names)} are named", begin)
        for token, value in zip(names, node.results, strict=True):
            self.enter(token, value)

    def location(self) -> Location | None:
        if not self.tokens.at("location"):
            return None
        match = LOCATION.match(self.tokens.take("location").text)
        assert match is not None
        return Location(match["file"], int(match["line"]), match["function"])

    def operation(self) -> tuple[Node, Location | None]:
        t = self.tokens
        token = t.take("word")
        op = OPS.get(token.text)
        if op is None:
            t.fail(f"no op is named {token.text!r}", token)
        called = t.at("mark", "(") and t.here.start == token.end
        if op.regions:
            return self.structured(op, token, called)
        if op.name == "constant":
            return self.emit(op, (), {"value": self.constant()}, token), None
        if op.name == "launch":
            return self.launch(op, token), None
        if op.name in FIRST_INDEX and not called:
            return self.access(op, token), None
        operands = self.operands(op, token)
        return self.emit(op, operands, self.attributes(), token), None

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any],
        token: Token,
        regions: tuple[Region, ...] = (),
    ) -> Node:
        try:
            node = make_node(op, operands, attrs, regions)
        except MALFORMED as error:
            self.tokens.fail(str(error), token)
        self.nodes.append(node)
        return node

    def operand(self) -> Value:
        """`%name`, or an op with one result."""
        t = self.tokens
        if t.at("value"):
            return self.lookup(t.take("value"))
        token = t.here
        node, _ = self.operation()
        if len(node.results) != 1:
            t.fail(f"{node.op.name} has {len(node.results)} results", token)
        return node.results[0]

    def operands(self, op: Op | None, token: Token) -> list[Value]:
        """`(%a, exp(%b), 0.5)`: a number takes the type of the last operand that is none."""
        t = self.tokens
        t.expect("(")
        found: list[Any] = []
        while not t.mark(")"):
            written = t.here.kind in ("int", "float", "nan") or t.here.text in ("-", "inf")
            found.append([self.number()] if written else self.operand())
            if not t.at("mark", ")"):
                t.expect(",")
        values = [v for v in found if isinstance(v, Value)]
        if len(values) == len(found):
            return values
        scalar = bool(values) and values[-1].type.shape == ()
        if op is None or op.kind is not Kind.ELEMENTWISE or not scalar:
            t.fail("a number stands only beside a scalar of an elementwise op", token)
        return [v if isinstance(v, Value) else self.scalar(v, values[-1], token) for v in found]

    def scalar(self, numbers: list[Any], like: Value, token: Token) -> Value:
        try:
            array = from_numbers(numbers, like.type.dtype, ())
        except ValueError as error:
            self.tokens.fail(str(error), token)
        return self.emit(OPS["constant"], (), {"value": Literal(array)}, token).results[0]

    def launch(self, op: Op, token: Token) -> Node:
        """`launch @kernel(%x)`."""
        name = self.tokens.take("symbol")
        if name.text[1:] not in self.known:
            self.tokens.fail(f"the kernel {name.text} is not defined above", name)
        kernel, schedule = self.known[name.text[1:]]
        attrs = {"kernel": kernel} if schedule is None else {"kernel": kernel, "schedule": schedule}
        return self.emit(op, self.operands(None, token), attrs, token)

    def access(self, op: Op, token: Token) -> Node:
        """`load %x[%i] if %g`, `store %y[%i] = %v`, `atomic add %y[%i] = %v`, `index %i*2`."""
        t, slots = self.tokens, Slots()
        if op.name == "index":
            expr = self.dim(slots)
            (expr,), values = self.placed(slots, [expr], 0, self.order(token), token)
            return self.emit(op, values, {"expr": expr}, token)
        attrs: dict[str, Any] = {}
        if op.name == "atomic":
            attrs["combine"] = t.take("word").text
        operands = [self.operand()]
        t.expect("[")
        index = []
        while not t.mark("]"):
            index.append(self.dim(slots))
            if not t.at("mark", "]"):
                t.expect(",")
        order = self.order(token)
        if op.name in ("store", "atomic"):
            t.expect("=")
            operands.append(self.operand())
        attrs["index"], values = self.placed(slots, index, FIRST_INDEX[op.name], order, token)
        operands += values
        if t.ahead(1).text != "(" and t.word("if"):  # `if(` is the next statement
            attrs["guarded"] = True
            operands.append(self.operand())
        return self.emit(op, operands, {**attrs, **self.attributes()}, token)

    def order(self, token: Token) -> list[Value] | None:
        """`of (%j, %i)`: the index operands in an order of their own."""
        return self.operands(None, token) if self.tokens.word("of") else None

    def placed(
        self,
        slots: Slots,
        dims: Sequence[Dim],
        first: int,
        order: list[Value] | None,
        token: Token,
    ) -> tuple[tuple[Dim, ...], list[Value]]:
        try:
            return slots.finish(dims, first, order)
        except KeyError:
            self.tokens.fail("`of` lacks a value that the index names", token)

    # Nodes with regions.

    def structured(self, op: Op, token: Token, called: bool) -> tuple[Node, Location | None]:
        """`op combine, ops (operands) axes {attributes} region ...`."""
        t, outer = self.tokens, self.scope
        combine: list[str] = []
        while t.at("word") and t.here.text in NEUTRAL:
            combine.append(t.take("word").text)
            t.mark(",")
        self.scope = dict(outer)
        leading: tuple[Value, ...] = ()
        attrs: dict[str, Any] = {}
        operands: list[Value] = []
        loop = op.name == "for" and not called
        if t.at("mark", "("):
            operands = self.operands(None, token)
        if loop:
            leading, operands, attrs = self.loop()
        elif op.name in AXES_IN_HEADER:
            leading, attrs["extents"] = self.axes()
        attrs.update(self.attributes())
        regions: list[Region] = []
        location: Location | None = None
        for position, label in enumerate(op.region_names):
            if label == "combine" and combine:
                break
            bare = position == 0 and (loop or op.name in AXES_IN_HEADER)
            if label != "body":
                t.take("word", label)
            if not bare:
                self.scope = dict(outer)
                leading = self.params() if t.at("mark", "(") else ()
            t.expect("{")
            location = location or (self.location() if position == 0 else None)
            self.note_extents(op, attrs, position, leading, token)
            regions.append(self.region(leading))
        self.scope = outer
        if combine:
            if not operands:
                operands = self.neutrals(combine, regions[0], token)
            regions.append(self.combine(combine, operands, token))
        return self.emit(op, operands, attrs, token, tuple(regions)), location

    def note_extents(
        self, op: Op, attrs: Mapping[str, Any], position: int, params: Sequence[Value], token: Token
    ) -> None:
        try:
            extents = axis_extents(op.name, attrs, position)
        except MALFORMED as error:
            self.tokens.fail(f"{op.name} lacks an attribute: {error}", token)
        self.extents.update(zip(params, extents, strict=False))

    def region(self, params: tuple[Value, ...]) -> Region:
        outer, self.nodes = self.nodes, []
        yields = self.statements()
        region = Region(params, tuple(self.nodes), yields)
        self.nodes = outer
        return region

    def axes(self) -> tuple[tuple[Value, ...], tuple[Any, ...]]:
        """`%i in N, %j in 8`."""
        t = self.tokens
        params, extents = [], []
        while t.at("value"):
            params.append(self.define(t.take("value"), INDEX))
            t.take("word", "in")
            extents.append(self.dim())
            if not t.mark(","):
                break
        return tuple(params), tuple(extents)

    def loop(self) -> tuple[tuple[Value, ...], list[Value], dict[str, Any]]:
        """`%k = lo to hi step s carry (%p = %init)`."""
        t, slots = self.tokens, Slots()
        variable = t.take("value")
        t.expect("=")
        lo = self.dim(slots)
        t.take("word", "to")
        hi = self.dim(slots)
        order = self.order(variable)
        step = int(t.take("int").text) if t.word("step") else 1
        names, carried = [], []
        if t.word("carry"):
            t.expect("(")
            while not t.mark(")"):
                names.append(t.take("value"))
                t.expect("=")
                carried.append(self.operand())
                if not t.at("mark", ")"):
                    t.expect(",")
        (lo, hi), values = self.placed(slots, [lo, hi], len(carried), order, variable)
        params = [self.define(variable, INDEX)]
        params += [self.define(n, v.type) for n, v in zip(names, carried, strict=True)]
        attrs = {"lo": lo, "hi": hi, "step": step, "carries": len(carried)}
        return tuple(params), carried + values, attrs

    def neutrals(self, combine: Sequence[str], body: Region, token: Token) -> list[Value]:
        """The operands of a `reduce` that names none."""
        if len(combine) != len(body.yields):
            self.tokens.fail(f"{len(combine)} ops join {len(body.yields)} values", token)
        literals = [neutral(n, v.type.dtype) for n, v in zip(combine, body.yields, strict=True)]
        nodes = [self.emit(OPS["constant"], (), {"value": x}, token) for x in literals]
        return [node.results[0] for node in nodes]

    def combine(self, names: Sequence[str], operands: Sequence[Value], token: Token) -> Region:
        """The region that joins two tuples member by member."""
        if len(names) != len(operands):
            self.tokens.fail(f"{len(names)} ops join {len(operands)} values", token)
        params = tuple(Value(v.type) for v in (*operands, *operands))
        outer, self.nodes = self.nodes, []
        for k, name in enumerate(names):
            self.emit(OPS[name], (params[k], params[len(names) + k]), {}, token)
        nodes, self.nodes = tuple(self.nodes), outer
        self.implied += nodes
        return Region(params, nodes, tuple(node.results[0] for node in nodes))
