"""Products of very many terms are cut into parts: the same sums, for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley.ir.evaluate import evaluate
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.split_products import split_products
from sley.runtime.compile import compile_graph


def product(lhs, rhs, contracts, batches=((), ()), dtype="f32"):
    """The text of a product of operands of these shapes."""
    attrs = f"lhs_contract={list(contracts[0])}, rhs_contract={list(contracts[1])}"
    attrs += f", lhs_batch={list(batches[0])}, rhs_batch={list(batches[1])}"
    free = [n for a, n in enumerate(lhs) if a not in (*contracts[0], *batches[0])]
    free += [n for a, n in enumerate(rhs) if a not in (*contracts[1], *batches[1])]
    shape = [*(lhs[a] for a in batches[0]), *free]
    sizes = (", ".join(map(str, found)) for found in (lhs, rhs, shape))
    a, b, c = (f"{dtype}[{found}]" for found in sizes)
    return f"""
graph @f(%a: {a}, %b: {b}) -> ({c}) {{
  yield dot_general(%a, %b) {{{attrs}}}
}}
"""


CUT = [
    ((64, 65536), (65536, 64), ([1], [0]), 8),
    ((65536, 10), (65536, 40), ([0], [0]), 8),
    ((3, 40000), (50, 40000), ([1], [1]), 8),
    ((16, 3 * 16384), (16, 3 * 16384), ([1], [1]), 8),
    ((1, 262144), (262144, 8), ([1], [0]), 8),
    ((7, 7 * 11 * 2048), (7 * 11 * 2048, 5), ([1], [0]), 8),
    ((40, 3, 5003), (40, 3, 5003), ([1, 2], [1, 2]), 3),
    ((40, 5003, 6), (6, 60, 5003), ([1, 2], [2, 0]), 6),
]


@pytest.mark.parametrize(("lhs", "rhs", "contracts", "parts"), CUT)
def test_what_is_cut(lhs, rhs, contracts, parts):
    graph = parse(product(lhs, rhs, contracts))
    cut = split_products(graph)
    verify(cut)
    (node,) = (n for n in cut.nodes if n.op.name == "dot_general")
    assert node.results[0].type.shape[0] == parts
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in (lhs, rhs))
    exact = parse(product(lhs, rhs, contracts, dtype="f64"))
    (expected,) = evaluate(exact, [a.astype(np.float64), b.astype(np.float64)])
    tolerance = 1e-4 * np.sqrt(np.prod([lhs[i] for i in contracts[0]]))
    np.testing.assert_allclose(evaluate(cut, [a, b])[0], expected, atol=tolerance)
    executable = compile_graph(graph)
    threads = sley.get_num_threads()
    try:
        found = []
        for number in (1, 2, 4):
            sley.set_num_threads(number)
            found.append(executable([a, b])[0])
    finally:
        sley.set_num_threads(threads)
    np.testing.assert_allclose(found[0], expected, atol=tolerance)
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize(
    "text",
    [
        product((64, 512), (512, 64), ([1], [0])),  # short
        product((64, 65537), (65537, 64), ([1], [0])),  # a prime
        product((512, 16384), (16384, 512), ([1], [0])),  # tiles enough
        product((4, 16384), (16384, 2000), ([1], [0])),  # columns enough
        product(("N", 65536), (65536, 64), ([1], [0])),
        product((64, "K"), ("K", 64), ([1], [0])),
        product((64, 65536), (65536, 64), ([1], [0]), dtype="bf16"),  # parts would be rounded
        product((64, 0), (0, 64), ([1], [0])),
    ],
)
def test_what_is_not(text):
    graph = parse(text)
    assert split_products(graph) is graph


def test_points_of_a_batch_and_what_follows():
    """A batch of two, with an epilogue, as integers: every bit is the same."""
    text = product((2, 40, 16384), (2, 16384, 40), ([2], [1]), ([0], [0]), dtype="i32")
    text = text.replace("  yield dot_general(%a, %b)", "  %p = dot_general(%a, %b)")
    text = text.replace("}\n}", "}\n  yield neg(%p)\n}")
    graph = parse(text)
    assert split_products(graph) is not graph
    rng = np.random.default_rng(0)
    shapes = ((2, 40, 16384), (2, 16384, 40))
    arrays = [rng.integers(-9, 9, shape).astype(np.int32) for shape in shapes]
    np.testing.assert_array_equal(compile_graph(graph)(arrays)[0], evaluate(graph, arrays)[0])


def test_in_a_loop():
    text = """
graph @f(%x: f32[32, 65536], %h: f32[32, 32]) -> (f32[32, 32]) {
  %y = scan(%x, %h) {length=2, consts=1, carries=1, reverse=false}
      (%v: f32[32, 65536], %c: f32[32, 32]) {
    %p = dot_general(%v, %v) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
    yield add(%p, %c)
  }
  yield %y
}
"""
    graph = parse(text)
    cut = split_products(graph)
    assert "reduce_sum" in [n.op.name for n in cut.walk()]
    x = np.random.default_rng(0).standard_normal((32, 65536)).astype(np.float32)
    h = np.zeros((32, 32), np.float32)
    want = 2 * (x.astype(np.float64) @ x.T)  # about 1e5 on the diagonal
    np.testing.assert_allclose(compile_graph(graph)([x, h])[0], want, rtol=1e-5, atol=0.1)
