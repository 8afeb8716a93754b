"""argmax and argmin, compiled: ties, infinities, NaN, positions of several axes."""

from __future__ import annotations

import numpy as np
import pytest

import sley

RNG = np.random.default_rng(11)


def drawn(kind, shape):
    """Few different numbers, so that there are ties; rows and columns of one number."""
    x = RNG.integers(-2, 3, shape).astype(np.float32)
    if kind == "infinite":
        x = np.where(RNG.random(shape) < 0.8, -np.inf, x)
        x[0] = -np.inf
    if kind == "nan":
        x[RNG.random(shape) < 0.02] = np.nan
    return x.astype(np.float32)


@pytest.mark.parametrize("kind", ["plain", "infinite", "nan"])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_first_of_equal_ones(kind, axis):
    for function, sign in (("argmax", 1), ("argmin", -1)):
        take = sley.compile(lambda x, f=function: getattr(x, f)(axis))
        for shape in ((1, 1), (3, 7), (5, 67), (70, 130), (2, 300)):
            x = drawn(kind, shape) * np.float32(sign)
            np.testing.assert_array_equal(take(sley.tensor(x)).numpy(), getattr(x, function)(axis))


@pytest.mark.parametrize("dtype", ["int64", "int32", "float64", "uint8", "bool"])
def test_lowest_numbers_of_every_dtype(dtype):
    kind = np.dtype(dtype)
    low = False if dtype == "bool" else -np.inf if kind.kind == "f" else np.iinfo(kind).min
    x = np.full((4, 37), low, kind)
    x[1, 20] = x[1, 33] = True
    take = sley.compile(lambda x: x.to(sley.uint8).argmax(1) if dtype == "bool" else x.argmax(1))
    np.testing.assert_array_equal(take(sley.tensor(x)).numpy(), x.argmax(1))
