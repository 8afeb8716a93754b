"""`sley.cuda`: NVIDIA GPUs, their memory, and waiting for them.

Without a GPU, or without its driver, counts and figures are 0; what needs one is an error that says
why there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .device import Device, current, set_current
from .errors import ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from ..runtime.cuda.device import Device as Gpu
    from ..runtime.cuda.memory import Statistics

# What runs GPUs is loaded when it is first asked for: most programs that import sley have none.

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """Whether tensors can lie on a GPU."""
    return device_count() > 0


def is_initialized() -> bool:
    """Whether the current GPU is in use."""
    from ..runtime.cuda import device as devices

    return devices.is_open(current())


def device_count() -> int:
    """The number of GPUs; 0 without a driver."""
    from ..runtime.cuda import device as devices

    return devices.device_count()


def current_device() -> int:
    """The number of the current GPU.

    Raises:
        UnsupportedError: there is no GPU.
    """
    _opened("current_device", None)
    return current()


def set_device(device: Any) -> None:
    """Makes a GPU the current one.

    Args:
        device: a number, or what `device()` takes.

    Raises:
        UnsupportedError: there is no such GPU.
    """
    number = _number(device)
    _opened("set_device", number)
    set_current(number)


def get_device_name(device: Any = None) -> str:
    """The product's name of a GPU.

    Raises:
        UnsupportedError: there is no such GPU.
    """
    return _opened("get_device_name", device).info.name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """(major, minor) of what a GPU can do: (9, 0) for an H100.

    Raises:
        UnsupportedError: there is no such GPU.
    """
    return _opened("get_device_capability", device).info.capability


def synchronize(device: Any = None) -> None:
    """Waits until a GPU has done all that it was given.

    Raises:
        UnsupportedError: there is no such GPU.
    """
    _opened("synchronize", device).synchronize()


def memory_allocated(device: Any = None) -> int:
    """Bytes of a GPU's memory in use."""
    return _figures(device).allocated


def max_memory_allocated(device: Any = None) -> int:
    """The most that `memory_allocated` was since `reset_peak_memory_stats`."""
    return _figures(device).max_allocated


def memory_reserved(device: Any = None) -> int:
    """Bytes of a GPU's memory that are in use or kept for reuse."""
    return _figures(device).reserved


def max_memory_reserved(device: Any = None) -> int:
    """The most that `memory_reserved` was since `reset_peak_memory_stats`."""
    return _figures(device).max_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Counts the most from now on.

    Raises:
        UnsupportedError: there is no such GPU.
    """
    _opened("reset_peak_memory_stats", device).pool.statistics.reset_peaks()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes of a GPU's memory that no process uses, and all.

    Raises:
        UnsupportedError: there is no such GPU.
    """
    return _opened("mem_get_info", device).memory_info()


def empty_cache() -> None:
    """Gives memory that is kept for reuse back to other processes."""
    from ..runtime.cuda import device as devices

    opened = devices.opened(current())
    if opened is not None:
        opened.trim()


def manual_seed(seed: int) -> None:
    """Does nothing: the random state is one for all devices, see `sley.manual_seed`."""


def manual_seed_all(seed: int) -> None:
    """Does nothing: the random state is one for all devices, see `sley.manual_seed`."""


def _number(device: Any) -> int:
    """The number of the GPU that `device` names."""
    if device is None:
        return current()
    if isinstance(device, int):
        return device
    named = Device(device)
    if named.type != "cuda":
        raise ArgumentError(f"{str(named)!r} is no GPU", hint='write "cuda", "cuda:1" or 1')
    return current() if named.index is None else named.index


def _opened(name: str, device: Any) -> Gpu:
    """The GPU for the function `name`."""
    from ..runtime.cuda import device as devices
    from ..runtime.cuda.errors import NoDeviceError

    try:
        return devices.device(_number(device))
    except NoDeviceError as error:
        raise UnsupportedError(
            f"cuda.{name}(): {error}", hint="ask sley.cuda.device_count() first"
        ) from None


def _figures(device: Any) -> Statistics:
    """Of a GPU's memory; none of one that is not in use."""
    from ..runtime.cuda import device as devices
    from ..runtime.cuda.memory import Statistics

    opened = devices.opened(_number(device))
    return Statistics() if opened is None else opened.pool.statistics
