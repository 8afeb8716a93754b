"""Elementwise functions and layers at the edges of what they take: NaN as a bound, no axes, dtypes
that a factor must not change, vectors that broadcast. Expected: PyTorch's documentation."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley import Tensor
from sley.nn import functional as F


def test_a_bound_of_nan_makes_nan() -> None:
    x = sley.tensor([1.0, -2.0])
    for made in (sley.clamp(x, min=float("nan")), x.clamp_max(float("nan")),
                 sley.clamp(x, max=sley.tensor([float("nan"), float("nan")]))):  # fmt: skip
        assert np.isnan(made.numpy()).all()
    half = sley.clamp(x, min=sley.tensor([float("nan"), 0.0])).numpy()
    np.testing.assert_array_equal(half, [np.nan, 0.0])


@pytest.mark.parametrize("name", ["add", "sub"])
def test_alpha_takes_no_part_in_promotion(name: str) -> None:
    function = getattr(sley, name)
    small = sley.ones(2, dtype=sley.bfloat16)
    assert function(small, float("nan"), alpha=0.5).dtype is sley.bfloat16
    assert function(small, sley.ones(1, dtype=sley.uint8), alpha=0.5).dtype is sley.bfloat16
    assert function(sley.ones(2, dtype=sley.int32), True, alpha=-1).dtype is sley.int32
    with pytest.raises(TypeError, match=r"alpha=0\.5 is no integer"):
        function(sley.ones(2, dtype=sley.int32), 1, alpha=0.5)


def test_a_rounded_quotient_is_flat_everywhere() -> None:
    x = sley.tensor([2.0, -3.0], requires_grad=True)
    (sley.div(x, 0, rounding_mode="trunc") * 0 + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1.0, 1.0])


@pytest.mark.parametrize("dtype", [sley.float16, sley.bfloat16, sley.float32])
def test_ldexp_computes_in_the_dtype_of_both(dtype: sley.dtype) -> None:
    made = sley.ldexp(sley.tensor([3, 1]), sley.tensor([2.0, -1.0], dtype=dtype))
    assert made.dtype is dtype
    np.testing.assert_array_equal(made.float().numpy(), [12.0, 0.5])


@pytest.mark.parametrize("dtype", [sley.int8, sley.int32, sley.uint8])
def test_bounded_activations_of_integers_stay_integers(dtype: sley.dtype) -> None:
    x = sley.tensor([1, 5, 9], dtype=dtype)
    assert F.relu6(x).dtype is dtype
    np.testing.assert_array_equal(F.relu6(x), [1, 5, 6])
    np.testing.assert_array_equal(F.hardtanh(x, 2.0, 7.0), [2, 5, 7])


def test_threshold_keeps_nan() -> None:
    made = F.threshold(sley.tensor([float("nan"), 0.5, 2.0]), 1.0, 7.0).numpy()
    np.testing.assert_array_equal(made, [np.nan, 7.0, 2.0])


def test_prelu_of_no_axes() -> None:
    assert F.prelu(sley.tensor(-2.0), sley.tensor([0.25])).shape == ()


def test_a_tensor_without_axes_is_one_slice() -> None:
    x, zero = sley.tensor(2.0, requires_grad=True), sley.tensor([0])
    assert sley.index_select(x, 0, zero).shape == ()
    place = sley.tensor(0)
    assert sley.scatter(x, 0, place, sley.tensor(5.0)).item() == 5.0
    assert sley.scatter_add(x, -1, place, sley.tensor(5.0)).item() == 7.0
    assert sley.scatter_reduce(x, 0, place, sley.tensor(4.0), "mean").item() == 3.0
    sley.scatter_add(x, 0, place, x * 3).backward()
    assert x.grad is not None and x.grad.item() == 4.0


def test_block_diag_promotes_numbers_as_operators_do() -> None:
    assert sley.block_diag(sley.ones(1), sley.ones((), dtype=sley.float64)).dtype is sley.float32


def test_cosine_similarity_broadcasts_its_vectors() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 1))
    wide = np.broadcast_to(y, x.shape)
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(wide, axis=-1)
    expected = (x * wide).sum(-1) / lengths
    both: list[Tensor] = [sley.tensor(x), sley.tensor(y)]
    np.testing.assert_allclose(F.cosine_similarity(*both, dim=-1), expected, rtol=1e-12)


def test_label_margins_are_flat_where_they_are_reached() -> None:
    x = sley.tensor([[2.0, 1.0, 0.0]], requires_grad=True)
    loss = F.multilabel_margin_loss(x, sley.tensor([[0, -1, 0]]))
    loss.backward()
    np.testing.assert_array_equal(x.grad, np.zeros((1, 3)))


def test_the_condition_number_of_a_singular_matrix_is_inf() -> None:
    for matrix in ([[2.0, 3.0], [0.0, 0.0]], np.outer([1, 2, 3.0], [1, 1, 0.0])):
        assert sley.linalg.cond(sley.tensor(matrix)).item() > 1e6


def test_the_slope_of_erfinv_is_infinite_at_the_ends_and_nan_beyond() -> None:
    x = sley.tensor([-1.0, 0.0, 1.0, 1.5], requires_grad=True)
    made = sley.erfinv(x)
    np.testing.assert_array_equal(made.detach(), [-np.inf, 0.0, np.inf, np.nan])
    made.sum().backward()
    np.testing.assert_allclose(x.grad, [np.inf, np.sqrt(np.pi) / 2, np.inf, np.nan], rtol=1e-6)


def test_a_singular_matrix_has_no_slope_of_the_logarithm_of_its_determinant() -> None:
    x = sley.tensor([[[2.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]], requires_grad=True)
    sley.linalg.slogdet(x).logabsdet.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad[0], [[0.5, 0.0], [0.0, 0.25]], rtol=1e-6)
    assert np.isnan(x.grad[1].numpy()).all()


def test_matrix_rank_takes_the_bound_by_its_old_name() -> None:
    x = sley.diag(sley.tensor([3.0, 0.5]))
    assert sley.linalg.matrix_rank(x).item() == 2
    assert sley.linalg.matrix_rank(x, 1.0).item() == 1
    assert sley.linalg.matrix_rank(x, tol=1.0, hermitian=True).item() == 1
