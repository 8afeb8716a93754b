"""Derives the polynomials: `python -m sley.backends.llvm.vecmath.derive > coefficients.py`.

A specification names a function g, an interval, a degree per float type and the weight that turns
the error of g's polynomial into the relative error of the finished result. The fit is Remez'
exchange on a dense grid in multiple precision. The leading coefficients are rounded one after
another, the rest refitted each time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import mpmath  # type: ignore[import-untyped]
from mpmath import mp, mpf

mp.prec = 300
REFITS = (0, 1, 2, 3, 5)  # how many leading coefficients to round one by one: the best is kept


class Specification(NamedTuple):
    g: Callable[[mpf], mpf]
    low: mpf
    high: mpf
    degree: dict[str, int]
    weight: Callable[[mpf], mpf]


def _solve(matrix: list[list[mpf]], right: list[mpf]) -> list[mpf]:
    return list(mpmath.lu_solve(mpmath.matrix(matrix), mpmath.matrix(right)))


def _evaluate(coefficients: list[mpf], x: mpf) -> mpf:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def remez(
    xs: list[mpf], values: list[mpf], weights: list[mpf], degree: int
) -> tuple[list[mpf], mpf]:
    """The coefficients of least weighted maximum error on the grid, and that error."""
    count = degree + 2
    last = len(xs) - 1
    chosen = [
        int(mpmath.nint(last * (1 - mpmath.cos(mpmath.pi * i / (count - 1))) / 2))
        for i in range(count)
    ]
    best: tuple[list[mpf], mpf] | None = None
    for _ in range(12):
        rows = [
            [xs[i] ** j for j in range(degree + 1)] + [(-1) ** n / weights[i]]
            for n, i in enumerate(chosen)
        ]
        *coefficients, level = _solve(rows, [values[i] for i in chosen])
        errors = [w * (v - _evaluate(coefficients, x)) for x, v, w in zip(xs, values, weights)]
        worst = max(abs(e) for e in errors)
        if best is None or worst < best[1]:
            best = (coefficients, worst)
        if worst <= abs(level) * mpf("1.001"):
            break
        chosen = _extrema(errors, count)
    assert best is not None
    return best


def _extrema(errors: list[mpf], count: int) -> list[int]:
    """One index of largest error per run of equal sign, the best `count` neighbouring ones."""
    runs: list[int] = []
    for i, e in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    step = 1
    while len(runs) < count:  # a degenerate start: fill in neighbours
        runs = sorted(set(runs) | {min(runs[0] + step, len(errors) - 1)})
        step += 7
    return runs


def rounded(x: mpf, dtype: str) -> float:
    """To the nearest float of that type."""
    with mp.workprec(24 if dtype == "f32" else 53):
        return float(+x)


def fit(spec: Specification, dtype: str) -> tuple[list[float], float]:
    """The rounded coefficients, and log2 of the weighted error they leave."""
    return min((_fit(spec, dtype, refits) for refits in REFITS), key=lambda found: found[1])


def _fit(spec: Specification, dtype: str, refits: int) -> tuple[list[float], float]:
    degree = spec.degree[dtype]
    size = 24 * (degree + 3) + 1
    middle, half = (spec.low + spec.high) / 2, (spec.high - spec.low) / 2
    xs = [middle - half * mpmath.cos(mpmath.pi * (i + mpf("0.013")) / size) for i in range(size)]
    exact = [spec.g(x) for x in xs]
    weights = [abs(spec.weight(x)) for x in xs]
    coefficients: list[float] = []
    rest, tail_weights = (
        exact,
        weights,
    )  # after each rounding: (rest - c) / x, to be fitted with |x| times the weight
    for start in range(degree + 1):
        if start <= refits:
            fresh, _ = remez(xs, rest, tail_weights, degree - start)
        coefficients.append(rounded(fresh[0], dtype))
        fresh = fresh[1:]
        rest = [(v - coefficients[-1]) / x for v, x in zip(rest, xs)]
        tail_weights = [w * abs(x) for w, x in zip(tail_weights, xs)]
    errors = [
        abs(w * (v - _evaluate([mpf(c) for c in coefficients], x)))
        for x, v, w in zip(xs, exact, weights)
    ]
    return coefficients, float(mpmath.log(max(errors), 2))


LN2 = mpmath.log(2)
LOW, HIGH = mpf(-1) / 4, mpf(1) / 2  # of f, 1 + f being the significand of a logarithm's argument
ONE = mpf(1)


def _log_tail(base: mpf, lead: mpf) -> Callable[[mpf], mpf]:
    """(log_base(1+f) - lead f) / f"""
    return lambda f: mpmath.log1p(f) / (mpmath.log(base) * f) - lead


def _spec(g, low, high, f32, f64, weight) -> Specification:
    return Specification(g, mpf(low), mpf(high), {"f32": f32, "f64": f64}, weight)


def erfcx_map(t: mpf) -> mpf:
    """x from t = (x - 4) / (x + 4)"""
    return 4 * (1 + t) / (1 - t)


def _odd(function: Callable[[mpf], mpf]) -> Callable[[mpf], mpf]:
    """g with function(x) = x + x z g(z), z = x*x"""
    return lambda z: (function(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1) / z


def _odd_weight(function: Callable[[mpf], mpf]) -> Callable[[mpf], mpf]:
    return lambda z: z * mpmath.sqrt(z) / function(mpmath.sqrt(z))


def _low_sine(share: mpf) -> Callable[[mpf], mpf]:
    """sin(r), less the share of it at pi/2 and ever less of it towards 0"""
    return lambda r: mpmath.sin(r) * (1 - share * (2 * r / mpmath.pi) ** 6)


def _specifications() -> dict[str, Specification]:
    exp, log, sqrt, pi = mpmath.exp, mpmath.log, mpmath.sqrt, mpmath.pi
    quadratic = lambda r: (mpmath.expm1(r) - r) / r**2
    wide, narrow = LN2 * mpf("1.0001"), LN2 / 2 * mpf("1.0001")
    specs = {
        # e**r = 1 + r + r*r*g(r)
        "exp_wide": _spec(quadratic, -wide, wide, 5, 11, lambda r: r**2 / exp(r)),
        "exp": _spec(quadratic, -narrow, narrow, 4, 9, lambda r: r**2 / exp(r)),
        "expm1": _spec(quadratic, -narrow, narrow, 4, 10, lambda r: r**2 / mpmath.expm1(r)),
        # 2**r = 1 + r*g(r)
        "exp2_wide": _spec(
            lambda r: (mpf(2) ** r - 1) / r, "-1", "1", 6, 13, lambda r: r / mpf(2) ** r
        ),
        "exp2": _spec(
            lambda r: (mpf(2) ** r - 1) / r, "-0.5", "0.5", 5, 10, lambda r: r / mpf(2) ** r
        ),
        # log(1+f) = f + f*f*g(f)
        "log": _spec(
            lambda f: (mpmath.log1p(f) - f) / f**2,
            LOW,
            HIGH,
            8,
            19,
            lambda f: f**2 / mpmath.log1p(f),
        ),
        # log_b(1+f) = lead*f + f*g(f)
        "log2": _spec(
            _log_tail(mpf(2), ONE), LOW, HIGH, 9, 20, lambda f: f * LN2 / mpmath.log1p(f)
        ),
        "log10": _spec(
            _log_tail(mpf(10), ONE / 2), LOW, HIGH, 9, 20, lambda f: f * log(10) / mpmath.log1p(f)
        ),
        # odd functions: x + x*z*g(z), z = x*x
        "tanh": _spec(_odd(mpmath.tanh), "1e-9", "0.49", 4, 12, _odd_weight(mpmath.tanh)),
        "sinh": _spec(_odd(mpmath.sinh), "1e-9", "1.0", 3, 7, _odd_weight(mpmath.sinh)),
        # a little low towards pi/2, so that rounding never carries a result beyond 1
        "sin32": _spec(
            _odd(_low_sine(mpf("0.1") * mpf(2) ** -24)),
            "1e-9",
            (pi / 2 * mpf("1.005")) ** 2,
            3,
            3,
            _odd_weight(mpmath.sin),
        ),
        "sin64": _spec(
            _odd(_low_sine(mpf("0.1") * mpf(2) ** -53)),
            "1e-9",
            (pi / 2 * mpf("1.005")) ** 2,
            8,
            8,
            _odd_weight(mpmath.sin),
        ),
        "tan": _spec(
            _odd(mpmath.tan), "1e-9", (pi / 4 * mpf("1.005")) ** 2, 6, 15, _odd_weight(mpmath.tan)
        ),
        "asin": _spec(_odd(mpmath.asin), "1e-9", "0.25", 4, 12, _odd_weight(mpmath.asin)),
        "atan": _spec(_odd(mpmath.atan), "1e-9", "1", 8, 19, _odd_weight(mpmath.atan)),
        # erf(x) = x + x * g(z)
        "erf": _spec(
            lambda z: mpmath.erf(sqrt(z)) / sqrt(z) - 1,
            "1e-9",
            "1",
            6,
            12,
            lambda z: sqrt(z) / mpmath.erf(sqrt(z)),
        ),
        # erf(x) - 1 on [1, 4] around 2.5, for float32's erf
        "erf_far": _spec(
            lambda u: -mpmath.erfc(u + mpf("2.5")), "-1.5", "1.5", 14, 14, lambda u: ONE
        ),
        # erfc(x) * exp(x*x) * (1 + 2 x), x from t
        "erfcx": _spec(
            lambda t: mpmath.erfc(erfcx_map(t)) * exp(erfcx_map(t) ** 2) * (1 + 2 * erfcx_map(t)),
            (mpf("0.5") - 4) / (mpf("0.5") + 4),
            (mpf(28) - 4) / (mpf(28) + 4),
            12,
            23,
            lambda t: ONE,
        ),
        # float32's pow computes in float64: log2(1+f) = f*g(f), 2**r = g(r)
        "pow32_log2": _spec(
            lambda f: mpmath.log1p(f) / (f * LN2),
            LOW,
            HIGH,
            11,
            11,
            lambda f: f * LN2 / mpmath.log1p(f),
        ),
        "pow32_exp2": _spec(lambda r: mpf(2) ** r, "-0.5", "0.5", 6, 6, lambda r: 1 / mpf(2) ** r),
        # atanh(s) = s + s*z/3 + s*z*z*g(z)
        "pow_log": _spec(
            lambda z: (mpmath.atanh(sqrt(z)) / sqrt(z) - 1 - z / 3) / z**2,
            "1e-9",
            "0.0401",
            3,
            9,
            lambda z: z**2,
        ),
    }
    return specs


UNUSED = {
    ("pow32_log2", "f32"),
    ("pow32_exp2", "f32"),
    ("pow_log", "f32"),
    ("erf_far", "f64"),
    ("sin32", "f64"),
    ("sin64", "f32"),
}

HEADER = '''"""The polynomials, lowest coefficient first; by derive.py, which explains them."""

from __future__ import annotations


def _floats(*lines: str) -> tuple[float, ...]:
    return tuple(float.fromhex(word) for line in lines for word in line.split())


COEFFICIENTS: dict[tuple[str, str], tuple[float, ...]] = {
'''


def entry(name: str, dtype: str, coefficients: list[float], error: float) -> str:
    """One entry of the table: the coefficients as lines of hexadecimal floats."""
    per_line = 4 if dtype == "f64" else 5
    words = [c.hex() if dtype == "f64" else c.hex().replace("0000000p", "p") for c in coefficients]
    lines = [" ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    body = "".join(f'        "{line}",\n' for line in lines)
    return f'    ("{name}", "{dtype}"): _floats(  # error 2**{error:.1f}\n{body}    ),\n'


def main() -> None:
    print(HEADER, end="")
    for name, spec in _specifications().items():
        for dtype in ("f32", "f64"):
            if (name, dtype) in UNUSED:
                continue
            coefficients, error = fit(spec, dtype)
            print(entry(name, dtype, coefficients, error), end="")
            print(name, dtype, f"{error:.1f}", file=sys.stderr, flush=True)
    print("}")


if __name__ == "__main__":
    main()
