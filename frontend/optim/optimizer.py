"""`Optimizer`: parameter groups, state made up front, numbers that are tensors.

A compiled step reads every number (learning rate, betas, ...) as a 0-d tensor and finds all state
in place from its first call on: a schedule never compiles anew, and the first step is the program
of all the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..context import ambient, no_grad
from ..epoch import epoch
from ..errors import ArgumentError
from ..tensor import Tensor, of_array

State = dict[str, Tensor]


class ParamGroup(dict):
    """The parameters that share numbers: `group["params"]` and the numbers by name.

    `group["lr"] = 0.1` writes into the tensor that holds the number.
    """

    reports_reads = True

    def __init__(self, params: list[Tensor], numbers: Mapping[str, Any]) -> None:
        super().__init__(params=params)
        self._nonzero = SimpleNamespace()
        for name, value in numbers.items():
            super().__setitem__(name, _as_number(name, value))
            self._note_zero(name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        held = self.get(name)
        if isinstance(held, Tensor) and not isinstance(value, Tensor):
            with no_grad():
                held.fill_(value)
        elif isinstance(held, tuple) and isinstance(held[0], Tensor):
            with no_grad():
                for old, new in zip(held, value, strict=True):
                    old.fill_(new)
        else:
            super().__setitem__(name, _as_number(name, value))
            epoch.count += 1
        self._note_zero(name, value)

    def _note_zero(self, name: str, value: Any) -> None:
        """A number that is exactly 0 leaves its term out of the program."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            nonzero = value != 0
            if getattr(self._nonzero, name, None) is not nonzero:
                setattr(self._nonzero, name, nonzero)
                epoch.count += 1

    def uses(self, name: str) -> bool:
        """Whether the number is not 0, or may be another at each call."""
        found = getattr(self._nonzero, name, True)
        if ambient.trace is not None:
            ambient.trace.record_read("attribute", self._nonzero, name, found)
        return bool(found)

    def plain(self) -> dict[str, Any]:
        """The numbers as Python values, without the parameters."""
        return {name: _as_python(value) for name, value in self.items() if name != "params"}


def _as_number(name: str, value: Any) -> Any:
    """A Python number as a 0-d float64 tensor: dtypes of parameters prevail over it."""
    if name == "params" or isinstance(value, (bool, Tensor)) or value is None:
        return value
    if isinstance(value, (int, float)):
        return of_array(np.array(value, np.float64))
    if isinstance(value, (tuple, list)):
        return tuple(_as_number(name, v) for v in value)
    return value


def _as_python(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item()
    return tuple(map(_as_python, value)) if isinstance(value, tuple) else value


class Optimizer:
    """Base of all optimizers.

    A subclass gives `make_state(param, group)`, the state of a parameter before the first step,
    and `update(param, grad, state, group)`, which writes parameter and state in place.

    Args:
        params: tensors, or dicts {"params": tensors, "lr": ...} that override the defaults.
        defaults: the numbers and flags of a group.

    Raises:
        ArgumentError: no parameters, one that is no leaf or occurs twice, an unknown key.
    """

    reports_reads = True

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[ParamGroup] = []
        self.state: dict[Tensor, State] = {}
        groups = list(params) if not isinstance(params, Tensor) else [params]
        if not groups:
            raise ArgumentError("an optimizer needs parameters", hint="pass model.parameters()")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def make_state(self, param: Tensor, group: ParamGroup) -> State:
        raise NotImplementedError

    def update(self, param: Tensor, grad: Tensor, state: State, group: ParamGroup) -> None:
        raise NotImplementedError

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Adds parameters with numbers of their own; their state is made now."""
        found = group["params"]
        tensors = [found] if isinstance(found, Tensor) else list(found)
        for name in group:
            if name != "params" and name not in self.defaults:
                known = ", ".join(self.defaults)
                raise ArgumentError(f"{type(self).__name__} has no {name!r}; it has {known}")
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise ArgumentError(f"an optimizer takes tensors, got {type(tensor).__name__}")
            if not tensor.is_leaf:
                raise ArgumentError("an optimizer takes leaves, this tensor was computed")
            if tensor in self.state:
                raise ArgumentError(f"a parameter {tensor.type} is given twice")
            self.state[tensor] = {}
        numbers = {**self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        made = ParamGroup(tensors, numbers)
        self.param_groups.append(made)
        for tensor in tensors:
            self.state[tensor] = self.make_state(tensor, made)
        epoch.count += 1

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients (or fills them with zeros)."""
        for param in self._params():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                with no_grad():
                    param.grad.zero_()

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Updates every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew; its result is returned.
        """
        loss = closure() if closure is not None else None
        with no_grad():
            for group in self._groups():
                for param in group["params"]:
                    grad = param.grad
                    if grad is not None:
                        self.update(param, grad, self.state[param], group)
        return loss

    def _groups(self) -> list[ParamGroup]:
        if ambient.trace is not None:
            ambient.trace.record_read("attribute", self, "param_count", self.param_count)
        return self.param_groups

    @property
    def param_count(self) -> int:
        """How many parameters there are."""
        return len(self.state)

    def _params(self) -> Iterator[Tensor]:
        return (param for group in self._groups() for param in group["params"])

    def state_dict(self) -> dict[str, Any]:
        """State by the number of the parameter, and groups, in PyTorch's layout. Tensors are not
        copied."""
        numbers = {param: number for number, param in enumerate(self._params())}
        return {
            "state": {numbers[p]: dict(s) for p, s in self.state.items() if s},
            "param_groups": [
                {**group.plain(), "params": [numbers[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what `state_dict()` gave; everything is checked before anything is written.

        Raises:
            ArgumentError: groups, parameters, names or shapes differ.
        """
        groups, params = state_dict["param_groups"], list(self._params())
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ArgumentError("the groups in the state have other numbers of parameters")
        writes: list[tuple[Tensor, Any]] = []
        for number, saved in state_dict["state"].items():
            own = self.state[params[int(number)]]
            if set(own) != set(saved):
                raise ArgumentError(f"state {number} has {sorted(saved)}, expected {sorted(own)}")
            for name, value in saved.items():
                shape = tuple(np.shape(value.array if isinstance(value, Tensor) else value))
                if shape != own[name].type.shape:
                    raise ArgumentError(
                        f"state {number}, {name!r}: shape {shape}, expected {own[name].type.shape}"
                    )
                writes.append((own[name], value))
        with no_grad():
            for target, value in writes:
                target.copy_(value)
        for group, saved in zip(self.param_groups, groups, strict=True):
            for name, value in saved.items():
                if name != "params":
                    group[name] = value

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {value}" for name, value in sorted(group.plain().items())]
        return "\n".join([*lines, ")"])


def check_number(name: str, value: Any, low: float = 0.0, high: float = float("inf")) -> None:
    """Raises `ArgumentError` unless low <= value < high (or value == high == inf)."""
    if isinstance(value, Tensor):
        return
    if not low <= value or (value >= high and high != float("inf")):
        raise ArgumentError(f"{name} is {value}; it must be in [{low}, {high})")


def zeros_like(param: Tensor) -> Tensor:
    """State of the shape of a parameter."""
    return of_array(np.zeros(param.type.shape, param.type.dtype.numpy))


def step_count() -> Tensor:
    """The number of steps so far: a 0-d float32, as PyTorch keeps it."""
    return of_array(np.array(0, np.float32))
