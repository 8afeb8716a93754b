"""What can go wrong with a GPU. The frontend makes the user's errors of these."""

from __future__ import annotations

from collections.abc import Sequence


class NoDeviceError(RuntimeError):
    """There is no GPU that can be used; the message says why."""


class DriverError(RuntimeError):
    """A call of the driver has failed.

    Attributes:
        name: CUDA's name of the error, e.g. "CUDA_ERROR_ILLEGAL_ADDRESS".
        call: the function that returned it. Kernels run later than they are launched, so the call
            that tells of a fault is seldom the one that is to blame.
    """

    def __init__(self, name: str, call: str, text: str = "") -> None:
        super().__init__(f"{call}: {name}{f' ({text})' if text else ''}")
        self.name = name
        self.call = call


# What ends a process's use of the GPU: from then on every call returns it.
FAULTS = frozenset(
    f"CUDA_ERROR_{name}"
    for name in (
        "ILLEGAL_ADDRESS", "LAUNCH_TIMEOUT", "HARDWARE_STACK_ERROR", "ILLEGAL_INSTRUCTION",
        "MISALIGNED_ADDRESS", "INVALID_ADDRESS_SPACE", "INVALID_PC", "LAUNCH_FAILED", "ASSERT",
        "ECC_UNCORRECTABLE", "CONTAINED", "UNKNOWN",
    )
)  # fmt: skip


class LaunchError(RuntimeError):
    """A command that the driver does not take; the GPU is as it was."""


class DeviceFull(DriverError):
    """The driver has no memory of the size asked for."""


class OutOfMemoryError(RuntimeError):
    """The GPU's memory does not suffice.

    Attributes:
        asked: bytes of the block that could not be had.
        allocated: bytes of the blocks in use.
        reserved: bytes that sley holds, blocks in use and idle ones.
        free, total: bytes of the whole GPU, all processes counted.
        lines: what the memory is for: sizes, and lines of the program.
    """

    def __init__(
        self,
        asked: int,
        allocated: int,
        reserved: int,
        free: int,
        total: int,
        lines: Sequence[str] = (),
    ) -> None:
        self.asked, self.allocated, self.reserved = asked, allocated, reserved
        self.free, self.total = free, total
        self.lines = tuple(lines)
        head = (
            f"the GPU has no memory left: {show_bytes(asked)} asked for, sley holds "
            f"{show_bytes(reserved)} ({show_bytes(allocated)} in use), {show_bytes(free)} of "
            f"{show_bytes(total)} are free"
        )
        super().__init__("\n".join([head, *(f"  {line}" for line in self.lines)]))


class KernelFault(RuntimeError):
    """A kernel has failed on the GPU, which this process cannot use any more.

    Attributes:
        error: CUDA's name of what happened.
        kernels: the names of those that may have done it, with the user's lines.
    """

    def __init__(self, error: str, kernels: Sequence[str], exact: bool) -> None:
        self.error = error
        self.kernels = tuple(kernels)
        if exact:
            message = f"{error} in kernel {', '.join(kernels)}"
        else:
            shown = "\n".join(f"  {kernel}" for kernel in kernels)
            message = f"{error} in a kernel that ran since the GPU was last waited for:\n{shown}"
        super().__init__(message)


def show_bytes(count: int) -> str:
    """`count` in the largest unit of which it has at least one: "1.50 GiB"."""
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.2f} {unit}"
    return f"{count} bytes"
