"""Layers that put elements around the last axes."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..tensor import Tensor
from . import functional as F
from .functional.arguments import per_axis
from .module import Module

_FORM = ("", "(left, right)", "(left, right, top, bottom)",
         "(left, right, top, bottom, front, back)")  # fmt: skip
_WHAT = {
    "Zero": ("constant", "Zeros around"),
    "Reflection": ("reflect", "What lies within, mirrored at its edges, around"),
    "Replication": ("replicate", "The elements of the edges repeated around"),
    "Circular": ("circular", "What lies at the other end around"),
}


class _Pad(Module):
    """`padding` is one number for all sides or the numbers of each, the last axis first."""

    _axes: int
    _mode = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = per_axis(padding, 2 * self._axes, "padding")

    def _check(self, input: Tensor) -> None:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ShapeError(
                f"{type(self).__name__} of {input.spec}: it takes {self._axes + 1} or "
                f"{self._axes + 2} axes",
                hint="the input is [N, C, ...] or [C, ...]",
            )

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


def _pad(kind: str, axes: int) -> type[_Pad]:
    mode, what = _WHAT[kind]
    doc = f"{what} the last {axes} axes; `padding` is one number or {_FORM[axes]}."
    members = {"_axes": axes, "_mode": mode, "__doc__": doc, "__module__": __name__}
    return type(f"{kind}Pad{axes}d", (_Pad,), members)


ZeroPad1d, ZeroPad2d, ZeroPad3d = (_pad("Zero", n) for n in (1, 2, 3))
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = (_pad("Reflection", n) for n in (1, 2, 3))
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = (_pad("Replication", n) for n in (1, 2, 3))
CircularPad1d, CircularPad2d, CircularPad3d = (_pad("Circular", n) for n in (1, 2, 3))


class ConstantPad1d(_Pad):
    """A number around the last axis; `padding` is one number or (left, right)."""

    _axes = 1

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """A number around the last two axes; `padding` is one number or (left, right, top, bottom)."""

    _axes = 2


class ConstantPad3d(ConstantPad1d):
    """A number around the last three axes; `padding` is one number or (left, right, top, bottom,
    front, back)."""

    _axes = 3
