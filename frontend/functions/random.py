"""Random tensors. Each draw is Philox bits of (seed, offset, element), turned into numbers by
primitive ops: the same numbers eager and compiled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.dtypes import DType, bf16, f16, f32, f64, i64, u32, u64
from ...ir.types import tensor_type
from ..apply import apply, as_type, elementwise, value_of
from ..composite import composite
from ..context import ambient
from ..device import beside_first, creating
from ..errors import ArgumentError, DTypeError, ShapeError
from ..inplace import write
from ..promotion import as_dtype
from ..random_state import Generator, next_draw
from ..tensor import Tensor, elements, here
from .arguments import (
    as_input,
    cast,
    makes_out,
    new_dims,
    plain_size,
    shape_of,
    sizes_of,
    spelled,
    takes_out,
)
from .complex import view_as_real
from .math import cos, log, sqrt, where
from .reduction import argmin, cumsum, sum

# The bits of a significand: uniform numbers are exact multiples of 2**-bits.
_BITS = {f16: 11, bf16: 8, f32: 24, f64: 53}


def _bits(shape: Sequence[Any], width: int, generator: Generator | None) -> Tensor:
    dims = new_dims(shape)
    draw = next_draw(generator)
    return apply("rng_bits", [draw.seed, draw.offset], shape=dims, bits=width)


def _check(tensor: Any, holds: Callable[[np.ndarray], Any], message: str) -> None:
    """Raise where the elements are known and do not satisfy `holds` (a NaN satisfies nothing).

    In a trace they are not known: machine code draws what the formula gives.
    """
    if ambient.trace is not None and isinstance(tensor, Tensor):
        return
    known = elements(tensor.detach()) if isinstance(tensor, Tensor) else np.asarray(tensor)
    if not np.all(holds(known)):
        raise ArgumentError(message)


@composite
def _unit(bits: Tensor, dtype: DType, *, from_one: bool = False) -> Tensor:
    """Random words as multiples of 2**-b in [0, 1), or with `from_one` in (0, 1]."""
    count, width = _BITS[dtype], here(bits).spec.dtype.bits
    whole = cast(elementwise("shift_right", bits, width - count), dtype)
    if from_one:
        whole = elementwise("add", whole, 1)
    return elementwise("mul", whole, 2.0**-count)


def _float_dtype(dtype: DType | None, name: str) -> DType:
    dtype = ambient.context.default_dtype if dtype is None else as_dtype(dtype)
    if dtype.is_float8:
        raise DTypeError(f"{name} does not take {dtype.public}", hint="cast what it makes")
    if not dtype.is_inexact:
        raise DTypeError(f"{name} makes floating point numbers, not {dtype.public}")
    return dtype


def uniform(shape: Sequence[Any], dtype: DType, generator: Generator | None) -> Tensor:
    """Uniform numbers in [0, 1)."""
    if dtype.is_complex:
        return _of_parts(uniform((2, *shape), dtype.to_real(), generator))
    return _unit(_bits(shape, 64 if dtype is f64 else 32, generator), dtype)


def _normal(shape: Sequence[Any], dtype: DType, generator: Generator | None) -> Tensor:
    """Standard normal numbers by Box and Muller: sqrt(-2 log u) * cos(2 pi v). Each part of a
    complex one has half of the variance."""
    if dtype.is_complex:
        parts = _normal((2, *shape), dtype.to_real(), generator)
        return _of_parts(elementwise("mul", parts, math.sqrt(0.5)))
    if dtype is f64:
        words = _bits((2, *shape), 64, generator)
        radius, angle = _unit(words[0], f64, from_one=True), _unit(words[1], f64)
    else:
        words = _bits(shape, 64, generator)
        low = cast(elementwise("bit_and", words, 0xFFFFFFFF), u32)
        high = cast(elementwise("shift_right", words, 32), u32)
        radius, angle = _unit(low, f32, from_one=True), _unit(high, f32)
    length = sqrt(elementwise("mul", log(radius), -2.0))
    return cast(elementwise("mul", length, cos(elementwise("mul", angle, 2 * math.pi))), dtype)


def _of_parts(parts: Tensor) -> Tensor:
    """Real parts [0] and imaginary parts [1] joined."""
    return apply("complex", [parts[0], parts[1]])


def _finished(made: Tensor, requires_grad: bool) -> Tensor:
    return made.requires_grad_() if requires_grad else made


@makes_out
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1): of float32 exact multiples of 2**-24."""
    with creating(device):
        made = uniform(sizes_of(size), _float_dtype(dtype, "rand"), generator)
        return _finished(made, requires_grad)


@makes_out
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers of the standard normal distribution (Box and Muller, 1958); complex ones have the
    variance 1, half of it in each part."""
    with creating(device):
        made = _normal(sizes_of(size), _float_dtype(dtype, "randn"), generator)
        return _finished(made, requires_grad)


@beside_first
def rand_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """`rand` of the shape (and dtype) of `input`."""
    shape = [spelled(n) for n in shape_of(input)]
    return rand(shape, dtype=dtype or here(input).spec.dtype, requires_grad=requires_grad)


@beside_first
def randn_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """`randn` of the shape (and dtype) of `input`."""
    shape = [spelled(n) for n in shape_of(input)]
    return randn(shape, dtype=dtype or here(input).spec.dtype, requires_grad=requires_grad)


@makes_out
def randint(
    low: Any,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in low .. high - 1, int64 unless given; `randint(high, size)` begins at 0.

    Raises:
        ArgumentError: the range is empty, or larger than 2**32.
    """
    with creating(device):
        if size is None and isinstance(high, (tuple, list)):
            low, high, size = 0, low, high
        elif high is None:
            low, high = 0, low
        if size is None:
            raise ArgumentError("randint needs a size", hint="write randint(low, high, (n, m))")
        span = high - low
        if span <= 0 or span > 1 << 32:
            raise ArgumentError(
                f"randint from {low} to {high}: the range must have 1 to 2**32 numbers"
            )
        words = cast(_bits(tuple(size), 32, generator), u64)
        scaled = elementwise("mul", words, as_type(span, tensor_type(u64)))
        found = cast(elementwise("shift_right", scaled, 32), i64)
        return _finished(cast(elementwise("add", found, low), dtype or i64), requires_grad)


@beside_first
def randint_like(
    input: Tensor, low: Any, high: Any = None, *, dtype: DType | None = None
) -> Tensor:
    """`randint` of the shape (and dtype) of `input`."""
    first, last = (0, low) if high is None else (low, high)
    shape = [spelled(n) for n in shape_of(input)]
    return randint(first, last, shape, dtype=dtype or here(input).spec.dtype)


@makes_out
def randperm(
    n: int, *, generator: Generator | None = None, dtype: DType = i64, device: Any = None
) -> Tensor:
    """The numbers 0 .. n - 1 in random order.

    Raises:
        ShapeError: n is negative.
    """
    with creating(device):
        size = plain_size(n)
        if isinstance(size, int) and size < 0:
            raise ShapeError(f"randperm of {n} numbers")
        order = apply("sort", [_bits((size,), 64, generator)], axis=0, descending=False)[1]
        return cast(order, dtype)


def _is_probability(p: np.ndarray) -> Any:
    return (p >= 0) & (p <= 1)


@takes_out
@beside_first
def bernoulli(input: Any, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that stands in `input` (or with `p`), else 0; of its dtype.

    Raises:
        ArgumentError: a probability is not in [0, 1] (eager).
    """
    like = as_input(input)
    dtype = here(like).spec.dtype
    _check(like if p is None else p, _is_probability, "bernoulli: a probability is not in [0, 1]")
    draws = uniform([spelled(n) for n in shape_of(like)], f32, generator)
    return cast(elementwise("lt", draws, like if p is None else p), dtype)


@takes_out
def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
    dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """mean + std * (standard normal), of the shape that `mean` and `std` broadcast to, or of `size`
    where both are numbers.

    Raises:
        ArgumentError: a deviation is negative (of tensors only eager).
    """
    _check(std, lambda s: s >= 0, "normal: a standard deviation is negative")
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    if size is None:
        base = given[0] if len(given) == 1 else elementwise("add", mean, std)
        size = [spelled(n) for n in shape_of(base)]
        dtype = dtype or here(base).spec.dtype
    with creating(None, like=given[0].device if given else None):
        drawn = _normal(tuple(size), _float_dtype(dtype, "normal"), generator)
    return elementwise("add", elementwise("mul", drawn, std), mean)


@takes_out
@beside_first
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """int64[..., num_samples]: class numbers drawn with the weights in the last axis of `input`.

    Raises:
        ArgumentError: more samples than classes (of weight above 0) without replacement; a weight
            is negative, infinite or NaN, or all are 0 (weights only eager).
        ShapeError: `input` has more than two axes, or none.
    """
    if input.ndim not in (1, 2):
        raise ShapeError(
            f"multinomial takes weights [classes] or [rows, classes], got {input.ndim} axes"
        )
    if num_samples < 1:
        raise ArgumentError(f"multinomial: num_samples={num_samples} is less than 1")
    least = 1 if replacement else num_samples
    _check(
        input,
        lambda w: np.isfinite(w).all() and (w >= 0).all() and ((w > 0).sum(-1) >= least).all(),
        f"multinomial: weights are finite, 0 or more, and at least {least} of them above 0",
    )
    sizes = [spelled(n) for n in shape_of(input)]
    if replacement:
        upper = cumsum(cast(input, f64), -1)
        total = upper[..., -1:]
        draws = uniform((*sizes[:-1], num_samples), f64, generator)
        places = elementwise("mul", draws, total)
        passed = elementwise("ge", places[..., None], upper[..., None, :])
        return sum(passed, -1)
    if isinstance(sizes[-1], int) and num_samples > sizes[-1]:
        raise ArgumentError(f"multinomial: {num_samples} samples of {sizes[-1]} classes")
    return _without_replacement(input, num_samples, generator)


@beside_first
def _without_replacement(input: Tensor, count: int, generator: Generator | None) -> Tensor:
    """The classes with the earliest of exponential arrival times, whose rates are the weights."""
    weights = cast(input, f64)
    bits = _bits([spelled(n) for n in shape_of(input)], 64, generator)
    waiting = elementwise("neg", log(_unit(bits, f64, from_one=True)))
    times = where(elementwise("eq", weights, 0), math.inf, elementwise("div", waiting, weights))
    if count == 1:
        return argmin(times, -1, keepdim=True)
    order = apply("sort", [times], axis=times.ndim - 1, descending=False)[1]
    return order[..., :count].clone()


# In place


def _write(self: Tensor, made: Tensor) -> Tensor:
    return write(self, value_of(cast(made, here(self).spec.dtype)))


@beside_first
def uniform_(
    self: Tensor, low: Any = 0.0, high: Any = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Write uniform numbers in [low, high); into both parts of complex ones."""
    if here(self).spec.dtype.is_complex:
        uniform_(view_as_real(self), low, high, generator=generator)
        return self
    dtype = _float_dtype(here(self).spec.dtype, "uniform_")
    drawn = uniform([spelled(n) for n in shape_of(self)], dtype, generator)
    scaled = drawn if (low, high) == (0, 1) else elementwise("mul", drawn, high - low)
    return _write(self, scaled if low == 0 else elementwise("add", scaled, low))


@beside_first
def normal_(
    self: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Write numbers of the normal distribution; each part of complex ones has the mean `mean` and
    half of the variance."""
    if here(self).spec.dtype.is_complex:
        half = elementwise("mul", as_input(std), math.sqrt(0.5))
        normal_(view_as_real(self), mean, half, generator=generator)
        return self
    dtype = _float_dtype(here(self).spec.dtype, "normal_")
    drawn = _normal([spelled(n) for n in shape_of(self)], dtype, generator)
    return _write(self, elementwise("add", elementwise("mul", drawn, std), mean))


@beside_first
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Write 1 with probability `p` (a number or tensor), else 0.

    Raises:
        ArgumentError: a probability is not in [0, 1] (eager).
    """
    _check(p, _is_probability, "bernoulli_: a probability is not in [0, 1]")
    draws = uniform([spelled(n) for n in shape_of(self)], f32, generator)
    return _write(self, elementwise("lt", draws, p))


@beside_first
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers of the exponential distribution with the rate `lambd`."""
    dtype = _float_dtype(here(self).spec.dtype, "exponential_")
    wide = f64 if dtype is f64 else f32
    bits = _bits([spelled(n) for n in shape_of(self)], 64 if wide is f64 else 32, generator)
    return _write(self, elementwise("mul", log(_unit(bits, wide, from_one=True)), -1 / lambd))


@beside_first
def random_(
    self: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Write integers in low .. high - 1; `random_(n)` begins at 0."""
    first, last = (0, low) if high is None and low else (low, high)
    span = 1 << 24 if last is None else last
    shape = [spelled(n) for n in shape_of(self)]
    return _write(self, randint(first, span, shape, generator=generator))


@beside_first
def keep_mask(input: Tensor, p: Any, shape: Sequence[Any] | None = None) -> Tensor:
    """A bool tensor (of the shape of `input`, or of `shape`) that is False with probability p."""
    sizes = [spelled(n) for n in shape_of(input)] if shape is None else list(shape)
    return elementwise("ge", uniform(sizes, f32, None), p)
