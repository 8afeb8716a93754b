"""This machine's processor, as it lies on disk: LLVM, which tells it, takes longer to load than all
else that a program needs which is found there."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

import llvmlite

from ..backends.llvm import native
from ..backends.llvm.native import HostInfo, Identity
from ..backends.llvm.target import host_target
from ..ir.target import Target
from .cache import ObjectCache
from .config import config

_TELLING = ("vendor_id", "cpu family", "model", "stepping", "flags")
_MOST = 1 << 14  # characters of what the system says of one processor


def host(cpu: str = "host") -> HostInfo:
    """`native.host`, without LLVM where this machine is known."""
    return native.host(cpu, identity())


def target(cpu: str) -> Target:
    """`host_target`, likewise."""
    return host_target(cpu, known=identity())


@functools.cache
def identity() -> Identity:
    """This machine's, from the disk or from LLVM."""
    folder, key = config().cache_dir, _key()
    if folder is None or key is None:
        return native.identity()
    cache = ObjectCache(folder / "processors", suffix=".json")
    content = cache.get(key)
    if content is None:
        found = native.identity()
        cache.put(key, json.dumps(found).encode())
        return found
    cpu, features, triple = json.loads(content)
    return Identity(cpu, tuple((name, has) for name, has in features), triple)


def _key(info: str = "/proc/cpuinfo") -> str | None:
    """A hash of what the system says of the first processor; None where it does not say enough."""
    try:
        with Path(info).open() as file:
            first = file.read(_MOST).split("\n\n")[0]
    except OSError:
        return None
    rows = dict(row.split("\t", 1) for row in first.splitlines() if "\t" in row)
    if not all(name in rows for name in _TELLING):
        return None
    parts = (llvmlite.__version__, *(rows[name] for name in _TELLING))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
