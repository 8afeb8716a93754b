"""Functions recorded as closed graphs, in eager code and inside of other recordings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import sley
from sley import TraceError
from sley.frontend.apply import wrap
from sley.frontend.context import ambient
from sley.frontend.subtrace import Param, record
from sley.frontend.tape import EagerValue
from sley.frontend.trace import Trace
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.evaluate import evaluate
from sley.ir.types import tensor_type
from sley.ir.verifier import verify

V = Param(tensor_type(f32, (3,)))
X = np.array([1, 2, 3], np.float32)


def run(recorded, *arrays):
    """What the recorded function gives for these arguments, as the eager mode would."""
    verify(recorded.graph)
    values = [v.array for v in recorded.operands()]
    found = evaluate(recorded.graph, [*arrays, *values])
    tensors = [wrap(EagerValue(a, v.type)) for a, v in zip(found, recorded.graph.yields)]
    count = len(recorded.tracked)
    return recorded.finish(tensors[:count], tensors[count:])


def test_results_keep_their_structure() -> None:
    @dataclasses.dataclass
    class Pair:
        left: sley.Tensor
        right: object

    recorded = record(lambda x: {"a": Pair(x * 2, "text"), "b": (None, 3, x)}, [V])
    found = run(recorded, X)
    assert found["a"].right == "text" and found["b"][:2] == (None, 3)
    np.testing.assert_array_equal(found["a"].left.numpy(), X * 2)
    np.testing.assert_array_equal(found["b"][2].numpy(), X)


def test_captures_are_the_tensors_that_are_read() -> None:
    one, two, three = (sley.tensor(X * k) for k in (1, 2, 3))

    def f(x):
        three.sum()  # nobody reads it
        return x * one + two[1:].sum() + one, two.shape[0]

    recorded = record(f, [V])
    assert [t is u for t, u in zip(recorded.captures, (one, two), strict=True)] == [True, True]
    np.testing.assert_array_equal(run(recorded, X)[0].numpy(), X * X + 10 + X)


def test_a_view_that_is_not_dense_stays_so() -> None:
    columns = sley.tensor(np.ones((3, 2), np.float32)).T
    strides = []
    record(lambda x: strides.append((columns.stride(), columns.is_contiguous())), [V])
    assert strides == [((1, 2), False)]


def test_what_is_made_inside_may_be_written() -> None:
    def f(x):
        y = sley.zeros(3)
        row = y[1:]
        y += x
        row.mul_(10)
        y[0] = 7
        return y

    np.testing.assert_array_equal(run(record(f, [V]), X).numpy(), [7, 20, 30])


def test_tracking_follows_the_parameters() -> None:
    weight = sley.ones(3, requires_grad=True)
    seen = []

    def f(x):
        seen.append((x.requires_grad, x.is_leaf, weight.is_leaf))
        return x * 2, x * weight, x.detach() * 2

    assert record(f, [V]).tracked == (False, True, False)
    assert record(f, [V._replace(tracked=True)]).tracked == (True, True, False)
    assert seen == [(False, True, True), (True, False, True)]
    with sley.no_grad():
        assert record(f, [V]).tracked == (False, False, False)


def test_gradients_inside() -> None:
    weight = sley.tensor(X, requires_grad=True)

    def f(x):
        z = x.detach().requires_grad_()
        (z * weight * z).sum().backward(inputs=[z])
        (g,) = sley.autograd.grad((x * weight).sum(), weight)
        return z.grad, g

    z, g = run(record(f, [V]), X)
    np.testing.assert_array_equal(z.numpy(), 2 * X * X)
    np.testing.assert_array_equal(g.numpy(), X)
    assert weight.grad is None


def test_draws_move_the_state_when_finished() -> None:
    sley.manual_seed(3)
    recorded = record(lambda x: x + sley.rand(3) + sley.rand(()), [V])
    assert list(recorded.draws.values()) == [2]
    assert sley.get_rng_state().tolist() == [3, 0], "recording draws nothing"
    found = run(recorded, X)
    assert sley.get_rng_state().tolist() == [3, 2]
    sley.manual_seed(3)
    np.testing.assert_array_equal((sley.tensor(X) + sley.rand(3) + sley.rand(())).numpy(), found)


def test_recordings_nest() -> None:
    outside = sley.tensor(X)

    def inner(y):
        return y * outside

    def outer(x):
        local = x + 1
        found = record(lambda y: inner(y) + local, [V])
        assert len(found.captures) == 2
        return local, found

    example = sley.tensor(X)
    with Trace() as trace:
        argument = trace.add_input(example)
        recorded = record(lambda x: outer(x)[0] * argument, [V])
        assert [t.storage.trace is trace for t in recorded.captures] == [True]
    assert ambient.trace is None


def test_an_error_leaves_nothing_behind() -> None:
    module = sley.nn.Linear(3, 3)

    def f(x):
        module.eval()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        record(f, [V])
    assert ambient.trace is None and module.training


def test_tensors_of_a_recording_end_with_it() -> None:
    kept = []
    record(lambda x: kept.append(x + 1), [V])
    with pytest.raises(TraceError, match="has ended"):
        kept[0] + 1
    with pytest.raises(TraceError, match="has ended"):
        record(lambda x: x + kept[0], [V])


def test_sizes_are_those_of_the_surrounding_trace() -> None:
    example = sley.zeros(4, 2)
    with Trace({"N": 4}) as trace:
        x = trace.add_input(example, (symbol("N"), 2))
        recorded = record(lambda y: (y.sum() / x.shape[0], y.shape[0]), [Param(x.spec)])
        _, size = recorded.finish([x])
        assert size.trace is trace and str(size) == "N"
        assert record(lambda y: y if y.shape[0] > 2 else y * 0, [Param(x.spec)]).graph.nodes == ()
        assert len(trace.guards) == 1
