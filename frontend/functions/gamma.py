"""The gamma function's family and the complement of erf, composed of primitives: each is computed
in float64 or float32 by series and recurrences, so that gradients of any order follow from it.

M. Abramowitz, I. Stegun (ed.), "Handbook of Mathematical Functions", 1964, chapter 6; W. J. Cody,
"Rational Chebyshev approximation for the error function", Math. Comp. 23, 1969.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...ir.dtypes import f32
from ..apply import elementwise
from ..errors import ArgumentError
from ..tensor import Tensor, here
from .arguments import cast, takes_out
from .math import (
    abs,
    add,
    cast_float,
    div,
    eq,
    erf,
    exp,
    floor,
    ge,
    gt,
    le,
    log,
    log1p,
    lt,
    mul,
    neg,
    pow,
    sin,
    square,
    sub,
    tan,
    trunc,
    where,
)

_INF = math.inf
_LOG_PI, _HALF_LOG_2PI = math.log(math.pi), 0.5 * math.log(2 * math.pi)
_EULER = 0.57721566490153286061

# B(2k) for k = 1, 2, ...
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def _zeta_minus_one(s: int) -> float:
    """zeta(s) - 1 by its sum and the Euler-Maclaurin rest (23.2.9)."""
    count = 12
    total = math.fsum(k**-s for k in range(2, count))
    total += count ** (1 - s) / (s - 1) + 0.5 * count**-s
    term = float(s)
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        total += bernoulli * term / math.factorial(2 * k) * count ** -(s + 2 * k - 1)
        term *= (s + 2 * k - 1) * (s + 2 * k)
    return total


# lgamma(2 + t) = t (1 - gamma) + sum over k >= 2 of (-1)^k (zeta(k) - 1) t^k / k  (6.1.33)
_NEAR_TWO = (1 - _EULER, *((-1) ** k * _zeta_minus_one(k) / k for k in range(2, 30)))
# lgamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + sum of B(2k) / (2k (2k - 1) x^(2k - 1)) (6.1.41)
_STIRLING = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1))


def _polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """c[0] + c[1] x + c[2] x^2 + ..."""
    result: Any = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = add(mul(x, result), coefficient)
    return result


def _wide(input: Any) -> Tensor:
    """`input` as float32 or float64."""
    x = cast_float(input)
    return cast(x, f32) if here(x).spec.dtype.is_low_precision else x


def _narrow(result: Tensor, input: Any) -> Tensor:
    return cast(result, here(cast_float(input)).spec.dtype)


@takes_out
def lgamma(input: Any) -> Tensor:
    """log|gamma(x)|, inf at 0, -1, -2, ... For x > 0 relatively exact to some ulp; below 0, where
    it crosses 0 between the poles, absolutely."""
    x = _wide(input)
    below, small = lt(x, 0), lt(x, 0.5)
    found = _lgamma(where(below, sub(1, x), where(small, add(x, 1), x)))
    # Below 0 by reflection: gamma(x) gamma(1 - x) = pi / sin(pi x) (6.1.17)
    far = sub(x, floor(add(x, 0.5)))
    pole = eq(far, 0)
    waves = log(abs(sin(mul(where(pole, 0.5, far), math.pi))))
    reflected = where(pole, _INF, sub(sub(_LOG_PI, waves), found))
    lowered = sub(found, log(where(small, where(below, 1.0, x), 1.0)))
    return _narrow(where(eq(abs(x), _INF), _INF, where(below, reflected, lowered)), input)


def _lgamma(x: Tensor) -> Tensor:
    """Of numbers from 1/2 on."""
    large = gt(x, 8.5)
    high = where(large, x, 9.0)
    inverse = div(1, high)
    rest = mul(_polynomial(_STIRLING, square(inverse)), inverse)
    stirling = add(mul(sub(high, 0.5), sub(log(high), 1)), add(rest, _HALF_LOG_2PI - 0.5))
    near = where(large, 2.0, x)
    # near = t + 2 + steps, t in [-1/2, 1/2]: gamma(x) = (x - 1) (x - 2) ... gamma(2 + t)
    steps = floor(sub(near, 1.5))
    t = sub(near, add(steps, 2))
    product: Any = where(ge(steps, 1), sub(near, 1), 1.0)
    for k in range(2, 8):
        product = mul(product, where(ge(steps, k), sub(near, k), 1.0))
    series = mul(_polynomial(_NEAR_TWO, t), t)
    one_less = lt(steps, 0)
    small = sub(series, log1p(where(one_less, t, 0.0)))
    return where(large, stirling, where(one_less, small, add(series, log(product))))


@takes_out
def digamma(input: Any) -> Tensor:
    """The derivative of lgamma; NaN at -1, -2, ... and infinite at 0, of the sign of -0 or 0
    turned. Absolutely exact to some ulp near its zeros, relatively elsewhere."""
    x = _wide(input)
    below = lt(x, 0)
    found = _digamma(where(below, sub(1, x), where(eq(x, 0), 1.0, x)))
    far = sub(x, floor(add(x, 0.5)))
    pole = eq(far, 0)
    turned = mul(tan(mul(where(pole, 0.25, far), math.pi)), 1 / math.pi)
    reflected = where(pole, math.nan, sub(found, div(1, turned)))
    result = where(below, reflected, found)
    return _narrow(where(eq(x, 0), neg(div(1, x)), result), input)


def _digamma(x: Tensor) -> Tensor:
    """Of positive numbers: by psi(x) = psi(x + 1) - 1 / x up to 10, and the asymptotic series
    (6.3.5, 6.3.18)."""
    small = lt(x, 10)
    total: Any = 0.0
    for k in range(10):
        total = add(div(1, add(where(small, x, 1.0), k)), total)
    high = where(small, add(x, 10), x)
    inverse = div(1, high)
    squared = square(inverse)
    rest = mul(_polynomial([b / (2 * k) for k, b in enumerate(_BERNOULLI, 1)], squared), squared)
    series = sub(sub(log(high), mul(inverse, 0.5)), rest)
    series = where(eq(x, _INF), _INF, series)
    return where(small, sub(series, total), series)


@takes_out
def polygamma(n: int, input: Any) -> Tensor:
    """The n-th derivative of digamma: (-1)^(n + 1) n! sum over k >= 0 of 1 / (x + k)^(n + 1).
    For n = 0 and 1 of all numbers, from n = 2 on of x > 0, NaN below.

    Raises:
        ArgumentError: n is negative.
    """
    if not isinstance(n, int) or n < 0:
        raise ArgumentError(f"polygamma: n={n!r} is not an int of 0 or more")
    if n == 0:
        return digamma(input)
    x = _wide(input)
    positive = gt(x, 0)
    if n > 1:
        found = _hurwitz(where(positive, x, 1.0), n + 1)
        sign = math.factorial(n) * (-1) ** (n + 1)
        result = mul(where(positive, found, where(eq(x, 0), _INF, math.nan)), sign)
        return _narrow(result, input)
    found = _hurwitz(where(positive, x, sub(1, x)), 2)
    far = sub(x, floor(add(x, 0.5)))
    pole = eq(far, 0)
    waves = div(math.pi**2, square(sin(mul(where(pole, 0.5, far), math.pi))))
    below = where(pole, _INF, sub(waves, found))
    return _narrow(where(positive, found, below), input)


def _hurwitz(x: Tensor, s: int) -> Tensor:
    """The sum over k >= 0 of 1 / (x + k)^s for positive x, by Euler and Maclaurin (23.1.30)."""
    total: Any = 0.0
    count = 10
    for k in reversed(range(count)):
        total = add(pow(add(x, k), -s), total)
    high = add(x, count)
    inverse = div(1, high)
    squared = square(inverse)
    terms, factor = [], float(s)
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        terms.append(bernoulli * factor / math.factorial(2 * k))
        factor *= (s + 2 * k - 1) * (s + 2 * k)
    rest = mul(_polynomial(terms, squared), inverse)
    tail = add(mul(add(rest, 0.5), inverse), 1 / (s - 1))
    return add(mul(tail, pow(inverse, s - 1)), total)


# The error function's complement (Cody): between 0.47 and 4, and from 4 on, of 1/x^2.
_MIDDLE = (
    (1.23033935479799725e3, 2.05107837782607147e3, 1.71204761263407058e3, 8.81952221241769090e2,
     2.98635138197400131e2, 6.61191906371416295e1, 8.88314979438837594e0, 5.64188496988670089e-1,
     2.15311535474403846e-8),
    (1.23033935480374942e3, 3.43936767414372164e3, 4.36261909014324716e3, 3.29079923573345963e3,
     1.62138957456669019e3, 5.37181101862009858e2, 1.17693950891312499e2, 1.57449261107098347e1,
     1.0),
)  # fmt: skip
_TAIL = (
    (6.58749161529837803e-4, 1.60837851487422766e-2, 1.25781726111229246e-1,
     3.60344899949804439e-1, 3.05326634961232344e-1, 1.63153871373020978e-2),
    (2.33520497626869185e-3, 6.05183413124413191e-2, 5.27905102951428412e-1,
     1.87295284992346725e0, 2.56852019228982242e0, 1.0),
)  # fmt: skip


@takes_out
def erfc(input: Any) -> Tensor:
    """1 - erf(x), relatively exact for large x, too."""
    x = _wide(input)
    size = abs(x)
    centre, far = le(size, 0.46875), gt(size, 4)
    y = where(elementwise("bit_or", centre, far), 1.0, size)
    middle = div(_polynomial(_MIDDLE[0], y), _polynomial(_MIDDLE[1], y))
    z = where(far, elementwise("minimum", size, 30.0), 5.0)
    inverse = div(1, square(z))
    rest = div(_polynomial(_TAIL[0], inverse), _polynomial(_TAIL[1], inverse))
    tail = div(sub(1 / math.sqrt(math.pi), mul(inverse, rest)), z)
    # exp(-x * x) from a square that is exact and what is missing.
    bound = where(centre, 1.0, elementwise("minimum", size, 30.0))
    short = elementwise("stop_gradient", div(trunc(mul(bound, 16)), 16))
    missing = mul(sub(bound, short), add(bound, short))
    bell = mul(exp(neg(square(short))), exp(neg(missing)))
    found = mul(bell, where(far, tail, middle))
    found = where(lt(x, 0), sub(2, found), found)
    return _narrow(where(centre, sub(1, erf(x)), found), input)
