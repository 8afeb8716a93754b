"""Complex programs split into real ones: the text, the numbers, special values, control flow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from programs import record

from sley.ir import dtypes as dt
from sley.ir.dims import symbol
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value, full
from sley.ir.ops import elementwise as ew
from sley.ir.ops import reduction as rd
from sley.ir.ops.base import OPS
from sley.ir.ops.contraction import DOT_GENERAL
from sley.ir.ops.control_flow import BARRIER
from sley.ir.ops.fourier import FFT
from sley.ir.ops.indexed import GATHER, SCATTER
from sley.ir.ops.paired import PAIRED
from sley.ir.parser import parse
from sley.ir.printer import print_graph
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.split_complex import split_complex
from sley.passes.split_complex.rules import FUNCTIONS
from sley.passes.split_complex.split import SplitError
from sley.runtime.compile import compile_graph

N = symbol("N")
WIDTHS = {"c64": dt.c64, "c128": dt.c128}
ULPS = 5  # of |z|, from the value that twice the width gives


def pairs(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "c":
        return array
    return np.ascontiguousarray(array[..., None]).view(array.real.dtype)


def joined(array: np.ndarray, like: Value) -> np.ndarray:
    dtype = like.type.dtype
    return np.ascontiguousarray(array).view(dtype.numpy)[..., 0] if dtype.is_complex else array


def split_results(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What numpy computes of the split program."""
    split = split_complex(graph)
    verify(split)
    assert all(not v.type.dtype.is_complex for n in split.walk() for v in (*n.operands, *n.results))
    found = evaluate(split, [pairs(a) for a in arrays])
    return [joined(a, v) for a, v in zip(found, graph.yields, strict=True)]


def of(function: Callable, *types: str, shape: tuple = (N,)) -> Graph:
    return record(
        lambda values: [function(*values)], [tensor_type(dt.by_name(t), shape) for t in types]
    )


def drawn(count: int, dtype: dt.DType, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (scale * (rng.normal(size=count) + 1j * rng.normal(size=count))).astype(dtype.numpy)


def error(found: np.ndarray, expected: np.ndarray, eps: float) -> float:
    """The largest distance, in units of the last place of |expected|."""
    ok = np.isfinite(expected) & (np.abs(expected) > 1e-30)
    return float(np.max(np.abs(found[ok] - expected[ok]) / np.abs(expected[ok]), initial=0) / eps)


# Text


def test_the_text_of_a_split_program() -> None:
    graph = parse("""
graph @f(%x: c64[N], %y: c64[N]) -> (c64[N], f32[N]) {
  %z = mul(%x, %y) : c64[N]  // model.py:2 in f
  %w = fft(%z) {axes=[0], inverse=false, norm="ortho"} : c64[N]  // model.py:3 in f
  %r = real(%z) : f32[N]
  yield %w, %r
}
""")
    expected = inspect.cleandoc("""
graph @f(%x: f32[N, 2], %y: f32[N, 2]) -> (f32[N, 2], f32[N]) {
  %0 = slice(%x) {starts=[0, 0], sizes=[N, 1], steps=[1, 1]} : f32[N, 1]
  %x.re = reshape(%0) {shape=[N]} : f32[N]
  %1 = slice(%x) {starts=[0, 1], sizes=[N, 1], steps=[1, 1]} : f32[N, 1]
  %x.im = reshape(%1) {shape=[N]} : f32[N]
  %2 = slice(%y) {starts=[0, 0], sizes=[N, 1], steps=[1, 1]} : f32[N, 1]
  %y.re = reshape(%2) {shape=[N]} : f32[N]
  %3 = slice(%y) {starts=[0, 1], sizes=[N, 1], steps=[1, 1]} : f32[N, 1]
  %y.im = reshape(%3) {shape=[N]} : f32[N]
  %4 = mul(%x.re, %y.re) : f32[N]
  %5 = mul(%x.im, %y.im) : f32[N]
  %z.re = sub(%4, %5) : f32[N]
  %6 = mul(%x.re, %y.im) : f32[N]
  %7 = mul(%x.im, %y.re) : f32[N]
  %z.im = add(%6, %7) : f32[N]
  %8 = reshape(%z.re) {shape=[N, 1]} : f32[N, 1]
  %9 = reshape(%z.im) {shape=[N, 1]} : f32[N, 1]
  %10 = concat(%8, %9) {axis=1} : f32[N, 2]
  %11 = paired(%10) {op="fft", complex=[true], names=["axes", "inverse", "norm"], \
values=[[0], false, "ortho"]} : f32[N, 2]
  yield %11, %z.re
}
""")
    split = split_complex(graph)
    text = "\n".join(line.split("  //")[0].rstrip() for line in print_graph(split).splitlines())
    assert text == expected
    assert [n.line.line for n in split.nodes if n.op.name in ("sub", "paired")] == [2, 3]
    assert print_graph(parse(print_graph(split))) == print_graph(split)


def test_a_real_program_is_untouched() -> None:
    graph = of(lambda x: ew.EXP(x) + 1, "f32")
    assert split_complex(graph) is graph
    stages = [name for name, _ in compile_graph(graph).stages]
    assert "split complex" not in stages
    assert "split complex" in [name for name, _ in compile_graph(of(ew.NEG, "c64")).stages]


def test_parameters_that_are_results_are_not_taken_apart() -> None:
    split = split_complex(of(lambda z: z, "c64"))
    assert split.yields == split.params


VIEWS = {
    "reshape": "{shape=[12]} : c64[12]",
    "transpose": "{perm=[1, 0]} : c64[4, 3]",
    "slice": "{starts=[2, 3], sizes=[2, 2], steps=[-1, -2]} : c64[2, 2]",
    "broadcast": "{shape=[3, 5, 4], dims=[0, 2]} : c64[3, 5, 4]",
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_parameters_stay_whole(name: str) -> None:
    type = VIEWS[name].split(" : ")[1]
    graph = parse(
        f"graph @f(%z: c64[3, 4]) -> ({type}) {{ %a = {name}(%z) {VIEWS[name]} yield %a }}"
    )
    assert [node.op.name for node in split_complex(graph).nodes] == [name]
    z = drawn(12, dt.c64).reshape(3, 4)
    np.testing.assert_array_equal(split_results(graph, [z])[0], evaluate(graph, [z])[0])


# Numbers


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted({*FUNCTIONS.split(), "abs", "neg"}))
def test_functions_are_exact_to_few_units(name: str, width: str) -> None:
    dtype = WIDTHS[width]
    graph = of(OPS[name], width)
    eps = np.finfo(dtype.numpy).eps
    for scale in (1e-3, 0.3, 1, 5, 1e6):
        z = drawn(500, dtype, scale)
        (found,) = split_results(graph, [z])
        (numpys,) = evaluate(graph, [z])
        wide = z.astype(np.complex128)
        (expected,) = evaluate(of(OPS[name], "c128"), [wide])
        if scale == 1e6:  # all overflow or, like sigmoid, underflow there
            expected = np.where(np.isfinite(numpys) & (np.abs(numpys) > 0.1), expected, np.nan)
        assert error(found, expected, eps) <= ULPS, scale
        assert found.dtype == numpys.dtype


@pytest.mark.parametrize("width", WIDTHS)
def test_arithmetic(width: str) -> None:
    dtype = WIDTHS[width]
    eps = np.finfo(dtype.numpy).eps
    x, y = drawn(500, dtype), drawn(500, dtype, seed=1)
    for name, ulps in (("add", 1), ("sub", 1), ("mul", 2), ("div", 3), ("pow", 40)):
        graph = of(OPS[name], width, width)
        expected = evaluate(of(OPS[name], "c128", "c128"), [x.astype("c16"), y.astype("c16")])[0]
        assert error(split_results(graph, [x, y])[0], expected, eps) <= ulps, name
    for name in ("eq", "ne"):
        graph = of(OPS[name], width, width)
        for left, right in ((x, x), (x, x.conj()), (x, -x.conj()), (x * np.nan, x * np.nan)):
            np.testing.assert_array_equal(
                split_results(graph, [left, right])[0], evaluate(graph, [left, right])[0]
            )


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -4, 7, 0.5, 2.5, 1j, 200])
def test_powers_by_a_number(exponent: complex) -> None:
    z = drawn(100, dt.c128)
    graph = of(lambda x: ew.POW(x, full(x.type, exponent)), "c128")
    found, expected = split_results(graph, [z])[0], z**exponent
    np.testing.assert_allclose(found, expected, rtol=1e-12)


PARTS = [0.0, -0.0, 1.0, -1.0, 2.0, -2.5, 100.0, -100.0, 3e38, -3e38, np.inf, -np.inf, np.nan]


def special(dtype: dt.DType) -> np.ndarray:
    z = np.empty(len(PARTS) ** 2, dtype.numpy)
    z.real, z.imag = np.repeat(PARTS, len(PARTS)), np.tile(PARTS, len(PARTS))
    return z


def assert_alike(found: np.ndarray, expected: np.ndarray, signed: np.ndarray) -> None:
    """Equal NaNs and infinities, numbers to 1e-5, and where `signed` holds the signs of zeros."""
    for part in ("real", "imag"):
        a, b = getattr(found, part), getattr(expected, part)
        np.testing.assert_allclose(a, b, rtol=1e-5)
        zeros = (b == 0) & (a == 0) & signed
        np.testing.assert_array_equal(np.signbit(a[zeros]), np.signbit(b[zeros]))


# numpy's expm1 is none of C99's.
@pytest.mark.parametrize("name", sorted({*FUNCTIONS.split(), "abs"} - {"expm1"}))
@pytest.mark.parametrize("width", WIDTHS)
def test_special_values(name: str, width: str) -> None:
    z = special(WIDTHS[width])
    signed = np.isfinite(z)  # C99 leaves the others open
    if name in ("log1p", "sigmoid", "rsqrt"):  # compositions, of finite numbers alone
        z = z[np.isfinite(z) & (np.abs(z) < 1e38) & (z != 0) & (z != -1)]
        signed = np.zeros(z.shape, bool)
    graph = of(OPS[name], width)
    assert_alike(split_results(graph, [z])[0], evaluate(graph, [z])[0], signed)


def test_special_quotients_and_products() -> None:
    z = special(dt.c128)
    x, y = np.repeat(z, len(z)), np.tile(z, len(z))
    for name in ("mul", "div"):
        graph = of(OPS[name], "c128", "c128")
        found, expected = split_results(graph, [x, y])[0], evaluate(graph, [x, y])[0]
        # Of finite products numpy may round the sums once (a fused multiply-add).
        with np.errstate(all="ignore"):
            close = np.abs(found - expected) <= 1e-15 * np.abs(x) * np.abs(y)
        found = np.where(close, expected, found)
        assert_alike(found, expected, np.zeros(found.shape, bool))


def test_nothing_overflows_on_the_way() -> None:
    big = np.array([3e38 + 3e38j, 1e-38 + 1e-38j, 2e38 - 1e38j], np.complex64) * np.float32(0.5)
    for name in ("abs", "sqrt", "log"):
        graph = of(OPS[name], "c64")
        np.testing.assert_allclose(
            split_results(graph, [big])[0], evaluate(graph, [big])[0], rtol=1e-6
        )
    graph = of(OPS["div"], "c64", "c64")
    np.testing.assert_allclose(split_results(graph, [big, big])[0], 1, rtol=1e-6)
    late = np.array([88.9 + 0.8j], np.complex64)  # exp(88.9) is inf in float32
    np.testing.assert_allclose(
        split_results(of(OPS["exp"], "c64"), [late])[0], np.exp(late), rtol=1e-5
    )


# Other kinds of ops


def test_casts() -> None:
    z, k = drawn(5, dt.c64), np.array([0, 1, -2, 3, 4])
    z[0] = 0
    for dtype in (dt.c128, dt.f64, dt.f32, dt.i32, dt.bool_, dt.c64, dt.bf16):
        graph = of(lambda x, dtype=dtype: ew.CAST(x, dtype=dtype), "c64")
        found, expected = split_results(graph, [z])[0], evaluate(graph, [z])[0]
        assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    for source in (k, k.astype(np.float32), k > 0):
        name = next(d.name for d in dt.ALL if d.numpy == source.dtype)
        graph = of(lambda x: ew.CAST(x, dtype=dt.c64), name)
        np.testing.assert_array_equal(
            split_results(graph, [source])[0], source.astype(np.complex64)
        )


MATRIX = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
SHAPED = {
    "reduce_sum": lambda z: rd.REDUCE_SUM(z, axes=(1,)),
    "cumsum": lambda z: rd.CUMSUM(z, axis=0, reverse=True),
    "reduce_prod": lambda z: rd.REDUCE_PROD(z, axes=(0,)),
    "cumprod": lambda z: rd.CUMPROD(z, axis=1, reverse=False),
    "matrix": lambda z: DOT_GENERAL(z, z, **MATRIX),
    "fft": lambda z: FFT(z, axes=(1,), inverse=True, norm="backward"),
    "where": lambda z: ew.WHERE(ew.GT(ew.REAL(z), full(ew.REAL(z).type, 0)), z, -z),
    "barrier": lambda z: BARRIER(z, ew.REAL(z))[0],
    "gather": lambda z: GATHER(z, _places(z), axis=0),
    "scatter": lambda z: SCATTER(z, _places(z), z, axis=0, combine="add"),
    "scatter-mul": lambda z: SCATTER(z, _places(z), z, axis=0, combine="mul"),
}


def _places(z: Value) -> Value:
    return full(tensor_type(dt.i64, z.type.shape[:1]), 1)


@pytest.mark.parametrize("name", SHAPED)
def test_other_ops(name: str) -> None:
    graph = of(SHAPED[name], "c128", shape=(4, 4))
    z = drawn(16, dt.c128).reshape(4, 4)
    (expected,) = evaluate(graph, [z])
    np.testing.assert_allclose(split_results(graph, [z])[0], expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(compile_graph(graph)([z])[0], expected, rtol=1e-12, atol=1e-13)


def test_loops_and_branches() -> None:
    graph = parse("""
graph @f(%z: c128[], %zs: c128[N], %s: f64[], %go: bool[]) -> (c128[], c128[N], c128[]) {
  %n, %ys = scan(%s, %z, %zs) {length=N, consts=1, carries=1, reverse=false} (
      %k: f64, %carry: c128, %x: c128) {
    %t = complex(%k, %k) : c128[]
    %u = mul(%carry, %t) : c128[]
    %v = add(%u, %x) : c128[]
    yield %v, %u
  } : c128[], c128[N]
  %w = cond(%go, %n) then (%a: c128) {
    %b = neg(%a) : c128[]
    yield %b
  } otherwise (%a: c128) {
    %b = mul(%a, %a) : c128[]
    yield %b
  } : c128[]
  yield %n, %ys, %w
}
""")
    arrays = [np.array(1 + 2j), drawn(6, dt.c128), np.array(0.5), np.array(True)]
    for found, expected in zip(split_results(graph, arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    split = split_complex(graph)
    (scan,) = (n for n in split.nodes if n.op.name == "scan")
    assert (scan.attrs["consts"], scan.attrs["carries"], len(scan.operands)) == (1, 2, 5)


def test_an_op_without_a_rule_is_named() -> None:
    graph = parse(
        """
graph @f(%z: c64[4], %i: i64[2]) -> (c64[4]) {
  %y = random(%z) : c64[4]
  yield %y
}
""".replace("random(%z)", "neg(%z)")
    )
    node = graph.nodes[0]
    node.op = OPS["iota"]
    with pytest.raises(SplitError, match="iota of complex numbers"):
        split_complex(graph)


# Compiled


@pytest.mark.parametrize("width", WIDTHS)
def test_compiled_programs(width: str) -> None:
    def program(values: Sequence[Value]) -> list[Value]:
        x, y = values
        z = ew.EXP(x * y) / y
        return [z, ew.ABS(z), ew.SQRT(ew.LOG(z)), ew.EQ(x, y), x]

    dtype = WIDTHS[width]
    graph = record(program, [tensor_type(dtype, (N, 3))] * 2)
    x, y = (drawn(21, dtype, 0.7, seed).reshape(7, 3) for seed in (0, 1))
    executable = compile_graph(graph)
    assert [v.type for v in executable.inputs] == [v.type for v in graph.params]
    for found, expected in zip(executable([x, y]), evaluate(graph, [x, y]), strict=True):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=30 * np.finfo(dtype.numpy).eps)


def test_paired_refuses_what_is_no_pair() -> None:
    attrs = {"op": "neg", "complex": (True,), "names": (), "values": ()}
    for type in ("f32[4]", "f32[4, 3]", "i64[4, 2]"):
        with pytest.raises(ValueError, match="no buffer of pairs"):
            parse(f"graph @f(%x: {type}) -> ({type}) {{ %y = paired(%x) "
                  f'{{op="neg", complex=[true], names=[], values=[]}} yield %y }}')  # fmt: skip
    assert PAIRED.infer([tensor_type(dt.f32, (4, 2))], attrs) == [tensor_type(dt.f32, (4, 2))]
