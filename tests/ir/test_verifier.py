"""Each rule of the verifier refuses a program that breaks this rule alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sley.ir.dims import Slot, Var, of_atom, symbol
from sley.ir.dtypes import f32
from sley.ir.graph import Graph, Location, Node, Region, Value
from sley.ir.literal import Literal
from sley.ir.ops import OPS, Kind, Op
from sley.ir.ops.kernel import INDEX
from sley.ir.parser import parse
from sley.ir.types import tensor_type
from sley.ir.verifier import VerifyError, verify

N = symbol("N")
VECTOR, SCALAR = tensor_type(f32, (8,)), tensor_type(f32, ())
LINE = Location("model.py", 12, "forward")


def refuse(graph: Graph, message: str) -> str:
    with pytest.raises(VerifyError, match=message) as caught:
        verify(graph)
    return str(caught.value)


def node(name: str, *operands: Value, results: tuple = (VECTOR,), regions: tuple = (), **attrs):
    return Node(OPS[name], operands, attrs, results, regions, LINE)


def simple(*nodes: Node, yields: tuple[Value, ...] = (), params: tuple[Value, ...] = ()) -> Graph:
    return Graph("g", params, nodes, yields)


X = Value(VECTOR, name="x")


def test_a_right_program_passes() -> None:
    exp = node("exp", X)
    verify(simple(exp, params=(X,), yields=exp.results))


def test_the_message_shows_node_types_rule_and_line() -> None:
    message = refuse(simple(node("add", X, X, results=(SCALAR,)), params=(X,)), "type rule")
    assert "the type rule gives f32[8], the node has f32[]" in message
    assert "add(%x, %x)" in message
    assert "add of (f32[8], f32[8])" in message
    assert "model.py:12 in forward" in message


def test_operand_undefined() -> None:
    refuse(simple(node("exp", X)), "operand is not defined before")


def test_operand_defined_later() -> None:
    first = node("exp", X)
    refuse(simple(node("exp", first.results[0]), first, params=(X,)), "not defined before")


def test_operand_of_another_scope() -> None:
    graph = parse(
        "kernel @k(%x: f32[8]) -> (%y: f32[8]) {\n"
        "  parallel %i in 8 { %v = load %x[%i]\n store %y[%i] = %v }\n}"
    )
    inner = graph.nodes[0].regions[0].nodes[0].results[0]
    leak = node("exp", inner, results=(SCALAR,))
    broken = Graph("k", graph.params, (*graph.nodes, leak), level="kernel", outs=1)
    refuse(broken, "not in scope")


def test_region_yields_what_it_does_not_see() -> None:
    stray = Value(SCALAR)
    row = node("row", regions=(Region((Value(INDEX),), (), (stray,)),), extents=(8,))
    refuse(Graph("k", (), (row,), level="kernel"), "yields a value that is not defined")


def test_graph_yields_undefined() -> None:
    refuse(simple(yields=(X,)), "yields a value that is not defined")


def test_value_defined_twice() -> None:
    refuse(simple(params=(X, X)), "defined twice")


def test_node_twice() -> None:
    exp = node("exp", X)
    refuse(simple(exp, exp, params=(X,)), "stands in the program twice")


def test_result_belongs_to_another_node() -> None:
    one, two = node("exp", X), node("exp", X)
    one.results = (Value(VECTOR, two, 0),)
    refuse(simple(one, params=(X,)), "does not name this node")


def test_op_outside_the_table() -> None:
    alien = Op("alien", Kind.ELEMENTWISE, lambda t, a: (t[0],), lambda x, a: x, "none")
    refuse(simple(Node(alien, (X,), {}, (VECTOR,)), params=(X,)), "not in the table")


@pytest.mark.parametrize(
    ("level", "name"), [("tensor", "index"), ("tensor", "splat"), ("loop", "reduce")]
)
def test_op_of_another_level(level: str, name: str) -> None:
    made = Node(OPS[name], (), {}, (SCALAR,))
    refuse(Graph("g", (), (made,), level=level), f"{name} is no op of the {level} level")


def test_no_launch_in_a_kernel() -> None:
    inner = Graph("inner", (), (), level="kernel")
    made = node("launch", kernel=inner, results=())
    refuse(Graph("k", (), (made,), level="kernel"), "launch is no op of the kernel level")


def test_no_loop_op_in_a_kernel() -> None:
    constant = node("constant", value=Literal(np.float32(1)), results=(SCALAR,))
    splat = node("splat", constant.results[0], lanes=8)
    refuse(Graph("k", (), (constant, splat), level="kernel"), "splat is no op of the kernel")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: node("exp"), "exp takes 1 operands, got 0"),
        (lambda: node("exp", X, base=2), "no attribute 'base'"),
        (lambda: node("cumsum", X, axis=0), "needs the attribute 'reverse'"),
        (lambda: node("row", extents=(8,)), "row takes 1 regions, got 0"),
        (lambda: node("div", X, Value(SCALAR)), "equal types"),
        (lambda: node("transpose", X, perm=5), "malformed"),
    ],
)
def test_arity_attributes_regions_and_types(made: Callable[[], Node], message: str) -> None:
    broken = made()
    level = "kernel" if broken.op.kind is Kind.KERNEL else "tensor"
    refuse(Graph("g", tuple(dict.fromkeys(broken.operands)), (broken,), level=level), message)


def test_level_and_signature() -> None:
    refuse(Graph("g", (), (), level="assembly"), "no level 'assembly'")
    refuse(Graph("g", (X,), (), level="kernel", outs=2), "2 of 1 parameters")
    refuse(Graph("g", (X,), (), outs=1), "no output parameters")
    refuse(Graph("g", (X,), (), (X,), level="kernel"), "yields nothing")


def test_slots_in_other_attributes() -> None:
    shape = (of_atom(Slot(0)),)
    made = node("broadcast", X, shape=shape, dims=(0,), results=(tensor_type(f32, shape),))
    with pytest.raises(VerifyError):
        verify(simple(made, params=(X,)))
    body = Region((Value(INDEX),), ())
    parallel = node("parallel", extents=(of_atom(Slot(0)),), regions=(body,), results=())
    refuse(Graph("k", (), (parallel,), level="kernel"), "extents may not depend on operands")


def test_values_in_attributes() -> None:
    made = node("index", expr=of_atom(Var(X)), results=(INDEX,))
    refuse(Graph("k", (X,), (made,), level="kernel"), "holds a value, not an operand slot")


def test_unknown_size() -> None:
    shape = tensor_type(f32, (N,))
    made = node("iota", shape=(N,), axis=0, dtype=f32, results=(shape,))
    refuse(simple(made, yields=made.results), "size N is in no parameter's shape")
    verify(simple(made, yields=made.results), symbols=("N",))
    verify(simple(made, params=(Value(shape),), yields=made.results))


@pytest.mark.parametrize("name", ["f32", "true", "a b", "9"])
def test_names_of_sizes(name: str) -> None:
    refuse(simple(params=(Value(tensor_type(f32, (symbol(name),))),)), "is no name for a size")


def test_unknown_size_in_a_kernel() -> None:
    kernel = parse(
        "kernel @k(%x: f32[8]) -> (%y: f32[8]) {\n"
        "parallel %i in M { store %y[%i] = load %x[%i] }\n}"
    )
    launch = node("launch", X, kernel=kernel)
    refuse(simple(launch, params=(X,)), "size M is in no parameter's shape")


def kernel(body: str) -> Graph:
    return parse(f"kernel @k(%x: f32[8], %s: f32) -> (%y: f32[8]) {{\n{body}\n}}")


STORE = "parallel %i in 8 { store %y[%i] = load %x[%i] }"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (f"%a = exp(%x)\n{STORE}", "exp takes scalars"),
        (f"%a = exp(%s)\n{STORE}", "exp takes scalars"),
        (
            "%r = row %j in 8 { yield load %x[%j] }\n%e = exp(%r)\n" + STORE,
            "exp takes scalars",
        ),
        ("parallel %i in 8 { store %y[%i] = %s }", "store takes scalars"),
        (f"%a = constant 0.0 : f32\n%b = load %a[]\n{STORE}", "load takes a buffer or row"),
        (f"%v = load %s[]\nstore %s[] = %v\n{STORE}", "store writes to what is no output"),
        (
            "%r = row %j in 8 { yield load %x[%j] }\nstore %r[0] = load %s[]\n" + STORE,
            "store writes to what is no output",
        ),
        ("%v = load %x[0]", r"output 0 \(%y\) is never written"),
        (STORE + "\natomic add %y[0] = load %s[]", "is written by"),
        (f"%v = load %x[0] {{lanes=4}}\n{STORE}", "vectors belong to the loop level"),
    ],
)
def test_storage(body: str, message: str) -> None:
    verify(kernel(STORE))
    refuse(kernel(body), message)


MANY = (
    "many({operands}) {{extents=[8]}} (%i, %a: f32[L], %b: f32[L]) {{ store {to}[%i] = {value} }}"
)


def test_many_writes_outputs() -> None:
    verify(kernel(MANY.format(operands="%x, %y", to="%b", value="load %a[%i]")))
    wrong = MANY.format(operands="%y, %x", to="%b", value="load %a[%i]")
    refuse(kernel(wrong), "store writes to what is no output")
    unwritten = "%r = row %j in 8 { yield load %x[%j] }\n"
    unwritten += MANY.format(operands="%r, %y", to="%b", value="load %a[%i]")
    refuse(kernel(unwritten), "many takes buffers of the kernel")


def test_launched_kernels_are_verified() -> None:
    broken = kernel("%v = load %x[0]")
    s = Value(SCALAR)
    launch = node("launch", X, s, kernel=broken)
    refuse(simple(launch, params=(X, s)), "graph @k: output 0")
