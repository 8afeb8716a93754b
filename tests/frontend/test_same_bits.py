"""A value computed twice, by vectors of other widths or alone, is the same value."""

from __future__ import annotations

import numpy as np
import pytest

import sley


@pytest.mark.parametrize("dtype", [sley.float32, sley.float64], ids=str)
def test_a_small_tensor_has_the_bits_of_a_part_of_a_large_one(dtype: sley.dtype) -> None:
    def gauss(x: sley.Tensor) -> sley.Tensor:
        return sley.exp(-x * x) + sley.log(x.abs()) * sley.rsqrt(x.abs()) + sley.sigmoid(x)

    sley.manual_seed(1)
    x = sley.randn(64, 48, dtype=dtype)
    whole = sley.compile(gauss)(x)
    for count in (1, 3, 17):
        for dynamic in (False, True):
            part = sley.compile(gauss, dynamic=dynamic)(x[5, :count])
            assert part.tolist() == whole[5, :count].tolist()


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("dtype", [sley.float32, sley.float64], ids=str)
def test_the_gradient_of_a_largest_element_finds_it(dtype: sley.dtype, dynamic: bool) -> None:
    """It goes where the element equals the largest: both may be computed again for that."""

    def gradient(x: sley.Tensor) -> sley.Tensor:
        x = x.detach().requires_grad_()
        y = sley.exp(-x * x) * sley.tanh(x)
        return sley.autograd.grad(y.amax(1).sum(), x)[0]

    compiled = sley.compile(gradient, dynamic=dynamic)
    for shape in ((64, 48), (3, 5), (7, 13), (33, 70), (1, 3), (40, 1), (5, 129)):
        x = sley.randn(*shape, dtype=dtype)
        got, expected = compiled(x).numpy(), gradient(x).numpy()
        assert (np.count_nonzero(got, 1) == 1).all()
        np.testing.assert_allclose(got, expected, 1e-4, 1e-6)
