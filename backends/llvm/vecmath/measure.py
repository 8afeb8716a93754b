"""Measures every function: `python -m sley.backends.llvm.vecmath.measure > docs/vecmath.md`.

Errors are in units in the last place of the exact result: float32 against float64 functions,
float64 against the machine's extended precision, erf and erfc there against mpmath.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from . import ARITY, NAMES
from .harness import DTYPES, ArrayFunction, host_has_avx512

EXTENDED = np.finfo(np.longdouble).nmant >= 63

_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: np.where(x > 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x))),
}  # fmt: skip


def reference(name: str, dtype: str, *arguments: np.ndarray) -> np.ndarray:
    """The result in a wider type."""
    wide = np.float64 if dtype == "f32" else np.longdouble
    with np.errstate(all="ignore"):
        if name in ("erf", "erfc"):
            return _reference_erf(name, dtype, arguments[0]).astype(wide)
        function = _NUMPY.get(name) or getattr(np, name)
        return function(*(a.astype(wide) for a in arguments))


def _reference_erf(name: str, dtype: str, x: np.ndarray) -> np.ndarray:
    if dtype == "f32":
        import scipy.special  # type: ignore[import-untyped]

        return getattr(scipy.special, name)(x.astype(np.float64))
    import mpmath  # type: ignore[import-untyped]

    function = getattr(mpmath, name)
    with mpmath.workprec(90):
        values = [function(mpmath.mpf(float(v))) for v in np.clip(x.ravel(), -40.0, 40.0)]
        texts = [mpmath.nstr(v, 25) if abs(v) > 1e-4900 else "0" for v in values]
        return np.array([np.longdouble(text) for text in texts])


def ulp_error(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|got - exact| in units in the last place; infinity counts as the next power of two."""
    info = np.finfo(got.dtype)
    wide = exact.dtype
    beyond = wide.type(2) ** info.maxexp
    with np.errstate(all="ignore"):
        finite_exact = np.clip(exact, -beyond, beyond)
        finite_got = np.clip(got.astype(wide), -beyond, beyond)
        _, exponent = np.frexp(np.where(finite_exact == beyond, info.max, finite_exact))
        exponent = np.clip(exponent - 1, info.minexp, info.maxexp - 1)
        error = np.abs(finite_got - finite_exact) / np.ldexp(wide.type(1), exponent - info.nmant)
    both_nan = np.isnan(got) & np.isnan(exact)
    return np.where(both_nan, 0.0, np.where(np.isnan(error), np.inf, error)).astype(np.float64)


def every_exponent(dtype: str, rng: np.random.Generator, per_exponent: int = 8) -> np.ndarray:
    """Each exponent with several significands and both signs, subnormal, infinite, NaN too."""
    info = np.finfo(DTYPES[dtype])
    integer = np.uint32 if dtype == "f32" else np.uint64
    exponents: np.ndarray = np.arange(2**info.nexp, dtype=integer)[:, None] << integer(info.nmant)
    last = 2**info.nmant - 1
    edges: np.ndarray = np.array([0, 1, last, last // 2 + 1]).astype(integer)
    random: np.ndarray = rng.integers(
        0, 2**info.nmant, (len(exponents), per_exponent), dtype=integer
    )
    bits = np.concatenate([exponents + edges, exponents + random], 1).ravel()
    sign = integer(1) << integer(info.bits - 1)
    return np.concatenate([bits, bits + sign]).view(DTYPES[dtype])


def inputs(name: str, dtype: str, count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Every exponent, then `count` numbers in each of several ranges."""
    rng = np.random.default_rng(seed)
    spans = (1.0, 2.5, 12.0, 110.0 if dtype == "f32" else 800.0)
    kind = DTYPES[dtype]
    few = name in ("erf", "erfc") and dtype == "f64"
    every = every_exponent(dtype, rng, 1 if few else 8)
    if few:
        count = min(count, 1500)
        every = every[np.isfinite(every)][::7]
    parts = [every, *(rng.uniform(-s, s, count).astype(kind) for s in spans)]
    if name == "acosh" or name.startswith("log") or name == "rsqrt":
        parts += [
            (1 + rng.uniform(-0.5, 0.5, count)).astype(kind),
            np.exp(parts[-1].astype(np.float64) * 0.7).astype(kind),
        ]
    if name in ("sin", "cos", "tan"):
        parts += [
            rng.uniform(-1e5, 1e5, 2 * count).astype(kind),
            near_multiples_of_half_pi(kind, count, rng),
        ]
    if ARITY[name] == 1:
        return (np.concatenate(parts),)
    x, y = np.concatenate(parts), np.concatenate(parts)
    rng.shuffle(y)
    if name == "pow":  # results all over the range
        base = np.exp(rng.uniform(-80, 80, 4 * count)).astype(kind)
        near_one = 1 + rng.uniform(-1, 1, 2 * count) * 2.0 ** -rng.integers(1, 22, 2 * count)
        base = np.concatenate([base, near_one.astype(kind)])
        with np.errstate(all="ignore"):
            top = 104.0 if dtype == "f32" else 745.0
            log_result = rng.uniform(-top, top * 0.86, base.size)
            power = (log_result / np.log(base.astype(np.float64))).astype(kind)
        x, y = (
            np.concatenate([x, base, -base[:1000]]),
            np.concatenate([y, power, np.rint(power[:1000])]),
        )
    else:
        ratio = np.exp(rng.uniform(-20, 20, 4 * count))
        base = rng.uniform(-9, 9, 4 * count)
        x, y = (
            np.concatenate([x, base.astype(kind)]),
            np.concatenate([y, (base * ratio).astype(kind)]),
        )
    return x, y


def near_multiples_of_half_pi(kind: np.dtype, count: int, rng: np.random.Generator) -> np.ndarray:
    n = rng.integers(-60000, 60000, count)
    return (n * (np.pi / 2)).astype(kind)


def worst(
    name: str,
    dtype: str,
    lanes: int,
    count: int,
    fma: bool = True,
    avx512: bool = False,
    seed: int = 0,
) -> tuple[float, tuple]:
    """The largest error over the inputs, and where it is."""
    arguments = inputs(name, dtype, count, seed)
    got = ArrayFunction(name, dtype, lanes, fma, avx512)(*arguments)
    error = ulp_error(got, reference(name, dtype, *arguments))
    at = int(np.argmax(error))
    return float(error[at]), tuple(a[at] for a in arguments) + (got[at],)


VARIANTS = {"fma": (True, False), "no fma": (False, False), "AVX-512": (True, True)}


TITLE = """# Vector math: measured accuracy

The largest error found, in units in the last place, over every exponent and random arguments;
written by `python -m sley.backends.llvm.vecmath.measure`. "no fma" is for CPUs without a fused
multiply-add, "AVX-512" uses its instructions for exponents and reciprocals. sin, cos and tan are
measured over all finite arguments, pow over results from the smallest to the largest number.
On one CPU an element has the same bits in a vector of any width, in a tail and alone.
"""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    variants = {k: v for k, v in VARIANTS.items() if host_has_avx512() or not v[1]}
    heads = [f"{dtype} {variant}" for dtype in ("float32", "float64") for variant in variants]
    print(TITLE)
    print(f"| function | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 1) + "|")
    for name in NAMES:
        cells = []
        for dtype, lanes in (("f32", 16), ("f64", 8)):
            for fma, avx512 in variants.values():
                error, _ = worst(name, dtype, lanes, count, fma, avx512)
                cells.append(f"{error:.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
