"""Parameter groups: their numbers are tensors, so that a changed one recompiles nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from ..context import ambient, setting
from ..epoch import epoch
from ..errors import DTypeError
from ..tensor import Tensor, of_array
from .number import GroupNumber

_SCHEDULED = ("lr",)  # numbers that may pass through 0 and decide nothing


class ParamGroup(MutableMapping[str, Any]):
    """A dict of "params", numbers and options.

    Each number (or tuple of numbers) lives in 0-d float64 tensors. `group["lr"]` gives the number,
    or in a trace the tensor; `group["lr"] = 0.01` writes into the tensor. Options (bools, strings,
    None), and whether a number but "lr" is 0, decide what a step computes, so compiled steps depend
    on them; on the sign, where a step compares with 0.

    Attributes:
        params: the parameters, in order.
        options: options, and for numbers (not for "lr") under "name != 0" whether they are not.
        steps: for each parameter its count of steps, where the optimizer counts.
    """

    reports_reads = True  # to the trace: attributes need no other guard

    def __init__(self, params: list[Tensor], values: Mapping[str, Any]) -> None:
        self.params = params
        self.options: dict[str, Any] = {}
        self.steps: list[Tensor] = []
        self.changed: Callable[[], None] | None = None
        self._numbers: dict[str, tuple[Tensor, ...]] = {}
        self._is_tuple: set[str] = set()
        self._notes: dict[str, Any] = {}
        for name, value in values.items():
            self._define(name, value)

    def _define(self, name: str, value: Any) -> None:
        if not _is_numeric(value):
            self.options[name] = value
            return
        parts = value if isinstance(value, (tuple, list)) else (value,)
        make = _scheduled if name in _SCHEDULED else GroupNumber
        self._numbers[name] = tuple(v if isinstance(v, Tensor) else make(v) for v in parts)
        if isinstance(value, (tuple, list)):
            self._is_tuple.add(name)
        if name not in _SCHEDULED:
            self.options[_flag(name)] = any(float(v) != 0 for v in parts)

    def number(self, name: str) -> Tensor:
        """The tensor that holds a number."""
        return self._numbers[name][0]

    def numbers(self, name: str) -> tuple[Tensor, ...]:
        """The tensors that hold a tuple of numbers."""
        return self._numbers[name]

    def option(self, name: str) -> Any:
        """An option; a compiled step is made again when it changes."""
        if ambient.trace is not None:
            ambient.trace.record_read("attribute", self, "options", self.options)
        return self.options[name]

    def uses(self, name: str) -> bool:
        """Whether a number is not 0."""
        return self.option(_flag(name))

    def trained(self) -> list[Tensor]:
        """The parameters that have a gradient."""
        if ambient.trace is not None:
            ambient.trace.record_read("attribute", self, "params", self.params)
        return [p for p in self.params if p.grad is not None]

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        if name in self._numbers:
            tensors = self._numbers[name]
            found = tensors if ambient.trace is not None else tuple(t.item() for t in tensors)
            return found if name in self._is_tuple else found[0]
        return self.options[name] if name in self.options else self._notes[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "params":
            self.params = list(value)
            epoch.count += 1
        elif name in self._numbers:
            self._write(name, value if isinstance(value, (tuple, list)) else (value,))
        elif name in self.options:
            self._set_option(name, value)
        else:
            self._notes[name] = value

    def _write(self, name: str, values: Any) -> None:
        tensors = self._numbers[name]
        if len(values) != len(tensors):
            raise DTypeError(f"{name} is {len(tensors)} numbers, not {len(values)}")
        with setting(grad_enabled=False):
            for tensor, value in zip(tensors, values, strict=True):
                if tensor is not value:
                    tensor.copy_(value)
        if ambient.trace is None and name not in _SCHEDULED:
            self._set_option(_flag(name), any(t.item() != 0 for t in tensors))
            for tensor in tensors:
                if isinstance(tensor, GroupNumber):
                    tensor.written()

    def _set_option(self, name: str, value: Any) -> None:
        if self.options[name] == value:
            return
        if ambient.trace is not None:
            raise DTypeError(f"the option {name!r} of an optimizer cannot change in a trace")
        self.options[name] = value
        epoch.count += 1
        if self.changed is not None:
            self.changed()

    def __delitem__(self, name: str) -> None:
        del self._notes[name]

    def __iter__(self) -> Iterator[str]:
        yield "params"
        yield from self._numbers
        yield from (name for name in self.options if not name.endswith(" != 0"))
        yield from self._notes

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getstate__(self) -> dict[str, Any]:
        # The optimizer sets it again: a copy of it must not call this one.
        return {**vars(self), "changed": None}

    def __repr__(self) -> str:
        values = {name: self[name] for name in self if name != "params"}
        return f"ParamGroup({len(self.params)} params, {values})"


def _flag(name: str) -> str:
    return f"{name} != 0"


def _is_numeric(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return bool(value) and all(_is_numeric(v) for v in value)
    return isinstance(value, (int, float, Tensor, np.number)) and not isinstance(value, bool)


def _scheduled(value: Any) -> Tensor:
    return of_array(np.array(value, np.float64))


def values_of(group: ParamGroup) -> dict[str, Any]:
    """What a group says besides its parameters."""
    return {name: group[name] for name in group if name != "params"}


def set_values(group: ParamGroup, values: Mapping[str, Any]) -> None:
    """Give a group the numbers and options of `values`."""
    for name, value in values.items():
        if name != "params":
            group[name] = value
