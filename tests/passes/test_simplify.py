"""Simplify removes what has no effect and keeps every bit of every result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_samples import ALL_SAMPLES, Sample
from programs import record
from random_graphs import random_arrays, random_graph

from sley.ir import dtypes as dt
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.evaluate import evaluate
from sley.ir.graph import Location, full
from sley.ir.literal import Literal, array_type
from sley.ir.ops import elementwise as ew
from sley.ir.ops import reduction as rd
from sley.ir.ops import view
from sley.ir.ops.source import CONSTANT, IOTA, SIZE
from sley.ir.types import tensor_type
from sley.passes.autodiff.transform import vjp
from sley.passes.dead import prune
from sley.passes.simplify import simplify

N = symbol("N")
F = tensor_type(dt.f32, (N, 4))
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, 3e38, 1e-45, 2.5, -7.0]


def ops(function, *types) -> list[str]:
    """Names of the ops that are left of `function` on parameters of these types."""
    graph = simplify(record(lambda v: [function(*v)], types))
    return [node.op.name for node in graph.nodes]


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal dtype, shape and bits; of a NaN, that it is one."""
    assert found.dtype == expected.dtype and found.shape == expected.shape
    if found.dtype.kind not in "iub":
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        found, expected = (np.where(np.isnan(a), 0, a) for a in (found, expected))
    assert found.tobytes() == expected.tobytes(), (found, expected)


def number(x, value):
    return full(x.type, value)


def over_one(x, op, **attrs):
    """A reduction of `x` over an axis of one element."""
    return op(view.RESHAPE(x, shape=(N, 1, 4)), axes=(1,), **attrs)


def prefixes(x, op):
    """All prefixes of `x` along an axis of one element."""
    y = op(view.RESHAPE(x, shape=(N, 1, 4)), axis=1, reverse=False)
    return view.RESHAPE(y, shape=(N, 4))


VANISH = {
    "x*1": lambda x: x * 1,
    "1*x": lambda x: 1 * x,
    "x/1": lambda x: x / 1,
    "x-0": lambda x: x - 0,
    "x+-0": lambda x: x + (-0.0),
    "--x": lambda x: ew.NEG(ew.NEG(x)),
    "x**1": lambda x: ew.POW(x, number(x, 1)),
    "stop": ew.STOP_GRADIENT,
    "max(x,x)": lambda x: ew.MAXIMUM(x, x),
    "min(x,x)": lambda x: ew.MINIMUM(x, x),
    "where": lambda x: ew.WHERE(ew.GT(x, x), x, x),
    "where-true": lambda x: ew.WHERE(full(x.type.with_dtype(dt.bool_), True), x, -x),
    "widen": lambda x: ew.CAST(ew.CAST(x, dtype=dt.f64), dtype=dt.f32),
    "bits": lambda x: ew.BITCAST(ew.BITCAST(x, dtype=dt.u32), dtype=dt.f32),
    "turn": lambda x: view.TRANSPOSE(view.TRANSPOSE(x, perm=(1, 0)), perm=(1, 0)),
    "shape": lambda x: view.RESHAPE(view.RESHAPE(x, shape=(N * 4,)), shape=(N, 4)),
    "slice": lambda x: view.SLICE(x, starts=(0, 0), sizes=(N, 4), steps=(1, 1)),
    "pad": lambda x: view.PAD(x, full(tensor_type(dt.f32), 0), low=(0, 0), high=(0, 0),
                              interior=(0, 0)),
    "concat": lambda x: view.CONCAT(x, axis=0),
    "split": lambda x: view.SLICE(view.CONCAT(-x, x, axis=0), starts=(N, 0), sizes=(N, 4),
                                  steps=(1, 1)),
    "update": lambda x: view.UPDATE_SLICE(-x, x, starts=(0, 0), steps=(1, 1)),
    "broadcast": lambda x: view.BROADCAST(x, shape=(N, 4), dims=(0, 1)),
    "max over nothing": lambda x: rd.REDUCE_MAX(x, axes=(), ties="even"),
    "max of one": lambda x: over_one(x, rd.REDUCE_MAX, ties="even"),
    "min of one": lambda x: over_one(x, rd.REDUCE_MIN, ties="even"),
    "product of one": lambda x: over_one(x, rd.REDUCE_PROD),
    "prefix of one": lambda x: prefixes(x, rd.CUMSUM),
    "prefix product of one": lambda x: prefixes(x, rd.CUMPROD),
    "prefix maximum of one": lambda x: prefixes(x, rd.CUMMAX),
}  # fmt: skip


@pytest.mark.parametrize("name", VANISH)
def test_what_has_no_effect_vanishes(name: str) -> None:
    assert ops(VANISH[name], F) == []


STAY = {
    "x+0": lambda x: x + 0,
    "x*0": lambda x: x * 0,
    "x-x": lambda x: x - x,
    "x/x": lambda x: x / x,
    "0-x": lambda x: 0 - x,
    "sqrt": lambda x: ew.POW(x, number(x, 0.5)),
    "narrow": lambda x: ew.CAST(ew.CAST(x, dtype=dt.bf16), dtype=dt.f32),
    "to-int": lambda x: ew.CAST(ew.CAST(x, dtype=dt.i32), dtype=dt.f32),
    "third": lambda x: x / 3,
    "eq": lambda x: ew.EQ(x, x),
}


@pytest.mark.parametrize("name", STAY)
def test_what_changes_a_bit_stays(name: str) -> None:
    before = record(lambda v: [STAY[name](*v)], [F])
    effective = [n.op.name for n in before.nodes if n.op.name not in ("constant", "broadcast")]
    left = [n for n in ops(STAY[name], F) if n not in ("constant", "broadcast")]
    assert left == effective


def left(function, *types) -> list[str]:
    return [n for n in ops(function, *types) if n not in ("constant", "broadcast")]


def test_cheaper_forms() -> None:
    assert left(lambda x: x / 8, F) == ["mul"]
    assert left(lambda x: x * -1, F) == ["neg"]
    assert left(lambda x: ew.POW(x, number(x, 2)), F) == ["mul"]
    assert left(lambda x: ew.POW(x, number(x, 3)), F) == ["mul", "mul"]
    assert left(lambda x: ew.POW(x, number(x, -1)), F) == ["div"]
    assert left(lambda x: ew.POW(x, number(x, 0)), F) == []
    narrow = F.with_dtype(dt.bf16)
    assert left(lambda x: ew.POW(x, number(x, 3)), narrow) == ["pow"]
    assert left(lambda x, y: x + -y, F, F) == ["sub"]
    assert left(lambda x, y: -x + y, F, F) == ["sub"]
    assert left(lambda x, y: x - -y, F, F) == ["add"]
    assert left(lambda x, y: -x * -y, F, F) == ["mul"]
    assert left(lambda x: ew.ABS(-x), F) == ["abs"]
    assert left(lambda c, x: ew.WHERE(ew.BIT_NOT(c), x, -x), F.with_dtype(dt.bool_), F) == [
        "neg", "where",
    ]  # fmt: skip


def test_chains_of_views_become_one() -> None:
    def sliced(x):
        y = view.SLICE(x, starts=(2, 3), sizes=(N - 2, 4), steps=(1, -1))
        return view.SLICE(y, starts=(1, 0), sizes=(1, 2), steps=(3, 2))

    graph = simplify(record(lambda v: [sliced(*v)], [F]))
    (node,) = graph.nodes
    assert node.attrs == {"starts": (3, 3), "sizes": (1, 2), "steps": (3, -2)}
    row = tensor_type(dt.f32, (4,))
    wide = lambda x: view.BROADCAST(view.RESHAPE(x, shape=(1, 4, 1)), shape=(1, 4, 1, 7),
                                    dims=(0, 1, 2))  # fmt: skip
    graph = simplify(record(lambda v: [wide(*v)], [row]))
    (node,) = graph.nodes
    assert node.op.name == "broadcast" and node.attrs["dims"] == (1,)
    twice = lambda x: view.BROADCAST(view.BROADCAST(x, shape=(3, 4), dims=(1,)), shape=(3, N, 4),
                                     dims=(0, 2))  # fmt: skip
    assert ops(twice, row) == ["broadcast"]
    assert ops(lambda x: view.TRANSPOSE(x, perm=(1, 0)), tensor_type(dt.f32, (N, 1))) == ["reshape"]


def test_equal_work_is_done_once() -> None:
    assert ops(lambda x: ew.EXP(x) * ew.EXP(x), F) == ["exp", "mul"]
    row = tensor_type(dt.f32, (4,))

    def spread(x):
        return view.BROADCAST(x, shape=(N, 4), dims=(1,))

    assert ops(lambda x, y: ew.EXP(spread(x)) * spread(y), row, row) == ["exp", "mul", "broadcast"]
    graph = simplify(record(lambda v: [ew.EXP(spread(v[0])) * 2], [row]))
    assert graph.nodes[-1].op.name == "broadcast", "computed before it is repeated"


def test_numbers_are_computed_now() -> None:
    assert ops(lambda x: x * (number(x, 2) + number(x, 3)), F) == ["constant", "broadcast", "mul"]
    assert ops(lambda x: x * ew.CAST(SIZE(expr=7), dtype=dt.f32), tensor_type(dt.f32)) == [
        "constant", "mul",
    ]  # fmt: skip
    big = np.full((100, 4), 2.5, np.float32)
    graph = simplify(record(lambda v: [v[0] + CONSTANT(value=Literal(big))], [array_type(big)]))
    assert graph.nodes[0].attrs["value"].array.shape == ()
    assert left(lambda x: rd.REDUCE_SUM(x * 0 - x * 0 + number(x, 0), axes=(0,)), F) != []
    assert left(lambda x: rd.REDUCE_SUM(number(x, 0), axes=(0,)), F) == []
    assert left(lambda x: IOTA(shape=(1, N), axis=0, dtype=dt.i64), F) == []


def test_a_sum_of_one_element_is_not_minus_zero() -> None:
    graph = record(lambda v: [rd.REDUCE_SUM(v[0], axes=(1,))], [tensor_type(dt.f32, (N, 1))])
    x = np.array([[-0.0], [2.0]], np.float32)
    assert_same_bits(evaluate(simplify(graph), [x])[0], evaluate(graph, [x])[0])
    assert "reduce_sum" not in [n.op.name for n in simplify(graph).nodes]


def test_integers() -> None:
    whole = F.with_dtype(dt.i32)
    for function in (
        lambda x: x + 0, lambda x: ew.SHIFT_LEFT(x, number(x, 0)),
        lambda x: ew.BIT_XOR(x, number(x, 0)), lambda x: ew.BIT_OR(x, x),
        lambda x: ew.BIT_AND(x, x), lambda x: ew.SHIFT_RIGHT(x, number(x, 0)),
        lambda x: ew.BIT_NOT(ew.BIT_NOT(x)), lambda x: ew.BIT_OR(number(x, 0), x),
        lambda x: ew.CAST(ew.CAST(x, dtype=dt.i64), dtype=dt.i32),
    ):  # fmt: skip
        assert ops(function, whole) == []
    assert left(lambda x: x * 0, whole) == []
    assert left(lambda x: x - x, whole) == []
    assert left(lambda x: ew.CAST(ew.CAST(x, dtype=dt.f32), dtype=dt.i32), whole) == [
        "cast",
        "cast",
    ]


def test_bools() -> None:
    flags = F.with_dtype(dt.bool_)
    assert ops(lambda x: ew.BIT_AND(x, number(x, True)), flags) == []
    assert ops(lambda x: ew.BIT_OR(number(x, False), x), flags) == []
    assert left(lambda x: ew.BIT_AND(number(x, False), x), flags) == []
    assert left(lambda x: ew.BIT_OR(x, number(x, True)), flags) == []


def test_lines_names_and_parameters_stay() -> None:
    line = Location("model.py", 3, "forward")
    with Recording(locate=lambda: line) as builder:
        x, unused = builder.param(F, "x"), builder.param(F, "unused")
        y = ew.EXP(x * 1)
        y.name = "y"
        ew.LOG(unused)
        graph = builder.finish("named", [y, x])
    graph = simplify(graph)
    (node,) = graph.nodes
    assert node.line is line and node.results[0].name == "y"
    assert [p.name for p in graph.params] == ["x", "unused"]
    assert graph.yields == (node.results[0], graph.params[0])


def test_dead_nodes_go_and_parameters_stay() -> None:
    graph = record(lambda v: [v[0] + v[0], ew.EXP(v[1])][:1], [F, F])
    pruned = prune(graph)
    assert [n.op.name for n in pruned.nodes] == ["add"] and pruned.params == graph.params


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=str)
def test_every_op_keeps_its_bits(sample: Sample) -> None:
    for dtype in sample.dtypes:
        arrays = sample.arrays(dtype)
        graph = record(sample.emit, [*map(array_type, arrays)])
        for pair in zip(evaluate(simplify(graph), arrays), evaluate(graph, arrays), strict=True):
            assert_same_bits(*pair)


UNARY = [ew.NEG, ew.ABS, ew.SQRT, ew.EXP, ew.STOP_GRADIENT, ew.FLOOR, ew.SIGN]
BINARY = [ew.ADD, ew.SUB, ew.MUL, ew.DIV, ew.MAXIMUM, ew.MINIMUM]
COMPARE = [ew.EQ, ew.LT, ew.GE, ew.NE]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.25, 3.0, np.inf, np.nan]


class RandomProgram:
    """A program of random ops on values of shape [rows, 3], which rules of all kinds meet."""

    def __init__(self, draw) -> None:
        self.draw = draw

    def __call__(self, values):
        self.pool = list(values)
        for _ in range(self.draw(st.integers(1, 14))):
            self.pool.append(self.step())
        return self.pool[-3:]

    def pick(self):
        return self.draw(st.sampled_from(self.pool))

    def step(self):
        kind = self.draw(st.integers(0, 8))
        x = self.pick()
        if kind == 0:
            return self.draw(st.sampled_from(UNARY))(x)
        if kind == 1:
            return self.draw(st.sampled_from(BINARY))(x, self.pick())
        if kind in (2, 3):
            sides = [x, full(x.type, self.draw(st.sampled_from(NUMBERS)))]
            return self.draw(st.sampled_from(BINARY))(
                *(sides[:: self.draw(st.sampled_from((1, -1)))])
            )
        if kind == 4:
            condition = self.draw(st.sampled_from(COMPARE))(x, self.pick())
            if self.draw(st.booleans()):
                condition = ew.BIT_NOT(condition)
            return ew.WHERE(condition, self.pick(), self.pick())
        if kind == 5:
            wide = self.draw(st.sampled_from((dt.f64, dt.bf16, dt.f32)))
            return ew.CAST(ew.CAST(x, dtype=wide), dtype=x.type.dtype)
        if kind == 6:
            return self.view(x)
        rows, columns = x.type.shape
        if kind == 7:
            top = rd.REDUCE_MAX(x, axes=(1,), ties="even")
            return ew.EXP(view.BROADCAST(top, shape=(rows, columns), dims=(0,)))
        one = view.RESHAPE(rd.REDUCE_SUM(x, axes=(1,)), shape=(rows, 1))
        summed = rd.REDUCE_SUM(one, axes=(1,))
        return view.BROADCAST(summed, shape=(rows, columns), dims=(0,))

    def view(self, x):
        rows, columns = x.type.shape
        kind = self.draw(st.integers(0, 4))
        if kind == 0:
            y = view.TRANSPOSE(x, perm=(1, 0))
            return view.TRANSPOSE(self.draw(st.sampled_from(UNARY))(y), perm=(1, 0))
        if kind == 1:
            return view.SLICE(x, starts=(0, columns - 1), sizes=(rows, columns), steps=(1, -1))
        if kind == 2:
            y = view.RESHAPE(x, shape=(rows * columns,))
            return view.RESHAPE(view.RESHAPE(-y, shape=(columns, rows)), shape=(rows, columns))
        if kind == 3:
            y = view.CONCAT(x, self.pick(), axis=0)
            start = self.draw(st.sampled_from((0, rows)))
            return view.SLICE(y, starts=(start, 0), sizes=(rows, columns), steps=(1, 1))
        y = view.PAD(
            x, full(tensor_type(x.type.dtype), 0), low=(1, 0), high=(0, 0), interior=(0, 0)
        )
        return view.SLICE(y, starts=(1, 0), sizes=(rows, columns), steps=(1, 1))


def work(graph) -> int:
    return sum(node.op.name not in ("constant", "broadcast") for node in graph.nodes)


@settings(max_examples=150)
@given(st.data())
def test_random_programs_keep_their_bits(data) -> None:
    dtype = data.draw(st.sampled_from((dt.f32, dt.f64, dt.bf16)))
    program = RandomProgram(data.draw)
    rows = data.draw(st.sampled_from((N, 2)))
    graph = record(program, [tensor_type(dtype, (rows, 3))] * 2)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    sizes = (2, 0, 1, 5) if rows is N else (2,)
    smaller = simplify(graph)
    for size in sizes:
        arrays = [rng.choice(SPECIAL, (size, 3)).astype(dtype.numpy) for _ in range(2)]
        bound = {"N": size}
        pairs = zip(evaluate(smaller, arrays, bound), evaluate(graph, arrays, bound), strict=True)
        for found, expected in pairs:
            assert_same_bits(found, expected)
    assert work(smaller) <= work(graph)
    assert str(simplify(smaller)) == str(smaller), "a second run finds nothing more"


@pytest.mark.parametrize("seed", range(60))
def test_random_gradients_keep_their_bits(seed: int) -> None:
    graph = vjp(random_graph(seed))
    smaller = simplify(graph)
    assert work(smaller) <= work(graph)
    for size in (5, 1):
        sizes = {"N": size}
        arrays = random_arrays(graph, sizes)
        pairs = zip(evaluate(smaller, arrays, sizes), evaluate(graph, arrays, sizes), strict=True)
        for found, expected in pairs:
            assert_same_bits(found, expected)
