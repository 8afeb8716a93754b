"""Attention kernels by numpy: the regions' elements, the op's evaluation, the regions' stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .evaluate_grid import Local
from .graph import Node
from .ops.attend import AXES, region_axes, uses_result
from .ops.attention import ATTENTION, ATTENTION_GRADIENT

if TYPE_CHECKING:
    from .evaluate_kernel import _Kernel


def evaluate_attend(kernel: _Kernel, node: Node) -> None:
    """Runs an `attend` or an `attend_gradient`."""
    name = node.op.name
    operands: list[np.ndarray] = []
    uses = []
    present = {"mask": node.attrs["masked"], "factor": node.attrs["factored"]}
    for number, (part, region) in enumerate(zip(AXES[name], node.regions, strict=True)):
        ranges = kernel.ranges(region_axes(name, node.attrs, number))
        if uses_result(name, part):
            uses.append((region, ranges))
        elif present.get(part, True):
            with kernel.axes(region.params, ranges):
                kernel.run(region)
                operands.append(kernel.full(region.yields[0]))
    op = ATTENTION if name == "attend" else ATTENTION_GRADIENT
    wide = node.attrs["acc"].numpy
    operands = [a if a.dtype == np.bool_ else a.astype(wide, copy=False) for a in operands]
    for (region, ranges), result in zip(uses, op.evaluate(operands, node.attrs), strict=True):
        with kernel.axes(region.params[:-1], ranges):
            kernel.values[region.params[-1]] = Local(result)
            kernel.run(region)
