"""Training steps that are also written by hand in numpy: of small convolutional nets and of an MLP.

Convolution, relu, pooling twice; linear layers with relu between them; cross entropy; forward,
backward and SGD with momentum. The demo's net is compiled; the nets of the tutorials run in sley's
eager mode, beside numpy doing the same by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..workload import Arrays, Call, Library, Workload

_BATCH = 64
_RATE, _MOMENTUM = np.float32(0.05), np.float32(0.9)
Shapes = Sequence[tuple[int, ...]]
_DEMO: Shapes = ((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (64, 128), (64,), (10, 64), (10,))
_TUTORIAL: Shapes = (
    (32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (128, 3136), (128,), (10, 128), (10,)
)  # fmt: skip
_MLP: Shapes = ((128, 784), (128,), (10, 128), (10,))


def _parameters(shapes: Shapes) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    bounds = [np.sqrt(1 / np.prod(s[1:])) if len(s) > 1 else 0.1 for s in shapes]
    return [rng.uniform(-b, b, s).astype(np.float32) for b, s in zip(bounds, shapes, strict=True)]


def _digits(tiny: bool) -> Arrays:
    """Images of 8x8, labels, then the parameters."""
    from sley.frontend.data.digits import load_digits

    images, labels = load_digits()
    batch = 3 if tiny else _BATCH
    x = images[:batch, None].astype(np.float32) / np.float32(16)
    return [x, labels[:batch], *_parameters(_DEMO)]


def _random(shapes: Shapes, example: tuple[int, ...]) -> Callable[[bool], Arrays]:
    def make(tiny: bool) -> Arrays:
        batch, rng = 3 if tiny else _BATCH, np.random.default_rng(1)
        x = rng.standard_normal((batch, *example), np.float32)
        return [x, rng.integers(0, 10, batch), *_parameters(shapes)]

    return make


def _torch_like(library: Library, tensors: Sequence[Any]) -> Call:
    x, y, *parameters = tensors
    F = library.functional
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = library.module.optim.SGD(parameters, lr=float(_RATE), momentum=float(_MOMENTUM))

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        *convs, w3, b3, w4, b4 = parameters
        h = x
        for w, b in zip(convs[::2], convs[1::2], strict=True):
            h = F.max_pool2d(F.relu(F.conv2d(h, w, b, padding=1)), 2)
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
    kept, a = [], x
    for w, b in zip(p[:-4:2], p[1:-4:2], strict=True):
        rows, c = _conv(a, w, b)
        a = _pool(np.maximum(c, 0))
        kept.append((rows, c, a))
    flat = a.reshape(len(x), -1)
    h = np.maximum(flat @ p[-4].T + p[-3], 0)
    scores = h @ p[-2].T + p[-1]
    e = np.exp(scores - scores.max(1, keepdims=True))
    softmax = e / e.sum(1, keepdims=True)
    each = np.arange(len(x))
    loss = -np.log(softmax[each, y]).mean()

    softmax[each, y] -= 1
    d4 = softmax / np.float32(len(x))
    d3 = (d4 @ p[-2]) * (h > 0)
    gradients = [d3.T @ flat, d3.sum(0), d4.T @ h, d4.sum(0)]
    d = (d3 @ p[-4]).reshape(a.shape) if kept else None
    for k in reversed(range(len(kept))):
        rows, c, a = kept[k]
        dc = _unpool(np.maximum(c, 0), a, d) * (c > 0)
        dw, db, d = _conv_gradients(rows, p[2 * k], dc, wants_input=k > 0)
        gradients = [dw, db, *gradients]
    return loss, gradients


def _conv(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the 3x3 windows as rows, the convolution with padding 1)."""
    n, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * 9)
    out = rows @ w.reshape(len(w), -1).T + b
    return rows, out.reshape(n, height, width, len(w)).transpose(0, 3, 1, 2)


def _conv_gradients(
    rows: np.ndarray, w: np.ndarray, d: np.ndarray, wants_input: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Gradients of weight, bias and, where it is wanted, input."""
    columns = d.transpose(0, 2, 3, 1).reshape(-1, len(w))
    dw, db = (columns.T @ rows).reshape(w.shape), columns.sum(0)
    if not wants_input:
        return dw, db, None
    turned = np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    _, dx = _conv(d, turned, np.zeros(turned.shape[0], np.float32))
    return dw, db, dx


def _tiles(x: np.ndarray) -> np.ndarray:
    n, channels, height, width = x.shape
    tiles = x.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return tiles.reshape(n, channels, height // 2, width // 2, 4)


def _pool(x: np.ndarray) -> np.ndarray:
    return _tiles(x).max(4)


def _unpool(x: np.ndarray, pooled: np.ndarray, d: np.ndarray | None) -> np.ndarray:
    """The gradient goes to the first of the largest elements of each tile."""
    assert d is not None
    n, channels, height, width = pooled.shape
    place = np.zeros((*pooled.shape, 4), np.float32)
    np.put_along_axis(place, _tiles(x).argmax(4)[..., None], d[..., None], 4)
    tiles = place.reshape(n, channels, height, width, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return tiles.reshape(x.shape)


def _eager(name: str, shapes: Shapes, example: tuple[int, ...]) -> Workload:
    return Workload(
        f"eager step of {name}, batch {_BATCH}", "eager", _random(shapes, example), _torch_like,
        numpy=_numpy, tolerance=1e-4, checked_calls=3, eager=True, only=("sley", "torch", "numpy"),
        threads=(1, 2),
    )  # fmt: skip


WORKLOADS = (
    Workload(
        f"step of the demo's net, batch {_BATCH}", "training", _digits, _torch_like, _jax, _numpy,
        tolerance=1e-4, checked_calls=3,
    ),
    _eager("an MLP 784-128-10", _MLP, (784,)),
    _eager("the tutorial's CNN", _TUTORIAL, (1, 28, 28)),
)  # fmt: skip
