"""Irrational constants to 1,400 bits as exact fractions, and their splitting into floats."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from .formats import FORMATS

_BITS = 1400


def _arctan_inverse(n: int) -> Fraction:
    """arctan(1/n) by its series, in fixed point."""
    one = 1 << (_BITS + 32)
    total, power, k = 0, one // n, 1
    while power:
        total += power // k if k % 4 == 1 else -(power // k)
        power //= n * n
        k += 2
    return Fraction(total, one)


def _arctanh_inverse(n: int) -> Fraction:
    """artanh(1/n); ln 1.25 is twice that of 1/9."""
    one = 1 << (_BITS + 32)
    total, power, k = 0, one // n, 1
    while power:
        total += power // k
        power //= n * n
        k += 2
    return Fraction(total, one)


def _ln2() -> Fraction:
    """ln 2 = sum of 1 / (k 2**k)"""
    one = 1 << (_BITS + 32)
    return Fraction(sum((one >> k) // k for k in range(1, _BITS + 32)), one)


PI = 4 * (4 * _arctan_inverse(5) - _arctan_inverse(239))
LN2 = _ln2()
LOG10_2 = LN2 / (3 * LN2 + _arctanh_inverse(9) * 2)  # ln 10 = 3 ln 2 + ln 1.25


@cache
def split(dtype: str, number: Fraction, parts: int = 2) -> tuple[float, ...]:
    """A positive number as a sum of floats, none negative: each what is left, rounded down."""
    result = []
    for _ in range(parts):
        part = FORMATS[dtype].round(float(number))
        if Fraction(part) > number:
            part = FORMATS[dtype].previous(part)
        result.append(part)
        number -= Fraction(part)
    return tuple(result)


@cache
def nearest(dtype: str, number: Fraction) -> float:
    """The nearest float."""
    return FORMATS[dtype].round(float(number))
