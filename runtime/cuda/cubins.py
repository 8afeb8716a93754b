"""Machine code of GPUs by the Triton text that it is made from: compiled once, then on disk."""

from __future__ import annotations

import functools
from pathlib import Path

from ...backends.triton.compile import Compiler
from ..cache import ObjectCache
from ..config import config


def cubin_compiler() -> Compiler:
    """The compiler of this process, with the folder and the number of workers of its settings."""
    return _compiler(config().num_threads, config().cache_dir)


@functools.cache
def _compiler(workers: int, folder: Path | None) -> Compiler:
    store = None if folder is None else ObjectCache(folder / "cubins", suffix=".cubin")
    return Compiler(workers, store)
