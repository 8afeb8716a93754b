"""One rule per elementwise op: how LLVM computes it, for scalars and vectors of each dtype.

A rule gets the operands' registers and gives the result's. f16 and bf16 operands come as float32
and the result is rounded back, but for the ops in `ON_BITS`, which only move or flip bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ....ir.dtypes import DType, f32
from ....ir.graph import Node
from .. import vecmath
from .casts import bitcast, cast
from .floats import narrow, widen
from .random import philox_bits
from .writer import Writer, llvm_type, shaped


@dataclass(frozen=True, slots=True)
class At:
    """Where a rule writes: `dtype` and `lanes` of the first operand (None: a scalar)."""

    w: Writer
    dtype: DType
    lanes: int | None

    @property
    def type(self) -> str:
        """The LLVM type of an element."""
        return llvm_type(self.dtype)

    def op(self, how: str, a: str, b: str) -> str:
        return self.w.binary(how, self.type, self.lanes, a, b)

    def number(self, number: int | float) -> str:
        """A constant of the operands' type that is exact in every dtype."""
        text = f"{float(number):e}" if self.dtype.is_float else str(int(number))
        return self.w.splat(self.type, self.lanes, text)

    def select(self, condition: str, a: str, b: str) -> str:
        return self.w.select(condition, self.type, self.lanes, a, b)

    def flags(self, how: str, a: str, b: str) -> str:
        """`and`, `or`, `xor` of conditions."""
        return self.w.binary(how, "i1", self.lanes, a, b)

    def intrinsic(self, name: str, *arguments: str) -> str:
        return self.w.intrinsic(name, self.type, self.lanes, *arguments)

    def pick(self, float_: str, signed: str, unsigned: str) -> str:
        """The instruction for the kind of dtype (a bool counts as unsigned)."""
        return {"float": float_, "int": signed}.get(self.dtype.kind, unsigned)


Rule = Callable[..., str]
_DEFINITION = re.compile(r"^define .*?^}$|^@.*?$", re.MULTILINE | re.DOTALL)


def emit_elementwise(w: Writer, node: Node, operands: list[str]) -> str:
    """The register that holds the result of an elementwise node."""
    name, type_ = node.op.name, node.operands[0].type
    lanes = type_.shape[0] if type_.shape else None
    assert lanes is None or isinstance(lanes, int)
    dtype = type_.dtype
    if name == "cast":
        return cast(w, dtype, node.attrs["dtype"], lanes, operands[0])
    if name == "bitcast":
        return bitcast(w, dtype, node.attrs["dtype"], lanes, operands[0])
    if name == "where":
        dtype = node.operands[1].type.dtype
        return w.select(operands[0], llvm_type(dtype), lanes, operands[1], operands[2])
    if name == "random_bits":
        return philox_bits(w, lanes, node.attrs["bits"], *operands)
    rule = RULES[name]
    if not dtype.is_low_precision or name in ON_BITS:
        return rule(At(w, dtype, lanes), *operands)
    result = rule(At(w, f32, lanes), *(widen(w, dtype, lanes, v) for v in operands))
    if node.results[0].type.dtype is not dtype:
        return result
    return narrow(w, dtype, lanes, result)


def _neg(at: At, x: str) -> str:
    if at.dtype.is_low_precision:
        return at.op("xor", x, at.w.splat("i16", at.lanes, "-32768"))
    if at.dtype.is_float:
        return at.w.op(f"fneg {shaped(at.type, at.lanes)} {x}")
    return at.op("sub", at.number(0), x)


def _abs(at: At, x: str) -> str:
    if at.dtype.is_low_precision:
        return at.op("and", x, at.w.splat("i16", at.lanes, "32767"))
    if at.dtype.is_float:
        return at.intrinsic("fabs", x)
    if at.dtype.kind == "uint":
        return x
    return at.select(at.op("icmp slt", x, at.number(0)), at.op("sub", at.number(0), x), x)


def _sign(at: At, x: str) -> str:
    zero = at.number(0)
    above = at.op(at.pick("fcmp ogt", "icmp sgt", "icmp ugt"), x, zero)
    # What is neither above nor below zero is a zero of either sign, or NaN.
    rest = at.select(at.op("fcmp oeq", x, zero), zero, x) if at.dtype.is_float else zero
    if at.dtype.kind != "uint":
        below = at.op(at.pick("fcmp olt", "icmp slt", ""), x, zero)
        rest = at.select(below, at.number(-1), rest)
    return at.select(above, at.number(1), rest)


def _arithmetic(float_: str, integer: str, boolean: str = "") -> Rule:
    def rule(at: At, x: str, y: str) -> str:
        if at.dtype.kind == "bool":
            return at.op(boolean, x, y)
        return at.op(float_ if at.dtype.is_float else integer, x, y)

    return rule


def _extremum(float_: str, signed: str, unsigned: str, boolean: str) -> Rule:
    def rule(at: At, x: str, y: str) -> str:
        if at.dtype.kind == "bool":
            return at.op(boolean, x, y)
        chosen = at.select(at.op(at.pick(float_, signed, unsigned), x, y), x, y)
        if not at.dtype.is_float:
            return chosen
        # The comparison is false for a NaN: y's has been chosen, x's is put back.
        return at.select(at.op("fcmp uno", x, x), x, chosen)

    return rule


def _comparison(float_: str, signed: str, unsigned: str) -> Rule:
    return lambda at, x, y: at.op(
        at.pick(f"fcmp {float_}", f"icmp {signed}", f"icmp {unsigned}"), x, y
    )


def _floor_div(at: At, x: str, y: str) -> str:
    if at.dtype.is_float:
        return _float_divmod(at, x, y)[0]
    zero, safe, is_zero = _safe_divisor(at, x, y)
    if at.dtype.kind == "uint":
        return at.select(is_zero, zero, at.op("udiv", x, safe))
    quotient = at.op("sdiv", x, safe)
    rest = at.op("sub", x, at.op("mul", quotient, safe))
    down = at.select(_signs_differ(at, rest, safe), at.number(-1), zero)
    return at.select(is_zero, zero, at.op("add", quotient, down))


def _remainder(at: At, x: str, y: str) -> str:
    if at.dtype.is_float:
        return _float_divmod(at, x, y)[1]
    zero, safe, is_zero = _safe_divisor(at, x, y)
    if at.dtype.kind == "uint":
        return at.select(is_zero, zero, at.op("urem", x, safe))
    rest = at.op("sub", x, at.op("mul", at.op("sdiv", x, safe), safe))
    moved = at.op("add", rest, at.select(_signs_differ(at, rest, safe), safe, zero))
    return at.select(is_zero, zero, moved)


def _safe_divisor(at: At, x: str, y: str) -> tuple[str, str, str]:
    """(0, a divisor that cannot trap, whether y is 0). The lowest integer over -1 is left to
    wrap around by dividing its double negation: -1 divides as 1 after both change sign."""
    zero = at.number(0)
    is_zero = at.op("icmp eq", y, zero)
    safe = at.select(is_zero, at.number(1), y)
    if at.dtype.kind == "int":
        lowest = at.number(-(1 << (at.dtype.bits - 1)))
        overflow = at.flags("and", at.op("icmp eq", x, lowest), at.op("icmp eq", y, at.number(-1)))
        safe = at.select(overflow, at.number(1), safe)
    return zero, safe, is_zero


def _signs_differ(at: At, rest: str, divisor: str) -> str:
    """Whether a remainder is not 0 and has not the divisor's sign."""
    differ = at.op("icmp slt", at.op("xor", rest, divisor), at.number(0))
    return at.flags("and", differ, at.op("icmp ne", rest, at.number(0)))


def _float_divmod(at: At, x: str, y: str) -> tuple[str, str]:
    """(floor_div, remainder) by way of the exact remainder, as numpy does."""
    zero, one = at.number(0), at.number(1)
    rest = at.op("frem", x, y)
    quotient = at.op("fdiv", at.op("fsub", x, rest), y)
    is_whole = at.op("fcmp oeq", rest, zero)
    differ = at.w.binary(
        "xor", "i1", at.lanes, at.op("fcmp olt", rest, zero), at.op("fcmp olt", y, zero)
    )
    adjust = at.flags("and", at.op("fcmp une", rest, zero), differ)
    moved = at.select(adjust, at.op("fadd", rest, y), rest)
    remainder = at.select(is_whole, at.intrinsic("copysign", zero, y), moved)
    quotient = at.select(adjust, at.op("fsub", quotient, one), quotient)
    floor = at.intrinsic("floor", quotient)
    gap = at.op("fcmp ogt", at.op("fsub", quotient, floor), at.number(0.5))
    floor = at.select(gap, at.op("fadd", floor, one), floor)
    ratio = at.op("fdiv", x, y)
    nothing = at.op("fcmp oeq", quotient, zero)
    floor = at.select(nothing, at.intrinsic("copysign", zero, ratio), floor)
    return at.select(at.op("fcmp oeq", y, zero), ratio, floor), remainder


def _shift_left(at: At, x: str, by: str) -> str:
    inside = at.op("icmp ult", by, at.number(at.dtype.bits))
    return at.select(inside, at.op("shl", x, by), at.number(0))


def _shift_right(at: At, x: str, by: str) -> str:
    inside = at.op("icmp ult", by, at.number(at.dtype.bits))
    if at.dtype.kind == "uint":
        return at.select(inside, at.op("lshr", x, by), at.number(0))
    return at.op("ashr", x, at.select(inside, by, at.number(at.dtype.bits - 1)))


def _rounding(name: str) -> Rule:
    return lambda at, x: at.intrinsic(name, x)


def _bit_not(at: At, x: str) -> str:
    return at.op("xor", x, at.w.splat(at.type, at.lanes, "true" if at.type == "i1" else "-1"))


def _math(name: str) -> Rule:
    """A function of the vector math library, register by register."""

    def rule(at: At, *operands: str) -> str:
        return math_call(at.w, name, at.dtype, at.lanes, list(operands))

    return rule


def math_call(w: Writer, name: str, dtype: DType, lanes: int | None, operands: list[str]) -> str:
    """`name` of the vector math library over any power of two of lanes."""
    native = max(w.target.lanes(dtype), 1)
    if lanes is not None and lanes > native:
        halves = []
        for first in (0, lanes // 2):
            picked = ", ".join(f"i32 {k}" for k in range(first, first + lanes // 2))
            part = [_shuffle(w, dtype, lanes, v, picked) for v in operands]
            halves.append(math_call(w, name, dtype, lanes // 2, part))
        half, every = (
            shaped(llvm_type(dtype), lanes // 2),
            ", ".join(f"i32 {k}" for k in range(lanes)),
        )
        return w.op(
            f"shufflevector {half} {halves[0]}, {half} {halves[1]}, <{lanes} x i32> <{every}>"
        )
    function = vecmath.function(name, dtype.name, lanes or 1, w.target.fma, w.target.masks)
    w.definitions.update(dict.fromkeys(_DEFINITION.findall(function.text)))
    w.declarations.update(dict.fromkeys(function.declarations))
    type_ = llvm_type(dtype, lanes) if lanes != 1 else llvm_type(dtype)
    if lanes == 1:
        operands = [w.op(f"extractelement <1 x {type_}> {v}, i32 0") for v in operands]
    result = w.op(f"call {type_} @{function.symbol}({', '.join(f'{type_} {v}' for v in operands)})")
    if lanes == 1:
        return w.op(f"insertelement <1 x {type_}> poison, {type_} {result}, i32 0")
    return result


def _shuffle(w: Writer, dtype: DType, lanes: int, value: str, picked: str) -> str:
    full, count = llvm_type(dtype, lanes), picked.count(",") + 1
    return w.op(f"shufflevector {full} {value}, {full} poison, <{count} x i32> <{picked}>")


def _pow(at: At, x: str, y: str) -> str:
    if at.dtype.is_float:
        return math_call(at.w, "pow", at.dtype, at.lanes, [x, y])
    symbol = _integer_power(at)
    if at.lanes is None:
        return at.w.op(f"call {at.type} @{symbol}({at.type} {x}, {at.type} {y})")
    full, result = shaped(at.type, at.lanes), "poison"
    for lane in range(at.lanes):
        a, b = (at.w.op(f"extractelement {full} {v}, i32 {lane}") for v in (x, y))
        one = at.w.op(f"call {at.type} @{symbol}({at.type} {a}, {at.type} {b})")
        result = at.w.op(f"insertelement {full} {result}, {at.type} {one}, i32 {lane}")
    return result


def _integer_power(at: At) -> str:
    """Defines x ** y of an integer dtype, by squaring; gives its symbol."""
    t, symbol = at.type, f"sley.pow.{at.dtype.name}"
    negative = "icmp slt" if at.dtype.kind == "int" else "icmp ult"
    at.w.definitions[
        f"""define internal {t} @{symbol}({t} %x, {t} %y) nounwind {{
entry:
  %negative = {negative} {t} %y, 0
  %odd = trunc {t} %y to i1
  %is1 = icmp eq {t} %x, 1
  %ism1 = icmp eq {t} %x, -1
  %unit = select i1 %odd, {t} %x, {t} 1
  %small = select i1 %ism1, {t} %unit, {t} 0
  %inverse = select i1 %is1, {t} 1, {t} %small
  br i1 %negative, label %done, label %turn
turn:
  %p = phi {t} [ 1, %entry ], [ %p2, %turn ]
  %b = phi {t} [ %x, %entry ], [ %b2, %turn ]
  %e = phi {t} [ %y, %entry ], [ %e2, %turn ]
  %bit = trunc {t} %e to i1
  %pb = mul {t} %p, %b
  %p2 = select i1 %bit, {t} %pb, {t} %p
  %b2 = mul {t} %b, %b
  %e2 = lshr {t} %e, 1
  %more = icmp ne {t} %e2, 0
  br i1 %more, label %turn, label %done
done:
  %r = phi {t} [ %inverse, %entry ], [ %p2, %turn ]
  ret {t} %r
}}"""
    ] = None
    return symbol


MATH = (
    "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "erf", "sigmoid", "atan2",
)  # fmt: skip
ON_BITS = ("neg", "abs", "stop_gradient")
RULES: dict[str, Rule] = {
    "neg": _neg,
    "abs": _abs,
    "sign": _sign,
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "round": _rounding("rint"),
    "trunc": _rounding("trunc"),
    "sqrt": _rounding("sqrt"),
    **{name: _math(name) for name in MATH},
    "pow": _pow,
    "bit_not": _bit_not,
    "stop_gradient": lambda at, x: x,
    "add": _arithmetic("fadd", "add", "or"),
    "sub": _arithmetic("fsub", "sub"),
    "mul": _arithmetic("fmul", "mul", "and"),
    "div": _arithmetic("fdiv", ""),
    "floor_div": _floor_div,
    "remainder": _remainder,
    "maximum": _extremum("fcmp ogt", "icmp sgt", "icmp ugt", "or"),
    "minimum": _extremum("fcmp olt", "icmp slt", "icmp ult", "and"),
    "bit_and": _arithmetic("", "and", "and"),
    "bit_or": _arithmetic("", "or", "or"),
    "bit_xor": _arithmetic("", "xor", "xor"),
    "shift_left": _shift_left,
    "shift_right": _shift_right,
    "eq": _comparison("oeq", "eq", "eq"),
    "ne": _comparison("une", "ne", "ne"),
    "lt": _comparison("olt", "slt", "ult"),
    "le": _comparison("ole", "sle", "ule"),
    "gt": _comparison("ogt", "sgt", "ugt"),
    "ge": _comparison("oge", "sge", "uge"),
}
OTHER_FORMS = ("cast", "bitcast", "where", "random_bits")  # several types, attributes: see above
NO_RULE: dict[str, str] = dict.fromkeys(  # elementwise ops without a rule, and why
    ("real", "imag", "complex"), "complex numbers are two real ones before any kernel is made"
)


def known_ops() -> set[str]:
    """Names of the elementwise ops that can be emitted."""
    return {*RULES, *OTHER_FORMS}
