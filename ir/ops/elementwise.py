"""Elementwise ops: a scalar function of scalars of one type.

Arithmetic on f16 and bf16 is done in f32 and rounded once per op. Integer overflow wraps around.
Of complex numbers branch cuts and special values are those of C99's Annex G.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, bool_, converted, f32, f64, i64, is_half, of_numpy, u32, u64
from ..types import TensorType
from .base import Attrs, Kind, Op, define, need, refuse_float8
from .source import philox_bits
from .special import erf, log1p, rsqrt, sigmoid

FLOAT = ("float",)
INEXACT = ("float", "complex")
NUMBER = ("float", "int", "uint")
ARITHMETIC = ("float", "int", "uint", "complex")
INTEGER = ("int", "uint")
BITS = ("int", "uint", "bool")
ANY = ("float", "int", "uint", "bool")
EVERY = ("float", "int", "uint", "bool", "complex")
HELD = (*EVERY, "float8")
Function = Callable[..., Any]


def _widened(function: Function) -> Callable[[Sequence[np.ndarray], Attrs], list[np.ndarray]]:
    """Evaluates `function` in float32 where the operands are f16 or bf16."""

    def evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
        dtype = arrays[0].dtype
        if dtype.itemsize != 2 or not is_half(dtype):
            return [np.asarray(function(*arrays))]
        result = np.asarray(function(*(a.astype(np.float32) for a in arrays)))
        return [result if result.dtype == np.bool_ else result.astype(dtype)]

    return evaluate


def _plain(function: Function) -> Callable[[Sequence[TensorType], Attrs], Function | None]:
    """As `_widened`, for types that are known before."""
    return lambda types, attrs: None if is_half(types[0].dtype.numpy) else function


def _same_types(name: str, kinds: tuple[str, ...]) -> Callable:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
        first = types[0]
        if first.dtype.kind not in kinds:
            refuse_float8(name, first)
            need(False, f"{name} does not take {first.dtype.public}")
        for other in types[1:]:
            if other is not first:  # types are interned; the text is made only where it is needed
                need(False, f"{name} takes equal types, got {first} and {other}")
        return (first,)

    return infer


def _comparison(name: str, kinds: tuple[str, ...]) -> Callable:
    same = _same_types(name, kinds)

    def infer(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
        return (same(types, attrs)[0].with_dtype(bool_),)

    return infer


def _unary(name: str, kinds: tuple[str, ...], function: Function, doc: str, cost: int = 1) -> Op:
    infer, evaluate = _same_types(name, kinds), _widened(function)
    return define(
        name,
        Kind.ELEMENTWISE,
        infer,
        evaluate,
        doc,
        arity=1,
        cost=cost,
        prepare=_plain(function),
    )


def _binary(
    name: str, kinds: tuple[str, ...], function: Function, doc: str, cost: int = 1,
    commutative: bool = False,
) -> Op:  # fmt: skip
    infer, evaluate = _same_types(name, kinds), _widened(function)
    return define(
        name, Kind.ELEMENTWISE, infer, evaluate, doc, arity=2, cost=cost, commutative=commutative,
        prepare=_plain(function),
    )  # fmt: skip


def _compare(
    name: str, function: Function, doc: str, commutative: bool = False, kinds: tuple[str, ...] = ANY
) -> Op:
    return define(
        name, Kind.ELEMENTWISE, _comparison(name, kinds), _widened(function), doc, arity=2,
        commutative=commutative, prepare=_plain(function),
    )  # fmt: skip


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x ** y; an integer to a negative power is 0 but for bases 1 and -1."""
    if x.dtype.kind in "fc" or not np.any(y < 0):
        return np.power(x, y)
    exact = np.power(x, np.maximum(y, 0))
    odd = np.where(y % 2 == 0, 1, x)
    return np.where(y >= 0, exact, np.where(x == 1, 1, np.where(x == -1, odd, 0))).astype(x.dtype)


def _shift(function: Function) -> Function:
    """Shifts by the width or more give what shifting one bit at a time would."""

    def shifted(x: np.ndarray, by: np.ndarray) -> np.ndarray:
        width = 8 * x.dtype.itemsize
        with np.errstate(all="ignore"):
            return function(x, np.where((by < 0) | (by >= width), width, by).astype(x.dtype))

    return shifted


_absolute = _same_types("abs", ARITHMETIC)

NEG = _unary("neg", ARITHMETIC, np.negative, "-x")
ABS = define(
    "abs", Kind.ELEMENTWISE,
    lambda types, attrs: [t.with_dtype(t.dtype.to_real()) for t in _absolute(types, attrs)],
    _widened(np.abs), "|x|; of a complex number its real length", arity=1,
)  # fmt: skip
SIGN = _unary("sign", NUMBER, np.sign, "-1, 0 or 1; NaN for NaN", cost=3)
FLOOR = _unary("floor", FLOAT, np.floor, "the largest integer <= x")
CEIL = _unary("ceil", FLOAT, np.ceil, "the smallest integer >= x")
ROUND = _unary("round", FLOAT, np.rint, "the nearest integer, ties to even")
TRUNC = _unary("trunc", FLOAT, np.trunc, "x without its fraction")
SQRT = _unary("sqrt", INEXACT, np.sqrt, "square root; NaN below 0", cost=4)
RSQRT = _unary("rsqrt", INEXACT, rsqrt, "1 / sqrt(x)", cost=5)
EXP = _unary("exp", INEXACT, np.exp, "e ** x", cost=14)
EXP2 = _unary("exp2", INEXACT, np.exp2, "2 ** x", cost=14)
EXPM1 = _unary("expm1", INEXACT, np.expm1, "e ** x - 1, exact near 0", cost=20)
LOG = _unary("log", INEXACT, np.log, "natural logarithm; NaN below 0, -inf at 0", cost=18)
LOG2 = _unary("log2", INEXACT, np.log2, "logarithm to the base 2", cost=18)
LOG10 = _unary("log10", INEXACT, np.log10, "logarithm to the base 10", cost=18)
LOG1P = _unary("log1p", INEXACT, log1p, "log(1 + x), exact near 0", cost=22)
SIN = _unary("sin", INEXACT, np.sin, "sine of radians", cost=24)
COS = _unary("cos", INEXACT, np.cos, "cosine of radians", cost=24)
TAN = _unary("tan", INEXACT, np.tan, "tangent of radians", cost=30)
ASIN = _unary("asin", INEXACT, np.arcsin, "arc sine in radians; NaN outside [-1, 1]", cost=24)
ACOS = _unary("acos", INEXACT, np.arccos, "arc cosine in radians; NaN outside [-1, 1]", cost=24)
ATAN = _unary("atan", INEXACT, np.arctan, "arc tangent in radians", cost=24)
SINH = _unary("sinh", INEXACT, np.sinh, "hyperbolic sine", cost=24)
COSH = _unary("cosh", INEXACT, np.cosh, "hyperbolic cosine", cost=24)
TANH = _unary("tanh", INEXACT, np.tanh, "hyperbolic tangent", cost=20)
ERF = _unary("erf", FLOAT, erf, "the error function, 2/sqrt(pi) * integral of exp(-t*t)", cost=22)
SIGMOID = _unary("sigmoid", INEXACT, sigmoid, "1 / (1 + exp(-x))", cost=18)
BIT_NOT = _unary("bit_not", BITS, np.invert, "each bit inverted; logical not of a bool")
STOP_GRADIENT = define(
    "stop_gradient", Kind.ELEMENTWISE, _same_types("stop_gradient", HELD),
    lambda arrays, attrs: [arrays[0]], "x, without a gradient", arity=1, cost=0,
)  # fmt: skip

ADD = _binary("add", EVERY, np.add, "x + y; logical or of bools", commutative=True)
SUB = _binary("sub", ARITHMETIC, np.subtract, "x - y")
MUL = _binary("mul", EVERY, np.multiply, "x * y; logical and of bools", commutative=True)
DIV = _binary("div", INEXACT, np.divide, "x / y", cost=4)
FLOOR_DIV = _binary(
    "floor_div", NUMBER, np.floor_divide, "floor(x / y); an integer over 0 is 0", cost=8
)
REMAINDER = _binary(
    "remainder", NUMBER, np.remainder, "x - floor(x / y) * y; an integer over 0 is 0", cost=8
)
POW = _binary("pow", ARITHMETIC, _power, "x ** y", cost=40)
ATAN2 = _binary("atan2", FLOAT, np.arctan2, "the angle of the point (y, x) = operands", cost=30)
MAXIMUM = _binary("maximum", ANY, np.maximum, "the larger; NaN if one is", commutative=True)
MINIMUM = _binary("minimum", ANY, np.minimum, "the smaller; NaN if one is", commutative=True)
BIT_AND = _binary("bit_and", BITS, np.bitwise_and, "bitwise and", commutative=True)
BIT_OR = _binary("bit_or", BITS, np.bitwise_or, "bitwise or", commutative=True)
BIT_XOR = _binary("bit_xor", BITS, np.bitwise_xor, "bitwise exclusive or", commutative=True)
SHIFT_LEFT = _binary("shift_left", INTEGER, _shift(np.left_shift), "x * 2**y, bits lost")
SHIFT_RIGHT = _binary(
    "shift_right", INTEGER, _shift(np.right_shift), "floor(x / 2**y): the sign is kept"
)
EQ = _compare("eq", np.equal, "x == y", commutative=True, kinds=EVERY)
NE = _compare("ne", np.not_equal, "x != y; True for NaN", commutative=True, kinds=EVERY)
LT = _compare("lt", np.less, "x < y")
LE = _compare("le", np.less_equal, "x <= y")
GT = _compare("gt", np.greater, "x > y")
GE = _compare("ge", np.greater_equal, "x >= y")


def _infer_where(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    condition, x, y = types
    # Types are interned; the texts are made only where they are needed.
    if condition is not x.with_dtype(bool_):
        need(False, f"where takes {x.with_dtype(bool_)}, got {condition}")
    if x is not y:
        need(False, f"where takes equal types, got {x} and {y}")
    return (x,)


_BRANCHES = 1024  # elements; for fewer of them, numpy's own selection is as fast


def _select(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    """y ^ ((x ^ y) * condition) on the bits: without the branch of numpy's `where` for each
    element, which takes ten times as long where the condition follows no pattern."""
    condition, x, y = arrays
    alike = condition.shape == x.shape == y.shape  # kernels have them broadcast to each other
    if x.size < _BRANCHES or x.dtype.itemsize > 8 or not alike:
        return [np.where(condition, x, y)]
    return [_selected(condition, x, y)]


def _prepare_select(types: Sequence[TensorType], attrs: Attrs) -> Function:
    size = types[1].size
    assert isinstance(size, int)
    return np.where if size < _BRANCHES or types[1].dtype.itemsize > 8 else _selected


def _selected(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    bits = f"u{x.dtype.itemsize}"
    left, right = x.view(bits), y.view(bits)
    chosen = np.bitwise_xor(left, right, order="C")
    chosen *= condition
    chosen ^= right
    return chosen.view(x.dtype)


WHERE = define(
    "where", Kind.ELEMENTWISE, _infer_where, _select,
    "x where the condition holds, else y; the other side is not looked at", arity=3,
    prepare=_prepare_select,
)  # fmt: skip


def _convert(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    x, dtype = np.asarray(arrays[0]), attrs["dtype"]
    if x.dtype.kind == "c" and dtype.kind in ("float", "float8", "int", "uint"):
        x = x.real
    source = of_numpy(x.dtype)
    if source is not None and source.is_float8:
        x = x.astype(np.float32)
    if x.dtype.kind == "f" and dtype.kind in ("int", "uint") and dtype.numpy.itemsize < 8:
        # Through int64 and then modulo 2**bits, as C compilers do for the common targets.
        return [np.asarray(x.astype(np.int64).astype(dtype.numpy))]
    return [converted(x, dtype)]


def _prepare_convert(types: Sequence[TensorType], attrs: Attrs) -> Function | None:
    (x,), dtype = types, attrs["dtype"]
    if not dtype.is_inexact or (x.dtype.is_complex and not dtype.is_complex):
        return None
    if dtype.is_float8 or x.dtype.is_float8:
        return None
    return operator.methodcaller("astype", dtype.numpy)


def _infer_cast(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(isinstance(attrs["dtype"], DType), f"cast to {attrs['dtype']!r}, which is no dtype")
    return (types[0].with_dtype(attrs["dtype"]),)


def _infer_bitcast(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    dtype = attrs["dtype"]
    need(types[0].dtype.bits == dtype.bits, f"bitcast of {types[0]} to {dtype.public}")
    need(not (types[0].dtype.is_complex or dtype.is_complex), "bitcast does not take complex")
    return (types[0].with_dtype(dtype),)


CAST = define(
    "cast", Kind.ELEMENTWISE, _infer_cast, _convert,
    """x as `dtype`: floats round to nearest even, a float becomes an integer by dropping its
    fraction (unspecified out of range), a complex number a real one by dropping its imaginary
    part, bool is x != 0. To floats of 8 bits numbers go by way of f32; beyond the largest
    f8e4m3fn is the largest.""",
    arity=1, attributes=("dtype",), prepare=_prepare_convert,
)  # fmt: skip
BITCAST = define(
    "bitcast", Kind.ELEMENTWISE, _infer_bitcast,
    lambda arrays, attrs: [np.asarray(arrays[0]).view(attrs["dtype"].numpy)],
    "the bits of x read as `dtype` of the same width", arity=1, attributes=("dtype",),
)  # fmt: skip


def _infer_part(name: str) -> Callable:
    same = _same_types(name, ("complex",))

    def infer(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
        (x,) = same(types, attrs)
        return (x.with_dtype(x.dtype.to_real()),)

    return infer


def _infer_complex(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x, _) = types
    _same_types("complex", FLOAT)(types, attrs)
    need(x.dtype in (f32, f64), f"complex does not take {x.dtype.public}")
    return (x.with_dtype(x.dtype.to_complex()),)


def _join(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    real, imaginary = arrays
    joined = np.empty(real.shape, np.complex64 if real.dtype == np.float32 else np.complex128)
    joined.real, joined.imag = real, imaginary
    return [joined]


REAL = define(
    "real", Kind.ELEMENTWISE, _infer_part("real"), lambda arrays, attrs: [arrays[0].real],
    "The real part of a complex number.", arity=1, cost=0,
)  # fmt: skip
IMAG = define(
    "imag", Kind.ELEMENTWISE, _infer_part("imag"), lambda arrays, attrs: [arrays[0].imag],
    "The imaginary part of a complex number.", arity=1, cost=0,
)  # fmt: skip
COMPLEX = define(
    "complex", Kind.ELEMENTWISE, _infer_complex, _join,
    "The complex number with these real and imaginary parts.", arity=2, cost=0,
)  # fmt: skip


def _random_bits(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(all(t.dtype is i64 for t in types), f"random_bits takes three i64, got {list(types)}")
    need(types[0] is types[1] is types[2], f"random_bits takes equal types, got {list(types)}")
    need(attrs["bits"] in (32, 64), f"bits={attrs['bits']} is not 32 or 64")
    return (types[0].with_dtype(u32 if attrs["bits"] == 32 else u64),)


RANDOM_BITS = define(
    "random_bits", Kind.ELEMENTWISE, _random_bits,
    lambda arrays, attrs: [np.asarray(philox_bits(arrays[0], arrays[1], arrays[2], attrs["bits"]))],
    "One element of `rng_bits`, from its seed, offset and element number.",
    arity=3, attributes=("bits",), cost=80,
)  # fmt: skip
