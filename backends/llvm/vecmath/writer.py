"""Writes one vector function as LLVM IR text, from expressions that read as maths.

A `Writer` appends instructions; a `Value` is an SSA name with a kind, and `a * b + c` emits.
Numbers are splatted. `fma` is exact on every CPU (emulated where the target has none); `mad` may
round the product.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Union

from .formats import F64, FORMATS

Operand = Union["Value", float]

_ELEMENT = {"f32": "float", "f64": "double"}


def _float_text(kind: str, number: float) -> str:
    if number != number:
        return "0x7FF8000000000000"
    rounded = FORMATS[kind].round(number)
    return "0x" + struct.pack(">d", rounded).hex().upper()


def _operator(name: str, swap: bool = False) -> Callable[[Value, Operand], Value]:
    def method(self: Value, other: Operand) -> Value:
        w = self.writer
        pair = [self, w.value(other, self.kind)]
        left, right = reversed(pair) if swap else pair
        instruction = "f" + name if self.is_float else name
        return w.emit(f"{instruction} {w.type(self.kind)} {left.ref}, {right.ref}", self.kind)

    return method


def _comparison(how: str) -> Callable[[Value, Operand], Value]:
    return lambda self, other: self.writer.compare(how, self, other)


class Value:
    """An SSA value; arithmetic on it writes an instruction."""

    __slots__ = ("kind", "ref", "writer")

    def __init__(self, writer: Writer, kind: str, ref: str) -> None:
        self.writer, self.kind, self.ref = writer, kind, ref

    @property
    def is_float(self) -> bool:
        return self.kind[0] == "f"

    __add__, __radd__ = _operator("add"), _operator("add", swap=True)
    __sub__, __rsub__ = _operator("sub"), _operator("sub", swap=True)
    __mul__, __rmul__ = _operator("mul"), _operator("mul", swap=True)
    __truediv__, __rtruediv__ = _operator("div"), _operator("div", swap=True)
    __and__, __or__, __xor__ = _operator("and"), _operator("or"), _operator("xor")
    __lshift__, __rshift__ = _operator("shl"), _operator("ashr")
    shift_right = _operator("lshr")  # logical
    __lt__, __le__ = _comparison("lt"), _comparison("le")
    __gt__, __ge__ = _comparison("gt"), _comparison("ge")

    def __neg__(self) -> Value:
        if self.is_float:
            return self.writer.emit(f"fneg {self.writer.type(self.kind)} {self.ref}", self.kind)
        return 0 - self


class Writer:
    """Collects the instructions of one function of `lanes` lanes whose element type is `dtype`."""

    def __init__(self, dtype: str, lanes: int, fma: bool = True, avx512: bool = False) -> None:
        self.format = FORMATS[dtype]
        self.dtype, self.lanes, self.has_fma, self.has_avx512 = dtype, lanes, fma, avx512
        self.lines: list[str] = []
        self.helpers: list[str] = []  # further functions the text needs
        self.declarations: dict[str, None] = {}
        self.count = 0
        self.block = "entry"

    # --- types, constants, raw text

    def type(self, kind: str) -> str:
        element = _ELEMENT.get(kind, kind)
        return element if self.lanes == 1 else f"<{self.lanes} x {element}>"

    def suffix(self, kind: str) -> str:
        return kind if self.lanes == 1 else f"v{self.lanes}{kind}"

    def value(self, thing: Operand, kind: str) -> Value:
        """A number becomes a constant of that kind; a value must already be of it."""
        if isinstance(thing, Value):
            if thing.kind != kind:
                raise TypeError(f"vecmath: a {thing.kind} value where {kind} is needed")
            return thing
        text = _float_text(kind, float(thing)) if kind[0] == "f" else str(int(thing))
        if self.lanes == 1:
            return Value(self, kind, text)
        return Value(self, kind, f"splat ({_ELEMENT.get(kind, kind)} {text})")

    def constant(self, number: float) -> Value:
        return self.value(number, self.dtype)

    def emit(self, text: str, kind: str) -> Value:
        name = f"%t{self.count}"
        self.count += 1
        self.lines.append(f"  {name} = {text}")
        return Value(self, kind, name)

    def emit_raw(self, text: str) -> str:
        """An instruction whose result is no plain value (a struct); gives its name."""
        return self.emit(text, "").ref

    def open_block(self, label: str) -> None:
        self.block = label
        self.lines.append(f"{label}:")

    def any(self, condition: Value) -> Value:
        """Whether it holds in some lane: a scalar i1."""
        if self.lanes == 1:
            return condition
        symbol = f"@llvm.vector.reduce.or.v{self.lanes}i1"
        self.declarations[f"declare i1 {symbol}({self.type('i1')})"] = None
        return self.emit(f"call i1 {symbol}({self.type('i1')} {condition.ref})", "i1")

    def _pair(self, a: Operand, b: Operand) -> tuple[Value, Value]:
        kind = a.kind if isinstance(a, Value) else b.kind if isinstance(b, Value) else self.dtype
        return self.value(a, kind), self.value(b, kind)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        kind = operands[0].kind
        typed = [f"{self.type(o.kind)} {o.ref}" for o in operands]
        symbol = f"@llvm.{name}.{self.suffix(kind)}"
        types = ", ".join(self.type(o.kind) for o in operands)
        self.declarations[f"declare {self.type(kind)} {symbol}({types})"] = None
        return self.emit(f"call {self.type(kind)} {symbol}({', '.join(typed)})", kind)

    # --- arithmetic

    def mad(self, a: Operand, b: Operand, c: Operand) -> Value:
        """a*b + c, the product rounded or not."""
        kind = next(v.kind for v in (a, b, c) if isinstance(v, Value))
        a, b, c = (self.value(v, kind) for v in (a, b, c))
        return self.intrinsic("fma", a, b, c) if self.has_fma else a * b + c

    def fma(self, a: Operand, b: Operand, c: Operand) -> Value:
        """a*b + c with the product exact, whatever the CPU."""
        kind = next(v.kind for v in (a, b, c) if isinstance(v, Value))
        a, b, c = (self.value(v, kind) for v in (a, b, c))
        if self.has_fma:
            return self.intrinsic("fma", a, b, c)
        if kind == "f32":
            a, b, c = (self.convert("fpext", v, "f64") for v in (a, b, c))
            return self.convert("fptrunc", a * b + c, "f32")
        product, error = self.two_product(a, b)
        total, rest = self.two_sum(product, c)
        rest = rest + error
        return self.select(self.eq(rest, 0.0), total, total + rest)  # keeps the sum -0 - 0 negative

    def two_sum(self, a: Value, b: Value) -> tuple[Value, Value]:
        """a + b as its rounded value and the exact error."""
        total = a + b
        b_part = total - a
        return total, (a - (total - b_part)) + (b - b_part)

    def fast_two_sum(self, a: Value, b: Value) -> tuple[Value, Value]:
        """As two_sum, for |a| >= |b|."""
        total = a + b
        return total, b - (total - a)

    def two_product(self, a: Value, b: Value) -> tuple[Value, Value]:
        """a * b as its rounded value and the exact error."""
        product = a * b
        if self.has_fma or a.kind == "f32":
            return product, self.fma(a, b, -product)
        a_high, a_low = self._split(a)
        b_high, b_low = self._split(b)
        error = (a_high * b_high - product) + a_high * b_low + a_low * b_high + a_low * b_low
        return product, error

    def _split(self, a: Value) -> tuple[Value, Value]:
        """The upper 26 bits and the rest; by masking, so that nothing overflows."""
        high = self.as_float(self.as_int(a) & -(1 << 27))
        return high, a - high

    def polynomial(self, x: Value, coefficients: Sequence[float], exact: bool = False) -> Value:
        """c0 + c1 x + c2 x**2 + ...: Horner; the tail of a long one in two interleaved halves.

        `exact` asks for the same bits on every CPU.
        """
        if len(coefficients) < 10:
            return self._horner(x, coefficients, exact)
        first, *rest = coefficients
        square = x * x
        even, odd = (self._horner(square, rest[i::2], exact) for i in (0, 1))
        return self.mad(self.mad(odd, x, even), x, first)

    def _horner(self, x: Value, coefficients: Sequence[float], exact: bool) -> Value:
        step = self.fma if exact else self.mad
        result = self.value(coefficients[-1], x.kind)
        for c in reversed(coefficients[:-1]):
            result = step(result, x, c)
        return result

    def sqrt(self, x: Value) -> Value:
        return self.intrinsic("sqrt", x)

    def abs(self, x: Value) -> Value:
        return self.intrinsic("fabs", x)

    def copysign(self, x: Operand, sign: Value) -> Value:
        return self.intrinsic("copysign", self.value(x, sign.kind), sign)

    # --- choice

    def compare(self, how: str, a: Operand, b: Operand) -> Value:
        """Ordered comparison of floats (false for NaN, except 'ne'), signed of integers."""
        a, b = self._pair(a, b)
        if a.is_float:
            name = "fcmp " + ("une" if how == "ne" else "uno" if how == "uno" else "o" + how)
        else:
            name = "icmp " + (how if how in ("eq", "ne") or how[0] == "u" else "s" + how)
        return self.emit(f"{name} {self.type(a.kind)} {a.ref}, {b.ref}", "i1")

    def eq(self, a: Operand, b: Operand) -> Value:
        return self.compare("eq", a, b)

    def ne(self, a: Operand, b: Operand) -> Value:
        return self.compare("ne", a, b)

    def is_nan(self, x: Value) -> Value:
        return self.compare("uno", x, x)

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        a, b = self._pair(a, b)
        kind = self.type(a.kind)
        return self.emit(
            f"select {self.type('i1')} {condition.ref}, {kind} {a.ref}, {kind} {b.ref}", a.kind
        )

    def at_most(self, x: Value, limit: Operand) -> Value:
        """min(x, limit); NaN stays NaN."""
        limit = self.value(limit, x.kind)
        return self.select(limit < x, limit, x)

    def at_least(self, x: Value, limit: Operand) -> Value:
        """max(x, limit); NaN stays NaN."""
        limit = self.value(limit, x.kind)
        return self.select(limit > x, limit, x)

    # --- bits

    def convert(self, how: str, x: Value, kind: str) -> Value:
        return self.emit(f"{how} {self.type(x.kind)} {x.ref} to {self.type(kind)}", kind)

    def as_int(self, x: Value) -> Value:
        return self.convert("bitcast", x, FORMATS[x.kind].integer)

    def as_float(self, x: Value) -> Value:
        return self.convert("bitcast", x, "f32" if x.kind == "i32" else "f64")

    def sign_of(self, x: Value) -> Value:
        return self.as_int(x) & FORMATS[x.kind].sign

    def flip(self, x: Value, sign: Value) -> Value:
        """x with its sign bit flipped where the integer `sign` has that bit."""
        return self.as_float(self.as_int(x) ^ sign)

    def integer_to_float(self, x: Value) -> Value:
        """A small signed integer as float; 64-bit ones without a 64-bit conversion instruction."""
        if x.kind == "i32":
            return self.convert("sitofp", x, "f32")
        magic = F64.magic
        return self.as_float(x + F64.bits(magic)) - magic

    def nearest(self, x: Value, scale: Operand, offset: int = 0) -> tuple[Value, Value]:
        """n = round(x * scale) as a float, and an integer whose low bits hold n + offset."""
        magic = FORMATS[x.kind].magic + offset
        shifted = self.mad(x, scale, magic)
        return shifted - magic, self.as_int(shifted)

    # --- AVX-512

    def _on_512(self, name: str, operands: tuple[Value, ...], *immediates: str) -> Value:
        """An x86 intrinsic with a full mask, register by register.

        Fewer lanes are computed in a part of a register: the same algorithm for every number of
        lanes, so an element has the same bits wherever it is computed.
        """
        kind = operands[0].kind
        count = 512 // FORMATS[kind].width
        part = f"<{count} x {_ELEMENT[kind]}>"
        symbol = f"@llvm.x86.avx512.{name}.{'ps' if kind == 'f32' else 'pd'}.512"
        mask = f"i{count}"
        values = ", ".join([part] * len(operands))
        types = [values, *(i.split()[0] for i in immediates)]
        tail = [
            f"{part} zeroinitializer",
            f"{mask} -1",
            *(["i32 4"] if name.startswith("mask.") else []),
        ]
        types += [part, mask, *(["i32"] if name.startswith("mask.") else [])]
        self.declarations[f"declare {part} {symbol}({', '.join(types)})"] = None
        parts = []
        for start in range(0, self.lanes, count):
            inputs = [f"{part} {self._register(o, start, count).ref}" for o in operands]
            parts.append(
                self.emit(f"call {part} {symbol}({', '.join([*inputs, *immediates, *tail])})", kind)
            )
        return self._joined(parts, count) if self.lanes >= count else self._first(parts[0], count)

    def _register(self, x: Value, start: int, count: int) -> Value:
        """`count` lanes of x from `start` on; of one that has fewer, the others are undefined."""
        if self.lanes >= count:
            return self._slice(x, start, count)
        kind, element = self.type(x.kind), _ELEMENT[x.kind]
        if self.lanes == 1:
            return self.emit(
                f"insertelement <{count} x {element}> poison, {kind} {x.ref}, i32 0", x.kind
            )
        lanes = ", ".join(f"i32 {i}" if i < self.lanes else "i32 poison" for i in range(count))
        return self.emit(
            f"shufflevector {kind} {x.ref}, {kind} poison, <{count} x i32> <{lanes}>", x.kind
        )

    def _first(self, register: Value, count: int) -> Value:
        """The lanes of this function, which are the first of a register of `count`."""
        kind = register.kind
        full = f"<{count} x {_ELEMENT[kind]}>"
        if self.lanes == 1:
            return self.emit(f"extractelement {full} {register.ref}, i32 0", kind)
        lanes = ", ".join(f"i32 {i}" for i in range(self.lanes))
        return self.emit(
            f"shufflevector {full} {register.ref}, {full} poison, <{self.lanes} x i32> <{lanes}>",
            kind,
        )

    def _slice(self, x: Value, start: int, count: int) -> Value:
        if count == self.lanes:
            return x
        lanes = ", ".join(f"i32 {start + i}" for i in range(count))
        kind = self.type(x.kind)
        return self.emit(
            f"shufflevector {kind} {x.ref}, {kind} poison, <{count} x i32> <{lanes}>", x.kind
        )

    def _joined(self, parts: list[Value], count: int) -> Value:
        while len(parts) > 1:
            part = f"<{count} x {_ELEMENT[parts[0].kind]}>"
            count *= 2
            lanes = ", ".join(f"i32 {i}" for i in range(count))
            parts = [
                self.emit(
                    f"shufflevector {part} {a.ref}, {part} {b.ref}, <{count} x i32> <{lanes}>",
                    a.kind,
                )
                for a, b in zip(parts[0::2], parts[1::2])
            ]
        return parts[0]

    def scale(self, x: Value, n: Value) -> Value:
        """x * 2**n with one rounding, n a float of integral value."""
        return self._on_512("mask.scalef", (x, n))

    def exponent(self, x: Value) -> Value:
        """floor(log2 |x|); -inf at zero."""
        return self._on_512("mask.getexp", (x,))

    def significand(self, x: Value) -> Value:
        """x / 2**k in [3/4, 3/2), 1 for zero and infinity, NaN for negative x."""
        return self._on_512("mask.getmant", (x,), f"i32 {3 | 2 << 2}")

    def quotient(self, a: Value, b: Value) -> Value:
        """a / b, for normal b of normal reciprocal; to about one unit where that is faster."""
        if not (self.has_avx512 and b.kind == "f32"):
            return a / b
        y = self._on_512("rcp14", (b,))
        return a * self.fma(self.fma(-b, y, 1.0), y, y)

    def rsqrt_estimate(self, x: Value) -> Value:
        """1 / sqrt(x) to 14 bits; exact at zeros, infinities and NaN."""
        return self._on_512("rsqrt14", (x,))
