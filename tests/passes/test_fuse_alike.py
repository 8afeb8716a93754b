"""Groups that become the same kernel share it."""

import numpy as np
import pytest

from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Node
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.fuse import fuse
from sley.passes.simplify import simplify


def launches(graph: Graph) -> list[Node]:
    return [node for node in graph.walk() if node.op.name == "launch"]


def checked(text: str) -> list[Node]:
    """The launches of the fused program, which gives what the program gives."""
    graph = simplify(parse(text))
    fused = fuse(graph)
    verify(fused)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(p.type.shape).astype(p.type.dtype.numpy) for p in graph.params]
    wanted, found = evaluate(graph, arrays), evaluate(fused, arrays)
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    return launches(fused)


BLOCKS = """
graph @blocks(%x: f32[6, 4], %a: f32[4, 4], %b: f32[4, 4]) -> (f32[6, 4]) {{
  %0 = dot_general(%x, %a) {{lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}}
  %1 = {first}(%0)
  %2 = dot_general(%1, %b) {{lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}}
  %3 = {second}(%2)
  yield %3
}}
"""


def test_equal_blocks_share_a_kernel():
    first, second = checked(BLOCKS.format(first="tanh", second="tanh"))
    assert first.attrs["kernel"] is second.attrs["kernel"]
    assert [v.name for v in first.operands] == ["x", "a"]
    assert second.operands[0] is first.results[0]
    assert second.operands[1].name == "b"


def test_other_ops_make_another_kernel():
    first, second = checked(BLOCKS.format(first="tanh", second="exp"))
    assert first.attrs["kernel"] is not second.attrs["kernel"]


ROWS = """
graph @rows(%x: f32[5, 7], %y: f32[5, 7]) -> (f32[5], f32[5]) {{
  %0 = constant {first} : f32[]
  %1 = broadcast(%0) {{shape=[5, 7], dims=[]}}
  %2 = {left}
  %3 = mul(%2, %1)
  %4 = reduce_sum(%3) {{axes=[1]}}
  %5 = constant {second} : f32[]
  %6 = broadcast(%5) {{shape=[5, 7], dims=[]}}
  %7 = {right}
  %8 = mul(%7, %6)
  %9 = reduce_sum(%8) {{axes=[1]}}
  yield %4, %9
}}
"""


@pytest.mark.parametrize(
    ("first", "second", "left", "right", "shared"),
    [
        ("2.5", "2.5", "exp(%x)", "exp(%y)", True),
        ("2.5", "3.5", "exp(%x)", "exp(%y)", False),
        ("0.0", "-0.0", "exp(%x)", "exp(%y)", False),
        ("2.5", "2.5", "mul(%x, %x)", "mul(%y, %y)", True),
        ("2.5", "2.5", "sub(%x, %y)", "sub(%y, %x)", True),
        ("2.5", "2.5", "mul(%x, %y)", "mul(%y, %y)", False),
    ],
)
def test_what_counts(first: str, second: str, left: str, right: str, shared: bool):
    text = ROWS.format(first=first, second=second, left=left, right=right)
    one, other = (node.attrs["kernel"] for node in checked(text))
    assert (one is other) == shared


SHIFTED = """
graph @shifted(%x: f32[9, 4], %w: f32[4, 3]) -> (f32[8, 3], f32[8, 3]) {
  %0 = slice(%x) {starts=[0, 0], sizes=[8, 4], steps=[1, 1]}
  %1 = dot_general(%0, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
  %2 = slice(%x) {starts=[1, 0], sizes=[8, 4], steps=[1, 1]}
  %3 = dot_general(%2, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
  yield %1, %3
}
"""


def test_views_count():
    first, second = checked(SHIFTED)
    assert first.attrs["kernel"] is not second.attrs["kernel"]
