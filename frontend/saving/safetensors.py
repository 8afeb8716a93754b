"""The safetensors format: 8 bytes with the length of a JSON header, the header, the tensors.

The header maps each name to {"dtype", "shape", "data_offsets": [begin, end]} and "__metadata__" to
strings. The data lies without gaps, in the order of the offsets, little-endian, row-major.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...ir.dtypes import ALL, DType, of_numpy
from ..errors import ArgumentError
from .source import Source

MAX_HEADER = 100_000_000  # as in the reference reader
_CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32",
    "int32": "I32", "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float32": "F32", "float64": "F64", "complex64": "C64",
}  # fmt: skip
_BY_CODE: dict[str, DType] = {_CODES[d.public]: d for d in ALL if d.public in _CODES}
_CHECKSUMS = "crc32"  # the key of the metadata that holds them, by name; "" is the header's


class Entry(NamedTuple):
    """One tensor of a file: its type, and where its bytes begin after the header."""

    dtype: DType
    shape: tuple[int, ...]
    begin: int
    nbytes: int


def has_code(dtype: DType) -> bool:
    """Whether the format knows the dtype."""
    return dtype.public in _CODES


def write(file: Any, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays of dtypes that the format knows, and strings, to an open binary file.

    Raises:
        ArgumentError: the header would be too long.
    """
    # The largest elements first: so each begins at a multiple of its element size.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    dense = [(name, np.ascontiguousarray(array)) for name, array in ordered]
    header: dict[str, Any] = {}
    position = 0
    for name, array in dense:
        dtype = of_numpy(array.dtype)
        assert dtype is not None and sys.byteorder == "little"
        end = position + array.nbytes
        shape = list(arrays[name].shape)
        offsets = [position, end]
        header[name] = {"dtype": _CODES[dtype.public], "shape": shape, "data_offsets": offsets}
        position = end
    checksums = {name: zlib.crc32(_bytes(array)) for name, array in dense}
    checksums[""] = _header_checksum(header, metadata)
    text = {**metadata, _CHECKSUMS: json.dumps(checksums)}
    encoded = json.dumps({"__metadata__": text, **header}, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > MAX_HEADER:
        raise ArgumentError(f"a header of {len(encoded)} bytes; the format ends at {MAX_HEADER}")
    file.write(len(encoded).to_bytes(8, "little"))
    file.write(encoded)
    for _, array in dense:
        file.write(_bytes(array))


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _header_checksum(header: Mapping[str, Any], metadata: Mapping[str, str]) -> int:
    return zlib.crc32(json.dumps([header, dict(metadata)], sort_keys=True).encode())


def read(source: Source) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, in the order of its header, and its metadata.

    Checksums are compared where the file has them (files that `write` made).

    Raises:
        LoadError: the file is no safetensors file, or it is damaged.
    """
    header, start = _header(source)
    metadata = _metadata(source, header.pop("__metadata__", {}))
    checksums = _checksums(source, metadata.pop(_CHECKSUMS, None))
    if checksums is not None and checksums.get("") != _header_checksum(header, metadata):
        source.fail("the header is damaged: its checksum differs")
    entries = {name: _entry(source, name, info) for name, info in header.items()}
    _check_places(source, entries, source.size - start)
    if checksums is not None and checksums.keys() - {""} != entries.keys():
        source.fail("the header is damaged: it has checksums of other tensors")
    arrays = {}
    for name, entry in entries.items():
        array = np.empty(entry.shape, entry.dtype.numpy)
        found = source.fill(array, start + entry.begin, f"tensor {name!r}")
        if checksums is not None and checksums[name] != found:
            source.fail(f"tensor {name!r} is damaged: its checksum differs")
        if entry.dtype.kind == "bool" and (array.view(np.uint8) > 1).any():
            source.fail(f"tensor {name!r} of bools has bytes other than 0 and 1")
        arrays[name] = array
    return arrays, metadata


def _header(source: Source) -> tuple[dict[str, Any], int]:
    """The header as parsed, and where the data begins."""
    length = int.from_bytes(source.at(0, 8), "little")
    if source.size < 8 or length > source.size - 8:
        source.fail(f"a header of {length} bytes in a file of {source.size}")
    if length > MAX_HEADER:
        source.fail(f"a header of {length} bytes, more than {MAX_HEADER}")
    header = parse_json(source, source.at(8, length), "the header")
    if not isinstance(header, dict):
        source.fail("the header is no JSON object")
    return header, 8 + length


def parse_json(source: Source, text: bytes | str, what: str) -> Any:
    """JSON as the standard has it: no NaN, and no name twice in an object.

    Raises:
        LoadError: the text is something else.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name stands twice in one object")
        return found

    def refused(word: str) -> Any:
        raise ValueError(f"{word} is no JSON number")

    try:
        text = text if isinstance(text, str) else text.decode()
        return json.loads(text, object_pairs_hook=unique, parse_constant=refused)
    except (ValueError, RecursionError) as error:
        source.fail(f"{what} is no JSON: {error}")


def _metadata(source: Source, found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        source.fail("__metadata__ is no object of strings")
    return found


def _checksums(source: Source, text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    found = parse_json(source, text, "the list of checksums")
    if not isinstance(found, dict) or not all(isinstance(v, int) for v in found.values()):
        source.fail("the list of checksums is no object of numbers")
    return found


def _entry(source: Source, name: str, info: Any) -> Entry:
    """What the header says about one tensor."""
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(info, dict) or info.keys() != keys:
        source.fail(f"tensor {name!r}: the header has not just {sorted(keys)} for it")
    code = info["dtype"]
    if not isinstance(code, str) or code not in _BY_CODE:
        source.fail(f"tensor {name!r} has the dtype {code!r}, which sley has not")
    shape, offsets = info["shape"], info["data_offsets"]
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        source.fail(f"tensor {name!r}: shape {shape} and offsets {offsets} are no lists of sizes")
    dtype = _BY_CODE[code]
    check_shape(source, shape, dtype.itemsize, f"tensor {name!r}")
    nbytes = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != nbytes:
        source.fail(f"tensor {name!r}: {dtype.public}{shape} does not fill the offsets {offsets}")
    return Entry(dtype, tuple(shape), offsets[0], nbytes)


def check_shape(source: Source, shape: Sequence[int], itemsize: int, what: str) -> None:
    """Refuse sizes that no array can have.

    Raises:
        LoadError: more than 64 axes, or sizes whose product does not fit 63 bits.
    """
    if len(shape) > 64:
        source.fail(f"{what} has {len(shape)} axes; no array has more than 64")
    if math.prod(n for n in shape if n) * itemsize >= 1 << 63:
        source.fail(f"{what} has the sizes {list(shape)}, too large for any memory")


def _sizes(found: Any) -> bool:
    """Whether this is a list of numbers from 0 to 2^63 - 1."""
    return isinstance(found, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in found)


def _check_places(source: Source, entries: Mapping[str, Entry], room: int) -> None:
    """Tensors must fill the file: no gap, no overlap, nothing behind its end."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda e: (e[1].begin, e[1].nbytes)):
        if entry.begin != position:
            word = "overlaps the one before" if entry.begin < position else "leaves a gap"
            source.fail(f"tensor {name!r} begins at {entry.begin}: it {word}, at {position}")
        position += entry.nbytes
    if position != room:
        source.fail(f"the tensors have {position} bytes, the file has {room} for them: truncated?")
