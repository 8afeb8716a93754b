"""A file that is read: its name for messages, its size, exact reads."""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from ..errors import LoadError


class Source:
    """An open binary file, read from where it stands.

    Attributes:
        name: for messages.
        file: a seekable binary file.
        start: where the contents begin in it.
        size: bytes from there to the end.
    """

    def __init__(self, file: Any, name: str) -> None:
        self.file = file
        self.name = name
        self.start = file.tell()
        self.size = file.seek(0, io.SEEK_END) - self.start
        file.seek(self.start)

    def fail(self, message: str, hint: str | None = None) -> NoReturn:
        """Raise the error of a file that cannot be loaded."""
        raise LoadError(f"{self.name}: {message}", hint=hint) from None

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer at the end of the file."""
        self.file.seek(self.start + offset)
        return self.file.read(size)

    def fill(self, array: np.ndarray, offset: int, what: str) -> int:
        """Read the bytes of a dense array from `offset`; gives their CRC-32.

        Raises:
            LoadError: the file ends before.
        """
        self.file.seek(self.start + offset)
        target = array.reshape(-1).view(np.uint8).data
        checksum = 0
        while target:
            count = self.file.readinto(target[: 1 << 22])
            if not count:
                self.fail(f"{what}: the file ends {len(target)} bytes too early")
            checksum = zlib.crc32(target[:count], checksum)
            target = target[count:]
        return checksum


@contextlib.contextmanager
def opened(source: Any) -> Iterator[Source]:
    """A path or a binary file-like object as a `Source`.

    Raises:
        OSError: the path cannot be opened.
        LoadError: the object is no binary file.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield Source(file, os.fspath(source))
        return
    name = str(getattr(source, "name", None) or f"<{type(source).__name__}>")
    if not hasattr(source, "read"):
        raise LoadError(f"{name} is neither a path nor a binary file")
    seekable = hasattr(source, "seekable") and source.seekable()
    if not seekable or not hasattr(source, "readinto"):
        content = source.read()
        if not isinstance(content, bytes):
            raise LoadError(f"{name} gives text", hint='open it with mode "rb"')
        source = io.BytesIO(content)
    yield Source(source, name)
