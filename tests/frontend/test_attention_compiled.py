"""Attention kernels against eager mode, at sizes around their blocks and with more keys than
queries."""

from __future__ import annotations

import numpy as np
import pytest

import sley
import sley.nn.functional as F


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("queries", "keys", "causal"),
    [(17, 130, True), (129, 257, True), (130, 17, True), (64, 65, False), (1, 300, False)],
)
def test_grouped_attention_and_its_gradients(queries, keys, causal, dtype):
    rng = np.random.default_rng(0)
    shapes = [(1, 2, queries, 8), (1, 1, keys, 8), (1, 1, keys, 8), (1, 2, queries, 8)]
    args = [sley.tensor(rng.standard_normal(s)).to(getattr(sley, dtype)) for s in shapes]

    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)

    def step(q, k, v, g):
        result, pull = sley.func.vjp(attend, q, k, v)
        return (result, *pull(g))

    tolerance = 1e-10 if dtype == "float64" else 1e-4
    for expected, found in zip(step(*args), sley.compile(step)(*args), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance)
