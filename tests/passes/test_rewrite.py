"""`rewrite` carries over what a rule leaves alone, regions included."""

from __future__ import annotations

from programs import record

from sley.ir.builder import Recording
from sley.ir.dims import Slot, of_atom, symbol
from sley.ir.dtypes import f32
from sley.ir.graph import Graph, Location
from sley.ir.ops import elementwise as ew
from sley.ir.ops.kernel import INDEX, LOAD, PARALLEL, STORE
from sley.ir.types import tensor_type
from sley.passes.dead import prune
from sley.passes.rewrite import rewrite

N = symbol("N")
ROW = tensor_type(f32, (N,))


def kernel() -> Graph:
    """out[i] = x[i] + x[i], with the sum computed twice."""
    with Recording() as builder:
        x, out = builder.param(ROW, "x"), builder.param(ROW, "out")
        builder.line = Location("model.py", 5, "forward")
        with builder.region([INDEX], ["i"]) as opened:
            (i,) = opened.params
            at = {"index": (of_atom(Slot(1)),)}
            value = LOAD(x, i, **at)
            total = value + value
            total.name = "total"
            STORE(out, value + value, i, index=(of_atom(Slot(2)),))
        builder.emit(PARALLEL, (), {"extents": (N,)}, (opened.closed,))
    return builder.finish("twice", level="kernel", outs=1)


def test_a_recording_builder_copies_a_kernel() -> None:
    graph = kernel()
    copy = rewrite(graph, builder=Recording())
    assert str(copy) == str(graph) and copy is not graph
    assert not set(copy.walk()) & set(graph.walk())


def test_a_rewriting_builder_merges_inside_a_region() -> None:
    merged = rewrite(kernel())
    assert [n.op.name for n in merged.walk()] == ["parallel", "load", "add", "store"]
    assert merged.outs == 1 and merged.level == "kernel"


def test_stores_are_never_dead() -> None:
    graph = kernel()
    assert str(prune(graph)) == str(graph)


def test_a_rule_replaces_nodes_at_their_line() -> None:
    line = Location("model.py", 7, "forward")
    with Recording(locate=lambda: line) as builder:
        x = builder.param(ROW, "x")
        y = ew.TAN(x)
        y.name = "slope"
        graph = builder.finish("tangent", [y])

    def rule(node, operands):
        return ew.SIN(*operands) / ew.COS(*operands) if node.op is ew.TAN else None

    lowered = rewrite(graph, rule)
    assert [n.op.name for n in lowered.nodes] == ["sin", "cos", "div"]
    assert {n.line for n in lowered.nodes} == {line}
    assert lowered.yields[0].name == "slope" and lowered.name == "tangent"


def test_a_rule_may_drop_a_node() -> None:
    graph = record(lambda v: [-ew.EXP(v[0])], [ROW])
    lowered = rewrite(graph, lambda node, operands: operands[0] if node.op is ew.EXP else None)
    assert [n.op.name for n in lowered.nodes] == ["neg"]
