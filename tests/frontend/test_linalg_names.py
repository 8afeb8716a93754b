"""Linear algebra under its names outside of `linalg`."""

from __future__ import annotations

import numpy as np
import pytest

import sley

A = np.array([[2.0, 1, 0], [1, 3, 0.5], [0, 0.5, 1]])
V, W = np.array([1.0, 2, 3]), np.array([-1.0, 0.5, 2])
CALLS = {
    "det": (lambda a: sley.det(a), np.linalg.det),
    "inverse": (lambda a: a.inverse(), np.linalg.inv),
    "pinverse": (lambda a: sley.pinverse(a[:2]), lambda a: np.linalg.pinv(a[:2])),
    "cholesky": (lambda a: sley.cholesky(a, upper=True), lambda a: np.linalg.cholesky(a).T),
    "logdet": (lambda a: sley.logdet(a), lambda a: np.linalg.slogdet(a)[1]),
    "matrix_power": (lambda a: a.matrix_power(3), lambda a: np.linalg.matrix_power(a, 3)),
    "chain_matmul": (lambda a: sley.chain_matmul(a, a, a), lambda a: a @ a @ a),
    "addbmm": (
        lambda a: sley.addbmm(a, a[None].repeat(2, 1, 1), a[None].repeat(2, 1, 1), beta=0.5),
        lambda a: 0.5 * a + 2 * a @ a,
    ),
    "vander": (lambda a: sley.vander(a[0]), lambda a: np.vander(a[0])),
    "vander up": (
        lambda a: sley.vander(a[0], 2, increasing=True),
        lambda a: np.vander(a[0], 2, increasing=True),
    ),
    "cross": (lambda a: sley.cross(a[0], a[1]), lambda a: np.cross(a[0], a[1])),
    "ger": (lambda a: sley.ger(a[0], a[1]), lambda a: np.outer(a[0], a[1])),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients(name: str) -> None:
    call, reference = CALLS[name]
    x = sley.tensor(A, requires_grad=True)
    eager = call(x)
    np.testing.assert_allclose(eager.detach().numpy(), reference(A), rtol=1e-9, atol=1e-12)
    compiled = sley.compile(call)(x.detach())
    np.testing.assert_allclose(compiled.numpy(), reference(A), rtol=1e-9, atol=1e-12)
    (found,) = sley.autograd.grad(eager.sum(), x)
    turn = np.random.default_rng(0).standard_normal(A.shape)
    if name == "cholesky":
        turn = turn + turn.T
    step = 1e-6
    slope = (np.sum(reference(A + step * turn)) - np.sum(reference(A - step * turn))) / (2 * step)
    assert (found.numpy() * turn).sum() == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_logarithms_of_other_determinants() -> None:
    assert np.isnan(sley.logdet(sley.tensor([[0.0, 1], [1, 0]])).item())
    assert sley.logdet(sley.zeros(2, 2)).item() == -np.inf


@pytest.mark.parametrize("upper", [False, True])
def test_systems_by_a_factor(upper: bool) -> None:
    """`cholesky_solve` and `cholesky_inverse`, as functions and methods."""
    rng = np.random.default_rng(0)
    half = rng.standard_normal((2, 3, 3))
    matrix = half @ half.swapaxes(-1, -2) + np.eye(3)
    factor = sley.linalg.cholesky(sley.tensor(matrix), upper=upper)
    right = sley.tensor(rng.standard_normal((2, 3, 2)))
    expected = np.linalg.solve(matrix, right.numpy())
    for found in (sley.cholesky_solve(right, factor, upper), right.cholesky_solve(factor, upper)):
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    for found in (sley.cholesky_inverse(factor, upper), factor.cholesky_inverse(upper)):
        np.testing.assert_allclose(found, np.linalg.inv(matrix), rtol=1e-10)
