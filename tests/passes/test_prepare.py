"""What follows from inputs that stay the same is a program of its own, with the same results."""

from __future__ import annotations

import numpy as np
import pytest

from sley.backends.llvm.target import host_target
from sley.ir.evaluate import evaluate
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.hoist import hoist
from sley.passes.prepare import prepare
from sley.runtime.compile import Options, compile_graph

TARGET = host_target("x86-64-v4")


def parts(text, fixed):
    graph = parse(text)
    found = prepare(hoist(graph, TARGET), fixed, TARGET)
    if found is not None:
        verify(found.graph)
        verify(found.preparation)
        check(graph, found)
    return found


def check(graph, found):
    """Both parts together give what the program gives."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(p.type.shape), np.float32) for p in graph.params]
    made = evaluate(found.preparation, [arrays[slot] for slot in found.slots])
    for a, b in zip(evaluate(graph, arrays), evaluate(found.graph, [*arrays, *made]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def names(graph):
    return [node.op.name for node in graph.nodes]


def kept(found):
    return [str(value.type) for value in found.preparation.yields]


def test_a_masked_weight():
    found = parts("""
graph @f(%x: f32[8, 128], %w: f32[128, 160], %mask: f32[128, 160]) -> (f32[8, 160]) {
  %v = mul(%w, %mask)
  yield dot_general(%x, %v) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
}
""", {1, 2})  # fmt: skip
    assert names(found.preparation) == ["mul"] and names(found.graph) == ["dot_general"]
    assert found.slots == (1, 2)


def test_nothing_is_fixed():
    text = """
graph @f(%x: f32[300], %w: f32[300]) -> (f32[300]) {
  yield mul(%x, exp(%w))
}
"""
    assert parts(text, ()) is None and parts(text, {0}) is None
    assert kept(parts(text, {1})) == ["f32[300]"]


def test_little_is_left_where_it_is():
    assert parts("""
graph @f(%x: f32[300], %w: f32[]) -> (f32[300]) {
  yield mul(%x, broadcast(exp(%w)) {shape=[300], dims=[]})
}
""", {1}) is None  # fmt: skip


def test_numbers_and_views_are_left_where_they_are():
    assert parts("""
graph @f(%x: f32[300, 2], %w: f32[2, 300]) -> (f32[300, 2]) {
  %i = cast(iota() {shape=[300, 2], axis=0, dtype=i64}) {dtype=f32}
  %t = transpose(%w) {perm=[1, 0]}
  yield add(mul(%x, %t), exp(%i))
}
""", {1}) is None  # fmt: skip


def test_what_would_grow_is_not_kept():
    """A table made of two vectors: the vectors' exponentials are, the table is not."""
    found = parts("""
graph @f(%x: f32[256, 256], %a: f32[256], %b: f32[256]) -> (f32[256, 256]) {
  %p = broadcast(exp(%a)) {shape=[256, 256], dims=[0]}
  %q = broadcast(exp(%b)) {shape=[256, 256], dims=[1]}
  yield mul(%x, add(%p, %q))
}
""", {1, 2})  # fmt: skip
    assert kept(found) == ["f32[256]", "f32[256]"]


@pytest.mark.parametrize(
    ("rows", "columns", "form"),
    [
        ("8", 64, ["f32[2, 96, 32]"]),
        ("256", 64, ["f32[2, 96, 32]"]),
        ("N", 64, ["f32[2, 96, 32]"]),
        ("4", 64, None),  # vectors along k, in place
        ("257", 64, None),  # packing is little beside the product
        ("8", 65, ["f32[96, 65]"]),
        ("30", 65, None),
    ],
)
def test_panels(rows, columns, form):
    text = f"""
graph @f(%x: f32[{rows}, 96], %w: f32[{columns}, 96]) -> (f32[{rows}, {columns}]) {{
  yield dot_general(%x, %w) {{lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}}
}}
"""
    found = prepare(parse(text), {1}, TARGET)
    assert (found and kept(found)) == form
    if form and rows != "N":
        parts(text, {1})


def test_one_layout_for_two_products():
    found = parts("""
graph @f(%x: f32[8, 96], %y: f32[16, 96], %w: f32[64, 96]) -> (f32[8, 64], f32[16, 64]) {
  %a = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
  %b = dot_general(%y, %w) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
  yield %a, %b
}
""", {2})  # fmt: skip
    assert kept(found) == ["f32[2, 96, 32]"]


def test_a_product_of_fixed_weights():
    found = parts("""
graph @f(%x: f32[8, 64], %a: f32[64, 4], %b: f32[4, 64]) -> (f32[8, 64]) {
  %w = dot_general(%a, %b) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
  yield dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}
}
""", {1, 2})  # fmt: skip
    assert names(found.preparation) == ["dot_general"] and names(found.graph) == ["dot_general"]


def test_the_weight_of_a_loop():
    """What a loop lays out before its first turn is laid out before the call."""
    found = parts("""
graph @f(%x: f32[16, 64], %w: f32[64, 64]) -> (f32[16, 64]) {
  %y = scan(%w, %x) {length=3, consts=1, carries=1, reverse=false}
      (%v: f32[64, 64], %h: f32[16, 64]) {
    %p = dot_general(%h, %v) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
    yield tanh(%p)
  }
  yield %y
}
""", {1})  # fmt: skip
    assert kept(found) == ["f32[2, 64, 32]"]
    assert names(found.graph) == ["scan"]


def test_an_executable_prepares_by_itself():
    text = """
graph @f(%x: f32[N, 96], %w: f32[64, 96], %b: f32[64]) -> (f32[N, 64]) {
  %p = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
  yield add(%p, broadcast(exp(%b)) {shape=[N, 64], dims=[1]})
}
"""
    graph = parse(text)
    executable = compile_graph(graph, Options(fixed=frozenset({1, 2})))
    assert executable.preparation.slots == (1, 2)
    rng = np.random.default_rng(0)
    for rows in (1, 7, 40):
        shapes = ((rows, 96), (64, 96), (64,))
        x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        (found,) = executable([x, w, b])
        np.testing.assert_allclose(found, x @ w.T + np.exp(b), rtol=1e-4, atol=1e-4)
        made = executable.preparation.run([a.ctypes.data for a in (x, w, b)])
        w[:], b[:] = 0, 0  # not read again
        pointers = [a.ctypes.data for a in (x, w, b)]
        again, _ = executable.run_placed(pointers, (rows,), made[1])
        np.testing.assert_array_equal(again[0], found)
