"""Gradients of contractions: contractions again."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.graph import Node, Value
from ...ir.ops.contraction import CONV, DOT_GENERAL, conv_axes, free_axes
from ...ir.ops.view import SLICE
from .rule import Cotangent, NotDifferentiable, Rule, conj, inverse, reshaped, sole, transposed

Cotangents = Sequence[Value | None]
Axes = tuple[int, ...]
Side = tuple[Value, Axes, Axes, Axes]


def _dot_general(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (lhs, rhs) = sole(cotangents), node.operands
    lc, rc, lb, rb = (
        tuple(node.attrs[n]) for n in ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")
    )
    lf, rf = free_axes(lhs.type.ndim, lc, lb), free_axes(rhs.type.ndim, rc, rb)
    batch = tuple(range(len(lb)))
    g_left = tuple(range(len(lb), len(lb) + len(lf)))
    g_right = tuple(range(len(lb) + len(lf), len(lb) + len(lf) + len(rf)))

    # Contracted axes of one side, in the order in which the product with the other leaves them.
    left = tuple(lc[rc.index(axis)] for axis in sorted(rc))
    right = tuple(rc[lc.index(axis)] for axis in sorted(lc))

    def of_left() -> Value:
        side_g, side_rhs = (g, g_right, batch, lf), (conj(rhs), rf, rb, left)
        return _product(side_g, side_rhs, lb)

    def of_right() -> Value:
        side_lhs, side_g = (conj(lhs), lf, lb, right), (g, g_left, batch, rf)
        return _product(side_lhs, side_g, rb)

    return (of_left, of_right)


def _product(a: Side, b: Side, batch: Axes) -> Value:
    """The product of two sides with its axes in the order that their places say.

    A side is (value, contracted axes, batch axes, places of its free axes in the result); `batch`
    are the places of the batch axes. The side that may stand first without a transpose does.
    """
    if not _ascending(batch + a[3] + b[3]) and _ascending(batch + b[3] + a[3]):
        a, b = b, a
    product = DOT_GENERAL(
        a[0], b[0], lhs_contract=a[1], rhs_contract=b[1], lhs_batch=a[2], rhs_batch=b[2]
    )
    return transposed(product, inverse(batch + a[3] + b[3]))


def _ascending(places: Axes) -> bool:
    return list(places) == sorted(places)


def _conv(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g = sole(cotangents)
    return (lambda: _conv_input(node, g), lambda: _conv_weight(node, g))


def _conv_input(node: Node, g: Value) -> Value:
    """x[i] gets g[(i*ld + low - k*rd) / stride] * w[k]: the cotangent, spread by the stride, with
    the window turned around and its channels exchanged."""
    (x, w), groups = node.operands, node.attrs["groups"]
    spatial = w.type.ndim - 2
    padding = []
    for axis, (stride, (low, _), ld, rd) in enumerate(conv_axes(node.attrs), start=2):
        size, window, out = x.type.shape[axis], w.type.shape[axis], g.type.shape[axis]
        padding.append(((window - 1) * rd - low, (size - 1) * ld - (out - 1) * stride + low))
    return CONV(
        g,
        _exchange(_turn(conj(w)), groups, spatial),
        strides=node.attrs["lhs_dilation"],
        padding=tuple(padding),
        lhs_dilation=node.attrs["strides"],
        rhs_dilation=node.attrs["rhs_dilation"],
        groups=groups,
    )


def _turn(w: Value) -> Value:
    """The window reversed along its spatial axes."""
    sizes = w.type.shape
    if all(size == 1 for size in sizes[2:]):
        return w
    starts = (0, 0, *(size - 1 for size in sizes[2:]))
    return SLICE(w, starts=starts, sizes=sizes, steps=(1, 1) + (-1,) * (len(sizes) - 2))


def _exchange(w: Value, groups: int, spatial: int) -> Value:
    """w[O, I/groups, ..] as [I, O/groups, ..]."""
    if groups == 1:
        return transposed(w, (1, 0, *range(2, 2 + spatial)))
    window = w.type.shape[2:]
    out, inner = w.type.shape[0] // groups, w.type.shape[1]
    grouped = reshaped(w, (groups, out, inner, *window))
    moved = transposed(grouped, (0, 2, 1, *range(3, 3 + spatial)))
    return reshaped(moved, (groups * inner, out, *window))


def _conv_weight(node: Node, g: Value) -> Value:
    """w[k] gets the sum over n, o of g[o] * x[o*stride + k*rd - low]: the input as batch of its
    channels, convolved with the cotangent as a window whose elements are `stride` apart."""
    (x, w), groups = node.operands, node.attrs["groups"]
    spatial = x.type.ndim - 2
    padding = []
    for axis, (stride, (low, _), ld, rd) in enumerate(conv_axes(node.attrs), start=2):
        size, window, out = x.type.shape[axis], w.type.shape[axis], g.type.shape[axis]
        reach = (window - 1) * rd + (out - 1) * stride + 1
        padding.append((low, reach - ((size - 1) * ld + 1) - low))
    swap = (1, 0, *range(2, 2 + spatial))
    result = CONV(
        _channels_first(conj(x), groups, spatial),
        transposed(g, swap),
        strides=node.attrs["rhs_dilation"],
        padding=tuple(padding),
        lhs_dilation=node.attrs["lhs_dilation"],
        rhs_dilation=node.attrs["strides"],
        groups=groups,
    )
    return transposed(result, swap)


def _channels_first(x: Value, groups: int, spatial: int) -> Value:
    """x[N, G * C, ..] as [C, G * N, ..]."""
    if groups == 1:
        return transposed(x, (1, 0, *range(2, 2 + spatial)))
    (batch, channels), places = x.type.shape[:2], x.type.shape[2:]
    grouped = reshaped(x, (batch, groups, channels // groups, *places))
    moved = transposed(grouped, (2, 1, 0, *range(3, 3 + spatial)))
    return reshaped(moved, (channels // groups, groups * batch, *places))


CONTRACTION: dict[str, Rule | NotDifferentiable] = {
    "dot_general": _dot_general,
    "conv": _conv,
}
