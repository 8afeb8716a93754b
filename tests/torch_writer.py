"""Writes zip files as `torch.save` does, from pickle opcodes: also what PyTorch itself would
not write."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np

KINDS = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage",
    "int64": "LongStorage", "int32": "IntStorage", "uint8": "ByteStorage", "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
}  # fmt: skip


def text(value: str) -> bytes:
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    data = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(data)]) + data


def called(name: str, *arguments: bytes) -> bytes:
    """module.name(*arguments)."""
    module, _, last = name.rpartition(".")
    target = pickle.GLOBAL + f"{module}\n{last}\n".encode()
    return target + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def numbers(values: Any) -> bytes:
    return pickle.MARK + b"".join(map(number, values)) + pickle.TUPLE


def tensor(
    key: str, kind: str, count: int, offset: int, shape: Any, strides: Any, requires: bool = False
) -> bytes:
    """A tensor over storage `key`, which has `count` elements."""
    storage = b"ctorch\n" + KINDS[kind].encode() + b"\n"
    identity = text("storage") + storage + text(key) + text("cpu") + number(count)
    memory = pickle.MARK + identity + pickle.TUPLE + pickle.BINPERSID
    flag = pickle.NEWTRUE if requires else pickle.NEWFALSE
    return called(
        "torch._utils._rebuild_tensor_v2", memory, number(offset), numbers(shape),
        numbers(strides), flag, called("collections.OrderedDict"),
    )  # fmt: skip


def mapping(**items: bytes) -> bytes:
    pairs = b"".join(text(name) + value for name, value in items.items())
    return pickle.EMPTY_DICT + pickle.MARK + pairs + pickle.SETITEMS


def file_of(
    body: bytes, storages: dict[str, np.ndarray] | None = None, byteorder: str = "little",
    more: dict[str, bytes] | None = None,
) -> bytes:  # fmt: skip
    """The zip of an object's opcodes and of storages."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.PROTO + b"\x02" + body + pickle.STOP)
        archive.writestr("archive/byteorder", byteorder)
        for key, array in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return target.getvalue()
