"""Batching of contractions: the axis of examples is a batch axis, or a free one of one side."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Node, Value, full
from ...ir.ops.contraction import CONV, DOT_GENERAL, conv_axes, free_axes
from ...ir.ops.view import PAD, TRANSPOSE, WINDOW
from ...ir.types import tensor_type
from .rule import Arrived, BatchingError, Lanes, Rule, moved_axis, shifted, to_shape


def _dot_general(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    left, right = operands
    lc, rc, lb, rb = (
        tuple(node.attrs[n]) for n in ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")
    )
    if left.is_batched:
        lc, lb = shifted(lc), shifted(lb)
    if right.is_batched:
        rc, rb = shifted(rc), shifted(rb)
    place = 0
    if left.is_batched and right.is_batched:
        lb, rb = (0, *lb), (0, *rb)
    elif left.is_batched:
        place = len(lb)  # the first free axis of the left side
    else:
        place = len(lb) + len(free_axes(left.value.type.ndim, lc, lb))
    made = DOT_GENERAL(
        left.value, right.value, lhs_contract=lc, rhs_contract=rc, lhs_batch=lb, rhs_batch=rb
    )
    return moved_axis(made, place, 0)


def _conv(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    x, w = operands
    if x.is_batched and w.is_batched:
        if isinstance(lanes.size, int):
            return _conv_by_groups(node, x.value, w.value, lanes.size)
        return _conv_by_windows(node, x.value, w.value)
    if x.is_batched:
        return _conv_by_images(node, x.value, w.value)
    return _conv_by_outputs(node, x.value, w.value)


def _conv_by_images(node: Node, x: Value, w: Value) -> Value:
    """One weight for all: the examples are more images."""
    size, images, *rest = x.type.shape
    made = CONV(to_shape(x, (size * images, *rest)), w, **node.attrs)
    return to_shape(made, (size, images, *made.type.shape[1:]))


def _conv_by_outputs(node: Node, x: Value, w: Value) -> Value:
    """One image for all: the examples are more outputs of each group."""
    groups = node.attrs["groups"]
    size, outputs, *rest = w.type.shape
    if groups == 1:
        made = CONV(x, to_shape(w, (size * outputs, *rest)), **node.attrs)
        images, _, *places = made.type.shape
        return moved_axis(to_shape(made, (images, size, outputs, *places)), 1, 0)
    each = outputs // groups
    grouped = moved_axis(to_shape(w, (size, groups, each, *rest)), 0, 1)
    made = CONV(x, to_shape(grouped, (groups * size * each, *rest)), **node.attrs)
    images, _, *places = made.type.shape
    split = moved_axis(to_shape(made, (images, groups, size, each, *places)), 2, 0)
    return to_shape(split, (size, images, outputs, *places))


def _conv_by_groups(node: Node, x: Value, w: Value, size: int) -> Value:
    """An image and a weight for each: the examples are groups."""
    _, images, channels, *places = x.type.shape
    _, outputs, *window = w.type.shape
    beside = to_shape(moved_axis(x, 0, 1), (images, size * channels, *places))
    weights = to_shape(w, (size * outputs, *window))
    made = CONV(beside, weights, **{**node.attrs, "groups": size * node.attrs["groups"]})
    split = to_shape(made, (images, size, outputs, *made.type.shape[2:]))
    return moved_axis(split, 1, 0)


def _conv_by_windows(node: Node, x: Value, w: Value) -> Value:
    """As by groups, whose number must be known: products of the windows, with a batch axis.

    Raises:
        BatchingError: the sizes of the window are not known either.
    """
    groups, axes = node.attrs["groups"], conv_axes(node.attrs)
    size, images, channels, *_ = x.type.shape
    _, outputs, inner, *window = w.type.shape
    if not all(isinstance(n, int) for n in window):
        raise BatchingError(
            f"conv with a window {window} for each of {size} examples: neither is a known number"
        )
    count = len(axes)
    padded = PAD(
        x,
        full(tensor_type(x.type.dtype), 0),
        low=(0, 0, 0, *(low for _, (low, _), _, _ in axes)),
        high=(0, 0, 0, *(high for _, (_, high), _, _ in axes)),
        interior=(0, 0, 0, *(ld - 1 for _, _, ld, _ in axes)),
    )
    windows = WINDOW(
        padded,
        axes=tuple(range(3, 3 + count)),
        sizes=tuple(window),
        strides=tuple(stride for stride, _, _, _ in axes),
        dilations=tuple(rd for _, _, _, rd in axes),
    )
    places = windows.type.shape[3 : 3 + count]
    # (example, image, group, channel, places.., window..) times (example, group, output, ..)
    left = to_shape(windows, (size, images, groups, channels // groups, *places, *window))
    right = to_shape(w, (size, groups, outputs // groups, inner, *window))
    made = DOT_GENERAL(
        left,
        right,
        lhs_contract=(3, *range(4 + count, 4 + 2 * count)),
        rhs_contract=(3, *range(4, 4 + count)),
        lhs_batch=(0, 2),
        rhs_batch=(0, 1),
    )
    order = (0, 2, 1, 3 + count, *range(3, 3 + count))
    return to_shape(TRANSPOSE(made, perm=order), (size, images, outputs, *places))


CONTRACTION: dict[str, Rule] = {"dot_general": _dot_general, "conv": _conv}
