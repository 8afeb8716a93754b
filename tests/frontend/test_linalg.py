"""Linear algebra: values against numpy, gradients to second order, compiled code, bad input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg

import sley
from sley import linalg

rng = np.random.default_rng(20)
SQUARE = rng.standard_normal((2, 4, 4))
TALL = rng.standard_normal((2, 6, 4))
WIDE = rng.standard_normal((2, 4, 6))
RIGHT = rng.standard_normal((2, 4, 3))
THREES = rng.standard_normal((4, 3))


def weighted(t: sley.Tensor) -> sley.Tensor:
    """A sum with fixed weights: one number that every element has a part in."""
    weights = np.random.default_rng(5).standard_normal([int(n) for n in t.shape])
    return (t * sley.tensor(weights)).sum()


def symmetric(a: sley.Tensor) -> sley.Tensor:
    return a + a.mT


def definite(a: sley.Tensor) -> sley.Tensor:
    return a @ a.mT + 0.5 * sley.eye(a.shape[-1], dtype=sley.float64)


def both_factors(a: sley.Tensor) -> sley.Tensor:
    q, r = linalg.qr(a)
    return weighted(q) + weighted(r * 2)


def all_parts(a: sley.Tensor, full: bool = False) -> sley.Tensor:
    u, s, vh = linalg.svd(a, full_matrices=full)
    count = min(a.shape[-2:])
    # |u| and |v| do not change with the signs of singular vectors.
    parts = weighted(u[..., :count].abs() * 1.5), weighted(s), weighted(vh[..., :count, :].abs())
    return parts[0] + parts[1] + parts[2]


def eigen(a: sley.Tensor) -> sley.Tensor:
    values, vectors = linalg.eigh(symmetric(a))
    return weighted(values) + weighted(vectors.abs())


def any_eigen(a: sley.Tensor) -> sley.Tensor:
    # The eigenvalues come in an order that is not the one of their sizes: weights by size.
    values, vectors = linalg.eig(a)
    sizes = values.abs()
    return (sizes.log() * values.real).sum() + (vectors.abs() ** 4 * sizes.unsqueeze(-2)).sum()


FUNCTIONS: dict[str, tuple[Callable[..., sley.Tensor], list[np.ndarray]]] = {
    "solve": (lambda a, b: weighted(linalg.solve(a, b)), [SQUARE, RIGHT]),
    "solve-right": (lambda a, b: weighted(linalg.solve(a, b, left=False)), [SQUARE, TALL]),
    "solve-vector": (lambda a, b: weighted(linalg.solve(a, b)), [SQUARE, RIGHT[..., 0].copy()]),
    "solve-broadcast": (lambda a, b: weighted(linalg.solve(a, b)), [SQUARE[0], RIGHT]),
    "inv": (lambda a: weighted(linalg.inv(a)), [SQUARE]),
    "det": (lambda a: weighted(linalg.det(a)), [SQUARE]),
    "slogdet": (lambda a: weighted(linalg.slogdet(a).logabsdet), [SQUARE]),
    "cholesky": (lambda a: weighted(linalg.cholesky(definite(a))), [SQUARE]),
    "cholesky-upper": (lambda a: weighted(linalg.cholesky(definite(a), upper=True)), [SQUARE]),
    "qr-tall": (both_factors, [TALL]),
    "qr-square": (both_factors, [SQUARE]),
    "qr-wide": (both_factors, [WIDE]),
    "svd-tall": (all_parts, [TALL]),
    "svd-wide": (all_parts, [WIDE]),
    "svd-full": (lambda a: all_parts(a, True), [TALL]),
    "svdvals": (lambda a: weighted(linalg.svdvals(a)), [TALL]),
    "eigh": (eigen, [SQUARE]),
    "eigvalsh": (lambda a: weighted(linalg.eigvalsh(symmetric(a))), [SQUARE]),
    "eigvals": (lambda a: weighted(linalg.eigvals(a).abs()), [SQUARE]),
    "eig": (any_eigen, [SQUARE]),
    "matrix_exp": (lambda a: weighted(linalg.matrix_exp(a)), [SQUARE]),
    "pinv": (lambda a: weighted(linalg.pinv(a)), [TALL]),
    "pinv-wide": (lambda a: weighted(linalg.pinv(a)), [WIDE]),
    "pinv-atol": (lambda a: weighted(linalg.pinv(a, atol=1e-9)), [WIDE]),
    "lstsq": (lambda a, b: weighted(linalg.lstsq(a, b).solution), [TALL, TALL[..., :2].copy() + 1]),
    "solve-triangular": (
        lambda a, b: weighted(linalg.solve_triangular(a, b, upper=True)), [SQUARE, RIGHT],
    ),
    "solve-unitriangular": (
        lambda a, b: weighted(linalg.solve_triangular(a, b, upper=False, unitriangular=True)),
        [SQUARE, RIGHT],
    ),
    "cross": (lambda a, b: weighted(linalg.cross(a, b)), [THREES, THREES[:1] + 1]),
    "norm-nuclear": (lambda a: weighted(linalg.matrix_norm(a, "nuc")), [TALL]),
    "norm-two": (lambda a: weighted(linalg.matrix_norm(a, 2)), [TALL]),
    "norm-frobenius": (lambda a: weighted(linalg.matrix_norm(a)), [TALL]),
    "norm-three": (lambda a: weighted(linalg.vector_norm(a, 3, dim=-1)), [TALL]),
    "matrix-power": (lambda a: weighted(linalg.matrix_power(a, -3)), [SQUARE]),
    "multi-dot": (lambda a, b: weighted(linalg.multi_dot([a, b, a])), [SQUARE[0], SQUARE[1]]),
    "cond": (lambda a: weighted(linalg.cond(a)), [SQUARE]),
}  # fmt: skip


def slope(f: Callable, arrays: list[np.ndarray], directions: list[np.ndarray]) -> float:
    inputs = [sley.tensor(a, requires_grad=True) for a in arrays]
    found = sley.autograd.grad(f(*inputs), inputs)
    return sum(float((g.numpy() * d).sum()) for g, d in zip(found, directions, strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name):
    f, arrays = FUNCTIONS[name]
    random = np.random.default_rng(1)
    directions = [random.standard_normal(a.shape) for a in arrays]

    def moved(step: float) -> list[np.ndarray]:
        return [a + step * d for a, d in zip(arrays, directions, strict=True)]

    step = 1e-6
    plus, minus = (f(*map(sley.tensor, moved(s))).item() for s in (step, -step))
    expected = (plus - minus) / (2 * step)
    assert slope(f, arrays, directions) == pytest.approx(expected, rel=1e-6, abs=1e-6)

    inputs = [sley.tensor(a, requires_grad=True) for a in arrays]
    found = sley.autograd.grad(f(*inputs), inputs, create_graph=True)
    along = sum((g * sley.tensor(d)).sum() for g, d in zip(found, directions, strict=True))
    second = sley.autograd.grad(along, inputs, allow_unused=True)
    got = sum(
        float((g.numpy() * d).sum())
        for g, d in zip(second, directions, strict=True)
        if g is not None
    )
    ahead, behind = (slope(f, moved(s), directions) for s in (step, -step))
    assert got == pytest.approx((ahead - behind) / (2 * step), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled(name):
    f, arrays = FUNCTIONS[name]

    @sley.compile
    def step(*inputs):
        return (f(*inputs), *sley.autograd.grad(f(*inputs), list(inputs)))

    inputs = [sley.tensor(a, requires_grad=True) for a in arrays]
    value = f(*inputs)
    expected = (value, *sley.autograd.grad(f(*inputs), inputs))
    for got, wanted in zip(step(*inputs), expected, strict=True):
        np.testing.assert_allclose(
            got.detach().numpy(), wanted.detach().numpy(), rtol=1e-9, atol=1e-9
        )


def complex_parts(a: sley.Tensor) -> sley.Tensor:
    """Of svd what does not change with the phases of singular vectors."""
    u, s, vh = linalg.svd(a, full_matrices=False)
    again = u * (s**2).unsqueeze(-2) @ vh
    return real_weighted(u.abs()) + real_weighted(s) + real_weighted(again)


def real_weighted(t: sley.Tensor) -> sley.Tensor:
    random = np.random.default_rng(5)
    shape = [int(n) for n in t.shape]
    weights = random.standard_normal(shape)
    if not t.dtype.is_complex:
        return (t * sley.tensor(weights)).sum()
    return (t * sley.tensor(weights + 1j * random.standard_normal(shape))).real.sum()


def both_of_qr(a: sley.Tensor) -> sley.Tensor:
    q, r = linalg.qr(a)
    return real_weighted(q) + real_weighted(r)


COMPLEX: dict[str, tuple[Callable[..., sley.Tensor], tuple[int, int]]] = {
    "inv": (lambda a: real_weighted(linalg.inv(a)), (3, 3)),
    "det": (lambda a: real_weighted(linalg.det(a)), (3, 3)),
    "slogdet": (lambda a: sum(map(real_weighted, linalg.slogdet(a))), (3, 3)),
    "cholesky": (
        lambda a: real_weighted(
            linalg.cholesky(a @ a.mT.conj() + 0.5 * sley.eye(3, dtype=sley.complex128))
        ), (3, 3),
    ),
    "qr-tall": (both_of_qr, (5, 3)),
    "qr-wide": (both_of_qr, (3, 5)),
    "svd-tall": (complex_parts, (5, 3)),
    "svd-wide": (complex_parts, (3, 5)),
    "eigh": (
        lambda a: sum(real_weighted(part.abs()) for part in linalg.eigh(a + a.mT.conj())), (3, 3),
    ),
    "pinv": (lambda a: real_weighted(linalg.pinv(a)), (5, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_gradients(name):
    f, shape = COMPLEX[name]
    random = np.random.default_rng(11)
    a, direction = (
        random.standard_normal((2, *shape)) + 1j * random.standard_normal((2, *shape))
        for _ in range(2)
    )

    def slope(step: float, create_graph: bool = False) -> tuple[sley.Tensor, sley.Tensor]:
        x = sley.tensor(a + step * direction, requires_grad=True)
        (g,) = sley.autograd.grad(f(x), [x], create_graph=create_graph)
        return (g * sley.tensor(np.conj(direction))).real.sum(), x

    step = 1e-6
    high, low = (f(sley.tensor(a + s * direction)).item() for s in (step, -step))
    assert slope(0)[0].item() == pytest.approx((high - low) / (2 * step), rel=1e-6)
    along, x = slope(0, create_graph=True)
    (second,) = sley.autograd.grad(along, [x])
    expected = (slope(step)[0].item() - slope(-step)[0].item()) / (2 * step)
    got = (second * sley.tensor(np.conj(direction))).real.sum().item()
    assert got == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_values():
    def close(got: sley.Tensor, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-12, atol=1e-12)

    a, b = sley.tensor(SQUARE), sley.tensor(RIGHT)
    close(linalg.solve(a, b), np.linalg.solve(SQUARE, RIGHT))
    close(a @ linalg.solve(a, b), RIGHT)
    close(linalg.det(a), np.linalg.det(SQUARE))
    sign, logabsdet = linalg.slogdet(a)
    close(sign * logabsdet.exp(), np.linalg.det(SQUARE))
    low = linalg.cholesky(definite(a))
    close(low @ low.mT, definite(a).numpy())
    close(low, np.tril(low.numpy()))
    close(linalg.cholesky(definite(a), upper=True), low.mT.numpy())
    close(linalg.cholesky_solve(b, low), np.linalg.solve(definite(a).numpy(), RIGHT))
    for matrix in (SQUARE, TALL, WIDE):
        for mode in ("reduced", "complete"):
            q, r = linalg.qr(sley.tensor(matrix), mode=mode)
            close(q @ r, matrix)
            close(q.mT @ q, np.broadcast_to(np.eye(q.shape[-1]), (2, q.shape[-1], q.shape[-1])))
        u, s, vh = linalg.svd(sley.tensor(matrix), full_matrices=False)
        close(u * s.unsqueeze(-2) @ vh, matrix)
        close(linalg.svdvals(sley.tensor(matrix)), np.linalg.svd(matrix, compute_uv=False))
        close(linalg.pinv(sley.tensor(matrix)), np.linalg.pinv(matrix))
        assert linalg.matrix_rank(sley.tensor(matrix)).tolist() == [4, 4]
    values, vectors = linalg.eigh(symmetric(a))
    close(vectors * values.unsqueeze(-2) @ vectors.mT, symmetric(a).numpy())
    close(linalg.matrix_power(a, 5), np.linalg.matrix_power(SQUARE, 5))
    close(linalg.matrix_power(a, 0), np.linalg.matrix_power(SQUARE, 0))
    close(linalg.matrix_power(a, -2), np.linalg.matrix_power(SQUARE, -2))
    close(linalg.cross(sley.tensor(THREES), sley.tensor(THREES[::-1].copy())),
          np.cross(THREES, THREES[::-1]))  # fmt: skip
    close(linalg.vander(sley.tensor([2.0, 3.0])), np.vander([2.0, 3.0], increasing=True))


@pytest.mark.parametrize("ord", [None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf])
def test_matrix_norms(ord):
    for keepdim in (False, True):
        expected = np.linalg.norm(TALL, ord or "fro", axis=(-2, -1), keepdims=keepdim)
        got = linalg.norm(sley.tensor(TALL), ord, dim=(-2, -1), keepdim=keepdim)
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    single = linalg.norm(sley.tensor(TALL[0]), ord).item()
    assert single == pytest.approx(np.linalg.norm(TALL[0], ord), rel=1e-12)


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 0.5, -1, np.inf, -np.inf])
def test_vector_norms(ord):
    expected = np.linalg.norm(TALL[0], ord, axis=1)
    got = linalg.vector_norm(sley.tensor(TALL[0]), ord, dim=1)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_the_determinant_of_a_singular_matrix_has_a_gradient():
    x = sley.tensor([[1.0, 2.0], [2.0, 4.0]], requires_grad=True)
    linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4.0, -2.0], [-2.0, 1.0]], rtol=1e-5)


def test_least_squares():
    solution, residuals, rank, _ = linalg.lstsq(sley.tensor(TALL), sley.tensor(TALL[..., :2] + 1))
    for k in range(2):
        wanted, rest, number, _ = np.linalg.lstsq(TALL[k], TALL[k, :, :2] + 1)
        np.testing.assert_allclose(solution[k].numpy(), wanted, rtol=1e-10)
        np.testing.assert_allclose(residuals[k].numpy(), rest, rtol=1e-10)
        assert rank[k].item() == number


def test_sizes_of_zero_and_one():
    for n in (0, 1):
        a = sley.ones(3, n, n)
        assert linalg.det(a).tolist() == [1.0, 1.0, 1.0]
        assert linalg.inv(a).shape == (3, n, n)
    assert linalg.solve(sley.ones(0, 2, 2), sley.ones(0, 2, 5)).shape == (0, 2, 5)
    assert linalg.svdvals(sley.ones(0, 4, 3)).shape == (0, 3)


def test_float32_stays():
    a = sley.tensor(SQUARE.astype(np.float32))
    for result in (linalg.inv(a), linalg.det(a), *linalg.svd(a), *linalg.qr(a), linalg.pinv(a)):
        assert result.dtype is sley.float32


def test_symbolic_batch():
    @sley.compile
    def f(a, b):
        return linalg.solve(a, b).sum(0) + linalg.det(a).sum()

    for batch in (2, 3, 1, 0, 5):
        a = np.random.default_rng(batch).standard_normal((batch, 3, 3))
        b = np.random.default_rng(batch + 9).standard_normal((batch, 3, 2))
        expected = np.linalg.solve(a, b).sum(0) + np.linalg.det(a).sum()
        got = f(sley.tensor(a), sley.tensor(b))
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9, atol=1e-12)
    assert len(f.programs) <= 4


@pytest.mark.parametrize("compiled", [False, True])
def test_a_singular_matrix_is_an_error_with_its_line(compiled):
    def f(a):
        return linalg.inv(a) * 2

    f = sley.compile(f) if compiled else f
    with pytest.raises(sley.LinAlgError, match=r"[Ss]ingular(.|\n)*test_linalg.py"):
        f(sley.zeros(3, 3))
    with pytest.raises(sley.LinAlgError, match="positive definite"):
        linalg.cholesky(-sley.eye(3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: linalg.inv(sley.ones(2, 3)), sley.ShapeError, "square"),
        (lambda: linalg.inv(sley.ones(3)), sley.ShapeError, "matrix"),
        (lambda: linalg.inv(sley.ones(3, 3, dtype=sley.int64)), sley.DTypeError, "int64"),
        (lambda: linalg.inv(sley.ones(3, 3, dtype=sley.float16)), sley.DTypeError, "float16"),
        (lambda: linalg.inv([[1.0]]), sley.DTypeError, "list"),
        (lambda: linalg.solve(sley.ones(3, 3), sley.ones(4, 1)), sley.ShapeError, "fit"),
        (lambda: linalg.qr(sley.ones(3, 3), mode="raw"), sley.ArgumentError, "mode"),
        (lambda: linalg.eigh(sley.ones(3, 3), UPLO="l"), sley.ArgumentError, "UPLO"),
        (lambda: linalg.matrix_norm(sley.ones(3, 3), "max"), sley.ArgumentError, "max"),
        (lambda: linalg.norm(sley.ones(3, 3, 3), 2), sley.ShapeError, "dim"),
        (lambda: linalg.cross(sley.ones(4), sley.ones(4)), sley.ShapeError, "3"),
        (lambda: linalg.multi_dot([sley.ones(3, 3)]), sley.ArgumentError, "two"),
        (lambda: linalg.matrix_power(sley.ones(3, 3), 0.5), sley.ArgumentError, "int"),
        (
            lambda: linalg.solve(sley.ones(3, 3), sley.ones(3, 1, dtype=sley.float64)),
            sley.DTypeError, "float64",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error, text):
    with pytest.raises(error, match=text):
        call()


def complex_square(seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((2, 3, 4, 4))
    return drawn[0] + 1j * drawn[1]


def test_eigenvectors_of_any_matrices() -> None:
    for a in (SQUARE, complex_square(0)):
        values, vectors = linalg.eig(sley.tensor(a))
        assert values.dtype is vectors.dtype is sley.complex128
        np.testing.assert_allclose(a @ vectors.numpy(), vectors.numpy() * values.numpy()[:, None])
        np.testing.assert_allclose(np.linalg.norm(vectors.numpy(), axis=-2), 1)
    assert linalg.eig(sley.ones(2, 2)).eigenvalues.dtype is sley.complex64
    assert linalg.eig(sley.zeros(2, 0, 3, 3)).eigenvectors.shape == (2, 0, 3, 3)
    with pytest.raises(linalg.LinAlgError, match=r"infs or NaNs|linalg\.eig"):
        linalg.eig(sley.full((2, 2), float("nan")))


@pytest.mark.parametrize("function", [any_eigen, lambda a: (linalg.matrix_exp(a).abs() ** 2).sum()])
def test_gradients_of_complex_matrices(function: Callable[..., sley.Tensor]) -> None:
    a, turn = complex_square(1), complex_square(2)
    x = sley.tensor(a, requires_grad=True)
    function(x).backward()
    found = (x.grad.numpy().conj() * turn).real.sum()
    high, low = (function(sley.tensor(a + s * 1e-6 * turn)).item() for s in (1, -1))
    assert found == pytest.approx((high - low) / 2e-6, rel=1e-6)


def test_exponentials_of_matrices() -> None:
    for scale in (0.0, 1e-9, 1.0, 30.0):
        for a in (SQUARE * scale, complex_square(3) * scale):
            found = linalg.matrix_exp(sley.tensor(a)).numpy()
            np.testing.assert_allclose(found, scipy.linalg.expm(a), rtol=1e-10, atol=1e-12)
    assert linalg.matrix_exp(sley.ones(0, 0)).shape == (0, 0)
    assert linalg.matrix_exp(sley.ones(2, 0, 3, 3)).shape == (2, 0, 3, 3)
    turned = linalg.matrix_exp(sley.tensor([[0.0, -np.pi / 2], [np.pi / 2, 0.0]]))
    np.testing.assert_allclose(turned.numpy(), [[0, -1], [1, 0]], atol=1e-6)
    assert linalg.matrix_exp(sley.tensor([[np.inf]])).isnan().all()


SINGULAR = np.stack([np.ones((3, 3)), 1e-150 * np.eye(3), np.diag([1.0, 2.0, 4.0])])


@pytest.mark.parametrize("p", [1, -1, np.inf, -np.inf, "fro", "nuc"])
def test_conditions_of_singular_matrices(p) -> None:
    for run in (linalg.cond, sley.compile(linalg.cond)):
        found = run(sley.tensor(SINGULAR), p).numpy()
        assert found[0] == np.inf
        np.testing.assert_allclose(found[1:], np.linalg.cond(SINGULAR[1:], p))


def test_matrices_without_elements() -> None:
    for shape in ((0, 0), (0, 3), (3, 0), (2, 0, 3)):
        a = sley.zeros(*shape)
        assert linalg.cond(a).abs().sum().item() == 0 and linalg.cond(a).shape == shape[:-2]
        rank = linalg.matrix_rank(a)
        assert rank.dtype is sley.int64 and rank.shape == shape[:-2] and rank.sum().item() == 0
        assert linalg.matrix_norm(a, 2).shape == shape[:-2]
        if shape[-1] == 0:
            assert linalg.matrix_norm(a, 1).sum().item() == 0
    assert linalg.cond(sley.zeros(0, 0), 1).item() == 0


def test_ranks_of_hermitian_matrices_are_those_of_lower_triangles() -> None:
    upper = sley.tensor([[1.0, 9.0], [0.0, 0.0]])
    assert linalg.matrix_rank(upper, hermitian=True).item() == 1
    assert linalg.matrix_rank(upper.mT, hermitian=True).item() == 2
    with pytest.raises(sley.ShapeError, match="square"):
        linalg.matrix_rank(sley.ones(2, 3), hermitian=True)


def test_powers_of_integers() -> None:
    a = np.array([[1, 2], [3, 4]])
    for n in (0, 1, 5):
        found = linalg.matrix_power(sley.tensor(a), n)
        assert found.dtype is sley.int64
        np.testing.assert_array_equal(found, np.linalg.matrix_power(a, n))
    with pytest.raises(sley.DTypeError, match="int64"):
        linalg.matrix_power(sley.tensor(a), -1)
    with pytest.raises(sley.ShapeError, match="square"):
        linalg.matrix_power(sley.ones(2, 3, dtype=sley.int64), 2)
    with pytest.raises(sley.DTypeError, match="int64"):
        linalg.matrix_norm(sley.tensor(a), 1)
