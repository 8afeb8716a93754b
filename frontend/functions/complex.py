"""Complex numbers: made of parts, taken apart, seen as pairs. `real`, `imag`, `view_as_real` and
`view_as_complex` are views: writes through them show in the tensor that they were taken of."""

from __future__ import annotations

import math
from typing import Any

from ...ir.dtypes import f32, f64
from ..apply import apply, elementwise
from ..errors import DTypeError, ShapeError
from ..inplace import copy_
from ..tensor import Tensor, here
from ..viewing import view_by
from ..views import imag_step, joined_step, pairs_step, real_step
from .arguments import as_input, cast, shape_of, takes_out
from .logic import signbit
from .math import acos, asin, atan2, cast_float, cos, lt, mul, ne, neg, sin, where
from .shape import matrix_transpose


@takes_out
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """The complex tensor with these parts, of one dtype: float32 gives complex64, float64
    complex128.

    Raises:
        DTypeError: the dtypes differ, or are none of these.
        ShapeError: the shapes do not broadcast.
    """
    _need_parts("complex", real, imag)
    return elementwise("complex", real, imag, promote="none")


@takes_out
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """The complex tensor with these lengths and angles, of one dtype as in `complex`."""
    _need_parts("polar", abs, angle)
    return elementwise("complex", mul(abs, cos(angle)), mul(abs, sin(angle)), promote="none")


def _need_parts(name: str, *parts: Tensor) -> None:
    for part in parts:
        if not isinstance(part, Tensor):
            raise DTypeError(f"{name} takes tensors, got a {type(part).__name__}")
    found = {here(part).spec.dtype for part in parts}
    if len(found) > 1 or not found <= {f32, f64}:
        names = " and ".join(here(part).spec.dtype.public for part in parts)
        raise DTypeError(
            f"{name} takes two tensors of float32 or two of float64, got {names}",
            hint="cast them with .float() or .double()",
        )


def real(input: Tensor) -> Tensor:
    """The real parts: a view; a real tensor itself."""
    tensor = here(input)
    return view_by(input, real_step(tensor.spec.shape)) if tensor.spec.dtype.is_complex else input


def imag(input: Tensor) -> Tensor:
    """The imaginary parts: a view.

    Raises:
        DTypeError: the tensor is not complex.
    """
    tensor = here(as_input(input))
    if not tensor.spec.dtype.is_complex:
        raise DTypeError(f"imag of {tensor.spec.dtype.public}: only complex tensors have it")
    return view_by(as_input(input), imag_step(tensor.spec.shape))


def set_real(self: Tensor, value: Any) -> None:
    """`x.real = value`: written into the tensor."""
    copy_(real(self), value)


def set_imag(self: Tensor, value: Any) -> None:
    """`x.imag = value`: written into the tensor."""
    copy_(imag(self), value)


def view_as_real(input: Tensor) -> Tensor:
    """A complex tensor as floats with a last axis (real, imaginary): a view.

    Raises:
        DTypeError: the tensor is not complex.
    """
    tensor = here(input)
    if not tensor.spec.dtype.is_complex:
        raise DTypeError(f"view_as_real takes complex tensors, got {tensor.spec.dtype.public}")
    return view_by(input, pairs_step(tensor.spec.shape))


def view_as_complex(input: Tensor) -> Tensor:
    """Floats with a last axis (real, imaginary) as a complex tensor: a view.

    Raises:
        DTypeError: the tensor is not of float32 or float64.
        ShapeError: the last axis has not two elements beside each other, or another stride is odd.
    """
    tensor = here(input)
    if tensor.spec.dtype not in (f32, f64):
        raise DTypeError(
            f"view_as_complex takes float32 and float64, got {tensor.spec.dtype.public}"
        )
    shape = shape_of(input)
    if not shape or shape[-1] != 2:
        raise ShapeError(
            f"view_as_complex needs a last axis of size 2, got {tensor.spec}",
            hint="sley.complex(real, imag) joins two tensors",
        )
    strides = tensor.strides()
    odd = any(isinstance(s, int) and s % 2 for s in strides[:-1])
    if (strides[-1] != 1 or odd) and 0 not in shape:
        raise ShapeError(
            "view_as_complex: the pairs do not lie beside each other in memory",
            hint="call .contiguous() first",
        )
    return view_by(input, joined_step(shape))


def conj(input: Tensor) -> Tensor:
    """The complex conjugates (computed at once); a real tensor itself."""
    tensor = as_input(input)
    if not here(tensor).spec.dtype.is_complex:
        return tensor
    parts = [apply(part, [tensor]) for part in ("real", "imag")]
    return apply("complex", [parts[0], neg(parts[1])])


def adjoint(input: Tensor) -> Tensor:
    """The conjugates, the last two axes exchanged (`.mH`); of a real tensor a view."""
    return conj(matrix_transpose(input))


def hermitian(input: Tensor) -> Tensor:
    """The conjugate transpose of a matrix (`.H`).

    Raises:
        ShapeError: the tensor has not two axes.
    """
    if input.ndim not in (0, 2):
        raise ShapeError(f".H of a tensor with {input.ndim} axes", hint="use .mH for batches")
    return conj(input) if input.ndim == 0 else adjoint(input)


@takes_out
def conj_physical(input: Tensor) -> Tensor:
    """As `conj`."""
    return conj(input)


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates are computed at once."""
    return input


def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed at once."""
    return False


def complex_asinh(input: Tensor) -> Tensor:
    """The inverse hyperbolic sine of complex numbers: -i asin(iz)."""
    x, y = (apply(part, [input]) for part in ("real", "imag"))
    found = asin(apply("complex", [neg(y), x]))
    return apply("complex", [apply("imag", [found]), neg(apply("real", [found]))])


def complex_acosh(input: Tensor) -> Tensor:
    """The inverse hyperbolic cosine of complex numbers: i acos(z), or below the real axis -i
    acos(z), whichever has a real part >= 0."""
    found = acos(input)
    x, y = (apply(part, [found]) for part in ("real", "imag"))
    below = signbit(apply("imag", [input]))
    return apply("complex", [where(below, y, neg(y)), where(below, neg(x), x)])


def angle(input: Any) -> Tensor:
    """The angle of complex numbers in radians; of real ones 0, pi below 0, NaN for NaN."""
    tensor = as_input(input)
    if here(tensor).spec.dtype.is_complex:
        return atan2(apply("imag", [tensor]), apply("real", [tensor]))
    number = cast_float(tensor)
    half_turn = mul(cast(lt(number, 0), here(number).spec.dtype), math.pi)
    return where(ne(number, number), number, half_turn)
