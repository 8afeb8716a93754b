"""Floats of 8 bits in Triton's language: bytes, that casts turn into float32 and back.

Plain integer instructions do it on every GPU and with the same results: Triton's own conversions
of float8e4nv need compute capability 8.9, and those to float8e5 put the largest number where
infinity belongs. For the formats see `backends/llvm/emit/float8.py`, which computes the same.
"""

from __future__ import annotations

from ....ir.dtypes import FLOAT8 as DTYPES
from ....ir.dtypes import DType, f8e5m2

_WIDEN_E4M3FN = """
@triton.jit
def _widen_f8e4m3fn(x):
    bits = x.to(tl.int32)
    size = bits & 0x7F
    # a subnormal is so many times 2**-9
    small = (size.to(tl.float32) * 0.001953125).to(tl.int32, bitcast=True)
    result = tl.where(size < 8, small, (size << 20) + 0x3C000000)
    result = tl.where(size == 0x7F, 0x7FC00000, result)
    return (result | ((bits ^ size) << 24)).to(tl.float32, bitcast=True)
"""
_WIDEN_E5M2 = """
@triton.jit
def _widen_f8e5m2(x):
    # the upper half of a float16
    return (x.to(tl.int32) << 8).to(tl.uint16).to(tl.float16, bitcast=True).to(tl.float32)
"""


def _narrow(dtype: DType) -> str:
    fraction, bias, largest, nan = (2, 15, 0x7C, 0x7E) if dtype is f8e5m2 else (3, 7, 0x7E, 0x7F)
    lost = 23 - fraction
    magic = 1 - bias - fraction + 23
    rounding = (1 << (lost - 1)) - 1 - ((127 - bias) << 23)
    return f"""
@triton.jit
def _narrow_{dtype.name}(x):
    bits = x.to(tl.int32, bitcast=True)
    size = bits & 0x7FFFFFFF
    normal = (size + ({rounding}) + ((size >> {lost}) & 1)) >> {lost}
    # to a number whose last bit is that of a subnormal the float unit rounds by adding
    small = (size.to(tl.float32, bitcast=True) + {2.0**magic}).to(tl.int32, bitcast=True)
    result = tl.where(size < {(128 - bias) << 23}, small - {(127 + magic) << 23}, normal)
    result = tl.where(result > {largest}, {largest}, result)
    result = tl.where(size > 0x7F800000, {nan}, result)
    return (result | ((bits >> 24) & 0x80)).to(tl.uint8)
"""


# name -> text of a function that casts
FLOAT8: dict[str, str] = {
    "_widen_f8e4m3fn": _WIDEN_E4M3FN,
    "_widen_f8e5m2": _WIDEN_E5M2,
    **{f"_narrow_{dtype.name}": _narrow(dtype) for dtype in DTYPES},
}
