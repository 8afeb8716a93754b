"""How long work takes on a GPU, by marks on its stream."""

from __future__ import annotations

from collections.abc import Callable

from .device import Device
from .driver import Fill


def measure(
    device: Device, work: Callable[[], object], calls: int = 10, *, cold: bool = True
) -> list[float]:
    """Milliseconds that each of `calls` calls took, without those that the host needs before.

    Args:
        work: issues commands.
        cold: before each call all of the L2 cache is written to, so that nothing is found there.

    Raises:
        KernelFault: a kernel has failed.
    """
    driver = device.driver
    with device.lock:
        driver.attach()
        flushing = _flushing(device) if cold else None
        marks = [(driver.event(), driver.event()) for _ in range(calls)]
        work()  # what is loaded or made at a first call
        for first, last in marks:
            if flushing is not None:
                device.issue(flushing[0], "a fill")
            driver.record(first)
            work()
            driver.record(last)
        device.synchronize()
        return [driver.elapsed(first, last) for first, last in marks]


def _flushing(device: Device) -> tuple[Fill, object]:
    """A command that writes to twice the cache, and the memory that it writes to."""
    nbytes = 2 * device.info.l2_bytes
    block = device.empty(nbytes)
    return Fill(block.address, 0, 4, nbytes // 4, 4), block
