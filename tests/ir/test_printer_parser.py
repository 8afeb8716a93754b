"""Programs as text: what is printed reads back as the same program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_samples import ALL_SAMPLES, Sample
from program_drawing import NESTED, SIMPLE, KernelDrawer, draw_name, locations
from random_graphs import random_graph

from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.graph import Graph, Location
from sley.ir.isomorphic import difference, graph_hash, isomorphic
from sley.ir.literal import Literal, array_type
from sley.ir.ops import OPS, Kind
from sley.ir.parser import ParseError, load, parse, parse_program
from sley.ir.printer import print_graph, print_program, save
from sley.ir.types import tensor_type
from sley.ir.verifier import verify


def round_trip(graph: Graph) -> Graph:
    text, constants = print_program(graph)
    again = parse(text, constants)
    assert difference(graph, again) is None
    assert print_graph(again) == text, "printing is a fixpoint"
    assert graph_hash(graph) == graph_hash(again)
    return again


# Tensor programs.


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=str)
def test_every_tensor_op(sample: Sample) -> None:
    builder = Recording(lambda: Location("a model.py", 3, "<lambda>"))
    dtype = sample.dtypes[0]
    params = [builder.param(array_type(a), "x") for a in sample.arrays(dtype)]
    with builder:
        results = sample.emit(params)
    round_trip(builder.finish("f", results))


@given(st.data())
@settings(max_examples=60)
def test_programs_of_many_ops(data: st.DataObject) -> None:
    where = data.draw(st.lists(locations(), min_size=1, max_size=3))
    turn = iter(range(10**6))
    builder = Recording(lambda: where[next(turn) % len(where)])
    results = []
    for sample in data.draw(st.lists(st.sampled_from(ALL_SAMPLES), max_size=8)):
        dtype = data.draw(st.sampled_from(sample.dtypes))
        params = [builder.param(array_type(a), draw_name(data.draw)) for a in sample.arrays(dtype)]
        with builder:
            found = sample.emit(params)
        found[0].name = draw_name(data.draw)
        results.extend(found)
    graph = builder.finish(data.draw(st.sampled_from(["f", "a.b", "0 odd"])), results)
    verify(graph)
    round_trip(graph)


@pytest.mark.parametrize("seed", range(12))
def test_symbolic_programs(seed: int) -> None:
    round_trip(random_graph(seed))


# Kernels and loops.


@given(st.data())
@settings(max_examples=120)
def test_kernels(data: st.DataObject) -> None:
    graph = KernelDrawer(data.draw).kernel()
    verify(graph)
    round_trip(graph)


@given(st.data())
@settings(max_examples=25)
def test_programs_that_launch(data: st.DataObject) -> None:
    kernels = [KernelDrawer(data.draw).kernel() for _ in range(2)]
    kernels.append(kernels[0])
    builder = Recording()
    yields = []
    for kernel in kernels:
        params = [builder.param(v.type) for v in kernel.inputs]
        with builder:
            results = OPS["launch"](*params, kernel=kernel)
        yields += results if isinstance(results, tuple) else [results]
    graph = builder.finish("main", yields)
    again = round_trip(graph)
    launched = [node.attrs["kernel"] for node in again.nodes]
    assert launched[0] is launched[2], "equal kernels of one name are printed once"


LOOPS = """
loops @all(%x: f32[N, 32]) -> (%y: f32[N, 32]) {
  %s = alloc() {shape=[N, 64], dtype=f32} : f32[N, 64]
  %w = alloc() {shape=[512], dtype=bf16} : bf16[512]
  %u = alloc() {shape=[256], dtype=f32} : f32[256]
  %zero = constant 0.0 : f32[]
  %c = constant true : bool[]
  for %i = 0 to N step 4 {parallel=true, unroll=2} {        // file.py:3 in f
    %v = load %x[%i, 0] {lanes=16} : f32[16]
    %k = lanes(%i) {lanes=16} : i64[16]
    %m = mask(%i, %i) {lanes=16} : bool[16]
    %g = load %x[%k, 3] if %m : f32[16]
    %h = fma(%v, %g, splat(%zero) {lanes=16}) : f32[16]
    %j = join(low(%h), high(%h)) : f32[16]
    %t = shuffle(%j, %h) {lanes=[0, 16, 1, 17]} : f32[4]
    %e = extract(%t) {lane=3} : f32[]
    prefetch %x[%i, 16]
    prefetch %y[%i, 16] {writes=true}
    %f = pick(%i, %x, %x) : f32[1]
    tile_product(%w, %w, %u, %i, %i, %i, %i) {tiles=[1, 1], row=32, next=512, width=16, fresh=true}
    %a, %b = for %n = %i to min(%i + 4, N) step 2 carry (%p = %e, %q = %e) {
      yield %q, %p
    } : f32[], f32[]
    if(%c) {
      store %s[%i, 0] = %a
    }
    %r = random_bits(%i, %i, %i) {bits=32} : u32[]
    store %y[%i, 0] = %v if %m {lanes=16}
    atomic maximum %y[%i, 3] = %b
  }
}
"""


def test_loops() -> None:
    graph = parse(LOOPS)
    round_trip(graph)
    used = {node.op.name for node in graph.walk()}
    assert {op.name for op in OPS.values() if op.kind is Kind.LOOP} <= used


def test_all_kernel_ops_are_drawn() -> None:
    seen: set[str] = set()

    @given(st.data())
    @settings(max_examples=2)
    def collect(data: st.DataObject) -> None:
        for verb in (*SIMPLE, *NESTED):
            graph = KernelDrawer(data.draw).kernel(verb)
            seen.update(node.op.name for node in graph.walk())
            round_trip(graph)

    collect()
    assert {op.name for op in OPS.values() if op.kind is Kind.KERNEL} <= seen


# Constants.


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
@given(data=st.data())
@settings(max_examples=30)
def test_constants_keep_every_bit(dtype: dtypes.DType, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(), (0,), (3,), (2, 2), (65,), (13, 5)]))
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.frombuffer(data.draw(st.binary(min_size=count, max_size=count)), np.uint8)
    if dtype is dtypes.bool_:
        raw = raw & 1
    value = Literal(raw.copy().view(dtype.numpy).reshape(shape))
    builder = Recording()
    with builder:
        result = OPS["constant"](value=value)
    again = round_trip(builder.finish("f", [result]))
    assert again.nodes[0].attrs["value"] == value


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("nan(0x7fc00001)", 0x7FC00001),
        ("nan(0xff800001)", 0xFF800001),
        ("-0.0", 0x80000000),
        ("inf", 0x7F800000),
        ("-inf", 0xFF800000),
        ("0x1.8p+0", 0x3FC00000),
        ("0.1", 0x3DCCCCCD),
        ("1e-45", 1),
        ("-3", 0xC0400000),
    ],
)
def test_numbers(text: str, bits: int) -> None:
    graph = parse(f"graph @f() -> (f32) {{ yield constant {text} : f32 }}")
    assert graph.nodes[0].attrs["value"].array.view(np.uint32) == bits
    round_trip(graph)


def large() -> Graph:
    builder = Recording()
    x = np.arange(70, dtype=np.float32)
    with builder:
        results = [
            OPS["constant"](value=Literal(a))
            for a in (x, x.astype(dtypes.bf16.numpy).reshape(7, 10), x[:64])
        ]
    return builder.finish("f", results)


def test_large_constants_stand_beside(tmp_path: Path) -> None:
    text, constants = print_program(large())
    assert len(constants) == 2
    assert text.count("sha256:") == 2
    save(large(), tmp_path / "f.ir")
    assert isomorphic(load(tmp_path / "f.ir"), large())
    with pytest.raises(ParseError, match="no array of this sha256"):
        parse(text)
    wrong = {k: np.zeros_like(a) for k, a in constants.items()}
    with pytest.raises(ParseError, match="another sha256"):
        parse(text, wrong)


def test_a_program_without_large_constants_has_no_side_file(tmp_path: Path) -> None:
    save(random_graph(0), tmp_path / "f.ir")
    assert [p.name for p in tmp_path.iterdir()] == ["f.ir"]
    assert isomorphic(load(tmp_path / "f.ir"), random_graph(0))


# Names, schedules, hashes.


def test_names_are_deterministic() -> None:
    builder = Recording()
    x = builder.param(tensor_type(f32, (symbol("N"),)), "x")
    with builder:
        y = OPS["exp"](x)
        y.name = "x"
        z = OPS["neg"](y)
        z.name = "not a name"
        w = OPS["neg"](z)
        w.name = "w"
    assert print_graph(builder.finish("f", [w])) == (
        "graph @f(%x: f32[N]) -> (f32[N]) {\n"
        "  %0 = exp(%x) : f32[N]\n"
        "  %1 = neg(%0) : f32[N]\n"
        "  %w = neg(%1) : f32[N]\n"
        "  yield %w\n"
        "}\n"
    )


SCALED = """
kernel @scale(%a: f32[4]) -> (%b: f32[4]) {
  parallel %i in 4 { store %b[%i] = mul(load %a[%i], SCALE) }
}
"""


def test_kernels_of_one_name_are_told_apart() -> None:
    kernels = [parse(SCALED.replace("SCALE", n)) for n in ("2.0", "3.0", "2.0")]
    builder = Recording()
    x = builder.param(tensor_type(f32, (4,)), "x")
    with builder:
        for kernel in kernels:
            x = OPS["launch"](x, kernel=kernel)
    graph = builder.finish("f", [x])
    text = print_graph(graph)
    assert text.count("kernel @") == 2
    assert "launch @scale.1(" in text
    round_trip(graph)


def test_schedules_stand_beside_kernels() -> None:
    from sley.ir.schedule import Nest, Schedule

    schedule = Schedule((Nest(((0,),), vector=0, lanes=16),))
    builder = Recording()
    x = builder.param(tensor_type(f32, (4,)), "x")
    with builder:
        y = OPS["launch"](x, kernel=parse(SCALED.replace("SCALE", "2.0")), schedule=schedule)
    graph = builder.finish("f", [y])
    assert f"schedule @scale: {schedule}\n" in print_graph(graph)
    again = round_trip(graph)
    assert again.nodes[0].attrs["schedule"] == schedule


def test_hash_without_names_and_lines() -> None:
    a = parse(SCALED.replace("SCALE", "2.0"))
    b = parse(SCALED.replace("SCALE", "2.0").replace("%i", "%k").replace("@scale", "@other"))
    c = parse(SCALED.replace("SCALE", "2.5"))
    assert graph_hash(a) == graph_hash(b)
    assert graph_hash(a) != graph_hash(c)
    assert graph_hash(a, names=True) != graph_hash(b, names=True)
    lined = parse(SCALED.replace("SCALE", "2.0").replace(" }\n", " } // f.py:1 in g\n"))
    assert graph_hash(a) == graph_hash(lined)
    assert graph_hash(a, lines=True) != graph_hash(lined, lines=True)


def test_a_short_reduction_has_no_lines_to_hide() -> None:
    """Where a reduction's parts are of other lines, the short form would lose these; a text
    without lines, and so a hash, has nothing to lose."""
    node = next(n for n in _sums(None).walk() if n.op.name == "reduce")
    assert node.regions[1].nodes[0].line is None
    plain, apart = _sums(None), _sums(Location("f.py", 3, "g"))
    assert graph_hash(plain) == graph_hash(apart)
    assert graph_hash(plain, lines=True) != graph_hash(apart, lines=True)
    assert "combine" not in print_program(apart, lines=False)[0]
    assert difference(apart, round_trip(apart)) is None


def _sums(line: Location | None) -> Graph:
    """A kernel of row sums, whose neutral element and joining are of `line`."""
    graph = parse(
        "kernel @sums(%x: f32[N, 8]) -> (%out: f32[N]) {\n"
        "  parallel %i in N {\n"
        "    %s = reduce add %j in 8 {\n"
        "      %v = load %x[%i, %j] : f32[]\n"
        "      yield %v\n"
        "    } : f32[]\n"
        "    store %out[%i] = %s\n"
        "  }\n"
        "}\n"
    )
    for node in graph.walk():
        if node.op.name in ("constant", "add"):
            node.line = line
    return graph


BASE = """graph @f(%x: f32[N], %y: f32[N]) -> (f32[N]) {
  %s = add(%x, %y)
  %r = cumsum(%s) {axis=0, reverse=false}
  yield %r
}"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("add", "sub", "add"),
        ("add(%x, %y)", "add(%y, %x)", "operands of"),
        ("reverse=false", "reverse=true", "attribute reverse"),
        ("reverse=false", "reverse=0", "attribute reverse"),
        ("[N]", "[M]", "parameters"),
        ("false}", "false} // a.py:1 in f", "the line of"),
        ("add(%x, %y)", "add(neg(%x), %y)", "nodes"),
        ("yield %r", "yield %s", "yields"),
        ("@f(%x: f32[N], %y: f32[N])", "@f(%x: f32[N], %y: f32[N], %z: f32)", "parameters"),
    ],
)
def test_differences_are_found(old: str, new: str, message: str) -> None:
    assert difference(parse(BASE), parse(BASE)) is None
    assert message in str(difference(parse(BASE), parse(BASE.replace(old, new))))


def test_levels_and_regions_differ() -> None:
    a, b = (parse(SCALED.replace("SCALE", n)) for n in ("2.0", "3.0"))
    assert "in parallel: attribute value" in str(difference(a, b))
    other = Graph(a.name, a.params, a.nodes, level="loop", outs=1)
    assert "level" in str(difference(a, other))


# Errors.


def body(text: str) -> str:
    return f"graph @f(%x: f32[N]) -> (f32[N]) {{\n{text}\n}}"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "no definition"),
        ("graf @f", 1, 1, "expected `graph`, `kernel` or `loops`"),
        ("graph @f(", 1, 10, "expected value, found the end"),
        ("graph @f(%x: q8) -> () {}", 1, 14, "'q8' is no element type"),
        (body("yield %y"), 2, 7, "%y is not defined here"),
        (body("%y = foo(%x)"), 2, 6, "no op is named 'foo'"),
        (body("%y = add(%x)"), 2, 6, "add takes 2 operands, got 1"),
        (body("%y = exp(%x) : f32[M]"), 2, 16, "the type is f32[N], not f32[M]"),
        (body("%y = exp(%x)\n%y = exp(%x)"), 3, 1, "%y is defined twice"),
        (body("%y, %z = exp(%x)"), 2, 1, "exp has 1 results, 2 are named"),
        (body("%y = cumsum(%x) {axis=}"), 2, 23, "expected an integer expression"),
        (body("%y = cumsum(%x) {axis=1 // 0}"), 2, 25, "division by zero"),
        (body("%y = reshape(%x) {shape=[N // 0]}"), 2, 28, "division by zero"),
        (body("%y = transpose(%x) {perm=3}"), 2, 6, "not iterable"),
        (body("%c = constant 300 : u8"), 2, 15, "300 does not fit u8"),
        (body("%c = constant [1, 2] : i64[3]"), 2, 15, "2 elements for the shape [3]"),
        (body("%c = constant nan(0x1ffff) : f16"), 2, 15, "does not fit f16"),
        (body("%c = constant true : f32"), 2, 15, "True is no number"),
        (body("%c = constant 1 : f32[N]"), 2, 15, "cannot have the type"),
        (body("%y = launch @k(%x)"), 2, 13, "@k is not defined above"),
        (body("%y = add(%x, 1.0)"), 2, 6, "only beside a scalar"),
        (body("yield %x, %x"), 1, 34, "the type is f32[N], f32[N], not f32[N]"),
        (body("yield %x") * 2, 3, 2, "@f is defined twice"),
        ("schedule @f: Schedule()", 1, 1, "@f, which is not defined"),
        (body("yield %x") + "\nschedule @f: nonsense", 4, 1, "no schedule"),
        (body("yield %x\n;"), 3, 1, "unexpected ';'"),
    ],
)
def test_errors_point_at_the_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    shown = str(caught.value).splitlines()
    assert message in shown[0]
    assert shown[0].startswith(f"{line}:{column}: ")
    assert shown[2] == "  " + " " * (column - 1) + "^"


def kernel_body(text: str) -> str:
    return f"kernel @k(%x: f32[8]) -> (%y: f32[8]) {{\n{text}\n}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parallel %i in 8 { }\n%v = load %x[%i]", "%i is not defined here"),
        ("%v = load %x[$1]", "name the operand"),
        ("%v = load %x[0] of (%x)", "not an i64"),
        ("parallel %i in 8 { %v = load %x[%i] of () }", "`of` lacks a value"),
        ("%m = reduce add, add %i in 8 { yield load %x[%i] }", "2 ops join 1 values"),
        ("parallel %i in 8 { yield load %x[%i] }", "region yields"),
        ("for %i = 0 to 8 step 0 { }", "step is 0"),
        ("contract {m=[8]} lhs (%i) { }", "lacks an attribute"),
    ],
)
def test_errors_in_kernels(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message.replace("(", r"\(")):
        parse(kernel_body(text))


def test_all_definitions_are_given() -> None:
    text = SCALED + SCALED.replace("@scale", "@more")
    assert [g.name for g in parse_program(text.replace("SCALE", "2.0"))] == ["scale", "more"]
