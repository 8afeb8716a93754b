"""Every op for many examples against a loop over the examples, and the table of rules."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from op_samples import ALL_SAMPLES, SAMPLES, Sample
from programs import record

from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import f64, i64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Region, Value, full
from sley.ir.literal import array_type
from sley.ir.ops import elementwise as ew
from sley.ir.ops.base import OPS, Kind
from sley.ir.ops.control_flow import BARRIER, CALL, COND, SCAN, WHILE
from sley.ir.ops.reduction import REDUCE_SUM
from sley.ir.ops.source import RNG_BITS
from sley.ir.ops.view import BROADCAST
from sley.ir.types import TensorType, tensor_type
from sley.ir.verifier import verify
from sley.passes.batching.rule import BatchingError, NotBatched
from sley.passes.batching.table import BATCHING, BY_KIND, rule_of
from sley.passes.batching.walk import batch

COUNT = 3
WITH_OPERANDS = [
    s for s in ALL_SAMPLES if s.operands and not isinstance(rule_of(OPS[s.op]), NotBatched)
]


def graph_of(sample: Sample, operands: Sequence[np.ndarray]) -> Graph:
    def program(values: Sequence[Value]) -> Sequence[Value]:
        made = OPS[sample.op](*values, **sample.attrs)
        return made if isinstance(made, tuple) else (made,)

    return record(program, [array_type(a) for a in operands])


def loop(
    graph: Graph, arrays: Sequence[np.ndarray], batched: Sequence[bool], count: int = COUNT
) -> list[np.ndarray]:
    rows = [
        evaluate(graph, [a[k] if b else a for a, b in zip(arrays, batched, strict=True)])
        for k in range(count)
    ]
    return [np.stack(parts) for parts in zip(*rows, strict=True)]


def choices(count: int) -> list[tuple[bool, ...]]:
    """Which operands are batched: all ways for few operands, else all and each alone."""
    if count <= 3:
        return [c for c in itertools.product([False, True], repeat=count) if any(c)]
    alone = [tuple(k == j for j in range(count)) for k in range(count)]
    return [(True,) * count, *alone]


@pytest.mark.parametrize("size", [COUNT, "N"])
@pytest.mark.parametrize("sample", WITH_OPERANDS, ids=str)
def test_an_op_for_many_is_the_op_of_each(sample: Sample, size: int | str) -> None:
    dtype = sample.dtypes[0]
    one = sample.arrays(dtype)
    graph = graph_of(sample, one)
    many = [np.stack(parts) for parts in zip(*(sample.arrays(dtype, s) for s in range(COUNT)))]
    dim = size if isinstance(size, int) else symbol(size)
    for batched in choices(len(one)):
        program = batch(graph, batched, dim, "different")
        verify(program)
        arrays = [m if b else o for m, o, b in zip(many, one, batched, strict=True)]
        found = evaluate(program, arrays)
        for x, y in zip(found, loop(graph, arrays, batched), strict=True):
            assert x.shape == y.shape and x.dtype == y.dtype
            np.testing.assert_allclose(x, y, rtol=1e-6 if dtype in ("f64", "f32") else 1e-2)


def test_every_op_has_a_rule_or_a_reason() -> None:
    structural = (Kind.KERNEL, Kind.LOOP)
    for name, op in OPS.items():
        if op.kind in structural:
            continue
        assert name in BATCHING or op.kind in BY_KIND, f"no batching of {name}"
        rule = rule_of(op)
        assert not isinstance(rule, NotBatched) or rule.reason
    assert set(BATCHING) <= set(OPS)
    for name in SAMPLES:
        assert SAMPLES[name][0].operands or isinstance(rule_of(OPS[name]), NotBatched)


def test_an_op_without_a_rule_says_why() -> None:
    graph = record(lambda v: [OPS["neg"](v[0])], [tensor_type(f64, (2,))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BATCHING, "neg", NotBatched("a test took it away"))
        with pytest.raises(BatchingError, match=r"neg has no form .* a test took it away"):
            batch(graph, [True], 2)


def test_nodes_without_examples_stay_as_they_are() -> None:
    vector = tensor_type(f64, (2,))
    graph = record(lambda v: [ew.EXP(v[0]) * ew.SIN(v[1])], [vector, vector])
    made = batch(graph, [False, True], symbol("N"))
    assert [str(n.results[0].type) for n in made.nodes] == [
        "f64[2]", "f64[N, 2]", "f64[N, 2]", "f64[N, 2]",
    ]  # fmt: skip


# Random numbers


def draws(values: Sequence[Value]) -> list[Value]:
    return [RNG_BITS(values[0], values[1], shape=(4,), bits=32)]


def test_random_numbers() -> None:
    word = tensor_type(i64)
    graph = record(draws, [word, word])
    state = [np.array(7), np.array(3)]
    with pytest.raises(BatchingError, match="random numbers are drawn"):
        batch(graph, [False, False], COUNT)
    (same,) = evaluate(batch(graph, [False, False], COUNT, "same"), state)
    assert (same == evaluate(graph, state)[0]).all()
    (different,) = evaluate(batch(graph, [False, False], COUNT, "different"), state)
    assert len(np.unique(different)) == 4 * COUNT


# Control flow

VECTOR, SCALAR = tensor_type(f64, (2,)), tensor_type(f64)


def region_of(types: Sequence[TensorType], program) -> Region:
    builder = Recording()
    with builder:
        params = [builder.param(t) for t in types]
        yields = tuple(program(*params))
    return Region(tuple(params), tuple(builder.nodes), yields)


def check_control(program, types: Sequence[TensorType], arrays: Sequence[np.ndarray]) -> None:
    """For every choice of batched operands; `arrays` have the axis of examples."""
    graph = record(program, types)
    for batched in choices(len(types)):
        for size in (COUNT, symbol("N")):
            made = batch(graph, batched, size)
            verify(made)
            given = [a if b else a[0] for a, b in zip(arrays, batched, strict=True)]
            for x, y in zip(evaluate(made, given), loop(graph, given, batched), strict=True):
                assert x.shape == y.shape
                np.testing.assert_allclose(x, y, rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    body = region_of(
        [VECTOR, VECTOR, SCALAR, VECTOR],
        lambda c, h, s, x: (h * c + x, s + REDUCE_SUM(x, axes=(0,)), h * x),
    )

    def program(v: Sequence[Value]) -> Sequence[Value]:
        attrs = {"length": 4, "consts": 1, "carries": 2, "reverse": reverse}
        return SCAN(*v, regions=(body,), **attrs)

    rng = np.random.default_rng(0)
    types = [VECTOR, VECTOR, SCALAR, tensor_type(f64, (4, 2))]
    check_control(program, types, [rng.normal(size=(COUNT, *t.shape)) for t in types])


def spread(x: Value) -> Value:
    return BROADCAST(x, shape=VECTOR.shape, dims=())


def test_while() -> None:
    """x doubles until it exceeds a limit: every example has a number of turns of its own."""
    condition = region_of([SCALAR, SCALAR, VECTOR], lambda limit, x, y: [ew.LT(x, limit)])
    body = region_of([SCALAR, SCALAR, VECTOR], lambda limit, x, y: [x * 2, y + spread(limit)])

    def program(v: Sequence[Value]) -> Sequence[Value]:
        return WHILE(*v, regions=(condition, body), consts=1)

    arrays = [np.array([9.0, 2.0, 30.0]), np.array([1.0, 3.0, 2.0]), np.ones((COUNT, 2))]
    check_control(program, [SCALAR, SCALAR, VECTOR], arrays)


def test_cond() -> None:
    then = region_of([VECTOR], lambda x: [ew.EXP(x), full(SCALAR, 1)])
    otherwise = region_of([VECTOR], lambda x: [-x, REDUCE_SUM(x, axes=(0,))])

    def program(v: Sequence[Value]) -> Sequence[Value]:
        return COND(ew.GT(v[0], full(SCALAR, 0)), v[1], regions=(then, otherwise))

    rng = np.random.default_rng(1)
    arrays = [np.array([1.0, -1.0, 0.5]), rng.normal(size=(COUNT, 2))]
    check_control(program, [SCALAR, VECTOR], arrays)


def test_call_and_barrier() -> None:
    body = region_of([VECTOR, VECTOR], lambda x, y: [x * y, ew.SIN(x)])

    def program(v: Sequence[Value]) -> Sequence[Value]:
        return CALL(*BARRIER(*v), regions=(body,), recompute=True)

    rng = np.random.default_rng(2)
    check_control(program, [VECTOR, VECTOR], [rng.normal(size=(COUNT, 2)) for _ in range(2)])


# Convolutions


def test_a_window_for_each_example_whose_size_is_unknown() -> None:
    """Neither the number of examples nor that of the window's places is known: an error."""
    types = [tensor_type(f64, (1, 2, 8)), tensor_type(f64, (3, 2, symbol("K")))]
    attrs = {"strides": (1,), "padding": ((0, 0),), "lhs_dilation": (1,), "rhs_dilation": (1,)}
    graph = record(lambda v: [OPS["conv"](*v, **attrs, groups=1)], types)
    with pytest.raises(BatchingError, match="neither is a known number"):
        batch(graph, [True, True], symbol("N"))
    batch(graph, [True, True], 4)
