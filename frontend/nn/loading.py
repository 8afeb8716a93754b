"""`Module.load_state_dict`: all is checked before anything is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
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


def load_state_dict(
    module: Module, state_dict: Any, strict: bool, assign: bool
) -> IncompatibleKeys:
    """Write what `state_dict` (a mapping, or the path of a file of one) holds into the parameters
    and buffers of `module`, in place; with `assign` they take over its memory and dtype.

    Raises:
        LoadError: names are missing or unexpected and `strict`, or a tensor does not fit; nothing
            has been written then.
        DTypeError: `state_dict` is no mapping.
    """
    if isinstance(state_dict, (str, os.PathLike)):
        from ..saving import load

        state_dict = load(state_dict)
    if not isinstance(state_dict, Mapping):
        raise DTypeError(f"a state_dict is a mapping, not a {type(state_dict).__name__}")
    own = module.state_dict(keep_vars=True)
    missing = [name for name in own if name not in state_dict]
    unexpected = [name for name in state_dict if name not in own]
    problems = []
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
    found = {name: state_dict[name] for name in own if name in state_dict}
    for name, value in found.items():
        problem = _misfit(name, own[name], value)
        if problem is not None:
            problems.append(problem)
    if problems:
        lines = "\n\t".join(problems)
        raise LoadError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{lines}")
    with setting(grad_enabled=False):
        for prefix, part in module.named_modules():
            part._before_load(state_dict, f"{prefix}." if prefix else "")
        own = module.state_dict(keep_vars=True)
        for name, value in found.items():
            source = as_tensor(value)
            if assign:
                own[name].data = source.detach()
            else:
                own[name].copy_(source)
    return IncompatibleKeys(missing, unexpected)


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
