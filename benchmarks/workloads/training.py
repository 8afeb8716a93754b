"""The demo's training step: a small convolutional net on a batch of handwritten digits.

Convolution, relu, pooling twice, two linear layers, cross entropy; forward, backward and SGD with
momentum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..workload import Arrays, Call, Library, Workload

_BATCH = 64
_RATE, _MOMENTUM = np.float32(0.05), np.float32(0.9)
_SHAPES = ((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (64, 128), (64,), (10, 64), (10,))


def _inputs(tiny: bool) -> Arrays:
    """Images, labels, then the parameters."""
    from sley.frontend.data.digits import load_digits

    images, labels = load_digits()
    batch = 3 if tiny else _BATCH
    rng = np.random.default_rng(0)
    bounds = [np.sqrt(1 / np.prod(s[1:])) if len(s) > 1 else 0.1 for s in _SHAPES]
    parameters = [rng.uniform(-b, b, s).astype(np.float32) for b, s in zip(bounds, _SHAPES)]
    x = images[:batch, None].astype(np.float32) / np.float32(16)
    return [x, labels[:batch], *parameters]


def _torch_like(library: Library, tensors: Sequence[Any]) -> Call:
    x, y, *parameters = tensors
    F = library.functional
    for parameter in parameters:
        parameter.requires_grad_()
    w1, b1, w2, b2, w3, b3, w4, b4 = parameters
    optimizer = library.module.optim.SGD(parameters, lr=float(_RATE), momentum=float(_MOMENTUM))

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        h = F.max_pool2d(F.relu(F.conv2d(x, w1, b1, padding=1)), 2)
        h = F.max_pool2d(F.relu(F.conv2d(h, w2, b2, padding=1)), 2)
        h = F.relu(F.linear(h.flatten(1), w3, b3))
        loss = F.cross_entropy(F.linear(h, w4, b4), y)
        loss.backward()
        optimizer.step()
        return loss

    function = library.compile(step)
    return lambda: function(x, y)


def _jax(jax: Any, arrays: Sequence[Any]) -> Call:
    x, y, *parameters = arrays
    np, lax, nn = jax.numpy, jax.lax, jax.nn

    def conv(x: Any, w: Any, b: Any) -> Any:
        return lax.conv(x, w, (1, 1), "SAME") + b[:, None, None]

    def pool(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def loss_of(p: Any, x: Any, y: Any) -> Any:
        h = pool(nn.relu(conv(x, p[0], p[1])))
        h = pool(nn.relu(conv(h, p[2], p[3])))
        h = nn.relu(h.reshape(x.shape[0], -1) @ p[4].T + p[5])
        scores = nn.log_softmax(h @ p[6].T + p[7])
        return -np.take_along_axis(scores, y[:, None], 1).mean()

    def step(p: Any, v: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(p, x, y)
        v = [_MOMENTUM * m + g for m, g in zip(v, gradients)]
        return loss, [w - _RATE * m for w, m in zip(p, v)], v

    compiled = jax.jit(step, donate_argnums=(0, 1))
    state = [parameters, [np.zeros_like(p) for p in parameters]]

    def call() -> Any:
        loss, *state[:] = compiled(*state, x, y)
        return jax.block_until_ready((loss, state))[0]

    return call


# numpy, by hand ------------------------------------------------------------------------------


def _numpy(arrays: Arrays) -> Call:
    x, y = arrays[:2]
    parameters = [p.copy() for p in arrays[2:]]
    momenta = [np.zeros_like(p) for p in parameters]

    def step() -> np.ndarray:
        loss, gradients = _loss_and_gradients(parameters, x, y)
        for p, v, g in zip(parameters, momenta, gradients):
            v *= _MOMENTUM
            v += g
            p -= _RATE * v
        return loss

    return step


def _loss_and_gradients(
    p: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    rows1, c1 = _conv(x, p[0], p[1])
    a1 = _pool(np.maximum(c1, 0))
    rows2, c2 = _conv(a1, p[2], p[3])
    a2 = _pool(np.maximum(c2, 0))
    flat = a2.reshape(len(x), -1)
    h = np.maximum(flat @ p[4].T + p[5], 0)
    scores = h @ p[6].T + p[7]
    e = np.exp(scores - scores.max(1, keepdims=True))
    softmax = e / e.sum(1, keepdims=True)
    each = np.arange(len(x))
    loss = -np.log(softmax[each, y]).mean()

    softmax[each, y] -= 1
    d4 = softmax / np.float32(len(x))
    d3 = (d4 @ p[6]) * (h > 0)
    d2 = _unpool(np.maximum(c2, 0), a2, (d3 @ p[4]).reshape(a2.shape)) * (c2 > 0)
    dw2, db2, da1 = _conv_gradients(rows2, p[2], d2)
    d1 = _unpool(np.maximum(c1, 0), a1, da1) * (c1 > 0)
    dw1, db1, _ = _conv_gradients(rows1, p[0], d1)
    return loss, [dw1, db1, dw2, db2, d3.T @ flat, d3.sum(0), d4.T @ h, d4.sum(0)]


def _conv(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the 3x3 windows as rows, the convolution with padding 1)."""
    n, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * 9)
    out = rows @ w.reshape(len(w), -1).T + b
    return rows, out.reshape(n, height, width, len(w)).transpose(0, 3, 1, 2)


def _conv_gradients(
    rows: np.ndarray, w: np.ndarray, d: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of weight, bias and input."""
    columns = d.transpose(0, 2, 3, 1).reshape(-1, len(w))
    turned = np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    _, dx = _conv(d, turned, np.zeros(turned.shape[0], np.float32))
    return (columns.T @ rows).reshape(w.shape), columns.sum(0), dx


def _tiles(x: np.ndarray) -> np.ndarray:
    n, channels, height, width = x.shape
    tiles = x.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return tiles.reshape(n, channels, height // 2, width // 2, 4)


def _pool(x: np.ndarray) -> np.ndarray:
    return _tiles(x).max(4)


def _unpool(x: np.ndarray, pooled: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The gradient goes to the first of the largest elements of each tile."""
    n, channels, height, width = pooled.shape
    place = np.zeros((*pooled.shape, 4), np.float32)
    np.put_along_axis(place, _tiles(x).argmax(4)[..., None], d[..., None], 4)
    tiles = place.reshape(n, channels, height, width, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return tiles.reshape(x.shape)


WORKLOADS = (
    Workload(
        f"step of the demo's net, batch {_BATCH}", "training", _inputs, _numpy, _torch_like, _jax,
        tolerance=1e-4, checked_calls=3,
    ),
)  # fmt: skip
