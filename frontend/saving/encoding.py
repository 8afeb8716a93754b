"""Nested Python objects with tensors among them as JSON and named arrays.

JSON null, booleans, numbers, strings and lists stand for themselves. Everything else is an object
with one key that says what it is:

    {"dict": [[key, value], ...]}   also "ordered" (OrderedDict) and "counter" (Counter)
    {"tuple": [...]}  {"size": [...]}  {"complex": [re, im]}
    {"dtype": "float32"}  {"device": "cpu"}
    {"float": "nan"}, "inf", "-inf"     {"int": "0x..."}, beyond 64 bits
    {"tensor": k}  {"array": k}         the k-th of the list "tensors"
    {"generator": [seed, draws]}

An item of "tensors" has a "name" in the file and, where they are not the default, "requires_grad",
"parameter", "complex" (stored as pairs of float64), "device" ("cuda:0") and "path": the steps by
which the tensor is a view of what is stored.
"""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.dtypes import DType, of_numpy
from ..context import ambient
from ..device import Device
from ..errors import ArgumentError
from ..nn.module import Module
from ..nn.parameter import Parameter
from ..random_state import Generator
from ..storage import memory_order
from ..tensor import Size, Tensor, elements, make, no_data
from ..views import Diagonal, Joined, Pairs, Step, Strided, transpose_step
from . import safetensors

DEPTH = 100  # of nested containers, written and read
VERSION = 1
MAPPINGS: dict[type, str] = {dict: "dict", OrderedDict: "ordered", Counter: "counter"}
SEQUENCES: dict[type, str] = {tuple: "tuple", Size: "size"}


def encode(value: Any) -> tuple[str, dict[str, np.ndarray]]:
    """The JSON text of `value`, and the arrays that it names.

    Raises:
        ArgumentError: there is something in it that cannot be saved; the message says where.
        TraceError: a tensor is traced.
    """
    encoder = _Encoder()
    body = encoder.node(value, "", 0)
    arrays = encoder.stored()
    text = json.dumps({"version": VERSION, "object": body, "tensors": encoder.items})
    return text, arrays


class _Encoder:
    """What has been met so far.

    Attributes:
        items: the list "tensors" of the file.
    """

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._kept: list[tuple[Tensor | np.ndarray, str]] = []  # for each item: it, and its name
        self._known: dict[int, int] = {}  # id of a tensor or array -> number of its item

    def node(self, value: Any, path: str, depth: int) -> Any:
        """`value`, found at `path`, as JSON."""
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if isinstance(value, (Tensor, np.ndarray)):
            return self._array(value, path)
        if isinstance(value, np.generic):
            value = value.item()
            kind = type(value)
        if kind in (int, float, complex):
            return _number(value)
        if isinstance(value, DType):
            return {"dtype": value.public}
        if kind is Device:
            return {"device": str(value)}
        if kind is Generator:
            return {"generator": value.get_state().tolist()}
        if depth == DEPTH:
            raise ArgumentError(f"cannot save {path}: nested deeper than {DEPTH} containers")
        return self._container(value, path, depth + 1)

    def _container(self, value: Any, path: str, depth: int) -> Any:
        if type(value) in MAPPINGS:
            pairs = [
                [self._key(key, path), self.node(item, _below(path, key), depth)]
                for key, item in value.items()
            ]
            return {MAPPINGS[type(value)]: pairs}
        if type(value) is not list and type(value) not in SEQUENCES:
            raise _refused(value, path)
        items = [self.node(item, _below(path, k), depth) for k, item in enumerate(value)]
        return items if type(value) is list else {SEQUENCES[type(value)]: items}

    def _key(self, key: Any, path: str) -> Any:
        parts = key if type(key) is tuple else (key,)
        if not all(p is None or type(p) in (bool, int, float, str, DType) for p in parts):
            raise _refused(key, f"a key of {path or 'the dict'}")
        return self.node(key, path, 0)

    def _array(self, value: Tensor | np.ndarray, path: str) -> Any:
        kind = "tensor" if isinstance(value, Tensor) else "array"
        number = self._known.get(id(value))
        if number is None:
            if isinstance(value, Tensor):
                if value.storage.trace is not None or ambient.trace is not None:
                    no_data(value, "it was saved")
            elif of_numpy(value.dtype) is None:
                raise ArgumentError(f"cannot save {path}: an array of {value.dtype}")
            number = self._known[id(value)] = len(self.items)
            self._kept.append((value, path or "tensor"))
            self.items.append({})
        return {kind: number}

    def stored(self) -> dict[str, np.ndarray]:
        """The arrays to store; fills in the items."""
        shared: dict[int, list[int]] = {}
        for number, (value, _) in enumerate(self._kept):
            memory = value.storage if isinstance(value, Tensor) else value
            shared.setdefault(id(memory), []).append(number)
        arrays: dict[str, np.ndarray] = {}
        for numbers in shared.values():
            name = _free_name(self._kept[numbers[0]][1], arrays)
            first = self._kept[numbers[0]][0]
            if isinstance(first, Tensor) and not self._alike(numbers):
                arrays[name] = self._whole(name, first, numbers)
                continue
            array = elements(first) if isinstance(first, Tensor) else first
            for number in numbers:
                self._describe(number, name, array, ())
            arrays[name] = _storable(array)
        return arrays

    def _alike(self, numbers: list[int]) -> bool:
        """Whether these tensors over one storage are the same view of it."""
        first = self._tensor(numbers[0])
        return all(
            self._tensor(n).path == first.path and self._tensor(n).spec is first.spec
            for n in numbers
        )

    def _whole(self, name: str, first: Tensor, numbers: list[int]) -> np.ndarray:
        """The storage behind several views, dense in the order in which it lies in memory: so each
        step that needed no copy needs none again."""
        storage = first.storage
        array = elements(make(storage, (), storage.type, storage.array))
        order = memory_order(array)
        array = array.transpose(order)
        back = transpose_step(array.shape, tuple(order.index(axis) for axis in range(array.ndim)))
        begin = () if order == sorted(order) else (back,)
        for number in numbers:
            self._describe(number, name, array, (*begin, *self._tensor(number).path))
        return _storable(array)

    def _tensor(self, number: int) -> Tensor:
        value = self._kept[number][0]
        assert isinstance(value, Tensor)
        return value

    def _describe(self, number: int, name: str, array: np.ndarray, path: tuple[Step, ...]) -> None:
        value = self._kept[number][0]
        facts: dict[str, Any] = {
            "requires_grad": isinstance(value, Tensor) and value.requires_grad,
            "parameter": isinstance(value, Parameter),
            "complex": _split(array),
            "path": [step_node(step) for step in path],
        }
        if isinstance(value, Tensor) and value.is_cuda:
            facts["device"] = str(value.device)
        self.items[number] = {"name": name, **{k: v for k, v in facts.items() if v}}


def step_node(step: Step) -> list[Any]:
    """A step of a view: its name, and what it takes besides the shape before it."""
    if isinstance(step, Diagonal):
        return ["diagonal", {"at": step.attrs["at"], "length": step.result[-1:]}]
    if isinstance(step, Strided):
        attrs = {"strides": step.attrs["strides"], "start": [step.attrs["start"]]}
        return ["strided", {"shape": step.result, **attrs}]
    name = {Pairs: "pairs", Joined: "joined"}.get(type(step), step.op.name)
    return [name, step.attrs]


def _split(array: np.ndarray) -> bool:
    """Whether the file format lacks the dtype: complex128, stored as pairs."""
    dtype = of_numpy(array.dtype)
    assert dtype is not None
    return not safetensors.has_code(dtype)


def _storable(array: np.ndarray) -> np.ndarray:
    if not _split(array):
        return array
    dense = np.ascontiguousarray(array)
    return dense.reshape(-1).view(np.float64).reshape(*array.shape, 2)


def _number(value: Any) -> Any:
    if type(value) is int:
        return value if -(1 << 63) <= value < 1 << 63 else {"int": hex(value)}
    if type(value) is complex:
        return {"complex": [_number(value.real), _number(value.imag)]}
    return value if math.isfinite(value) else {"float": repr(value)}


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _free_name(wanted: str, taken: Mapping[str, Any]) -> str:
    """A name that is not taken yet and that the format does not keep for itself."""
    name, count = wanted, 1
    while name in taken or name in ("", "__metadata__"):
        count += 1
        name = f"{wanted}#{count}"
    return name


def _refused(value: Any, path: str) -> ArgumentError:
    where = path or "this"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    hint = "what can be saved: tensors, numbers, strings, None, dicts, lists and tuples of them"
    if isinstance(value, Module) or hasattr(value, "state_dict"):
        hint = f"save its state_dict() and load it into a new {type(value).__name__}"
    return ArgumentError(f"cannot save {where}: it is a {kind}", hint=hint)
