"""numpy's .npz: a zip of .npy files, each with a short header and the elements. Arrays of objects
do not exist here: their elements would be a pickle."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.dtypes import is_foreign, of_numpy
from ..errors import ArgumentError
from .archive import Archive
from .safetensors import check_shape
from .source import Source

_MAGIC = b"\x93NUMPY"
# The dict that numpy writes. A pattern is stricter than evaluating a literal, and cannot run away.
_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[<>|=][a-zA-Z][0-9]{1,4})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:[0-9]{1,19}, ?)*(?:[0-9]{1,19})?)\),? ?\} *\n?"
)
_MAX_HEADER = 10_000


def write(file: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays under their names, uncompressed, as `numpy.savez` does.

    Raises:
        ArgumentError: numpy's format has no such dtype.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc" or is_foreign(array.dtype):
            raise ArgumentError(
                f"cannot save {name}: .npz has no {array.dtype}", hint="use .safetensors"
            )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read(source: Source) -> dict[str, np.ndarray]:
    """The arrays of a file by name.

    Raises:
        LoadError: the file is damaged, or has something else than arrays of sley's dtypes.
    """
    archive = Archive(source, compressed=True)
    return {name.removesuffix(".npy"): _array(source, archive, name) for name in archive.members}


def _array(source: Source, archive: Archive, name: str) -> np.ndarray:
    size = archive.members[name].file_size
    start = archive.begin(name, 12)
    wide = 4 if start[6:7] > b"\x01" else 2
    length = int.from_bytes(start[8 : 8 + wide], "little")
    if len(start) < 12 or start[:6] != _MAGIC or start[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        source.fail(f"the zip's member {name!r} is no .npy file")
    begin = 8 + wide + length
    if length > _MAX_HEADER or begin > size:
        source.fail(f"{name!r} has a header of {length} bytes; {_MAX_HEADER} are allowed")
    header = archive.begin(name, begin)[8 + wide :]
    dtype, fortran, shape = _parsed(source, name, header)
    check_shape(source, shape, dtype.itemsize, repr(name))
    if math.prod(shape) * dtype.itemsize != size - begin:
        source.fail(f"{name!r}: {dtype}{list(shape)} does not fill its {size - begin} bytes")
    array = np.empty(shape[::-1] if fortran else shape, dtype)
    archive.fill(name, np.empty(begin, np.uint8), array)
    array = array.T if fortran else array
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        source.fail(f"{name!r} of bools has bytes other than 0 and 1")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parsed(source: Source, name: str, header: bytes) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """The dtype, whether the first axis runs fastest, and the shape."""
    found = _HEADER.fullmatch(header.decode("latin1"))
    if found is None:
        what = "of Python objects" if b"'|O'" in header else "that numpy does not write"
        source.fail(f"{name!r} has a header {what}: {header[:80]!r}")
    try:
        dtype = np.dtype(found["descr"])
        known = of_numpy(dtype.newbyteorder("="))
    except TypeError:
        known = None
    if known is None:
        source.fail(f"{name!r} has elements {found['descr']!r}, a dtype that sley has not")
    shape = tuple(int(n) for n in found["shape"].replace(" ", "").split(",") if n)
    return dtype, found["fortran"] == "True", shape
