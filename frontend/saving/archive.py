"""Zip files, with what one can do to harm a reader refused."""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from typing import cast

import numpy as np

from .source import Source

# What zipfile raises on damaged files.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, IndexError, KeyError,
)  # fmt: skip
_BLOCK = 1 << 20
# Beyond so many bytes members that unpack to more than so many times their size are refused.
_FREE, _RATIO = 1 << 28, 200


class Archive:
    """The members of a zip file by name. Nothing is ever unpacked to a folder."""

    def __init__(self, source: Source, *, compressed: bool) -> None:
        """Open the zip and check its table of contents.

        Args:
            compressed: whether members may be deflated.

        Raises:
            LoadError: it is damaged, a name leads out of a folder or occurs twice, members overlap
                or unpack to far more than they occupy.
        """
        self.source = source
        source.file.seek(source.start)
        with self._damage_named("the zip's table of contents"):
            self._zip = zipfile.ZipFile(source.file)
            infos = self._zip.infolist()
        self.members = {info.filename: info for info in infos}
        if len(self.members) < len(infos):
            source.fail("the zip has a name twice")
        for info in infos:
            self._check(info, compressed)
        self._check_places(infos)
        packed, unpacked = (sum(sizes) for sizes in zip((0, 0), *map(_sizes, infos)))
        if unpacked > max(_FREE, _RATIO * packed):
            source.fail(f"the zip's {packed} bytes would unpack to {unpacked}: refused as a bomb")

    def _check(self, info: zipfile.ZipInfo, compressed: bool) -> None:
        name = info.filename
        parts = name.split("/")
        if not name or name[0] == "/" or ".." in parts or any(c in name for c in "\\\0"):
            self.source.fail(f"the zip's member {name!r} leads out of its folder: refused")
        if info.flag_bits & 1:
            self.source.fail(f"the zip's member {name!r} is encrypted")
        allowed = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[: 2 if compressed else 1]
        if info.compress_type not in allowed:
            self.source.fail(f"the zip's member {name!r} is compressed by another method")
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            self.source.fail(f"the zip's member {name!r} is stored with two different sizes")

    def _check_places(self, infos: list[zipfile.ZipInfo]) -> None:
        """No two members may lie on the same bytes."""
        end = 0
        for info in sorted(infos, key=lambda i: i.header_offset):
            if info.header_offset < end:
                self.source.fail(f"the zip's member {info.filename!r} overlaps another")
            end = info.header_offset + 30 + info.compress_size
        if end > self.source.start + self.source.size:
            self.source.fail("the zip's members reach beyond the end of the file")

    @contextlib.contextmanager
    def _damage_named(self, what: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            self.source.fail(f"{what} is damaged: {error}")

    def read(self, name: str, limit: int = 1 << 30) -> bytes:
        """A member as bytes; its CRC is verified.

        Raises:
            LoadError: it is missing, damaged, or larger than `limit`.
        """
        info = self.members.get(name)
        if info is None:
            self.source.fail(f"the zip has no member {name!r}")
        if info.file_size > limit:
            self.source.fail(f"the zip's member {name!r} has {info.file_size} bytes, over {limit}")
        data = np.empty(info.file_size, np.uint8)
        self.fill(name, data)
        return data.tobytes()

    def begin(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a member, not verified yet.

        Raises:
            LoadError: it is damaged.
        """
        with self._damage_named(f"the zip's member {name!r}"), self._zip.open(name) as file:
            return file.read(size)

    def fill(self, name: str, *parts: np.ndarray) -> None:
        """Read a member into dense arrays, one after the other, which it must fill exactly; its
        CRC is verified.

        Raises:
            LoadError: it is missing or damaged, or has another size.
        """
        info = self.members.get(name)
        wanted = sum(part.nbytes for part in parts)
        if info is None or info.file_size != wanted:
            found = "is missing" if info is None else f"has {info.file_size} bytes"
            self.source.fail(f"the zip's member {name!r} {found}; {wanted} bytes are expected")
        with self._damage_named(f"the zip's member {name!r}"), self._zip.open(info) as member:
            file = cast(BufferedIOBase, member)
            for part in parts:
                target = part.reshape(-1).view(np.uint8).data
                while target:
                    count = file.readinto(target[:_BLOCK])
                    if not count:
                        raise EOFError(f"it ends {len(target)} bytes too early")
                    target = target[count:]
            if file.read(1):  # at the end the CRC is compared
                raise EOFError("it goes on after its end")


def _sizes(info: zipfile.ZipInfo) -> tuple[int, int]:
    return info.compress_size, info.file_size
