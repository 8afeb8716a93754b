"""What sley asks of a GPU: the interface of CUDA's driver, and of the device that tests simulate.

All work goes to one stream, so what is issued later sees what was issued before, and memory may
serve again as soon as its last user has been issued.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...ir.gpu_target import GpuTarget

_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A GPU, as its driver describes it.

    Attributes:
        name: the product's, e.g. "NVIDIA H200".
        capability: (major, minor) of what it can do.
        multiprocessors, shared_bytes, l2_bytes: see `GpuTarget`.
        total_bytes: of its memory.
        driver_version: of CUDA, that the driver knows: 1000 times the major number and 10 times
            the minor one.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    l2_bytes: int
    total_bytes: int
    driver_version: int = 0

    @property
    def target(self) -> GpuTarget:
        """What kernels for this GPU are compiled for."""
        number = 10 * self.capability[0] + self.capability[1]
        return GpuTarget(
            f"sm_{number}", number, self.multiprocessors, self.shared_bytes, self.l2_bytes
        )


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A kernel that is loaded.

    Attributes:
        name: for messages.
        handle: the driver's.
        threads: of a program.
        shared_bytes: memory that the threads of one program share.
    """

    name: str
    handle: Any
    threads: int
    shared_bytes: int


class Arguments:
    """The arguments of a launch: eight bytes for each, in order.

    Attributes:
        words: what they are; a launch reads them when it is issued.
        address: of the array of pointers to them, as the driver takes it.
    """

    __slots__ = ("_pointers", "address", "words")

    def __init__(self, values: Sequence[int]) -> None:
        count = len(values)
        self.words = (ctypes.c_uint64 * count)(*(value & _WORD for value in values))
        first = ctypes.addressof(self.words)
        self._pointers = (ctypes.c_uint64 * count)(*range(first, first + 8 * count, 8))
        self.address = ctypes.addressof(self._pointers)


@dataclass(slots=True, eq=False)
class Launch:
    """Runs `function` for every program of `grid`."""

    function: Function
    grid: tuple[int, int, int]
    arguments: Arguments

    def place(self, which: int, address: int) -> None:
        """Sets argument number `which`."""
        self.arguments.words[which] = address


@dataclass(slots=True, eq=False)
class Copy:
    """Copies `nbytes` bytes of the GPU's memory."""

    target: int
    source: int
    nbytes: int

    def place(self, which: int, address: int) -> None:
        """Sets the target (0) or the source (1)."""
        if which == 0:
            self.target = address
        else:
            self.source = address


@dataclass(slots=True, eq=False)
class Fill:
    """Writes `count` elements of `width` bytes (1, 2 or 4) that lie `stride` bytes apart."""

    target: int
    value: int
    width: int
    count: int
    stride: int

    def place(self, which: int, address: int) -> None:
        """Sets the target."""
        self.target = address


Command = Launch | Copy | Fill


class CommandGraph(Protocol):
    """Commands that are issued by one call, in order."""

    def update(self, number: int) -> None:
        """Reads command number `number` again, for launches to come."""

    def launch(self) -> None:
        """Issues all of them."""


class Driver(Protocol):
    """A GPU. Whatever fails raises `DriverError`; faults of kernels show in any later call.

    Attributes:
        info: what it is.
    """

    info: DeviceInfo

    def attach(self) -> None:
        """Makes the GPU usable from the calling thread."""

    def allocate(self, nbytes: int) -> int:
        """The address of new memory, a multiple of 256; `DeviceFull` if there is none."""

    def free(self, address: int) -> None:
        """Takes memory back once all that was issued is done."""

    def trim(self) -> None:
        """Waits, and gives memory that was taken back to other processes."""

    def memory_info(self) -> tuple[int, int]:
        """Bytes of the GPU that are free, and all."""

    def load(self, cubin: bytes, symbol: str, shared_bytes: int) -> Any:
        """The handle of a kernel's function, which may use so much shared memory."""

    def issue(self, command: Command) -> None:
        """Appends a command to the stream."""

    def graph(self, commands: Sequence[Command]) -> CommandGraph:
        """Commands to be issued together, more than once."""

    def allocate_host(self, nbytes: int) -> int:
        """The address of pinned memory of the host."""

    def upload(self, target: int, source: int, nbytes: int) -> None:
        """Appends a copy from pinned memory, which must stay as it is until that is done."""

    def download(self, target: int, source: int, nbytes: int) -> None:
        """Appends a copy to pinned memory."""

    def event(self) -> Any:
        """A new mark, which nobody waits for until it is recorded."""

    def record(self, event: Any) -> None:
        """Appends the mark to the stream, in place of where it was before."""

    def wait(self, event: Any) -> None:
        """Waits until the stream has passed the mark."""

    def passed(self, event: Any) -> bool:
        """Whether the stream has passed the mark, without waiting."""

    def lead(self, stream: int) -> None:
        """Another stream waits, by itself, for what this one was given so far."""

    def follow(self, stream: int) -> None:
        """This stream waits, by itself, for what another one was given so far."""

    def elapsed(self, first: Any, last: Any) -> float:
        """Milliseconds between two marks that have been passed."""

    def synchronize(self) -> None:
        """Waits until all that was issued is done."""
