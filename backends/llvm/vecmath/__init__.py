"""Vector math functions as LLVM IR text.

`function("exp", "f32", 16)` gives an internal definition, branch-free and inlined. No libm: only
intrinsics that become plain instructions (with `fma=False` also where the CPU has no fused
multiply-add). coefficients.py is written by derive.py, docs/vecmath.md by measure.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from . import error, exponential, inverse, logarithm, power, trigonometric
from .formats import FORMATS
from .writer import Value, Writer

__all__ = ["ARITY", "NAMES", "VecFunction", "function"]


class VecFunction(NamedTuple):
    """A definition (`text`, with its helpers), its name, and the intrinsics to declare."""

    symbol: str
    text: str
    declarations: tuple[str, ...]


_BUILDERS: dict[str, Callable[..., Value]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "log": logarithm.log,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "log1p": logarithm.log1p,
    "tanh": exponential.tanh,
    "sigmoid": exponential.sigmoid,
    "erf": error.erf,
    "erfc": error.erfc,
    "rsqrt": power.rsqrt,
    "pow": power.pow,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "asin": inverse.asin,
    "acos": inverse.acos,
    "atan": inverse.atan,
    "atan2": inverse.atan2,
    "sinh": exponential.sinh,
    "cosh": exponential.cosh,
    "asinh": logarithm.asinh,
    "acosh": logarithm.acosh,
    "atanh": logarithm.atanh,
}
NAMES = tuple(_BUILDERS)
ARITY = {name: 2 if name in ("pow", "atan2") else 1 for name in NAMES}
LANES = (1, 2, 4, 8, 16, 32)


@cache
def function(
    name: str, dtype: str, lanes: int, fma: bool = True, avx512: bool = False
) -> VecFunction:
    """The definition of `name` over `lanes` lanes of 'f32' or 'f64'.

    `fma` says that the CPU has the instruction; `avx512`, that it has AVX-512F's for exponents and
    reciprocals. For given `fma` and `avx512` an element's result has the same bits for any `lanes`.
    """
    if name not in _BUILDERS:
        raise ValueError(f"vecmath: no function named {name!r}; there are {', '.join(NAMES)}")
    if dtype not in FORMATS:
        raise ValueError(f"vecmath: {name} is written for 'f32' and 'f64', not {dtype!r}")
    if lanes not in LANES:
        raise ValueError(f"vecmath: {name} over {lanes} lanes; use one of {LANES}")
    w = Writer(dtype, lanes, fma, avx512)
    arguments = ("x", "y")[: ARITY[name]]
    result = _BUILDERS[name](w, *(Value(w, dtype, f"%{a}") for a in arguments))
    kind = w.type(dtype)
    symbol = f"sley.{name}.{w.suffix(dtype)}"
    parameters = ", ".join(f"{kind} %{a}" for a in arguments)
    head = f"define internal {kind} @{symbol}({parameters}) alwaysinline nounwind {{"
    lines = [*w.helpers, head, "entry:", *w.lines, f"  ret {kind} {result.ref}", "}", ""]
    return VecFunction(symbol, "\n".join(lines), tuple(w.declarations))
