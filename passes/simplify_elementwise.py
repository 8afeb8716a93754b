"""Simplifications of elementwise ops; each takes operands and attributes, and gives a value that
is equal to the op's result, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..ir.dims import Dim
from ..ir.dtypes import (
    SIGNED,
    UNSIGNED,
    DType,
    bf16,
    bool_,
    f8e4m3fn,
    f8e5m2,
    f16,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
)
from ..ir.graph import Value
from ..ir.ops import elementwise as ew
from ..ir.ops.base import Op
from ..ir.ops.view import BROADCAST
from .uniform import filled, is_number, uniform

Operands = tuple[Value, ...]
Attrs = Mapping[str, Any]
Simplification = Callable[[Operands, Attrs], Value | None]

# dtypes that hold every value of the key.
EXACT: dict[DType, tuple[DType, ...]] = {
    bool_: (*UNSIGNED, *SIGNED, f16, bf16, f32, f64),
    u8: (u16, u32, u64, i16, i32, i64, f16, bf16, f32, f64),
    u16: (u32, u64, i32, i64, f32, f64),
    u32: (u64, i64, f64),
    i8: (i16, i32, i64, f16, bf16, f32, f64),
    i16: (i32, i64, f32, f64),
    i32: (i64, f64),
    f8e4m3fn: (f16, bf16, f32, f64),
    f8e5m2: (f16, bf16, f32, f64),
    f16: (f32, f64),
    bf16: (f32, f64),
    f32: (f64,),
}


def narrowed(op: Op, operands: Operands, attrs: Attrs) -> Value | None:
    """An elementwise op of equally broadcast values: computed before they are broadcast.

    exp(broadcast(x)) -> broadcast(exp(x)); numbers count as broadcast from anything.
    """
    form: tuple[tuple[Dim, ...], tuple[int, ...]] | None = None
    broadcasts = False
    for operand in operands:
        node = operand.node
        if node is None:
            return None
        if node.op is not BROADCAST:
            if uniform(operand) is None:
                return None
            continue
        broadcasts = True
        source = node.operands[0].type.shape
        if source and form is not None and form != (source, node.attrs["dims"]):
            return None
        if source:
            form = (source, node.attrs["dims"])
    if not broadcasts:
        return None
    shape, dims = form or ((), ())
    small = [_source(operand, shape) for operand in operands]
    return BROADCAST(op(*small, **attrs), shape=operands[0].type.shape, dims=dims)


def _source(value: Value, shape: tuple[Dim, ...]) -> Value:
    """What `value` repeats, a broadcast or one number, as a value of `shape`."""
    number = uniform(value)
    if number is not None:
        return filled(value.type.with_shape(shape), number)
    assert value.node is not None
    source = value.node.operands[0]
    return source if source.type.shape == shape else BROADCAST(source, shape=shape, dims=())


def _argument(value: Value, op: Op) -> Value | None:
    """x where `value` is op(x), else None."""
    return value.node.operands[0] if value.node is not None and value.node.op is op else None


def _involution(op: Op) -> Simplification:
    return lambda operands, attrs: _argument(operands[0], op)


def _abs(operands: Operands, attrs: Attrs) -> Value | None:
    (x,) = operands
    if _argument(x, ew.ABS) is not None and x.type.dtype.is_float:
        return x
    inner = _argument(x, ew.NEG)
    return None if inner is None else ew.ABS(inner)


def _add(operands: Operands, attrs: Attrs) -> Value | None:
    for x, y in (operands, operands[::-1]):
        # x + 0 is not x for x = -0, but x + -0 is.
        if is_number(y, 0, negative_zero=True):
            return x
        negated = _argument(y, ew.NEG)
        if negated is not None:
            return x - negated
    return None


def _sub(operands: Operands, attrs: Attrs) -> Value | None:
    x, y = operands
    if is_number(y, 0):
        return x
    if x is y and not x.type.dtype.is_float:
        return filled(x.type, np.zeros((), x.type.dtype.numpy))
    negated = _argument(y, ew.NEG)
    return None if negated is None else x + negated


def _mul(operands: Operands, attrs: Attrs) -> Value | None:
    kind = operands[0].type.dtype.kind
    for x, y in (operands, operands[::-1]):
        if is_number(y, 1):
            return x
        if kind in ("float", "int") and is_number(y, -1):
            return -x
        if kind in ("int", "uint") and is_number(y, 0):
            return y
    left, right = (_argument(v, ew.NEG) for v in operands)
    return left * right if left is not None and right is not None else None


def _div(operands: Operands, attrs: Attrs) -> Value | None:
    """x / 1 and x / 2**k, whose reciprocal is exact."""
    x, y = operands
    number = uniform(y)
    if number is None:
        return None
    if number == 1:
        return x
    fraction, _ = np.frexp(np.float64(number))
    inverse = 1 / np.float64(number) if number != 0 else np.float64(0)
    info = np.finfo(x.type.dtype.numpy) if x.type.dtype not in (f16, bf16) else None
    normal = info is not None and float(info.tiny) <= abs(inverse) <= float(info.max)
    if abs(fraction) != 0.5 or not normal:
        return None
    return x * filled(y.type, np.asarray(inverse).astype(x.type.dtype.numpy))


def _pow(operands: Operands, attrs: Attrs) -> Value | None:
    """Whole exponents of at most 3. Narrow floats would round in between, so only the square."""
    x, y = operands
    number = uniform(y)
    if number is None:
        return None
    if number == 0:
        return filled(x.type, np.ones((), x.type.dtype.numpy))
    if number == 1:
        return x
    if number == 2:
        return x * x
    if number == 3 and not x.type.dtype.is_low_precision:
        return x * x * x
    if number == -1 and x.type.dtype.is_float:
        return 1 / x
    return None


def _same(operands: Operands, attrs: Attrs) -> Value | None:
    return operands[0] if operands[0] is operands[1] else None


def _bit_and(operands: Operands, attrs: Attrs) -> Value | None:
    for x, y in (operands, operands[::-1]):
        if is_number(y, 0):
            return y
        if x.type.dtype is bool_ and is_number(y, 1):
            return x
    return _same(operands, attrs)


def _bit_or(operands: Operands, attrs: Attrs) -> Value | None:
    for x, y in (operands, operands[::-1]):
        if is_number(y, 0):
            return x
        if x.type.dtype is bool_ and is_number(y, 1):
            return y
    return _same(operands, attrs)


def _bit_xor(operands: Operands, attrs: Attrs) -> Value | None:
    for x, y in (operands, operands[::-1]):
        if is_number(y, 0):
            return x
    return None


def _shift(operands: Operands, attrs: Attrs) -> Value | None:
    return operands[0] if is_number(operands[1], 0) else None


def _where(operands: Operands, attrs: Attrs) -> Value | None:
    condition, x, y = operands
    if x is y:
        return x
    known = uniform(condition)
    if known is not None:
        return x if known else y
    opposite = _argument(condition, ew.BIT_NOT)
    return None if opposite is None else ew.WHERE(opposite, y, x)


def _cast(operands: Operands, attrs: Attrs) -> Value | None:
    (x,), dtype = operands, attrs["dtype"]
    if x.type.dtype is dtype:
        return x
    inner = _argument(x, ew.CAST)
    if inner is None or x.type.dtype not in EXACT.get(inner.type.dtype, ()):
        return None
    return ew.CAST(inner, dtype=dtype)


def _bitcast(operands: Operands, attrs: Attrs) -> Value | None:
    (x,), dtype = operands, attrs["dtype"]
    if x.type.dtype is dtype:
        return x
    inner = _argument(x, ew.BITCAST)
    return None if inner is None else ew.BITCAST(inner, dtype=dtype)


ELEMENTWISE: dict[str, Simplification] = {
    "neg": _involution(ew.NEG),
    "bit_not": _involution(ew.BIT_NOT),
    "abs": _abs,
    "stop_gradient": lambda operands, attrs: operands[0],
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "maximum": _same,
    "minimum": _same,
    "bit_and": _bit_and,
    "bit_or": _bit_or,
    "bit_xor": _bit_xor,
    "shift_left": _shift,
    "shift_right": _shift,
    "where": _where,
    "cast": _cast,
    "bitcast": _bitcast,
}
