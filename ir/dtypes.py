"""Element types: the name in the text form, the numpy type that holds one, and its kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """An element type. There is one object for each, compared by identity.

    Attributes:
        name: the spelling in the text form of a program, e.g. "f32".
        public: PyTorch's name, e.g. "float32".
        kind: "bool", "int", "uint", "float", "complex", or "float8": floats of 8 bits, which are
            moved and cast, and never computed with.
        numpy: the numpy dtype of an array of such elements.
    """

    name: str
    public: str
    kind: str
    numpy: np.dtype
    itemsize: int = field(init=False)
    is_inexact: bool = field(init=False)  # floating-point or complex: what has gradients

    def __post_init__(self) -> None:
        object.__setattr__(self, "itemsize", self.numpy.itemsize)
        object.__setattr__(self, "is_inexact", self.kind in ("float", "complex", "float8"))

    @property
    def is_float(self) -> bool:
        """Whether it is a floating-point type that is computed with."""
        return self.kind == "float"

    @property
    def is_floating_point(self) -> bool:
        """True for float16, bfloat16, float32, float64 and the floats of 8 bits."""
        return self.kind in ("float", "float8")

    @property
    def is_float8(self) -> bool:
        """True for float8_e4m3fn and float8_e5m2: types of storage."""
        return self.kind == "float8"

    @property
    def is_complex(self) -> bool:
        """True for complex64 and complex128."""
        return self.kind == "complex"

    def to_real(self) -> DType:
        """Of a complex type that of its parts, else the type itself."""
        return {c64: f32, c128: f64}.get(self, self)

    def to_complex(self) -> DType:
        """The complex type whose parts hold this one: complex128 for float64, else complex64."""
        return self if self.is_complex else c128 if self is f64 else c64

    @property
    def is_low_precision(self) -> bool:
        """Whether arithmetic is done in float32 and rounded after each op."""
        return self is f16 or self is bf16

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return 8 * self.itemsize

    def __repr__(self) -> str:
        return f"sley.{self.public}"

    def __reduce__(self) -> tuple:
        return by_name, (self.name,)


bool_ = DType("bool", "bool", "bool", np.dtype(np.bool_))
u8 = DType("u8", "uint8", "uint", np.dtype(np.uint8))
u16 = DType("u16", "uint16", "uint", np.dtype(np.uint16))
u32 = DType("u32", "uint32", "uint", np.dtype(np.uint32))
u64 = DType("u64", "uint64", "uint", np.dtype(np.uint64))
i8 = DType("i8", "int8", "int", np.dtype(np.int8))
i16 = DType("i16", "int16", "int", np.dtype(np.int16))
i32 = DType("i32", "int32", "int", np.dtype(np.int32))
i64 = DType("i64", "int64", "int", np.dtype(np.int64))
f8e4m3fn = DType("f8e4m3fn", "float8_e4m3fn", "float8", np.dtype(ml_dtypes.float8_e4m3fn))
f8e5m2 = DType("f8e5m2", "float8_e5m2", "float8", np.dtype(ml_dtypes.float8_e5m2))
f16 = DType("f16", "float16", "float", np.dtype(np.float16))
bf16 = DType("bf16", "bfloat16", "float", np.dtype(ml_dtypes.bfloat16))
f32 = DType("f32", "float32", "float", np.dtype(np.float32))
f64 = DType("f64", "float64", "float", np.dtype(np.float64))
c64 = DType("c64", "complex64", "complex", np.dtype(np.complex64))
c128 = DType("c128", "complex128", "complex", np.dtype(np.complex128))

UNSIGNED = (u8, u16, u32, u64)
SIGNED = (i8, i16, i32, i64)
FLOAT8 = (f8e4m3fn, f8e5m2)
ALL: tuple[DType, ...] = (bool_, *UNSIGNED, *SIGNED, *FLOAT8, f16, bf16, f32, f64, c64, c128)
E4M3FN_MAX = np.float32(448)  # the largest float8_e4m3fn
_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}


def by_name(name: str) -> DType:
    """The dtype spelled `name` in a program's text; KeyError if there is none."""
    return _BY_NAME[name]


def of_numpy(dtype: np.dtype | type) -> DType | None:
    """The dtype that stores what numpy's `dtype` does, or None if sley has none."""
    return _BY_NUMPY.get(np.dtype(dtype))


def converted(array: np.ndarray, dtype: DType) -> np.ndarray:
    """A copy of `array` as `dtype`, as a cast rounds it; the dtype is no integer, or numpy's
    conversion to it is right.

    What is beyond the largest float8_e4m3fn, which has no infinity, becomes the largest; to floats
    of 8 bits all numbers go by way of float32. Both are PyTorch's rules.
    """
    if not dtype.is_float8 or array.dtype == dtype.numpy:
        return array.astype(dtype.numpy)
    single = array.astype(np.float32)
    if dtype is f8e4m3fn:
        single = np.asarray(np.clip(single, -E4M3FN_MAX, E4M3FN_MAX))
    return single.astype(dtype.numpy)


def is_foreign(dtype: np.dtype) -> bool:
    """Whether numpy's `dtype` is not of numpy itself, whose files and buffers cannot say it."""
    return dtype.isbuiltin == 2


def is_half(dtype: np.dtype) -> bool:
    """Whether numpy's `dtype` is float16 or bfloat16, whose arithmetic is done in float32."""
    return dtype.itemsize == 2 and dtype.kind not in "iu"
