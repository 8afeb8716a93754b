"""Functions element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as special
from public.samples import ALL, FLOATS, INTS, NUMBERS, SPECIAL, Table, binary, drawn, public, unary

import sley

TABLE = Table()
PI = np.pi


def rounded(x: np.ndarray) -> np.ndarray:
    """As IEEE 754 rounds; integers are themselves."""
    return x if x.dtype.kind in "iu" else np.round(x)


# name: (numpy's form, low, high)
FLOATING: dict[str, tuple[Callable[..., Any], float, float]] = {
    "sqrt": (np.sqrt, 0.2, 9),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0.2, 9),
    "reciprocal": (lambda x: 1 / np.asarray(x, np.float64), 0.3, 4),
    "exp": (np.exp, -3, 3),
    "exp2": (np.exp2, -3, 3),
    "expm1": (np.expm1, -1, 1),
    "log": (np.log, 0.2, 9),
    "log2": (np.log2, 0.2, 9),
    "log10": (np.log10, 0.2, 9),
    "log1p": (np.log1p, -0.5, 4),
    "sin": (np.sin, -9, 9),
    "cos": (np.cos, -9, 9),
    "tan": (np.tan, -1.2, 1.2),
    "asin": (np.arcsin, -0.9, 0.9),
    "acos": (np.arccos, -0.9, 0.9),
    "atan": (np.arctan, -3, 3),
    "sinh": (np.sinh, -2, 2),
    "cosh": (np.cosh, -2, 2),
    "tanh": (np.tanh, -2, 2),
    "asinh": (np.arcsinh, -3, 3),
    "acosh": (np.arccosh, 1.2, 5),
    "atanh": (np.arctanh, -0.9, 0.9),
    "erf": (special.erf, -2, 2),
    "erfc": (special.erfc, -2, 2),
    "erfinv": (special.erfinv, -0.9, 0.9),
    "lgamma": (lambda x: np.where(np.isinf(x), np.inf, special.gammaln(x)), 0.3, 9),
    "digamma": (special.psi, 0.5, 9),
    "sigmoid": (special.expit, -4, 4),
    "deg2rad": (np.deg2rad, -180, 180),
    "rad2deg": (np.rad2deg, -3, 3),
    "sinc": (np.sinc, -2, 2),
}
for _name, (_reference, _low, _high) in FLOATING.items():
    unary(TABLE, _name, lambda x, f=_reference: f(np.asarray(x, np.float64)), low=_low, high=_high,
          result="float")  # fmt: skip

unary(TABLE, "logit", special.logit, low=0.1, high=0.9, dtypes=FLOATS)
unary(TABLE, "logit", lambda x: special.logit(np.clip(x, 0.2, 0.8)),
      call=public("logit", eps=0.2), low=0, high=1, dtypes=FLOATS, special=False)  # fmt: skip
unary(TABLE, "nan_to_num", np.nan_to_num, dtypes=("float64",))
unary(
    TABLE, "nan_to_num",
    lambda x: np.nan_to_num(x, nan=2.0, posinf=3.0, neginf=-3.0),
    call=lambda x: sley.nan_to_num(x, nan=2.0, posinf=3.0, neginf=-3.0), dtypes=("float32",),
)  # fmt: skip
for _name, _reference in {
    "neg": np.negative, "abs": np.abs, "square": np.square, "sign": np.sign, "sgn": np.sign,
    "floor": np.floor, "ceil": np.ceil, "round": rounded, "trunc": np.trunc,
}.items():  # fmt: skip
    # Kinks and steps: away from where the slope jumps.
    unary(TABLE, _name, _reference, low=0.2 if _name != "round" else -2.3, high=0.45 + 2,
          smooth=_name in ("neg", "square", "abs"))  # fmt: skip
unary(TABLE, "frac", lambda x: x - np.trunc(x), dtypes=FLOATS, low=0.1, high=0.9)
unary(TABLE, "round", lambda x: np.round(x, 1), call=lambda x: sley.round(x, decimals=1),
      dtypes=("float64", "float32"), smooth=False)  # fmt: skip
unary(TABLE, "relu", lambda x: np.where(np.isnan(x), x, np.maximum(x, 0)), low=0.1)
for _name in ("isnan", "isinf", "isfinite"):
    unary(TABLE, _name, getattr(np, _name), result="bool", smooth=False)
unary(TABLE, "signbit", np.signbit, result="bool", smooth=False)
unary(TABLE, "logical_not", np.logical_not, dtypes=ALL, result="bool", smooth=False)
unary(TABLE, "bitwise_not", np.invert, dtypes=(*INTS, "bool"), smooth=False, low=-5, high=5)
unary(TABLE, "clamp", lambda x: np.clip(x, -1, 1), call=lambda x: sley.clamp(x, -1, 1),
      dtypes=(*FLOATS, "int64"))  # fmt: skip
unary(TABLE, "clip", lambda x: np.clip(x, None, 0.5), call=lambda x: sley.clip(x, max=0.5),
      dtypes=FLOATS)  # fmt: skip
unary(TABLE, "clamp_min", lambda x: np.clip(x, 0.25, None),
      call=lambda x: sley.clamp_min(x, 0.25), dtypes=FLOATS)  # fmt: skip
unary(TABLE, "stop_gradient", np.positive, smooth=False)
TABLE.wrong("clamp", "no bound", lambda: sley.clamp(sley.ones(3)), sley.ArgumentError, "min")
TABLE.wrong("sqrt", "a list", lambda: sley.sqrt([1.0]), sley.DTypeError, "list")
TABLE.wrong("bitwise_not", "of floats", lambda: sley.bitwise_not(sley.ones(3)), sley.DTypeError,
            "float32")  # fmt: skip

# ----------------------------------------------------------------------------------- two operands

for _name, _reference in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum,
    "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin,
}.items():  # fmt: skip
    binary(TABLE, _name, _reference)
for _name in ("div", "true_divide"):
    binary(TABLE, _name, np.true_divide, second=(0.3, 3), result="float")
binary(TABLE, "div", lambda x, y: np.floor(x / y), second=(0.3, 3), dtypes=FLOATS, smooth=False,
       call=lambda x, y: sley.div(x, y, rounding_mode="floor"), special=False)  # fmt: skip
binary(TABLE, "div", lambda x, y: np.trunc(x / y), second=(0.3, 3), dtypes=("float64", "float32"),
       smooth=False, call=lambda x, y: sley.div(x, y, rounding_mode="trunc"),
       special=False)  # fmt: skip
binary(TABLE, "floor_divide", np.floor_divide, second=(1, 5), low=-9, high=9,
       dtypes=("float64", *INTS), smooth=False, special=False)  # fmt: skip
binary(TABLE, "remainder", np.remainder, second=(1, 5), low=-9, high=9, dtypes=("float64", *INTS),
       special=False)  # fmt: skip
binary(TABLE, "fmod", np.fmod, second=(1, 5), low=-9, high=9, dtypes=("float64", *INTS),
       special=False)  # fmt: skip
binary(TABLE, "pow", np.power, low=0.3, high=3, second=(-2, 3), dtypes=FLOATS, special=False)
binary(TABLE, "pow", np.power, low=-3, high=3, second=(0, 3), dtypes=("int64", "int32"),
       special=False)  # fmt: skip
binary(TABLE, "float_power", lambda x, y: np.power(x, y), low=0.3, high=3, result="float64",
       dtypes=FLOATS, special=False)  # fmt: skip
binary(TABLE, "atan2", lambda x, y: np.arctan2(x * 1.0, y * 1.0), low=0.3, result="float")
binary(TABLE, "logaddexp", np.logaddexp, dtypes=FLOATS)
binary(TABLE, "hypot", np.hypot, low=0.3, dtypes=FLOATS)
binary(TABLE, "copysign", np.copysign, low=0.3, dtypes=FLOATS)
# numpy gives NaN for NaN, PyTorch 0.
binary(TABLE, "heaviside", np.heaviside, dtypes=FLOATS, smooth=False, special=False)
binary(TABLE, "xlogy", special.xlogy, low=0.3, dtypes=FLOATS, second=(0.3, 4))
for _name, _reference in {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}.items():  # fmt: skip
    binary(TABLE, _name, _reference, dtypes=ALL, result="bool", smooth=False)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    binary(TABLE, _name, getattr(np, _name), dtypes=(*INTS, "bool"), smooth=False)
binary(TABLE, "bitwise_left_shift", np.left_shift, dtypes=("int64", "int32"), second=(0, 5),
       smooth=False)  # fmt: skip
binary(TABLE, "bitwise_right_shift", np.right_shift, dtypes=("int64", "int32"), low=-99, high=99,
       second=(0, 5), smooth=False)  # fmt: skip
binary(TABLE, "gcd", np.gcd, dtypes=INTS, low=-60, high=60, smooth=False)
binary(TABLE, "lcm", np.lcm, dtypes=("int64", "int32"), low=-60, high=60, smooth=False)
binary(TABLE, "isclose", np.isclose, dtypes=("float64", "float32"), result="bool", smooth=False)
TABLE.wrong("bitwise_and", "of floats", lambda: sley.bitwise_and(sley.ones(3), sley.ones(3)),
            sley.DTypeError, "float32")  # fmt: skip
TABLE.wrong(
    "div",
    "an unknown rounding",
    lambda: sley.div(sley.ones(3), 2, rounding_mode="up"),
    sley.ArgumentError,
    "up",
)
TABLE.wrong("add", "a string", lambda: sley.add(sley.ones(3), "2"), sley.DTypeError, "str")

# --------------------------------------------------------------------------------- three operands

TRIPLE = [(3, 5), (3, 5), (3, 5)]
TABLE.shaped("lerp", lambda a, b, w: sley.lerp(a, b, w), lambda a, b, w: a + w * (b - a), TRIPLE,
             batch=[0, 0, 0])  # fmt: skip
TABLE.shaped("lerp", lambda a, b: sley.lerp(a, b, 0.25), lambda a, b: a + 0.25 * (b - a),
             TRIPLE[:2], batch=[0, 0], label="number")  # fmt: skip
TABLE.shaped("addcmul", lambda a, b, c: sley.addcmul(a, b, c, value=0.5),
             lambda a, b, c: a + 0.5 * b * c, TRIPLE, batch=[0, 0, 0])  # fmt: skip
TABLE.shaped("addcdiv", lambda a, b, c: sley.addcdiv(a, b, c, value=2),
             lambda a, b, c: a + 2 * b / c, TRIPLE, low=0.4, batch=[0, 0, 0])  # fmt: skip
TABLE.shaped("where", lambda a, b: sley.where(a > 0, a, b), lambda a, b: np.where(a > 0, a, b),
             TRIPLE[:2], dtypes=NUMBERS, batch=[0, 0])  # fmt: skip
TABLE.shaped("where", lambda a: sley.where(a > 0, a, 1), lambda a: np.where(a > 0, a, 1), [(3, 5)],
             dtypes=("float64", "float32", "int64"), batch=[0], label="number")  # fmt: skip
TABLE.shaped("add", lambda a, b: sley.add(a, b, alpha=3), lambda a, b: a + 3 * b, TRIPLE[:2],
             dtypes=NUMBERS, batch=[0, 0], label="alpha")  # fmt: skip
TABLE.shaped("sub", lambda a, b: sley.sub(a, b, alpha=0.5), lambda a, b: a - 0.5 * b, TRIPLE[:2],
             batch=[0, 0], label="alpha")  # fmt: skip
TABLE.case("allclose", "numbers", lambda a, b: sley.allclose(a, b), [[1.0, 2], [1.0, 2 + 1e-9]],
           lambda a, b: np.allclose(a, b), compiled=False)  # fmt: skip
TABLE.case("allclose", "nan", lambda a: sley.allclose(a, a, equal_nan=True), [SPECIAL],
           lambda a: np.True_, compiled=False)  # fmt: skip
TABLE.case("equal", "other shape", lambda a: sley.equal(a, a[:1]), [[1.0, 2]],
           lambda a: np.False_, compiled=False)  # fmt: skip
TABLE.wrong("where", "a float condition", lambda: sley.where(sley.ones(3), 1.0, 2.0),
            sley.DTypeError, "bool")  # fmt: skip
TABLE.wrong("lerp", "shapes", lambda: sley.lerp(sley.ones(3), sley.ones(4), 0.5), sley.ShapeError,
            "broadcast")  # fmt: skip

# Mixed dtypes follow PyTorch's promotion: (left, right, result).
for _left, _right, _result in [
    ("int64", "float32", "float32"), ("uint8", "int32", "int32"), ("bool", "uint8", "uint8"),
    ("float16", "bfloat16", "float32"), ("float16", "int64", "float16"),
    ("float64", "float32", "float64"), ("int32", "int64", "int64"),
]:  # fmt: skip
    TABLE.case("add", f"{_left} and {_right}", public("add"),
               [drawn((3, 5), _left, 0, 3), drawn((5,), _right, 0, 3, 1)],
               lambda a, b: np.add(a * 1.0, b * 1.0), dtype=_result, tolerance=1e-2)  # fmt: skip
