"""Gradients of few heads are cut into parts of the keys: the same ones, for any number of
threads."""

from __future__ import annotations

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley.ir.evaluate import evaluate
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.split_attention import split_attention
from sley.runtime.compile import compile_graph


def gradient(batch, heads, groups, queries, keys, size, causal=False, dtype="f32"):
    """The text of a gradient of so many heads of keys, each for so many of queries."""
    rows = f"{batch}, {heads}, {groups}, {queries}"
    q, k = f"{dtype}[{rows}, {size}]", f"{dtype}[{batch}, {heads}, {keys}, {size}]"
    wide = f"{'f32' if dtype == 'bf16' else dtype}[{rows}]"
    attrs = "scale=literal(0.25 : f64[]), hidden=literal(-inf : f64[]), masked=false, "
    attrs += f"causal={str(causal).lower()}, safe=true, factored=false"
    operands = f"%q: {q}, %k: {k}, %v: {k}, %s: {wide}, %m: {wide}, %g: {q}"
    return f"""
graph @f({operands}) -> ({q}, {k}, {k}) {{
  %0, %1, %2 = attention_gradient(%q, %k, %v, %s, %m, %g) {{{attrs}}}
  yield %0, %1, %2
}}
"""


def arrays_of(graph, given, causal):
    """Operands, with sums and means that belong to them."""
    rng = np.random.default_rng(0)
    q, k, v, _, _, g = (rng.standard_normal(p.type.shape) for p in graph.params)
    scores = np.einsum("bhgld,bhsd->bhgls", q, k) * 0.25
    if causal:
        seen = np.arange(scores.shape[-2])[:, None] >= np.arange(scores.shape[-1])
        scores = np.where(seen, scores, -np.inf)
    sums = np.log(np.exp(scores).sum(-1))
    out = np.einsum("bhgls,bhsd->bhgld", np.exp(scores - sums[..., None]), v)
    return [a.astype(given) for a in (q, k, v, sums, (out * g).sum(-1), g)]


CUT = [
    ((1, 1, 1, 600, 1024, 16), 4),
    ((1, 2, 2, 100, 513, 40), 2),
    ((2, 4, 1, 300, 1030, 8), 2),
    ((1, 1, 3, 70, 5000, 33), 16),
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("sizes", "parts"), CUT)
def test_what_is_cut(sizes, parts, causal):
    graph = parse(gradient(*sizes, causal))
    cut = split_attention(graph)
    verify(cut)
    (node,) = (n for n in cut.nodes if n.op.name == "attention_gradient")
    assert node.attrs["parts"] == node.results[0].type.shape[0] == parts
    exact = parse(gradient(*sizes, causal, dtype="f64"))
    arrays = arrays_of(graph, np.float64, causal)
    expected = evaluate(exact, arrays)
    narrow = [a.astype(np.float32) for a in arrays]
    for found, wanted in zip(evaluate(cut, narrow), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    executable = compile_graph(graph)
    threads, results = sley.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            sley.set_num_threads(count)
            results.append([np.copy(a) for a in executable(narrow)])
    finally:
        sley.set_num_threads(threads)
    for found, *others, wanted in zip(*results, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
        for other in others:
            np.testing.assert_array_equal(found, other)


WHOLE = [(4, 4, 1, 512, 512, 8), (1, 1, 8, 512, 511, 8), (1, 1, 1, 8, 512, 8), (0, 1, 1, 9, 512, 8)]


@pytest.mark.parametrize("sizes", [*WHOLE, ("N", 1, 1, 512, 512, 64), (1, 1, 1, 512, "N", 64)])
def test_what_stays_whole(sizes):
    graph = parse(gradient(*sizes))
    assert split_attention(graph) is graph


def test_halves_are_added_up_in_float32():
    cut = split_attention(parse(gradient(1, 1, 1, 512, 512, 64, dtype="bf16")))
    verify(cut)
    (node,) = (n for n in cut.nodes if n.op.name == "reduce_sum")
    assert node.results[0].type.dtype.name == "f32"
    assert cut.yields[0].type.dtype.name == "bf16"


def test_a_whole_step_of_one_head():
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((1, 1, 512, 16)).astype(np.float32) for _ in range(4)]

    def step(q, k, v, g):
        attend = lambda *args: F.scaled_dot_product_attention(*args, is_causal=True)
        result, pull = sley.func.vjp(attend, q, k, v)
        return (result, *pull(g))

    compiled = sley.compile(step)
    wanted = step(*(sley.tensor(a.astype(np.float64)) for a in arrays))
    tensors = [sley.tensor(a) for a in arrays]
    for found, expected in zip(compiled(*tensors), wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)
    assert "parts=2" in compiled.lower(*tensors).text(after="split attention")
