"""The models for jax: each takes its parameters in the order in which models.py makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .attention import jax_attention
from .conv import jax_conv, jax_max_pool


def _linear(x: Any, p: Iterator[Any]) -> Any:
    return x @ next(p).T + next(p)


def mlp(jax: Any, parameters: Sequence[Any], x: Any, training: bool) -> Any:
    p, relu = iter(parameters), jax.nn.relu
    return _linear(relu(_linear(relu(_linear(x, p)), p)), p)


def _conv_with_bias(jax: Any, x: Any, p: Iterator[Any], padding: int = 1) -> Any:
    return jax_conv(jax, x, next(p), padding=padding) + next(p)[:, None, None]


def cnn(jax: Any, parameters: Sequence[Any], x: Any, training: bool) -> Any:
    p, relu = iter(parameters), jax.nn.relu
    h = jax_max_pool(jax, relu(_conv_with_bias(jax, x, p)), 2, 2)
    h = jax_max_pool(jax, relu(_conv_with_bias(jax, h, p)), 2, 2)
    h = relu(_linear(h.reshape(len(h), -1), p))
    return _linear(h, p)


def _batch_norm(jax: Any, x: Any, p: Iterator[Any], training: bool) -> Any:
    """With the statistics of the batch, or those of a new model: 0 and 1."""
    scale, shift = next(p)[:, None, None], next(p)[:, None, None]
    mean, variance = 0.0, 1.0
    if training:
        mean = x.mean((0, 2, 3), keepdims=True)
        variance = ((x - mean) ** 2).mean((0, 2, 3), keepdims=True)
    return (x - mean) * (scale * (variance + 1e-5) ** -0.5) + shift


def resnet18(jax: Any, parameters: Sequence[Any], x: Any, training: bool) -> Any:
    p, relu = iter(parameters), jax.nn.relu
    h = relu(_batch_norm(jax, jax_conv(jax, x, next(p), stride=2, padding=3), p, training))
    h = jax_max_pool(jax, h, 3, 2, 1)
    for width in (64, 128, 256, 512):
        for stride in (1 if width == 64 else 2, 1):
            y = jax_conv(jax, h, next(p), stride=stride, padding=1)
            y = relu(_batch_norm(jax, y, p, training))
            y = _batch_norm(jax, jax_conv(jax, y, next(p), padding=1), p, training)
            if stride == 2:
                h = _batch_norm(jax, jax_conv(jax, h, next(p), stride=2), p, training)
            h = relu(y + h)
    return _linear(h.mean((2, 3)), p)


def lstm(jax: Any, parameters: Sequence[Any], x: Any, training: bool) -> Any:
    p, np = iter(parameters), jax.numpy
    h = x.swapaxes(0, 1)
    for _ in range(2):
        w, u, b, c = (next(p) for _ in range(4))

        def step(state: Any, row: Any, u: Any = u) -> Any:
            hidden, cell = state
            i, f, g, o = np.split(row + hidden @ u.T, 4, axis=1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * np.tanh(g)
            hidden = jax.nn.sigmoid(o) * np.tanh(cell)
            return (hidden, cell), hidden

        zeros = np.zeros((h.shape[1], u.shape[1]), h.dtype)
        _, h = jax.lax.scan(step, (zeros, zeros), h @ w.T + (b + c))
    return _linear(h[-1], p)


def _layer_norm(jax: Any, x: Any, scale: Any, shift: Any) -> Any:
    centered = x - x.mean(-1, keepdims=True)
    return centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def _transformer(jax: Any, parameters: Sequence[Any], tokens: Any, heads: int, causal: bool) -> Any:
    words, places, *blocks, last_scale, last_shift, head = parameters
    x = words[tokens] + places
    batch, length, width = x.shape

    def attention(x: Any, qkv: tuple[Any, Any], out: tuple[Any, Any]) -> Any:
        parts = (x @ qkv[0].T + qkv[1]).reshape(batch, length, 3, heads, width // heads)
        q, k, v = parts.transpose(2, 0, 3, 1, 4)
        h = jax_attention(jax, q, k, v, causal)
        return h.transpose(0, 2, 1, 3).reshape(batch, length, width) @ out[0].T + out[1]

    def feed_forward(x: Any, up: tuple[Any, Any], down: tuple[Any, Any]) -> Any:
        h = jax.nn.gelu(x @ up[0].T + up[1], approximate=causal)
        return h @ down[0].T + down[1]

    for k in range(0, len(blocks), 12):
        norm1, qkv, out, norm2, up, down = zip(*[iter(blocks[k : k + 12])] * 2, strict=True)
        if causal:
            x = x + attention(_layer_norm(jax, x, *norm1), qkv, out)
            x = x + feed_forward(_layer_norm(jax, x, *norm2), up, down)
        else:
            x = _layer_norm(jax, x + attention(x, qkv, out), *norm1)
            x = _layer_norm(jax, x + feed_forward(x, up, down), *norm2)
    return _layer_norm(jax, x, last_scale, last_shift) @ head.T


def gpt(jax: Any, parameters: Sequence[Any], tokens: Any, training: bool) -> Any:
    return _transformer(jax, parameters, tokens, heads=6, causal=True)


def bert(jax: Any, parameters: Sequence[Any], tokens: Any, training: bool) -> Any:
    return _transformer(jax, parameters, tokens, heads=8, causal=False)


def unet(jax: Any, parameters: Sequence[Any], x: Any, training: bool) -> Any:
    p, np = iter(parameters), jax.numpy

    def twice(h: Any) -> Any:
        for _ in range(2):
            h = jax.nn.relu(_conv_with_bias(jax, h, p))
        return h

    def enlarge(h: Any) -> Any:
        w, b = next(p), next(p)
        y = np.einsum("nchw,coij->nohiwj", h, w)
        n, c, height, _, width, _ = y.shape
        return y.reshape(n, c, 2 * height, 2 * width) + b[:, None, None]

    a = twice(x)
    b = twice(jax_max_pool(jax, a, 2, 2))
    h = twice(jax_max_pool(jax, b, 2, 2))
    h = twice(np.concatenate([enlarge(h), b], 1))
    h = twice(np.concatenate([enlarge(h), a], 1))
    return _conv_with_bias(jax, h, p, padding=0)
