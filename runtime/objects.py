"""Object code by the LLVM text that it is made from: compiled once, then found on disk."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import llvmlite

from ..backends.llvm import native
from .cache import ObjectCache
from .config import config


class ObjectCode(NamedTuple):
    """An object file, and the key under which it lies on disk."""

    key: str
    code: bytes


@functools.cache
def objects_in(folder: Path) -> ObjectCache:
    """The object files of the cache in `folder`."""
    return ObjectCache(folder / "objects")


def object_code(
    text: str, *, cpu: str, features: str, triple: str | None = None, opt_level: int = 2
) -> ObjectCode:
    """The object file of an LLVM text; arguments as those of `native.compile_object`.

    Raises:
        LLVMError: LLVM refuses the text.
    """

    def make() -> bytes:
        return native.compile_object(
            text, cpu=cpu, features=features, triple=triple, opt_level=opt_level
        )

    made_by = (opt_level, native.PASSES, llvmlite.__version__)
    parts = (text, cpu, features, triple, *made_by)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    folder = config().cache_dir
    return ObjectCode(key, make() if folder is None else objects_in(folder).fetch(key, make))
