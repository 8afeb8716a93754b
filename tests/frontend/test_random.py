"""Random tensors: repeatable, of the right distribution, the same eager and recorded."""

from __future__ import annotations

import numpy as np
import pytest
from recording import record, state

import sley
from sley import ArgumentError, DTypeError

DRAWS = [
    lambda: sley.rand(3, 5), lambda: sley.rand(7, dtype=sley.float64),
    lambda: sley.rand(7, dtype=sley.bfloat16), lambda: sley.randint(-3, 9, (40,)),
    lambda: sley.bernoulli(sley.full((9,), 0.3)), lambda: sley.randn(5),
    lambda: sley.randn(4, dtype=sley.float64), lambda: sley.normal(2.0, 3.0, (6,)),
    lambda: sley.nn.functional.dropout(sley.ones(20), 0.4),
    lambda: sley.zeros(5).uniform_(-1, 1), lambda: sley.zeros(5).normal_(),
    lambda: sley.multinomial(sley.tensor([0.2, 0.0, 0.8]), 9, replacement=True),
]  # fmt: skip


@pytest.mark.parametrize("draw", DRAWS)
def test_recorded_draws_are_the_eager_ones(draw):
    sley.manual_seed(5)
    first, second = draw(), draw()
    assert first.tolist() != second.tolist() or first.numel() < 10
    sley.manual_seed(5)
    recorded = record(lambda: (draw(), draw()))
    found = recorded.run(state(recorded))
    for x, y in zip(found, (first, second), strict=False):
        np.testing.assert_array_equal(x, y.array)
    assert found[-1] == 2 or found[-2] == 2  # the count of draws is written back


def test_the_seed_decides_and_the_state_goes_on():
    sley.manual_seed(1)
    a = sley.rand(4)
    saved = sley.get_rng_state()
    b = sley.rand(4)
    sley.set_rng_state(saved)
    assert sley.rand(4).tolist() == b.tolist()
    sley.manual_seed(1)
    assert sley.rand(4).tolist() == a.tolist()
    generator = sley.Generator().manual_seed(1)
    assert sley.rand(4, generator=generator).tolist() == a.tolist()


def test_uniform_numbers_are_multiples_of_the_resolution():
    sley.manual_seed(0)
    for dtype, bits in ((sley.float32, 24), (sley.float64, 53), (sley.float16, 11)):
        x = sley.rand(1000, dtype=dtype).array.astype(np.float64)
        assert x.min() >= 0 and x.max() < 1
        np.testing.assert_array_equal(x * 2.0**bits, np.rint(x * 2.0**bits))


def test_distributions():
    sley.manual_seed(3)
    n = 20000
    u, z = sley.rand(n).array, sley.randn(n).array
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.003
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.02 and abs((z**3).mean()) < 0.1
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.03
    wide = sley.randn(n, dtype=sley.float64).array
    assert abs(wide.mean()) < 0.03 and abs(wide.std() - 1) < 0.02
    counts = np.bincount(sley.randint(5, (n,)).array)
    assert counts.size == 5 and abs(counts / n - 0.2).max() < 0.02
    assert abs(sley.bernoulli(sley.full((n,), 0.3)).mean().item() - 0.3) < 0.02
    shares = np.bincount(sley.multinomial(sley.tensor([1.0, 0, 3]), n, True).array) / n
    np.testing.assert_allclose(shares, [0.25, 0, 0.75], atol=0.02)
    assert abs(sley.zeros(n).exponential_(2.0).mean().item() - 0.5) < 0.02


def test_permutations_and_draws_without_replacement():
    sley.manual_seed(0)
    order = sley.randperm(50).tolist()
    assert sorted(order) == list(range(50)) != order
    drawn = sley.multinomial(sley.tensor([[1.0, 0, 2, 3]] * 20), 3).array
    assert (np.sort(drawn, 1) == [0, 2, 3]).all()


def test_permutations_in_compiled_functions():
    def draw(x):
        return sley.randperm(x.shape[0]), sley.multinomial(x, 3)

    compiled, x = sley.compile(draw), sley.tensor([1.0, 2, 0, 3, 4])
    sley.manual_seed(3)
    eager = [draw(x), draw(x)]
    sley.manual_seed(3)
    for order, drawn in eager:
        found = compiled(x)
        assert found[0].tolist() == order.tolist() and found[1].tolist() == drawn.tolist()


def test_forked_streams():
    stream = sley.Generator(device="cpu").manual_seed(5)
    first, second = stream.fork(), stream.fork()
    again = sley.Generator(5).fork()
    draws = [sley.rand(4, generator=g).tolist() for g in (first, second, again, stream)]
    assert draws[0] == draws[2] and len({tuple(d) for d in draws}) == 3
    sley.manual_seed(1)
    before = sley.get_rng_state().tolist()
    with sley.random.fork_rng():
        sley.rand(3)
    assert sley.get_rng_state().tolist() == before


def test_arguments():
    with pytest.raises(ArgumentError):
        sley.randint(3, 3, (1,))
    with pytest.raises(ArgumentError):
        sley.randint(3)
    with pytest.raises(DTypeError):
        sley.rand(2, dtype=sley.int64)
    assert sley.rand_like(sley.zeros(2, 3, dtype=sley.float64)).dtype is sley.float64
    assert sley.randn(2, 3, requires_grad=True).requires_grad
