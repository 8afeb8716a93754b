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
from ..errors import AutogradError
from ..nn.parameter import Parameter
from ..random_state import Generator
from ..storage import Storage
from ..tensor import Size, Tensor, init, of_array
from ..views import (
    BROADCAST,
    RESHAPE,
    SLICE,
    TRANSPOSE,
    Step,
    imag_step,
    joined_step,
    pairs_step,
    real_step,
)
from .encoding import DEPTH, VERSION
from .safetensors import check_shape, parse_json
from .source import Source

_DTYPES = {dtype.public: dtype for dtype in ALL}
_STEPS = {
    RESHAPE.name: {"shape"},
    TRANSPOSE.name: {"perm"},
    SLICE.name: {"starts", "sizes", "steps"},
    BROADCAST.name: {"shape", "dims"},
}
# Views of the parts of complex numbers, and of reals as complex ones.
_PARTS = {"real": real_step, "imag": imag_step, "pairs": pairs_step, "joined": joined_step}


def decode(source: Source, text: str, arrays: dict[str, np.ndarray]) -> Any:
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
    return _Decoder(source, found["tensors"], arrays).value(found["object"], 0)


class _Decoder:
    def __init__(self, source: Source, items: list[Any], arrays: dict[str, np.ndarray]) -> None:
        self.source = source
        self.items = items
        self.arrays = arrays
        self._storages: dict[str, Storage] = {}
        self._made: dict[int, Any] = {}
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
        if item.get("requires_grad") is True:
            try:
                made.requires_grad_()
            except AutogradError:
                self.source.fail(f"tensor {name!r} of {type.dtype.public} cannot require grad")
        return made

    def _path(
        self, item: dict[str, Any], name: str, storage: Storage
    ) -> tuple[tuple[Step, ...], np.ndarray]:
        """The steps of a view, and the numpy view that they lead to."""
        array = storage.array
        assert array is not None
        steps = []
        for node in item.get("path", ()):
            step = self._step(node, name, array)
            view = step.array(array)
            if view.size and not np.may_share_memory(view, array):
                self.source.fail(f"tensor {name!r}: the view {node} would be a copy")
            steps.append(step)
            array = view
        return tuple(steps), array

    def _step(self, node: Any, name: str, array: np.ndarray) -> Step:
        if isinstance(node, list) and len(node) == 2 and isinstance(node[1], dict):
            op, given = node
            if isinstance(op, str) and op in _PARTS and not given:
                real = op == "joined"
                fits = array.shape[-1:] == (2,) and array.strides[-1] == array.itemsize
                if array.dtype.kind == ("f" if real else "c") and (fits or not real):
                    return _PARTS[op](array.shape)
            known = isinstance(op, str) and op in _STEPS and given.keys() == _STEPS[op]
            if known and all(_are_sizes(v, signed=k == "steps") for k, v in given.items()):
                attrs = {key: tuple(v) for key, v in given.items()}
                try:
                    result = OPS[op].infer([array_type(array)], attrs)[0]
                except TypeRuleError as error:
                    self.source.fail(f"tensor {name!r}: no view {node}: {error}")
                check_shape(self.source, result.shape, array.itemsize, f"tensor {name!r}")
                return Step(OPS[op], attrs, array.shape, result.shape)
        self.source.fail(f"tensor {name!r}: no view {str(node)[:80]}")


def _are_sizes(value: Any, signed: bool) -> bool:
    low = -(1 << 63) if signed else -1
    return isinstance(value, list) and all(type(n) is int and low < n < 1 << 63 for n in value)
