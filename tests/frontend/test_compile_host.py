"""Compiled functions with steps on the host: errors name the line, and nothing was written."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley.frontend.errors import LinAlgError


def factor(x):
    return sley.linalg.cholesky(x)


def test_an_error_names_the_line_of_the_op_and_writes_nothing():
    count = sley.zeros(3)

    @sley.compile
    def step(x):
        count.add_(1.0)
        y = factor(x)
        return y.sum()

    good, bad = sley.eye(3), -sley.eye(3)
    assert step(good).item() == 3
    assert count.tolist() == [1, 1, 1]
    with pytest.raises(LinAlgError, match="not positive definite") as caught:
        step(bad)
    assert "in factor" in str(caught.value)
    assert "return sley.linalg.cholesky(x)" in str(caught.value)
    assert caught.value.location.function == "factor"
    assert count.tolist() == [1, 1, 1]
    assert step(good).item() == 3
    assert count.tolist() == [2, 2, 2]


def test_eager_and_compiled_raise_alike():
    bad = -sley.eye(3)
    with pytest.raises(LinAlgError) as eager:
        factor(bad)
    with pytest.raises(LinAlgError) as compiled:
        sley.compile(factor)(bad)
    assert eager.value.message == compiled.value.message


def test_sorting_between_kernels_with_a_symbolic_batch():
    @sley.compile
    def ranked(x):
        values, places = sley.sort(x * 2.0, dim=1)
        return (values + 1.0).sum(dim=0), places

    rng = np.random.default_rng(0)
    for rows in (4, 3, 7, 1):
        x = rng.standard_normal((rows, 5)).astype(np.float32)
        total, places = ranked(sley.tensor(x))
        np.testing.assert_allclose(total.numpy(), (np.sort(2 * x) + 1).sum(0), rtol=1e-5)
        assert np.array_equal(places.numpy(), np.argsort(x, axis=1, kind="stable"))
    assert len(ranked.programs) == 2
