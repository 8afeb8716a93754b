"""Discrete Fourier transforms (`sley.fft`), with PyTorch's names and arguments, in one file.

`n` (or `s`, one number for each axis) is the length to which the input is cut or filled with zeros
first. `norm` is "backward" (the default: the inverse transforms divide by n), "forward" (the others
do) or "ortho" (both divide by the square root of n). float32 becomes complex64, float64 complex128;
integers and bools become the default dtype first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dims import Dim
from ..ir.dtypes import DType, f64
from ..ir.ops.fourier import NORMS, half
from .apply import apply, elementwise
from .autocast import autocasts
from .context import ambient
from .device import creating
from .errors import ArgumentError, DTypeError, IndexingError
from .functions.arguments import array_names, as_input, cast, shape_of, spelled, takes_out
from .functions.complex import conj
from .functions.creation import iota
from .functions.joining import roll
from .functions.math import where
from .functions.shape import constant_pad
from .tensor import Tensor, dims_of, here, normal_axis

_SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


# What the arguments mean


def _norm(name: str, norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in NORMS:
        raise ArgumentError(f"{name}: norm={norm!r} is none of {', '.join(map(repr, NORMS))}")
    return norm


def _floating(name: str, input: Any) -> Tensor:
    """The input in a dtype that can be transformed.

    Raises:
        DTypeError: it is of float16 or bfloat16.
    """
    tensor = as_input(input)
    dtype = here(tensor).spec.dtype
    if not dtype.is_inexact:
        dtype = ambient.context.default_dtype
    if dtype.is_low_precision or dtype.is_float8:
        raise DTypeError(f"{name} does not take {dtype.public}", hint="cast with .float() first")
    return cast(tensor, dtype)


def _complex(name: str, input: Any) -> Tensor:
    tensor = _floating(name, input)
    return cast(tensor, here(tensor).spec.dtype.to_complex())


def _real(name: str, input: Any) -> Tensor:
    """The input as real numbers.

    Raises:
        DTypeError: it is complex.
    """
    tensor = _floating(name, input)
    if here(tensor).spec.dtype.is_complex:
        raise DTypeError(
            f"{name} takes real numbers, got {here(tensor).spec.dtype.public}",
            hint="use the form without r, or .real",
        )
    return tensor


def _axes(name: str, input: Tensor, s: Any, dim: Any) -> tuple[list[Any], list[int]]:
    """Lengths (None: as it is) and axes of a transform of several axes.

    Raises:
        ArgumentError: `s` and `dim` differ in number, or an axis is named twice.
        IndexingError: an axis is out of range.
    """
    ndim = input.ndim
    lengths = None if s is None else list(s) if isinstance(s, (tuple, list)) else [s]
    if dim is None:
        count = ndim if lengths is None else len(lengths)
        if count > ndim:
            raise ArgumentError(f"{name}: {count} lengths for a tensor with {ndim} axes")
        named: Sequence[int] = range(ndim - count, ndim)
    else:
        named = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = [_axis(name, d, ndim) for d in named]
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"{name}: dim {tuple(named)} names an axis twice")
    if not axes:
        raise ArgumentError(f"{name} needs an axis")
    if lengths is None:
        lengths = [None] * len(axes)
    if len(lengths) != len(axes):
        raise ArgumentError(f"{name}: {len(lengths)} lengths for {len(axes)} axes")
    return [None if _is(n, -1) else n for n in lengths], axes


def _axis(name: str, dim: int, ndim: int) -> int:
    if ndim == 0:
        raise IndexingError(f"{name} of a 0-d tensor", hint="it needs an axis: unsqueeze() it")
    return normal_axis(dim, ndim)


def _is(size: Any, number: int) -> bool:
    return isinstance(size, int) and size == number


def _length(name: str, n: Any) -> Dim:
    (size,) = dims_of([n])
    if isinstance(size, int) and size < 1:
        raise ArgumentError(f"{name}: {size} points", hint="at least one is needed")
    return size


def _resized(name: str, input: Tensor, sizes: Sequence[Dim | None], axes: Sequence[int]) -> Tensor:
    """The input cut, or filled with zeros, at the end of each axis.

    Raises:
        ArgumentError: an axis would have no elements.
    """
    shape = shape_of(input)
    high: list[Any] = [0] * len(shape)
    for size, axis in zip(sizes, axes, strict=True):
        wanted = _length(name, spelled(shape[axis]) if size is None else size)
        high[axis] = spelled(wanted - shape[axis])
    if all(_is(n, 0) for n in high):
        return input
    return constant_pad(input, [0] * len(shape), high)


# One transform


def _transform(
    name: str, input: Any, sizes: Sequence[Any], axes: Sequence[int], inverse: bool,
    norm: str | None,
) -> Tensor:  # fmt: skip
    wanted = _norm(name, norm)
    tensor = _resized(name, _complex(name, input), sizes, axes)
    return apply("fft", [tensor], axes=tuple(axes), inverse=inverse, norm=wanted)


def _from_real(
    name: str, input: Any, sizes: Sequence[Any], axes: Sequence[int], norm: str | None
) -> Tensor:
    """Half of the spectrum along the last of `axes`."""
    wanted = _norm(name, norm)
    tensor = _resized(name, _real(name, input), sizes, axes)
    found = apply("rfft", [tensor], axis=axes[-1], norm=wanted)
    if len(axes) == 1:
        return found
    return apply("fft", [found], axes=tuple(axes[:-1]), inverse=False, norm=wanted)


def _to_real(
    name: str, input: Any, sizes: Sequence[Any], axes: Sequence[int], norm: str | None
) -> Tensor:
    """From half of the spectrum along the last of `axes`."""
    wanted = _norm(name, norm)
    tensor, last = _complex(name, input), axes[-1]
    frequencies = shape_of(tensor)[last]
    size = _length(name, 2 * spelled(frequencies - 1) if sizes[-1] is None else sizes[-1])
    tensor = _resized(name, tensor, [*sizes[:-1], spelled(half(size))], axes)
    if len(axes) > 1:
        tensor = apply("fft", [tensor], axes=tuple(axes[:-1]), inverse=True, norm=wanted)
    return apply("irfft", [tensor], axis=last, size=size, norm=wanted)


@autocasts
@array_names
def fft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along one axis: sum over j of x[j] exp(-2 pi i j k / n), complex."""
    return _transform("fft", input, [n], [_axis("fft", dim, as_input(input).ndim)], False, norm)


@autocasts
@array_names
def ifft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`."""
    return _transform("ifft", input, [n], [_axis("ifft", dim, as_input(input).ndim)], True, norm)


@autocasts
@array_names
def rfft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 elements of the transform of real numbers along one axis; the others are
    their conjugates.

    Raises:
        DTypeError: the input is complex.
    """
    return _from_real("rfft", input, [n], [_axis("rfft", dim, as_input(input).ndim)], norm)


@autocasts
@array_names
def irfft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`: n real numbers (2 * (m - 1) of m frequencies, unless given)."""
    return _to_real("irfft", input, [n], [_axis("irfft", dim, as_input(input).ndim)], norm)


@autocasts
@array_names
def hfft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The (real) transform of a signal whose second half is the conjugate of its first, of which n
    // 2 + 1 elements are given."""
    tensor, wanted = conj(_complex("hfft", input)), _SWAPPED[_norm("hfft", norm)]
    return _to_real("hfft", tensor, [n], [_axis("hfft", dim, tensor.ndim)], wanted)


@autocasts
@array_names
def ihfft(input: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`.

    Raises:
        DTypeError: the input is complex.
    """
    wanted = _SWAPPED[_norm("ihfft", norm)]
    return conj(
        _from_real("ihfft", input, [n], [_axis("ihfft", dim, as_input(input).ndim)], wanted)
    )


# Several axes


@autocasts
@array_names
def fftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform along `dim`: all axes, or the last len(s) ones, unless given."""
    return _transform("fftn", input, *_axes("fftn", as_input(input), s, dim), False, norm)


@autocasts
@array_names
def ifftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`."""
    return _transform("ifftn", input, *_axes("ifftn", as_input(input), s, dim), True, norm)


@autocasts
@array_names
def rfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fftn` of real numbers, half of it along the last of the axes.

    Raises:
        DTypeError: the input is complex.
    """
    return _from_real("rfftn", input, *_axes("rfftn", as_input(input), s, dim), norm)


@autocasts
@array_names
def irfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`."""
    return _to_real("irfftn", input, *_axes("irfftn", as_input(input), s, dim), norm)


@autocasts
@array_names
def fft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`fftn` along the last two axes."""
    return fftn(input, s, dim, norm)


@autocasts
@array_names
def ifft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`ifftn` along the last two axes."""
    return ifftn(input, s, dim, norm)


@autocasts
@array_names
def rfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`rfftn` along the last two axes."""
    return rfftn(input, s, dim, norm)


@autocasts
@array_names
def irfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`irfftn` along the last two axes."""
    return irfftn(input, s, dim, norm)


@array_names
def hfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`hfft` along the last of the axes, the plain transform along the others."""
    return irfftn(conj(_complex("hfftn", input)), s, dim, _SWAPPED[_norm("hfftn", norm)])


@array_names
def ihfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `hfftn`.

    Raises:
        DTypeError: the input is complex.
    """
    return conj(rfftn(_real("ihfftn", input), s, dim, _SWAPPED[_norm("ihfftn", norm)]))


@array_names
def hfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`hfftn` along the last two axes."""
    return hfftn(input, s, dim, norm)


@array_names
def ihfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`ihfftn` along the last two axes."""
    return ihfftn(input, s, dim, norm)


# Frequencies and their order


@takes_out
def fftfreq(
    n: Any, d: float = 1.0, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The frequencies of `fft` of n points `d` apart: 0, 1, ... and then -n // 2, ..., -1, over
    n * d."""
    with creating(device):
        number = iota((_counted("fftfreq", n),), 0)
        signed = where(elementwise("lt", elementwise("mul", number, 2), n), number,
                       elementwise("sub", number, n))  # fmt: skip
        return _frequencies(signed, n, d, dtype, requires_grad)


@takes_out
def rfftfreq(
    n: Any, d: float = 1.0, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The frequencies of `rfft` of n points `d` apart: 0, 1, ..., n // 2, over n * d."""
    with creating(device):
        number = iota((_counted("rfftfreq", n) // 2 + 1,), 0)
        return _frequencies(number, n, d, dtype, requires_grad)


def _counted(name: str, n: Any) -> Any:
    _length(name, n)
    return n


def _frequencies(number: Tensor, n: Any, d: float, dtype: DType | None, leaf: bool) -> Tensor:
    spread = elementwise("div", elementwise("div", cast(number, f64), n), d)
    made = cast(spread, dtype or ambient.context.default_dtype)
    return made.requires_grad_() if leaf else made


def _shifted(name: str, input: Tensor, dim: Any, back: bool) -> Tensor:
    axes = _axes(name, input, None, dim)[1] if input.ndim else []
    sizes = [spelled(shape_of(input)[a]) for a in axes]
    return roll(input, [n - n // 2 if back else n // 2 for n in sizes], axes)


@array_names
def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequency 0 in the middle of each axis (all, unless given)."""
    return _shifted("fftshift", input, dim, back=False)


@array_names
def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", input, dim, back=True)


__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "hfft2",
    "hfftn",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "ihfft2",
    "ihfftn",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]
