"""Sums of windows that are put back, the gradients of pooling, visit only what meets an element.

Before: `%z = unwindow(%y) {strides=[2], sizes=[3], ..}  %x = reduce_sum(%z)`: three places of a
window for each element, of which every other one is no window's.
After: the elements (q, p) of a phase p are sums over every second place, of windows one apart.

With a stride s the element h = q * s + p gets y[(h - t) / s, t] of the places t = p + j * s, which
is y[q - j, p + j * s].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.dims import Dim, floordiv, maximum
from ..ir.graph import Node, Value, full
from ..ir.ops.reduction import REDUCE_SUM
from ..ir.ops.view import PAD, RESHAPE, SLICE, TRANSPOSE, UNWINDOW
from ..ir.types import tensor_type


def sum_by_phases(node: Node, operands: tuple[Value, ...]) -> Value | None:
    """What stands for a `reduce_sum` of strided windows put back, or of a part of it; else None."""
    found = _matched(node, operands[0])
    if found is None:
        return None
    (y,), attrs = found.operands, found.attrs
    count = len(attrs["axes"])
    starts, sizes = _part(operands[0], found.results[0])
    names = ("axes", "sizes", "strides", "dilations", "extents")
    axes = {
        a: _Axis(y.type.shape[a], places, stride, dilation, extent, starts[a], sizes[a])
        for a, places, stride, dilation, extent in zip(*(attrs[n] for n in names), strict=True)
    }
    if not all(axis.is_plain for axis in axes.values()):
        return None
    return _summed(y, axes, starts[:-count], sizes[:-count])


def _matched(node: Node, operand: Value) -> Node | None:
    """The `unwindow` whose places, all of them, `node` sums up, where that has strides."""
    made = operand.node
    if made is not None and made.op is SLICE and all(step == 1 for step in made.attrs["steps"]):
        made = made.operands[0].node
    if node.op is not REDUCE_SUM or made is None or made.op is not UNWINDOW:
        return None
    ndim, count = operand.type.ndim, len(made.attrs["axes"])
    if tuple(node.attrs["axes"]) != tuple(range(ndim - count, ndim)):
        return None
    if operand.type.shape[ndim - count :] != tuple(made.attrs["sizes"]):
        return None
    return made if any(stride != 1 for stride in made.attrs["strides"]) else None


def _part(operand: Value, whole: Value) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """(starts, sizes) of what `operand` is of `whole`."""
    if operand is whole:
        return (0,) * whole.type.ndim, whole.type.shape
    assert operand.node is not None
    return tuple(operand.node.attrs["starts"]), operand.type.shape


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of windows: how many, their places, stride and dilation, the axis that they are put
    back to, and the part [start, start + wanted) of it that is wanted."""

    windows: Dim
    places: int
    stride: int
    dilation: int
    extent: Dim
    start: Dim
    wanted: Dim

    @property
    def is_plain(self) -> bool:
        return self.stride == 1 or (self.dilation == 1 and isinstance(self.start, int))

    @property
    def before(self) -> int:
        """Places before a window's, with which the part wanted begins at the phase 0."""
        if self.stride == 1:
            return 0
        assert isinstance(self.start, int)
        return -self.start % self.stride

    @property
    def terms(self) -> int:
        return -(-(self.places + self.before) // self.stride)

    @property
    def after(self) -> int:
        return self.terms * self.stride - self.places - self.before

    @property
    def first(self) -> Dim:
        """The first q that is wanted."""
        return floordiv(self.start + self.before, self.stride)

    @property
    def count(self) -> Dim:
        return floordiv(self.wanted + self.stride - 1, self.stride)

    @property
    def reach(self) -> Dim:
        """How many q there are."""
        if self.stride == 1:
            return self.extent
        return maximum(self.windows + (self.terms - 1), self.first + self.count)


def _summed(y: Value, axes: dict[int, _Axis], starts: Sequence[Dim], sizes: Sequence[Dim]) -> Value:
    ndim, count, dtype = len(starts), len(axes), y.type.dtype
    none = (0,) * ndim
    low, high = (tuple(getattr(a, n) for a in axes.values()) for n in ("before", "after"))
    if any((*low, *high)):
        nought = full(tensor_type(dtype), 0)
        y = PAD(y, nought, low=none + low, high=none + high, interior=(0,) * y.type.ndim)
    pairs = [n for a in axes.values() for n in (a.terms, a.stride)]
    y = RESHAPE(y, shape=(*y.type.shape[:ndim], *pairs))
    phases = {a: ndim + 2 * k + 1 for k, a in enumerate(axes)}
    order = [p for a in range(ndim) for p in ((a, phases[a]) if a in phases else (a,))]
    place = {a: order.index(a) for a in range(ndim)}
    y = TRANSPOSE(y, perm=(*order, *(ndim + 2 * k for k in range(count))))
    z = UNWINDOW(
        y, axes=tuple(place[a] for a in axes), sizes=tuple(a.terms for a in axes.values()),
        strides=(1,) * count, dilations=tuple(a.dilation for a in axes.values()),
        extents=tuple(a.reach for a in axes.values()),
    )  # fmt: skip
    begin: list[Dim] = [0] * z.type.ndim
    shape = list(z.type.shape)
    for a in range(ndim):
        begin[place[a]] = axes[a].first if a in axes else starts[a]
        shape[place[a]] = axes[a].count if a in axes else sizes[a]
    if tuple(shape) != z.type.shape:
        z = SLICE(z, starts=tuple(begin), sizes=tuple(shape), steps=(1,) * len(shape))
    total = REDUCE_SUM(z, axes=tuple(range(len(order), len(shape))))
    flat = tuple(axes[a].count * axes[a].stride if a in axes else sizes[a] for a in range(ndim))
    total = RESHAPE(total, shape=flat)
    if flat == tuple(sizes):
        return total
    return SLICE(total, starts=none, sizes=tuple(sizes), steps=(1,) * ndim)
