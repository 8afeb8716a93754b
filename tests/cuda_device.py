"""A simulated GPU as `cuda:0` of this process, so that tensors can lie on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from simulated_gpu import SimulatedGpu

from sley.runtime.cuda import compile as compiling
from sley.runtime.cuda import device as devices


@contextmanager
def as_cuda(gpu: SimulatedGpu) -> Iterator[SimulatedGpu]:
    """`with as_cuda(gpu):` makes a simulated GPU the one that `sley.device("cuda")` names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "_opened", {0: (gpu.device, os.getpid())})
        patch.setattr(devices, "device_count", lambda: 1)
        patch.setattr(compiling, "emit", gpu.compiler.emit)
        patch.setattr(compiling, "compile_all", gpu.compiler.compile_all)
        yield gpu
