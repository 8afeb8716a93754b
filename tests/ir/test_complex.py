"""Complex numbers in programs: their text, what takes them, evaluation of the ops between."""

from __future__ import annotations

import numpy as np
import pytest

from sley.ir import dtypes as dt
from sley.ir.builder import Recording, make_node
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value
from sley.ir.literal import Literal, array_type
from sley.ir.numerals import format_number, from_numbers
from sley.ir.ops import OPS, TypeRuleError
from sley.ir.ops.source import CONSTANT
from sley.ir.parser import ParseError, parse
from sley.ir.printer import print_graph, print_program
from sley.ir.types import tensor_type
from sley.ir.verifier import verify


def constants(*arrays: np.ndarray) -> Graph:
    with Recording() as builder:
        return builder.finish("f", [CONSTANT(value=Literal(a)) for a in arrays])


def odd(dtype: type) -> np.ndarray:
    """NaNs with bits of their own, signed zeros, infinities, subnormals."""
    real = np.float32 if dtype is np.complex64 else np.float64
    bits = np.uint32 if real is np.float32 else np.uint64
    parts = np.array([0.0, -0.0, np.inf, -np.inf, 0.1, -1e-45, 3, np.nan], real)
    parts = np.append(parts, (parts[-1:].view(bits) + bits(5)).view(real))
    array = np.empty((9, 7), dtype)
    array.real, array.imag = parts[:, None], parts[:7]
    return array


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_every_bit_survives_the_text(dtype: type) -> None:
    array = odd(dtype)
    graph = constants(array, array[0, 1], array[8].copy(), np.tile(array, (2, 1)))
    text, stored = print_program(graph)
    assert len(stored) == 1, "over 64 elements stand beside"
    again = parse(text, stored)
    verify(again)
    assert print_graph(again) == text
    for one, other in zip(graph.nodes, again.nodes, strict=True):
        assert one.attrs["value"] == other.attrs["value"]


def test_the_spelling() -> None:
    assert format_number(np.complex64(1 - 0.0j)) == "(1.0, 0.0)"
    assert format_number(np.complex128(complex(-0.0, np.inf))) == "(-0.0, inf)"
    assert from_numbers([(1, -2.5)], dt.c64, ()).item() == 1 - 2.5j
    text = print_graph(constants(np.array([1j, np.nan], np.complex64)))
    assert "constant [(0.0, 1.0), (nan(0x7fc00000), 0.0)] : c64[2]" in text


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("1.0", "no pair"),
        ("(1.0)", "expected ,"),
        ("(1.0, true)", "no number"),
        ("(1, 2", "expected"),
    ],
)
def test_what_is_no_complex_number(number: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(f"graph @f() -> (c64[]) {{ %a = constant {number} : c64[] yield %a }}")
    with pytest.raises(ParseError, match="no number of type f32"):
        parse("graph @f() -> (f32[]) { %a = constant (1.0, 2.0) : f32[] yield %a }")


Z, X = tensor_type(dt.c64, (3,)), tensor_type(dt.f32, (3,))
REFUSED = [
    *((name, [Z, Z], {}) for name in ("lt", "ge", "maximum", "floor_div", "remainder", "atan2")),
    *((name, [Z], {}) for name in ("sign", "floor", "round", "erf", "bit_not")),
    ("reduce_max", [Z], {"axes": (0,), "ties": "even"}),
    ("argmin", [Z], {"axes": (0,)}),
    ("cummax", [Z], {"axis": 0, "reverse": False}),
    ("sort", [Z], {"axis": 0, "descending": False}),
    (
        "scatter",
        [Z, tensor_type(dt.i64, (2,)), Z.with_shape((2,))],
        {"axis": 0, "combine": "maximum"},
    ),
    ("bitcast", [Z], {"dtype": dt.u64}),
    ("real", [X], {}),
    ("complex", [tensor_type(dt.bf16, (3,))] * 2, {}),
    ("fft", [X], {"axes": (0,), "inverse": False, "norm": "ortho"}),
    ("rfft", [Z], {"axis": 0, "norm": "ortho"}),
]


@pytest.mark.parametrize(("name", "types", "attrs"), REFUSED, ids=lambda v: str(v)[:20])
def test_what_complex_numbers_have_not(name: str, types: list, attrs: dict) -> None:
    with pytest.raises(TypeRuleError, match="does not take"):
        make_node(OPS[name], [Value(t) for t in types], attrs)


def test_other_misfits() -> None:
    for name, types, attrs, message in (
        ("complex", [X, tensor_type(dt.f64, (3,))], {}, "equal types"),
        ("add", [Z, X], {}, "equal types"),
        ("iota", [], {"shape": (3,), "axis": 0, "dtype": dt.c64}, "iota of complex64"),
        ("fft", [Z], {"axes": (1,), "inverse": False, "norm": "ortho"}, "over the axes"),
        ("fft", [Z], {"axes": (0,), "inverse": False, "norm": "both"}, "norm"),
        ("irfft", [Z], {"axis": 0, "size": 6, "norm": "ortho"}, "needs 4 frequencies"),
    ):
        with pytest.raises(TypeRuleError, match=message):
            make_node(OPS[name], [Value(t) for t in types], attrs)


def test_evaluation() -> None:
    graph = parse("""
graph @f(%z: c64[N], %x: f32[N]) -> (f32[N], f32[N], c64[N], f32[N], bool[N]) {
  %r = real(%z) : f32[N]
  %i = imag(%z) : f32[N]
  %c = complex(%i, %x) : c64[N]
  %a = abs(%c) : f32[N]
  %e = eq(%c, %z) : bool[N]
  yield %r, %i, %c, %a, %e
}
""")
    z = np.array([3 + 4j, complex(np.inf, np.nan), -0.0j], np.complex64)
    x = np.array([4.0, -0.0, np.inf], np.float32)
    r, i, c, a, e = evaluate(graph, [z, x])
    np.testing.assert_array_equal(r, z.real)
    np.testing.assert_array_equal(i, z.imag)
    np.testing.assert_array_equal(c.real, z.imag)
    assert np.signbit(c.imag[1]) and array_type(c) == tensor_type(dt.c64, (3,))
    np.testing.assert_array_equal(a, np.float32([np.sqrt(np.float32(32)), np.nan, np.inf]))
    assert e.tolist() == [False, False, False]
