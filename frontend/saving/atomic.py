"""Files that are replaced as a whole: whoever reads sees the old contents or the new ones."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` at the end of the block.

    It lies beside `path` (as `.sley-….tmp`), reaches the disk, and is then renamed, which is one
    step for a reader. After an exception `path` is as it was and the new file is gone; a killed
    process leaves the new file behind, never a half-written `path`.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    target = os.path.realpath(os.fspath(path))  # through a symbolic link: the link stays one
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no folder to write into", folder)
    temporary = os.path.join(folder, f".sley-{os.urandom(8).hex()}.tmp")
    file = open(temporary, "xb")  # noqa: SIM115 closed below, before the rename
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Let the new name reach the disk, where a folder can be opened."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
