"""Gradients where the slope is not unique or the plain formula fails: the stated rule."""

from __future__ import annotations

import numpy as np
import pytest
from programs import RUNS, ones

from sley.ir.ops import elementwise as ew
from sley.ir.ops.indexed import SCATTER
from sley.ir.ops.reduction import CUMMAX, CUMPROD, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD
from sley.passes.autodiff.backward import backward

INF, NAN = np.inf, np.nan


@pytest.fixture(params=RUNS.values(), ids=RUNS)
def slopes(request):
    """slopes(function, *arrays): the gradients of the sum of the function's result."""

    def run(function, *arrays, weights=None):
        def program(values):
            operands = values[: len(arrays)]
            y = function(*operands)
            seed = ones(y) if weights is None else values[-1]
            return backward([y], [seed], [v for v in operands if v.type.dtype.is_float])

        given = [np.asarray(a) for a in arrays]
        found = request.param(program, given if weights is None else [*given, np.array(weights)])
        return [g.tolist() for g in found]

    return run


def test_abs_and_sign_are_flat_at_zero(slopes):
    assert slopes(ew.ABS, [-2.0, 0.0, -0.0, 3.0]) == [[-1, 0, 0, 1]]
    assert slopes(ew.SIGN, [-2.0, 0.0, 3.0]) == [[0, 0, 0]]


def test_equal_operands_of_maximum_share(slopes):
    assert slopes(ew.MAXIMUM, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert slopes(ew.MINIMUM, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 1, 0], [0.5, 0, 1]]


def test_infinite_cotangents_stay_on_their_side(slopes):
    found = slopes(ew.MAXIMUM, [1.0, 2.0], [0.0, 3.0], weights=[INF, INF])
    assert found == [[INF, 0], [0, INF]]
    found = slopes(ew.WHERE, [True, False], [1.0, 1.0], [2.0, 2.0], weights=[INF, INF])
    assert found == [[INF, 0], [0, INF]]


def test_pow_at_zero(slopes):
    base, exponent = slopes(ew.POW, [0.0, 0.0, 0.0, 3.0], [0.0, 1.0, 2.0, 0.0])
    assert base == [0, 1, 0, 0]
    assert exponent == [0, 0, 0, np.log(3.0)]


def test_pow_of_a_negative_base(slopes):
    base, exponent = slopes(ew.POW, [-2.0], [3.0])
    assert base == [12] and np.isnan(exponent).all()


def test_sqrt_at_zero_is_infinite(slopes):
    assert slopes(ew.SQRT, [0.0, 4.0]) == [[INF, 0.25]]


@pytest.mark.parametrize("op", [REDUCE_MAX, REDUCE_MIN], ids=["max", "min"])
def test_equal_elements_of_an_extreme(slopes, op):
    x = [[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 0.0, 2.0]]
    even = [[0.25] * 4, [0, 0.5, 0, 0.5] if op is REDUCE_MAX else [0.5, 0, 0.5, 0]]
    first = [[1, 0, 0, 0], [0, 1, 0, 0] if op is REDUCE_MAX else [1, 0, 0, 0]]
    assert slopes(lambda v: op(v, axes=(1,), ties="even"), x) == [even]
    assert slopes(lambda v: op(v, axes=(1,), ties="first"), x) == [first]


def test_the_first_of_several_axes_in_row_major_order(slopes):
    x = [[0.0, 3.0], [3.0, 0.0]]
    assert slopes(lambda v: REDUCE_MAX(v, axes=(0, 1), ties="first"), x) == [[[0, 1], [0, 0]]]


def test_an_extreme_of_infinities(slopes):
    assert slopes(lambda v: REDUCE_MAX(v, axes=(0,), ties="even"), [-INF, -INF]) == [[0.5, 0.5]]


def test_equal_shares_of_many_in_half_precision(slopes):
    x = np.zeros(70_000, np.float16)
    (found,) = slopes(lambda v: REDUCE_MAX(v, axes=(0,), ties="even"), x)
    assert found[0] == np.float16(1 / 70_000) != 0


def test_products_with_zeros(slopes):
    assert slopes(lambda v: REDUCE_PROD(v, axes=(0,)), [2.0, 0.0, 5.0]) == [[0, 10, 0]]
    assert slopes(lambda v: REDUCE_PROD(v, axes=(0,)), [2.0, 0.0, 0.0]) == [[0, 0, 0]]


def test_prefix_products_with_zeros(slopes):
    # y = (a, ab, abc, abcd) at b = 0 and then at b = d = 0.
    assert slopes(lambda v: CUMPROD(v, axis=0, reverse=False), [2.0, 0.0, 3.0, 4.0]) == [
        [1, 2 * (1 + 3 + 12), 0, 0]
    ]
    assert slopes(lambda v: CUMPROD(v, axis=0, reverse=False), [2.0, 0.0, 3.0, 0.0]) == [
        [1, 2 * (1 + 3), 0, 0]
    ]
    assert slopes(lambda v: CUMPROD(v, axis=0, reverse=True), [4.0, 3.0, 0.0, 2.0]) == [
        [0, 0, 2 * (1 + 3 + 12), 1]
    ]


def test_the_latest_of_equal_elements_sets_the_running_maximum(slopes):
    x, weights = [1.0, 3.0, 3.0, 2.0], [1.0, 10.0, 100.0, 1000.0]
    found = slopes(lambda v: CUMMAX(v, axis=0, reverse=False), x, weights=weights)
    assert found == [[1, 10, 1100, 0]]
    found = slopes(lambda v: CUMMAX(v, axis=0, reverse=True), x, weights=weights)
    assert found == [[0, 11, 100, 1000]]


def test_the_running_maximum_of_nan(slopes):
    found = slopes(lambda v: CUMMAX(v, axis=0, reverse=False), [1.0, NAN, 3.0])
    assert found == [[1, 2, 0]]


def test_only_the_last_write_to_an_element_has_a_gradient(slopes):
    def write(base, indices, updates):
        return SCATTER(base, indices, updates, axis=0, combine="set")

    found = slopes(write, [1.0, 2.0, 3.0], np.array([2, 0, 2]), [7.0, 8.0, 9.0])
    assert found == [[0, 1, 0], [0, 1, 1]]
