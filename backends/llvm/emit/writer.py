"""Lines of LLVM text: names, types, literals, declarations. Text out, nothing else.

A bool is an `i1` in registers and an `i8` of 0 or 1 in memory; f16 and bf16 are `i16` in both.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dtypes import DType, f32, f64
from ....ir.target import Target

REGISTER = {
    "bool": "i1", "u8": "i8", "u32": "i32", "u64": "i64", "i32": "i32", "i64": "i64",
    "f16": "i16", "bf16": "i16", "f32": "float", "f64": "double",
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
    if dtype.is_low_precision:
        return str(int(array.astype(dtype.numpy).view(np.int16)))
    if dtype.kind == "bool":
        return "true" if bool(array) else "false"
    return str(int(array))


def _widened(bits: int) -> int:
    if bits & 0x7F800000 == 0x7F800000 and bits & 0x7FFFFF:
        return (bits >> 31) << 63 | 0x7FF << 52 | (bits & 0x7FFFFF) << 29
    value = struct.unpack("<f", struct.pack("<I", bits))[0]
    return struct.unpack("<Q", struct.pack("<d", value))[0]


class Writer:
    """The text of a function under construction."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.lines: list[str] = []
        self.label = "entry"
        self.declarations: dict[str, None] = {}
        self.definitions: dict[str, None] = {}
        self._count = 0

    def name(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def op(self, text: str) -> str:
        """Appends `%new = text`; gives %new."""
        result = "%" + self.name()
        self.line(f"{result} = {text}")
        return result

    def block(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def call(
        self, function: str, result: str, arguments: Sequence[tuple[str, str]], tail: str = ""
    ) -> str:
        """Calls a declared function; arguments are (type, text)."""
        types = ", ".join(t for t, _ in arguments)
        self.declarations[f"declare {result} @{function}({types})"] = None
        text = ", ".join(f"{t} {a}" for t, a in arguments)
        if result == "void":
            self.line(f"call void @{function}({text}){tail}")
            return ""
        return self.op(f"call {result} @{function}({text}){tail}")

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
