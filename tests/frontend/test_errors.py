"""Errors say what, where and what instead; the same type eager and recorded."""

from __future__ import annotations

import contextlib
import functools
import pickle

import numpy as np
import pytest
from recording import record

import sley
import sley.nn.functional as F
from sley.frontend.apply import apply, elementwise
from sley.frontend.construct import tensor
from sley.frontend.errors import (
    ArgumentError,
    DTypeError,
    IndexingError,
    ShapeError,
    SleyError,
    user_location,
)
from sley.frontend.tensor import normal_axis
from sley.frontend.viewing import permute_view, reshape_view

A = np.zeros((2, 3), np.float32)

WRONG = [
    (lambda x: x + tensor(np.zeros(4, np.float32)), ShapeError, r"add.*\[2, 3\] and \[4\]"),
    (lambda x: reshape_view(x, (5,)), ShapeError, r"\[2, 3\].*\[5\]"),
    (lambda x: permute_view(x, (0, 2)), IndexingError, "axis 2"),
    (lambda x: permute_view(x, (0, 0)), ArgumentError, "once"),
    (lambda x: x & x, DTypeError, "float32"),
    (lambda x: elementwise("exp", tensor([1])), DTypeError, "int64"),
    (lambda x: x[2], IndexingError, "out of range"),
    (lambda x: x[0, 0, 0], IndexingError, "3 indices"),
    (lambda x: apply("add", [x, tensor([1])]), DTypeError, "add"),
    (lambda x: apply("add", [x, x[0]]), ShapeError, r"f32\[3\]"),
    (lambda x: apply("reduce_sum", [x], axes=(5,)), ShapeError, "reduce_sum"),
    (lambda x: x.add_(tensor(np.zeros((4, 2, 3)))), ShapeError, "add_"),
    (lambda x: sley.stack([x, x[:, :2]]), ShapeError, r"stack of f32\[2, 3\].*axis 1"),
    (lambda x: sley.cat([x, x[:, :2]]), ShapeError, r"cat of f32\[2, 3\].*axis 1"),
    (lambda x: F.linear(x, x[:, :2]), ShapeError, "linear.*3 features.*takes 2"),
    (lambda x: tensor("text"), DTypeError, "str"),
    (lambda x: elementwise("where", x, x, x, conditions=1), DTypeError, "condition"),
]


@pytest.mark.parametrize("mode", ["eager", "recorded"])
@pytest.mark.parametrize("program, kind, message", WRONG)
def test_what_and_where(program, kind, message, mode):
    x = tensor(A)
    with pytest.raises(kind, match=message) as caught:
        record(program, x) if mode == "recorded" else program(x)
    error = caught.value
    assert isinstance(error, SleyError) and type(error) is kind
    assert error.location.file == __file__ and error.location.function == "<lambda>"
    assert f"{__file__}:{error.location.line}" in str(error)
    assert x.tolist() == A.tolist() and x.storage.version == 0


def test_the_source_line_is_shown_with_carets():
    x = tensor(A)
    with pytest.raises(ShapeError) as caught:
        y = x * 2.0 + tensor([1.0, 2.0])  # noqa: F841
    lines = str(caught.value).splitlines()
    at = next(i for i, line in enumerate(lines) if "y = x * 2.0" in line)
    marked = lines[at][lines[at + 1].index("^") : lines[at + 1].rindex("^") + 1]
    assert marked == "x * 2.0 + tensor([1.0, 2.0])"
    assert lines[-1].startswith("  hint: ")


def test_standard_types():
    assert issubclass(ShapeError, ValueError) and issubclass(DTypeError, TypeError)
    assert issubclass(IndexingError, IndexError) and issubclass(ArgumentError, ValueError)


def test_errors_travel_between_processes():
    with pytest.raises(ShapeError) as caught:
        reshape_view(tensor(A), (5,))
    back = pickle.loads(pickle.dumps(caught.value))
    assert type(back) is ShapeError and str(back) == str(caught.value)
    assert back.location == caught.value.location and back.hint == caught.value.hint


def test_locations_are_interned_and_exact():
    first = [user_location(0) for _ in range(2)]
    assert first[0] is first[1] and first[0].file == __file__
    here = user_location(0)
    there = user_location(0)
    assert (
        there.line == here.line + 1
        and here.function == test_locations_are_interned_and_exact.__name__
    )


def test_decorators_do_not_hide_the_line():
    @contextlib.contextmanager
    def entered():
        yield

    @entered()
    def inside():
        return user_location(0)

    assert inside().function == "inside"
    assert functools.reduce(lambda a, b: user_location(0), [1, 2]).function == "<lambda>"


def test_axes():
    assert normal_axis(-1, 3) == 2 and normal_axis(0, 0) == 0
    with pytest.raises(IndexingError, match="axis 3"):
        normal_axis(3, 3)
