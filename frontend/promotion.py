"""PyTorch's type promotion.

Tensors with axes decide over 0-d tensors, and these over Python numbers, unless the weaker one is
of a higher category (bool < integer < float < complex). See PyTorch's "Tensor Attributes" page.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..ir.dtypes import SIGNED, DType, bf16, bool_, c128, f16, f32, f64, i64, u64
from .context import ambient
from .errors import DTypeError, warn_user
from .symint import SymInt
from .tensor import Tensor

_FLOATS = (f16, bf16, f32, f64)
_CATEGORY = {"bool": 0, "uint": 1, "int": 1, "float": 2, "float8": 2, "complex": 3}


def category(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for floats, 3 for complex numbers."""
    return _CATEGORY[dtype.kind]


@functools.lru_cache(maxsize=512)
def promote_types(a: DType, b: DType) -> DType:
    """The smallest dtype that both convert to without leaving their category.

    Raises:
        DTypeError: uint64 with a signed integer: no integer dtype holds both; or float8 with any
            other dtype.
    """
    if a is b:
        return a
    if a.is_float8 or b.is_float8:
        raise DTypeError(
            f"{a.public} and {b.public} have no common dtype: float8 is only stored",
            hint="cast it first: x.to(sley.bfloat16)",
        )
    if a.is_complex or b.is_complex:
        return c128 if c128 in (a, b) or f64 in (a, b) else a.to_complex()
    if category(a) != category(b):
        return max(a, b, key=category)
    if a.is_float:
        if {a, b} == {f16, bf16}:
            return f32
        return max(a, b, key=_FLOATS.index)
    if a.kind == b.kind:
        return max(a, b, key=lambda d: d.itemsize)
    unsigned, signed = (a, b) if a.kind == "uint" else (b, a)
    if unsigned is u64:
        raise DTypeError(f"no dtype holds both {a.public} and {b.public}", hint="cast one of them")
    return next(d for d in SIGNED if d.itemsize >= signed.itemsize and d.bits > unsigned.bits)


def can_cast(source: DType, target: DType) -> bool:
    """Whether a result of dtype `source` may be stored as `target`: not to a lower category."""
    return category(source) <= category(target)


def note_discarded(source: DType, target: DType) -> None:
    """Warn, at the user's line, of a cast that keeps only real parts, as PyTorch does."""
    if not source.is_complex or target.is_complex or target is bool_:
        return
    warn_user("casting complex values to real discards the imaginary part")


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return higher or lower
    if higher.is_complex:
        return higher
    if higher.is_floating_point:
        return higher.to_complex() if lower.is_complex else higher
    if higher is bool_ or lower.is_inexact:
        return promote_types(higher, lower)
    return higher


def number_dtype(number: Any) -> DType:
    """The dtype of a Python number as a tensor of its own.

    Raises:
        DTypeError: it is no bool, int, float or complex.
    """
    if isinstance(number, bool):
        return bool_
    if isinstance(number, (int, SymInt)):
        return i64
    if isinstance(number, float):
        return ambient.context.default_dtype
    if isinstance(number, complex):
        return default_complex_dtype()
    if isinstance(number, np.generic):
        return number_dtype(number.item())
    raise DTypeError(f"a {type(number).__name__} is neither a tensor nor a number")


_PYTHON_TYPES: dict[Any, DType] = {bool: bool_, int: i64, float: f64, complex: c128}


def as_dtype(dtype: Any) -> DType:
    """What a user gave as `dtype=`: a dtype, or Python's bool, int, float or complex.

    Raises:
        DTypeError: it is none of these.
    """
    if isinstance(dtype, DType):
        return dtype
    found = _PYTHON_TYPES.get(dtype) if isinstance(dtype, type) else None
    if found is None:
        raise DTypeError(f"{dtype!r} is no dtype of sley", hint="write one such as sley.float32")
    return found


def default_complex_dtype() -> DType:
    """What Python complex numbers become: of the precision of the default dtype."""
    return ambient.context.default_dtype.to_complex()


def result_type(*args: Any) -> DType:
    """The dtype that an elementwise op of these tensors and numbers computes in.

    Raises:
        DTypeError: an argument is neither a tensor nor a number.
    """
    with_axes: DType | None = None
    scalar: DType | None = None
    number: DType | None = None
    for arg in args:
        if isinstance(arg, Tensor):
            dtype = arg.spec.dtype
            if arg._weak:
                if dtype.is_inexact:
                    dtype = number_dtype(1j if dtype.is_complex else 1.0)
                number = dtype if number is None else promote_types(number, dtype)
            elif arg.spec.shape:
                with_axes = dtype if with_axes is None else promote_types(with_axes, dtype)
            else:
                scalar = dtype if scalar is None else promote_types(scalar, dtype)
        else:
            dtype = number_dtype(arg)
            number = dtype if number is None else promote_types(number, dtype)
    found = _combine(with_axes, _combine(scalar, number))
    if found is None:
        raise DTypeError("result_type() needs an argument")
    return found


__all__ = [
    "can_cast",
    "category",
    "default_complex_dtype",
    "note_discarded",
    "number_dtype",
    "promote_types",
    "result_type",
]
