"""Attention that was written out is found, with its gradient, and computes the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley.ir.parser import parse
from sley.passes.attention import recognise_attention
from sley.passes.triangle import Triangle, triangle

T, E = 21, 8
RNG = np.random.default_rng(7)


def made(*shape: int) -> sley.Tensor:
    return sley.tensor(RNG.standard_normal(shape).astype(np.float32))


CAUSAL = sley.tril(sley.ones(64, 64)).view(1, 1, 64, 64)
PADDING = sley.tensor(RNG.random((2, 1, 1, T)) > 0.3)
BIAS = made(3, T, T)


def plain(q, k, v):
    return F.softmax(q @ k.transpose(-2, -1) / math.sqrt(E), dim=-1) @ v


def buffer_and_dropout(q, k, v):
    scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
    scores = scores.masked_fill(CAUSAL[:, :, :T, :T] == 0, float("-inf"))
    return F.dropout(F.softmax(scores, dim=-1), 0.3) @ v


def large_number(q, k, v):
    scores = sley.matmul(q, k.transpose(-2, -1)) / math.sqrt(E)
    return sley.matmul(scores.masked_fill(PADDING == 0, -1e9).softmax(-1), v)


def upper(q, k, v):
    hide = sley.triu(sley.ones(T, T), diagonal=1).bool()
    return (q @ k.mT * 0.25).masked_fill(hide, float("-inf")).softmax(-1) @ v


def lower(q, k, v):
    seen = sley.ones(T, T, dtype=sley.bool).tril()
    return sley.where(seen, q @ k.mT * 0.25, float("-inf")).softmax(-1) @ v


def added_triangle(q, k, v):
    later = sley.triu(sley.full((T, T), float("-inf")), diagonal=1)
    return F.softmax(q @ k.mT * 0.25 + later, -1) @ v


def bias(q, k, v):
    return F.softmax((q @ k.mT + BIAS) * 0.3, -1) @ v


def bias_and_mask(q, k, v):
    scores = (q @ k.mT / 4 + BIAS).masked_fill(~PADDING, float("-inf"))
    return F.dropout(F.softmax(scores, -1), 0.2) @ v


def einsum(q, k, v):
    weights = F.softmax(sley.einsum("bhqd,bhkd->bhqk", q, k) * 0.25, -1)
    return sley.einsum("bhqk,bhkd->bhqd", weights, v)


def heads_after_length(q, k, v):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    weights = F.softmax(sley.einsum("bqhd,bkhd->bhqk", q, k) * 0.25, -1)
    return sley.einsum("bhqk,bkhd->bqhd", weights, v)


def heads_beside_batch(q, k, v):
    q, k, v = (x.reshape(6, T, E) for x in (q, k, v))
    scores = sley.bmm(q, k.transpose(1, 2)).view(2, 3, T, T) + BIAS
    scores = scores.masked_fill(~PADDING, float("-inf")).view(6, T, T)
    return sley.bmm(F.dropout(F.softmax(scores, dim=-1), 0.2), v)


def two_axes(q, k, v):
    q, k, v = (x[0, 0] for x in (q, k, v))
    return F.softmax(q @ k.T / 4, dim=1) @ v


FOUND = {
    plain: "causal=false, safe=false, masked=false, factored=false",
    buffer_and_dropout: "causal=false, safe=false, masked=true, factored=true",
    large_number: "hidden=literal(-1000000000.0 : f64[]), causal=false, safe=false, masked=true",
    upper: "causal=true, safe=false, masked=false",
    lower: "causal=true, safe=false, masked=false",
    added_triangle: "causal=true, safe=false, masked=false",
    bias: "causal=false, safe=false, masked=true, factored=false",
    bias_and_mask: "causal=false, safe=false, masked=true, factored=true",
    einsum: "causal=false, safe=false, masked=false",
    heads_after_length: "causal=false, safe=false, masked=false",
    heads_beside_batch: "causal=false, safe=false, masked=true, factored=true",
    two_axes: "causal=false, safe=false, masked=false",
}


def step(function: Callable) -> Callable:
    def run(q, k, v, g):
        out = function(q, k, v)
        (out * g).sum().backward()
        return out.detach(), q.grad, k.grad, v.grad

    return run


@pytest.mark.parametrize("function", FOUND, ids=lambda f: f.__name__)
def test_what_users_write_is_found_with_its_gradient(function: Callable) -> None:
    q, k, v = (made(2, 3, T, E).requires_grad_() for _ in range(3))
    sley.manual_seed(1)
    g = made(*function(q, k, v).shape)
    results = []
    compiled = sley.compile(step(function))
    for run in (step(function), compiled):
        q.grad = k.grad = v.grad = None
        sley.manual_seed(5)
        results.append([x.numpy().copy() for x in run(q, k, v, g)])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    q.grad = k.grad = v.grad = None
    lowered = compiled.lower(q, k, v, g)
    text = lowered.text(after="attention")
    (line,) = (line for line in text.splitlines() if " attention(" in line)
    assert FOUND[function] in line
    assert " attention_gradient(" in text and " exp(" not in text


def test_weights_that_are_needed_stay() -> None:
    def with_weights(q, k, v):
        weights = F.softmax(q @ k.mT, -1)
        return weights @ v, weights.mean(1)

    lowered = sley.compile(with_weights).lower(*(made(2, 3, T, E) for _ in range(3)))
    assert "attention" not in lowered.passes


def test_weights_of_a_layer_that_nobody_reads() -> None:
    layer = sley.nn.MultiheadAttention(16, 2, batch_first=True).eval()
    mask = sley.tensor(np.arange(T) > T - 4)
    mask = mask.expand(2, T)
    x = made(2, T, 16)
    compiled = sley.compile(lambda x: layer(x, x, x, key_padding_mask=mask)[0])
    with sley.no_grad():
        expected = layer(x, x, x, key_padding_mask=mask)[0].numpy()
        np.testing.assert_allclose(compiled(x).numpy(), expected, rtol=1e-4, atol=1e-5)
        assert "safe=true" in compiled.lower(x).text(after="attention")


def test_other_softmaxes_are_none() -> None:
    before = parse("""
graph @columns(%q: f32[L, 4], %k: f32[S, 4], %v: f32[S, 3]) -> (f32[L, 3]) {
  %0 = dot_general(%q, %k) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
  %1 = reduce_max(%0) {axes=[0], ties="first"}
  %2 = sub(%0, broadcast(%1) {shape=[L, S], dims=[1]})
  %3 = exp(%2)
  %4 = reduce_sum(%3) {axes=[0]}
  %5 = div(%3, broadcast(%4) {shape=[L, S], dims=[1]})
  %6 = dot_general(%5, %v) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
  yield %6
}
""")
    assert recognise_attention(before) is before


def test_symbolic_sizes() -> None:
    after = recognise_attention(
        parse("""
graph @rows(%q: f32[L, 4], %k: f32[S, 4], %v: f32[S, 3]) -> (f32[3, L]) {
  %0 = dot_general(%q, %k) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
  %i = iota() {shape=[L, S], axis=0, dtype=i64}
  %j = iota() {shape=[L, S], axis=1, dtype=i64}
  %s = where(lt(%i, %j), broadcast(constant -inf : f32) {shape=[L, S], dims=[]}, %0)
  %1 = reduce_max(%s) {axes=[1], ties="first"}
  %2 = sub(%s, broadcast(%1) {shape=[L, S], dims=[0]})
  %3 = exp(%2)
  %4 = reduce_sum(%3) {axes=[1]}
  %5 = div(%3, broadcast(%4) {shape=[L, S], dims=[0]})
  %6 = dot_general(%v, %5) {lhs_contract=[0], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
  yield %6
}
""")
    )
    assert [n.op.name for n in after.nodes] == ["attention", "transpose"]
    assert after.nodes[0].attrs["causal"]


@pytest.mark.parametrize("diagonal", [-2, 0, 3])
@pytest.mark.parametrize("compare", ["ge", "gt", "le", "lt"])
@pytest.mark.parametrize("swap", [False, True])
def test_triangles(diagonal: int, compare: str, swap: bool) -> None:
    sides = ["add(%i, broadcast(constant DIAGONAL : i64) {shape=[5, 7], dims=[]})", "%j"]
    left, right = reversed(sides) if swap else sides
    graph = parse(
        f"""
graph @t(%x: f32[5, 7]) -> (bool[2, 5, 7]) {{
  %i = iota() {{shape=[5, 7], axis=0, dtype=i64}}
  %j = iota() {{shape=[5, 7], axis=1, dtype=i64}}
  %c = {compare}({left}, {right})
  yield broadcast(%c) {{shape=[2, 5, 7], dims=[1, 2]}}
}}
""".replace("DIAGONAL", str(diagonal))
    )
    (value,) = graph.yields
    found = triangle(value, 1, 2)
    assert found is not None
    i, j = np.indices((5, 7))
    a, b = (j, i + diagonal) if swap else (i + diagonal, j)
    truth = {"ge": a >= b, "gt": a > b, "le": a <= b, "lt": a < b}[compare]
    seen = j <= i + found.diagonal
    np.testing.assert_array_equal(seen if found.below else ~seen, truth)
    assert triangle(value, 0, 2) is None
    assert found.negated() == Triangle(found.diagonal, not found.below)
