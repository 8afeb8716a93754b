"""Forward mode: every op against central differences and against reverse mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from op_samples import ALL_SAMPLES, Sample
from programs import RUNS, Arrays, record, sum_all

from sley.ir.builder import Recording
from sley.ir.dtypes import bool_, f64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Region, Value, full
from sley.ir.literal import array_type
from sley.ir.ops import elementwise as ew
from sley.ir.ops.base import OPS
from sley.ir.ops.control_flow import BARRIER, CALL, COND, SCAN, WHILE
from sley.ir.types import TensorType, tensor_type
from sley.ir.verifier import verify
from sley.passes.autodiff.backward import backward
from sley.passes.autodiff.forward import forward
from sley.passes.autodiff.rule import NotDifferentiable, zeros
from sley.passes.autodiff.table import GRADIENTS
from sley.passes.autodiff.transform import jvp, vjp

SMOOTH = [s for s in ALL_SAMPLES if s.smooth]
DIFFERENTIABLE = [
    s
    for s in ALL_SAMPLES
    if "f64" in s.dtypes and not isinstance(GRADIENTS.get(s.op), NotDifferentiable)
]


def results_of(sample: Sample, operands: Sequence[Value]) -> tuple[Value, ...]:
    made = OPS[sample.op](*operands, **sample.attrs)
    return made if isinstance(made, tuple) else (made,)


def directions(sample: Sample) -> tuple[list[np.ndarray], list[int], list[np.ndarray]]:
    """Operands, which of them are floats, and a random direction for each of those."""
    operands = sample.arrays("f64")
    moving = [i for i, a in enumerate(operands) if a.dtype == np.float64]
    rng = np.random.default_rng(11)
    return operands, moving, [np.asarray(rng.normal(size=operands[i].shape)) for i in moving]


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_tangents_are_central_differences(sample: Sample, run: Callable) -> None:
    operands, moving, along = directions(sample)
    step = 1e-6

    def tangents(values: Sequence[Value]) -> list[Value]:
        own = values[: len(operands)]
        given: list[Value | None] = [None] * len(operands)
        for place, tangent in zip(moving, values[len(operands) :], strict=True):
            given[place] = tangent
        results = [v for v in results_of(sample, own) if v.type.dtype.is_inexact]
        found = forward(own, given, results)
        return [zeros(v.type) if t is None else t for v, t in zip(results, found, strict=True)]

    def moved(sign: int) -> list[np.ndarray]:
        shifted = list(operands)
        for place, direction in zip(moving, along, strict=True):
            shifted[place] = operands[place] + sign * step * direction
        with np.errstate(all="ignore"):
            found = OPS[sample.op].evaluate(shifted, sample.attrs)
        return [a for a in found if a.dtype == np.float64]

    found = run(tangents, [*operands, *along])
    for tangent, high, low in zip(found, moved(1), moved(-1), strict=True):
        np.testing.assert_allclose(tangent, (high - low) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sample", DIFFERENTIABLE, ids=str)
def test_forward_is_the_transpose_of_reverse(sample: Sample) -> None:
    """<w, J t> = <J^T w, t>, at kinks and ties as well: both read one rule."""
    operands = sample.arrays("f64")
    types = [array_type(a) for a in operands]
    graph = record(lambda values: results_of(sample, values), types)
    if not any(v.type.dtype.is_inexact for v in (*graph.params, *graph.yields)):
        return
    pushed, pulled = jvp(graph), vjp(graph)
    verify(pushed)
    rng = np.random.default_rng(3)

    def like(values: Sequence[Value]) -> list[np.ndarray]:
        moving = [v.type for v in values if v.type.dtype.is_inexact]
        return [
            (rng.normal(size=t.shape) + (1j * rng.normal(size=t.shape) if t.dtype.is_complex else 0)
             ).astype(t.dtype.numpy)
            for t in moving
        ]  # fmt: skip

    along, weights = like(graph.params), like(graph.yields)
    tangents = evaluate(pushed, [*operands, *along])[len(graph.yields) :]
    cotangents = evaluate(pulled, [*operands, *weights])
    narrow = any(v.type.dtype.is_low_precision for v in graph.yields)
    left, right = inner(weights, tangents), inner(cotangents, along)
    np.testing.assert_allclose(left, right, rtol=1e-2 if narrow else 1e-9, atol=1e-12)


def inner(left: Arrays, right: Arrays) -> float:
    """The real inner product, of complex numbers as well."""
    pairs = zip(left, right, strict=True)
    return float(sum(np.sum((np.conj(a) * b).real.astype(np.float64)) for a, b in pairs))


def test_only_nodes_that_tangents_need_are_recorded() -> None:
    def program(values: Sequence[Value]) -> list[Value]:
        x, t = values
        return [v for v in forward([x], [t], [ew.SIN(x)]) if v is not None]

    x = np.array([0.3, 2.0])
    graph = record(program, [array_type(x)] * 2)
    assert [n.op.name for n in graph.nodes] == ["sin", "cos", "mul"]
    (found,) = evaluate(graph, [x, np.ones(2)])
    np.testing.assert_allclose(found, np.cos(x))


def test_second_order_in_every_order() -> None:
    """Of x**3 along t: forward over forward, forward over reverse and reverse over forward."""

    def cube(x: Value) -> Value:
        return x * x * x

    def push(f: Callable[[Value], Value], t: Value) -> Callable[[Value], Value]:
        def tangent(x: Value) -> Value:
            (found,) = forward([x], [t], [f(x)])
            assert found is not None
            return found

        return tangent

    def pull(f: Callable[[Value], Value], t: Value) -> Callable[[Value], Value]:
        def cotangent(x: Value) -> Value:
            (found,) = backward([f(x)], [t], [x])
            assert found is not None
            return found

        return cotangent

    x, t = np.array([0.5, -2.0]), np.array([1.5, 3.0])
    for outer in (push, pull):
        for inner_transform in (push, pull):
            graph = record(
                lambda v, o=outer, i=inner_transform: [o(i(cube, v[1]), v[1])(v[0])],
                [array_type(x)] * 2,
            )
            np.testing.assert_allclose(evaluate(graph, [x, t])[0], 6 * x * t * t)


def test_no_path_gives_none() -> None:
    def program(values: Sequence[Value]) -> list[Value]:
        x, t = values
        found = forward([x], [t], [ew.STOP_GRADIENT(x), ew.LT(x, t), ew.NEG(t)])
        assert found == [None, None, None]
        return [x]

    record(program, [array_type(np.zeros(2))] * 2)


def test_an_input_on_the_way_is_independent() -> None:
    def program(values: Sequence[Value]) -> list[Value]:
        x, t = values
        y = x * x
        (found,) = forward([x, y], [t, None], [y * x])
        assert found is not None
        return [found]

    x = np.array([3.0])
    graph = record(program, [array_type(x)] * 2)
    np.testing.assert_allclose(evaluate(graph, [x, np.ones(1)])[0], [9.0])


# Control flow

SCALAR, VECTOR = tensor_type(f64), tensor_type(f64, (2,))


def region_of(types: Sequence[TensorType], program: Callable) -> Region:
    builder = Recording()
    with builder:
        params = [builder.param(t) for t in types]
        yields = tuple(program(*params))
    return Region(tuple(params), tuple(builder.nodes), yields)


def check_differences(program: Callable, types: Sequence[TensorType], seed: int = 0) -> None:
    """Tangents of a program with control flow, of all parameters and of each alone."""
    rng = np.random.default_rng(seed)
    graph = record(program, types)
    arrays = [np.asarray(rng.uniform(0.5, 1.5, t.shape)) for t in types]
    pushed, step = jvp(graph), 1e-6
    verify(pushed)
    for chosen in [range(len(types)), *([k] for k in range(len(types)))]:
        along = [
            np.asarray(rng.normal(size=t.shape) if k in chosen else np.zeros(t.shape))
            for k, t in enumerate(types)
        ]
        high, low = (
            evaluate(graph, [a + s * step * d for a, d in zip(arrays, along, strict=True)])
            for s in (1, -1)
        )
        floats = [a for a in high if a.dtype == np.float64]
        found = evaluate(pushed, [*arrays, *along])[len(high) :]
        assert len(found) == len(floats)
        for tangent, a, b in zip(found, high, low, strict=True):
            np.testing.assert_allclose(tangent, (a - b) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    body = region_of(
        [VECTOR, VECTOR, SCALAR, VECTOR],
        lambda c, h, s, x: (h * c + x, s + sum_all(h), h * x, ew.SIN(c)),
    )
    attrs = {"length": 4, "consts": 1, "carries": 2, "reverse": reverse}
    types = [VECTOR, VECTOR, SCALAR, tensor_type(f64, (4, 2))]
    check_differences(lambda v: SCAN(*v, regions=(body,), **attrs), types)


def test_while() -> None:
    condition = region_of([SCALAR, SCALAR], lambda c, x: [ew.LT(x, full(SCALAR, 9))])
    body = region_of([SCALAR, SCALAR], lambda c, x: [x * c + x])
    check_differences(lambda v: [WHILE(*v, regions=(condition, body), consts=1)], [SCALAR, SCALAR])


@pytest.mark.parametrize("flag", [True, False])
def test_cond(flag: bool) -> None:
    then = region_of([VECTOR, SCALAR], lambda x, y: [ew.EXP(x), y * y, full(SCALAR, 1)])
    otherwise = region_of([VECTOR, SCALAR], lambda x, y: [-x, sum_all(x), full(SCALAR, 2)])

    def program(v: Sequence[Value]) -> Sequence[Value]:
        return COND(full(tensor_type(bool_), flag), *v, regions=(then, otherwise))

    check_differences(program, [VECTOR, SCALAR])


def test_call_and_barrier() -> None:
    body = region_of([VECTOR, VECTOR], lambda x, y: [x * y, ew.SIN(x)])
    check_differences(
        lambda v: CALL(*BARRIER(*v), regions=(body,), recompute=True), [VECTOR, VECTOR]
    )
