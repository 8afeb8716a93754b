"""Pooling to a given size: means and maxima of the parts of axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....ir.ops.reduction import lowest
from ...apply import apply, constant, elementwise
from ...errors import ArgumentError, ShapeError
from ...functions.arguments import cast, reshaped, shape_of, spelled
from ...functions.math import where
from ...functions.reduction import mean_over, wide
from ...functions.select import index_select
from ...functions.shape import permute
from ...tensor import Tensor, here
from .arguments import per_axis


class _Parts:
    """An axis of `size` elements cut into `wanted` parts, which may share elements.

    Attributes:
        places: int64[wanted, longest part], the last element repeated where a part is shorter.
        there: bool[wanted, longest part].
    """

    def __init__(self, size: int, wanted: int) -> None:
        begin = np.arange(wanted) * size // wanted
        end = -(-(np.arange(wanted) + 1) * size // wanted)
        steps = np.arange(int((end - begin).max(initial=1)))
        places = begin[:, None] + steps
        self.there = places < end[:, None]
        self.places = np.minimum(places, np.maximum(end[:, None] - 1, 0)).astype(np.int64)


def _wanted(input: Tensor, output_size: Any, axes: int, name: str) -> list[tuple[int, Any, Any]]:
    """(axis, size, wanted size) of the pooled axes."""
    if input.ndim not in (axes + 1, axes + 2):
        raise ShapeError(
            f"{name} of {here(input).spec}: it takes {axes + 1} or {axes + 2} axes",
            hint="the input is [N, channels, ...] or [channels, ...]; unsqueeze() adds an axis",
        )
    first = input.ndim - axes
    found = []
    for k, wanted in enumerate(per_axis(output_size, axes, "output_size")):
        size = spelled(shape_of(input)[first + k])
        if wanted is not None and isinstance(wanted, int) and wanted < 0:
            raise ArgumentError(f"{name}: output_size={output_size} is negative")
        found.append((first + k, size, size if wanted is None else wanted))
    return found


def _adaptive_avg(input: Tensor, output_size: Any, axes: int) -> Tensor:
    targets = _wanted(input, output_size, axes, f"adaptive_avg_pool{axes}d")
    dtype = here(input).spec.dtype
    result = wide(input)
    whole = tuple(axis for axis, _, wanted in targets if isinstance(wanted, int) and wanted == 1)
    if whole:
        result = mean_over(result, whole, True)
    for axis, size, wanted in targets:
        if axis not in whole and not (size is wanted or size == wanted):
            result = _averaged(result, axis, size, wanted)
    return cast(result, dtype)


def _averaged(input: Tensor, axis: int, size: Any, wanted: int) -> Tensor:
    """The means of the parts of one axis."""
    if size % wanted == 0:
        sizes = [spelled(n) for n in shape_of(input)]
        split = reshaped(input, [*sizes[:axis], wanted, size // wanted, *sizes[axis + 1 :]])
        return mean_over(split, (axis + 1,), False)
    parts = _Parts(int(size), wanted)
    taken = _taken(input, axis, parts)
    kept = where(_mask(parts.there, axis, taken.ndim), taken, 0)
    total = apply("reduce_sum", [kept], axes=(axis + 1,))
    counts = parts.there.sum(1).reshape(-1, *[1] * (total.ndim - 1 - axis))
    return elementwise("div", total, cast(constant(counts), here(total).spec.dtype))


def _taken(input: Tensor, axis: int, parts: _Parts) -> Tensor:
    """The axis replaced by two: the parts, and the elements of each."""
    found = index_select(input, axis, constant(parts.places.reshape(-1)))
    sizes = [spelled(n) for n in shape_of(input)]
    return reshaped(found, [*sizes[:axis], *parts.places.shape, *sizes[axis + 1 :]])


def _mask(there: np.ndarray, axis: int, ndim: int) -> Tensor:
    """Which of the elements of `_taken` are there, in its shape."""
    return constant(there.reshape(*there.shape, *[1] * (ndim - axis - 2)))


def _adaptive_max(input: Tensor, output_size: Any, return_indices: bool, axes: int) -> Any:
    """The largest elements of the parts; all pooled axes at once, so that places are known."""
    name = f"adaptive_max_pool{axes}d"
    targets = [(a, int(size), int(wanted))
               for a, size, wanted in _wanted(input, output_size, axes, name)]  # fmt: skip
    taken, first = input, input.ndim - axes
    place: np.ndarray = np.zeros((), np.int64)
    there: np.ndarray = np.ones((), bool)
    for k, (_, size, wanted) in enumerate(targets):
        parts = _Parts(size, wanted)
        taken = _taken(taken, first + 2 * k, parts)
        place = place[..., None, None] * size + parts.places
        there = there[..., None, None] & parts.there
    order = [*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)]
    taken = permute(taken, *range(first), *(first + a for a in order))
    outer = [spelled(n) for n in shape_of(taken)[: first + axes]]
    place = place.transpose(order).reshape(*place.shape[::2], -1)
    there = there.transpose(order).reshape(place.shape)
    taken = reshaped(taken, [*outer, place.shape[-1]])
    if not there.all():
        taken = where(constant(there), taken, lowest(here(taken).spec.dtype))
    last = (taken.ndim - 1,)
    values = apply("reduce_max", [taken], axes=last, ties="first")
    if not return_indices:
        return values
    chosen = apply("argmax", [taken], axes=last)
    hit = elementwise("eq", constant(np.arange(place.shape[-1])), reshaped(chosen, [*outer, 1]))
    return values, apply("reduce_sum", [where(hit, constant(place), 0)], axes=last)


_OF = ("", "the last axis", "the last two axes", "the last three axes")


def _avg_function(axes: int) -> Callable[..., Tensor]:
    def adaptive_avg_pool(input: Tensor, output_size: Any) -> Tensor:
        return _adaptive_avg(input, output_size, axes)

    adaptive_avg_pool.__name__ = adaptive_avg_pool.__qualname__ = f"adaptive_avg_pool{axes}d"
    adaptive_avg_pool.__doc__ = (
        f"The means of `output_size` parts of {_OF[axes]} of [N, C, ...] or [C, ...] (None keeps a "
        "size). Part i of n of an axis of size s goes from i * s // n to ceil((i + 1) * s / n)."
    )
    return adaptive_avg_pool


def _max_function(axes: int) -> Callable[..., Any]:
    def adaptive_max_pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return _adaptive_max(input, output_size, return_indices, axes)

    adaptive_max_pool.__name__ = adaptive_max_pool.__qualname__ = f"adaptive_max_pool{axes}d"
    adaptive_max_pool.__doc__ = (
        f"The largest elements of `output_size` parts of {_OF[axes]} of [N, C, ...] or [C, ...] "
        "(None keeps a size). With `return_indices` also int64 places in the flattened pooled axes."
    )
    return adaptive_max_pool


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = map(_avg_function, (1, 2, 3))
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = map(_max_function, (1, 2, 3))
