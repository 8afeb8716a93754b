"""Matrix products against numpy, their gradients, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import dynamic

import sley
from sley import ArgumentError, DTypeError, ShapeError

R = np.random.default_rng(1)


def _draw(*shape):
    return R.standard_normal(shape).astype(np.float32)


SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)),
    ((5, 2, 3), (3, 4)), ((3,), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_matmul_of_all_ranks(shapes):
    x, y = (_draw(*s) for s in shapes)
    agree(sley.matmul, np.matmul, x, y, rtol=1e-5, atol=1e-6)
    if x.size and y.size:
        differentiates(lambda a, b: a @ b, x, y)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("i,j->ij", (2,), (3,)), ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ii->i", (3, 3)),
    ("ii", (3, 3)), ("ij,ij->j", (2, 3), (2, 3)), ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("i,ij,j", (2,), (2, 3), (3,)), ("...i->...", (2, 3)), ("ij,j->ij", (2, 3), (3,)),
    ("ik,k->i", (2, 1), (3,)),
]  # fmt: skip


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda c: c[0])
def test_einsum(case):
    equation, *shapes = case
    arrays = [_draw(*s) for s in shapes]
    agree(
        lambda *xs: sley.einsum(equation, *xs),
        lambda *xs: np.asarray(np.einsum(equation, *xs)), *arrays, rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    differentiates(lambda *xs: sley.einsum(equation, *xs), *arrays)


def test_other_products():
    a, b, c = _draw(2, 3), _draw(3, 4), _draw(2, 4)
    agree(sley.mm, np.matmul, a, b, rtol=1e-5)
    agree(sley.mv, np.matmul, a, b[:, 0], rtol=1e-5)
    agree(sley.dot, np.dot, a[0], a[1], rtol=1e-5)
    agree(sley.inner, np.inner, a, a, rtol=1e-5)
    agree(sley.outer, np.outer, a[0], a[1])
    agree(sley.kron, np.kron, a, b)
    agree(sley.trace, lambda x: np.asarray(np.trace(x)), b)
    agree(lambda x, y, z: sley.addmm(z, x, y, beta=0.5, alpha=2),
          lambda x, y, z: 0.5 * z + 2 * (x @ y), a, b, c, rtol=1e-5)  # fmt: skip
    agree(lambda x, y: sley.tensordot(x, y, 1), lambda x, y: np.tensordot(x, y, 1), a, b, rtol=1e-5)
    agree(lambda x, y: sley.tensordot(x, y, ([1, 0], [0, 1])),
          lambda x, y: np.tensordot(x, y, ([1, 0], [0, 1])), a, a.T.copy(), rtol=1e-5)  # fmt: skip
    agree(lambda x, y: sley.baddbmm(x, y, y), lambda x, y: x + y @ y, _draw(2, 3, 3),
          _draw(2, 3, 3), rtol=1e-5, atol=1e-6)  # fmt: skip
    blocks = sley.block_diag(sley.ones(2, 1), sley.ones(1, 2))
    assert blocks.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]
    assert (a @ sley.tensor(b)).shape == (2, 4)
    assert sley.matmul(sley.tensor([[1, 2]]), sley.tensor([[3], [4]])).tolist() == [[11]]


def test_halves_are_summed_in_float32():
    x = sley.full((1, 4096), 0.01, dtype=sley.bfloat16)
    expected = float(x.array.astype(np.float32)[0, 0]) ** 2 * 4096
    assert abs((x @ x.T).item() - expected) < 2e-3


def test_what_does_not_fit():
    x = sley.zeros(2, 3)
    with pytest.raises(ShapeError, match="axes 1 and 0 differ"):
        x @ sley.zeros(2, 3)
    with pytest.raises(ShapeError):
        sley.mm(x, sley.zeros(3))
    with pytest.raises(DTypeError, match="cast one"):
        x @ sley.zeros(3, 1, dtype=sley.float64)
    with pytest.raises(ShapeError):
        x @ sley.tensor(1.0)
    with pytest.raises(ArgumentError):
        sley.einsum("ij,jk->il", x, x.T)
    with pytest.raises(ArgumentError):
        sley.einsum("ijk->i", x)


def test_symbolic_sizes():
    for function in (
        lambda x, y: x @ y, lambda x, y: sley.einsum("ni,io->on", x, y),
        lambda x, y: sley.nn.functional.linear(x, y.T, y[0]),
    ):  # fmt: skip
        recorded, _ = dynamic(function, [("N", 3), (3, 4)], {"N": 2})
        x, y = _draw(7, 3), _draw(3, 4)
        (found,) = recorded.run(dict(zip(recorded.graph.params, (x, y), strict=True)))
        np.testing.assert_allclose(found, function(sley.tensor(x), sley.tensor(y)).array, rtol=1e-5)
