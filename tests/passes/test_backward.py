"""`backward`: which paths it follows, what it sums, where its nodes say they come from."""

from __future__ import annotations

import numpy as np
import pytest
from programs import ones, record, run_eager, sum_all

from sley.ir.builder import Concrete, Evaluating, Recording
from sley.ir.dtypes import bf16, f16, f32, f64, i64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Location, full
from sley.ir.ops import elementwise as ew
from sley.ir.ops.base import TypeRuleError
from sley.ir.ops.reduction import REDUCE_SUM
from sley.ir.types import tensor_type
from sley.passes.autodiff.backward import GradientError, backward

X = np.array([0.5, -1.5, 2.0])


def gradients(function, *arrays, wrt=None):
    """The gradients of the sum of `function` with respect to its arguments, as arrays or None."""
    with Evaluating(record=True):
        values = [Concrete(np.asarray(a)) for a in arrays]
        total = sum_all(function(*values))
        found = backward([total], [ones(total)], values)
    return [None if g is None else g.array for g in found]


def test_uses_are_summed() -> None:
    (g,) = gradients(lambda x: x * x + x * 3 - x, X)
    np.testing.assert_allclose(g, 2 * X + 2)


def test_no_path_gives_none() -> None:
    g, h = gradients(lambda x, y: x * 2, X, X)
    assert g is not None and h is None


def test_stop_gradient_ends_the_path() -> None:
    (g,) = gradients(lambda x: x * ew.STOP_GRADIENT(x), X)
    np.testing.assert_array_equal(g, X)
    (g,) = gradients(lambda x: ew.STOP_GRADIENT(x * x), X)
    assert g is None


def test_integers_carry_no_gradient() -> None:
    (g,) = gradients(lambda x: ew.CAST(ew.CAST(x, dtype=i64), dtype=f64) * 2, X)
    assert g is None
    (g,) = gradients(lambda x: x + 1, np.arange(3))
    assert g is None


def test_an_output_that_is_wanted_gets_its_own_cotangent() -> None:
    with Evaluating(record=True):
        x = Concrete(X)
        y = x * 2
        z = ew.EXP(y)
        seed = full(z.type, 1)
        gx, gy, gz = backward([z, y], [seed, seed], [x, y, z])
    np.testing.assert_allclose(gz.array, 1)
    np.testing.assert_allclose(gy.array, np.exp(2 * X) + 1)
    np.testing.assert_allclose(gx.array, 2 * np.exp(2 * X) + 2)


def test_the_walk_goes_only_where_it_may() -> None:
    with Evaluating(record=True):
        x = Concrete(X)
        y = x * 2
        z = y * x
        found = backward([z], [ones(z)], [x, y], lambda value: value is not y)
    np.testing.assert_allclose(found[0].array, 2 * X, err_msg="the path through y is closed")
    np.testing.assert_allclose(found[1].array, X, err_msg="y itself is still a place to end")


def test_unwanted_cotangents_are_not_computed() -> None:
    with Recording() as builder:
        x = builder.param(tensor_type(f32, (3,)))
        y = builder.param(tensor_type(f32, (3,)))
        z = ew.POW(x, y)
        seed = ones(z)
        backward([z], [seed], [x])
    assert "log" not in [n.op.name for n in builder.nodes]


def test_an_output_without_a_cotangent_does_not_count() -> None:
    with Evaluating(record=True):
        x = Concrete(X)
        y, z = ew.EXP(x), ew.SIN(x)
        (g,) = backward([y, z], [None, ones(z)], [x])
    np.testing.assert_allclose(g.array, np.cos(X))


def test_a_chain_of_any_length() -> None:
    with Recording() as builder:
        x = y = builder.param(tensor_type(f32, ()))
        for _ in range(20_000):
            y = -y
        (g,) = backward([y], [ones(y)], [x])
    graph = builder.finish("chain", [g])
    assert evaluate(graph, [np.float32(3)])[0] == 1


def test_nodes_carry_the_line_of_what_they_differentiate() -> None:
    lines = iter([Location("model.py", n, "forward") for n in (1, 2)])
    with Recording(locate=lambda: next(lines)) as builder:
        x = builder.param(tensor_type(f32, (3,)))
        y = ew.TANH(ew.EXP(x))
        here = Location("train.py", 9, "step")
        builder.locate = lambda: here
        seed = full(y.type, 1)
        first = len(builder.nodes)
        backward([y], [seed], [x])
        after = ew.NEG(x)
    found = [n.line.line for n in builder.nodes[first:-1]]
    assert sorted(set(found), reverse=True) == [2, 1] and found == sorted(found, reverse=True)
    assert after.node.line is here


def test_a_pass_without_lines_gets_them_too() -> None:
    line = Location("model.py", 4, "forward")
    with Recording() as builder:
        x = builder.param(tensor_type(f32, (3,)))
        builder.line = line
        y = ew.EXP(x)
        builder.line = None
        seed = full(y.type, 1)
        backward([y], [seed], [x])
    assert [n.line for n in builder.nodes] == [line, None, None, line]
    assert builder.locate is None


def test_bits_of_a_float_have_no_gradient() -> None:
    with Evaluating(record=True):
        x = Concrete(X)
        y = ew.BITCAST(x, dtype=f64)
        with pytest.raises(GradientError, match="bitcast has no gradient: it works on bits"):
            backward([y], [ones(y)], [x])


def test_a_cotangent_of_another_type_is_refused() -> None:
    with Evaluating(record=True):
        x = Concrete(X)
        y = ew.EXP(x)
        with pytest.raises(TypeRuleError, match=r"cotangent f32\[3\] for a value f64\[3\]"):
            backward([y], [full(tensor_type(f32, (3,)), 1)], [x])


@pytest.mark.parametrize("narrow", [f16, bf16, f32], ids=lambda d: d.name)
def test_casts_give_gradients_in_the_operands_dtype(narrow) -> None:
    graph = record(
        lambda v: backward([y := ew.CAST(v[0], dtype=f64)], [ones(y) * 3], [v[0]]),
        [tensor_type(narrow, (2,))],
    )
    (g,) = evaluate(graph, [np.ones(2, narrow.numpy)])
    assert g.dtype == narrow.numpy and list(g) == [3, 3]


def test_derivatives_of_any_order() -> None:
    def program(values):
        (x,) = values
        results = [y := ew.SIN(x)]
        for _ in range(4):
            (y,) = backward([y], [ones(y)], [x])
            results.append(y)
        return results

    found = run_eager(program, [X])
    for array, expected in zip(found, [np.sin, np.cos, np.sin, np.cos, np.sin], strict=True):
        np.testing.assert_allclose(np.abs(array), np.abs(expected(X)), rtol=1e-12)
    np.testing.assert_allclose(found[4], np.sin(X), rtol=1e-12)


def test_sums_run_in_a_fixed_order() -> None:
    def program(values):
        x = values[0]
        y = REDUCE_SUM(ew.EXP(x) * 0.1 + ew.SIN(x) * 0.7 + x / 3, axes=(0,))
        return backward([y], [ones(y)], [x])

    texts = {str(record(program, [tensor_type(f32, (7,))])) for _ in range(3)}
    assert len(texts) == 1
