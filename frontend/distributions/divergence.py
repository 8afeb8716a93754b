"""How far distributions are from each other, by a table of pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ShapeError, UnsupportedError
from ..functions.math import abs, exp, log, where
from ..functions.reduction import sum
from ..linalg.systems import solve_triangular
from ..nn.functional import softplus
from ..tensor import Tensor
from .discrete import Bernoulli, Categorical
from .distribution import Distribution
from .joint import Independent, MultivariateNormal
from .located import Gumbel, HalfNormal, Laplace, LogNormal, Normal
from .ranged import Exponential, Geometric, Uniform

Formula = Callable[[Any, Any], Tensor]
_FORMULAS: dict[tuple[type, type], Formula] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Formula], Formula]:
    """A decorator: `kl_divergence(p, q)` of these classes, and of subclasses that have none of
    their own, is what the function gives."""

    def register(formula: Formula) -> Formula:
        _FORMULAS[type_p, type_q] = formula
        return formula

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The Kullback-Leibler divergence: the mean of log p(x) - log q(x) of draws x from p.

    Raises:
        UnsupportedError: no formula for the two classes is known.
    """
    for kind in type(p).__mro__:
        for other in type(q).__mro__:
            formula = _FORMULAS.get((kind, other))
            if formula is not None:
                return formula(p, q)
    raise UnsupportedError(
        f"kl_divergence of {type(p).__name__} and {type(q).__name__} is not known",
        hint="add a formula with register_kl, or take the mean of p.log_prob(x) - q.log_prob(x)",
    )


@register_kl(Normal, Normal)
@register_kl(LogNormal, LogNormal)
def _normals(p: Any, q: Any) -> Tensor:
    ratio, away = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return 0.5 * (ratio * ratio + away * away - 1) - log(ratio)


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: HalfNormal, q: HalfNormal) -> Tensor:
    ratio = p.scale / q.scale
    return 0.5 * (ratio * ratio - 1) - log(ratio)


@register_kl(Laplace, Laplace)
def _laplaces(p: Laplace, q: Laplace) -> Tensor:
    ratio, away = p.scale / q.scale, abs(p.loc - q.loc)
    return -log(ratio) + away / q.scale + ratio * exp(-away / p.scale) - 1


@register_kl(Gumbel, Gumbel)
def _gumbels(p: Gumbel, q: Gumbel) -> Tensor:
    euler, ratio = 0.57721566490153286, p.scale / q.scale
    away = (q.loc - p.loc) / q.scale
    gamma = exp((ratio + 1).lgamma())
    return log(q.scale / p.scale) - away + ratio * euler + exp(away) * gamma - (1 + euler)


@register_kl(Exponential, Exponential)
def _exponentials(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - log(ratio)


@register_kl(Uniform, Uniform)
def _uniforms(p: Uniform, q: Uniform) -> Tensor:
    is_in = (q.low <= p.low) & (p.high <= q.high)
    return where(is_in, log((q.high - q.low) / (p.high - p.low)), math.inf)


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    spread, away = p.variance, p.mean - q.loc
    square = q.scale * q.scale
    return q.entropy() - 0.5 - p.entropy() + 0.5 * (spread + away * away) / square


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Bernoulli, q: Bernoulli) -> Tensor:
    yes = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    no = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    yes = where((q.probs == 0) & (p.probs > 0), math.inf, where(p.probs == 0, 0.0, yes))
    return yes + where((q.probs == 1) & (p.probs < 1), math.inf, where(p.probs == 1, 0.0, no))


@register_kl(Geometric, Geometric)
def _geometrics(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Categorical, Categorical)
def _categoricals(p: Categorical, q: Categorical) -> Tensor:
    part = p.probs * (p.logits - q.logits)
    part = where(q.probs == 0, math.inf, part)
    return sum(where(p.probs == 0, 0.0, part), -1)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ShapeError(
            f"kl_divergence of vectors of {p.event_shape[0]} and {q.event_shape[0]} numbers"
        )
    turned = solve_triangular(q.scale_tril, p.scale_tril, upper=False)
    away = (q.loc - p.loc).unsqueeze(-1)
    moved = solve_triangular(q.scale_tril, away, upper=False).squeeze(-1)
    spread = sum(turned * turned, (-2, -1)) + sum(moved * moved, -1)
    return q._half_log_det() - p._half_log_det() + 0.5 * (spread - p.event_shape[0])


@register_kl(Independent, Independent)
def _independents(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise UnsupportedError("kl_divergence of Independents with different numbers of axes")
    return p._total(kl_divergence(p.base_dist, q.base_dist))
