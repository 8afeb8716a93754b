"""Sorting along an axis. It runs on the host, between native segments, and on a GPU by kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..dtypes import i64, is_half
from ..types import TensorType
from .base import Attrs, Kind, define, need


def _infer(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x,) = types
    need(not x.dtype.is_complex, f"sort does not take {x.dtype.public}")
    need(0 <= attrs["axis"] < x.ndim, f"axis {attrs['axis']} of {x}")
    need(isinstance(attrs["descending"], bool), f"descending={attrs['descending']!r} is no bool")
    return (x, x.with_dtype(i64))


_LOW = 32  # bits of a place beside its key
_MANY = 1 << 18  # elements that are worked on at a time: what a cache holds


def _keys(x: np.ndarray) -> np.ndarray:
    """Integers of 32 or 64 bits in the order of the elements; NaN is the largest of all."""
    if is_half(x.dtype):
        x = x.astype(np.float32)
    if x.dtype.kind != "f":
        wide = x.dtype.itemsize > 4 or x.dtype == np.uint32
        if x.dtype == np.uint64:  # the lowest becomes the lowest of the signed ones
            return (x ^ np.uint64(1 << 63)).view(np.int64)
        return x.astype(np.int64 if wide else np.int32)
    signed = np.dtype(f"i{x.dtype.itemsize}")
    bits = (x + 0).view(signed)  # one zero
    keys = bits ^ ((bits >> (8 * signed.itemsize - 1)) & np.iinfo(signed).max)
    keys[np.isnan(x)] = np.iinfo(signed).max
    return keys


def _places(keys: np.ndarray) -> np.ndarray:
    """Where the elements of each row stood, in stable order.

    numpy sorts numbers several times faster than it finds a stable order, so that keys and places
    are sorted as one number; of long keys, equal ones are numbered first.
    """
    if keys.shape[-1] >> _LOW:
        return np.argsort(keys, axis=-1, kind="stable")
    if keys.dtype == np.int32:
        packed = keys.astype(np.int64) << _LOW
        packed |= np.arange(keys.shape[-1])
    else:
        packed = np.argsort(keys, axis=-1)
        ordered = np.take_along_axis(keys, packed, -1)
        new = ordered[:, 1:] != ordered[:, :-1]
        if new.all():
            return packed
        packed[:, 1:] |= np.cumsum(new, axis=-1) << _LOW
    packed.sort(axis=-1)
    packed &= (1 << _LOW) - 1
    return packed


def _evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    axis = attrs["axis"]
    if not x.size:
        return [x.copy(), np.empty(x.shape, np.int64)]
    moved = np.moveaxis(x, axis, -1)
    rows = moved.reshape(-1, x.shape[axis])
    places = np.empty(rows.shape, np.int64)
    step = max(1, _MANY // rows.shape[1])
    for first in range(0, len(rows), step):
        keys = _keys(rows[first : first + step])
        places[first : first + step] = _places(~keys if attrs["descending"] else keys)
    values = np.take_along_axis(rows, places, -1)
    return [
        np.ascontiguousarray(np.moveaxis(part.reshape(moved.shape), -1, axis))
        for part in (values, places)
    ]


SORT = define(
    "sort", Kind.SORT, _infer, _evaluate,
    """(values, indices): the elements of each row along `axis` in order, and where each stood.
    Stable: equal elements keep their order, `descending` or not. NaN is larger than all.""",
    arity=1, attributes=("axis", "descending"), cost=64,
)  # fmt: skip


def _infer_order(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x,) = types
    need(x.ndim > 0, f"order takes rows, not {x}")
    need(x.dtype.kind in ("int", "uint", "float"), f"order does not take {x.dtype.public}")
    need(not x.dtype.is_low_precision, f"order does not take {x.dtype.public}")
    need(isinstance(attrs["descending"], bool), f"descending={attrs['descending']!r} is no bool")
    if attrs.get("block"):
        plain = x.dtype.name in ("i32", "i64") and not attrs["descending"] and "limit" not in attrs
        need(plain, "a kernel puts whole rows of i32 or i64 in increasing order")
    limit = attrs.get("limit", x.shape[-1])
    return (x.with_shape((*x.shape[:-1], limit)),)


def _fill_order(arrays: Sequence[np.ndarray], results: Sequence[np.ndarray], attrs: Attrs) -> None:
    descending, size, limit = attrs["descending"], arrays[0].shape[-1], results[0].shape[-1]
    rows = math.prod(arrays[0].shape[:-1])
    x, result = arrays[0].reshape(rows, size), results[0].reshape(rows, limit)
    if size >> _LOW:
        raise ValueError(f"rows of {size} elements are longer than 2**{_LOW}")
    if limit == size:
        result[...] = x
        result.sort(axis=-1)
        if descending:
            result[...] = result[:, ::-1].copy()
        return
    step = max(1, _MANY // size)
    for first in range(0, len(x) if limit else 0, step):
        part = x[first : first + step].copy()
        if 4 * limit < size:
            part.partition(size - limit if descending else limit - 1, axis=-1)
            part = part[:, size - limit :] if descending else part[:, :limit]
        part = np.sort(part, axis=-1)
        result[first : first + step] = (part[:, ::-1] if descending else part)[:, :limit]


def _evaluate_order(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    result = np.empty((*x.shape[:-1], attrs.get("limit", x.shape[-1])), x.dtype)
    _fill_order(arrays, [result], attrs)
    return [result]


ORDER = define(
    "order", Kind.SORT, _infer_order, _evaluate_order,
    """The elements of each row (the last axis) in order, the first `limit` of them where that is
    given. NaN is larger than all; which of equal elements comes first is not said. `block`: a
    kernel does it, for rows that fit into a block of a GPU.""",
    arity=1, attributes=("descending", "limit", "block"), optional=("limit", "block"), cost=64,
    fill=_fill_order,
)  # fmt: skip
