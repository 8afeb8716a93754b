"""Ops that run other programs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import TensorType
from .base import Attrs, Kind, define, need


def _infer_launch(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    kernel = attrs["kernel"]
    inputs = [v.type for v in kernel.inputs]
    need(list(types) == inputs, f"kernel @{kernel.name} takes {inputs}, got {list(types)}")
    return tuple(v.type for v in kernel.out_params)


def _eval_launch(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    raise TypeError("a kernel is evaluated by ir.evaluate_kernel")


LAUNCH = define(
    "launch", Kind.CONTROL, _infer_launch, _eval_launch,
    """Runs the kernel graph `kernel` (with `schedule`, once it has one) on the operands; the
    results are the buffers that it writes.""",
    attributes=("kernel", "schedule"), optional=("schedule",),
)  # fmt: skip
