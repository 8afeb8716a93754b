"""Object code on disk: one file for each piece, found by a hash of what it was made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_DIGEST = 32  # bytes of sha256 in front of the content
MAX_BYTES = 512 << 20
_CHECK_EVERY = 64  # writes between two looks at the size of the folder


class ObjectCache:
    """Files in `folder`, at most about `max_bytes` together; the longest unused go first.

    A file that is not what was written (cut short, changed) counts as absent and is removed. A
    folder that cannot be written to makes a cache that remembers nothing.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES, suffix: str = ".o") -> None:
        self.folder = folder
        self.suffix = suffix
        self.max_bytes = max_bytes
        self._writes = 0

    def get(self, key: str) -> bytes | None:
        """The content kept under `key`, or None."""
        path = self._path(key)
        try:
            whole = path.read_bytes()
        except OSError:
            return None
        digest, content = whole[:_DIGEST], whole[_DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            _remove(path)
            return None
        _touch(path)
        return content

    def __iter__(self) -> Iterator[str]:
        """The keys of all files, whole or not."""
        return (path.name.removesuffix(self.suffix) for path in self.folder.glob(self._any))

    def __contains__(self, key: str) -> bool:
        """Whether there is a file for `key`, whole or not."""
        return self._path(key).exists()

    def put(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`; readers see all of it or nothing."""
        import tempfile  # nothing is written where all is found

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix="new-")
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(name, self._path(key))
        except OSError:
            return
        self._writes += 1
        if self._writes % _CHECK_EVERY == 1:
            self.trim()

    def trim(self) -> None:
        """Remove the longest unused files until the rest fits into `max_bytes`."""
        found = []
        for path in self.folder.glob(self._any):
            try:
                status = path.stat()
            except OSError:  # another process was faster
                continue
            found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found, key=lambda item: item[0]):
            if total <= self.max_bytes:
                return
            _remove(path)
            total -= size

    def fetch(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The content of `key`; `make` makes it where it is absent."""
        content = self.get(key)
        if content is None:
            content = make()
            self.put(key, content)
        return content

    @property
    def _any(self) -> str:
        return f"*{self.suffix}"

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{self.suffix}"


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:  # gone already, or not ours
        return


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:  # a folder that is read only
        return
