"""Methods that write into their tensor or change its shape in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir.dtypes import f32, f64
from ..apply import elementwise, value_of
from ..context import ambient
from ..device import beside_first
from ..errors import ArgumentError, AutogradError, ShapeError, TraceError
from ..inplace import become_view, copy_, write
from ..random_state import Generator
from ..tensor import Tensor, elements, here
from .arguments import array_names, as_input, shape_of, spelled
from .math import exp, log, tan
from .random import normal_, uniform
from .shape import as_strided, squeeze, t, transpose, unsqueeze

# The shape, in place


def _reshaped(self: Tensor, made: Tensor) -> Tensor:
    """`self` turned into `made`, a view of it."""
    become_view(self, made)
    return self


@array_names
def squeeze_(self: Tensor, dim: Any = None) -> Tensor:
    """`squeeze`, of this tensor itself."""
    return _reshaped(self, squeeze(self, dim))


@array_names
def unsqueeze_(self: Tensor, dim: int) -> Tensor:
    """`unsqueeze`, of this tensor itself."""
    return _reshaped(self, unsqueeze(self, dim))


def transpose_(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose`, of this tensor itself."""
    return _reshaped(self, transpose(self, dim0, dim1))


swapaxes_ = swapdims_ = transpose_


def t_(self: Tensor) -> Tensor:
    """`t`, of this tensor itself."""
    return _reshaped(self, t(self))


def as_strided_(self: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """`as_strided`, of this tensor itself."""
    return _reshaped(self, as_strided(self, size, stride, storage_offset))


# Random numbers


@beside_first
def _drawn(self: Tensor, generator: Generator | None) -> Tensor:
    """Uniform numbers in (0, 1), of the shape of `self`."""
    dtype = f64 if here(self).spec.dtype is f64 else f32
    sizes = [spelled(n) for n in shape_of(self)]
    return uniform(sizes, dtype, generator)


def log_normal_(
    self: Tensor, mean: Any = 1.0, std: Any = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """Write numbers whose logarithms are normally distributed with `mean` and `std`."""
    normal_(self, mean, std, generator=generator)
    return write(self, value_of(exp(self)))


def cauchy_(
    self: Tensor, median: Any = 0.0, sigma: Any = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Write numbers of the Cauchy distribution around `median`."""
    angle = elementwise("mul", elementwise("sub", _drawn(self, generator), 0.5), math.pi)
    made = elementwise("add", elementwise("mul", tan(angle), sigma), median)
    return copy_(self, made)


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Write the number of the first success, 1, 2, ..., of trials that succeed with probability p.

    Raises:
        ArgumentError: p is not in (0, 1).
    """
    if not 0 < p < 1:
        raise ArgumentError(f"geometric_: p={p} is not in (0, 1)")
    rest = elementwise("sub", 1, _drawn(self, generator))  # in (0, 1]
    trials = elementwise("ceil", elementwise("div", log(rest), math.log1p(-p)))
    return copy_(self, elementwise("maximum", trials, 1))


# Python functions of each element


def _elements(self: Tensor, name: str) -> np.ndarray:
    if ambient.trace is not None:
        raise TraceError(
            f"{name}: a Python function of each element cannot be recorded",
            hint="write it with functions of tensors",
        )
    if self.requires_grad:
        raise AutogradError(f"{name} of a tensor that requires grad", hint="use detach()")
    return elements(self)


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Write callable(x) in place of each element x. Eager only, and slow."""
    array = _elements(self, "apply_")
    made = [callable(x) for x in array.reshape(-1).tolist()]
    return copy_(self, as_input(np.array(made, array.dtype).reshape(array.shape)))


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Write callable(x, y) in place of each element x, y that of `tensor`. Eager only, and slow."""
    array = _elements(self, "map_")
    other = np.broadcast_to(_elements(tensor, "map_"), array.shape)
    pairs = zip(array.reshape(-1).tolist(), other.reshape(-1).tolist(), strict=True)
    made = [callable(x, y) for x, y in pairs]
    return copy_(self, as_input(np.array(made, array.dtype).reshape(array.shape)))


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write one number into the main diagonal: the elements whose indices are all equal; of a tall
    matrix with `wrap` again below each square.

    Raises:
        ShapeError: fewer than two axes, or more of different sizes.
    """
    sizes = [int(n) for n in self.shape]
    if len(sizes) < 2 or (len(sizes) > 2 and len(set(sizes)) > 1):
        raise ShapeError(f"fill_diagonal_ of the shape {sizes}")
    places = [np.arange(min(sizes))] * len(sizes)
    if wrap and len(sizes) == 2 and sizes[0] > sizes[1]:
        rows = np.arange(sizes[0])
        rows = rows[rows % (sizes[1] + 1) != sizes[1]]
        places = [rows, rows % (sizes[1] + 1)]
    self[tuple(places)] = fill_value
    return self
