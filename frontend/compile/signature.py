"""Arguments as leaves: what is data, and what is part of the signature."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from ...ir.dtypes import of_numpy
from ..context import ambient
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor, of_array
from ..trace import has_history
from ..trees import flatten_tree

_TENSORS = {Tensor}


class Static:
    """A leaf that is part of the signature: compared by type and value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Static)
            and type(other.value) is type(self.value)
            and bool(other.value == self.value)
        )

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


def flatten(args: tuple, kwargs: dict[str, Any]) -> tuple[list[Any], Hashable]:
    """The leaves of a call's arguments, and their structure.

    Arrays become tensors over the same memory. A leaf is a Tensor, a Python number (int or float)
    or a `Static`.

    Raises:
        ArgumentError: a leaf that is neither data nor hashable.
    """
    if not kwargs and {*map(type, args)} <= _TENSORS:
        return list(args), len(args)
    leaves, structure = flatten_tree((args, kwargs))
    return [x if type(x) is Tensor else _leaf(x) for x in leaves], structure


def _leaf(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if type(value) is float or (type(value) is int and -(1 << 63) <= value < 1 << 63):
        return value
    if isinstance(value, np.generic):
        return _from_array(np.asarray(value))
    try:
        hash(value)
    except TypeError:
        raise ArgumentError(
            f"a compiled function cannot take a {type(value).__name__} as an argument",
            hint="pass tensors, arrays, numbers, hashable values, or tuples, lists, dicts and "
            "dataclasses of these",
        ) from None
    return Static(value)


def _from_array(array: np.ndarray) -> Tensor:
    if of_numpy(array.dtype) is None:
        raise DTypeError(f"sley has no dtype for numpy's {array.dtype}", hint="use astype() first")
    if any(s % array.itemsize for s in array.strides):
        array = array.copy()
    return of_array(array)


def _layout(tensor: Tensor) -> Hashable:
    """Strides, where the memory is not dense: they decide what is a view."""
    array = tensor._array
    assert array is not None
    return array.flags.c_contiguous or array.strides


_NO_GRADIENT = ((), False, False)


def _requires(tensor: Tensor) -> Hashable:
    """Whether a gradient is wanted, of a leaf or of one with a history, and the hooks that it
    passes."""
    if not (tensor._hooks or tensor._requires or tensor._tracked or tensor.base is not None):
        return _NO_GRADIENT
    hooks = tuple(tensor._hooks.values()) if tensor._hooks else ()
    return hooks, tensor._requires, ambient.context.grad_enabled and has_history(tensor)


def call_key(leaves: list[Any], structure: Hashable, numbers: frozenset[int]) -> tuple:
    """What decides which programs may serve a call. `numbers`: leaves whose number counts."""
    key: list[Any] = [structure, ambient.context]
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            key += (leaf.spec, _requires(leaf), _layout(leaf))
        elif type(leaf) is Static:
            key.append(leaf)
        elif position in numbers:
            key.append((type(leaf), repr(leaf)))
        else:
            key.append(type(leaf))
    return tuple(key)


def family_key(leaves: list[Any], structure: Hashable) -> tuple:
    """As `call_key` with sizes and numbers left out: calls that may share one program."""
    key: list[Any] = [structure, ambient.context]
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            key.append((leaf.spec.dtype, leaf.spec.ndim, _requires(leaf), _layout(leaf)))
        else:
            key.append(leaf if type(leaf) is Static else type(leaf))
    return tuple(key)
