"""Distributions against scipy: draws, densities, entropies, divergences, gradients, programs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

import sley
import sley.distributions as D

LOC, SCALE = np.array([-1.0, 0.5, 2.0]), np.array([0.5, 1.0, 3.0])
P = np.array([0.1, 0.5, 0.8])
VECTOR, ROOT = np.array([1.0, -2.0]), np.array([[1.0, 0.0], [0.5, 2.0]])


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    sley.set_default_dtype(sley.float64)
    sley.manual_seed(0)
    yield
    sley.set_default_dtype(sley.float32)


def t(a: Any) -> sley.Tensor:
    return sley.tensor(np.asarray(a, np.float64))


# Ours, scipy's of the same numbers, and whether scipy has it shifted or as a frozen class.
CONTINUOUS = {
    "Normal": (lambda: D.Normal(t(LOC), t(SCALE)), stats.norm(LOC, SCALE)),
    "LogNormal": (lambda: D.LogNormal(t(LOC), t(SCALE / 3)),
                  stats.lognorm(SCALE / 3, scale=np.exp(LOC))),
    "Laplace": (lambda: D.Laplace(t(LOC), t(SCALE)), stats.laplace(LOC, SCALE)),
    "Cauchy": (lambda: D.Cauchy(t(LOC), t(SCALE)), stats.cauchy(LOC, SCALE)),
    "Gumbel": (lambda: D.Gumbel(t(LOC), t(SCALE)), stats.gumbel_r(LOC, SCALE)),
    "HalfNormal": (lambda: D.HalfNormal(t(SCALE)), stats.halfnorm(0, SCALE)),
    "Uniform": (lambda: D.Uniform(t(LOC), t(LOC + SCALE)), stats.uniform(LOC, SCALE)),
    "Exponential": (lambda: D.Exponential(t(SCALE)), stats.expon(scale=1 / SCALE)),
}  # fmt: skip
DISCRETE = {
    "Bernoulli": (lambda: D.Bernoulli(t(P)), stats.bernoulli(P)),
    "Geometric": (lambda: D.Geometric(t(P)), stats.geom(P, loc=-1)),
}
ALL = {**CONTINUOUS, **DISCRETE}


def points(reference: Any) -> np.ndarray:
    """Some numbers that can be drawn, four for each of the batch."""
    return reference.ppf(np.array([[0.05], [0.3], [0.6], [0.99]]))


@pytest.mark.parametrize("name", ALL)
def test_densities_means_and_entropies(name: str) -> None:
    made, reference = ALL[name]
    ours = made()
    x = points(reference)
    expected = reference.logpdf(x) if name in CONTINUOUS else reference.logpmf(x)
    np.testing.assert_allclose(ours.log_prob(t(x)), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.entropy(), reference.entropy(), rtol=1e-6)
    np.testing.assert_allclose(ours.perplexity(), np.exp(reference.entropy()), rtol=1e-6)
    if name != "Cauchy":
        np.testing.assert_allclose(ours.mean, reference.mean(), rtol=1e-9)
        np.testing.assert_allclose(ours.variance, reference.var(), rtol=1e-9)
        np.testing.assert_allclose(ours.stddev, reference.std(), rtol=1e-9)
    if name in CONTINUOUS:
        np.testing.assert_allclose(ours.cdf(t(x)), reference.cdf(x), rtol=1e-9)
        np.testing.assert_allclose(ours.icdf(t(reference.cdf(x))), x, rtol=1e-7, atol=1e-9)
    if name not in ("Uniform", "Bernoulli"):
        mode = ours.mode
        near = ours.log_prob(ours.sample((200,)))
        assert (near <= ours.log_prob(mode) + 1e-12).all()


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_distribution(name: str, dtype: str) -> None:
    made, reference = CONTINUOUS[name]
    ours = made()
    for parameter in ours._parameters:
        setattr(ours, parameter, getattr(ours, parameter).to(getattr(sley, dtype)))
    drawn = ours.sample((4000,))
    assert drawn.shape == (4000, 3) and str(drawn.numpy().dtype) == dtype
    assert not drawn.requires_grad and np.isfinite(drawn.numpy()).all()
    levels = reference.cdf(drawn.numpy().astype(np.float64))
    for column in levels.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_counts_of_draws(name: str) -> None:
    made, reference = DISCRETE[name]
    drawn = made().sample((6000,)).numpy()
    for k in range(4):
        expected = reference.pmf(k)
        error = np.sqrt(expected * (1 - expected) / 6000) + 1e-12
        assert (abs((drawn == k).mean(0) - expected) <= 4.5 * error).all()


def test_classes() -> None:
    weights = np.array([[1.0, 2.0, 5.0], [3.0, 0.0, 1.0]])
    p = weights / weights.sum(-1, keepdims=True)
    ours = D.Categorical(t(weights))
    assert ours.batch_shape == (2,) and ours.event_shape == ()
    drawn = ours.sample((4000,))
    assert drawn.dtype is sley.int64 and drawn.shape == (4000, 2)
    shares = np.stack([(drawn.numpy() == k).mean(0) for k in range(3)], -1)
    np.testing.assert_allclose(shares, p, atol=0.04)
    assert shares[1, 1] == 0
    index = np.array([[0, 2], [2, 0]])
    np.testing.assert_allclose(
        ours.log_prob(sley.tensor(index)), np.log(np.take_along_axis(p, index.T, 1).T)
    )
    np.testing.assert_allclose(ours.entropy(), [stats.entropy(row) for row in p])
    assert ours.mode.tolist() == [2, 0] and ours.mean.isnan().all()
    assert ours.enumerate_support().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert ours.enumerate_support(expand=False).shape == (3, 1)
    logits = D.Categorical(logits=t(np.log(weights[0]) + 7))
    np.testing.assert_allclose(logits.probs, p[0])
    np.testing.assert_allclose(logits.log_prob(sley.tensor([0, 2])), np.log(p[0, [0, 2]]))


def test_classes_by_an_axis_of_ones_and_zeros() -> None:
    p = np.array([[0.1, 0.6, 0.3]])
    ours = D.OneHotCategorical(t(p))
    assert ours.batch_shape == (1,) and ours.event_shape == (3,)
    drawn = ours.sample((3000,))
    assert drawn.shape == (3000, 1, 3) and (drawn.sum(-1) == 1).all()
    np.testing.assert_allclose(drawn.mean(0), p, atol=0.04)
    np.testing.assert_allclose(ours.log_prob(drawn), np.log((drawn.numpy() * p).sum(-1)))
    np.testing.assert_allclose(ours.variance, p * (1 - p))
    assert ours.mode.tolist() == [[0, 1, 0]]
    assert ours.enumerate_support().shape == (3, 1, 3)
    with pytest.raises(sley.ArgumentError, match="cannot be drawn"):
        ours.log_prob(t([[1, 1, 0]]))


def test_logits_of_yes_and_no() -> None:
    z = np.array([-3.0, 0.0, 40.0])
    ours = D.Bernoulli(logits=t(z))
    np.testing.assert_allclose(ours.log_prob(t([1.0])), -np.logaddexp(0, -z))
    np.testing.assert_allclose(
        ours.log_prob(sley.tensor([0, 0, 1])), -np.logaddexp(0, [-3, 0, -40])
    )
    assert ours.enumerate_support().tolist() == [[0.0] * 3, [1.0] * 3]
    assert D.Bernoulli(t([0.2, 0.5, 0.7])).mode.nan_to_num(9).tolist() == [0, 9, 1]
    np.testing.assert_allclose(D.Geometric(logits=t(z[:2])).mean, np.exp(-z[:2]))


def test_normal_vectors() -> None:
    reference = stats.multivariate_normal(VECTOR, ROOT @ ROOT.T)
    x = np.random.default_rng(1).standard_normal((5, 2))
    for given in (
        {"scale_tril": t(ROOT)}, {"covariance_matrix": t(ROOT @ ROOT.T)},
        {"precision_matrix": t(np.linalg.inv(ROOT @ ROOT.T))},
    ):  # fmt: skip
        ours = D.MultivariateNormal(t(VECTOR), **given)
        np.testing.assert_allclose(ours.log_prob(t(x)), reference.logpdf(x))
        np.testing.assert_allclose(ours.entropy(), reference.entropy())
        np.testing.assert_allclose(ours.precision_matrix, np.linalg.inv(ROOT @ ROOT.T))
    drawn = ours.sample((4000,)).numpy()
    np.testing.assert_allclose(np.cov(drawn.T), ROOT @ ROOT.T, atol=0.3)
    white = (drawn - VECTOR) @ np.linalg.inv(ROOT).T
    for column in white.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    batch = D.MultivariateNormal(sley.zeros(3, 1, 2), sley.eye(2).expand(4, 2, 2))
    assert batch.batch_shape == (3, 4) and batch.sample((5,)).shape == (5, 3, 4, 2)
    assert ours.expand((7,)).log_prob(t(x[:1])).shape == (7,)


def test_axes_of_a_batch_as_one_draw() -> None:
    base = D.Normal(sley.zeros(2, 3, 4), 1.0)
    ours = D.Independent(base, 2)
    assert (ours.batch_shape, ours.event_shape) == ((2,), (3, 4))
    x = ours.rsample((5,))
    assert x.shape == (5, 2, 3, 4)
    np.testing.assert_allclose(ours.log_prob(x), base.log_prob(x).sum((-1, -2)))
    np.testing.assert_allclose(ours.entropy(), base.entropy().sum((-1, -2)))
    assert ours.expand((6, 2)).sample().shape == (6, 2, 3, 4)
    with pytest.raises(sley.ArgumentError, match="4 axes"):
        D.Independent(base, 4)


def test_expanding() -> None:
    wide = D.Normal(t(LOC), t(1.0)).expand((2, 3))
    assert wide.batch_shape == (2, 3) and wide.sample((4,)).shape == (4, 2, 3)
    assert D.Categorical(sley.ones(3)).expand((5,)).sample((2,)).shape == (2, 5)


# Divergences

PAIRS = {
    **{name: (made, made) for name, (made, _) in CONTINUOUS.items() if name != "Cauchy"},
}


def other_of(name: str) -> Any:
    if name == "HalfNormal":
        return D.HalfNormal(t(SCALE + 0.5))
    if name == "Exponential":
        return D.Exponential(t(SCALE + 0.5))
    if name == "Uniform":
        return D.Uniform(t(LOC - 1), t(LOC + SCALE + 2))
    return type(CONTINUOUS[name][0]())(t(LOC + 0.3), t(SCALE * 1.2))


@pytest.mark.parametrize("name", PAIRS)
def test_divergences_are_integrals(name: str) -> None:
    p, q, reference = CONTINUOUS[name][0](), other_of(name), CONTINUOUS[name][1]
    found = D.kl_divergence(p, q)
    levels = (np.arange(20000) + 0.5) / 20000
    x = t(reference.ppf(levels[:, None]))
    expected = (p.log_prob(x) - q.log_prob(x)).numpy().mean(0)
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-4)
    np.testing.assert_allclose(D.kl_divergence(p, p), 0, atol=1e-12)


def test_divergences_of_the_others() -> None:
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.5, 0.1])
    expected = stats.entropy(p, q)
    for kind in (D.Categorical, D.OneHotCategorical):
        np.testing.assert_allclose(D.kl_divergence(kind(t(p)), kind(t(q))), expected)
    np.testing.assert_allclose(
        D.kl_divergence(D.Bernoulli(t(p)), D.Bernoulli(t(q))),
        [stats.entropy([a, 1 - a], [b, 1 - b]) for a, b in zip(p, q, strict=True)],
    )
    k = np.arange(400)[:, None]
    a, b = stats.geom(p, loc=-1), stats.geom(q, loc=-1)
    np.testing.assert_allclose(
        D.kl_divergence(D.Geometric(t(p)), D.Geometric(t(q))),
        (a.pmf(k) * (a.logpmf(k) - b.logpmf(k))).sum(0),
    )
    uniform, normal = D.Uniform(t(-1.0), t(2.0)), D.Normal(t(0.3), t(0.7))
    found, _ = integrate.quad(lambda x: (-math.log(3) - stats.norm(0.3, 0.7).logpdf(x)) / 3, -1, 2)
    np.testing.assert_allclose(D.kl_divergence(uniform, normal), found)
    assert D.kl_divergence(uniform, D.Uniform(t(0.0), t(5.0))).item() == math.inf
    assert D.kl_divergence(D.Bernoulli(t(0.5)), D.Bernoulli(t(0.0))).item() == math.inf


def test_divergence_of_normal_vectors() -> None:
    p = D.MultivariateNormal(t(VECTOR), scale_tril=t(ROOT))
    q = D.MultivariateNormal(t([0.0, 0.0]), covariance_matrix=t([[2.0, 0.3], [0.3, 1.0]]))
    x = p.sample((200_000,))
    expected = (p.log_prob(x) - q.log_prob(x)).mean().item()
    assert D.kl_divergence(p, q).item() == pytest.approx(expected, rel=0.02)
    a, b = (D.Independent(D.Normal(t(LOC), t(s)), 1) for s in (SCALE, SCALE * 2))
    parts = D.kl_divergence(a.base_dist, b.base_dist)
    np.testing.assert_allclose(D.kl_divergence(a, b), parts.sum())


def test_divergences_of_other_classes() -> None:
    class Mine(D.Normal):
        pass

    class Other(D.Distribution):
        pass

    with pytest.raises(NotImplementedError, match="Normal and Other"):
        D.kl_divergence(D.Normal(0.0, 1.0), Other())
    mine = Mine(0.0, 1.0)
    assert D.kl_divergence(mine, mine).item() == 0
    D.register_kl(Mine, D.Normal)(lambda p, q: t(7.0))
    assert D.kl_divergence(mine, D.Normal(0.0, 1.0)).item() == 7


# Gradients and programs


@pytest.mark.parametrize("name", [n for n in CONTINUOUS if n != "Cauchy"])
def test_draws_have_gradients(name: str) -> None:
    ours = CONTINUOUS[name][0]()
    parameters = [getattr(ours, n).requires_grad_() for n in ours._parameters]
    sley.manual_seed(3)
    found = sley.autograd.grad(ours.rsample((50,)).sum(), parameters)
    for k, n in enumerate(ours._parameters):
        values = []
        for step in (1e-6, -1e-6):
            moved = CONTINUOUS[name][0]()
            setattr(moved, n, getattr(moved, n) + step)
            sley.manual_seed(3)
            values.append(moved.rsample((50,)).sum().item())
        expected = (values[0] - values[1]) / 2e-6
        assert found[k].sum().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_compiled_code_draws_the_same(name: str) -> None:
    kind = type(ALL[name][0]())
    parameters = [getattr(ALL[name][0](), n) for n in kind._parameters][
        : 1 if name in DISCRETE else 2
    ]

    def run(*parameters: sley.Tensor) -> Any:
        ours = kind(*parameters)
        drawn = ours.sample((7,))
        return drawn, ours.log_prob(drawn), ours.entropy()

    sley.manual_seed(5)
    expected = run(*parameters)
    sley.manual_seed(5)
    for found, wanted in zip(sley.compile(run)(*parameters), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_compiled_policy_learns_the_better_arm() -> None:
    logits = sley.zeros(3, requires_grad=True)
    rewards = t([0.0, 1.0, 0.2])
    optimizer = sley.optim.Adam([logits], lr=0.1)

    @sley.compile
    def step() -> sley.Tensor:
        policy = D.Categorical(logits=logits)
        action = policy.sample((64,))
        loss = -(policy.log_prob(action) * (rewards[action] - 0.4)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(60):
        step()
    assert D.Categorical(logits=logits.detach()).probs[1].item() > 0.9


def test_a_compiled_variational_bound() -> None:
    mean, raw = sley.zeros(2, requires_grad=True), sley.zeros(2, requires_grad=True)
    optimizer = sley.optim.Adam([mean, raw], lr=0.05)
    target = D.Normal(t([1.0, -1.0]), t([0.5, 2.0]))

    @sley.compile
    def step() -> sley.Tensor:
        q = D.Normal(mean, raw.exp())
        x = q.rsample((32,))
        loss = -(target.log_prob(x).mean(0) + q.entropy()).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(300):
        step()
    found = D.Normal(mean.detach(), raw.detach().exp())
    assert D.kl_divergence(found, target).max().item() < 0.01


# What is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: D.Normal(0.0, -1.0), "scale of Normal must be positive"),
        (lambda: D.Normal(math.nan, 1.0), "loc of Normal must be real"),
        (lambda: D.Uniform(1.0, 1.0), "high - low"),
        (lambda: D.Exponential(0.0), "rate of Exponential"),
        (lambda: D.Bernoulli(1.5), "probs of Bernoulli"),
        (lambda: D.Bernoulli(), "either probs or logits"),
        (lambda: D.Categorical(sley.ones(2), sley.ones(2)), "either probs or logits"),
        (lambda: D.Categorical(t([-1.0, 3.0])), "probs of Categorical"),
        (lambda: D.Geometric(0.0), "probs of Geometric"),
        (lambda: D.MultivariateNormal(sley.zeros(2)), "exactly one"),
        (lambda: D.Uniform(0.0, 1.0).log_prob(t(2.0)), "cannot be drawn"),
        (lambda: D.Bernoulli(0.5).log_prob(t(0.5)), "cannot be drawn"),
        (lambda: D.Categorical(sley.ones(3)).log_prob(sley.tensor(3)), "cannot be drawn"),
        (lambda: D.Normal(0.0, 1.0).log_prob(1.0), "not a tensor"),
    ],
)
def test_bad_numbers(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_shapes_and_what_is_not_known() -> None:
    with pytest.raises(sley.ShapeError, match="axis of classes"):
        D.Categorical(t(1.0))
    with pytest.raises(sley.ShapeError, match="event shape"):
        D.MultivariateNormal(t(VECTOR), t(np.eye(2))).log_prob(sley.zeros(3))
    with pytest.raises(sley.ShapeError):
        D.Normal(t(LOC), 1.0).log_prob(sley.zeros(2))
    with pytest.raises(sley.UnsupportedError, match="rsample"):
        D.Bernoulli(0.5).rsample()
    with pytest.raises(sley.UnsupportedError, match="cdf"):
        D.Categorical(sley.ones(2)).cdf(t(0.0))
    assert not D.Categorical.has_rsample and D.Normal.has_rsample


def test_checks_can_be_left_out() -> None:
    assert D.Uniform(0.0, 1.0, validate_args=False).log_prob(t(2.0)).item() == -math.inf
    D.Distribution.set_default_validate_args(False)
    try:
        D.Normal(0.0, -1.0)
    finally:
        D.Distribution.set_default_validate_args(True)


def test_numbers_become_tensors_of_the_default_dtype() -> None:
    sley.set_default_dtype(sley.float32)
    assert D.Normal(0, 1).sample().dtype is sley.float32
    assert D.Normal(t(0.0), 1).sample().dtype is sley.float64
    assert repr(D.Normal(sley.zeros(2, 3), 1.0)) == "Normal(loc: [2, 3], scale: [2, 3])"


def test_batches_of_any_size_are_one_program() -> None:
    def run(x: sley.Tensor) -> Any:
        classes, vectors = D.Categorical(logits=x), D.Independent(D.Normal(x, 1.0), 1)
        drawn, moved = classes.sample(), vectors.rsample((2,))
        return drawn, classes.log_prob(drawn), vectors.log_prob(moved)

    compiled = sley.compile(run, dynamic=True)
    for count in (3, 1, 5):
        x = sley.randn(count, 4)
        sley.manual_seed(count)
        expected = run(x)
        sley.manual_seed(count)
        for found, wanted in zip(compiled(x), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
