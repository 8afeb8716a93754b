"""The operators of `Tensor`: `a + b`, `a < b`, `a @ b` is elsewhere (a contraction)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.ops import OPS
from . import inplace
from .apply import elementwise
from .autocast import autocasts
from .construct import as_tensor
from .symint import SymInt
from .tensor import Tensor

_NUMBERS = (bool, int, float, complex, SymInt)


def _operand(value: Any) -> Any:
    """`value` if it can stand beside a tensor, else None. numpy scalars are 0-d tensors."""
    if isinstance(value, (Tensor, *_NUMBERS)):
        return value
    if hasattr(value, "__array__"):
        return as_tensor(value)
    return None


def _binary(
    name: str, promote: str = "default", swap: bool = False, autocast_as: str = ""
) -> Callable[..., Any]:
    op = OPS[name]

    def operator(self: Tensor, other: Any) -> Any:
        value = other if type(other) is Tensor else _operand(other)
        if value is None:
            return NotImplemented
        if swap:
            return elementwise(op, value, self, promote=promote)
        return elementwise(op, self, value, promote=promote)

    if not autocast_as:
        return operator
    operator.__name__ = autocast_as  # under autocast the operator does what that function does
    return autocasts(operator)


def _inplace(function: Callable[..., Tensor]) -> Callable[..., Any]:
    def operator(self: Tensor, other: Any) -> Any:
        value = _operand(other)
        # A Python number in a trace is not a variable: `n += 1` binds a new one.
        if value is None or self._weak:
            return NotImplemented
        return function(self, value)

    return operator


def _negate(self: Tensor) -> Tensor:
    return elementwise("neg", self)


def _positive(self: Tensor) -> Tensor:
    return self


def _absolute(self: Tensor) -> Tensor:
    return elementwise("abs", self)


def _invert(self: Tensor) -> Tensor:
    return elementwise("bit_not", self)


OPERATORS: dict[str, Callable[..., Any]] = {
    "__add__": _binary("add"),
    "__radd__": _binary("add", swap=True),
    "__iadd__": _inplace(inplace.add_),
    "__sub__": _binary("sub"),
    "__rsub__": _binary("sub", swap=True),
    "__isub__": _inplace(inplace.sub_),
    "__mul__": _binary("mul"),
    "__rmul__": _binary("mul", swap=True),
    "__imul__": _inplace(inplace.mul_),
    "__truediv__": _binary("div", "float"),
    "__rtruediv__": _binary("div", "float", swap=True, autocast_as="reciprocal"),
    "__itruediv__": _inplace(inplace.div_),
    "__floordiv__": _binary("floor_div"),
    "__rfloordiv__": _binary("floor_div", swap=True),
    "__ifloordiv__": _inplace(inplace.floor_divide_),
    "__mod__": _binary("remainder"),
    "__rmod__": _binary("remainder", swap=True),
    "__imod__": _inplace(inplace.remainder_),
    "__pow__": _binary("pow", autocast_as="pow"),
    "__rpow__": _binary("pow", swap=True, autocast_as="pow"),
    "__ipow__": _inplace(inplace.pow_),
    "__and__": _binary("bit_and"),
    "__rand__": _binary("bit_and", swap=True),
    "__iand__": _inplace(inplace.bitwise_and_),
    "__or__": _binary("bit_or"),
    "__ror__": _binary("bit_or", swap=True),
    "__ior__": _inplace(inplace.bitwise_or_),
    "__xor__": _binary("bit_xor"),
    "__rxor__": _binary("bit_xor", swap=True),
    "__ixor__": _inplace(inplace.bitwise_xor_),
    "__lshift__": _binary("shift_left"),
    "__rlshift__": _binary("shift_left", swap=True),
    "__ilshift__": _inplace(inplace.shift_left_),
    "__rshift__": _binary("shift_right"),
    "__rrshift__": _binary("shift_right", swap=True),
    "__irshift__": _inplace(inplace.shift_right_),
    "__eq__": _binary("eq"),
    "__ne__": _binary("ne"),
    "__lt__": _binary("lt"),
    "__le__": _binary("le"),
    "__gt__": _binary("gt"),
    "__ge__": _binary("ge"),
    "__neg__": _negate,
    "__pos__": _positive,
    "__abs__": _absolute,
    "__invert__": _invert,
}
