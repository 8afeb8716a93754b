"""Functions that numpy lacks."""

from __future__ import annotations

import math

import numpy as np

# erf for |x| <= 1 as x * P(x*x): the Maclaurin series 2/sqrt(pi) * (-1)^n / (n! (2n+1)).
_SERIES = [
    2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(26)
]
_erf = np.frompyfunc(math.erf, 1, 1)
_TABLE_LIMIT = 6.0  # erf(6) is 1 in float64


def erf(x: np.ndarray) -> np.ndarray:
    """The error function; float32 is computed in float64 and rounded once."""
    wide = np.asarray(x, np.float64)
    small = np.abs(wide) <= 1
    result = np.empty_like(wide)
    result[small] = wide[small] * np.polynomial.polynomial.polyval(wide[small] ** 2, _SERIES)
    large = ~small
    if large.any():
        clipped = np.clip(wide[large], -_TABLE_LIMIT, _TABLE_LIMIT)
        result[large] = np.asarray(_erf(clipped), np.float64)
    return result.astype(x.dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow for either sign."""
    if x.dtype.kind == "c":
        right = x.real >= 0
        small = np.exp(np.where(right, -x, x))
        return (np.where(right, 1, small) / (1 + small)).astype(x.dtype)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def rsqrt(x: np.ndarray) -> np.ndarray:
    """1 / sqrt(x), rounded once from twice the width."""
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    return (1 / np.sqrt(x.astype(wide))).astype(x.dtype)


def log1p(x: np.ndarray) -> np.ndarray:
    """log(1 + x), exact near 0 (numpy's is not, for complex numbers)."""
    if x.dtype.kind != "c":
        return np.log1p(x)
    wide = x.astype(np.complex128)
    a, b = wide.real, wide.imag
    near = np.log1p(a * (2 + a) + b * b) / 2
    far = np.log(np.hypot(1 + a, b))
    result = np.empty_like(wide)
    result.real = np.where(np.maximum(np.abs(a), np.abs(b)) < 0.5, near, far)
    result.imag = np.arctan2(b, 1 + a)
    return result.astype(x.dtype)
