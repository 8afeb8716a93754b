"""Attention kernels of one node, arrays for them, and the forms that are tested everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.dims import Dim, symbol
from sley.ir.graph import Graph
from sley.ir.literal import Literal
from sley.ir.ops.attention import ATTENTION, ATTENTION_GRADIENT
from sley.ir.types import tensor_type
from sley.passes.fuse import fuse

B, L, S = symbol("B"), symbol("L"), symbol("S")
SIZES = [
    (1, 1, 1), (2, 3, 5), (0, 3, 4), (1, 0, 4), (2, 4, 0), (1, 15, 13), (1, 16, 14), (1, 17, 15),
    (1, 31, 29), (1, 33, 113), (2, 65, 112), (1, 129, 111), (1, 257, 40), (1, 40, 257),
    (1, 1057, 30),
]  # fmt: skip


def attrs(**given: Any) -> dict[str, Any]:
    scale = given.pop("scale", 0.375)
    found = {
        "scale": Literal(np.float64(scale)), "hidden": Literal(np.float64(-np.inf)),
        "causal": False, "safe": True, "masked": False, "factored": False,
    }  # fmt: skip
    return {**found, **given}


def operand_types(
    batch: Dim, groups: tuple[int, ...], queries: Dim, keys: Dim, features: int, width: int,
    dtype: str, mask: str | None, factored: bool,
) -> list:  # fmt: skip
    own, acc = dtypes.by_name(dtype), dtypes.by_name("f64" if dtype == "f64" else "f32")
    scores = (batch, *groups, queries, keys)
    types = [
        tensor_type(own, (batch, *groups, queries, features)),
        tensor_type(own, (batch, keys, features)),
        tensor_type(own, (batch, keys, width)),
    ]
    if mask is not None:
        types.append(tensor_type(dtypes.by_name(mask), scores))
    if factored:
        types.append(tensor_type(acc, scores))
    return types


def kernel_of(types: Sequence, given: Mapping[str, Any], backward: bool) -> Graph:
    """The one kernel of an attention, or of its gradient, of such operands."""
    builder = Recording()
    with builder:
        operands = [builder.param(t) for t in types]
        if not backward:
            results = ATTENTION(*operands, **given)
        else:
            rows = tensor_type(_acc(types), types[0].shape[:-1])
            out = types[0].with_shape((*types[0].shape[:-1], types[2].shape[-1]))
            operands += [builder.param(t) for t in (rows, rows, out)]
            results = ATTENTION_GRADIENT(*operands, **given)
    (node,) = fuse(builder.finish("program", list(results))).nodes
    return node.attrs["kernel"]


def _acc(types: Sequence) -> Any:
    return dtypes.by_name("f64" if types[0].dtype.name == "f64" else "f32")


def arrays_for(kernel: Graph, sizes: Mapping[str, int], given: Mapping, seed: int) -> list:
    """Operands; of a gradient the sums are those of the attention, and the means its own."""
    rng = np.random.default_rng(seed)
    found = []
    for param in kernel.inputs:
        shape = tuple(sizes.get(str(d), d) for d in param.type.shape)
        if param.type.dtype.kind == "bool":
            found.append(rng.random(shape) > 0.3)
        else:
            found.append(rng.standard_normal(shape).astype(param.type.dtype.numpy))
    return found


def coherent(arrays: list, given: Mapping) -> list:
    """The operands of a gradient with sums and means as they belong to the others."""
    operands, cotangent = arrays[:-3], arrays[-1]
    with np.errstate(all="ignore"):
        result, sums = ATTENTION.evaluate(operands, given)
    wide = cotangent.astype(sums.dtype)
    return [*operands, sums, (result.astype(sums.dtype) * wide).sum(-1), cotangent]


KNOWN = {
    "plain": (operand_types(2, (), 70, 130, 16, 24, "f32", None, False), {}),
    "one panel": (operand_types(1, (), 9, 200, 64, 64, "f32", None, False), {}),
    "wide": (operand_types(1, (), 33, 40, 200, 130, "f32", None, False), {}),
    "narrow": (operand_types(1, (), 33, 40, 1, 1, "f32", None, False), {}),
    "groups": (operand_types(2, (3,), 40, 50, 8, 8, "f32", None, False), {"causal": True}),
    "hides": (operand_types(2, (), 70, 130, 16, 16, "f32", "bool", False), {"masked": True}),
    "hides and is causal": (
        operand_types(1, (2,), 140, 150, 16, 16, "f32", "bool", True),
        {"masked": True, "factored": True, "causal": True},
    ),
    "hides by a number": (
        operand_types(2, (), 30, 3, 16, 16, "f32", "bool", False),
        {"masked": True, "hidden": Literal(np.float64(-50.0)), "safe": False},
    ),
    "adds": (
        operand_types(2, (), 70, 130, 16, 16, "f32", "f32", True),
        {"masked": True, "factored": True, "safe": False},
    ),
    "doubles": (
        operand_types(1, (), 70, 130, 16, 24, "f64", "f64", True),
        {"masked": True, "factored": True},
    ),
    "bf16": (operand_types(1, (2,), 70, 130, 16, 24, "bf16", "bf16", False), {"masked": True}),
    "f16": (operand_types(1, (), 70, 130, 16, 24, "f16", None, True), {"factored": True}),
}
