"""Convolutions, pooling and what is made of windows: nn.functional, in one to three dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from public.samples import FLOATS, Table, drawn, public

import sley

TABLE = Table()
WIDE = ("float64", "float32")
F = "nn.functional."


def each(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)


def windows(
    x: np.ndarray,
    kernel: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    fill: float = 0.0,
    extra: int = 0,
) -> np.ndarray:
    """[N, C, places..., kernel...]; `extra` elements of `fill` more behind each axis."""
    n = x.ndim - 2
    kernel, stride, padding, dilation = (each(v, n) for v in (kernel, stride, padding, dilation))
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p + extra) for p in padding]], constant_values=fill)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(2, x.ndim)))
    places = tuple(slice(None, None, s) for s in stride)
    return view[(..., *places, *(slice(None, None, d) for d in dilation))]


def conv(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """The sum over channels and windows, for each group."""
    n = x.ndim - 2
    outs = []
    for part, kernel in zip(np.split(x, groups, 1), np.split(w, groups, 0), strict=True):
        seen = windows(part, w.shape[2:], stride, padding, dilation)
        axes = [1, *range(2 + n, 2 + 2 * n)]
        summed = np.tensordot(seen, kernel, (axes, [1, *range(2, 2 + n)]))
        outs.append(np.moveaxis(summed, -1, 1))
    out = np.concatenate(outs, 1)
    return out if b is None else out + b.reshape(-1, *[1] * n)


def conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> np.ndarray:
    """Each element writes the kernel, times itself, where its window lies."""
    n = x.ndim - 2
    stride, padding, more, dilation = (
        each(v, n) for v in (stride, padding, output_padding, dilation)
    )
    kernel = w.shape[2:]
    full = [
        (size - 1) * s + d * (k - 1) + 1 + o
        for size, s, d, k, o in zip(x.shape[2:], stride, dilation, kernel, more, strict=True)
    ]
    out = np.zeros((len(x), w.shape[1] * groups, *full))
    for g in range(groups):
        source = np.split(x, groups, 1)[g]
        weight = np.split(w, groups, 0)[g]
        channels = slice(g * w.shape[1], (g + 1) * w.shape[1])
        for tap in itertools.product(*map(range, kernel)):
            part = np.einsum("nc...,co->no...", source, weight[(..., *tap)])
            places = tuple(
                slice(t * d, t * d + (size - 1) * s + 1, s)
                for t, d, s, size in zip(tap, dilation, stride, x.shape[2:], strict=True)
            )
            out[(slice(None), channels, *places)] += part
    inner = tuple(slice(p, size - p) for p, size in zip(padding, full, strict=True))
    out = out[(..., *inner)]
    return out if b is None else out + b.reshape(-1, *[1] * n)


def convolution(
    name: str,
    reference: Callable[..., np.ndarray],
    shapes: Sequence[Sequence[int]],
    label: str = "",
    dtypes: Sequence[str] = WIDE,
    **options: Any,
) -> None:
    TABLE.shaped(
        F + name, public(F + name, **options), lambda *t: reference(*t, **options), shapes,
        label=label, dtypes=dtypes, low=-1.0, high=1.0, empty=not label,
        batch=[0, None, None][: len(shapes)] if label in ("", "strided") else None, tolerance={
            "float16": 2e-2, "bfloat16": 1e-1}.get(dtypes[-1]),
    )  # fmt: skip


for _n, _size in ((1, (7,)), (2, (6, 5)), (3, (4, 5, 4))):
    _kernel = (3, 2, 2)[:_n]
    _x, _w, _b = (2, 4, *_size), (6, 4, *_kernel), (6,)
    convolution(f"conv{_n}d", conv, [_x, _w, _b])
    convolution(f"conv{_n}d", conv, [_x, _w, _b], "halves", ("bfloat16", "float16"))
    convolution(f"conv{_n}d", conv, [_x, _w], "strided", stride=2, padding=1)
    convolution(f"conv{_n}d", conv, [_x, (6, 2, *_kernel), _b], "groups", WIDE[:1], groups=2,
                padding=1)  # fmt: skip
    convolution(f"conv{_n}d", conv, [_x, (4, 1, *_kernel)], "depthwise", WIDE[:1], groups=4)
    convolution(f"conv{_n}d", conv, [_x, _w], "dilated", WIDE[:1], dilation=2, padding=2)
    _t = (4, 3, *_kernel)
    convolution(f"conv_transpose{_n}d", conv_transpose, [_x, _t, (3,)])
    convolution(f"conv_transpose{_n}d", conv_transpose, [_x, _t], "halves", ("bfloat16", "float16"))
    convolution(f"conv_transpose{_n}d", conv_transpose, [_x, _t], "strided", stride=2, padding=1,
                output_padding=1)  # fmt: skip
    convolution(f"conv_transpose{_n}d", conv_transpose, [_x, (4, 2, *_kernel), (4,)], "groups",
                WIDE[:1], groups=2, dilation=2)  # fmt: skip
    TABLE.shaped(F + f"conv{_n}d", public(F + f"conv{_n}d"), lambda x, w: conv(x[None], w)[0],
                 [_x[1:], _w], label="no batch", dtypes=WIDE[:1], low=-1, high=1)  # fmt: skip

    def _ones(n: int, *lead: int) -> sley.Tensor:
        return sley.ones(*lead, *[4] * n)

    for _label, _call, _text in (
        ("channels", lambda f, n: f(_ones(n, 1, 3), _ones(n, 2, 4)), "4"),
        ("too small", lambda f, n: f(_ones(n, 1, 3), sley.ones(2, 3, *[5] * n)), ""),
        ("bias", lambda f, n: f(_ones(n, 1, 3), _ones(n, 2, 3), sley.ones(3)), ""),
        ("axes", lambda f, n: f(sley.ones(3), _ones(n, 2, 3)), ""),
        ("dtypes", lambda f, n: f(_ones(n, 1, 3), _ones(n, 2, 3).double()), "float64"),
        ("groups", lambda f, n: f(_ones(n, 1, 3), _ones(n, 2, 3), groups=2), "groups"),
        ("stride", lambda f, n: f(_ones(n, 1, 3), _ones(n, 2, 3), stride=0), "stride"),
    ):
        TABLE.wrong(F + f"conv{_n}d", _label,
                    lambda f=_call, n=_n: f(public_options(f"conv{n}d"), n),
                    (ValueError, TypeError), _text)  # fmt: skip
    TABLE.wrong(F + f"conv_transpose{_n}d", "channels", lambda n=_n: public(
        F + f"conv_transpose{n}d")(_ones(n, 1, 3), _ones(n, 4, 2)), ValueError, "4")  # fmt: skip


def public_options(name: str) -> Callable[..., Any]:
    return getattr(sley.nn.functional, name)


convolution("conv2d", conv, [(2, 3, 5, 6), (4, 3, 2, 3)], "two numbers", stride=(2, 1),
            padding=(0, 2), dilation=(1, 2))  # fmt: skip
TABLE.shaped(F + "conv2d", public(F + "conv2d", padding="same"),
             lambda x, w: conv(x, w, padding=1), [(2, 3, 5, 6), (4, 3, 3, 3)], label="same",
             dtypes=WIDE)  # fmt: skip
TABLE.shaped(F + "conv1d", public(F + "conv1d", padding="valid"), conv, [(2, 3, 5), (4, 3, 3)],
             label="valid", dtypes=WIDE[:1])  # fmt: skip
TABLE.wrong(F + "conv2d", "padding", lambda: sley.nn.functional.conv2d(
    sley.ones(1, 1, 3, 3), sley.ones(1, 1, 2, 2), padding="full"), ValueError, "full")  # fmt: skip

# ----------------------------------------------------------------------------------------- pooling


def behind(x: np.ndarray, **w: Any) -> np.ndarray:
    """[N, C, places..., elements of the window]"""
    seen = windows(x, **w)
    return seen.reshape(*seen.shape[: x.ndim], math.prod(seen.shape[x.ndim :]))


def max_pool(x: np.ndarray, **options: Any) -> np.ndarray:
    return behind(x, fill=-np.inf, **options).max(-1)


def avg_pool(x: np.ndarray, **options: Any) -> np.ndarray:
    return behind(x, **options).mean(-1)


def avg_pool_inside(x: np.ndarray, **options: Any) -> np.ndarray:
    """The mean of what is no padding."""
    return np.nanmean(behind(x, fill=np.nan, **options), -1)


def lp_pool(x: np.ndarray, p: float = 3.0, **options: Any) -> np.ndarray:
    return (behind(x, **options) ** p).sum(-1) ** (1 / p)


def bounds(size: int, count: int) -> list[slice]:
    return [slice(k * size // count, -(-(k + 1) * size // count)) for k in range(count)]


def adaptive(x: np.ndarray, sizes: Sequence[int], f: Callable[..., Any]) -> np.ndarray:
    out = np.empty((*x.shape[:2], *sizes))
    cuts = [bounds(n, k) for n, k in zip(x.shape[2:], sizes, strict=True)]
    for place in itertools.product(*map(range, sizes)):
        part = x[(..., *(c[k] for c, k in zip(cuts, place, strict=True)))]
        out[(..., *place)] = f(part.reshape(*x.shape[:2], -1), axis=-1)
    return out


for _n, _size in ((1, (8,)), (2, (6, 5)), (3, (4, 5, 4))):
    _x = (2, 3, *_size)
    for _label, _given, _same in (
        ("", {"kernel_size": 2}, {"kernel": 2, "stride": 2}),
        ("padded", {"kernel_size": 3, "stride": 2, "padding": 1},
         {"kernel": 3, "stride": 2, "padding": 1}),
        ("overlap", {"kernel_size": 3, "stride": 1}, {"kernel": 3, "stride": 1}),
    ):  # fmt: skip
        for _name, _reference in (("max_pool", max_pool), ("avg_pool", avg_pool)):
            TABLE.shaped(
                F + f"{_name}{_n}d", public(F + f"{_name}{_n}d", **_given),
                lambda x, f=_reference, o=_same: f(x, **o), [_x], label=_label,
                dtypes=FLOATS if not _label and _n == 2 else WIDE,
                batch=[0] if not _label else None,
            )  # fmt: skip
    TABLE.shaped(F + f"avg_pool{_n}d",
                 public(F + f"avg_pool{_n}d", 3, 2, 1, count_include_pad=False),
                 lambda x: avg_pool_inside(x, kernel=3, stride=2, padding=1), [_x],
                 label="inside", dtypes=WIDE[:1])  # fmt: skip
    TABLE.shaped(F + f"max_pool{_n}d", public(F + f"max_pool{_n}d", 2, 1, dilation=2),
                 lambda x: max_pool(x, kernel=2, dilation=2), [_x], label="dilated",
                 dtypes=WIDE[:1])  # fmt: skip
    TABLE.shaped(F + f"max_pool{_n}d", public(F + f"max_pool{_n}d", 3, 2, ceil_mode=True),
                 lambda x, s=_size: adaptive_ceil(x, s), [_x], label="ceil",
                 dtypes=WIDE[:1])  # fmt: skip
    TABLE.shaped(F + f"lp_pool{_n}d", public(F + f"lp_pool{_n}d", 3.0, 2),
                 lambda x: lp_pool(x, kernel=2, stride=2), [_x], low=0.2, dtypes=WIDE,
                 batch=[0], tolerance=2e-5)  # fmt: skip
    _sizes = (3, 2, 3)[:_n]
    for _name, _f in (("adaptive_avg_pool", np.mean), ("adaptive_max_pool", np.max)):
        TABLE.shaped(F + f"{_name}{_n}d", public(F + f"{_name}{_n}d", _sizes),
                     lambda x, s=_sizes, f=_f: adaptive(x, s, f), [_x], dtypes=WIDE,
                     batch=[0], empty=False)  # fmt: skip
        TABLE.shaped(F + f"{_name}{_n}d", public(F + f"{_name}{_n}d", 1),
                     lambda x, n=_n, f=_f: f(x, axis=tuple(range(2, x.ndim)), keepdims=True),
                     [_x], label="1", dtypes=WIDE[:1])  # fmt: skip
        TABLE.wrong(F + f"{_name}{_n}d", "axes", lambda n=_n, p=_name: public(
            F + f"{p}{n}d", 2)(sley.ones(3)), ValueError, "")  # fmt: skip
    TABLE.shaped(
        F + f"max_unpool{_n}d",
        lambda x, n=_n: public(F + f"max_unpool{n}d")(
            *public(F + f"max_pool{n}d", 2, return_indices=True)(x), 2),
        lambda x: np.where(x == spread_maxima(x), x, 0), [(2, 3, *[4] * _n)], dtypes=WIDE,
        batch=[0] if _n == 2 else None,
    )  # fmt: skip
    for _name in ("max_pool", "avg_pool"):
        _key = F + f"{_name}{_n}d"
        TABLE.wrong(_key, "axes", lambda k=_key: public(k, 2)(sley.ones(3)), ValueError, "")
        TABLE.wrong(_key, "too small", lambda k=_key, n=_n: public(k, 5)(_ones(n, 1, 1)),
                    ValueError, "")  # fmt: skip
        TABLE.wrong(_key, "padding", lambda k=_key, n=_n: public(k, 2, 1, 2)(_ones(n, 1, 1)),
                    ValueError, "padding|half")  # fmt: skip
        TABLE.wrong(_key, "kernel", lambda k=_key, n=_n: public(k, 0)(_ones(n, 1, 1)),
                    ValueError, "")  # fmt: skip
    TABLE.wrong(F + f"lp_pool{_n}d", "axes", lambda n=_n: public(F + f"lp_pool{n}d", 2.0, 2)(
        sley.ones(3)), ValueError, "")  # fmt: skip
    TABLE.wrong(F + f"max_unpool{_n}d", "sizes", lambda n=_n: public(F + f"max_unpool{n}d")(
        _ones(n, 1, 1), sley.zeros(1, 1, *[2] * n, dtype=sley.int64), 2), ValueError,
        "")  # fmt: skip


def adaptive_ceil(x: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Windows of 3 in steps of 2 that may hang over the end, if they begin inside."""
    count = [-(-(n - 3) // 2) + 1 for n in size]
    full = max_pool(np.pad(x, [(0, 0)] * 2 + [(0, 3)] * len(size), constant_values=-np.inf),
                    kernel=3, stride=2)  # fmt: skip
    return full[(..., *(slice(0, c) for c in count))]


def spread_maxima(x: np.ndarray) -> np.ndarray:
    """The maximum of each block of 2, at all of its places."""
    top = max_pool(x, kernel=2, stride=2)
    for axis in range(2, x.ndim):
        top = np.repeat(top, 2, axis)
    return top


TABLE.case(F + "max_pool2d", "indices", public(F + "max_pool2d", 2, return_indices=True),
           [drawn((1, 2, 4, 4), "float64", -1, 1)],
           lambda x: (max_pool(x, kernel=2, stride=2), places_of_maxima(x)),
           dtype="float64", batch=(0,))  # fmt: skip
TABLE.case(F + "max_pool1d", "special", public(F + "max_pool1d", 2),
           [np.array([[1.0, np.nan, -np.inf, -np.inf, np.inf, 2]])],
           lambda x: np.array([[np.nan, -np.inf, np.inf]]), special=True)  # fmt: skip
TABLE.shaped(F + "avg_pool2d", public(F + "avg_pool2d", (2, 3), (1, 2), divisor_override=4),
             lambda x: avg_pool(x, kernel=(2, 3), stride=(1, 2)) * 6 / 4, [(2, 3, 5, 7)],
             label="divisor", dtypes=WIDE)  # fmt: skip
TABLE.shaped(
    F + "adaptive_avg_pool2d",
    public(F + "adaptive_avg_pool2d", (None, 2)),
    lambda x: adaptive(x, (5, 2), np.mean),
    [(2, 3, 5, 6)],
    label="None",
    dtypes=WIDE[:1],
)


def places_of_maxima(x: np.ndarray) -> np.ndarray:
    """Row-major places in each image of the maxima of blocks of 2 by 2."""
    inner = behind(x, kernel=2, stride=2).argmax(-1)
    rows, columns = np.meshgrid(np.arange(2), np.arange(2), indexing="ij")
    return (2 * rows + inner // 2) * 4 + 2 * columns + inner % 2


# -------------------------------------------------------------------------- columns of windows


def unfolded(x: np.ndarray, **options: Any) -> np.ndarray:
    seen = windows(x, **options)
    n, c, h, w, *kernel = seen.shape
    moved = np.moveaxis(seen, (4, 5), (2, 3))
    return moved.reshape(n, c * kernel[0] * kernel[1], h * w)


def folded(columns: np.ndarray) -> np.ndarray:
    """Windows of 2 by 2 in steps of 1, added up in an image of 4 by 3."""
    parts = columns.reshape(len(columns), columns.shape[1] // 4, 2, 2, 3, 2)
    out = np.zeros((*parts.shape[:2], 4, 3))
    for i, j in itertools.product(range(2), range(2)):
        out[..., i : i + 3, j : j + 2] += parts[:, :, i, j]
    return out


TABLE.shaped(F + "unfold", public(F + "unfold", (2, 3), padding=1, stride=2),
             lambda x: unfolded(x, kernel=(2, 3), padding=1, stride=2), [(2, 3, 5, 6)],
             batch=[0], dtypes=WIDE)  # fmt: skip
TABLE.shaped(F + "unfold", public(F + "unfold", 2, dilation=2),
             lambda x: unfolded(x, kernel=2, dilation=2), [(2, 3, 5, 6)], label="dilated",
             dtypes=WIDE[:1])  # fmt: skip
TABLE.shaped(F + "fold", public(F + "fold", (4, 3), 2), folded, [(2, 8, 6)], batch=[0], dtypes=WIDE)
TABLE.wrong(F + "unfold", "axes", lambda: sley.nn.functional.unfold(sley.ones(3), 2), ValueError,
            "")  # fmt: skip
TABLE.wrong(F + "fold", "columns", lambda: sley.nn.functional.fold(sley.ones(1, 4, 5), (4, 3), 2),
            ValueError, "")  # fmt: skip
TABLE.wrong(F + "fold", "channels", lambda: sley.nn.functional.fold(sley.ones(1, 5, 6), (4, 3), 2),
            ValueError, "")  # fmt: skip
