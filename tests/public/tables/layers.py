"""Linear maps, norms, look-ups, attention, resizing, padding: nn.functional."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as special
from public.samples import ALL, FLOATS, Table, drawn, find, public

import sley

TABLE = Table()
WIDE = ("float64", "float32")
F = "nn.functional."

# ------------------------------------------------------------------------------------- linear maps

LOOSE = {"float16": 1e-2, "bfloat16": 5e-2}
for _dtypes in (WIDE, ("bfloat16", "float16")):
    TABLE.shaped(F + "linear", public(F + "linear"), lambda x, w, b: x @ w.T + b,
                 [(4, 3), (5, 3), (5,)], dtypes=_dtypes, tolerance=LOOSE.get(_dtypes[1]),
                 batch=[0, None, None], label="b" if len(_dtypes[0]) > 7 else "")  # fmt: skip
TABLE.shaped(F + "linear", public(F + "linear"), lambda x, w: x @ w.T, [(2, 4, 3), (5, 3)],
             label="no bias", dtypes=WIDE, batch=[1, None])  # fmt: skip
TABLE.shaped(F + "linear", public(F + "linear"), lambda x, w: x @ w.T, [(3,), (5, 3)],
             label="a vector", dtypes=WIDE)  # fmt: skip
TABLE.wrong(F + "linear", "sizes", lambda: find(F + "linear")(sley.ones(2, 3), sley.ones(5, 4)),
            ValueError, "4")  # fmt: skip
TABLE.wrong(F + "linear", "dtypes", lambda: find(F + "linear")(
    sley.ones(2, 3), sley.ones(5, 3).double()), TypeError, "float64")  # fmt: skip
TABLE.shaped(F + "bilinear", public(F + "bilinear"),
             lambda a, b, w, c: np.einsum("ni,oij,nj->no", a, w, b) + c,
             [(4, 3), (4, 2), (5, 3, 2), (5,)], dtypes=WIDE, batch=[0, 0, None, None])  # fmt: skip
TABLE.wrong(F + "bilinear", "sizes", lambda: find(F + "bilinear")(
    sley.ones(2, 3), sley.ones(2, 2), sley.ones(5, 2, 2)), ValueError, "")  # fmt: skip

# ------------------------------------------------------------------------------------------- norms


def normed(x: np.ndarray, axes: Any, eps: float = 1e-5) -> np.ndarray:
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps)


def of_channels(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    return v.reshape(-1, *[1] * (x.ndim - 2))


def group_norm(x: np.ndarray, groups: int) -> np.ndarray:
    parts = x.reshape(len(x), groups, math.prod(x.shape[1:]) // groups)
    return normed(parts, 2).reshape(x.shape)


def rms(x: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)


LOOSE = {"float16": 1e-2, "bfloat16": 6e-2}
TABLE.shaped(F + "layer_norm", public(F + "layer_norm", (5,)), lambda x: normed(x, -1), [(3, 4, 5)],
             batch=[0])  # fmt: skip
TABLE.shaped(F + "layer_norm", lambda x, w, b: find(F + "layer_norm")(x, (4, 5), w, b, 1e-3),
             lambda x, w, b: normed(x, (1, 2), 1e-3) * w + b, [(3, 4, 5), (4, 5), (4, 5)],
             label="affine", dtypes=WIDE, batch=[0, None, None])  # fmt: skip
TABLE.shaped(F + "rms_norm", lambda x, w: find(F + "rms_norm")(x, (5,), w, 1e-4),
             lambda x, w: rms(x, 1e-4) * w, [(3, 4, 5), (5,)], batch=[0, None],
             tolerance=None)  # fmt: skip
TABLE.shaped(F + "group_norm", public(F + "group_norm", 2), lambda x: group_norm(x, 2),
             [(3, 4, 5)], batch=[0])  # fmt: skip
TABLE.shaped(F + "group_norm", lambda x, w, b: find(F + "group_norm")(x, 4, w, b),
             lambda x, w, b: group_norm(x, 4) * of_channels(w, x) + of_channels(b, x),
             [(3, 4, 5, 2), (4,), (4,)], label="affine", dtypes=WIDE)  # fmt: skip
TABLE.shaped(F + "instance_norm", public(F + "instance_norm"), lambda x: normed(x, (2, 3)),
             [(3, 2, 4, 5)], dtypes=WIDE, batch=[0])  # fmt: skip
TABLE.shaped(F + "batch_norm", lambda x, m, v, w, b: find(F + "batch_norm")(x, m, v, w, b),
             lambda x, m, v, w, b: (x - of_channels(m, x)) / np.sqrt(of_channels(v, x) + 1e-5)
             * of_channels(w, x) + of_channels(b, x), [(3, 2, 4), (2,), (2,), (2,), (2,)],
             low=0.2, batch=[0, *[None] * 4])  # fmt: skip
TABLE.shaped(F + "batch_norm", lambda x: find(F + "batch_norm")(x, None, None, training=True),
             lambda x: normed(x, (0, 2)), [(3, 2, 4)], label="training", dtypes=WIDE, batch=[0],
             empty=False)  # fmt: skip


def running(x: sley.Tensor, mean: sley.Tensor, var: sley.Tensor) -> Any:
    """The statistics as a training step leaves them."""
    mean, var = mean.clone(), var.clone()
    find(F + "batch_norm")(x, mean, var, training=True, momentum=0.25)
    return mean, var


TABLE.case(F + "batch_norm", "running", running,
           [drawn((6, 2, 4), "float64", -1, 1), np.zeros(2), np.ones(2)],
           lambda x, m, v: (0.75 * m + 0.25 * x.mean((0, 2)),
                            0.75 * v + 0.25 * x.var((0, 2), ddof=1)))  # fmt: skip
TABLE.shaped(F + "local_response_norm", public(F + "local_response_norm", 3, 0.5, 0.75, 2.0),
             lambda x: x / (2 + 0.5 / 3 * np.lib.stride_tricks.sliding_window_view(
                 np.pad(x * x, [(0, 0), (1, 1), (0, 0)]), 3, 1).sum(-1)) ** 0.75,
             [(2, 4, 5)], dtypes=WIDE, batch=[0], empty=False)  # fmt: skip
for _name, _call, _text in (
    ("layer_norm", lambda f: f(sley.ones(2, 3), (4,)), "4"),
    ("rms_norm", lambda f: f(sley.ones(2, 3), (4,)), "4"),
    ("group_norm", lambda f: f(sley.ones(2, 3), 2), "2"),
    ("batch_norm", lambda f: f(sley.ones(1, 3), None, None, training=True), "1"),
    ("instance_norm", lambda f: f(sley.ones(1, 3, 1)), "1"),
    ("local_response_norm", lambda f: f(sley.ones(3), 2), ""),
):  # fmt: skip
    TABLE.wrong(F + _name, "sizes", lambda n=_name, c=_call: c(find(F + n)), ValueError, _text)

# ----------------------------------------------------------------------------------------- dropout

for _name, _axes in (("dropout", 0), ("alpha_dropout", 0), ("feature_alpha_dropout", 2),
                     ("dropout1d", 1), ("dropout2d", 2), ("dropout3d", 3)):  # fmt: skip
    _shape = (2, 3, 4, 2, 2)[: 2 + _axes]
    TABLE.shaped(F + _name, public(F + _name, 0.5, training=False), lambda x: x, [_shape],
                 label="eval", dtypes=WIDE, batch=[0])  # fmt: skip
    TABLE.wrong(F + _name, "p", lambda n=_name: find(F + n)(sley.ones(2, 3), 1.5), ValueError,
                "1.5")  # fmt: skip

    def _kept(x: sley.Tensor, name: str = _name, axes: int = _axes) -> Any:
        """How often the elements that are left are 1 / (1 - p), and channels one thing."""
        sley.manual_seed(5)
        out = find(F + name)(x, 0.25, training=True)
        assert sley.logical_or(out == 0, out == x / 0.75).all()
        share = (out == 0).double().mean()
        assert 0.15 < share.item() < 0.35
        if axes:
            inner = (out == 0).flatten(2)
            assert (inner.all(-1) == inner.any(-1)).all()
        return out

    if "alpha" not in _name:
        TABLE.case(F + _name, "training", _kept, [np.ones((40, 25, 2, 2, 2)[: 2 + _axes])], None,
                   compiled=False)  # fmt: skip
        TABLE.case(F + _name, "all", public(F + _name, 1.0), [np.ones(_shape)], lambda x: 0 * x)
        TABLE.case(F + _name, "none", public(F + _name, 0.0), [np.ones(_shape)], lambda x: x)

# ---------------------------------------------------------------------------------------- look-ups

ROWS = np.array([[1, 3, 0], [2, 2, 5]])
for _dtype in FLOATS:
    _table = drawn((6, 3), _dtype, -1, 1)
    TABLE.case(F + "embedding", _dtype, public(F + "embedding"), [ROWS, _table],
               lambda i, w: w[i], gradient=_dtype == "float64", dtype=_dtype, tolerance=0,
               batch=(0, None) if _dtype == "float32" else None)  # fmt: skip
TABLE.case(F + "embedding", "int32", public(F + "embedding"), [np.int32(ROWS), drawn(
    (6, 3), "float64", -1, 1)], lambda i, w: w[i])  # fmt: skip
TABLE.case(F + "embedding", "empty", public(F + "embedding"), [ROWS[:0], drawn(
    (6, 3), "float64", -1, 1)], lambda i, w: w[i])  # fmt: skip
TABLE.wrong(F + "embedding", "row", lambda: find(F + "embedding")(sley.tensor([6]),
            sley.ones(6, 2)), IndexError, "6")  # fmt: skip
TABLE.wrong(F + "embedding", "floats", lambda: find(F + "embedding")(sley.ones(2), sley.ones(6, 2)),
            TypeError, "")  # fmt: skip
TABLE.wrong(F + "embedding", "padding", lambda: find(F + "embedding")(
    sley.tensor([0]), sley.ones(6, 2), padding_idx=7), ValueError, "7")  # fmt: skip
for _mode, _f in (("sum", np.sum), ("mean", np.mean), ("max", np.max)):
    TABLE.case(F + "embedding_bag", _mode, public(F + "embedding_bag", mode=_mode),
               [ROWS, drawn((6, 3), "float64", -1, 1)], lambda i, w, f=_f: f(w[i], axis=1),
               gradient=True, dtype="float64")  # fmt: skip
    TABLE.case(F + "embedding_bag", f"{_mode}-offsets", public(F + "embedding_bag", mode=_mode),
               [ROWS.ravel(), drawn((6, 3), "float64", -1, 1), np.array([0, 2, 3])],
               lambda i, w, o, f=_f: np.stack([f(w[p], axis=0) for p in np.split(i, o[1:])]),
               gradient=True)  # fmt: skip
TABLE.wrong(F + "embedding_bag", "mode", lambda: find(F + "embedding_bag")(
    sley.tensor([[0]]), sley.ones(6, 2), mode="min"), ValueError, "min")  # fmt: skip
TABLE.wrong(F + "embedding_bag", "offsets", lambda: find(F + "embedding_bag")(
    sley.tensor([0]), sley.ones(6, 2)), ValueError, "offsets")  # fmt: skip

# --------------------------------------------------------------------------------------- attention


def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None) -> np.ndarray:
    scores = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return special.softmax(scores, -1) @ v


QKV = [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)]
LOWER = np.tril(np.ones((4, 6), bool))
SDPA = F + "scaled_dot_product_attention"
TABLE.shaped(SDPA, public(SDPA), attention, QKV, dtypes=WIDE, batch=[0, 0, 0])
TABLE.shaped(SDPA, public(SDPA), attention, QKV, label="b", dtypes=("bfloat16", "float16"),
             tolerance=3e-2, empty=False)  # fmt: skip
TABLE.shaped(SDPA, public(SDPA, is_causal=True), lambda q, k, v: attention(q, k, v, LOWER), QKV,
             label="causal", dtypes=WIDE)  # fmt: skip
TABLE.shaped(SDPA, public(SDPA, scale=0.5), lambda q, k, v: attention(q, k, v, scale=0.5), QKV,
             label="scale", dtypes=WIDE[:1])  # fmt: skip
TABLE.case(SDPA, "bools", public(SDPA), [*(drawn(s, "float64", -1, 1) for s in QKV), LOWER],
           attention, gradient=True)  # fmt: skip
TABLE.shaped(SDPA, public(SDPA), attention, [*QKV, (4, 6)], label="added", dtypes=WIDE)
TABLE.shaped(SDPA, public(SDPA, enable_gqa=True),
             lambda q, k, v: attention(q, np.repeat(k, 2, 1), np.repeat(v, 2, 1)),
             [(2, 4, 3, 5), (2, 2, 6, 5), (2, 2, 6, 5)], label="grouped", dtypes=WIDE)  # fmt: skip
TABLE.wrong(SDPA, "sizes", lambda: find(SDPA)(sley.ones(1, 3, 4), sley.ones(1, 3, 5),
            sley.ones(1, 3, 5)), ValueError, "")  # fmt: skip
TABLE.wrong(SDPA, "both", lambda: find(SDPA)(sley.ones(1, 3, 4), sley.ones(1, 3, 4), sley.ones(
    1, 3, 4), attn_mask=sley.ones(3, 3), is_causal=True), ValueError, "")  # fmt: skip


def heads(x: np.ndarray) -> np.ndarray:
    """[length, batch, 4] as [batch, heads, length, 2]."""
    return x.reshape(*x.shape[:2], 2, 2).transpose(1, 2, 0, 3)


def multi_head(x: np.ndarray, w: np.ndarray, b: np.ndarray, o: np.ndarray) -> Any:
    q, k, v = (heads(t) for t in np.split(x @ w.T + b, 3, -1))
    shares = special.softmax(q @ k.swapaxes(-1, -2) / math.sqrt(2), -1)
    out = (shares @ v).transpose(2, 0, 1, 3).reshape(x.shape)
    return out @ o.T, shares.mean(1)


TABLE.shaped(
    F + "multi_head_attention_forward",
    lambda x, w, b, o: find(F + "multi_head_attention_forward")(
        x, x, x, 4, 2, w, b, None, None, False, 0.0, o, None),
    multi_head, [(3, 2, 4), (12, 4), (12,), (4, 4)], dtypes=WIDE, low=-1, high=1,
    batch=[1, None, None, None], empty=False,
)  # fmt: skip
TABLE.wrong(F + "multi_head_attention_forward", "embedding", lambda: find(
    F + "multi_head_attention_forward")(*[sley.ones(3, 2, 4)] * 3, 6, 2, sley.ones(12, 4), None,
    None, None, False, 0.0, sley.ones(4, 4), None), ValueError, "6")  # fmt: skip

# ---------------------------------------------------------------------------------------- resizing


def taps(size: int, count: int, mode: str, corners: bool) -> np.ndarray:
    """[count, size]: how much each old pixel has of each new one, as PyTorch documents."""
    out = np.zeros((count, size))
    for k in range(count):
        if mode == "nearest":
            out[k, int(k * size / count)] = 1
            continue
        if mode == "nearest-exact":
            out[k, int((k + 0.5) * size / count)] = 1
            continue
        at = k * (size - 1) / max(count - 1, 1) if corners else (k + 0.5) * size / count - 0.5
        if mode == "linear":
            at = max(at, 0)
        low = math.floor(at)
        for tap in range(low - 1, low + 3):
            d = abs(at - tap)
            if mode == "linear":
                share = max(0, 1 - d)
            elif d <= 1:
                share = 1.25 * d**3 - 2.25 * d**2 + 1
            else:
                share = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0
            out[k, min(max(tap, 0), size - 1)] += share
    return out


def resized(x: np.ndarray, sizes: Any, mode: str, corners: bool = False) -> np.ndarray:
    for axis, count in enumerate(sizes, 2):
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ taps(x.shape[axis], count, mode, corners).T, -1,
                        axis)  # fmt: skip
    return x


for _mode, _way, _n in (
    ("nearest", "nearest", 1), ("nearest", "nearest", 2), ("nearest-exact", "nearest-exact", 2),
    ("linear", "linear", 1), ("bilinear", "linear", 2), ("trilinear", "linear", 3),
    ("bicubic", "cubic", 2), ("nearest", "nearest", 3),
):  # fmt: skip
    _from, _to = (4, 5, 3)[:_n], (7, 3, 5)[:_n]
    for _corners in (False, True) if "nearest" not in _mode else (None,):
        TABLE.shaped(
            F + "interpolate",
            public(F + "interpolate", _to, mode=_mode, align_corners=_corners),
            lambda x, t=_to, w=_way, c=_corners: resized(x, t, w, bool(c)), [(2, 2, *_from)],
            label=f"{_mode}{_n}-{_corners}", dtypes=WIDE, batch=[0] if _n == 2 else None,
            tolerance=1e-5,
        )  # fmt: skip
TABLE.shaped(F + "interpolate", public(F + "interpolate", scale_factor=2.0),
             lambda x: resized(x, (8, 10), "nearest"), [(2, 2, 4, 5)], label="scale")  # fmt: skip
TABLE.shaped(F + "interpolate", public(F + "interpolate", (2, 2), mode="area"),
             lambda x: x.reshape(2, 2, 2, 2, 2, 2).mean((3, 5)), [(2, 2, 4, 4)], label="area",
             dtypes=WIDE)  # fmt: skip
for _name, _mode in (("upsample", "nearest"), ("upsample_nearest", "nearest"),
                     ("upsample_bilinear", "linear")):  # fmt: skip
    TABLE.shaped(F + _name, public(F + _name, (8, 10)),
                 lambda x, m=_mode: resized(x, (8, 10), m, True), [(2, 2, 4, 5)], dtypes=WIDE,
                 batch=[0], tolerance=1e-5)  # fmt: skip
    TABLE.wrong(F + _name, "neither", lambda n=_name: find(F + n)(sley.ones(1, 1, 2, 2)),
                ValueError, "size")  # fmt: skip
for _label, _given in (
    ("neither", {}), ("both", {"size": 2, "scale_factor": 2.0}), ("mode", {"size": 2, "mode": "x"}),
    ("axes", {"size": 2, "mode": "linear"}), ("corners", {"size": 2, "align_corners": True}),
):  # fmt: skip
    TABLE.wrong(F + "interpolate", _label, lambda g=_given: find(F + "interpolate")(
        sley.ones(1, 1, 2, 2), **g), ValueError, "")  # fmt: skip


def sampled(x: np.ndarray, grid: np.ndarray, corners: bool = False) -> np.ndarray:
    """Bilinear, 0 outside."""
    h, w = x.shape[2:]
    out = np.zeros((*x.shape[:2], *grid.shape[1:3]))
    for n, i, j in np.ndindex(*grid.shape[:3]):
        at = [(g + 1) / 2 * (s - 1) if corners else ((g + 1) * s - 1) / 2
              for g, s in zip(grid[n, i, j], (w, h), strict=True)]  # fmt: skip
        left, top = math.floor(at[0]), math.floor(at[1])
        for row in (top, top + 1):
            for column in (left, left + 1):
                if 0 <= row < h and 0 <= column < w:
                    share = (1 - abs(at[0] - column)) * (1 - abs(at[1] - row))
                    out[n, :, i, j] += share * x[n, :, row, column]
    return out


for _corners in (False, True):
    TABLE.shaped(F + "grid_sample", public(F + "grid_sample", align_corners=_corners),
                 lambda x, g, c=_corners: sampled(x, g, c), [(2, 2, 4, 5), (2, 3, 3, 2)],
                 label=str(_corners), low=-1.2, high=1.2, dtypes=WIDE, batch=[0, 0],
                 empty=False, tolerance=1e-5)  # fmt: skip
TABLE.wrong(F + "grid_sample", "mode", lambda: find(F + "grid_sample")(
    sley.ones(1, 1, 2, 2), sley.ones(1, 2, 2, 2), mode="x"), ValueError, "x")  # fmt: skip
TABLE.wrong(F + "grid_sample", "axes", lambda: find(F + "grid_sample")(
    sley.ones(1, 1, 2, 2), sley.ones(1, 2, 2, 3)), ValueError, "")  # fmt: skip


def affine(theta: np.ndarray) -> np.ndarray:
    y, x = ((np.arange(n) + 0.5) * 2 / n - 1 for n in (3, 4))
    points = np.stack([*np.meshgrid(x, y), np.ones((3, 4))], -1)
    return np.einsum("hwk,nik->nhwi", points, theta)


TABLE.shaped(F + "affine_grid", public(F + "affine_grid", (2, 1, 3, 4), align_corners=False),
             affine, [(2, 2, 3)], dtypes=WIDE)  # fmt: skip
TABLE.wrong(F + "affine_grid", "sizes", lambda: find(F + "affine_grid")(
    sley.ones(1, 2, 4), (1, 1, 2, 2)), ValueError, "")  # fmt: skip

# ------------------------------------------------------------------------- padding, order of pixels

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
for _mode, _numpy in MODES.items():
    TABLE.shaped(F + "pad", public(F + "pad", (2, 1, 0, 2), mode=_mode),
                 lambda x, m=_numpy: np.pad(x, [(0, 0), (0, 0), (0, 2), (2, 1)], m), [(2, 3, 4, 5)],
                 label=_mode, dtypes=ALL if _mode == "constant" else WIDE, batch=[0])  # fmt: skip
TABLE.shaped(F + "pad", public(F + "pad", (1, 0), value=2.5),
             lambda x: np.pad(x, [(0, 0), (1, 0)], constant_values=2.5), [(3, 4)], label="value",
             dtypes=WIDE)  # fmt: skip
TABLE.shaped(F + "pad", public(F + "pad", (-1, 1)), lambda x: np.pad(x[:, 1:], [(0, 0), (0, 1)]),
             [(3, 4)], label="negative", dtypes=WIDE)  # fmt: skip
for _label, _given in (
    ("odd", {"pad": (1,)}), ("too many", {"pad": (1, 1) * 5}),
    ("mode", {"pad": (1, 1), "mode": "x"}),
    ("reflect", {"pad": (4, 0), "mode": "reflect"}), ("too much", {"pad": (-3, -3)}),
):  # fmt: skip
    TABLE.wrong(F + "pad", _label, lambda g=_given: find(F + "pad")(sley.ones(1, 2, 4), **g),
                ValueError, "")  # fmt: skip


def shuffled(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    return x.reshape(n, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(
        n, c // 4, 2 * h, 2 * w)  # fmt: skip


def unshuffled(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(
        n, 4 * c, h // 2, w // 2)  # fmt: skip


def channels_shuffled(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), 2, 2, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)


SHUFFLES: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = {
    "pixel_shuffle": (shuffled, (2, 8, 3, 2), (1, 6, 2, 2)),
    "pixel_unshuffle": (unshuffled, (2, 2, 4, 6), (1, 1, 3, 2)),
    "channel_shuffle": (channels_shuffled, (2, 4, 3, 2), (1, 3, 2, 2)),
}
for _name, (_reference, _good, _bad) in SHUFFLES.items():
    TABLE.shaped(F + _name, public(F + _name, 2), _reference, [_good], dtypes=ALL[:5],
                 batch=[0], tolerance=0)  # fmt: skip
    TABLE.wrong(F + _name, "sizes", lambda n=_name, s=_bad: find(F + n)(sley.ones(*s), 2),
                ValueError, "")  # fmt: skip
    TABLE.wrong(F + _name, "factor", lambda n=_name, s=_good: find(F + n)(sley.ones(*s), 0),
                ValueError, "0")  # fmt: skip
