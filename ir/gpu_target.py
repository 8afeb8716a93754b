"""What a schedule of blocks needs to know of the GPU that a kernel is compiled for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuTarget:
    """An NVIDIA GPU, as data. A backend fills it in; passes read it.

    Attributes:
        name: how a user chooses it, e.g. "sm_90".
        capability: its compute capability, 10 times the major number and the minor one: 90.
        multiprocessors: how many blocks run side by side at least.
        shared_bytes: memory that the threads of one program share, at most.
        l2_bytes: of the cache that all multiprocessors share.
    """

    name: str
    capability: int
    multiprocessors: int
    shared_bytes: int
    l2_bytes: int
