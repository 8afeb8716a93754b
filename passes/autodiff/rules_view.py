"""Gradients of views: where each element came from."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim, maximum
from ...ir.dtypes import bool_
from ...ir.graph import Node, Value, full
from ...ir.ops.elementwise import WHERE
from ...ir.ops.reduction import REDUCE_SUM
from ...ir.ops.view import PAD, SLICE, UNWINDOW, UPDATE_SLICE, WINDOW
from ...ir.types import tensor_type
from .rule import Cotangent, NotDifferentiable, Rule, inverse, reshaped, sole, transposed, zeros

Cotangents = Sequence[Value | None]


def _reshape(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = sole(cotangents)
    return (reshaped(g, node.operands[0].type.shape),)


def _transpose(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = sole(cotangents)
    return (transposed(g, inverse(node.attrs["perm"])),)


def _broadcast(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = sole(cotangents)
    new = tuple(a for a in range(g.type.ndim) if a not in node.attrs["dims"])
    return (REDUCE_SUM(g, axes=new) if new else g,)


def _slice(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = sole(cotangents)
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    return (UPDATE_SLICE(zeros(node.operands[0].type), g, starts=starts, steps=steps),)


def _pad(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (x, _) = sole(cotangents), node.operands
    low, high, interior = (node.attrs[name] for name in ("low", "high", "interior"))

    def of_operand() -> Value:
        # What a negative `low` or `high` cut off comes back as zeros.
        cut = tuple(maximum(-n, 0) for n in low), tuple(maximum(-n, 0) for n in high)
        whole = _padded(g, *cut, (0,) * len(low))
        starts = tuple(maximum(n, 0) for n in low)
        steps = tuple(gap + 1 for gap in interior)
        if whole.type.shape == x.type.shape and all(n == 1 for n in steps):
            return whole
        return SLICE(whole, starts=starts, sizes=x.type.shape, steps=steps)

    def of_fill() -> Value:
        inside = full(x.type.with_dtype(bool_), False)
        filled = PAD(inside, full(tensor_type(bool_), True), low=low, high=high, interior=interior)
        return _sum_all(WHERE(filled, g, zeros(g.type)))

    return (of_operand, of_fill)


def _sum_all(value: Value) -> Value:
    axes = tuple(range(value.type.ndim))
    return REDUCE_SUM(value, axes=axes) if axes else value


def _concat(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, axis = sole(cotangents), node.attrs["axis"]

    def part(start: Dim, shape: tuple[Dim, ...]) -> Cotangent:
        starts = tuple(start if a == axis else 0 for a in range(len(shape)))
        return lambda: SLICE(g, starts=starts, sizes=shape, steps=(1,) * len(shape))

    parts: list[Cotangent] = []
    start: Dim = 0
    for operand in node.operands:
        parts.append(part(start, operand.type.shape))
        start = start + operand.type.shape[axis]
    return parts


def _window(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (x,) = sole(cotangents), node.operands
    axes, ndim = node.attrs["axes"], x.type.ndim
    names = ("sizes", "strides", "dilations")
    if all(s >= (k - 1) * d + 1 for k, s, d in zip(*(node.attrs[n] for n in names), strict=True)):
        return (_side_by_side(node, g),)
    extents = tuple(x.type.shape[a] for a in axes)
    placed = UNWINDOW(g, **node.attrs, extents=extents)
    return (REDUCE_SUM(placed, axes=tuple(range(ndim, ndim + len(axes)))),)


def _side_by_side(node: Node, g: Value) -> Value:
    """The windows put back one after the other: where none overlap, nothing needs to be added.

    Every window is filled up to the stride, joined with the axis of windows, and what the last
    one lacks or exceeds the axis by is added or cut off.
    """
    (x,), axes = node.operands, node.attrs["axes"]
    ndim, count = x.type.ndim, len(axes)
    gaps = tuple(d - 1 for d in node.attrs["dilations"])
    reach = [(k - 1) * d + 1 for k, d in zip(node.attrs["sizes"], node.attrs["dilations"])]
    short = tuple(s - r for s, r in zip(node.attrs["strides"], reach, strict=True))
    flat = (0,) * ndim
    whole = _padded(g, flat + (0,) * count, flat + short, flat + gaps)
    places = {axis: ndim + k for k, axis in enumerate(axes)}
    order = [p for a in range(ndim) for p in ((a, places[a]) if a in places else (a,))]
    strides = dict(zip(axes, node.attrs["strides"], strict=True))
    joined = tuple(g.type.shape[a] * strides.get(a, 1) for a in range(ndim))
    rest = tuple(size - have for size, have in zip(x.type.shape, joined, strict=True))
    return _padded(reshaped(transposed(whole, order), joined), flat, rest, flat)


def _padded(
    value: Value, low: tuple[Dim, ...], high: tuple[Dim, ...], interior: tuple[int, ...]
) -> Value:
    """`value` padded with zeros; itself where there is nothing to pad."""
    if all(n == 0 for n in (*low, *high, *interior)):
        return value
    return PAD(value, zeros(tensor_type(value.type.dtype)), low=low, high=high, interior=interior)


def _unwindow(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """Reads the windows of the cotangent, and of each keeps the element of its own offset: of the
    axes (offset, place in the window) the diagonal, as a strided slice of both joined."""
    g, (y,) = sole(cotangents), node.operands
    names = ("axes", "sizes", "strides", "dilations")
    windows = WINDOW(g, **{name: node.attrs[name] for name in names})
    count, ndim = len(node.attrs["axes"]), y.type.ndim
    first = ndim - count
    if windows.type.shape[:first] != y.type.shape[:first]:
        sizes = y.type.shape[:first] + windows.type.shape[first:]
        rank = len(sizes)
        windows = SLICE(windows, starts=(0,) * rank, sizes=sizes, steps=(1,) * rank)
    pairs = [axis for k in range(count) for axis in (first + k, ndim + k)]
    paired = transposed(windows, (*range(first), *pairs))
    sizes = node.attrs["sizes"]
    joined = reshaped(paired, y.type.shape[:first] + tuple(k * k for k in sizes))
    steps = (1,) * first + tuple(k + 1 for k in sizes)
    return (SLICE(joined, starts=(0,) * ndim, sizes=y.type.shape, steps=steps),)


def _update_slice(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (_, update) = sole(cotangents), node.operands
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    return (
        lambda: UPDATE_SLICE(g, zeros(update.type), starts=starts, steps=steps),
        lambda: SLICE(g, starts=starts, sizes=update.type.shape, steps=steps),
    )


VIEW: dict[str, Rule | NotDifferentiable] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "window": _window,
    "unwindow": _unwindow,
    "update_slice": _update_slice,
}
