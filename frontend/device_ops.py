"""Eager ops on a GPU: each one is a small program over the storages that its operands look at.

The steps of views become nodes of that program, so a transposed operand is read through its index
map and never copied. Numbers, and other 0-d tensors of the processor, are arguments.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from ..ir.builder import Recording
from ..ir.dtypes import i64, u64
from ..ir.graph import Region, Value
from ..ir.isomorphic import graph_hash
from ..ir.ops import OPS
from ..ir.ops.base import Kind, Op, active
from ..ir.types import TensorType, tensor_type
from ..runtime.cuda.programs import Operand
from .accelerator import Accelerator, accelerator, dense_address
from .context import ambient
from .errors import DeviceError
from .general_paths import GeneralPath, follow, general
from .storage import Storage
from .tape import DeviceValue, EagerValue
from .views import Path, Shape, Step, broadcast_step, updated

_LAZY = {OPS[name] for name in ("reshape", "transpose", "slice", "broadcast")}
_BROADCAST, _STOP = OPS["broadcast"], OPS["stop_gradient"]
_BITS, _IOTA = OPS["rng_bits"], OPS["iota"]
_INDICES = {"gather": 1, "scatter": 1}  # op -> the operand that holds indices


class _Read(NamedTuple):
    """How a program reads an operand: the number of its parameter, and the steps from there.

    Attributes:
        stretched: `dims` of a last step, a broadcast to the shape of the other operands; None where
            there is none. So that one program serves all shapes.
    """

    number: int
    path: GeneralPath
    stretched: tuple[int, ...] | None = None


def computed(
    op: Op,
    operands: Sequence[Value],
    attrs: Mapping[str, Any],
    regions: tuple[Region, ...],
    types: Sequence[TensorType],
) -> tuple[DeviceValue, ...]:
    """The results of `op`, of these types.

    Raises:
        DeviceError: operands lie on different devices, or the GPU has failed.
        IndexError: an index among the data is out of range.
        OutOfMemoryError: the GPU's memory does not suffice.
    """
    place = _place(op, operands)
    values = [on_place(value, place, op.name) for value in operands]
    if op in _LAZY:
        return (_view(op, values[0], dict(attrs), types[0]),)
    if op is _STOP:
        (value,) = values
        return (DeviceValue(types[0], value.storage, value.path),)
    if op.name in _INDICES:
        _check_indices(op, values, attrs, place)
    whole = [not _is_stretched(value) for value in values]
    reading = _Reading(op.kind is Kind.ELEMENTWISE and any(whole))
    reads = tuple(reading.add(value) for value in values)
    anchors = [k for k, read in enumerate(reads) if read.stretched is None]

    def record(params: Sequence[Value]) -> Sequence[Value]:
        emit = active().emit
        given: list[Any] = [None] * len(reads)
        for k in anchors:
            given[k] = follow(reads[k].path, params[reads[k].number], emit)
        for k, read in enumerate(reads):
            if read.stretched is not None:
                small = follow(read.path, params[read.number], emit)
                shape = given[anchors[0]].type.shape
                given[k] = emit(_BROADCAST, (small,), {"shape": shape, "dims": read.stretched})
        results = emit(op, given, attrs, regions)
        return results if isinstance(results, tuple) else (results,)

    if op is _BITS or (op is _IOTA and len(attrs["shape"]) == 1):
        # The bits of an element depend on its number alone.

        def made(params: Sequence[Value], shape: Shape) -> Value:
            given = [follow(read.path, params[read.number], active().emit) for read in reads]
            return active().emit(op, given, {**attrs, "shape": shape})

        others = tuple(value for name, value in attrs.items() if name != "shape")
        storage = place.fill((op.name, reads, others), made, reading.operands, types[0])
        return (DeviceValue.new(types[0], storage),)

    key: Hashable = (op.name, reads, *_hashable(op, attrs, regions, values))
    found = place.run(key, record, reading.operands)
    return tuple(DeviceValue.new(type, storage) for type, storage in zip(types, found, strict=True))


def _view(op: Op, value: DeviceValue, attrs: dict[str, Any], type: TensorType) -> DeviceValue:
    step = Step(op, attrs, value.type.shape, type.shape)
    viewed = DeviceValue(type, value.storage, (*value.path, step))
    viewed.version = value.version
    return viewed


def _hashable(
    op: Op, attrs: Mapping[str, Any], regions: tuple[Region, ...], values: Sequence[Value]
) -> tuple[Hashable, ...]:
    """What tells programs of one op apart, beside how they read their operands."""
    if not regions:
        return tuple(attrs.items())
    # Each call records its regions anew: equal ones are one program.
    with Recording() as builder:
        params = [builder.param(value.type) for value in values]
        results = builder.emit(op, params, attrs, regions)
        many = list(results) if isinstance(results, tuple) else [results]
        return (graph_hash(builder.finish("key", many)),)


class _Reading:
    """The parameters of a program: each piece of memory once."""

    def __init__(self, stretches: bool) -> None:
        self.operands: list[Operand] = []
        self._stretches = stretches
        self._numbers: dict[Operand, int] = {}

    def known(self, operand: Operand) -> None:
        """Note that `operand` is the first parameter."""
        self.operands.append(operand)
        self._numbers[operand] = 0

    def add(self, value: DeviceValue, pieces: bool = True) -> _Read:
        """How to read `value`; with `pieces`, one without gaps as a parameter of its own."""
        path, dims = value.path, None
        if self._stretches and _is_stretched(value):
            path, dims = path[:-1], path[-1].attrs["dims"]
        address = dense_address(value.storage, path) if pieces else None
        if address is not None:
            shape = path[-1].result if path else value.storage.type.shape
            dtype = value.storage.type.dtype
            for step in path:
                dtype = step.dtype(dtype)
            return _Read(self._number(address, tensor_type(dtype, shape)), (), dims)
        number = self._number(value.storage.pointer, value.storage.type)
        return _Read(number, general(path), dims)

    def _number(self, address: int, type: TensorType) -> int:
        operand = Operand(address, type)
        number = self._numbers.setdefault(operand, len(self.operands))
        if number == len(self.operands):
            self.operands.append(operand)
        return number


def _is_stretched(value: DeviceValue) -> bool:
    return bool(value.path) and value.path[-1].op is _BROADCAST


def _place(op: Op, operands: Sequence[Value]) -> Accelerator:
    """The GPU that an op runs on."""
    for value in operands:
        if isinstance(value, DeviceValue):
            assert value.storage.place is not None
            return value.storage.place
    assert ambient.context.device is not None
    return accelerator(ambient.context.device)


def on_place(value: Value, place: Accelerator, name: str) -> DeviceValue:
    """`value` in the memory of `place`: there already, a number, or a constant of a function.

    Raises:
        DeviceError: it is another tensor, on another device.
    """
    assert isinstance(value, EagerValue)
    if isinstance(value, DeviceValue):
        if value.storage.place is place:
            return value
        raise _apart(value, place, name)
    storage, array = value.storage, value.array
    if array.size and not any(array.strides):
        number = DeviceValue(
            tensor_type(value.type.dtype), place.number(array.flat[0:1].reshape(()))
        )
        if not value.type.shape:
            return number
        step = broadcast_step((), value.type.shape, ())
        return DeviceValue(value.type, number.storage, (step,))
    if array.size == 1 or storage is None or storage.is_constant:
        return DeviceValue.new(value.type, place.put(array))
    raise _apart(value, place, name)


def dense(value: DeviceValue) -> Storage:
    """Memory that holds the elements of `value` and nothing else, to be read."""
    place, storage = value.storage.place, value.storage
    assert place is not None
    return place.contiguous(storage, value.path) if value.path else storage


def on_default_device(value: Value) -> DeviceValue:
    """A new value where tensors are made that no device is named for."""
    assert ambient.context.device is not None
    return on_place(value, accelerator(ambient.context.device), "a new tensor")


def _apart(value: EagerValue, place: Accelerator, name: str) -> DeviceError:
    other = value.storage.place if value.storage is not None else None
    where = "cpu" if other is None else str(other.device)
    return DeviceError(
        f"{name}: a tensor {value.type} lies on {where}, another one on {place.device}",
        hint=f'move it first: x.to("{place.device}")',
    )


def _check_indices(
    op: Op, values: Sequence[DeviceValue], attrs: Mapping[str, Any], place: Accelerator
) -> None:
    """Raise as the processor does where an index is out of range; kernels read 0 there."""
    indices = values[_INDICES[op.name]]
    size: Any = values[0].type.shape[attrs["axis"]]
    if 0 in indices.type.shape:
        return
    reading = _Reading(False)
    read = reading.add(indices)

    def record(params: Sequence[Value]) -> list[Value]:
        emit = active().emit
        found = follow(read.path, params[read.number], emit)
        if found.type.dtype is not i64:
            found = emit(OPS["cast"], (found,), {"dtype": i64})
        # By their bits negative ones are larger than any size.
        bits = emit(OPS["bitcast"], (found,), {"dtype": u64})
        axes = tuple(range(bits.type.ndim))
        return [emit(OPS["reduce_max"], (bits,), {"axes": axes, "ties": "first"}) if axes else bits]

    (found,) = place.run(("largest index", read), record, reading.operands)
    if int(place.get(found, (), found.type)) < size:
        return
    array = place.get(indices.storage, indices.path, indices.type)
    bad = array[(array < 0) | (array >= size)].flat[0]
    raise IndexError(f"{op.name}: index {bad} is out of range for an axis of size {size}")


def write_elements(target: Storage, path: Path, new: EagerValue) -> None:
    """Put `new`, of any device, where `path` leads to in the memory of a GPU."""
    place = target.place
    assert place is not None
    if isinstance(new, DeviceValue) and new.storage.place is not place:
        assert new.storage.place is not None
        new = EagerValue(new.storage.place.get(new.storage, new.path, new.type), new.type)
    if not isinstance(new, DeviceValue) and any(new.array.strides):
        new = DeviceValue(new.type, place.put(new.array))
    value = on_place(new, place, "a write")
    address = dense_address(target, path)
    if address is not None and value.storage is not target:
        # A piece without gaps is written by itself, so that rows of a tensor share one program.
        first, path = Operand(address, value.type), ()
    else:
        first = Operand(target.pointer, target.type)
    reading = _Reading(False)
    reading.known(first)
    read = reading.add(value, pieces=value.storage is not target)

    def record(params: Sequence[Value]) -> list[Value]:
        emit = active().emit
        content = follow(read.path, params[read.number], emit)
        if not path:
            shape = content.type.shape
            return [emit(OPS["reshape"], (content,), {"shape": shape})]
        return [updated(params[0], path, content, emit)]

    place.run(("write", path, read), record, reading.operands, {0: 0})
