"""`sley.cuda`: what is known of NVIDIA GPUs. There is no backend for them yet, so none is found:
what asks answers so, and what would use one is an error."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import UnsupportedError

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """Whether tensors can lie on a GPU: False."""
    return False


def is_initialized() -> bool:
    """Whether a GPU is in use: False."""
    return False


def device_count() -> int:
    """The number of GPUs that can be used: 0."""
    return 0


def _missing(name: str) -> NoReturn:
    raise UnsupportedError(
        f"cuda.{name}(): there is no GPU that sley can use",
        hint="ask sley.cuda.is_available() first",
    )


def current_device() -> int:
    """Raises UnsupportedError: there is no GPU."""
    _missing("current_device")


def set_device(device: Any) -> None:
    """Raises UnsupportedError: there is no GPU."""
    _missing("set_device")


def get_device_name(device: Any = None) -> str:
    """Raises UnsupportedError: there is no GPU."""
    _missing("get_device_name")


def synchronize(device: Any = None) -> None:
    """Raises UnsupportedError: there is no GPU to wait for."""
    _missing("synchronize")


def memory_allocated(device: Any = None) -> int:
    """Raises UnsupportedError: there is no GPU."""
    _missing("memory_allocated")


def max_memory_allocated(device: Any = None) -> int:
    """Raises UnsupportedError: there is no GPU."""
    _missing("max_memory_allocated")


def memory_reserved(device: Any = None) -> int:
    """Raises UnsupportedError: there is no GPU."""
    _missing("memory_reserved")


def reset_peak_memory_stats(device: Any = None) -> None:
    """Raises UnsupportedError: there is no GPU."""
    _missing("reset_peak_memory_stats")


def empty_cache() -> None:
    """Gives memory of GPUs back: there is none to give."""


def manual_seed(seed: int) -> None:
    """Seeds the current GPU: there is none, so nothing happens, as in PyTorch."""


def manual_seed_all(seed: int) -> None:
    """Seeds all GPUs: there are none, so nothing happens, as in PyTorch."""
