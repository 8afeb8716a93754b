"""`save` and `load`: which format a file has, and what goes into it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..construct import from_numpy
from ..context import ambient
from ..errors import ArgumentError
from ..tensor import Tensor, elements, no_data
from . import safetensors
from .atomic import replacing
from .decoding import decode
from .encoding import encode
from .locations import Locations
from .source import Source, opened

_LAYOUT = "sley"  # the key of the metadata that holds the description of the objects
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF"  # how PyTorch's files began before they were zips


def save(obj: Any, f: Any) -> None:
    """Write `obj` to the path or binary file `f`.

    `obj` is made of dicts, lists, tuples, tensors, arrays, numbers, strings, None, dtypes and
    generators: in particular what `state_dict()` gives. Tensors that share memory still do when
    they are loaded. The file is in the safetensors format, with a description of the object in its
    metadata. To a path that ends in ".safetensors" or ".npz" a dict of names and tensors is
    written, in a form that other programs know.

    A path is replaced as a whole, after the last byte has reached the disk.

    Raises:
        ArgumentError: there is something else in `obj`; the message says where.
        OSError: the file cannot be written; a path is then as it was.

    >>> import io, sley
    >>> file = io.BytesIO()
    >>> sley.save({"weight": sley.ones(2), "epoch": 3}, file)
    >>> _ = file.seek(0)
    >>> sley.load(file)
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    if isinstance(f, (str, os.PathLike)):
        suffix = os.path.splitext(os.fspath(f))[1].lower()
        write = _writer(obj, suffix)
        with replacing(f) as file:
            write(file)
    elif hasattr(f, "write"):
        _writer(obj, "")(f)
    else:
        raise ArgumentError(f"save() takes a path or a binary file, not a {type(f).__name__}")


def _writer(obj: Any, suffix: str) -> Any:
    """What writes `obj` to an open file. All that can be wrong with it is found before."""
    if suffix == ".npz":
        from . import npz

        arrays = _named_arrays(obj, suffix)
        return lambda file: npz.write(file, arrays)
    if suffix == ".safetensors":
        arrays = _named_arrays(obj, suffix)
        for name, array in arrays.items():
            if array.dtype == np.complex128:
                raise ArgumentError(
                    f"cannot save {name}: safetensors has no complex128",
                    hint="use another suffix, or view_as_real()",
                )
        return lambda file: safetensors.write(file, arrays, {"format": "pt"})
    text, arrays = encode(obj)
    metadata = {"format": "sley", _LAYOUT: text}
    return lambda file: safetensors.write(file, arrays, metadata)


def _named_arrays(obj: Any, suffix: str) -> dict[str, np.ndarray]:
    """The elements of a dict of tensors.

    Raises:
        ArgumentError: it is something else.
    """
    if not isinstance(obj, Mapping):
        raise ArgumentError(f"to {suffix} a dict of tensors is saved, not a {type(obj).__name__}")
    arrays = {}
    for name, value in obj.items():
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise ArgumentError(f"{name!r} cannot be the name of a tensor in a {suffix} file")
        if isinstance(value, Tensor):
            if value.storage.trace is not None or ambient.trace is not None:
                no_data(value, "it was saved")
            value = elements(value)
        if not isinstance(value, np.ndarray):
            raise ArgumentError(
                f"{name!r} is a {type(value).__name__}; {suffix} has tensors only",
                hint="use another suffix, such as .sley, for nested objects",
            )
        arrays[name] = value
    return arrays


def load(f: Any, map_location: Any = None, *, weights_only: bool | None = None) -> Any:
    """What a file holds: one of `save`, a .safetensors or .npz file (a dict of tensors), or a zip
    file of `torch.save` with tensors and plain containers.

    The contents decide, not the name. Nothing in a file is executed, whatever it says.

    Args:
        map_location: the device of the tensors; or a dict of the names of devices to others, such
            as {"cuda:0": "cpu"}; or a function of (storage, name of the device) that returns the
            storage (which is on the processor), `storage.cuda(..)`, a device, or None. Where it is
            silent each tensor goes to the device that it was saved from.
        weights_only: accepted without effect: there is no other way to read a file.

    Raises:
        LoadError: the file is damaged, or of a kind that is not read, or there is no device such
            as a tensor was saved from; the message says what.
        ArgumentError: `map_location` names no device.
        OSError: the path cannot be opened.
    """
    locations = Locations(map_location)
    with opened(f) as source:
        head = source.at(0, 9)
        if head[:2] == b"PK":
            return _load_zip(source, locations)
        if head[8:] == b"{":
            return _load_safetensors(source, locations)
        _refuse(source, head)


def _load_zip(source: Source, locations: Locations) -> Any:
    # Loaded by those who have such files.
    from . import npz, torch_file
    from .archive import Archive

    names = list(Archive(source, compressed=True).members)
    if any(name.endswith("/data.pkl") for name in names):
        return torch_file.read(source, locations)
    if not all(name.endswith(".npy") for name in names):
        source.fail(f"a zip with neither tensors of PyTorch nor arrays of numpy: {names[:3]}")
    return _tensors(npz.read(source), locations)


def _load_safetensors(source: Source, locations: Locations) -> Any:
    arrays, metadata = safetensors.read(source)
    text = metadata.get(_LAYOUT)
    if text is not None:
        return decode(source, text, arrays, locations)
    return _tensors(arrays, locations)


def _tensors(arrays: Mapping[str, np.ndarray], locations: Locations) -> dict[str, Tensor]:
    """The arrays of a file that does not tell where they were."""
    found = {name: from_numpy(array) for name, array in arrays.items()}
    for tensor in found.values():
        locations.place([tensor], "cpu")
    return found


def _refuse(source: Source, head: bytes) -> None:
    if not head:
        source.fail("the file is empty, or stands at its end", hint="seek(0) before loading")
    if head.startswith(_LEGACY) or source.at(257, 5) == b"ustar":
        source.fail(
            "a file of torch.save from before it wrote zips, which is not read",
            hint="save it again with a current torch",
        )
    if head[:1] == b"\x80":
        source.fail("a pickle, which is not read: it could run any code")
    if head[:6] == b"\x93NUMPY":
        source.fail("a single array", hint="use sley.from_numpy(numpy.load(path))")
    source.fail("neither a safetensors file nor an .npz nor a zip of torch.save")
