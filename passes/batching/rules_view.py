"""Batching of views, reductions, cumulative ops and sorts: their axes move by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...ir.dtypes import bool_
from ...ir.graph import Node, Value, full
from ...ir.ops.elementwise import WHERE
from ...ir.ops.view import BROADCAST, CONCAT, PAD, UPDATE_SLICE
from ...ir.types import tensor_type
from .rule import Arrived, Lanes, Rule, all_batched, batched, shifted

Attrs = Mapping[str, Any]


def _unary(changed: Callable[[Attrs, Lanes], dict[str, Any]]) -> Rule:
    """The same op with some of its attributes changed."""

    def rule(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
        return node.op(operands[0].value, **{**node.attrs, **changed(node.attrs, lanes)})

    return rule


def _pad(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    x, fill = operands
    low, high, interior = (node.attrs[name] for name in ("low", "high", "interior"))
    wide = {"low": (0, *low), "high": (0, *high), "interior": (0, *interior)}
    if not fill.is_batched:
        return PAD(batched(x, lanes), fill.value, **wide)
    # A fill for each example: what is not of x is found, and taken from them.
    inside = full(node.operands[0].type.with_dtype(bool_), True)
    outside = full(tensor_type(bool_), False)
    kept = PAD(inside, outside, low=low, high=high, interior=interior)
    nought = full(tensor_type(fill.value.type.dtype), 0)
    padded = PAD(batched(x, lanes), nought, **wide)
    shape = padded.type.shape
    rows = tuple(range(1, len(shape)))
    return WHERE(
        BROADCAST(kept, shape=shape, dims=rows),
        padded,
        BROADCAST(fill.value, shape=shape, dims=(0,)),
    )


def _concat(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    return CONCAT(*all_batched(operands, lanes), axis=node.attrs["axis"] + 1)


def _update_slice(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    starts, steps = (0, *node.attrs["starts"]), (1, *node.attrs["steps"])
    return UPDATE_SLICE(*all_batched(operands, lanes), starts=starts, steps=steps)


_AXES = _unary(lambda attrs, lanes: {"axes": shifted(attrs["axes"])})
_AXIS = _unary(lambda attrs, lanes: {"axis": attrs["axis"] + 1})
_AXES_NAMES = ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "argmax", "argmin", "fft")
_AXIS_NAMES = ("cumsum", "cumprod", "cummax", "sort", "rfft", "irfft")

VIEW: dict[str, Rule] = {
    "reshape": _unary(lambda attrs, lanes: {"shape": (lanes.size, *attrs["shape"])}),
    "transpose": _unary(lambda attrs, lanes: {"perm": (0, *shifted(attrs["perm"]))}),
    "broadcast": _unary(
        lambda attrs, lanes: {
            "shape": (lanes.size, *attrs["shape"]),
            "dims": (0, *shifted(attrs["dims"])),
        }
    ),
    "slice": _unary(
        lambda attrs, lanes: {
            "starts": (0, *attrs["starts"]),
            "sizes": (lanes.size, *attrs["sizes"]),
            "steps": (1, *attrs["steps"]),
        }
    ),
    "pad": _pad,
    "concat": _concat,
    "window": _AXES,
    "unwindow": _AXES,
    "update_slice": _update_slice,
    **dict.fromkeys(_AXES_NAMES, _AXES),
    **dict.fromkeys(_AXIS_NAMES, _AXIS),
}
