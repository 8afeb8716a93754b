"""The zip files of `torch.save`: a pickle that names tensors, and their storages beside it.

What is read: tensors of all strides and of the dtypes that sley has, shared storages, parameters,
and plain containers. Everything else that a pickle may name is refused.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dtypes import ALL, DType
from ...ir.types import tensor_type
from ..device import Device
from ..nn.parameter import Parameter
from ..storage import Storage
from ..tensor import Size, Tensor, init
from .archive import Archive
from .locations import Locations
from .pickle_machine import Machine, Refused, Rule, plain_key
from .safetensors import check_shape
from .source import Source
from .strided import contiguous, last_element, steps_to

_DTYPES = {dtype.public: dtype for dtype in ALL}
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "",
}  # fmt: skip
_TORCH_DTYPES = {name for name in _STORAGES.values() if name} | {
    "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2",
}  # fmt: skip


_HINT = "save the state_dict() of a model, and numbers and lists beside it"


@dataclass(frozen=True)
class _StorageKind:
    """A storage class of the file; `dtype` is "" where the tensor tells it."""

    dtype: str


@dataclass(frozen=True)
class _Memory:
    """A storage of the file, not read yet. `count` is in elements (bytes where dtype is "")."""

    key: str
    dtype: str
    count: int
    location: str


@dataclass(frozen=True)
class _Plan:
    """What a tensor will be a view of."""

    memory: _Memory
    dtype: DType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dense(self) -> bool:
        """Whether the tensor is the whole storage, in order."""
        elements = int(np.prod(self.shape, dtype=object))
        whole = elements == _count(self)
        return whole and self.offset == 0 and contiguous(self.shape, self.strides)


def _count(plan: _Plan) -> int:
    """How many elements of the plan's dtype the storage has."""
    return plan.memory.count // (1 if plan.memory.dtype else plan.dtype.itemsize)


def read(source: Source, locations: Locations) -> Any:
    """The object of a file.

    Raises:
        LoadError: the file is damaged, of another byte order, or has something in it that is no
            tensor and no plain container.
    """
    archive = Archive(source, compressed=False)
    roots = [name[: -len("data.pkl")] for name in archive.members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        source.fail(f"a zip of torch.save has one data.pkl, this one {len(roots)}")
    root = roots[0]
    if f"{root}constants.pkl" in archive.members:
        source.fail("a TorchScript program, which is not read", hint="save its state_dict()")
    order = archive.read(f"{root}byteorder", 16) if f"{root}byteorder" in archive.members else b""
    if order not in (b"", b"little"):
        source.fail(f"written on a machine of another byte order: {order!r}")
    reader = _Reader(source)
    try:
        found = Machine(reader.find, reader.persistent).run(archive.read(f"{root}data.pkl"))
    except Refused as error:
        source.fail(str(error), hint=reader.hint)
    reader.check(found)
    reader.fill(archive, f"{root}data/", locations)
    return found


class _Reader:
    """The table of what a file may name, and the tensors met so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.hint: str | None = None
        self._plans: list[tuple[Tensor, _Plan]] = []
        self._by_id: dict[int, _Plan] = {}
        rules: dict[tuple[str, str], tuple[Callable[..., Any], tuple[int, ...]]] = {
            ("torch._utils", "_rebuild_tensor"): (self._tensor, (4,)),
            ("torch._utils", "_rebuild_tensor_v2"): (self._tensor, (6, 7)),
            ("torch._utils", "_rebuild_tensor_v3"): (self._tensor_of_dtype, (7, 8)),
            ("torch._utils", "_rebuild_parameter"): (self._parameter, (3,)),
            ("collections", "OrderedDict"): (lambda *a: OrderedDict(_pairs(*a)), (0, 1)),
            ("collections", "Counter"): (lambda *a: Counter(dict(_pairs(*a))), (0, 1)),
            ("torch", "Size"): (lambda sizes: Size(_are(tuple, sizes)), (1,)),
            ("torch", "device"): (_device, (1, 2)),
            ("_codecs", "encode"): (_encoded, (2,)),
        }
        for module in ("builtins", "__builtin__"):
            rules[module, "set"] = (lambda items: set(map(plain_key, _are(list, items))), (1,))
            rules[module, "complex"] = (lambda *a: complex(*(_are(float, x) for x in a)), (2,))
            rules[module, "bytearray"] = (lambda x: bytearray(_are(bytes, x)), (1,))
        self._rules = {
            key: Rule(".".join(key), call, counts) for key, (call, counts) in rules.items()
        }

    # What the pickle asks for

    def find(self, module: str, name: str) -> Any:
        """What stands for a global.

        Raises:
            Refused: it is not in the table.
        """
        if (module, name) in self._rules:
            return self._rules[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageKind(_STORAGES[name])
        if module == "torch" and name in _TORCH_DTYPES:
            return _dtype(name)
        if not module.startswith("torch._utils"):
            self.hint = _HINT
        raise Refused(f"{module}.{name} is refused: only tensors and plain containers are read")

    def persistent(self, key: Any) -> _Memory:
        """The storage of a persistent id.

        Raises:
            Refused: the id is none of a storage.
        """
        kinds = (str, _StorageKind, str, str, int)
        if not isinstance(key, tuple) or tuple(map(type, key)) != kinds or key[0] != "storage":
            raise Refused("a persistent id that names no storage")
        _, kind, name, location, count = key
        if not name.isdecimal() or not name.isascii() or location == "meta":
            raise Refused(f"a storage {name!r} on {location!r} has no data in the file")
        if count < 0:
            raise Refused(f"storage {name} has {count} elements")
        return _Memory(name, kind.dtype, count, location)

    def _tensor(
        self, memory: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any = False,
        hooks: Any = None, metadata: Any = None,
    ) -> Tensor:  # fmt: skip
        if not isinstance(memory, _Memory) or not memory.dtype:
            raise Refused("a tensor without a storage")
        dtype = _dtype(memory.dtype)
        plan = self._planned(memory, dtype, offset, shape, strides)
        return self._added(Tensor, plan, requires_grad, hooks, metadata)

    def _tensor_of_dtype(
        self, memory: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, hooks: Any,
        dtype: Any, metadata: Any = None,
    ) -> Tensor:  # fmt: skip
        if not isinstance(memory, _Memory) or not isinstance(dtype, DType):
            raise Refused("a tensor without a storage or dtype")
        plan = self._planned(memory, dtype, offset, shape, strides)
        return self._added(Tensor, plan, requires_grad, hooks, metadata)

    def _planned(
        self, memory: _Memory, dtype: DType, offset: Any, shape: Any, strides: Any
    ) -> _Plan:
        sizes = [(offset,), shape, strides]
        if not all(isinstance(s, tuple) and all(_is_size(n) for n in s) for s in sizes):
            raise Refused(f"a tensor of shape {shape} with strides {strides} at {offset}")
        plan = _Plan(memory, dtype, offset, tuple(shape), tuple(strides))
        if len(shape) != len(strides):
            raise Refused(f"a tensor of shape {shape} with strides {strides}")
        check_shape(self.source, shape, dtype.itemsize, f"a tensor of storage {memory.key}")
        if last_element(offset, shape, strides) >= _count(plan):
            raise Refused(
                f"a tensor of shape {shape} with strides {strides} at {offset} reaches beyond the "
                f"{_count(plan)} elements of storage {memory.key}"
            )
        return plan

    def _added(
        self, kind: type[Tensor], plan: _Plan, requires_grad: Any, hooks: Any, metadata: Any
    ) -> Tensor:
        """A tensor whose memory `fill` will give."""
        if hooks:
            raise Refused("a tensor with hooks, which are code, is refused")
        if metadata:
            raise Refused(f"a tensor that is marked {sorted(metadata)} is refused")
        floating = plan.dtype.is_inexact
        if not isinstance(requires_grad, bool) or (requires_grad and not floating):
            raise Refused(f"a tensor of {plan.dtype.public} with requires_grad {requires_grad}")
        made = kind.__new__(kind)
        made._requires = requires_grad
        self._plans.append((made, plan))
        self._by_id[id(made)] = plan
        return made

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any) -> Parameter:
        if id(data) not in self._by_id:
            raise Refused("a parameter without a tensor")
        return self._added(Parameter, self._by_id[id(data)], requires_grad, hooks, None)  # type: ignore[return-value]

    # Memory

    def check(self, found: Any) -> None:
        """Refuse what stands for functions and storages among the objects of the result."""
        seen: set[int] = set()
        waiting = [found]
        while waiting:
            value = waiting.pop()
            if isinstance(value, (Rule, _StorageKind, _Memory)):
                self.source.fail("a storage or function as such is refused", hint=_HINT)
            if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
                seen.add(id(value))
                waiting += value.values() if isinstance(value, dict) else value

    def fill(self, archive: Archive, folder: str, locations: Locations) -> None:
        """Read the storages, and give every tensor its memory."""
        groups: dict[str, list[tuple[Tensor, _Plan]]] = {}
        for tensor, plan in self._plans:
            groups.setdefault(plan.memory.key, []).append((tensor, plan))
        for key, group in groups.items():
            first = group[0][1]
            if any((p.memory, p.dtype) != (first.memory, first.dtype) for _, p in group):
                self.source.fail(f"storage {key} has two types or sizes")
            size = _count(first)
            if f"{folder}{key}" not in archive.members:
                self.source.fail(f"storage {key} is missing")
            if archive.members[f"{folder}{key}"].file_size != size * first.dtype.itemsize:
                self.source.fail(f"storage {key} has not the size that the pickle tells")
            flat = np.empty(size, first.dtype.numpy)
            archive.fill(f"{folder}{key}", flat)
            if first.dtype.kind == "bool" and (flat.view(np.uint8) > 1).any():
                self.source.fail(f"storage {key} of bools has bytes other than 0 and 1")
            _place(flat, group)
            locations.place([tensor for tensor, _ in group], first.memory.location)


def _place(flat: np.ndarray, group: list[tuple[Tensor, _Plan]]) -> None:
    """Make the tensors of one storage views of its elements."""
    first = group[0][1]
    whole = first.dense and all(plan == first for _, plan in group)
    storage = Storage.of_array(flat.reshape(first.shape) if whole else flat)
    assert storage.array is not None
    for tensor, plan in group:
        requires = tensor._requires
        steps = () if whole else steps_to(flat.size, plan.offset, plan.shape, plan.strides)
        array = storage.array
        for step in steps:
            array = step.array(array)
        init(tensor, storage, steps, tensor_type(plan.dtype, array.shape), array)
        tensor._requires = requires


def _dtype(name: str) -> DType:
    if name not in _DTYPES:
        raise Refused(f"a tensor of {name}: sley has no such dtype")
    return _DTYPES[name]


def _device(kind: Any, index: Any = None) -> Device:
    try:
        return Device(_are(str, kind), index)
    except ValueError:
        raise Refused(f"a device {kind!r}") from None


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _are(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise Refused(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _pairs(items: Any = ()) -> list[tuple[Any, Any]]:
    """The items of a dict, or of a list of pairs."""
    pairs = list(items.items()) if isinstance(items, dict) else list(_are(list, items or []))
    if not all(isinstance(p, (tuple, list)) and len(p) == 2 for p in pairs):
        raise Refused("a dict of things that are no pairs")
    return [(plain_key(key), value) for key, value in pairs]


def _encoded(text: Any, codec: Any) -> bytes:
    """Bytes, as protocol 2 writes them: a string of their numbers."""
    if codec != "latin1" or not all(ord(c) < 256 for c in _are(str, text)):
        raise Refused(f"bytes by the codec {codec!r}")
    return text.encode("latin1")
