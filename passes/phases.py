"""Convolutions of a spread input, as those of gradients of strided ones and transposed ones, become
convolutions of the input as it is: no product with the zeros in between is computed.

Before: `%y = conv(%x, %w) {lhs_dilation=[2], ..}`, with `%w` of 3 taps.
After: one conv with the taps 0 and 2, one with the tap 1; their elements take turns in `%y`.

Along an axis that is spread by d the element o of the result meets the input's elements through the
taps t with (o + t - low) % d == 0: every d-th tap, beginning with t0 = (low - o) % d. So with
o = q * d + low - t0 it is the sum over j of x[q + j] * w[t0 + j * d]: for each t0, each *phase*, a
plain convolution. Phases with equally many taps, at most two classes of them along an axis, are
outputs of one convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.dims import Dim, floordiv, product
from ..ir.graph import Graph, Node, Value, full
from ..ir.ops.contraction import CONV, conv_axes
from ..ir.ops.reduction import REDUCE_SUM
from ..ir.ops.view import CONCAT, PAD, RESHAPE, SLICE, TRANSPOSE, UNWINDOW
from ..ir.types import tensor_type
from .dead import prune
from .rewrite import rewrite
from .unwindow_phases import sum_by_phases


def separate_phases(graph: Graph) -> Graph:
    """A tensor program with the same parameters and, but for the order of sums, results as `graph`;
    `graph` itself where no convolution has a spread input and no strided windows are put back."""
    for node in graph.walk():
        strided = node.op is UNWINDOW and any(s != 1 for s in node.attrs["strides"])
        if strided or (node.op is CONV and _spread(node)):
            return prune(rewrite(graph, _lower))
    return graph


def _spread(node: Node) -> list[tuple[int, tuple[Dim, Dim], int, int]]:
    """The axes along which the input of a conv is spread."""
    return [axis for axis in conv_axes(node.attrs) if axis[2] != 1]


def _lower(node: Node, operands: tuple[Value, ...]) -> Value | None:
    """What stands for a conv whose input is spread, or a sum of windows put back; None where a node
    stays."""
    if node.op is REDUCE_SUM:
        return sum_by_phases(node, operands)
    if node.op is not CONV or not (spread := _spread(node)):
        return None
    x, w = operands
    (result,) = node.results
    sizes = zip(result.type.shape[2:], w.type.shape[2:], strict=True)
    if node.attrs["groups"] == 1 and all(_is_less(out, window) for out, window in sizes):
        return _exchanged(node, x, w)
    if any(
        stride != 1 or rd != 1 or not isinstance(low, int) for stride, (low, _), _, rd in spread
    ):
        return None
    axes = []
    for n, attrs in enumerate(conv_axes(node.attrs), 2):
        window = w.type.shape[n]
        if not isinstance(window, int) or window == 0:
            return None
        axes.append(_Axis(x.type.shape[n], window, result.type.shape[n], *attrs))
    return _Phases(x, w, axes, node.attrs["groups"]).joined(result.type.shape)


def _is_less(a: Dim, b: Dim) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a < b


def _exchanged(node: Node, x: Value, w: Value) -> Value | None:
    """The input as a window over the weight, for a window that is larger than the result: the
    weight's gradient of a transposed convolution. What was spread is now apart in the window, and
    the result is reversed."""
    swap = (1, 0)
    if any(stride != 1 for stride, *_ in conv_axes(node.attrs)):
        return None
    shape = node.results[0].type.shape
    padding = []
    for size, window, out, (_, (low, _), ld, rd) in zip(
        x.type.shape[2:], w.type.shape[2:], shape[2:], conv_axes(node.attrs), strict=True
    ):
        before = out - 1 - low
        padding.append((before, out - 1 + (size - 1) * ld - (window - 1) * rd - before))
    spatial = range(2, len(shape))
    found = CONV(
        w, x, strides=node.attrs["strides"], padding=tuple(padding),
        lhs_dilation=node.attrs["rhs_dilation"], rhs_dilation=node.attrs["lhs_dilation"], groups=1,
    )  # fmt: skip
    turned = SLICE(
        found, starts=(0, 0, *(shape[a] - 1 for a in spatial)), sizes=found.type.shape,
        steps=(1, 1, *(-1 for _ in spatial)),
    )  # fmt: skip
    return TRANSPOSE(turned, perm=(*swap, *spatial))


@dataclass(frozen=True, slots=True)
class _Class:
    """Phases from `first` to below `end` that have `taps` taps each."""

    first: int
    end: int
    taps: int

    @property
    def phases(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class _Axis:
    """A convolved axis: its sizes before, of the window and after, and its attributes."""

    size: Dim
    window: int
    out: Dim
    stride: int
    padding: tuple[Dim, Dim]
    spread: int
    dilation: int

    @property
    def classes(self) -> list[_Class]:
        """Phases in the order in which they follow in the result: t0 goes down."""
        whole, more = divmod(self.window, self.spread)
        found = [_Class(more, self.spread, whole), _Class(0, more, whole + 1)]
        return [c for c in found if c.phases]

    @property
    def first(self) -> int:
        """The first q of all phases; element 0 of the result is `skipped` behind its begin."""
        low = self.padding[0]
        assert isinstance(low, int)
        return (self.spread - 1 - low) // self.spread

    @property
    def skipped(self) -> int:
        low = self.padding[0]
        assert isinstance(low, int)
        return (self.spread - 1 - low) % self.spread

    @property
    def count(self) -> Dim:
        """How many q there are."""
        if self.spread == 1:
            return self.out
        return floordiv(self.out + self.skipped + self.spread - 1, self.spread)

    def padding_of(self, taps: int) -> tuple[Dim, Dim]:
        if self.spread == 1:
            return self.padding
        return -self.first, self.first + self.count + taps - 1 - self.size


class _Phases:
    """A convolution whose input is spread along some of `axes`."""

    def __init__(self, x: Value, w: Value, axes: Sequence[_Axis], groups: int) -> None:
        self.x, self.w, self.axes, self.groups = x, w, axes, groups

    def joined(self, shape: Sequence[Dim]) -> Value:
        """All phases, one after the other along each axis, cut to the result's shape."""
        blocks = {
            chosen: self._block(chosen)
            for chosen in itertools.product(*(axis.classes for axis in self.axes))
        }
        whole = self._joined(blocks, ())
        flat = tuple(axis.count * axis.spread for axis in self.axes)
        whole = RESHAPE(whole, shape=(*shape[:2], *flat))
        if flat == tuple(shape[2:]):
            return whole
        starts = (0, 0, *(axis.skipped if axis.spread != 1 else 0 for axis in self.axes))
        return SLICE(whole, starts=starts, sizes=tuple(shape), steps=(1,) * len(shape))

    def _joined(self, blocks: dict[tuple[_Class, ...], Value], chosen: tuple[_Class, ...]) -> Value:
        """The blocks whose first classes are `chosen`, joined along the axes behind these."""
        number = len(chosen)
        if number == len(self.axes):
            return blocks[chosen]
        parts = [self._joined(blocks, (*chosen, c)) for c in self.axes[number].classes]
        return parts[0] if len(parts) == 1 else CONCAT(*parts, axis=3 + 2 * number)

    def _block(self, chosen: Sequence[_Class]) -> Value:
        """The phases of one class along each axis: N, O, then (q, phase) of each axis."""
        batch, outputs = self.x.type.shape[0], self.w.type.shape[0]
        pairs = [(axis.count, c.phases) for axis, c in zip(self.axes, chosen, strict=True)]
        shape = (batch, outputs, *itertools.chain.from_iterable(pairs))
        if any(c.taps == 0 for c in chosen):
            return full(tensor_type(self.x.type.dtype, shape), 0)
        found = CONV(
            self.x, self._weight(chosen),
            strides=tuple(axis.stride for axis in self.axes),
            padding=tuple(a.padding_of(c.taps) for a, c in zip(self.axes, chosen, strict=True)),
            lhs_dilation=(1,) * len(self.axes),
            rhs_dilation=tuple(axis.dilation for axis in self.axes), groups=self.groups,
        )  # fmt: skip
        if all(c.phases == 1 for c in chosen):
            return RESHAPE(found, shape=shape)
        phases = [c.phases for c in chosen]
        places = [axis.count for axis in self.axes]
        count, groups = len(phases), self.groups
        split = RESHAPE(found, shape=(batch, groups, *phases, outputs // groups, *places))
        order = [0, 1, 2 + count]
        for k in range(count):
            order += [3 + count + k, 2 + k]
        return RESHAPE(TRANSPOSE(split, perm=tuple(order)), shape=shape)

    def _weight(self, chosen: Sequence[_Class]) -> Value:
        """The taps of the phases: outputs are (group, phases, output), then inputs, then taps."""
        outputs, inputs = self.w.type.shape[:2]
        window, fill = [], []
        for axis, c in zip(self.axes, chosen, strict=True):
            window.append(min(axis.window, c.taps * axis.spread))
            fill.append(c.taps * axis.spread - window[-1])
        w = _cut(self.w, (0,) * self.w.type.ndim, (outputs, inputs, *window))
        if any(fill):
            nought = full(tensor_type(w.type.dtype), 0)
            none = (0,) * w.type.ndim
            w = PAD(w, nought, low=none, high=(0, 0, *fill), interior=none)
        pairs = [(c.taps, axis.spread) for axis, c in zip(self.axes, chosen, strict=True)]
        w = RESHAPE(w, shape=(outputs, inputs, *itertools.chain.from_iterable(pairs)))
        starts, sizes, steps = [0, 0], [outputs, inputs], [1, 1]
        for c in chosen:
            starts += [0, c.end - 1]
            sizes += [c.taps, c.phases]
            steps += [1, -1]
        w = SLICE(w, starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))
        count, groups = len(chosen), self.groups
        phases, taps = [c.phases for c in chosen], [c.taps for c in chosen]
        paired = itertools.chain.from_iterable(zip(taps, phases, strict=True))
        w = RESHAPE(w, shape=(groups, outputs // groups, inputs, *paired))
        places = range(count)
        order = (0, *(4 + 2 * k for k in places), 1, 2, *(3 + 2 * k for k in places))
        shape = (outputs * product(phases), inputs, *taps)
        return RESHAPE(TRANSPOSE(w, perm=order), shape=shape)


def _cut(value: Value, starts: Sequence[Dim], sizes: Sequence[Dim]) -> Value:
    if tuple(sizes) == value.type.shape:
        return value
    return SLICE(value, starts=tuple(starts), sizes=tuple(sizes), steps=(1,) * value.type.ndim)
