"""Kernels that differ in numbers alone become one, which reads them from tables."""

from collections.abc import Sequence

import numpy as np
import pytest

from sley.ir.dtypes import f32, f64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Node
from sley.ir.parser import parse
from sley.ir.verifier import verify
from sley.passes.fuse import fuse
from sley.passes.share_numbers import FEWEST, share_numbers
from sley.passes.simplify import simplify
from sley.runtime.compile import compile_graph

PRODUCT = """
  %a{i} = constant {number} : {type}[]
  %b{i} = broadcast(%a{i}) {{shape=[5, 7], dims=[]}}
  %c{i} = {op}(%x{i}, %b{i})
  %d{i} = tanh(%c{i})
  %x{j} = dot_general(%d{i}, %w) {{lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}}
"""


def chain(numbers: Sequence[float | str], op: str = "mul", type: str = "f32") -> Graph:
    """Products in a row, each with a number of its own."""
    lines = [
        PRODUCT.format(i=i, j=i + 1, number=number, op=op, type=type)
        for i, number in enumerate(numbers)
    ]
    head = f"graph @g(%x0: {type}[5, 7], %w: {type}[7, 7]) -> ({type}[5, 7]) {{"
    return parse(f"{head}{''.join(lines)}  yield %x{len(numbers)}\n}}")


def launches(graph: Graph) -> list[Node]:
    return [node for node in graph.walk() if node.op.name == "launch"]


def kernels(graph: Graph) -> int:
    return len({node.attrs["kernel"] for node in launches(graph)})


def draw(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random(p.type.shape).astype(p.type.dtype.numpy) for p in graph.params]


def shared(graph: Graph) -> tuple[int, int]:
    """(kernels before, kernels after); the programs give the same bits."""
    before = fuse(simplify(graph))
    after = share_numbers(before)
    verify(after)
    arrays = draw(graph)
    for a, b in zip(evaluate(before, arrays), evaluate(after, arrays), strict=True):
        np.testing.assert_array_equal(a, b)
    return kernels(before), kernels(after)


@pytest.mark.parametrize("type", ["f32", "f64", "f16", "bf16"])
def test_kernels_that_differ_in_a_number_are_one(type):
    before, after = shared(chain([0.3, 0.5, 1.5, 3.0, 2.5, 0.7], type=type))
    assert before == 6
    assert after == 3  # the first, the last, and those between


def test_few_kernels_keep_their_numbers():
    graph = fuse(simplify(chain([0.3, 0.5, 0.7][: FEWEST - 1])))
    assert share_numbers(graph) is graph


@pytest.mark.parametrize(
    ("op", "numbers"),
    [
        ("pow", [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]),  # the exponent decides how it is computed
        ("add", [0.5, "0.0", "1.0", "-1.0", "inf", "-inf", 0.7]),  # often more than a number
    ],
)
def test_numbers_that_decide_more_stay(op, numbers):
    before, after = shared(chain(numbers, op=op))
    assert before == after


def test_what_all_have_in_common_stays_in_the_text():
    text = "".join(
        f"""
  %y{i} = mul(%x, %p{i})
  %z{i} = add(%y{i}, %q)
  %r{i} = reduce_max(%z{i}) {{axes=[1], ties="first"}}"""
        for i in range(5)
    )
    numbers = "".join(
        f"""
  %n{i} = constant 0.{i + 2} : f32[]
  %p{i} = broadcast(%n{i}) {{shape=[6, 4], dims=[]}}"""
        for i in range(5)
    )
    head = "graph @g(%x: f32[6, 4]) -> (f32[6], f32[6], f32[6], f32[6], f32[6]) {"
    common = "\n  %m = constant 2.5 : f32[]\n  %q = broadcast(%m) {shape=[6, 4], dims=[]}"
    graph = parse(f"{head}{common}{numbers}{text}\n  yield %r0, %r1, %r2, %r3, %r4\n}}")
    fused = share_numbers(fuse(simplify(graph)))
    assert kernels(fused) == 1
    (kernel,) = {node.attrs["kernel"] for node in launches(fused)}
    constants = [node.attrs["value"].array for node in kernel.nodes if node.op.name == "constant"]
    assert [float(array) for array in constants] == [2.5]
    assert [param.type.shape for param in kernel.inputs] == [(6, 4), (1,)]
    tables = [node.operands[1].node.attrs["value"].array for node in launches(fused)]
    np.testing.assert_array_equal(
        np.sort(np.concatenate(tables)), np.float32([0.2, 0.3, 0.4, 0.5, 0.6])
    )


def test_numbers_of_two_types_lie_in_two_tables():
    one = """
  %a{i} = constant 0.{n} : f32[]
  %b{i} = broadcast(%a{i}) {{shape=[6], dims=[]}}
  %c{i} = mul(%x, %b{i})
  %d{i} = cast(%c{i}) {{dtype=f64}}
  %e{i} = constant 1.{n} : f64[]
  %f{i} = broadcast(%e{i}) {{shape=[6], dims=[]}}
  %g{i} = mul(%d{i}, %f{i})
  %h{i} = reduce_sum(%g{i}) {{axes=[0]}}"""
    text = "".join(one.format(i=i, n=i + 2) for i in range(4))
    graph = parse(
        "graph @g(%x: f32[6]) -> (f64[], f64[], f64[], f64[]) {"
        f"{text}\n  yield %h0, %h1, %h2, %h3\n}}"
    )
    assert shared(graph)[1] == 1
    fused = share_numbers(fuse(simplify(graph)))
    dtypes = [p.type.dtype for p in launches(fused)[0].attrs["kernel"].inputs]
    assert dtypes == [f32, f32, f64]


def test_other_ops_are_other_kinds():
    mixed = chain([0.3, 0.5, 1.5, 3.0]), chain([0.3, 0.5, 1.5, 3.0], op="div")
    forms = [fuse(simplify(graph)) for graph in mixed]
    texts = {str(node.attrs["kernel"]) for g in forms for node in launches(share_numbers(g))}
    assert any("mul(" in text for text in texts)
    assert any("div(" in text for text in texts)


def test_a_compiled_program_gives_the_bits_of_one_with_numbers_in_its_text():
    numbers = [0.3, 0.5, 1.5, 3.0, 2.5, 0.7, 1.9, 0.1]
    graph = chain(numbers)
    given, w = draw(graph)
    whole = compile_graph(graph)
    assert "share numbers" in dict(whole.details.stages)
    assert len(whole.details.kernels) < len(numbers)
    x = given
    for number in numbers:
        (x,) = compile_graph(chain([number]))([x, w])
    (found,) = whole([given, w])
    np.testing.assert_array_equal(found, x)
