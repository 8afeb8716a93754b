"""What environment variables say: the one file of sley that reads them.

SLEY_NUM_THREADS  threads of the CPU pool            default: the cores this process may use
SLEY_CPU          host, x86-64, x86-64-v3, x86-64-v4 default: host
SLEY_DUMP         folder for programs and kernels    default: nothing is written
SLEY_LOG          words separated by commas          default: silent
SLEY_VERIFY       1: verify after every pass         default: 0
SLEY_GUARD        start, end: buffers beside guard   default: off
                  pages (slow; for finding faults)
SLEY_BLOCKING     1: wait for a GPU after each       default: 0
                  kernel (slow; a fault names it)
SLEY_TUNE         1: time several schedules of each  default: 0
                  kernel on the GPU, keep the best
SLEY_CACHE_DIR    folder of compiled programs, off   default: ~/.cache/sley (XDG_CACHE_HOME)
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_CPUS = ("host", "x86-64", "x86-64-v3", "x86-64-v4")
_MAX_THREADS = 1024


@dataclass(frozen=True)
class Config:
    num_threads: int
    cpu: str
    dump: Path | None
    log: frozenset[str]
    verify: bool
    guard: str | None
    blocking: bool
    tune: bool
    cache_dir: Path | None


@functools.cache
def config() -> Config:
    """The settings, read once for the process."""
    return read(os.environ)


def reload() -> Config:
    """Read the environment again (for tests)."""
    config.cache_clear()
    return config()


def read(environ: Mapping[str, str]) -> Config:
    """The settings that `environ` asks for; a variable that is empty counts as not set."""

    def setting(name: str, parse: Callable[[str], T], default: Callable[[], T]) -> T:
        text = environ.get(name, "").strip()
        if not text:
            return default()
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"environment variable {name}={text!r}: {error}") from None

    return Config(
        num_threads=setting("SLEY_NUM_THREADS", _thread_count, _cores),
        cpu=setting("SLEY_CPU", _cpu, lambda: "host"),
        dump=setting("SLEY_DUMP", _folder, lambda: None),
        log=setting("SLEY_LOG", _words, frozenset),
        verify=setting("SLEY_VERIFY", _flag, lambda: False),
        guard=setting("SLEY_GUARD", _edge, lambda: None),
        blocking=setting("SLEY_BLOCKING", _flag, lambda: False),
        tune=setting("SLEY_TUNE", _flag, lambda: False),
        cache_dir=setting("SLEY_CACHE_DIR", _cache_folder, lambda: _default_cache(environ)),
    )


def _thread_count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= _MAX_THREADS:
        raise ValueError(f"expected a whole number from 1 to {_MAX_THREADS}")
    return int(text)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    return min(os.cpu_count() or 1, _MAX_THREADS)


def _cpu(text: str) -> str:
    if text not in _CPUS:
        raise ValueError(f"expected one of {', '.join(_CPUS)}")
    return text


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected 1 or 0")


def _edge(text: str) -> str | None:
    if text.lower() in ("off", "0"):
        return None
    if text.lower() not in ("start", "end"):
        raise ValueError("expected start, end or off")
    return text.lower()


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in text.split(",") if word.strip())


def _folder(text: str) -> Path | None:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError("expected a folder, this is a file")
    return path


def _cache_folder(text: str) -> Path | None:
    return None if text.lower() in ("off", "0") else _folder(text)


def _default_cache(environ: Mapping[str, str]) -> Path | None:
    base = environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path("~/.cache").expanduser()) / "sley"
