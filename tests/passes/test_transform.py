"""Gradients of whole graphs."""

from __future__ import annotations

import numpy as np
import pytest
from programs import record

from sley.ir.dims import symbol
from sley.ir.dtypes import f64, i64
from sley.ir.evaluate import evaluate
from sley.ir.ops import elementwise as ew
from sley.ir.ops.reduction import REDUCE_SUM
from sley.ir.types import tensor_type
from sley.passes.autodiff.transform import value_and_grad, vjp

ROW = tensor_type(f64, (symbol("N"),))
COUNTS = ROW.with_dtype(i64)
X, Y, K = np.array([0.5, -1.0]), np.array([2.0, 3.0]), np.array([1, 2])


def program(values):
    x, k, _ = values
    return [ew.SIN(x) * ew.CAST(k, dtype=f64), k, ew.EXP(x)]


def test_vjp_takes_a_cotangent_for_each_float_result() -> None:
    graph = vjp(record(program, [ROW, COUNTS, ROW]))
    assert len(graph.params) == 5
    seeds = np.array([1.0, 10.0]), np.array([0.0, 2.0])
    dx, dunused = evaluate(graph, [X, K, Y, *seeds])
    np.testing.assert_allclose(dx, np.cos(X) * K * seeds[0] + np.exp(X) * seeds[1])
    np.testing.assert_array_equal(dunused, 0)


def test_value_and_grad_gives_both() -> None:
    graph = value_and_grad(record(lambda v: [REDUCE_SUM(ew.SIN(v[0]), axes=(0,))], [ROW]))
    value, gradient = evaluate(graph, [X])
    np.testing.assert_allclose(value, np.sin(X).sum())
    np.testing.assert_allclose(gradient, np.cos(X))


def test_the_transforms_compose() -> None:
    second = value_and_grad(value_and_grad(record(lambda v: [ew.SIN(v[0])], [ROW])))
    assert len(second.yields) == 3
    graph = vjp(vjp(record(lambda v: [ew.SIN(v[0])], [ROW])))
    one = np.ones(2)
    bent, _ = evaluate(graph, [X, one, one])
    np.testing.assert_allclose(bent, -np.sin(X))


def test_the_first_result_must_be_a_float() -> None:
    with pytest.raises(TypeError, match=r"first result is i64\[N\]"):
        value_and_grad(record(lambda v: [v[0]], [COUNTS]))
