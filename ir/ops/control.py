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


def _infer_opaque(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    raise TypeError("an opaque node stands on a tape only; nothing emits one")


def _eval_opaque(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    raise TypeError("what an opaque node computed was computed elsewhere")


OPAQUE = define(
    "opaque", Kind.CONTROL, _infer_opaque, _eval_opaque,
    """What was computed outside of the program, with its own way back: `pull(node, cotangents)`
    gives the cotangents of the operands. `name` is what to call it.""",
    attributes=("pull", "name"), optional=("name",),
)  # fmt: skip
