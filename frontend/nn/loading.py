"""`Module.load_state_dict`: all is checked before anything is written."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...ir.dtypes import DType, of_numpy
from ..construct import as_tensor
from ..context import setting
from ..errors import DTypeError, LoadError
from ..tensor import Size, Tensor
from .parameter import UninitializedBuffer, UninitializedParameter

if TYPE_CHECKING:
    from .module import Module


EXTRA_STATE = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and found without a place."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def saved_tensors(module: Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and persistent buffers of this module alone, by name."""
    for name, value in (*module._parameters.items(), *module._buffers.items()):
        if value is not None and name not in module._not_saved:
            yield name, value


def _own_state(module: Module) -> dict[str, Tensor]:
    """All that is saved of a module, and of those below, but extra state."""
    return {
        prefix + name: value
        for prefix, part in _parts(module)
        for name, value in saved_tensors(part)
    }


def _parts(module: Module) -> list[tuple[str, Module]]:
    """The module and all below it, with what their names begin with."""
    named = module.named_modules(remove_duplicate=False)
    return [(f"{name}." if name else "", part) for name, part in named]


def load_state_dict(
    module: Module, state_dict: Any, strict: bool, assign: bool
) -> IncompatibleKeys:
    """Write what `state_dict` (a mapping, or the path of a file of one) holds into the parameters
    and buffers of `module`, in place; with `assign` they take over its memory and dtype.

    Raises:
        LoadError: names are missing or unexpected and `strict`, or a tensor does not fit; nothing
            has been written then, or (where hooks decide afterwards) it has been put back.
        DTypeError: `state_dict` is no mapping.
    """
    if isinstance(state_dict, (str, os.PathLike)):
        from ..saving import load

        state_dict = load(state_dict, map_location="cpu")
    if not isinstance(state_dict, Mapping):
        raise DTypeError(f"a state_dict is a mapping, not a {type(state_dict).__name__}")
    state_dict = OrderedDict(state_dict)
    parts = _parts(module)
    missing: list[str] = []
    unexpected: list[str] = []
    problems: list[str] = []
    for prefix, part in parts:
        for hook in list(part._load_pre_hooks.values()):
            hook.function(part, state_dict, prefix, {}, strict, missing, unexpected, problems)
    own = _own_state(module)
    extras = {
        prefix + EXTRA_STATE: part for prefix, part in parts if _defines(part, "set_extra_state")
    }
    expected = (*own, *extras)
    missing += [name for name in expected if name not in state_dict and name not in missing]
    unexpected += [n for n in state_dict if n not in own and n not in extras]
    for name, value in own.items():
        problem = _misfit(name, value, state_dict[name]) if name in state_dict else None
        if problem is not None:
            problems.append(problem)
    keys = IncompatibleKeys(missing, unexpected)
    hooked = any(part._load_post_hooks for _, part in parts)
    if problems or not hooked:
        _raise_for(module, keys if strict else None, problems)
    present = {name: part for name, part in extras.items() if name in state_dict}
    undo = _Undo(own, present) if hooked or present else None
    try:
        _write(module, parts, state_dict, assign)
        for name, part in present.items():
            part.set_extra_state(state_dict[name])
        for _, part in reversed(parts):
            for hook in list(part._load_post_hooks.values()):
                hook.function(part, keys)
        _raise_for(module, keys if strict else None, [])
    except Exception:
        if undo is not None:
            undo()
        raise
    return keys


def _defines(module: Module, name: str) -> bool:
    """Whether the class of a module defines a method that `Module` only names."""
    from .module import Module

    return getattr(type(module), name) is not getattr(Module, name)


def _raise_for(module: Module, keys: IncompatibleKeys | None, problems: list[str]) -> None:
    """Tell of `keys` and `problems`, if there are any."""
    found = []
    if keys is not None and keys.missing_keys:
        found.append(f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}. ")
    if keys is not None and keys.unexpected_keys:
        found.append(f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}. ")
    found += problems
    if found:
        lines = "\n\t".join(found)
        raise LoadError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{lines}")


def _write(
    module: Module, parts: list[tuple[str, Module]], state_dict: Mapping[str, Any], assign: bool
) -> None:
    """Write a state that fits."""
    with setting(grad_enabled=False):
        for prefix, part in parts:
            part._before_load(state_dict, prefix)
        for name, tensor in _own_state(module).items():
            if name not in state_dict:
                continue
            source = as_tensor(state_dict[name])
            if assign:
                tensor.data = source.detach()
            else:
                tensor.copy_(source)


class _Undo:
    """Puts back what tensors and extra states were when it was made."""

    def __init__(self, tensors: Mapping[str, Tensor], extras: Mapping[str, Module]) -> None:
        with setting(grad_enabled=False):
            self._data = [
                (tensor, tensor.detach(), tensor.detach().clone())
                for tensor in tensors.values()
                if not isinstance(tensor, (UninitializedParameter, UninitializedBuffer))
            ]
        self._extras = [
            (part, deepcopy(part.get_extra_state()))
            for part in extras.values()
            if _defines(part, "get_extra_state")
        ]

    def __call__(self) -> None:
        with setting(grad_enabled=False):
            for tensor, memory, value in self._data:
                memory.copy_(value)
                tensor.data = memory
        for part, state in self._extras:
            part.set_extra_state(state)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _misfit(name: str, tensor: Tensor, value: Any) -> str | None:
    """Why `value` cannot be written into `tensor`."""
    if not isinstance(value, (Tensor, np.ndarray)):
        return (
            f'While copying the parameter named "{name}", expected a tensor or array from '
            f"checkpoint but received {type(value)}"
        )
    waiting = isinstance(tensor, (UninitializedParameter, UninitializedBuffer))
    if not waiting and tuple(value.shape) != tuple(tensor.shape):
        return (
            f"size mismatch for {name}: copying a param with shape {Size(value.shape)} from "
            f"checkpoint, the shape in current model is {tensor.shape}."
        )
    dtype = value.dtype if isinstance(value.dtype, DType) else of_numpy(value.dtype)
    if dtype is None or (dtype.kind == "complex") > (tensor.dtype.kind == "complex"):
        return f"{name} is {value.dtype} in the checkpoint, {tensor.dtype} in current model."
    return None
