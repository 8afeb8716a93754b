"""Sizes that are not known while a function is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import dims
from ..ir.dims import Dim, Expr

if TYPE_CHECKING:
    from .trace import Trace


class SymInt:
    """An integer expression over the symbolic sizes of a trace.

    Arithmetic with ints gives another one, with floats and `/` a traced number. A comparison is
    decided by the sizes of the example call and recorded as a guard; `int()`, `range()` and
    indexing make the sizes part of the program.
    """

    __slots__ = ("expr", "trace")

    def __init__(self, expr: Expr, trace: Trace) -> None:
        self.expr = expr
        self.trace = trace

    def __repr__(self) -> str:
        return str(self.expr)

    def _of(self, dim: Dim) -> SymInt | int:
        return SymInt(dim, self.trace) if isinstance(dim, Expr) else dim

    def __add__(self, other: Any) -> Any:
        return _arithmetic("add", self, other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return _arithmetic("sub", self, other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return _arithmetic("sub", self, other, lambda a, b: b - a, swap=True)

    def __mul__(self, other: Any) -> Any:
        return _arithmetic("mul", self, other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return _arithmetic("floor_div", self, other, dims.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return _arithmetic("floor_div", self, other, lambda a, b: dims.floordiv(b, a), swap=True)

    def __mod__(self, other: Any) -> Any:
        return _arithmetic("remainder", self, other, dims.mod)

    def __rmod__(self, other: Any) -> Any:
        return _arithmetic("remainder", self, other, lambda a, b: dims.mod(b, a), swap=True)

    def __truediv__(self, other: Any) -> Any:
        return _with_floats("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _with_floats("div", other, self)

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int) and other >= 0:
            return self._of(dims.product((self.expr,) * other))
        return self._number() ** other

    def __rpow__(self, other: Any) -> Any:
        return other ** self._number()

    def __neg__(self) -> Any:
        return self._of(-self.expr)

    def __pos__(self) -> SymInt:
        return self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __eq__(self, other: object) -> bool:
        return self._compare(other, "==")

    def __ne__(self, other: object) -> bool:
        return not self._compare(other, "==")

    def __lt__(self, other: Any) -> bool:
        return self._compare(other, "<")

    def __ge__(self, other: Any) -> bool:
        return not self._compare(other, "<")

    def __gt__(self, other: Any) -> bool:
        return self._compare(other, ">")

    def __le__(self, other: Any) -> bool:
        return not self._compare(other, ">")

    def __bool__(self) -> bool:
        return not self._compare(0, "==")

    def __hash__(self) -> int:
        return hash(self.expr)

    def _compare(self, other: Any, relation: str) -> bool:
        dim = dim_or_none(other)
        if dim is not None:
            return self.trace.decide(self.expr, relation, dim)
        if isinstance(other, float):
            if not math.isfinite(other):
                return {"==": False, "<": other > 0, ">": other < 0}[relation]
            low = math.floor(other)
            if low == other:
                return self.trace.decide(self.expr, relation, low)
            if relation == "==":
                return False
            # n < 2.5 is n < 3, n > 2.5 is n > 2
            return self.trace.decide(self.expr, relation, low + (relation == "<"))
        if relation == "==":
            return False
        raise TypeError(f"cannot order a size and a {type(other).__name__}")

    def _number(self) -> int:
        return self.trace.specialize(self.expr, "a size was used as a Python number")

    def __index__(self) -> int:
        return self._number()

    def __int__(self) -> int:
        return self._number()

    def __float__(self) -> float:
        return float(self._number())


def dim_or_none(value: Any) -> Dim | None:
    """`value` as a dimension, if it is an int or a `SymInt`."""
    if isinstance(value, SymInt):
        return value.expr
    return int(value) if isinstance(value, (int, np.integer)) else None


def _arithmetic(
    name: str,
    number: SymInt,
    other: Any,
    function: Callable[[Dim, Dim], Dim],
    *,
    swap: bool = False,
) -> Any:
    """The op `name` of a size and an int or size, by `function`; with a float, a traced number."""
    dim = dim_or_none(other)
    if dim is not None:
        return number._of(function(number.expr, dim))
    left, right = (other, number) if swap else (number, other)
    return _with_floats(name, left, right)


def _with_floats(name: str, left: Any, right: Any) -> Any:
    """The op `name` as a weak 0-d tensor: what a Python float is in a trace."""
    if not all(isinstance(x, (int, float, SymInt)) for x in (left, right)):
        return NotImplemented
    from .apply import elementwise  # the layer above: sizes are known to tensors

    return elementwise(name, left, right, promote="float" if name == "div" else "default")
