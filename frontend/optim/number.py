"""A number of a parameter group: a tensor, so that a changed one recompiles nothing."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..context import ambient
from ..epoch import epoch
from ..tensor import Tensor, of_array


class GroupNumber(Tensor):
    """A 0-d float64 tensor that knows its sign outside of traces: a compiled step may branch on
    whether the number is 0 (`if group["weight_decay"] != 0`), and is made again when that changes.

    Attributes:
        known_sign: 1, 0, -1, or NaN.
    """

    __slots__ = ("__dict__",)

    def __init__(self, value: Any) -> None:
        super().__init__(of_array(np.array(value, np.float64)))
        self.known_sign = float(np.sign(float(value)))

    def written(self) -> None:
        """Note the sign after a write outside of traces."""
        sign = float(np.sign(self.item()))
        if sign != self.known_sign:
            self.known_sign = sign
            epoch.count += 1

    __hash__ = Tensor.__hash__

    def __bool__(self) -> bool:
        return self._sign() != 0 if ambient.trace is not None else bool(self.item())

    def _sign(self) -> float:
        assert ambient.trace is not None
        ambient.trace.record_read("attribute", self, "known_sign", self.known_sign)
        return self.known_sign


def _with_zero(name: str, compare: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    general = getattr(Tensor, name)

    def compared(self: GroupNumber, other: Any) -> Any:
        if ambient.trace is not None and isinstance(other, (int, float)) and other == 0:
            return compare(self._sign(), 0)
        return general(self, other)

    compared.__name__ = name
    return compared


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(GroupNumber, f"__{_name}__", _with_zero(f"__{_name}__", getattr(operator, _name)))
