"""Functions of complex numbers as real programs.

Branch cuts and special values are those of C99's Annex G. The inverse functions follow W. Kahan,
"Branch cuts for complex elementary functions" (1987), with the asymptotic form far from 0.
"""

from __future__ import annotations

import math

from ...ir.dtypes import f32
from ...ir.graph import Value, full
from ...ir.ops import elementwise as ew
from .pair import (
    Pair,
    above,
    choose,
    copysign,
    divide,
    is_finite,
    is_infinite,
    is_number,
    multiply,
    negate,
    ordered,
    real_pair,
    where,
)

_LN2 = math.log(2.0)
_MAX_POWERS = 100  # integer powers below are products, as in numpy


def _limit(z: Pair) -> float:
    """Just below the largest x with a finite exp(x)."""
    return 88.0 if z.dtype is f32 else 709.0


def _far(z: Pair) -> float:
    """From this size on 1 + z**2 is z**2."""
    return 2.0**13 if z.dtype is f32 else 2.0**28


def _turned(z: Pair) -> Pair:
    """i * z."""
    return Pair(-z.im, z.re)


def _turned_back(z: Pair) -> Pair:
    """-i * z."""
    return Pair(z.im, -z.re)


def _scaled(z: Pair, factor: float) -> Pair:
    return Pair(z.re * factor, z.im * factor)


# Exponentials


def _exp_times(x: Value, factor: Value, limit: float) -> Value:
    """exp(x) * factor, finite where the product is, though exp(x) may not be."""
    big = above(x, limit)
    product = ew.EXP(where(big, x - limit, x)) * factor
    return where(big, product * math.exp(limit), product)


def exp(z: Pair) -> Pair:
    x, y = z
    re = _exp_times(x, ew.COS(y), _limit(z))
    im = _exp_times(x, ew.SIN(y), _limit(z))
    endless = ew.BIT_AND(is_infinite(x), ew.BIT_NOT(is_finite(y)))
    below = ew.BIT_AND(endless, is_number(x, -math.inf))
    re = where(endless, where(below, 0.0, x), re)
    return Pair(re, where(is_number(y, 0), y, where(below, 0.0, im)))


def exp2(z: Pair) -> Pair:
    return exp(_scaled(z, _LN2))


def expm1(z: Pair) -> Pair:
    """exp(x) cos y - 1 as expm1(x) cos y - 2 sin(y/2)**2, which is exact near 0."""
    whole, half = exp(z), ew.SIN(z.im * 0.5)
    near = ew.EXPM1(z.re) * ew.COS(z.im) - half * half * 2
    return Pair(where(above(z.re, _limit(z) / 2), whole.re, near), whole.im)


def sigmoid(z: Pair) -> Pair:
    right = ew.GE(z.re, full(z.re.type, 0))
    small = exp(choose(right, negate(z), z))
    one = real_pair(full(z.re.type, 1))
    return divide(choose(right, one, small), Pair(small.re + 1, small.im))


def sinh(z: Pair) -> Pair:
    """(sinh x cos y, cosh x sin y)."""
    (x, y), limit = z, _limit(z)
    a, finite = ew.ABS(x), is_finite(z.im)
    big = above(a, limit)
    near = where(big, 1.0, x)
    cosine, sine = ew.COS(y), ew.SIN(y)
    far_re = _exp_times(a, copysign(full(x.type, 0.5), x) * cosine, limit)
    re = where(big, far_re, ew.SINH(near) * cosine)
    im = where(big, _exp_times(a, sine * 0.5, limit), ew.COSH(near) * sine)
    # 0 times a NaN, and inf times one, whose sign is not specified.
    kept = ew.BIT_AND(ew.BIT_OR(is_number(x, 0), is_infinite(x)), ew.BIT_NOT(finite))
    re = where(kept, where(is_number(x, 0), x, a), re)
    return Pair(re, where(is_number(y, 0), y, im))


def cosh(z: Pair) -> Pair:
    """(cosh x cos y, sinh x sin y)."""
    (x, y), limit = z, _limit(z)
    a, finite = ew.ABS(x), is_finite(z.im)
    big = above(a, limit)
    near = where(big, 1.0, x)
    cosine, sine = ew.COS(y), ew.SIN(y)
    re = where(big, _exp_times(a, cosine * 0.5, limit), ew.COSH(near) * cosine)
    sign = copysign(full(x.type, 1), x)
    im = where(big, _exp_times(a, sign * sine * 0.5, limit), ew.SINH(near) * sine)
    re = where(ew.BIT_AND(is_infinite(x), ew.BIT_NOT(finite)), a, re)
    im = where(ew.BIT_AND(is_number(x, 0), ew.BIT_NOT(finite)), 0.0, im)
    return Pair(re, where(is_number(y, 0), sign * y, im))


def tanh(z: Pair) -> Pair:
    """(sinh x cosh x, sin y cos y) / (sinh(x)**2 + cos(y)**2); far out (1, 4 sin y cos y
    e**-2x)."""
    x, y = z
    a = ew.ABS(x)
    big = above(a, 12.0 if z.dtype is f32 else 22.0)
    near = where(big, 1.0, x)
    s, c, cosine, sine = ew.SINH(near), ew.COSH(near), ew.COS(y), ew.SIN(y)
    below = s * s + cosine * cosine
    unit = copysign(full(x.type, 1), x)
    unit = where(is_infinite(x), unit, unit + y * 0)  # NaN where y is not finite
    re = where(big, unit, s * c / below)
    both = sine * cosine
    im = where(big, both * 4 * ew.EXP(a * -2), both / below)
    endless = ew.BIT_AND(is_infinite(x), ew.BIT_NOT(is_finite(y)))
    return Pair(where(is_number(x, 0), x, re), where(is_number(y, 0), y, where(endless, 0.0, im)))


def sin(z: Pair) -> Pair:
    return _turned(sinh(_turned_back(z)))


def cos(z: Pair) -> Pair:
    return cosh(_turned(z))


def tan(z: Pair) -> Pair:
    return _turned_back(tanh(_turned(z)))


# Logarithms and powers


def _log_length(z: Pair) -> Value:
    """log |z|, without overflow, and exact where |z| is near 1."""
    large, small = ordered(z)
    ratio = small / where(is_number(large, 0), 1.0, large)
    far = ew.LOG(large) + ew.LOG1P(ratio * ratio) * 0.5
    near = ew.LOG1P((large - 1) * (large + 1) + small * small) * 0.5
    close = ew.BIT_AND(above(large, 0.5), ew.LT(large, full(large.type, 2)))
    endless = ew.BIT_OR(is_infinite(z.re), is_infinite(z.im))
    return where(endless, math.inf, where(close, near, far))


def log(z: Pair) -> Pair:
    return Pair(_log_length(z), ew.ATAN2(z.im, z.re))


def log2(z: Pair) -> Pair:
    return _scaled(log(z), 1 / _LN2)


def log10(z: Pair) -> Pair:
    return _scaled(log(z), 1 / math.log(10.0))


def log1p(z: Pair) -> Pair:
    moved = Pair(z.re + 1, z.im)
    near = ew.LOG1P(z.re * (z.re + 2) + z.im * z.im) * 0.5
    close = ew.LT(ordered(z)[0], full(z.re.type, 0.5))
    return Pair(where(close, near, _log_length(moved)), ew.ATAN2(z.im, moved.re))


def sqrt(z: Pair) -> Pair:
    """The root with a real part >= 0, from the parts divided by the larger one."""
    x, y = z
    a, b = ew.ABS(x), ew.ABS(y)
    large = ew.MAXIMUM(a, b)
    zero = is_number(large, 0)
    unit = where(zero, 1.0, large)
    p, q = a / unit, b / unit
    root = ew.SQRT(large) * ew.SQRT((p + ew.SQRT(p * p + q * q)) * 0.5)
    half = where(zero, 0.0, b / (root * 2))
    right = ew.GE(x, full(x.type, 0))
    re, im = where(right, root, half), where(right, half, root)
    # b * 0 is 0, or NaN beside a NaN.
    nothing, end = b * 0, is_number(x, math.inf)
    low = is_number(x, -math.inf)
    re = where(end, math.inf, where(low, nothing, re))
    im = where(end, nothing, where(low, math.inf, im))
    tall = is_number(b, math.inf)
    return Pair(where(tall, math.inf, re), copysign(where(tall, math.inf, im), y))


def rsqrt(z: Pair) -> Pair:
    return divide(real_pair(full(z.re.type, 1)), sqrt(z))


def power(x: Pair, y: Pair) -> Pair:
    """exp(y log x); 0**y is 0 for a positive real y, 1 for y = 0."""
    general = exp(multiply(y, log(x)))
    none = is_number(y.im, 0)
    base_zero = ew.BIT_AND(is_number(x.re, 0), is_number(x.im, 0))
    grows = ew.BIT_AND(above(y.re, 0.0), none)
    of_zero = where(grows, full(x.re.type, 0), math.nan)
    found = choose(base_zero, Pair(of_zero, of_zero), general)
    one = real_pair(full(x.re.type, 1))
    return choose(ew.BIT_AND(is_number(y.re, 0), none), one, found)


def integer_power(x: Pair, exponent: int) -> Pair:
    """By squaring, for |exponent| below `_MAX_POWERS`."""
    found: Pair | None = None
    square, left = x, abs(exponent)
    while left:
        if left & 1:
            found = square if found is None else multiply(found, square)
        left >>= 1
        if left:
            square = multiply(square, square)
    one = real_pair(full(x.re.type, 1))
    if found is None:
        return one
    return divide(one, found) if exponent < 0 else found


def small_integer(number: complex) -> int | None:
    """`number` as an exponent for `integer_power`, if it is one."""
    whole = number.imag == 0 and abs(number.real) < _MAX_POWERS and number.real % 1 == 0
    return int(number.real) if whole else None


# Inverse functions


def _asinh(x: Value) -> Value:
    """The real inverse hyperbolic sine, for |x| whose square does not overflow."""
    a = ew.ABS(x)
    return copysign(ew.LOG1P(a + a * a / (ew.SQRT(a * a + 1) + 1)), x)


def _roots(z: Pair) -> tuple[Pair, Pair]:
    """sqrt(1 - z) and sqrt(1 + z)."""
    return sqrt(Pair(1 - z.re, -z.im)), sqrt(Pair(z.re + 1, z.im))


def asin(z: Pair) -> Pair:
    x, y = z
    minus, plus = _roots(z)
    near = Pair(
        ew.ATAN2(x, minus.re * plus.re - minus.im * plus.im),
        _asinh(minus.re * plus.im - minus.im * plus.re),
    )
    size = _log_length(z) + _LN2
    distant = Pair(ew.ATAN2(x, ew.ABS(y)), copysign(size, y))
    found = choose(_is_far(z), distant, near)
    return Pair(where(is_number(x, 0), x, found.re), found.im)  # also beside a NaN


def acos(z: Pair) -> Pair:
    x, y = z
    minus, plus = _roots(z)
    near = Pair(
        ew.ATAN2(minus.re, plus.re) * 2,
        _asinh(plus.re * minus.im - plus.im * minus.re),
    )
    size = _log_length(z) + _LN2
    distant = Pair(ew.ATAN2(ew.ABS(y), x), copysign(size, -y))
    found = choose(_is_far(z), distant, near)
    return Pair(where(is_number(x, 0), math.pi / 2, found.re), found.im)  # also beside a NaN


def _is_far(z: Pair) -> Value:
    """Whether a part is large; one may be NaN."""
    limit = _far(z)
    return ew.BIT_OR(above(ew.ABS(z.re), limit), above(ew.ABS(z.im), limit))


def atan(z: Pair) -> Pair:
    return _turned_back(_atanh(_turned(z)))


def _atanh(z: Pair) -> Pair:
    """log1p(4x / ((1 - x)**2 + y**2)) / 4 and half the angle of (1 + z)(1 - conj z); near the poles
    the logarithms apart, far out 1/z beside a quarter turn."""
    x, y = z
    a = ew.ABS(x)
    gap = 1 - a
    plain = ew.LOG1P(a * 4 / (gap * gap + y * y)) * 0.25
    apart = (_log_length(Pair(a + 1, y)) - _log_length(Pair(gap, y))) * 0.5
    pole = ew.BIT_AND(ew.LT(ew.ABS(gap), full(a.type, 0.5)), ew.LT(ew.ABS(y), full(a.type, 0.5)))
    near = where(pole, apart, plain)
    angle = ew.ATAN2(y * 2, gap * (a + 1) - y * y) * 0.5
    b = ew.ABS(y)
    large, small = ordered(z)
    ratio = small / large
    spread = ratio * ratio + 1  # |z|**2 over large**2; large**2 may overflow
    endless, far = ew.BIT_OR(is_infinite(x), is_infinite(y)), _is_far(z)
    re = copysign(where(far, where(endless, 0.0, a / large / spread / large), near), x)
    rest = where(endless, where(is_infinite(b), 0.0, b * 0), b / large / spread / large)
    im = where(far, copysign(math.pi / 2 - rest, y), angle)
    return Pair(where(is_number(x, 0), x, re), im)
