"""What `encoding.py` wrote, read back. Nothing in a file is looked up by name, called or imported:
each kind of node has its own lines here."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir.dtypes import ALL
from ...ir.literal import array_type
from ...ir.ops import OPS
from ...ir.ops.base import TypeRuleError
from ..device import Device
from ..errors import ArgumentError, AutogradError
from ..nn.parameter import Parameter
from ..random_state import Generator
from ..storage import Storage
from ..tensor import Size, Tensor, init, of_array
from ..views import Step, diagonal_step, imag_step, joined_step, pairs_step, real_step, strided_step
from .encoding import DEPTH, VERSION
from .locations import Locations
from .safetensors import check_shape, parse_json
from .source import Source
from .strided import last_element

_DTYPES = {dtype.public: dtype for dtype in ALL}
_STEPS = {
    "reshape": {"shape"},
    "transpose": {"perm"},
    "slice": {"starts", "sizes", "steps"},
    "broadcast": {"shape", "dims"},
    "diagonal": {"at", "length"},
    "strided": {"shape", "strides", "start"},
    "real": set(),
    "imag": set(),
    "pairs": set(),
    "joined": set(),
}
_PARTS = {"real": real_step, "imag": imag_step, "pairs": pairs_step}


def decode(source: Source, text: str, arrays: dict[str, np.ndarray], locations: Locations) -> Any:
    """The object of a JSON text, with `arrays` for its tensors.

    Raises:
        LoadError: the text says something that `encode` never does, or names another array.
    """
    found = parse_json(source, text, "the description of the objects")
    if not isinstance(found, dict) or found.get("version") != VERSION:
        version = found.get("version") if isinstance(found, dict) else None
        source.fail(f"written in version {version!r} of the layout; this sley reads {VERSION}")
    if found.keys() != {"version", "object", "tensors"} or not isinstance(found["tensors"], list):
        source.fail("the description of the objects lacks a part")
    decoder = _Decoder(source, found["tensors"], arrays)
    value = decoder.value(found["object"], 0)
    decoder.place(locations)
    return value


class _Decoder:
    def __init__(self, source: Source, items: list[Any], arrays: dict[str, np.ndarray]) -> None:
        self.source = source
        self.items = items
        self.arrays = arrays
        self._storages: dict[str, Storage] = {}
        self._made: dict[int, Any] = {}
        self._tensors: dict[str, list[Tensor]] = {}  # by the name of their array
        self._devices: dict[str, str] = {}
        self._kinds: dict[str, Callable[[Any, int], Any]] = {
            "dict": lambda x, depth: dict(self._pairs(x, depth)),
            "ordered": lambda x, depth: OrderedDict(self._pairs(x, depth)),
            "counter": lambda x, depth: Counter(dict(self._pairs(x, depth))),
            "tuple": lambda x, depth: tuple(self._list(x, depth)),
            "size": lambda x, depth: Size(self._list(x, depth)),
            "complex": self._complex,
            "float": self._float,
            "int": self._int,
            "dtype": self._dtype,
            "device": self._device,
            "tensor": self._tensor,
            "array": self._array,
            "generator": self._generator,
        }

    def value(self, node: Any, depth: int) -> Any:
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if depth > DEPTH:
            self.source.fail(f"objects are nested deeper than {DEPTH}")
        if isinstance(node, list):
            return self._list(node, depth)
        kind = next(iter(node)) if len(node) == 1 else None
        if kind not in self._kinds:
            self.source.fail(f"an object of an unknown kind: {sorted(node)[:5]}")
        return self._kinds[kind](node[kind], depth)

    def _wrong(self, kind: str, node: Any) -> Any:
        self.source.fail(f"{str(node)[:80]} is no {kind}")

    def _list(self, node: Any, depth: int) -> list[Any]:
        if not isinstance(node, list):
            self._wrong("list", node)
        return [self.value(item, depth + 1) for item in node]

    def _pairs(self, node: Any, depth: int) -> list[tuple[Any, Any]]:
        if not isinstance(node, list) or not all(isinstance(p, list) and len(p) == 2 for p in node):
            self._wrong("list of pairs", node)
        found = []
        for name, item in node:
            key = self.value(name, DEPTH - 2)
            try:
                hash(key)
            except TypeError:
                self._wrong("key", key)
            found.append((key, self.value(item, depth + 1)))
        return found

    def _complex(self, node: Any, depth: int) -> complex:
        parts = self._list(node, depth)
        if len(parts) != 2 or not all(isinstance(p, float) for p in parts):
            self._wrong("complex number", node)
        return complex(*parts)

    def _float(self, node: Any, depth: int) -> float:
        return float(node) if node in ("nan", "inf", "-inf") else self._wrong("float", node)

    def _int(self, node: Any, depth: int) -> int:
        try:
            return int(node, 16)
        except (TypeError, ValueError):
            return self._wrong("integer", node)

    def _dtype(self, node: Any, depth: int) -> Any:
        if not isinstance(node, str) or node not in _DTYPES:
            self._wrong("dtype of sley", node)
        return _DTYPES[node]

    def _device(self, node: Any, depth: int) -> Device:
        try:
            return Device(node)
        except ValueError:
            return self._wrong("device", node)

    def _generator(self, node: Any, depth: int) -> Generator:
        words = isinstance(node, list) and all(type(n) is int for n in node)
        if not words or len(node) != 2 or not all(-(1 << 63) <= n < 1 << 63 for n in node):
            self._wrong("state of a generator", node)
        return Generator().set_state(of_array(np.array(node, np.int64)))

    # Tensors

    def _item(self, number: Any) -> tuple[dict[str, Any], str]:
        """The `number`-th item of the list "tensors", and the name of its array."""
        if type(number) is not int or not 0 <= number < len(self.items):
            self._wrong("number of a tensor", number)
        item = self.items[number]
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in self.arrays:
            self.source.fail(f"the objects name the tensor {name!r}, which is not in the file")
        return item, name

    def _array(self, number: Any, depth: int) -> np.ndarray:
        item, name = self._item(number)
        if number not in self._made:
            self._made[number] = self._stored(item, name)
        return self._made[number]

    def _stored(self, item: dict[str, Any], name: str) -> np.ndarray:
        array = self.arrays[name]
        if not item.get("complex"):
            return array
        if array.dtype != np.float64 or array.shape[-1:] != (2,):
            self.source.fail(f"tensor {name!r} is to be complex and has no pairs of float64")
        return array.reshape(-1).view(np.complex128).reshape(array.shape[:-1])

    def _tensor(self, number: Any, depth: int) -> Tensor:
        item, name = self._item(number)
        if number in self._made:
            return self._made[number]
        if name not in self._storages:
            self._storages[name] = Storage.of_array(self._stored(item, name))
        storage = self._storages[name]
        path, array = self._path(item, name, storage)
        kind = Parameter if item.get("parameter") is True else Tensor
        made = self._made[number] = kind.__new__(kind)
        type = array_type(array)
        init(made, storage, path, type, array)
        self._tensors.setdefault(name, []).append(made)
        self._devices[name] = self._location(item, name)
        if item.get("requires_grad") is True:
            try:
                made.requires_grad_()
            except AutogradError:
                self.source.fail(f"tensor {name!r} of {type.dtype.public} cannot require grad")
        return made

    def _location(self, item: dict[str, Any], name: str) -> str:
        """Where a tensor was saved from."""
        found = item.get("device", "cpu")
        try:
            if isinstance(found, str):
                return str(Device(found))
        except ArgumentError:
            pass
        self.source.fail(f"tensor {name!r} was on {str(found)[:40]!r}, which is no device")

    def place(self, locations: Locations) -> None:
        """Move the tensors from the processor to their devices."""
        for name, tensors in self._tensors.items():
            locations.place(tensors, self._devices[name])

    def _path(
        self, item: dict[str, Any], name: str, storage: Storage
    ) -> tuple[tuple[Step, ...], np.ndarray]:
        """The steps of a view, and the numpy view that they lead to."""
        array = storage.array
        assert array is not None
        nodes, steps = item.get("path", []), []
        if not isinstance(nodes, list):
            self.source.fail(f"tensor {name!r}: its path is no list of steps")
        for node in nodes:
            step = self._step(node, name, array)
            view = step.array(array)
            if view.size and not np.may_share_memory(view, array):
                self.source.fail(f"tensor {name!r}: the view {node} would be a copy")
            steps.append(step)
            array = view
        return tuple(steps), array

    def _step(self, node: Any, name: str, array: np.ndarray) -> Step:
        """One step of a view of `array`."""
        if isinstance(node, list) and len(node) == 2 and isinstance(node[1], dict):
            op, given = node
            known = isinstance(op, str) and given.keys() == _STEPS.get(op)
            if known and all(_are_sizes(v, signed=k == "steps") for k, v in given.items()):
                attrs = {key: tuple(v) for key, v in given.items()}
                step = _view_step(op, attrs, array)
                if step is not None:
                    shape: Any = step.result
                    check_shape(self.source, shape, array.itemsize, f"tensor {name!r}")
                    return step
        self.source.fail(f"tensor {name!r}: no view {str(node)[:80]} of {list(array.shape)}")


def _view_step(op: str, attrs: dict[str, Any], array: np.ndarray) -> Step | None:
    """The step, if it leads from `array` to a part of the same memory."""
    shape = array.shape
    if op == "joined":
        pairs = array.ndim and shape[-1] == 2 and array.strides[-1] == array.itemsize
        return joined_step(shape) if array.dtype.kind == "f" and pairs else None
    if op in _PARTS:
        return _PARTS[op](shape) if array.dtype.kind == "c" else None
    if op == "diagonal":
        at, length = attrs["at"], attrs["length"]
        if len(at) != 2 or len(length) != 1 or len(shape) < 2:
            return None
        inside = all(a + length[0] <= n for a, n in zip(at, shape[-2:]))
        return diagonal_step(shape, at, length[0]) if inside else None
    if op == "strided":
        sizes, strides, start = attrs["shape"], attrs["strides"], attrs["start"]
        if len(sizes) != len(strides) or len(start) != 1 or not array.flags.c_contiguous:
            return None
        inside = last_element(start[0], sizes, strides) < array.size and start[0] <= array.size
        return strided_step(shape, sizes, strides, start[0]) if inside else None
    try:
        result = OPS[op].infer([array_type(array)], attrs)[0]
    except TypeRuleError:
        return None
    return Step(OPS[op], attrs, shape, result.shape)


def _are_sizes(value: Any, signed: bool) -> bool:
    low = -(1 << 63) if signed else -1
    return isinstance(value, list) and all(type(n) is int and low < n < 1 << 63 for n in value)
