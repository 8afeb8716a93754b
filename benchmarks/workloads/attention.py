"""Attention: softmax(q kᵀ / sqrt(d)) v, of (batch, heads, length, head size)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..workload import Arrays, Workload
from .functions import function

_GROUP = "attention"


def _arrays(
    batch: int, heads: int, queries: int, keys: int, size: int, key_heads: int, cotangent: bool
) -> Callable[[bool], Arrays]:
    def make(tiny: bool) -> Arrays:
        b, d = (1, 8) if tiny else (batch, size)
        t, s = (min(n, 13) if tiny else n for n in (queries, keys))
        rng = np.random.default_rng(0)
        shapes = [(b, heads, t, d), (b, key_heads, s, d), (b, key_heads, s, d)]
        shapes += [(b, heads, t, d)] * cotangent
        return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    return make


def jax_attention(jax: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
    """As written by hand: what jax offers for this was not faster on a CPU."""
    np = jax.numpy
    if k.shape[1] != q.shape[1]:
        k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = np.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
    if causal:
        t, s = scores.shape[-2:]
        scores = np.where(np.tril(np.ones((t, s), bool)), scores, -np.inf)
    return np.einsum("bhts,bhsd->bhtd", jax.nn.softmax(scores), v)


def _by_hand(library: Any, q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return library.functional.softmax(scores, -1) @ v


def _attention(
    batch: int,
    heads: int,
    queries: int,
    size: int,
    keys: int | None = None,
    key_heads: int | None = None,
    causal: bool = False,
    backward: bool = False,
    written_out: bool = False,
) -> Workload:
    keys, key_heads = keys or queries, key_heads or heads
    options = {"enable_gqa": True} if key_heads != heads else {}
    words = [f"{batch}x{heads}x{queries}x{size}"]
    words += [f"{keys} keys"] * (keys != queries) + [f"{key_heads} key heads"] * bool(options)
    words += ["causal"] * causal + ["forward and backward"] * backward
    words += ["written out"] * written_out
    flops = 4 * batch * heads * queries * keys * size * (3.5 if backward else 1)
    return function(
        f"attention {', '.join(words)}", _GROUP,
        _arrays(batch, heads, queries, keys, size, key_heads, backward),
        _by_hand if written_out else lambda library, q, k, v: (
            library.functional.scaled_dot_product_attention(
                q, k, v, is_causal=causal, **options
            )
        ),
        lambda jax, q, k, v: jax_attention(jax, q, k, v, causal),
        gradients=3 if backward else 0,
        flops=int(flops / 2 if causal else flops),
        nbytes=8 * batch * size * (heads * queries + key_heads * keys),
        tolerance=1e-4,
        exported=not backward and not options,
    )  # fmt: skip


WORKLOADS = (
    _attention(4, 12, 512, 64),
    _attention(4, 12, 512, 64, causal=True),
    _attention(4, 12, 512, 64, backward=True),
    _attention(4, 12, 512, 64, causal=True, backward=True),
    _attention(1, 8, 2048, 128, causal=True),
    _attention(3, 5, 333, 80, backward=True),
    _attention(2, 8, 512, 64, backward=True, written_out=True),
    _attention(8, 12, 1, 64, keys=1024),
    _attention(2, 16, 256, 64, key_heads=4),
)
