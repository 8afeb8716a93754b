"""`sley.cuda`: NVIDIA GPUs, their memory, and waiting for them.

Without a GPU, or without its driver, counts and figures are 0; what needs one is an error that says
why there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .cuda_streams import (
    Event,
    Stream,
    current_stream,
    default_stream,
    device,
    device_of,
    number_of,
    stream,
)
from .device import current, set_current
from .errors import OutOfMemoryError, UnsupportedError

if TYPE_CHECKING:
    from ..runtime.cuda.device import Device as Gpu
    from ..runtime.cuda.memory import Statistics

# What runs GPUs is loaded when it is first asked for: most programs that import sley have none.

__all__ = [
    "DeviceProperties",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_peak_memory_stats",
    "set_device",
    "stream",
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
    number = number_of(device)
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


class DeviceProperties(NamedTuple):
    """What a GPU is.

    Attributes:
        major, minor: what it can do.
        total_memory: in bytes.
        multi_processor_count: how many multiprocessors it has.
        shared_memory_per_block_optin: bytes that the threads of one program can share.
        L2_cache_size: in bytes.
    """

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    shared_memory_per_block_optin: int
    L2_cache_size: int


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What a GPU is.

    Raises:
        UnsupportedError: there is no such GPU.
    """
    info = _opened("get_device_properties", device).info
    return DeviceProperties(
        info.name,
        *info.capability,
        info.total_bytes,
        info.multiprocessors,
        info.shared_bytes,
        info.l2_bytes,
    )


def is_bf16_supported() -> bool:
    """Whether there is a GPU whose tensor cores multiply bfloat16."""
    return is_available() and get_device_capability() >= (8, 0)


def init() -> None:
    """Takes the current GPU into use, which its first tensor would do.

    Raises:
        UnsupportedError: there is no GPU.
    """
    _opened("init", None)


def synchronize(device: Any = None) -> None:
    """Waits until a GPU has done all that it was given.

    Raises:
        UnsupportedError: there is no such GPU.
        DeviceError: a kernel has failed.
    """
    opened = _opened("synchronize", device)
    from .accelerator import told_of_errors  # what runs GPUs: most programs need none

    with told_of_errors():
        opened.synchronize()


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


def memory_stats(device: Any = None) -> dict[str, int]:
    """The figures of a GPU's memory by PyTorch's names, such as "allocated_bytes.all.peak"."""
    found = _figures(device)
    return {
        "allocated_bytes.all.current": found.allocated,
        "allocated_bytes.all.peak": found.max_allocated,
        "reserved_bytes.all.current": found.reserved,
        "reserved_bytes.all.peak": found.max_reserved,
    }


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The figures of a GPU's memory as a table."""
    from ..runtime.cuda.errors import show_bytes

    found = _figures(device)
    rows = [
        ("in use", found.allocated, found.max_allocated),
        ("in use or kept for reuse", found.reserved, found.max_reserved),
    ]
    lines = [f"memory of cuda:{number_of(device)}{'now':>26}{'at most':>14}"]
    lines += [f"{name:<26}{show_bytes(now):>14}{show_bytes(most):>14}" for name, now, most in rows]
    return "\n".join(lines)


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


def _opened(name: str, device: Any) -> Gpu:
    """The GPU for the function `name`."""
    from ..runtime.cuda import device as devices
    from ..runtime.cuda.errors import NoDeviceError

    try:
        return devices.device(number_of(device))
    except NoDeviceError as error:
        raise UnsupportedError(
            f"cuda.{name}(): {error}", hint="ask sley.cuda.device_count() first"
        ) from None


def _figures(device: Any) -> Statistics:
    """Of a GPU's memory; none of one that is not in use."""
    from ..runtime.cuda import device as devices
    from ..runtime.cuda.memory import Statistics

    opened = devices.opened(number_of(device))
    return Statistics() if opened is None else opened.pool.statistics
