"""Gradients of elementwise ops.

At ties and kinks: abs and sign have slope 0 at 0; maximum and minimum give half to each of two
equal operands; floor, ceil, round, trunc, sign and floor_div have slope 0 everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...ir.graph import Node, Value, full
from ...ir.ops import elementwise as ew
from .rule import Cotangent, NotDifferentiable, Rule, conj, sole, zeros

Unary = Callable[[Value, Value, Value], Value]  # (cotangent, operand, result)


def _unary(slope: Unary) -> Rule:
    def rule(node: Node, cotangents: Sequence[Value | None]) -> Sequence[Cotangent]:
        g = sole(cotangents)
        assert g is not None
        return (slope(g, node.operands[0], node.results[0]),)

    return rule


def _binary(left: Callable[..., Value], right: Callable[..., Value]) -> Rule:
    """`left` and `right` take (cotangent, x, y, result) and give the cotangents of x and y."""

    def rule(node: Node, cotangents: Sequence[Value | None]) -> Sequence[Cotangent]:
        g, (x, y), (z,) = sole(cotangents), node.operands, node.results
        return (lambda: left(g, x, y, z), lambda: right(g, x, y, z))

    return rule


def _zero(g: Value, x: Value, y: Value) -> Value:
    return zeros(x.type)


def _pow_base(g: Value, x: Value, y: Value, z: Value) -> Value:
    """g * y * x**(y - 1), and 0 for x**0 at x = 0 (where the plain form is 0 * inf)."""
    nought = zeros(x.type)
    flat = ew.BIT_AND(ew.EQ(x, nought), ew.EQ(y, nought))
    return g * conj(y * ew.POW(ew.WHERE(flat, full(x.type, 1), x), y - 1))


def _pow_exponent(g: Value, x: Value, y: Value, z: Value) -> Value:
    """g * x**y * log(x), and 0 at x = 0, y >= 0 (where the plain form is 0 * -inf)."""
    size = ew.REAL(y) if y.type.dtype.is_complex else y
    flat = ew.BIT_AND(ew.EQ(x, zeros(x.type)), ew.GE(size, zeros(size.type)))
    return g * conj(z * ew.LOG(ew.WHERE(flat, full(x.type, 1), x)))


def _abs(g: Value, x: Value, y: Value) -> Value:
    """g times the direction of x, 0 at 0."""
    if not x.type.dtype.is_complex:
        return g * ew.SIGN(x)
    length = ew.WHERE(ew.EQ(y, zeros(y.type)), full(y.type, 1), y)
    return ew.COMPLEX(g * (ew.REAL(x) / length), g * (ew.IMAG(x) / length))


def _squared(x: Value, y: Value) -> Value:
    """x*x + y*y, and 1 at the origin, so that an angle is flat there."""
    square = x * x + y * y
    return ew.WHERE(ew.EQ(square, zeros(x.type)), full(x.type, 1), square)


def _extreme(loses: ew.Op) -> Rule:
    """Of maximum and minimum: `loses(x, y)` says where x is not the result."""

    def side(g: Value, x: Value, y: Value) -> Value:
        return ew.WHERE(ew.EQ(x, y), g * 0.5, ew.WHERE(loses(x, y), zeros(g.type), g))

    return _binary(lambda g, x, y, z: side(g, x, y), lambda g, x, y, z: side(g, y, x))


def _where(node: Node, cotangents: Sequence[Value | None]) -> Sequence[Cotangent]:
    g, condition = sole(cotangents), node.operands[0]
    nought = zeros(g.type)
    return (
        None,
        lambda: ew.WHERE(condition, g, nought),
        lambda: ew.WHERE(condition, nought, g),
    )


def _cast(g: Value, x: Value, y: Value) -> Value:
    return ew.CAST(g, dtype=x.type.dtype)


def _nothing(node: Node, cotangents: Sequence[Value | None]) -> Sequence[Cotangent]:
    return (None,)


_LN2, _LN10 = math.log(2.0), math.log(10.0)
_BOOL = NotDifferentiable("its result is a bool")
_BITS = NotDifferentiable("it works on bits")

ELEMENTWISE: dict[str, Rule | NotDifferentiable] = {
    "neg": _unary(lambda g, x, y: -g),
    "abs": _unary(_abs),
    "sign": _unary(_zero),
    "floor": _unary(_zero),
    "ceil": _unary(_zero),
    "round": _unary(_zero),
    "trunc": _unary(_zero),
    "sqrt": _unary(lambda g, x, y: g / (conj(y) * 2)),
    "rsqrt": _unary(lambda g, x, y: g * conj(y * y * y) * -0.5),
    "exp": _unary(lambda g, x, y: g * conj(y)),
    "exp2": _unary(lambda g, x, y: g * conj(y) * _LN2),
    "expm1": _unary(lambda g, x, y: g * conj(y + 1)),
    "log": _unary(lambda g, x, y: g / conj(x)),
    "log2": _unary(lambda g, x, y: g / (conj(x) * _LN2)),
    "log10": _unary(lambda g, x, y: g / (conj(x) * _LN10)),
    "log1p": _unary(lambda g, x, y: g / conj(x + 1)),
    "sin": _unary(lambda g, x, y: g * conj(ew.COS(x))),
    "cos": _unary(lambda g, x, y: -(g * conj(ew.SIN(x)))),
    "tan": _unary(lambda g, x, y: g * conj(y * y + 1)),
    "asin": _unary(lambda g, x, y: g * conj(ew.RSQRT(1 - x * x))),
    "acos": _unary(lambda g, x, y: -(g * conj(ew.RSQRT(1 - x * x)))),
    "atan": _unary(lambda g, x, y: g / conj(x * x + 1)),
    "sinh": _unary(lambda g, x, y: g * conj(ew.COSH(x))),
    "cosh": _unary(lambda g, x, y: g * conj(ew.SINH(x))),
    "tanh": _unary(lambda g, x, y: g * conj(1 - y * y)),
    "erf": _unary(lambda g, x, y: g * (ew.EXP(-(x * x)) * (2 / math.sqrt(math.pi)))),
    "sigmoid": _unary(lambda g, x, y: g * conj((1 - y) * y)),
    "bit_not": _BITS,
    "real": _unary(lambda g, x, y: ew.COMPLEX(g, zeros(g.type))),
    "imag": _unary(lambda g, x, y: ew.COMPLEX(zeros(g.type), g)),
    "complex": _binary(lambda g, x, y, z: ew.REAL(g), lambda g, x, y, z: ew.IMAG(g)),
    "stop_gradient": _nothing,
    "cast": _unary(_cast),
    "bitcast": _BITS,
    "add": _binary(lambda g, x, y, z: g, lambda g, x, y, z: g),
    "sub": _binary(lambda g, x, y, z: g, lambda g, x, y, z: -g),
    "mul": _binary(lambda g, x, y, z: g * conj(y), lambda g, x, y, z: g * conj(x)),
    "div": _binary(lambda g, x, y, z: g / conj(y), lambda g, x, y, z: -(g / conj(y)) * conj(z)),
    "floor_div": _binary(
        lambda g, x, y, z: zeros(x.type),
        lambda g, x, y, z: zeros(y.type),
    ),
    "remainder": _binary(lambda g, x, y, z: g, lambda g, x, y, z: -(g * ew.FLOOR_DIV(x, y))),
    "pow": _binary(_pow_base, _pow_exponent),
    "atan2": _binary(
        lambda g, y, x, z: g * (x / _squared(x, y)),
        lambda g, y, x, z: -(g * (y / _squared(x, y))),
    ),
    "maximum": _extreme(ew.LT),
    "minimum": _extreme(ew.GT),
    "bit_and": _BITS,
    "bit_or": _BITS,
    "bit_xor": _BITS,
    "shift_left": _BITS,
    "shift_right": _BITS,
    "eq": _BOOL,
    "ne": _BOOL,
    "lt": _BOOL,
    "le": _BOOL,
    "gt": _BOOL,
    "ge": _BOOL,
    "where": _where,
}
