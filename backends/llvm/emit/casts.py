"""Conversions between dtypes."""

from __future__ import annotations

from ....ir.dtypes import DType, bf16, f16, f32, f64
from .float8 import narrow8, widen8
from .floats import double_to_odd_float, narrow, upper_half, widen
from .writer import Writer, llvm_type, shaped


def cast(w: Writer, source: DType, target: DType, lanes: int | None, value: str) -> str:
    """`value` as `target`. A float becomes an integer by dropping its fraction; out of range the
    result is unspecified, but never undefined behaviour."""
    if source is target:
        return value
    if source.is_float8:
        if target is bf16:
            return upper_half(w, lanes, widen8(w, source, lanes, value))
        return cast(w, f32, target, lanes, widen8(w, source, lanes, value))
    if target.is_float8:
        return narrow8(w, target, lanes, cast(w, source, f32, lanes, value))
    if source.is_low_precision:
        return cast(w, f32, target, lanes, widen(w, source, lanes, value))
    if target.is_low_precision:
        return _to_low_precision(w, source, target, lanes, value)
    if target.kind == "bool":
        return _to_bool(w, source, lanes, value)
    a, b = llvm_type(source), llvm_type(target)
    if source.is_float and target.is_float:
        return w.convert("fpext" if target is f64 else "fptrunc", value, a, b, lanes)
    if source.is_float:
        return _to_integer(w, source, target, lanes, value)
    signed = source.kind == "int"
    if target.is_float:
        return w.convert("sitofp" if signed else "uitofp", value, a, b, lanes)
    if a == b:
        return value
    if _bits(source) > _bits(target):
        return w.convert("trunc", value, a, b, lanes)
    return w.convert("sext" if signed else "zext", value, a, b, lanes)


def _bits(dtype: DType) -> int:
    return 1 if dtype.kind == "bool" else dtype.bits


def _to_bool(w: Writer, source: DType, lanes: int | None, value: str) -> str:
    type_ = llvm_type(source)
    how, zero = ("fcmp une", "0.000000e+00") if source.is_float else ("icmp ne", "0")
    return w.binary(how, type_, lanes, value, w.splat(type_, lanes, zero))


def _to_low_precision(
    w: Writer, source: DType, target: DType, lanes: int | None, value: str
) -> str:
    if source is f64 and target is f16:
        return narrow(w, f16, lanes, double_to_odd_float(w, lanes, value))
    single = value if source is f32 else cast(w, source, f32, lanes, value)
    return narrow(w, target, lanes, single)


def _to_integer(w: Writer, source: DType, target: DType, lanes: int | None, value: str) -> str:
    # `freeze` makes of what is undefined out of range some number. (Conversions that saturate are
    # element by element on x86.)
    a, b = llvm_type(source), llvm_type(target)
    result = "i64" if target.bits == 64 or target.name == "u32" else "i32"
    how = "fptoui" if target.name == "u64" else "fptosi"
    wide = w.op(f"freeze {shaped(result, lanes)} {w.convert(how, value, a, result, lanes)}")
    return wide if b == result else w.convert("trunc", wide, result, b, lanes)


def bitcast(w: Writer, source: DType, target: DType, lanes: int | None, value: str) -> str:
    """The bits of `value` read as another dtype of the same width."""
    a, b = llvm_type(source, memory=True), llvm_type(target, memory=True)
    if source.kind == "bool":
        value = w.convert("zext", value, "i1", "i8", lanes)
    result = value if a == b else w.convert("bitcast", value, a, b, lanes)
    if target.kind == "bool":
        return w.convert("trunc", result, "i8", "i1", lanes)
    return result
