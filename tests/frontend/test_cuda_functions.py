"""`sley.cuda`: what is said without a GPU, and with one (simulated)."""

from __future__ import annotations

import pytest
from simulated_gpu import SimulatedGpu

import sley
from sley.frontend import device as naming
from sley.runtime.cuda import device as devices
from sley.runtime.cuda.errors import NoDeviceError

MiB = 1 << 20


@pytest.fixture
def none(monkeypatch):
    """A machine without a driver."""

    def missing(*arguments):
        raise NoDeviceError("no NVIDIA driver was found")

    monkeypatch.setattr(devices, "_opened", {})
    monkeypatch.setattr(devices, "load_api", missing)
    monkeypatch.setattr(devices, "open_driver", missing)
    devices.device_count.cache_clear()
    yield
    devices.device_count.cache_clear()


@pytest.fixture
def two(monkeypatch):
    """A machine with two GPUs."""
    drivers = [SimulatedGpu().driver, SimulatedGpu(32 * MiB).driver]

    def opened(number):
        if not 0 <= number < 2:
            raise NoDeviceError(f"there is no GPU number {number}")
        return drivers[number]

    monkeypatch.setattr(devices, "_opened", {})
    monkeypatch.setattr(devices, "open_driver", opened)
    monkeypatch.setattr(naming, "_current", 0)
    return drivers


def test_there_is_no_gpu(none):
    assert not sley.cuda.is_available() and sley.cuda.device_count() == 0
    device = sley.device("cuda" if sley.cuda.is_available() else "cpu")
    assert sley.zeros(1, device=device).device == device
    sley.cuda.empty_cache()
    sley.cuda.manual_seed(0)
    sley.cuda.manual_seed_all(0)
    assert not sley.cuda.is_initialized()
    assert sley.cuda.memory_allocated() == sley.cuda.max_memory_allocated() == 0
    assert sley.cuda.memory_reserved() == sley.cuda.max_memory_reserved() == 0
    for name in (
        "synchronize", "current_device", "get_device_name", "get_device_capability",
        "mem_get_info", "reset_peak_memory_stats",
    ):  # fmt: skip
        with pytest.raises(sley.UnsupportedError, match=rf"cuda.{name}\(\): no NVIDIA driver"):
            getattr(sley.cuda, name)()
    with pytest.raises(sley.UnsupportedError, match=r"cuda\.set_device"):
        sley.cuda.set_device(0)


def test_figures_of_a_gpu(two):
    assert not sley.cuda.is_initialized() and sley.cuda.memory_reserved() == 0
    assert not devices.is_open(0), "asking for figures opens no GPU"
    assert sley.cuda.get_device_name() == "simulated" and sley.cuda.is_initialized()
    assert sley.cuda.get_device_capability("cuda:1") == (9, 0)
    block = devices.device(0).empty(4 * MiB)
    assert sley.cuda.memory_allocated() == sley.cuda.memory_reserved("cuda") == 4 * MiB
    assert sley.cuda.mem_get_info(0) == (60 * MiB, 64 * MiB)
    del block
    assert sley.cuda.memory_allocated() == 0 and sley.cuda.memory_reserved() == 4 * MiB
    assert sley.cuda.max_memory_allocated() == sley.cuda.max_memory_reserved() == 4 * MiB
    sley.cuda.reset_peak_memory_stats()
    assert sley.cuda.max_memory_allocated() == 0
    sley.cuda.empty_cache()
    assert sley.cuda.memory_reserved() == 0
    sley.cuda.synchronize()


def test_the_current_gpu(two):
    assert sley.cuda.current_device() == 0
    sley.cuda.set_device(sley.device("cuda", 1))
    assert sley.cuda.current_device() == 1
    assert sley.cuda.mem_get_info() == (32 * MiB, 32 * MiB)
    with pytest.raises(sley.UnsupportedError, match="no GPU number 2"):
        sley.cuda.set_device(2)
    assert sley.cuda.current_device() == 1
    with pytest.raises(sley.ArgumentError, match="'cpu' is no GPU"):
        sley.cuda.synchronize("cpu")
