"""Ops with closed regions: type rules, numpy evaluation, text, verifier, rewriting."""

from __future__ import annotations

import numpy as np
import pytest

from sley.ir.builder import Evaluating, Recording
from sley.ir.dtypes import bool_, f32, i64
from sley.ir.evaluate import EvaluationError, evaluate
from sley.ir.graph import Graph, Node, Region, Value, uses
from sley.ir.isomorphic import difference, graph_hash
from sley.ir.literal import Literal
from sley.ir.ops import OPS, TypeRuleError
from sley.ir.ops.control_flow import BARRIER, CALL, COND, SCAN, WHILE
from sley.ir.parser import parse
from sley.ir.printer import print_graph
from sley.ir.types import tensor_type
from sley.ir.verifier import VerifyError, verify
from sley.passes.rewrite import rewrite
from sley.passes.simplify import simplify

S, V = tensor_type(f32), tensor_type(f32, (2,))
TEXT = """graph @f(%w: f32[D], %h: f32[D], %xs: f32[T, D], %n, %p: bool) -> (
    f32[D], f32[T, D], i64, f32[D], f32[D]) {
  %a, %ys = scan(%w, %h, %xs) {length=T, consts=1, carries=1, reverse=REVERSE}
    (%u: f32[D], %c: f32[D], %x: f32[D]) {  // m.py:3 in f
    %t = add(mul(%c, %u), %x)  // m.py:4 in f
    yield %t, %t
  }
  %k = while(%n, %n) {consts=1} condition (%m, %i) {
    yield lt(%i, constant 100 : i64)
  } (%m, %i) {
    yield add(%i, %m)
  }
  %b = cond(%p, %a) then (%q: f32[D]) { yield exp(%q) } otherwise (%q: f32[D]) { yield neg(%q) }
  %d = call(%b) {recompute=true} (%q: f32[D]) { yield neg(%q) }
  %e = barrier(%d)
  yield %a, %ys, %k, %b, %e
}"""


def program(reverse: bool = False) -> Graph:
    return parse(TEXT.replace("REVERSE", str(reverse).lower()))


def arrays(length: int, flag: bool) -> list[np.ndarray]:
    w, h = np.array([1, 0.5], np.float32), np.array([1, 2], np.float32)
    xs = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
    return [w, h, xs, np.array(7), np.array(flag)]


def expected(length: int, flag: bool, reverse: bool) -> list[np.ndarray]:
    w, h, xs, n, _ = arrays(length, flag)
    ys = np.zeros((length, 2), np.float32)
    for t in reversed(range(length)) if reverse else range(length):
        ys[t] = h = h * w + xs[t]
    k = n
    while k < 100:
        k = k + n
    b = np.exp(h) if flag else -h
    return [h, ys, k, b, -b]


@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize(("flag", "reverse"), [(True, False), (False, True)])
def test_evaluation(length: int, flag: bool, reverse: bool) -> None:
    graph = program(reverse)
    for version in (graph, rewrite(graph), simplify(graph)):
        verify(version)
        found = evaluate(version, arrays(length, flag))
        for a, b in zip(found, expected(length, flag, reverse), strict=True):
            np.testing.assert_array_equal(a, b)


def test_text_reads_back() -> None:
    graph = program()
    again = parse(print_graph(graph))
    assert difference(graph, again) is None
    assert graph_hash(graph) == graph_hash(again) != graph_hash(program(reverse=True))
    assert difference(graph, program(reverse=True)) is not None


def test_a_node_with_regions_keeps_its_line() -> None:
    scan = rewrite(program()).nodes[0]
    assert (scan.line.line, scan.regions[0].nodes[0].line.line) == (3, 4)


def test_uses_see_regions() -> None:
    graph = program()
    body = graph.nodes[0].regions[0]
    assert [n.op.name for n in uses(graph)[body.params[1]]] == ["mul"]
    assert graph.nodes[0] in uses(graph)[body.yields[0]]


def test_closed_regions_share_nothing_with_what_is_outside() -> None:
    graph = parse("""graph @g(%x: f32[2], %p: bool) -> (f32[2]) {
      %a = exp(%x)
      %one = broadcast(constant 1.0 : f32) {shape=[2], dims=[]}
      %b = cond(%p, %x) then (%y: f32[2]) {
        yield add(exp(%y), broadcast(constant 1.0 : f32) {shape=[2], dims=[]})
      } otherwise (%y: f32[2]) { yield exp(exp(%y)) }
      yield add(add(%a, %b), %one)
    }""")
    for version in (rewrite(graph), simplify(graph)):
        verify(version)  # a constant merged with the outer one would not be in scope


def test_barriers_are_not_merged_or_folded() -> None:
    graph = parse("""graph @g(%x: f32[2]) -> (f32[2], f32[2], f32) {
      %a = exp(barrier(%x))
      %b = exp(barrier(%x))
      %c = neg(barrier(constant 1.0 : f32))
      yield %a, %b, %c
    }""")
    names = [node.op.name for node in simplify(graph).nodes]
    assert names.count("barrier") == 3
    assert names.count("exp") == 2


def region(params: list[Value], *yields: Value, nodes: tuple[Node, ...] = ()) -> Region:
    return Region(tuple(params), nodes, yields)


def value(type: object) -> Value:
    return Value(type)  # type: ignore[arg-type]


def identity(*types: object) -> Region:
    params = [value(t) for t in types]
    return region(params, *params)


FLAG, INDEX = tensor_type(bool_), tensor_type(i64)
X, W, P = value(V), value(tensor_type(f32, (3, 2))), value(FLAG)
SCAN_ATTRS = {"length": 3, "consts": 0, "carries": 1, "reverse": False}
WRONG = [
    (SCAN, (X, W), {**SCAN_ATTRS, "length": 4}, (identity(V, V),), "the length is 4"),
    (SCAN, (X, W), SCAN_ATTRS, (identity(V, S),), "the body of scan takes"),
    (SCAN, (X, W), SCAN_ATTRS, (region(list(identity(V, V).params), value(S)),), "carries"),
    (SCAN, (X, W), {**SCAN_ATTRS, "carries": 3}, (identity(V, V),), "consts and carries"),
    (SCAN, (X, value(S)), SCAN_ATTRS, (identity(V, V),), "scan over"),
    (SCAN, (X, W), {**SCAN_ATTRS, "reverse": 1}, (identity(V, V),), "reverse is 1"),
    (SCAN, (X,), {**SCAN_ATTRS, "length": -1}, (identity(V),), "-1 turns"),
    (WHILE, (X,), {"consts": 0}, (identity(V), identity(V)), "condition of while yields"),
    (WHILE, (X,), {"consts": 2}, (identity(V), identity(V)), "consts and carries"),
    (COND, (X,), {}, (identity(), identity()), "decides by a bool"),
    (COND, (P, X), {}, (identity(V), identity(S)), "`otherwise` of cond takes"),
    (COND, (P, X), {}, (identity(V), region([value(V)])), "`otherwise` of cond yields"),
    (CALL, (X,), {"recompute": False}, (identity(S),), "the body of call takes"),
    (CALL, (X,), {"recompute": 0}, (identity(V),), "recompute is 0"),
    (CALL, (X,), {"recompute": False}, (), "takes 1 regions"),
]


@pytest.mark.parametrize(("op", "operands", "attrs", "regions", "message"), WRONG)
def test_type_rules(op, operands, attrs, regions, message: str) -> None:
    with Recording() as builder, pytest.raises(TypeRuleError, match=message):
        builder.emit(op, operands, attrs, regions)


def test_a_condition_of_another_type_is_refused() -> None:
    params = [value(V)]
    condition = region(params, value(INDEX))
    with Recording() as builder, pytest.raises(TypeRuleError, match="expected"):
        builder.emit(WHILE, (X,), {"consts": 0}, (condition, identity(V)))


def test_the_verifier_wants_closed_regions() -> None:
    outer = value(V)
    param = value(V)
    node = Node(OPS["add"], (param, outer), {}, (V,))
    call = Node(CALL, (outer,), {"recompute": False}, (V,),
                (region([param], node.results[0], nodes=(node,)),))  # fmt: skip
    with pytest.raises(VerifyError, match="not in scope"):
        verify(Graph("g", (outer,), (call,), call.results))


def test_the_verifier_wants_closed_yields() -> None:
    outer = value(V)
    call = Node(CALL, (outer,), {"recompute": False}, (V,), (region([value(V)], outer),))
    with pytest.raises(VerifyError, match="a region yields"):
        verify(Graph("g", (outer,), (call,), call.results))


def test_errors_inside_name_the_inner_line() -> None:
    graph = parse("""graph @g(%x: f32[2], %n: i64) -> (f32) {
      %a = call(%x, %n) {recompute=false} (%y: f32[2], %i) {
        %b = gather(%y, %i) {axis=0}  // m.py:9 in f
        yield %b
      }
      yield %a
    }""")
    with pytest.raises(EvaluationError, match=r"gather.*m.py:9"):
        evaluate(graph, [np.zeros(2, np.float32), np.array(5)])


def test_the_evaluating_builder_runs_regions() -> None:
    with Evaluating() as builder:
        one = OPS["constant"](value=Literal(np.ones((3, 2), np.float32)))
        start = OPS["constant"](value=Literal(np.zeros(2, np.float32)))
        h, x = value(V), value(V)
        node = Node(OPS["add"], (h, x), {}, (V,))
        body = region([h, x], *node.results, *node.results, nodes=(node,))
        last, all_ = builder.emit(SCAN, (start, one), SCAN_ATTRS, (body,))
        (same,) = (BARRIER(last),)
    np.testing.assert_array_equal(last.array, [3, 3])
    np.testing.assert_array_equal(all_.array[:, 0], [1, 2, 3])
    assert same.array is last.array
