"""f16 and bf16: to float32 and back, rounding to nearest even, with plain integer instructions
where the target has no better. Both are `i16` values."""

from __future__ import annotations

from ....ir.dtypes import DType, f16
from .writer import Writer, shaped


def widen(w: Writer, dtype: DType, lanes: int | None, value: str) -> str:
    """The float32 of an f16 or bf16; exact."""
    if dtype is f16:
        return _half_to_float(w, lanes, value)
    bits = w.convert("zext", value, "i16", "i32", lanes)
    bits = w.binary("shl", "i32", lanes, bits, w.splat("i32", lanes, "16"))
    return w.convert("bitcast", bits, "i32", "float", lanes)


def narrow(w: Writer, dtype: DType, lanes: int | None, value: str) -> str:
    """The f16 or bf16 nearest to a float32."""
    return (_float_to_half if dtype is f16 else _float_to_bfloat)(w, lanes, value)


def upper_half(w: Writer, lanes: int | None, value: str) -> str:
    """The bf16 that a float32 is, which has no more bits of fraction than that."""
    bits = w.convert("bitcast", value, "float", "i32", lanes)
    bits = w.binary("lshr", "i32", lanes, bits, w.splat("i32", lanes, "16"))
    return w.convert("trunc", bits, "i32", "i16", lanes)


def _float_to_bfloat(w: Writer, lanes: int | None, value: str) -> str:
    # Adding 0x7fff, or 0x8000 above an odd result, carries into the kept half exactly where
    # nearest-even rounds up. A NaN must not be carried into an infinity.
    def const(number: int) -> str:
        return w.splat("i32", lanes, str(number))

    bits = w.convert("bitcast", value, "float", "i32", lanes)
    kept = w.binary("lshr", "i32", lanes, bits, const(16))
    odd = w.binary("and", "i32", lanes, kept, const(1))
    bias = w.binary("add", "i32", lanes, odd, const(0x7FFF))
    rounded = w.binary("add", "i32", lanes, bits, bias)
    rounded = w.binary("lshr", "i32", lanes, rounded, const(16))
    quiet = w.binary("or", "i32", lanes, kept, const(0x40))
    nan = w.binary("fcmp uno", "float", lanes, value, value)
    result = w.select(nan, "i32", lanes, quiet, rounded)
    return w.convert("trunc", result, "i32", "i16", lanes)


def _half_to_float(w: Writer, lanes: int | None, value: str) -> str:
    if w.target.half:
        half = w.convert("bitcast", value, "i16", "half", lanes)
        return w.convert("fpext", half, "half", "float", lanes)

    def const(number: int) -> str:
        return w.splat("i32", lanes, str(number))

    bits = w.convert("zext", value, "i16", "i32", lanes)
    size = w.binary("and", "i32", lanes, bits, const(0x7FFF))
    sign = w.binary("shl", "i32", lanes, w.binary("xor", "i32", lanes, bits, size), const(16))
    wide = w.binary("shl", "i32", lanes, size, const(13))
    scaled = w.binary(
        "fmul", "float", lanes, w.convert("bitcast", wide, "i32", "float", lanes),
        w.splat("float", lanes, "0x46F0000000000000"),
    )  # fmt: skip
    finite = w.convert("bitcast", scaled, "float", "i32", lanes)
    special = w.binary("icmp uge", "i32", lanes, size, const(0x7C00))
    infinite = w.binary("or", "i32", lanes, wide, const(0x7F800000))
    result = w.select(special, "i32", lanes, infinite, finite)
    result = w.binary("or", "i32", lanes, result, sign)
    return w.convert("bitcast", result, "i32", "float", lanes)


def _float_to_half(w: Writer, lanes: int | None, value: str) -> str:
    if w.target.half:
        half = w.convert("fptrunc", value, "float", "half", lanes)
        return w.convert("bitcast", half, "half", "i16", lanes)

    def const(number: int) -> str:
        return w.splat("i32", lanes, str(number))

    bits = w.convert("bitcast", value, "float", "i32", lanes)
    size = w.binary("and", "i32", lanes, bits, const(0x7FFFFFFF))
    sign = w.binary("lshr", "i32", lanes, w.binary("xor", "i32", lanes, bits, size), const(16))
    odd = w.binary("and", "i32", lanes, w.binary("lshr", "i32", lanes, size, const(13)), const(1))
    normal = w.binary("add", "i32", lanes, size, const(0xFFF - (112 << 23)))
    normal = w.binary("add", "i32", lanes, normal, odd)
    normal = w.binary("lshr", "i32", lanes, normal, const(13))
    # Below 2**-14 adding 0.5 makes the float unit round at the last bit of a subnormal half.
    small = w.binary(
        "fadd", "float", lanes, w.convert("bitcast", size, "i32", "float", lanes),
        w.splat("float", lanes, "5.000000e-01"),
    )  # fmt: skip
    small = w.convert("bitcast", small, "float", "i32", lanes)
    small = w.binary("sub", "i32", lanes, small, const(0x3F000000))
    is_small = w.binary("icmp ult", "i32", lanes, size, const(0x38800000))
    result = w.select(is_small, "i32", lanes, small, normal)
    is_large = w.binary("icmp uge", "i32", lanes, size, const(0x47800000))
    result = w.select(is_large, "i32", lanes, const(0x7C00), result)
    is_nan = w.binary("icmp ugt", "i32", lanes, size, const(0x7F800000))
    result = w.select(is_nan, "i32", lanes, const(0x7E00), result)
    result = w.binary("or", "i32", lanes, result, sign)
    return w.convert("trunc", result, "i32", "i16", lanes)


def double_to_odd_float(w: Writer, lanes: int | None, value: str) -> str:
    """A float64 as the float32 towards zero with its last bit set where that is inexact: rounding
    it again to a half is as if rounded once."""
    near = w.convert("fptrunc", value, "double", "float", lanes)
    back = w.convert("fpext", near, "float", "double", lanes)
    bits = w.convert("bitcast", near, "float", "i32", lanes)
    one = w.splat("i32", lanes, "1")
    size, back_size = (w.intrinsic("fabs", "double", lanes, v) for v in (value, back))
    above = w.binary("fcmp ogt", "double", lanes, back_size, size)
    toward_zero = w.select(above, "i32", lanes, w.binary("sub", "i32", lanes, bits, one), bits)
    odd = w.binary("or", "i32", lanes, toward_zero, one)
    inexact = w.binary("fcmp one", "double", lanes, back, value)
    result = w.select(inexact, "i32", lanes, odd, bits)
    return w.op(f"bitcast {shaped('i32', lanes)} {result} to {shaped('float', lanes)}")
