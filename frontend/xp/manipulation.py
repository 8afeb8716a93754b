"""Shapes: other ones of the same elements, and several arrays as one."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..functions import assembling, joining, shape
from ..functions.arguments import as_input
from ..tensor import Tensor, normal_axis
from ..viewing import reshape_view


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """The arrays in the shape that all broadcast to."""
    return list(shape.broadcast_tensors(*arrays))


def broadcast_shapes(*shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shape that all broadcast to; () of none.

    Raises:
        ShapeError: they do not broadcast.
    """
    return tuple(assembling.broadcast_shapes(*shapes)) if shapes else ()


def broadcast_to(x: Tensor, /, shape: Any) -> Tensor:
    """`x` in a shape that it broadcasts to, as a view."""
    from ..functions.shape import broadcast_to as broadcast

    return broadcast(x, shape)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Tensor:
    """Arrays joined along an axis; flattened first where it is None."""
    if axis is None:
        return joining.cat([shape.flatten(as_input(a)) for a in arrays], 0)
    return joining.cat(list(arrays), axis)


def stack(arrays: Any, /, *, axis: int = 0) -> Tensor:
    """Arrays joined along a new axis."""
    return joining.stack(list(arrays), axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of `x` along an axis."""
    return tuple(joining.unbind(x, axis))


def expand_dims(x: Tensor, /, axis: Any) -> Tensor:
    """`x` with an axis of size 1 at each place that `axis` names in the result."""
    places = axis if isinstance(axis, tuple) else (axis,)
    wanted = sorted(normal_axis(a, x.ndim + len(places)) for a in places)
    if len(set(wanted)) < len(wanted):
        raise ArgumentError(f"expand_dims: {axis} names an axis twice")
    for place in wanted:
        x = shape.unsqueeze(x, place)
    return x


def squeeze(x: Tensor, /, axis: Any) -> Tensor:
    """`x` without the named axes, which must have size 1.

    Raises:
        ArgumentError: one has not.
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    for one in axes:
        if not x.shape[normal_axis(one, x.ndim)] == 1:
            raise ArgumentError(f"squeeze: axis {one} of {list(x.shape)} has not size 1")
    return shape.squeeze(x, tuple(axes))


def flip(x: Tensor, /, *, axis: Any = None) -> Tensor:
    """The elements in reverse along one axis, several, or all."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return joining.flip(x, *axes)


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """The elements moved along axes, those that leave coming in again."""
    return joining.roll(x, shift, axis)


def moveaxis(x: Tensor, source: Any, destination: Any, /) -> Tensor:
    """Axes moved to other places."""
    return shape.movedim(x, source, destination)


def permute_dims(x: Tensor, /, axes: Any) -> Tensor:
    """The axes in another order."""
    return shape.permute(x, *axes)


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element so many times, along an axis or of the flattened array."""
    return joining.repeat_interleave(x, repeats, axis)


def tile(x: Tensor, repetitions: Any, /) -> Tensor:
    """The whole array so many times along each axis."""
    return joining.tile(x, tuple(repetitions))


def reshape(x: Tensor, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    """The same elements in another shape; `copy=True` always copies, False never.

    Raises:
        ArgumentError: a copy is needed, and `copy` is False.
    """
    if copy is False:
        view = reshape_view(x, tuple(shape), name="reshape")
        if view is None:
            raise ArgumentError(f"reshape(copy=False) of {list(x.shape)} to {shape} needs a copy")
        return view
    return (x.clone() if copy else x).reshape(tuple(shape))
