"""Lines of LLVM text: names, types, literals, declarations. Text out, nothing else.

What is computed without reading memory is written once, and outside of the loops that do not change
it, so that LLVM's own passes have little left to do.

A bool is an `i1` in registers and an `i8` of 0 or 1 in memory; f16 and bf16 are `i16` in
both, floats of 8 bits `i8`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....ir.dtypes import DType, f32, f64
from ....ir.target import Target

REGISTER = {
    "bool": "i1", "u8": "i8", "u16": "i16", "u32": "i32", "u64": "i64",
    "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64",
    "f8e4m3fn": "i8", "f8e5m2": "i8", "f16": "i16", "bf16": "i16", "f32": "float", "f64": "double",
}  # fmt: skip
SUFFIX = {"float": "f32", "double": "f64"}


def llvm_type(dtype: DType, lanes: int | None = None, *, memory: bool = False) -> str:
    """The type of a scalar, or of a vector of `lanes`."""
    name = "i8" if memory and dtype.name == "bool" else REGISTER[dtype.name]
    return f"<{lanes} x {name}>" if lanes else name


def shaped(name: str, lanes: int | None) -> str:
    """The LLVM type `name`, or a vector of it."""
    return f"<{lanes} x {name}>" if lanes else name


def overload(name: str, lanes: int | None) -> str:
    """How the name of an intrinsic spells the type: v16f32, i64."""
    spelled = SUFFIX.get(name, name)
    return f"v{lanes}{spelled}" if lanes else spelled


def literal(dtype: DType, number: Any) -> str:
    """A scalar constant, exact to the bit."""
    array = np.asarray(number)
    if dtype is f32:
        # LLVM spells a float as the double of that value; a NaN keeps its payload when widened.
        (bits,) = struct.unpack("<I", np.float32(array).tobytes())
        return f"0x{_widened(bits):016X}"
    if dtype is f64:
        return f"0x{struct.unpack('<Q', np.float64(array).tobytes())[0]:016X}"
    if dtype.is_low_precision or dtype.is_float8:
        return str(int(array.astype(dtype.numpy).view(f"i{dtype.itemsize}")))
    if dtype.kind == "bool":
        return "true" if bool(array) else "false"
    return str(int(array))


def _widened(bits: int) -> int:
    if bits & 0x7F800000 == 0x7F800000 and bits & 0x7FFFFF:
        return (bits >> 31) << 63 | 0x7FF << 52 | (bits & 0x7FFFFF) << 29
    value = struct.unpack("<f", struct.pack("<I", bits))[0]
    return struct.unpack("<Q", struct.pack("<d", value))[0]


@dataclass(slots=True)
class _Frame:
    """A piece of the text that does not run exactly when the text around it does.

    Attributes:
        before: of a loop, the lines that run once before it; None for a branch.
        unrolled: whether it is a loop whose turns LLVM writes out.
        known: the texts whose results are at hand in this piece.
    """

    before: list[str] | None
    unrolled: bool = False
    known: list[str] = field(default_factory=list)


_REGISTER = re.compile(r"%\w+")


class Writer:
    """The text of a function under construction.

    A line may be a list of lines that grows later.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.lines: list[str | list[str]] = []
        self.label = "entry"
        self.declarations: dict[str, None] = {}
        self.definitions: dict[str, None] = {}
        self._count = 0
        self._frames = [_Frame(None)]
        self._known: dict[str, str] = {}  # text -> the register that holds its result
        self._depth: dict[str, int] = {}  # register -> number of the frame that computes it

    def text(self) -> str:
        """The lines so far."""
        parts = ("\n".join(p) if isinstance(p, list) else p for p in self.lines if p)
        return "\n".join(parts)

    def name(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def register(self) -> str:
        """A new register that is set at this place."""
        result = "%" + self.name()
        self._depth[result] = len(self._frames) - 1
        return result

    def depth(self, text: str) -> int:
        """How many loops and branches deep a register is computed; 0 for a constant."""
        return self._depth.get(text, 0)

    def is_unrolled(self, text: str) -> bool:
        """Whether a register is computed in a loop whose turns LLVM writes out."""
        return self._frames[self.depth(text)].unrolled

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def op(self, text: str) -> str:
        """The register that holds the result of `text`, which reads no memory: it is computed
        before all loops that leave its operands alone, unless that was done already."""
        known = self._known.get(text)
        if known is not None:
            return known
        depth = max((self._depth.get(r, 0) for r in _REGISTER.findall(text)), default=0)
        lines: list[Any] = self.lines
        place = len(self._frames) - 1
        for k in range(depth + 1, len(self._frames)):
            before = self._frames[k].before
            if before is not None:
                lines, place = before, k - 1
                break
        result = "%" + self.name()
        lines.append(f"  {result} = {text}")
        self._known[text] = result
        self._depth[result] = place
        self._frames[place].known.append(text)
        return result

    def here(self, text: str) -> str:
        """Appends `%new = text` at this very place; gives %new."""
        result = self.register()
        self.line(f"{result} = {text}")
        return result

    @contextmanager
    def branch(self) -> Iterator[None]:
        """What is written inside runs under a condition."""
        self._frames.append(_Frame(None))
        yield
        self._leave()

    @contextmanager
    def loop(self, unrolled: bool = False) -> Iterator[None]:
        """What is written inside, from the jump into the loop on, runs once for each turn."""
        before: list[str] = []
        self.lines.append(before)
        self._frames.append(_Frame(before, unrolled))
        yield
        self._leave()

    def _leave(self) -> None:
        for text in self._frames.pop().known:
            del self._known[text]

    def block(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def call(self, function: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """Calls a declared function that reads no memory; arguments are (type, text)."""
        types = ", ".join(t for t, _ in arguments)
        self.declarations[f"declare {result} @{function}({types})"] = None
        text = ", ".join(f"{t} {a}" for t, a in arguments)
        if result == "void":
            self.line(f"call void @{function}({text})")
            return ""
        return self.op(f"call {result} @{function}({text})")

    def intrinsic(self, name: str, type: str, lanes: int | None, *arguments: str) -> str:
        """A call of llvm.<name> whose arguments and result have one type."""
        full = shaped(type, lanes)
        return self.call(
            f"llvm.{name}.{overload(type, lanes)}", full, [(full, a) for a in arguments]
        )

    def splat(self, type: str, lanes: int | None, number: str) -> str:
        """The constant `number` as a scalar or in all lanes."""
        return f"splat ({type} {number})" if lanes else number

    def convert(self, how: str, value: str, source: str, target: str, lanes: int | None) -> str:
        """zext, trunc, bitcast, fpext, sitofp ..."""
        return self.op(f"{how} {shaped(source, lanes)} {value} to {shaped(target, lanes)}")

    def binary(self, how: str, type: str, lanes: int | None, a: str, b: str) -> str:
        return self.op(f"{how} {shaped(type, lanes)} {a}, {b}")

    def select(self, condition: str, type: str, lanes: int | None, a: str, b: str) -> str:
        full = shaped(type, lanes)
        return self.op(f"select {shaped('i1', lanes)} {condition}, {full} {a}, {full} {b}")
