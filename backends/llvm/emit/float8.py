"""Floats of 8 bits: to float32 and back, with plain integer instructions. Both are `i8` values.

f8e4m3fn has 4 bits of exponent (bias 7) and 3 of fraction, no infinity, and NaN where all seven are
set (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"); f8e5m2 is the upper half of an f16.
"""

from __future__ import annotations

from ....ir.dtypes import DType, f8e5m2, f16
from .floats import widen
from .writer import Writer

_INFINITE = 0xFF << 23  # float32's
_QUIET = 0x7FC00000  # a NaN of float32


def widen8(w: Writer, dtype: DType, lanes: int | None, value: str) -> str:
    """The float32 of a float of 8 bits; exact."""
    if dtype is f8e5m2:
        half = w.convert("zext", value, "i8", "i16", lanes)
        half = w.binary("shl", "i16", lanes, half, w.splat("i16", lanes, "8"))
        return widen(w, f16, lanes, half)

    def const(number: int) -> str:
        return w.splat("i32", lanes, str(number))

    bits = w.convert("zext", value, "i8", "i32", lanes)
    size = w.binary("and", "i32", lanes, bits, const(0x7F))
    sign = w.binary("shl", "i32", lanes, w.binary("xor", "i32", lanes, bits, size), const(24))
    # The exponent moves from a bias of 7 to one of 127.
    normal = w.binary("shl", "i32", lanes, size, const(20))
    normal = w.binary("add", "i32", lanes, normal, const(120 << 23))
    # A subnormal is so many times 2**-9.
    small = w.binary(
        "fmul", "float", lanes, w.convert("sitofp", size, "i32", "float", lanes),
        w.splat("float", lanes, "1.953125e-03"),
    )  # fmt: skip
    small = w.convert("bitcast", small, "float", "i32", lanes)
    is_small = w.binary("icmp ult", "i32", lanes, size, const(8))
    result = w.select(is_small, "i32", lanes, small, normal)
    is_nan = w.binary("icmp eq", "i32", lanes, size, const(0x7F))
    result = w.select(is_nan, "i32", lanes, const(_QUIET), result)
    result = w.binary("or", "i32", lanes, result, sign)
    return w.convert("bitcast", result, "i32", "float", lanes)


def narrow8(w: Writer, dtype: DType, lanes: int | None, value: str) -> str:
    """The float of 8 bits nearest to a float32, ties to even. Beyond the largest f8e4m3fn is the
    largest, beyond the largest f8e5m2 infinity."""
    fraction, bias, largest, nan = (2, 15, 0x7C, 0x7E) if dtype is f8e5m2 else (3, 7, 0x7E, 0x7F)
    lost = 23 - fraction

    def const(number: int) -> str:
        return w.splat("i32", lanes, str(number))

    bits = w.convert("bitcast", value, "float", "i32", lanes)
    size = w.binary("and", "i32", lanes, bits, const(0x7FFFFFFF))
    sign = w.binary("lshr", "i32", lanes, w.binary("xor", "i32", lanes, bits, size), const(24))
    odd = w.binary("and", "i32", lanes, w.binary("lshr", "i32", lanes, size, const(lost)), const(1))
    half = (1 << (lost - 1)) - 1
    normal = w.binary("add", "i32", lanes, size, const(half - ((127 - bias) << 23)))
    normal = w.binary("add", "i32", lanes, normal, odd)
    normal = w.binary("lshr", "i32", lanes, normal, const(lost))
    # To a number whose last bit is that of a subnormal the float unit rounds by adding.
    magic = 1 - bias - fraction + 23
    small = w.binary(
        "fadd", "float", lanes, w.convert("bitcast", size, "i32", "float", lanes),
        w.splat("float", lanes, f"{2.0**magic:e}"),
    )  # fmt: skip
    small = w.convert("bitcast", small, "float", "i32", lanes)
    small = w.binary("sub", "i32", lanes, small, const((127 + magic) << 23))
    is_small = w.binary("icmp ult", "i32", lanes, size, const((128 - bias) << 23))
    result = w.select(is_small, "i32", lanes, small, normal)
    is_large = w.binary("icmp ugt", "i32", lanes, result, const(largest))
    result = w.select(is_large, "i32", lanes, const(largest), result)
    is_nan = w.binary("icmp ugt", "i32", lanes, size, const(_INFINITE))
    result = w.select(is_nan, "i32", lanes, const(nan), result)
    result = w.binary("or", "i32", lanes, result, sign)
    return w.convert("trunc", result, "i32", "i8", lanes)
