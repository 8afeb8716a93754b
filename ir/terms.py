"""Reads types, integer expressions, attributes and constants of a program's text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .dims import (
    Atom,
    Dim,
    Slot,
    Symbol,
    atoms,
    floordiv,
    maximum,
    minimum,
    mod,
    of_atom,
    substitute,
)
from .dtypes import ALL, by_name
from .graph import Value
from .lexer import Token, Tokens
from .literal import Literal
from .numerals import Bits, array_digest, from_numbers
from .ops.kernel import INDEX
from .types import TensorType, tensor_type

DTYPES = frozenset(d.name for d in ALL)


class Slots:
    """The values that index expressions name; their positions become those of operands."""

    def __init__(self) -> None:
        self.values: list[Value] = []

    def use(self, value: Value, extent: Dim | None) -> Dim:
        if value not in self.values:
            self.values.append(value)
        return of_atom(Slot(self.values.index(value), extent))

    def finish(
        self, dims: Sequence[Dim], first: int, order: Sequence[Value] | None = None
    ) -> tuple[tuple[Dim, ...], list[Value]]:
        """The expressions with slots from `first` on, and the operands for these slots: in the
        order of first use, or as given."""
        used = {a.position for d in dims for a in atoms(d) if isinstance(a, Slot)}
        kept = [k for k in range(len(self.values)) if k in used]
        if order is not None:
            self.values += [v for v in order if v not in self.values]
            kept = [self.values.index(v) for v in order]
        place = {old: first + new for new, old in enumerate(kept)}

        def moved(atom: Atom) -> Dim:
            if not isinstance(atom, Slot):
                return of_atom(atom)
            return of_atom(Slot(place[atom.position], atom.extent))

        return tuple(substitute(d, moved) for d in dims), [self.values[k] for k in kept]


class TermReader:
    """Reads the parts of one definition that are no statements."""

    def __init__(self, tokens: Tokens, constants: Mapping[str, np.ndarray]) -> None:
        self.tokens = tokens
        self.constants = constants
        self.scope: dict[str, Value] = {}
        self.extents: dict[Value, Dim | None] = {}

    # Names and types.

    def define(self, token: Token, type: TensorType) -> Value:
        name = token.text[1:]
        if name in self.scope:
            self.tokens.fail(f"{token.text} is defined twice", token)
        value = Value(type, name=None if name[0].isdigit() else name)
        self.scope[name] = value
        return value

    def enter(self, token: Token, value: Value) -> None:
        """Give the name of `token` to the result of a node."""
        name = token.text[1:]
        if name in self.scope:
            self.tokens.fail(f"{token.text} is defined twice", token)
        value.name = None if name[0].isdigit() else name
        self.scope[name] = value

    def lookup(self, token: Token) -> Value:
        found = self.scope.get(token.text[1:])
        if found is None:
            self.tokens.fail(f"{token.text} is not defined here", token)
        return found

    def params(self) -> tuple[Value, ...]:
        """`(%x: f32[N], %i)`; without a type it is an axis, an i64."""
        t = self.tokens
        t.expect("(")
        found: list[Value] = []
        while not t.mark(")"):
            token = t.take("value")
            found.append(self.define(token, self.type() if t.mark(":") else INDEX))
            if not t.at("mark", ")"):
                t.expect(",")
        return tuple(found)

    def types_until(self, mark: str) -> list[TensorType]:
        found: list[TensorType] = []
        while not self.tokens.mark(mark):
            found.append(self.type())
            if not self.tokens.at("mark", mark):
                self.tokens.expect(",")
        return found

    def type(self) -> TensorType:
        """`f32[N, 8]`; `f32` is a scalar."""
        t = self.tokens
        token = t.take("word")
        if token.text not in DTYPES:
            t.fail(f"{token.text!r} is no element type", token)
        shape: list[Dim] = []
        if t.mark("["):
            while not t.mark("]"):
                shape.append(self.dim())
                if not t.at("mark", "]"):
                    t.expect(",")
        return tensor_type(by_name(token.text), tuple(shape))

    # Integer expressions.

    def dim(self, slots: Slots | None = None) -> Dim:
        """A sum of terms; names of values become slots where `slots` takes them."""
        total = -self.term(slots) if self.tokens.mark("-") else self.term(slots)
        while True:
            if self.tokens.mark("+"):
                total = total + self.term(slots)
            elif self.tokens.mark("-"):
                total = total - self.term(slots)
            else:
                return total

    def term(self, slots: Slots | None) -> Dim:
        result = self.factor(slots)
        while True:
            token = self.tokens.here
            if self.tokens.mark("*"):
                result = result * self.factor(slots)
            elif self.tokens.mark("//"):
                result = self.quotient(floordiv, result, self.factor(slots), token)
            elif self.tokens.mark("%"):
                result = self.quotient(mod, result, self.factor(slots), token)
            else:
                return result

    def quotient(
        self, function: Callable[[Dim, Dim], Dim], left: Dim, right: Dim, token: Token
    ) -> Dim:
        if right == 0:
            self.tokens.fail("division by zero", token)
        return function(left, right)

    def factor(self, slots: Slots | None) -> Dim:
        t = self.tokens
        token = t.here
        if t.at("int"):
            return int(t.take("int").text)
        if t.mark("-"):
            return -self.factor(slots)
        if t.mark("("):
            inner = self.dim(slots)
            t.expect(")")
            return inner
        if t.at("value") and slots is not None:
            value = self.lookup(t.take("value"))
            return slots.use(value, self.extent(self.extents.get(value)))
        if t.at("slot"):
            if slots is not None:
                t.fail("name the operand instead of its position")
            position = int(t.take("slot").text[1:])
            return of_atom(Slot(position, self.extent(None)))
        if t.at("word") and token.text in ("min", "max") and t.ahead(1).text == "(":
            t.take("word")
            t.expect("(")
            left = self.dim(slots)
            t.expect(",")
            right = self.dim(slots)
            t.expect(")")
            return (minimum if token.text == "min" else maximum)(left, right)
        if t.at("word"):
            return of_atom(Symbol(t.take("word").text))
        found = repr(token.text) if token.text else "the end"
        t.fail(f"expected an integer expression, found {found}")

    def extent(self, natural: Dim | None) -> Dim | None:
        """`<N>` or `<>` behind a slot, where its extent is not the natural one."""
        if not self.tokens.mark("<"):
            return natural
        if self.tokens.mark(">"):
            return None
        extent = self.dim()
        self.tokens.expect(">")
        return extent

    # Attributes and constants.

    def attributes(self) -> dict[str, Any]:
        """`{name=value, ...}`, if there are any here."""
        t = self.tokens
        attrs: dict[str, Any] = {}
        if not (t.at("mark", "{") and t.ahead(1).kind == "word" and t.ahead(2).text == "="):
            return attrs
        t.expect("{")
        while not t.mark("}"):
            name = t.take("word").text
            t.expect("=")
            attrs[name] = self.attribute()
            if not t.at("mark", "}"):
                t.expect(",")
        return attrs

    def attribute(self) -> Any:
        t = self.tokens
        if t.at("string"):
            return json.loads(t.take("string").text)
        if t.mark("["):
            items = []
            while not t.mark("]"):
                items.append(self.attribute())
                if not t.at("mark", "]"):
                    t.expect(",")
            return tuple(items)
        if t.at("word"):
            word = t.here.text
            if word in ("none", "true", "false"):
                t.take("word")
                return {"none": None, "true": True, "false": False}[word]
            if word in DTYPES:
                return by_name(t.take("word").text)
            if word == "literal":
                t.take("word")
                t.expect("(")
                literal = self.constant()
                t.expect(")")
                return literal
        return self.dim()

    def constant(self) -> Literal:
        """`number : type`, `[numbers] : type` or `sha256:... : type`."""
        t = self.tokens
        start = t.here
        if t.at("digest"):
            return self.stored(t.take("digest"))
        numbers = []
        if t.mark("["):
            while not t.mark("]"):
                numbers.append(self.number())
                if not t.at("mark", "]"):
                    t.expect(",")
        else:
            numbers.append(self.number())
        t.expect(":")
        type = self.type()
        try:
            return Literal(from_numbers(numbers, type.dtype, _shape(type)))
        except ValueError as error:
            t.fail(str(error), start)

    def stored(self, token: Token) -> Literal:
        """A constant of the side file."""
        self.tokens.expect(":")
        type = self.type()
        digest = token.text.removeprefix("sha256:")
        if digest not in self.constants:
            self.tokens.fail("the constants at hand have no array of this sha256", token)
        array = np.ascontiguousarray(self.constants[digest]).view(type.dtype.numpy)
        array = array.reshape(_shape(type))
        if array_digest(array) != digest:
            self.tokens.fail("the array at hand has another sha256", token)
        return Literal(array)

    def number(self) -> Any:
        t = self.tokens
        if t.mark("("):
            real = self.number()
            t.expect(",")
            pair = (real, self.number())
            t.expect(")")
            return pair
        if t.at("nan"):
            return Bits(int(t.take("nan").text[4:-1], 16))
        if t.at("word") and t.here.text in ("true", "false"):
            return t.take("word").text == "true"
        sign = -1 if t.mark("-") else 1
        if t.at("float"):
            text = t.take("float").text
            return sign * (float.fromhex(text) if text.startswith("0x") else float(text))
        if t.word("inf"):
            return sign * float("inf")
        return sign * int(t.take("int").text)


def _shape(type: TensorType) -> tuple[int, ...]:
    """The shape of a constant; ValueError where it is symbolic."""
    shape = tuple(d for d in type.shape if isinstance(d, int))
    if len(shape) != type.ndim:
        raise ValueError(f"a constant cannot have the type {type}")
    return shape
