"""Elements joined or exchanged at places: scatter and index writes with a reduction, masks filled
from another tensor, membership."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dims import product
from ...ir.dtypes import bool_, i64
from ...ir.ops.reduction import highest, lowest
from ..apply import apply, elementwise, value_of
from ..context import ambient
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..promotion import promote_types
from ..symint import SymInt
from ..tensor import Tensor, elements, here
from .arguments import array_names, as_input, cast, reshaped, shape_of, spelled
from .counting import searchsorted
from .creation import full_like, ones_like, zeros_like
from .math import where
from .ordering import sort
from .reduction import cumsum
from .select import index_write, scatter_write
from .shape import expand

_COMBINES = {"sum": "add", "mean": "add", "prod": "mul", "amax": "maximum", "amin": "minimum"}
_Write = Callable[[Tensor, Any, str], Tensor]


@array_names
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of `input` where each src[i][j] is joined with out[index[i][j]][j] for dim 0, and so
    on, by the reduction "sum", "prod", "mean", "amax" or "amin"; without `include_self` what was
    there takes no part. Equal extremes share the gradient.

    Raises:
        ArgumentError: another reduction.
    """
    return _joined(
        "scatter_reduce", input, src, reduce, include_self,
        lambda base, updates, combine: scatter_write(base, dim, index, updates, combine),
    )  # fmt: skip


@array_names
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *,
    include_self: bool = True,
) -> Tensor:  # fmt: skip
    """A copy of `input` where the slices of `source` are joined with those along `dim` that
    `index` names, by "prod", "mean", "amax" or "amin"; else as `scatter_reduce`."""
    return _joined(
        "index_reduce", input, source, reduce, include_self,
        lambda base, updates, combine: index_write(base, dim, index, updates, combine),
    )  # fmt: skip


def _joined(
    name: str, input: Tensor, src: Tensor, reduce: str, include_self: bool, write: _Write
) -> Tensor:
    if reduce not in _COMBINES:
        raise ArgumentError(f"{name}: reduce={reduce!r} is none of {', '.join(_COMBINES)}")
    dtype = here(input).spec.dtype
    if here(src).spec.dtype is not dtype:
        raise DTypeError(f"{name}: {src.dtype.public} into a tensor of {dtype.public}")
    combine = _COMBINES[reduce]
    base = input
    if not include_self:
        neutral = {"add": 0, "mul": 1, "maximum": lowest(dtype), "minimum": highest(dtype)}
        base = write(input, full_like(src, neutral[combine]), "set")
    result = write(base, src, combine)
    if reduce != "mean":
        return result
    counted = ones_like(input) if include_self else write(
        ones_like(input), zeros_like(src), "set"
    )  # fmt: skip
    counted = write(counted, ones_like(src), "add")
    if not include_self:
        counted = elementwise("maximum", counted, 1)
    return elementwise("div" if dtype.is_float else "floor_div", result, counted)


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` where the elements at which the mask (broadcast) holds are those of
    `source`, one after the other.

    Raises:
        DTypeError: the mask is not bool, or the dtypes differ.
        IndexingError: `source` has too few elements.
    """
    if here(mask).spec.dtype.kind != "bool":
        raise DTypeError(f"masked_scatter: the mask is {mask.dtype.public}, not bool")
    if here(input).spec.dtype is not here(source).spec.dtype:
        raise DTypeError(
            f"masked_scatter: {source.dtype.public} into a tensor of {input.dtype.public}"
        )
    sizes = [spelled(n) for n in shape_of(input)]
    holds = expand(mask, sizes)
    count = spelled(product(shape_of(input)))
    flat = reshaped(holds, (count,))
    place = where(flat, elementwise("sub", cumsum(flat, 0), 1), 0)
    given = reshaped(source, (spelled(product(shape_of(source))),))
    size = shape_of(given)[0]
    if ambient.trace is not None:
        ambient.trace.builder.check(value_of(place), size, "masked_scatter")
    elif place.numel() and elements(place).max() >= size:
        if not elements(flat).any():
            return input.clone()
        raise IndexingError(
            f"masked_scatter: {size} elements for {int(elements(flat).sum())} that the mask names"
        )
    found = apply("gather", [given, place], axis=0)
    return where(holds, reshaped(found, sizes), input)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of `input` where the elements of the flattened tensor that `index` names are those of
    `source`, or have them added.

    Raises:
        ShapeError: index and source have different numbers of elements.
    """
    if product(shape_of(index)) != product(shape_of(source)):
        raise ShapeError(f"put: {index.shape} indices, {source.shape} elements")
    sizes = [spelled(n) for n in shape_of(input)]
    count = spelled(product(shape_of(input)))
    places = reshaped(cast(index, i64), (spelled(product(shape_of(index))),))
    places = where(elementwise("lt", places, 0), elementwise("add", places, count), places)
    updates = reshaped(source, (spelled(product(shape_of(source))),))
    flat = reshaped(input, (count,))
    done = scatter_write(flat, 0, places, updates, "add" if accumulate else "set")
    return reshaped(done, sizes)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among `test_elements` (`invert`: is not); of the shape of
    `elements`. NaN is among nothing."""
    wanted, given = as_input(elements), as_input(test_elements)
    count = spelled(product(shape_of(given)))
    if not isinstance(count, SymInt) and count == 0:
        return full_like(wanted, invert, dtype=bool_)
    both = promote_types(here(given).spec.dtype, here(wanted).spec.dtype)
    ordered = sort(cast(reshaped(given, (count,)), both)).values
    wanted = cast(wanted, both)
    place = elementwise("minimum", searchsorted(ordered, wanted), count - 1)
    found = apply("gather", [ordered, place], axis=0)
    return elementwise("ne" if invert else "eq", found, wanted)
