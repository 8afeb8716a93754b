"""What loops and branches refuse, eager and recorded alike, and what the messages say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from recording import record

import sley
from sley import ArgumentError, AutogradError, DTypeError, ShapeError, TraceError

X = sley.tensor([1.0, 2.0, 3.0])
MODES = {"eager": lambda f: f(X), "recorded": lambda f: record(f, X)}


def refused(function: Callable[[Any], Any], kind: type[Exception], *texts: str) -> None:
    """Both modes raise `kind`; the message has all `texts` and the line in this file."""
    for run in MODES.values():
        with pytest.raises(kind) as caught:
            run(function)
        for text in (*texts, "test_control_flow_errors.py"):
            assert text in str(caught.value), str(caught.value)


def grows(carry, x):
    return sley.stack([carry, x]), None


def test_a_carry_of_another_shape() -> None:
    refused(lambda x: sley.scan(grows, 0.0, x), DTypeError, "f32[2]", "expected f32[]", "grows")


def test_a_carry_of_another_dtype() -> None:
    def f(n, x):
        return n + x, None

    refused(lambda x: sley.scan(f, 0, x), DTypeError, "f32[]", "expected i64[]", "begin with")


def test_a_carry_of_another_structure() -> None:
    refused(
        lambda x: sley.scan(lambda c, x: ((c, c), None), 0.0, x), DTypeError, "(*, *)", "expected *"
    )


def test_the_place_in_a_tree_is_named() -> None:
    refused(
        lambda x: sley.scan(lambda c, x: ({"a": c["a"], "b": c["a"]}, None), {"a": 0.0, "b": 1}, x),
        DTypeError, "at ['b']", "f32[]", "expected i64[]",
    )  # fmt: skip


def test_ys_of_unequal_types() -> None:
    def f(n, x):
        return n + 1, n * 1.0 if int(n) else n

    with pytest.raises(DTypeError, match="y of f"):
        sley.scan(f, 0, X)


def test_no_pair() -> None:
    refused(lambda x: sley.scan(lambda c, x: c, 0.0, x), DTypeError, "(carry, y)", "a Tensor")


def test_lengths() -> None:
    def f(c, x):
        return c, None

    refused(lambda x: sley.scan(f, 0.0, (x, x[:2])), ShapeError, "f32[2]", "length is 3")
    refused(lambda x: sley.scan(f, 0.0, x, length=4), ShapeError, "length is 4")
    refused(lambda x: sley.scan(f, 0.0), ShapeError, "xs or a length")
    refused(lambda x: sley.scan(f, 0.0, x[0]), ShapeError, "0-d")
    refused(lambda x: sley.scan(f, 0.0, length=-1), ArgumentError, "-1")
    refused(lambda x: sley.scan(f, 0.0, length=x.sum()), ArgumentError, "while_loop")
    refused(lambda x: sley.scan(f, 0.0, length=2.0), ArgumentError, "float")


def test_leaves_that_are_no_data() -> None:
    refused(lambda x: sley.scan(lambda c, x: (c, None), "a", x), DTypeError, "not of a str")


def writes_to_its_carry(c, x):
    c.add_(x)
    return c, None


def test_arguments_are_not_written_in_place() -> None:
    refused(
        lambda x: sley.scan(writes_to_its_carry, sley.zeros(()), x),
        TraceError, "argument", "in place", "writes_to_its_carry", "clone()",
    )  # fmt: skip
    refused(
        lambda x: sley.while_loop(lambda v: v.sum() < 9, lambda v: v.mul_(2), x * 1),
        TraceError, "in place",
    )  # fmt: skip
    refused(
        lambda x: sley.cond(x.sum() > 0, lambda v: v.mul_(2), lambda v: v, x * 1),
        TraceError, "in place",
    )  # fmt: skip


def test_tensors_from_outside_are_not_written_in_a_recorded_body() -> None:
    norm = sley.nn.BatchNorm1d(2)

    def body(c, x):
        return norm(c), None

    with pytest.raises(TraceError) as caught:
        record(lambda x: sley.scan(body, sley.ones(4, 2), x), X)
    for text in ("from outside", "body", "carry the value", "test_control_flow_errors.py"):
        assert text in str(caught.value)
    assert int(norm.num_batches_tracked) == 0


def test_attributes_are_not_set_in_a_recorded_body() -> None:
    module = sley.nn.Identity()
    module.count = 0

    def body(c, x):
        module.count = module.count + 1
        return c, None

    with pytest.raises(TraceError, match="the attribute 'count' of a Identity is set"):
        record(lambda x: sley.scan(body, 0.0, x), X)
    assert module.count == 0


def test_attributes_may_change_for_a_while() -> None:
    module = sley.nn.Linear(3, 3)

    def body(c, x):
        module.eval()
        c = module(c) * (2.0 if module.training else 1.0)
        module.train()
        return c, None

    record(lambda x: sley.scan(body, x, length=2)[0], X)
    assert module.training


def test_numbers_of_traced_values() -> None:
    def body(c, x):
        return c + (1 if x > 0 else 2), None

    with pytest.raises(TraceError, match="its truth decides a Python branch"):
        record(lambda x: sley.scan(body, 0.0, x), X)


def test_gradients_do_not_accumulate_inside() -> None:
    weight = sley.ones(3, requires_grad=True)

    def body(c, x):
        (c * weight).sum().backward()
        return c, None

    with pytest.raises(TraceError, match=r"\.grad of a tensor f32\[3\] from outside"):
        record(lambda x: sley.scan(body, x, length=2), X)
    assert weight.grad is None


def test_what_a_body_stores_cannot_be_used_later() -> None:
    kept = []

    def body(c, x):
        kept.append(c)
        return c + x, None

    with pytest.raises(TraceError, match="return it"):
        record(lambda x: sley.scan(body, 0.0, x)[0] + kept[0], X)


def test_while_loop() -> None:
    def grown(v):
        return sley.cat([v, v])

    refused(
        lambda x: sley.while_loop(lambda v: v.sum() < 99, grown, x),
        DTypeError, "f32[6]", "expected f32[3]", "grown",
    )  # fmt: skip
    refused(lambda x: sley.while_loop(lambda v: v, lambda v: v, x), DTypeError, "f32[3]", "bool")
    refused(lambda x: sley.while_loop(lambda v: 1, lambda v: v, x), DTypeError, "a int", "bool")
    with pytest.raises(TraceError, match="draws random numbers"):
        record(lambda x: sley.while_loop(lambda v: sley.rand(()) < 0.5, lambda v: v, x), X)


def test_while_loop_has_no_gradient_in_a_program() -> None:
    def loss(x):
        x = x.detach().requires_grad_()
        y = sley.while_loop(lambda v: v.sum() < 99, lambda v: v * 2, x)
        y.sum().backward()
        return x.grad

    assert loss(X).tolist() == [32.0] * 3  # an eager loop is on the tape
    with pytest.raises(AutogradError, match=r"number of its turns.*scan or sley\.fori_loop"):
        record(loss, X)


def test_cond() -> None:
    def one(x):
        return x, x

    def other(x):
        return x, x.sum()

    refused(
        lambda x: sley.cond(x.sum() > 0, one, other, x), DTypeError, "one", "other", "at [1]",
        "f32[3]", "f32[]",
    )  # fmt: skip
    refused(lambda x: sley.cond(x.sum() < 0, one, lambda x: x, x), DTypeError, "(*, *)", "a branch")
    refused(lambda x: sley.cond(x > 0, one, one, x), DTypeError, "bool[3]", ".any()")
    refused(lambda x: sley.cond(x[0], one, one, x), DTypeError, "f32[]")
    refused(lambda x: sley.cond(1, one, one, x), DTypeError, "a int")


def test_fori_loop() -> None:
    refused(lambda x: sley.fori_loop(0, 2.5, lambda i, c: c, x), DTypeError, "a float")
    refused(lambda x: sley.fori_loop(0, x[0], lambda i, c: c, x), DTypeError, "f32[]")
    refused(lambda x: sley.fori_loop(0, x.long(), lambda i, c: c, x), ArgumentError, "i64[3]")
    refused(lambda x: sley.fori_loop(0, 2, lambda i, c: c[0], x), DTypeError, "f32[]", "<lambda>")
