"""New tensors: filled, counted, shaped like others; in one file, since they share how sizes, dtypes
and numbers are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dtypes import DType, c128, f64, i64
from ...ir.ops.base import OPS
from ...ir.types import tensor_type
from ..apply import as_type, elementwise, emit, value_of
from ..construct import as_tensor, tensor
from ..context import ambient
from ..device import creating
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError, TraceError
from ..promotion import as_dtype, default_complex_dtype, number_dtype
from ..symint import SymInt, dim_or_none
from ..tensor import Tensor, dims_of, elements, here
from ..viewing import expand_view
from .arguments import (
    as_input,
    cast,
    makes_out,
    new_dims,
    reshaped,
    shape_of,
    sizes_of,
    spelled,
    takes_out,
    with_ones,
)

asarray = as_tensor


def _finished(made: Tensor, requires_grad: bool) -> Tensor:
    return made.requires_grad_() if requires_grad else made


def _filled(shape: Sequence[Any], value: Any, dtype: DType) -> Tensor:
    dims, dtype = new_dims(shape), as_dtype(dtype)
    made = as_type(value, tensor_type(dtype, dims))
    if made is value:
        made = made.clone()
    made._weak = False
    return made


@makes_out
def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of shape `size` with `fill_value` (a number or 0-d tensor) everywhere.

    The dtype is that of the value unless given: floats become the default dtype.

    Raises:
        ShapeError: a size is negative.
    """
    with creating(device):
        if dtype is None:
            dtype = fill_value.dtype if isinstance(fill_value, Tensor) else number_dtype(fill_value)
        return _finished(_filled(sizes_of((size,)), fill_value, dtype), requires_grad)


def scalar_tensor(s: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """A number as a 0-d tensor, of the default dtype unless given."""
    return full((), s, dtype=dtype or ambient.context.default_dtype, device=device)


def _sizes(shape: Sequence[Any], size: Any) -> tuple[Any, ...]:
    """The sizes of `f(2, 3)`, of `f((2, 3))` and of `f(size=(2, 3))`."""
    if size is None:
        return sizes_of(shape)
    if shape:
        raise ArgumentError("sizes are given twice: by position and as size=")
    return sizes_of((size,))


@makes_out
def zeros(
    *shape: Any,
    size: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of zeros, of the default dtype unless given."""
    with creating(device):
        dtype = dtype or ambient.context.default_dtype
        return _finished(_filled(_sizes(shape, size), 0, dtype), requires_grad)


@makes_out
def ones(
    *shape: Any,
    size: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ones, of the default dtype unless given."""
    with creating(device):
        dtype = dtype or ambient.context.default_dtype
        return _finished(_filled(_sizes(shape, size), 1, dtype), requires_grad)


@makes_out
def empty(
    *shape: Any,
    size: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor whose elements are to be written. They are zeros, so that programs repeat."""
    return zeros(*_sizes(shape, size), dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of the shape (and dtype) of `input` with `fill_value` everywhere."""
    with creating(device, like=here(input).device):
        type = here(input).spec
        dims = [spelled(d) for d in type.shape]
        return _finished(_filled(dims, fill_value, dtype or type.dtype), requires_grad)


def zeros_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of the shape (and dtype) of `input`."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of the shape (and dtype) of `input`."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """As `zeros_like`; the elements are to be written."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


# Counting


def iota(shape: Sequence[Any], axis: int, dtype: DType = i64) -> Tensor:
    """0, 1, 2, ... along `axis`, the same along the others."""
    return emit(OPS["iota"], (), {"shape": dims_of(shape), "axis": axis, "dtype": dtype})


@makes_out
def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... up to but without `end`; `arange(end)` begins at 0.

    int64 for ints, else the default dtype. In a trace the numbers may be sizes.

    Raises:
        ArgumentError: the step is 0 or leads away from `end`.
    """
    with creating(device):
        if end is None:
            start, end = 0, start
        start, end, step = (_python_number(n) for n in (start, end, step))
        if not isinstance(step, SymInt) and step == 0:
            raise ArgumentError("arange: the step is 0")
        if dtype is not None:
            dtype = as_dtype(dtype)
        else:
            floats = any(isinstance(n, float) for n in (start, end, step))
            dtype = ambient.context.default_dtype if floats else i64
        count = _steps(start, end, step)
        if not isinstance(count, SymInt) and count < 0:
            raise ArgumentError(f"arange: from {start} to {end} with the step {step}")
        return _finished(_counted(count, start, step, dtype), requires_grad)


def _python_number(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item()
    return value.item() if isinstance(value, np.generic) else value


def _steps(start: Any, end: Any, step: Any) -> Any:
    """How many numbers there are: (end - start) / step, rounded up."""
    if any(isinstance(n, float) for n in (start, end, step)):
        return math.ceil((end - start) / step)
    span = end - start
    return -(-span // step) if isinstance(step, int) else (span + step - 1) // step


def _counted(count: Any, start: Any, step: Any, dtype: DType) -> Tensor:
    plain = all(isinstance(n, int) for n in (start, step)) and (start, step) == (0, 1)
    if plain and dtype.kind not in ("bool", "complex"):
        return iota((count,), 0, dtype)
    # In float64, and rounded once: exact eager and compiled.
    wide = f64 if dtype.is_float or isinstance(start, float) or isinstance(step, float) else i64
    counted = elementwise("mul", iota((count,), 0, wide), step)
    return cast(elementwise("add", counted, start), dtype)


@makes_out
def linspace(
    start: Any,
    end: Any,
    steps: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers from `start` to `end`, both included, at equal distances; complex ones where
    one of both is.

    Raises:
        ArgumentError: `steps` is negative.
    """
    with creating(device):
        made = _line(start, end, steps)
        return _finished(cast(made, dtype or _default_like(made)), requires_grad)


def _default_like(made: Tensor) -> DType:
    complex_ = here(made).spec.dtype.is_complex
    return default_complex_dtype() if complex_ else ambient.context.default_dtype


def _line(start: Any, end: Any, steps: Any) -> Tensor:
    """The numbers of `linspace` in float64 (or complex128), counted from the nearer end."""
    start, end = (_python_number(n) for n in (start, end))
    wide = c128 if isinstance(start, complex) or isinstance(end, complex) else f64
    if isinstance(steps, int) and steps < 0:
        raise ArgumentError(f"linspace: steps is {steps}")
    if isinstance(steps, int) and steps <= 1:
        return _filled((steps,), start, wide)
    gaps = steps - 1
    place = iota((steps,), 0, f64)
    step = elementwise("div", as_type(end - start, tensor_type(wide)), gaps)
    front = elementwise("add", elementwise("mul", place, step), start)
    rest = elementwise("sub", as_type(gaps, tensor_type(f64)), place)
    back = elementwise("sub", end, elementwise("mul", rest, step))
    nearer = elementwise("lt", place, rest)
    return elementwise("where", nearer, front, back, conditions=1)


@makes_out
def logspace(
    start: Any,
    end: Any,
    steps: Any,
    base: float = 10.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """base ** x for the x of `linspace(start, end, steps)`."""
    with creating(device):
        made = elementwise("pow", float(base), _line(start, end, steps))
        return _finished(cast(made, dtype or _default_like(made)), requires_grad)


# Matrices


@makes_out
def eye(
    n: Any,
    m: Any = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The n by m (n by n) matrix with ones on the diagonal."""
    with creating(device):
        shape = (n, n if m is None else m)
        hits = elementwise("eq", iota(shape, 0), iota(shape, 1))
        return _finished(cast(hits, dtype or ambient.context.default_dtype), requires_grad)


def _matrix_shape(input: Tensor, name: str) -> tuple[Any, ...]:
    if input.ndim < 2:
        raise ShapeError(f"{name} takes matrices, got a tensor of shape {list(shape_of(input))}")
    return tuple(spelled(d) for d in shape_of(input))


@takes_out
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangles of matrices [..., n, m], zeros above the `diagonal`-th diagonal."""
    shape = _matrix_shape(input, "tril")[-2:]
    below = elementwise("ge", elementwise("add", iota(shape, 0), diagonal), iota(shape, 1))
    return elementwise("where", below, input, _zero_of(input), conditions=1)


@takes_out
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangles of matrices [..., n, m], zeros below the `diagonal`-th diagonal."""
    shape = _matrix_shape(input, "triu")[-2:]
    above = elementwise("le", elementwise("add", iota(shape, 0), diagonal), iota(shape, 1))
    return elementwise("where", above, input, _zero_of(input), conditions=1)


def _zero_of(input: Tensor) -> Any:
    """The zero that does not change the dtype in a promotion."""
    return False if here(input).spec.dtype.kind == "bool" else 0


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType = i64, device: Any = None
) -> Tensor:
    """Row and column numbers of the lower triangle, int64[2, n]."""
    numbers = np.stack(np.tril_indices(row, offset, col)).astype(dtype.numpy)
    return tensor(numbers, device=device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType = i64, device: Any = None
) -> Tensor:
    """Row and column numbers of the upper triangle, int64[2, n]."""
    numbers = np.stack(np.triu_indices(row, offset, col)).astype(dtype.numpy)
    return tensor(numbers, device=device)


def _within(numbers: np.ndarray, size: Any) -> bool:
    return bool(numbers.min() >= 0 and numbers.max() < size)


def one_hot(input: Tensor, num_classes: Any = -1) -> Tensor:
    """int64[..., num_classes] with a 1 where the class number stands; -1: as many as there are.

    Raises:
        DTypeError: `input` is not of integers.
        TraceError: -1 in a trace, where the largest number is not known.
        IndexingError: a number is not in 0 .. num_classes - 1.
    """
    if here(input).spec.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"one_hot takes integers, got {here(input).spec.dtype.public}")
    if isinstance(num_classes, int) and num_classes == -1:
        if ambient.trace is not None:
            raise TraceError(
                "one_hot: the number of classes depends on data", hint="give num_classes"
            )
        num_classes = int(elements(input).max()) + 1 if input.numel() else 0
    if ambient.trace is not None:
        count = dim_or_none(num_classes)
        assert count is not None
        ambient.trace.builder.check(value_of(input), count, "one_hot")
    elif input.numel() and not _within(elements(input), num_classes):
        raise IndexingError(f"one_hot: a number is not in 0 .. {num_classes - 1}")
    shape = (*(spelled(d) for d in shape_of(input)), num_classes)
    classes = iota(shape, len(shape) - 1, here(input).spec.dtype)
    return cast(elementwise("eq", with_ones(input, (len(shape) - 1,)), classes), i64)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: each 1-d tensor spread along its own axis ("xy": the first two
    exchanged).

    Raises:
        ArgumentError: `indexing` is neither "ij" nor "xy".
    """
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: indexing={indexing!r} is neither 'ij' nor 'xy'")
    given = list(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else None
    parts = [as_input(t) for t in (given if given is not None else tensors)]
    if indexing == "xy" and len(parts) > 1:
        grids = meshgrid(parts[1], parts[0], *parts[2:])
        return (grids[1], grids[0], *grids[2:])
    shape = [spelled(shape_of(p)[0]) if p.ndim else 1 for p in parts]
    return tuple(
        expand_view(reshaped(p, [-1 if a == k else 1 for a in range(len(parts))]), shape)
        for k, p in enumerate(parts)
    )


# What tensors and dtypes are


def is_tensor(value: Any) -> bool:
    """Whether `value` is a Tensor."""
    return isinstance(value, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is float16, bfloat16, float32, float64 or one of the float8."""
    return input.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex64 or complex128."""
    return input.dtype.is_complex


def numel(input: Tensor) -> Any:
    """The number of elements."""
    return input.numel()
