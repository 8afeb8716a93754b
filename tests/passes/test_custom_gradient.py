"""`custom_gradient`: the program says the gradient itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sley.ir.builder import Recording
from sley.ir.dtypes import f64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Region, Value
from sley.ir.isomorphic import isomorphic
from sley.ir.ops import elementwise as ew
from sley.ir.ops.base import TypeRuleError
from sley.ir.ops.custom import CUSTOM_GRADIENT
from sley.ir.parser import parse
from sley.ir.printer import print_graph
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.autodiff.rule import GradientError
from sley.passes.autodiff.transform import jvp, vjp
from sley.passes.batching.walk import batch
from sley.passes.simplify import simplify

VECTOR = tensor_type(f64, (3,))


def pull(saved: Value, result: Value, cotangent: Value) -> list[Value]:
    """Not the slope of sin: 5 x y g."""
    return [saved * result * cotangent * 5]


def region() -> Region:
    builder = Recording()
    params = tuple(Value(VECTOR) for _ in range(3))
    with builder:
        yields = tuple(pull(*params))
    return Region(params, tuple(builder.nodes), yields)


def graph(**attrs: str) -> Graph:
    """x -> (2 sin x with the gradient of `pull`)."""
    builder = Recording()
    x = builder.param(VECTOR, "x")
    with builder:
        value = ew.SIN(ew.STOP_GRADIENT(x))
        y = CUSTOM_GRADIENT(x, x, value, regions=(region(),), wanted=(True,), saved=1, **attrs)
        result = y * 2
    return builder.finish("f", [result])


X, G = np.array([0.3, 1.0, -2.0]), np.array([1.0, 2.0, 0.5])


def test_values_and_gradients() -> None:
    f = graph()
    verify(f)
    np.testing.assert_allclose(evaluate(f, [X])[0], 2 * np.sin(X))
    slope = 10 * X * np.sin(X)
    np.testing.assert_allclose(evaluate(vjp(f), [X, G])[0], slope * G)
    np.testing.assert_allclose(evaluate(jvp(f), [X, G])[1], slope * G)


def test_the_gradient_is_differentiated_as_what_it_says() -> None:
    """By the saved input, and by the result through `pull` again."""
    first = vjp(graph())
    found = evaluate(vjp(first), [X, G, np.ones(3)])
    y = np.sin(X)
    np.testing.assert_allclose(found[0], 10 * G * (y + X * (5 * X * y)))
    np.testing.assert_allclose(found[1], 10 * X * y)


def test_for_many_examples() -> None:
    rows = np.stack([X, 2 * X])
    for transformed in (graph(), vjp(graph())):
        arrays = [rows, *([np.stack([G, -G])] if len(transformed.params) > 1 else [])]
        made = batch(transformed, [True] * len(arrays), 2)
        verify(made)
        expected = [evaluate(transformed, [a[k] for a in arrays])[0] for k in range(2)]
        np.testing.assert_allclose(evaluate(made, arrays)[0], np.stack(expected))
    of_many = vjp(batch(graph(), [True], 2))
    np.testing.assert_allclose(
        evaluate(of_many, [rows, np.ones((2, 3))])[0], 10 * rows * np.sin(rows)
    )


def test_simplify_leaves_the_values() -> None:
    ops = [node.op.name for node in simplify(graph()).nodes]
    assert "custom_gradient" not in ops and "sin" in ops


def test_text() -> None:
    for f in (graph(), graph(refuses="it is a test")):
        again = parse(print_graph(f))
        assert isomorphic(f, again)


def test_a_refusal() -> None:
    f = graph(refuses="no second time")
    np.testing.assert_allclose(evaluate(f, [X])[0], 2 * np.sin(X))
    for transform in (vjp, jvp):
        with pytest.raises(GradientError, match="no second time"):
            transform(f)


@pytest.mark.parametrize(
    "attrs, message",
    [
        ({"wanted": (True,), "saved": 3}, "3 saved"),
        ({"wanted": (False,), "saved": 1}, "yields"),
        ({"wanted": (True,), "saved": 0}, "is given"),
    ],
)
def test_types(attrs: dict, message: str) -> None:
    def program(values: Sequence[Value]) -> None:
        CUSTOM_GRADIENT(*values, regions=(region(),), **attrs)

    builder = Recording()
    x = builder.param(VECTOR)
    with builder, pytest.raises(TypeRuleError, match=message):
        program([x, x, x])
