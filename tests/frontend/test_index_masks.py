"""Masks and bools in an index: their shapes are checked, a bool chooses along a new axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sley

ARRAY = np.arange(24.0).reshape(2, 3, 4)
MASK = np.array([True, False, True])


def _same(index: Any, of: Any = None) -> None:
    found, want = sley.tensor(ARRAY)[index if of is None else of], ARRAY[index]
    assert found.shape == want.shape
    np.testing.assert_array_equal(found.numpy(), want)


@pytest.mark.parametrize(
    "index",
    [
        True, False, (True, 1), (False, 1), (slice(None), True), (slice(None), False),
        ([0, 1], True), (True, [[1], [0]]), (None, True, slice(1)), (Ellipsis, False),
        (True, slice(None), [0, 2]), np.bool_(True),
    ],
    ids=str,
)  # fmt: skip
def test_bools(index: Any):
    _same(index)


def test_a_bool_gives_a_copy():
    x = sley.tensor(ARRAY)
    x[True].zero_()
    np.testing.assert_array_equal(x.numpy(), ARRAY)


def test_bools_in_a_compiled_function():
    x = sley.tensor(ARRAY)
    np.testing.assert_array_equal(sley.compile(lambda t: t[[0, 1], True])(x).numpy(), ARRAY)
    assert sley.compile(lambda t: t[False])(x).shape == (0, 2, 3, 4)


def test_a_mask_without_axes():
    _same(np.array(True), sley.tensor(True))
    _same(np.array(False), sley.tensor(False))


def test_masks_over_some_axes():
    _same((slice(None), MASK), (slice(None), sley.tensor(MASK)))
    _same((Ellipsis, MASK, slice(None)), (Ellipsis, sley.tensor(MASK), slice(None)))
    _same((1, [True, False, True]))


@pytest.mark.parametrize(
    "index",
    [MASK, (Ellipsis, MASK), (slice(None), slice(None), [True]), np.ones((2, 2), bool)],
    ids=["first", "last", "list", "two"],
)
def test_a_mask_of_another_shape(index: Any):
    x = sley.tensor(ARRAY)
    with pytest.raises(sley.SleyError, match="a mask of shape") as found:
        x[index]
    assert isinstance(found.value, IndexError) and "hint" in str(found.value)
    with pytest.raises(IndexError, match="a mask of shape"):
        x[index] = 0.0
    np.testing.assert_array_equal(x.numpy(), ARRAY)


def test_a_value_with_leading_axes_of_size_1():
    x = sley.zeros(4)
    x[sley.tensor([True, True, False, False])] = sley.tensor([[1.0, 2.0]])
    x[[3]] = sley.tensor([[5.0]])
    assert x.tolist() == [1.0, 2.0, 0.0, 5.0]
