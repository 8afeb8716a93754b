"""Contractions: sums of products over shared axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..dims import Dim, floordiv, mod, nonnegative
from ..dtypes import is_half
from ..types import TensorType
from .base import Attrs, ContractMap, Kind, Piece, define, need
from .view import window_count

Types = Sequence[TensorType]
Axes = tuple[int, ...]


def free_axes(ndim: int, contract: Sequence[int], batch: Sequence[int]) -> tuple[int, ...]:
    """The axes of an operand that are neither summed nor shared."""
    return tuple(a for a in range(ndim) if a not in contract and a not in batch)


def _infer_dot(types: Types, attrs: Attrs) -> Types:
    lhs, rhs = types
    need(lhs.dtype is rhs.dtype, f"dot_general of {lhs} and {rhs}")
    need(lhs.dtype.kind != "bool", "dot_general of bool")
    lc, rc, lb, rb = (
        tuple(attrs[n]) for n in ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")
    )
    for pair, word in (((lc, rc), "contracted"), ((lb, rb), "batch")):
        need(len(pair[0]) == len(pair[1]), f"{word} axes {pair} differ in number")
        for a, b in zip(*pair, strict=True):
            need(0 <= a < lhs.ndim and 0 <= b < rhs.ndim, f"axes {a}, {b} of {lhs}, {rhs}")
            need(
                lhs.shape[a] == rhs.shape[b],
                f"{word} axis {a} of {lhs} and axis {b} of {rhs} differ in size",
            )
    need(len(set(lc + lb)) == len(lc + lb), f"axes {lc + lb} of the left side repeat")
    need(len(set(rc + rb)) == len(rc + rb), f"axes {rc + rb} of the right side repeat")
    shape = [lhs.shape[a] for a in lb]
    shape += [lhs.shape[a] for a in free_axes(lhs.ndim, lc, lb)]
    shape += [rhs.shape[a] for a in free_axes(rhs.ndim, rc, rb)]
    return (lhs.with_shape(tuple(shape)),)


def _eval_dot(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    lhs, rhs = arrays
    dtype = lhs.dtype
    if is_half(dtype):
        lhs, rhs = lhs.astype(np.float32), rhs.astype(np.float32)
    axes = [tuple(attrs[n]) for n in ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")]
    return [_product_of(lhs.shape, rhs.shape, *axes)(lhs, rhs).astype(dtype, copy=False)]


def _prepare_dot(types: Types, attrs: Attrs) -> Callable[..., Any] | None:
    lhs, rhs = types
    if is_half(lhs.dtype.numpy):
        return None
    axes = [tuple(attrs[n]) for n in ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")]
    return _product_of(lhs.shape, rhs.shape, *axes)


@functools.lru_cache(1024)
def _product_of(
    lhs: tuple[int, ...], rhs: tuple[int, ...], lc: Axes, rc: Axes, lb: Axes, rb: Axes
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What multiplies arrays of the shapes `lhs` and `rhs`."""
    (left_order, left_shape), (right_order, right_shape), shape = _as_matrices(
        lhs, rhs, lc, rc, lb, rb
    )

    def product_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        left = x.transpose(left_order).reshape(left_shape)
        right = y.transpose(right_order).reshape(right_shape)
        product = np.matmul(left, right)
        # A reshaped array would not be the owner of its memory.
        return product if product.shape == shape else product.reshape(shape)

    return product_of


def _as_matrices(
    lhs: tuple[int, ...], rhs: tuple[int, ...], lc: Axes, rc: Axes, lb: Axes, rb: Axes
) -> tuple[tuple[Axes, tuple[int, ...]], tuple[Axes, tuple[int, ...]], tuple[int, ...]]:
    """((order of the axes, shape) of the left side and of the right as (a batch of) matrices, the
    shape of the result) for operands of the shapes `lhs` and `rhs`."""
    lf, rf = free_axes(len(lhs), lc, lb), free_axes(len(rhs), rc, rb)
    batch = tuple(lhs[a] for a in lb)
    m, n = tuple(lhs[a] for a in lf), tuple(rhs[a] for a in rf)
    rows, inner, columns = math.prod(m), math.prod(lhs[a] for a in lc), math.prod(n)
    lead = (math.prod(batch),) if batch else ()
    left = (lb + lf + lc, (*lead, rows, inner))
    right = (rb + rc + rf, (*lead, inner, columns))
    return left, right, batch + m + n


def _map_dot(types: Types, attrs: Attrs) -> ContractMap:
    lhs, rhs = types
    lc, rc, lb, rb = (
        tuple(attrs[n]) for n in ("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch")
    )
    lf, rf = free_axes(lhs.ndim, lc, lb), free_axes(rhs.ndim, rc, rb)

    def gather(operand: int, groups: Sequence[tuple[tuple[int, ...], tuple[Dim, ...]]]) -> list:
        index: list[Dim] = [0] * types[operand].ndim
        for axes, values in groups:
            for axis, value in zip(axes, values, strict=True):
                index[axis] = value
        return [Piece(operand, tuple(index))]

    return ContractMap(
        tuple(lhs.shape[a] for a in lb),
        tuple(lhs.shape[a] for a in lf),
        tuple(rhs.shape[a] for a in rf),
        tuple(lhs.shape[a] for a in lc),
        lambda b, m, k: gather(0, ((lb, b), (lf, m), (lc, k))),
        lambda b, k, n: gather(1, ((rb, b), (rc, k), (rf, n))),
        lambda b, m, n: (*b, *m, *n),
    )


def conv_output(
    size: Dim, window: Dim, stride: int, padding: tuple[Dim, Dim], lhs_dilation: int,
    rhs_dilation: int,
) -> Dim:  # fmt: skip
    """The size of a convolved axis; `window` and a dilated `size` must not be symbolic 0."""
    spread = (size - 1) * lhs_dilation + 1
    total = spread + padding[0] + padding[1]
    if isinstance(window, int):
        return window_count(total, window, stride, rhs_dilation)
    return (total - (window - 1) * rhs_dilation - 1) // stride + 1


def conv_axes(attrs: Attrs) -> list[tuple[int, tuple[Dim, Dim], int, int]]:
    """(stride, padding, lhs_dilation, rhs_dilation) of each spatial axis."""
    names = ("strides", "padding", "lhs_dilation", "rhs_dilation")
    return list(zip(*(attrs[n] for n in names), strict=True))


def _infer_conv(types: Types, attrs: Attrs) -> Types:
    x, w = types
    groups = attrs["groups"]
    need(x.dtype is w.dtype and x.dtype.is_inexact, f"conv of {x} and {w}")
    need(x.ndim == w.ndim and x.ndim >= 3, f"conv of {x} and {w}: N C spatial, O I spatial")
    need(len(conv_axes(attrs)) == x.ndim - 2, f"conv of {x} needs {x.ndim - 2} spatial attributes")
    need(
        w.shape[1] * groups == x.shape[1],
        f"conv: {x} has {x.shape[1]} channels, the weight {w} takes {w.shape[1]} * {groups}",
    )
    need(w.shape[0] % groups == 0, f"conv: {w.shape[0]} outputs in {groups} groups")
    spatial = []
    for size, window, (stride, padding, ld, rd) in zip(
        x.shape[2:], w.shape[2:], conv_axes(attrs), strict=True
    ):
        count = conv_output(size, window, stride, padding, ld, rd)
        need(
            not isinstance(count, int) or count >= 0,
            f"conv: a window of {window} does not fit {size} padded by {padding}",
        )
        spatial.append(count)
    return (x.with_shape((x.shape[0], w.shape[0], *spatial)),)


def _eval_conv(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    x, w = arrays
    dtype = x.dtype
    wide = np.float32 if is_half(dtype) else dtype
    x, w, groups = x.astype(wide, copy=False), w.astype(wide, copy=False), attrs["groups"]
    axes = conv_axes(attrs)
    spatial: tuple[Any, ...] = tuple(
        conv_output(n, k, s, p, ld, rd)
        for n, k, (s, p, ld, rd) in zip(x.shape[2:], w.shape[2:], axes, strict=True)
    )
    result = (x.shape[0], w.shape[0], *spatial)
    if 0 in result or 0 in x.shape or 0 in w.shape:
        return [np.zeros(result, dtype)]
    spread = _spread(x, axes)
    shape = spread.shape[:2] + spatial + w.shape[2:]
    strides = list(spread.strides[:2])
    strides += [t * s for t, (s, *_) in zip(spread.strides[2:], axes, strict=True)]
    strides += [t * rd for t, (*_, rd) in zip(spread.strides[2:], axes, strict=True)]
    windows = as_strided(spread, shape, strides, writeable=False)
    count = len(spatial)
    n, c = windows.shape[:2]
    windows = windows.reshape((n, groups, c // groups) + windows.shape[2:])
    # The longer of pixels and window goes inside, so that the copy of the windows has long runs.
    if math.prod(spatial) >= math.prod(w.shape[2:]):
        # (out/g, c/g, k...) times (n, g, c/g, k..., o...)
        order = (0, 1, 2, *range(3 + count, 3 + 2 * count), *range(3, 3 + count))
        right = windows.transpose(order).reshape(n, groups, -1, math.prod(spatial))
        product = np.matmul(w.reshape(1, groups, w.shape[0] // groups, -1), right)
        return [product.reshape(result).astype(dtype, copy=False)]
    # (g, n, o..., c/g, k...) times (g, out/g, c/g, k...)
    order = (1, 0, *range(3, 3 + count), 2, *range(3 + count, 3 + 2 * count))
    left = windows.transpose(order).reshape(groups, n * math.prod(spatial), -1)
    weights = w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
    product = np.matmul(left, weights).reshape((groups, n, *spatial, w.shape[0] // groups))
    moved = product.transpose((1, 0, 2 + count, *range(2, 2 + count)))
    return [np.ascontiguousarray(moved.reshape(result)).astype(dtype, copy=False)]


def _spread(x: np.ndarray, axes: list[tuple]) -> np.ndarray:
    """x dilated and padded (negative padding cuts)."""
    shape = [(n - 1) * ld + 1 for n, (_, _, ld, _) in zip(x.shape[2:], axes, strict=True)]
    dilated = np.zeros(x.shape[:2] + tuple(shape), x.dtype)
    dilated[(slice(None), slice(None), *(slice(None, None, ld) for _, _, ld, _ in axes))] = x
    cut = tuple(
        slice(max(-low, 0), n - max(-high, 0))
        for n, (_, (low, high), _, _) in zip(shape, axes, strict=True)
    )
    widths = [(0, 0), (0, 0)] + [(max(low, 0), max(high, 0)) for _, (low, high), _, _ in axes]
    return np.pad(dilated[(slice(None), slice(None), *cut)], widths)


def _map_conv(types: Types, attrs: Attrs) -> ContractMap:
    """Weights on the m side, images and their pixels on the n side, where the result is
    contiguous."""
    x, w = types
    groups, axes = attrs["groups"], conv_axes(attrs)
    (result,) = _infer_conv(types, attrs)
    spatial, window = result.shape[2:], w.shape[2:]
    outputs, channels = floordiv(w.shape[0], groups), w.shape[1]
    group = (groups,) if groups != 1 else ()

    def lhs(b: tuple[Dim, ...], m: tuple[Dim, ...], k: tuple[Dim, ...]) -> list[Piece]:
        g: Dim = b[0] if group else 0
        return [Piece(1, (g * outputs + m[0], *k))]

    def rhs(b: tuple[Dim, ...], k: tuple[Dim, ...], n: tuple[Dim, ...]) -> list[Piece]:
        g: Dim = b[0] if group else 0
        i, *pixel = n
        index: list[Dim] = [i, g * channels + k[0]]
        conditions: list[tuple[str, Dim]] = []
        for size, o, t, count, taps, (stride, padding, ld, rd) in zip(
            x.shape[2:], pixel, k[1:], spatial, window, axes, strict=True
        ):
            spread = o * stride + t * rd - padding[0]
            place = floordiv(spread, ld) if ld != 1 else spread
            index.append(place)
            reach = (count - 1) * stride + (taps - 1) * rd - padding[0]
            if padding[0] != 0 and not nonnegative(-padding[0]):
                conditions.append(("ge", spread))
            if not nonnegative((size - 1) * ld - reach):
                conditions.append(("ge", size - 1 - place))
            if ld != 1:
                conditions.append(("eq", mod(spread, ld)))
        source = Piece(0, tuple(index), tuple(conditions))
        return [source, Piece(-1, ())] if conditions else [source]

    def place(b: tuple[Dim, ...], m: tuple[Dim, ...], n: tuple[Dim, ...]) -> tuple[Dim, ...]:
        g: Dim = b[0] if group else 0
        return (n[0], g * outputs + m[0], *n[1:])

    return ContractMap(
        group, (outputs,), (x.shape[0], *spatial), (channels, *window), lhs, rhs, place, apart=1
    )


DOT_GENERAL = define(
    "dot_general", Kind.CONTRACTION, _infer_dot, _eval_dot,
    """Products of elements summed over the contracted axes, for each point of the batch axes;
    the result's axes are batch, free of the left, free of the right. f16 and bf16 sum in f32.""",
    arity=2, attributes=("lhs_contract", "rhs_contract", "lhs_batch", "rhs_batch"),
    contract_map=_map_dot, prepare=_prepare_dot,
)  # fmt: skip
CONV = define(
    "conv", Kind.CONTRACTION, _infer_conv, _eval_conv,
    """Cross-correlation of x[N, C, spatial] with w[O, C/groups, spatial] to [N, O, spatial].
    `padding` is ((low, high), ...), negative to cut; `lhs_dilation` spreads x, `rhs_dilation` the
    window. Its gradients are convolutions again.""",
    arity=2, attributes=("strides", "padding", "lhs_dilation", "rhs_dilation", "groups"),
    contract_map=_map_conv,
)  # fmt: skip
