"""One rule per elementwise op: how Triton computes it.

A rule gets the operands' texts and gives the result's. f16 and bf16 operands come as float32 and
the result is rounded back, but for the ops in `ON_BITS`, which only move or flip bits. Functions
are those of libdevice, whose errors NVIDIA documents (CUDA C Programming Guide, "Mathematical
Functions"); divisions and square roots are rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ....ir.dtypes import DType, f32
from .float8 import FLOAT8
from .functions import HELPERS, PHILOX, PHILOX_WORD
from .text import Writer

TYPES = {
    "bool": "int1", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "i8": "int8",
    "i16": "int16", "i32": "int32", "i64": "int64", "f16": "float16", "bf16": "bfloat16",
    "f32": "float32", "f64": "float64", "f8e4m3fn": "uint8", "f8e5m2": "uint8",
}  # fmt: skip
POINTERS = {
    "bool": "*i1", "u8": "*u8", "u16": "*u16", "u32": "*u32", "u64": "*u64", "i8": "*i8",
    "i16": "*i16", "i32": "*i32", "i64": "*i64", "f16": "*fp16", "bf16": "*bf16",
    "f32": "*fp32", "f64": "*fp64", "f8e4m3fn": "*u8", "f8e5m2": "*u8",
}  # fmt: skip


def type_of(dtype: DType) -> str:
    """The dtype in Triton's language."""
    return f"tl.{TYPES[dtype.name]}"


@dataclass(frozen=True, slots=True)
class At:
    """Where a rule writes: the dtype of its first operand."""

    w: Writer
    dtype: DType

    @property
    def single(self) -> bool:
        return self.dtype is f32

    def call(self, name: str, *arguments: str) -> str:
        """A helper function of `HELPERS`."""
        for needed in HELPERS[name][0]:
            self.w.helper(needed, HELPERS[needed][1])
        return f"{self.w.helper(name, HELPERS[name][1])}({', '.join(arguments)})"


Rule = Callable[..., str]


def _infix(sign: str, boolean: str = "") -> Rule:
    boolean = boolean or sign
    return lambda at, x, y: f"({x} {boolean if at.dtype.kind == 'bool' else sign} {y})"


def _comparison(sign: str) -> Rule:
    def rule(at: At, x: str, y: str) -> str:
        if at.dtype.kind == "bool":
            return f"({x}.to(tl.int32) {sign} {y}.to(tl.int32))"
        return f"({x} {sign} {y})"

    return rule


def _extremum(name: str, boolean: str) -> Rule:
    def rule(at: At, x: str, y: str) -> str:
        if at.dtype.kind == "bool":
            return f"({x} {boolean} {y})"
        kept = ", propagate_nan=tl.PropagateNan.ALL" if at.dtype.is_float else ""
        return f"tl.{name}({x}, {y}{kept})"

    return rule


def _library(name: str) -> Rule:
    return lambda at, *operands: f"libdevice.{name}({', '.join(operands)})"


def _neg(at: At, x: str) -> str:
    # Triton writes -x as 0 - x, which loses the sign of a zero.
    return f"({x} * -1.0)" if at.dtype.is_float else f"(0 - {x})"


def _abs(at: At, x: str) -> str:
    return x if at.dtype.kind == "uint" else f"tl.abs({x})"


def _sign(at: At, x: str) -> str:
    if at.dtype.kind == "uint":
        return f"({x} > 0).to({x}.dtype)"
    if at.dtype.kind == "int":
        return f"(({x} > 0).to({x}.dtype) - ({x} < 0).to({x}.dtype))"
    return at.call("_sign", x)


def _div(at: At, x: str, y: str) -> str:
    return f"tl.div_rn({x}, {y})" if at.single else f"({x} / {y})"


def _sqrt(at: At, x: str) -> str:
    return f"tl.sqrt_rn({x})" if at.single else f"libdevice.sqrt({x})"


def _sigmoid(at: At, x: str) -> str:
    below = f"(libdevice.exp({x} * -1.0) + 1.0)"
    return f"tl.div_rn(1.0, {below})" if at.single else f"(1.0 / {below})"


def _divided(name: str) -> Rule:
    def rule(at: At, x: str, y: str) -> str:
        kind = "float" if at.dtype.is_float else at.dtype.kind
        if kind == "int":
            return at.call(f"_{name}_int", x, y, str(-(1 << (at.dtype.bits - 1))))
        if kind == "float":
            return at.call(f"_{name}_float", x, y, "True" if at.single else "False")
        return at.call(f"_{name}_uint", x, y)

    return rule


def _pow(at: At, x: str, y: str) -> str:
    if at.dtype.is_float:
        return f"libdevice.pow({x}, {y})"
    return at.call("_integer_power", x, y, "True" if at.dtype.kind == "int" else "False",
        str(at.dtype.bits))  # fmt: skip


def _bit_not(at: At, x: str) -> str:
    if at.dtype.kind != "uint":
        return f"(~{x})"
    return f"({x} ^ tl.full([], {(1 << at.dtype.bits) - 1}, {type_of(at.dtype)}))"


def _shift_left(at: At, x: str, by: str) -> str:
    return at.call("_shift_left", x, by, str(at.dtype.bits))


def _shift_right(at: At, x: str, by: str) -> str:
    name = "_shift_right" if at.dtype.kind == "uint" else "_shift_right_signed"
    return at.call(name, x, by, str(at.dtype.bits))


LIBRARY = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos",
    "atan", "sinh", "cosh", "tanh", "erf", "atan2", "rsqrt", "trunc", "floor", "ceil",
)  # fmt: skip
ON_BITS = ("stop_gradient",)
RULES: dict[str, Rule] = {
    **{name: _library(name) for name in LIBRARY},
    "round": _library("rint"),
    "neg": _neg,
    "abs": _abs,
    "sign": _sign,
    "sqrt": _sqrt,
    "sigmoid": _sigmoid,
    "pow": _pow,
    "bit_not": _bit_not,
    "stop_gradient": lambda at, x: x,
    "add": _infix("+", "|"),
    "sub": _infix("-"),
    "mul": _infix("*", "&"),
    "div": _div,
    "floor_div": _divided("floor_div"),
    "remainder": _divided("remainder"),
    "maximum": _extremum("maximum", "|"),
    "minimum": _extremum("minimum", "&"),
    "bit_and": _infix("&"),
    "bit_or": _infix("|"),
    "bit_xor": _infix("^"),
    "shift_left": _shift_left,
    "shift_right": _shift_right,
    "eq": _comparison("=="),
    "ne": _comparison("!="),
    "lt": _comparison("<"),
    "le": _comparison("<="),
    "gt": _comparison(">"),
    "ge": _comparison(">="),
}
OTHER_FORMS = ("cast", "bitcast", "where", "random_bits")  # several types, attributes
NO_RULE: dict[str, str] = dict.fromkeys(  # elementwise ops without a rule, and why
    ("real", "imag", "complex"), "complex numbers are two real ones before any kernel is made"
)


def known_ops() -> set[str]:
    """Names of the elementwise ops that can be emitted."""
    return {*RULES, *OTHER_FORMS}


def cast(w: Writer, source: DType, target: DType, x: str) -> str:
    """`x` as `target`. A float becomes an integer by dropping its fraction; out of range the
    result is unspecified."""
    if source is target:
        return x
    if source.is_float8:
        name = f"_widen_{source.name}"
        return cast(w, f32, target, f"{w.helper(name, FLOAT8[name])}({x})")
    if target.is_float8:
        name = f"_narrow_{target.name}"
        return f"{w.helper(name, FLOAT8[name])}({cast(w, source, f32, x)})"
    if target.kind == "bool":
        return f"({x} != 0)"
    if source.is_float and target.kind in ("int", "uint") and target.bits < 32:
        return f"{x}.to(tl.int32).to({type_of(target)})"  # cut from a wider one
    if source.is_float and source.bits == 64 and target.is_low_precision:
        return f"{x}.to(tl.float32).to({type_of(target)})"
    return f"{x}.to({type_of(target)})"


def bitcast(w: Writer, source: DType, target: DType, x: str) -> str:
    """The bits of `x` read as another dtype of the same width."""
    if source.kind == "bool" or target.kind == "bool":
        return cast(w, source, target, x)
    return f"{x}.to({type_of(target)}, bitcast=True)"


def philox(w: Writer, bits: int, seed: str, offset: str, element: str) -> str:
    """The random u32 or u64 (`bits`) of an element; operands and rounds are as in `rng_bits`."""
    w.helper("_philox", PHILOX)
    return f"{w.helper(f'_philox_{bits}', PHILOX_WORD[bits])}({seed}, {offset}, {element})"
