"""Tensors put together of others: columns, diagonals, copies with a part replaced; cut apart along
a named axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..apply import broadcast_shapes as common_shape
from ..apply import elementwise
from ..errors import ShapeError
from ..tensor import Size, Tensor, dims_of, here, normal_axis
from .arguments import array_names, as_input, reshaped, shape_of, spelled, takes_out
from .creation import iota
from .joining import atleast_1d, cat, tensor_split, vstack
from .shape import constant_pad, diag, diagonal, movedim, unsqueeze


@takes_out
def column_stack(tensors: Sequence[Any]) -> Tensor:
    """1-d tensors as columns, others side by side along axis 1."""
    parts = [atleast_1d(as_input(t)) for t in tensors]
    return cat([unsqueeze(p, 1) if p.ndim == 1 else p for p in parts], 1)


row_stack = vstack


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along axis 1, of a 1-d tensor along axis 0.

    Raises:
        ShapeError: a 0-d tensor.
    """
    if input.ndim == 0:
        raise ShapeError("hsplit of a 0-d tensor")
    return tensor_split(input, indices_or_sections, 0 if input.ndim == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along axis 0 of a tensor with two or more.

    Raises:
        ShapeError: there are fewer axes.
    """
    if input.ndim < 2:
        raise ShapeError(f"vsplit needs two axes, got the shape {list(shape_of(input))}")
    return tensor_split(input, indices_or_sections, 0)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along axis 2 of a tensor with three or more.

    Raises:
        ShapeError: there are fewer axes.
    """
    if input.ndim < 3:
        raise ShapeError(f"dsplit needs three axes, got the shape {list(shape_of(input))}")
    return tensor_split(input, indices_or_sections, 2)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that all of `shapes` broadcast to.

    Raises:
        ShapeError: they do not.
    """
    given = [dims_of((s,) if isinstance(s, int) else s) for s in shapes]
    return Size(spelled(n) for n in common_shape(given))


# Diagonals


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in axes `dim1` and `dim2` of the result, with the last axis of `input` on their
    diagonal.

    Raises:
        ShapeError: dim1 and dim2 are the same.
    """
    ndim = input.ndim + 1
    first, second = normal_axis(dim1, ndim), normal_axis(dim2, ndim)
    if first == second:
        raise ShapeError(f"diag_embed: dim1 and dim2 are both axis {first}")
    if first > second:
        first, second, offset = second, first, -offset
    last = input.ndim - 1
    n = spelled(shape_of(input)[last]) + abs(offset)
    low, high = [0] * input.ndim, [0] * input.ndim
    low[last], high[last] = max(-offset, 0), max(offset, 0)
    rows = unsqueeze(constant_pad(input, low, high), -1)
    hits = elementwise("eq", elementwise("add", iota((n, n), 0), offset), iota((n, n), 1))
    zero = False if here(input).spec.dtype.kind == "bool" else 0
    made = elementwise("where", hits, rows, zero, conditions=1)
    return movedim(made, (-2, -1), (first, second))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of `input` on the given diagonal."""
    return diag(reshaped(input, (-1,)), offset)


# Copies with a part replaced


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of `input` with `src` on the diagonal of axes `dim1` and `dim2`."""
    made = input.clone()
    diagonal(made, offset, dim1, dim2).copy_(src)
    return made


@array_names
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` at one place of axis `dim`."""
    made = input.clone()
    made.select(dim, index).copy_(src)
    return made


@array_names
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """A copy of `input` with `src` in the slice start:end:step of axis `dim`."""
    made = input.clone()
    whole = (slice(None),) * normal_axis(dim, input.ndim)
    made[(*whole, slice(start, end, step))].copy_(src)
    return made
