"""Arrays for the golden kernels, and what plain numpy computes from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sley.ir.ops.special import erf

FOLDER = Path(__file__).resolve().parent / "golden" / "kernels"
FILES = sorted(FOLDER.glob("*.ir"))
Arrays = list[np.ndarray]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def text(name: str) -> str:
    return (FOLDER / f"{name}.ir").read_text()


def softmax() -> tuple[Arrays, Arrays]:
    x = normal(0, 5, 1024)
    e = np.exp(x - x.max(1, keepdims=True))
    return [x], [e / e.sum(1, keepdims=True)]


def layer_norm_backward() -> tuple[Arrays, Arrays]:
    x, dy, w = normal(1, 7, 33), normal(2, 7, 33), normal(3, 33)
    mean, rstd = x.mean(1), 1 / x.std(1)
    xhat = (x - mean[:, None]) * rstd[:, None]
    g = dy * w
    t = g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True)
    return [x, dy, w, mean, rstd], [t * rstd[:, None], (dy * xhat).sum(0), dy.sum(0)]


def matmul_bias_gelu() -> tuple[Arrays, Arrays]:
    x, w, b = normal(4, 6, 784), normal(5, 784, 128), normal(6, 128)
    h = x @ w + b
    return [x, w, b], [0.5 * h * (1 + erf(h * np.float32(0.5**0.5)))]


def split_column_sum() -> tuple[Arrays, Arrays]:
    x = normal(7, 61, 9)
    return [x], [x.sum(0)]


def conv_weight_gradient() -> tuple[Arrays, Arrays]:
    x, dy = normal(8, 2, 3, 6, 5), normal(9, 2, 4, 6, 5)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    dw = np.zeros((4, 3, 3, 3), np.float32)
    for r in range(3):
        for s in range(3):
            window = padded[:, :, r : r + 6, s : s + 5]
            dw[:, :, r, s] = np.einsum("bcpq,bopq->oc", window, dy)
    return [x, dy], [dw]


def flash_attention() -> tuple[Arrays, Arrays]:
    q, k, v = normal(10, 2, 5, 64), normal(11, 2, 9, 64), normal(12, 2, 9, 64)
    s = q @ k.transpose(0, 2, 1) * 0.125
    p = np.exp(s - s.max(-1, keepdims=True))
    return [q, k, v], [p / p.sum(-1, keepdims=True) @ v]


def lstm_cell() -> tuple[Arrays, Arrays]:
    x, h, c = normal(13, 3, 20), normal(14, 3, 128), normal(15, 3, 128)
    wx, wh, b = normal(16, 512, 20) / 5, normal(17, 512, 128) / 10, normal(18, 512)
    i, f, g, o = np.split(x @ wx.T + h @ wh.T + b, 4, axis=1)
    c1 = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    return [x, h, c, wx, wh, b], [np.tanh(c1) / (1 + np.exp(-o)), c1]


def updated(scalars: Arrays, w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray) -> Arrays:
    lr, c1, c2 = scalars
    m, v = m * 0.9 + g * 0.1, v * 0.999 + g * g * 0.001
    return [w - lr * 0.01 * w - lr * (m / c1) / (np.sqrt(v / c2) + 1e-8), m, v]


def groups(shapes: list[tuple[int, ...]]) -> tuple[Arrays, Arrays]:
    scalars = [np.array(n, np.float32) for n in (0.01, 0.1, 0.001)]
    arrays, expected = list(scalars), []
    for number, shape in enumerate(shapes):
        w, g, m, v = (normal(20 + 4 * number + k, *shape) for k in range(4))
        arrays += [w, g, m, v * v]
        expected += updated(scalars, w, g, m, v * v)
    return arrays, expected


def adamw() -> tuple[Arrays, Arrays]:
    return groups([(784, 128), (128,), (128, 10)])


CASES: dict[str, Callable[[], tuple[Arrays, Arrays]]] = {
    case.__name__: case
    for case in (
        softmax,
        layer_norm_backward,
        matmul_bias_gelu,
        split_column_sum,
        conv_weight_gradient,
        flash_attention,
        lstm_cell,
        adamw,
    )
}
