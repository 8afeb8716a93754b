"""What is timed: one file a group. A workload is written once for torch's API, which sley shares,
once for jax, and once for numpy where that is natural."""

from __future__ import annotations

from ..workload import Workload
from . import attention, by_hand, conv, dispatch, low_precision, matrix, movement, rows, whole

GROUPS = (
    "rows and elementwise", "matrix products", "attention", "conv and pooling",
    "data movement and sorting", "inference", "training", "eager", "dispatch",
)  # fmt: skip

WORKLOADS: tuple[Workload, ...] = tuple(
    sorted(
        (
            *rows.WORKLOADS, *matrix.WORKLOADS, *low_precision.WORKLOADS, *attention.WORKLOADS,
            *conv.WORKLOADS, *movement.WORKLOADS, *whole.WORKLOADS, *by_hand.WORKLOADS,
            *dispatch.WORKLOADS,
        ),
        key=lambda w: GROUPS.index(w.group),
    )
)  # fmt: skip


def named(name: str) -> Workload:
    """The workload of this name."""
    (found,) = [w for w in WORKLOADS if w.name == name]
    return found
