"""What is timed: one file a group. A workload is written once for torch's API, which sley shares,
once for jax and once for numpy."""

from __future__ import annotations

from ..workload import Workload
from . import dispatch, matrix, rows, training

WORKLOADS: tuple[Workload, ...] = (
    *training.WORKLOADS,
    *rows.WORKLOADS,
    *matrix.WORKLOADS,
    *dispatch.WORKLOADS,
)
