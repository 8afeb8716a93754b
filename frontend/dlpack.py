"""The structures of DLPack, and capsules of them: memory handed from one library to another.

A capsule holds a `DLManagedTensor` ("dltensor"), or since DLPack 1.0 a `DLManagedTensorVersioned`
("dltensor_versioned") with flags. Whoever takes it renames it, and calls the deleter when the last
array over the memory is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any, NamedTuple

import numpy as np

from ..ir.dtypes import ALL, DType
from .errors import SleyError

CPU = (1, 0)  # (kDLCPU, number)
GPU, PINNED = 2, 3  # kDLCUDA; kDLCUDAHost, which is memory of the processor
READ_ONLY, COPIED = 1, 2  # bits of the flags
_KINDS = {"int": 0, "uint": 1, "float": 2, "complex": 5, "bool": 6}
_OWN_KINDS = {"bfloat16": 4, "float8_e4m3fn": 10, "float8_e5m2": 12}  # by name
_VERSION = (1, 0)


class DLPackError(SleyError, BufferError):
    """Memory that cannot be handed over, or taken, in the way that was asked for."""


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("number", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_STRUCTURES: dict[bytes, type[_Managed] | type[_Versioned]] = {
    b"dltensor": _Managed,
    b"dltensor_versioned": _Versioned,
}
# Capsules keep the address of their name, not the name.
_USED = {name: b"used_" + name for name in _STRUCTURES}

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_valid = ctypes.pythonapi.PyCapsule_IsValid
_valid.argtypes = [ctypes.py_object, ctypes.c_char_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
# For the destructor of a capsule, which must not hold it: by its address.
_valid_at = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer_at = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

_exported: dict[int, tuple[Any, ...]] = {}  # by address: what keeps the memory alive


@_Deleter
def _delete(address: int) -> None:
    _exported.pop(address, None)


@_Deleter
def _drop(capsule: int) -> None:
    """Of a capsule: nobody took what it holds."""
    with contextlib.suppress(ctypes.ArgumentError):  # of a reader that refuses it, on its way
        _valid_at(capsule, b"")
    for name in _STRUCTURES:
        if _valid_at(capsule, name):
            _exported.pop(_pointer_at(capsule, name), None)


for _callback in (_delete, _drop):  # consumers may call them when modules are gone already
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_callback))


class Given(NamedTuple):
    """Memory to hand over; strides are in elements.

    Attributes:
        owner: what keeps it alive.
    """

    address: int
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writable: bool
    device: tuple[int, int]
    owner: Any


def of_array(array: np.ndarray, dtype: DType) -> Given:
    """The memory of an array."""
    address = array.__array_interface__["data"][0]
    strides = tuple(s // array.itemsize for s in array.strides)
    return Given(address, dtype, array.shape, strides, array.flags.writeable, CPU, array)


def capsule(given: Given, *, versioned: bool, copied: bool = False) -> Any:
    """A capsule over memory, which lives as long as the taker wants.

    Raises:
        DLPackError: the memory is read-only, which only versioned capsules can say.
    """
    writable, dtype, ndim = given.writable, given.dtype, len(given.shape)
    if not writable and not versioned:
        raise DLPackError(
            "read-only memory, such as that of an expanded tensor, cannot be handed over to an "
            "old reader of DLPack",
            hint="use contiguous() first",
        )
    shape = (ctypes.c_int64 * ndim)(*given.shape)
    strides = (ctypes.c_int64 * ndim)(*given.strides)
    code = _code(dtype)
    data = None if 0 in given.shape else given.address
    kind = _DataType(code, dtype.bits, 1)
    tensor = _Tensor(data, _Device(*given.device), ndim, kind, shape, strides, 0)
    deleter = ctypes.cast(_delete, ctypes.c_void_p)
    if versioned:
        flags = (0 if writable else READ_ONLY) | (COPIED if copied else 0)
        managed: Any = _Versioned(*_VERSION, None, deleter, flags, tensor)
    else:
        managed = _Managed(tensor, None, deleter)
    address = ctypes.addressof(managed)
    _exported[address] = (managed, shape, strides, given.owner)
    name = next(n for n, kind in _STRUCTURES.items() if isinstance(managed, kind))
    return _new(address, name, ctypes.cast(_drop, ctypes.c_void_p))


class Taken(NamedTuple):
    """What a capsule held; strides are in elements, None: dense.

    Attributes:
        array: over the memory, if it is the processor's.
        gpu: the number of the GPU whose memory it is, or None.
        owner: what keeps the memory.
    """

    address: int
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    writable: bool
    array: np.ndarray | None
    gpu: int | None
    owner: Any


def take(given: Any) -> Taken:
    """The memory of a capsule, which is used up by it.

    Raises:
        DLPackError: the capsule was taken already, or holds memory of a foreign kind of device, of
            a dtype that sley has not, or of a later version.
    """
    name = next((n for n in _STRUCTURES if _valid(given, n)), None)
    if name is None:
        raise DLPackError(
            "this is no capsule of DLPack, or one that was taken before",
            hint="give the array itself, which makes a capsule each time",
        )
    address = _pointer(given, name)
    managed = _STRUCTURES[name].from_address(address)
    if isinstance(managed, _Versioned) and managed.major != _VERSION[0]:
        raise DLPackError(f"a capsule of DLPack {managed.major}.{managed.minor}, not 1.x")
    tensor = managed.tensor
    on_gpu = tensor.device.type == GPU
    if not on_gpu and tensor.device.type not in (CPU[0], PINNED):
        raise DLPackError(
            f"memory of a device of DLPack's kind {tensor.device.type}, which sley does not use",
            hint="copy it to the processor first",
        )
    dtype = _dtype(tensor.dtype)
    writable = not (isinstance(managed, _Versioned) and managed.flags & READ_ONLY)
    _rename(given, _USED[name])
    owner = _Owner(managed, dtype)
    return Taken(
        address=(tensor.data or 0) + tensor.byte_offset,
        dtype=dtype,
        shape=tuple(tensor.shape[: tensor.ndim]),
        strides=tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None,
        writable=writable,
        array=None if on_gpu else np.asarray(owner).view(dtype.numpy),
        gpu=tensor.device.number if on_gpu else None,
        owner=owner,
    )


def _code(dtype: DType) -> int:
    return _OWN_KINDS.get(dtype.public) or _KINDS[dtype.kind]


def _dtype(found: _DataType) -> DType:
    for dtype in ALL:
        code = _code(dtype)
        if (found.code, found.bits, found.lanes) == (code, dtype.bits, 1):
            return dtype
    raise DLPackError(
        f"elements of kind {found.code} with {found.bits} bits and {found.lanes} lanes, which sley "
        "has not"
    )


class _Owner:
    """Memory that was taken, as numpy looks at it; given back with the last array over it."""

    def __init__(self, managed: Any, dtype: DType) -> None:
        tensor = managed.tensor
        shape = tuple(tensor.shape[: tensor.ndim])
        self._managed = managed
        raw = np.dtype(f"u{dtype.itemsize}" if dtype.itemsize <= 8 else "c16")
        # Capsules say nothing of alignment beyond that of an element.
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": raw.str,
            "data": ((tensor.data or 0) + tensor.byte_offset, False),
            "strides": tuple(s * dtype.itemsize for s in tensor.strides[: tensor.ndim])
            if tensor.strides
            else None,
        }

    def __del__(self) -> None:
        deleter = self._managed.deleter
        if deleter:
            _Deleter(deleter)(ctypes.addressof(self._managed))
