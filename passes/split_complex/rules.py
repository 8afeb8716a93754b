"""What stands for each op of complex numbers on pairs of real values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...ir.dtypes import bool_
from ...ir.graph import Node, Value, full
from ...ir.literal import Literal
from ...ir.ops import elementwise as ew
from ...ir.ops.source import CONSTANT
from . import functions as fn
from . import pair as arithmetic
from .pair import Pair

Operand = Value | Pair
Rule = Callable[[Node, Sequence[Any]], Operand]

# Linear ops that do to both parts what they do to a real value.
PARTWISE = """
    neg add sub stop_gradient where reshape transpose broadcast slice pad concat window unwindow
    update_slice gather scatter reduce_sum cumsum
"""
FUNCTIONS = """
    exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh sigmoid
"""


def partwise(node: Node, operands: Sequence[Any]) -> Pair:
    """The op on the real parts and on the imaginary parts; real operands take part in both."""
    parts = []
    for place in (0, 1):
        chosen = [v[place] if isinstance(v, Pair) else v for v in operands]
        parts.append(node.op(*chosen, **node.attrs))
    return Pair(*parts)


def _of(function: Callable[..., Operand]) -> Rule:
    return lambda node, operands: function(*operands)


def _bilinear(node: Node, operands: Sequence[Any]) -> Pair:
    """A product that sums: four real ones."""
    x, y = operands

    def product(left: Value, right: Value) -> Value:
        return node.op(left, right, **node.attrs)

    return Pair(
        product(x.re, y.re) - product(x.im, y.im), product(x.re, y.im) + product(x.im, y.re)
    )


def _constant(node: Node, operands: Sequence[Any]) -> Pair:
    array = node.attrs["value"].array
    return Pair(*(CONSTANT(value=Literal(part)) for part in (array.real, array.imag)))


def _cast(node: Node, operands: Sequence[Any]) -> Operand:
    (x,), dtype = operands, node.attrs["dtype"]
    if not isinstance(x, Pair):
        wanted = dtype.to_real()
        real = x if x.type.dtype is wanted else ew.CAST(x, dtype=wanted)
        return arithmetic.real_pair(real)
    if dtype is bool_:
        return ew.BIT_OR(*(ew.NE(part, full(part.type, 0)) for part in x))
    parts = [part if part.type.dtype is dtype.to_real() else ew.CAST(part, dtype=dtype.to_real())
             for part in x]  # fmt: skip
    return Pair(*parts) if dtype.is_complex else parts[0]


def _power(node: Node, operands: Sequence[Any]) -> Pair:
    number = _number(node.operands[1])
    exponent = None if number is None else fn.small_integer(number)
    x, y = operands
    return fn.power(x, y) if exponent is None else fn.integer_power(x, exponent)


def _number(value: Value) -> complex | None:
    """The number that every element of `value` is, where that is seen at once."""
    node = value.node
    while node is not None and node.op.name in ("broadcast", "reshape", "cast"):
        node = node.operands[0].node
    if node is None or node.op.name != "constant":
        return None
    array: np.ndarray = node.attrs["value"].array
    return complex(array.flat[0]) if array.size == 1 else None


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(PARTWISE.split(), partwise),
    "constant": _constant,
    "cast": _cast,
    "real": _of(lambda z: z.re),
    "imag": _of(lambda z: z.im),
    "complex": _of(Pair),
    "eq": _of(arithmetic.equal),
    "ne": _of(arithmetic.not_equal),
    "abs": _of(arithmetic.length),
    "mul": _of(arithmetic.multiply),
    "div": _of(arithmetic.divide),
    "pow": _power,
    "dot_general": _bilinear,
    "conv": _bilinear,
    **{name: _of(getattr(fn, name)) for name in FUNCTIONS.split()},
}
