"""Arguments as leaves: what is data, and what is part of the signature."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import optree

from ...ir.dtypes import of_numpy
from ..context import ambient
from ..errors import ArgumentError, DTypeError
from ..nn.parameter import Parameter
from ..tensor import Tensor, of_array
from ..trace import has_history
from ..trees import flatten_tree
from .unpacking import Unpack, unpacking

_NUMBER = {float: np.float64, int: np.int64}
_TENSORS = {Tensor}
# Types of leaves: none of them is a tree, so a list of such has the structure that was looked for.
_LEAVES = {Tensor, Parameter, np.ndarray, float, int, bool, str}
_MAX_STRUCTURES = 8  # functions that take arguments apart which are tried one after the other
_MAX_KINDS = 1024
# By the outermost types and names of arguments: structures met, and what takes them apart.
_known: dict[tuple[Any, ...], list[tuple[Hashable, Unpack]]] = {}


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


def recognise(
    args: tuple, kwargs: dict[str, Any], numbers: frozenset[int]
) -> tuple[Sequence[Any], tuple]:
    """The leaves of a call's arguments, and its `call_key`, which begins with their structure.

    Arrays become tensors over the same memory. A leaf is a Tensor, a Python number (int or float)
    or a `Static`.

    Raises:
        ArgumentError: a leaf that is neither data nor hashable.
    """
    if not kwargs and {*map(type, args)} <= _TENSORS:
        return args, call_key(args, len(args), numbers)
    for known, unpack in _known.get(_kind(args, kwargs), ()):
        found = unpack(args, kwargs)
        if found is not None and {*map(type, found)} <= _LEAVES:
            structure: Hashable = known
            break
    else:
        found, structure = flatten_tree((args, kwargs))
        _remember(_kind(args, kwargs), structure)
    leaves = [x if type(x) is Tensor else _leaf(x) for x in found]
    return leaves, call_key(leaves, structure, numbers)


def taken_apart(
    args: tuple, kwargs: dict[str, Any]
) -> Iterator[tuple[Hashable, Unpack, Sequence[Any]]]:
    """Structures met before that a call's arguments have, what took them apart, and the leaves
    found; where one of these is a tree itself, it is another structure."""
    for structure, unpack in _known.get(_kind(args, kwargs), ()):
        found = unpack(args, kwargs)
        if found is not None:
            yield structure, unpack, found


def _kind(args: tuple, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    return (*map(type, args), *kwargs, *map(type, kwargs.values()))


def _remember(kind: tuple[Any, ...], structure: optree.PyTreeSpec) -> None:
    """Makes later calls of this structure faster, where it is one of few."""
    if len(_known) >= _MAX_KINDS:
        _known.clear()
    structures = _known.setdefault(kind, [])
    if len(structures) < _MAX_STRUCTURES and all(s != structure for s, _ in structures):
        unpack = unpacking(structure)
        if unpack is not None:
            structures.append((structure, unpack))


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
    """Strides, where the memory is not dense: they decide what is a view; and the GPU, if it is
    of one."""
    array = tensor._array
    if array is None:
        return tensor.device, tensor.is_contiguous() or tensor.strides()
    if not array.flags.c_contiguous:
        return array.strides
    if not tensor.path:
        tensor.storage.locate()
    return True


_NO_GRADIENT = ((), False, False)


def _requires(tensor: Tensor) -> Hashable:
    """Whether a gradient is wanted, of a leaf or of one with a history, and the hooks that it
    passes."""
    if not (tensor._hooks or tensor._requires or tensor._tracked or tensor.base is not None):
        return _NO_GRADIENT
    hooks = tuple(tensor._hooks.values()) if tensor._hooks else ()
    return hooks, tensor._requires, ambient.context.grad_enabled and has_history(tensor)


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is known to be a dense storage, without a gradient."""
    return not (
        tensor.path
        or tensor._requires
        or tensor._tracked
        or tensor._hooks
        or tensor.base is not None
        or not tensor.storage.dense
    )


def call_key(leaves: Sequence[Any], structure: Hashable, numbers: frozenset[int]) -> tuple:
    """What decides which programs may serve a call. `numbers`: leaves whose number counts.

    A tensor that is a dense storage, without a gradient, stands by its type alone.
    """
    key: list[Any] = [structure, ambient.context]
    for position, leaf in enumerate(leaves):
        if type(leaf) is Tensor and _is_plain(leaf):
            key.append(leaf.spec)
        elif isinstance(leaf, Tensor):
            requires, layout = _requires(leaf), _layout(leaf)
            is_plain = requires is _NO_GRADIENT and layout is True and not leaf.path
            key.append(leaf.spec if is_plain else (leaf.spec, requires, layout))
        elif type(leaf) is Static:
            key.append(leaf)
        elif position in numbers:
            key.append((type(leaf), repr(leaf)))
        else:
            key.append(type(leaf))
    return tuple(key)


def family_key(leaves: Sequence[Any], structure: Hashable) -> tuple:
    """As `call_key` with sizes and numbers left out: calls that may share one program."""
    key: list[Any] = [structure, ambient.context]
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            key.append((leaf.spec.dtype, leaf.spec.ndim, _requires(leaf), _layout(leaf)))
        else:
            key.append(leaf if type(leaf) is Static else type(leaf))
    return tuple(key)


def array_of(leaf: Any) -> np.ndarray:
    """The elements of a leaf that is data, on the processor."""
    return leaf.array if isinstance(leaf, Tensor) else np.asarray(leaf, _NUMBER[type(leaf)])


def dense_array(leaf: Any, position: int, is_written: bool) -> np.ndarray:
    """As `array_of`, in row-major order without gaps; argument number `position`.

    Raises:
        ArgumentError: it is to be written, and its memory is read-only.
    """
    array = array_of(leaf)
    if is_written and not array.flags.writeable:
        raise ArgumentError(f"argument {position} is written to, but its array is read-only")
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def unflatten(structure: Hashable, leaves: Sequence[Any]) -> tuple[Sequence[Any], dict]:
    """The arguments and keyword arguments of a call, from its leaves."""
    if isinstance(structure, int):
        return leaves, {}
    tree: Any = optree.tree_unflatten(structure, leaves)  # type: ignore[arg-type]
    return tree


def leaf_owners(names: Sequence[str], structure: Hashable) -> list[str]:
    """For each leaf, the name of the argument that it belongs to."""
    if isinstance(structure, int):
        return [names[min(i, len(names) - 1)] for i in range(structure)]
    args, kwargs = structure.children()  # type: ignore[attr-defined]
    owners: list[str] = []
    for number, child in enumerate(args.children()):
        owners += [names[min(number, len(names) - 1)]] * child.num_leaves
    for name, child in zip(kwargs.entries(), kwargs.children(), strict=True):
        owners += [name] * child.num_leaves
    return owners
