"""Sorting along an axis. It runs on the host, between native segments."""

from __future__ import annotations

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


def _comparable(x: np.ndarray) -> np.ndarray:
    """Elements of a dtype that numpy sorts quickly, in the same order."""
    if x.dtype == np.bool_:
        return x.view(np.uint8)  # by radix, which numpy has for bytes
    return x.astype(np.float32) if is_half(x.dtype) else x


def _evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    axis = attrs["axis"]
    key = _comparable(x)
    if attrs["descending"]:
        # Turned twice, so that equal elements keep their order; NaN comes first.
        places = np.argsort(np.flip(key, axis), axis=axis, kind="stable")
        places = x.shape[axis] - 1 - np.flip(places, axis)
    else:
        places = np.argsort(key, axis=axis, kind="stable")
    places = np.ascontiguousarray(places, np.int64)
    return [np.ascontiguousarray(np.take_along_axis(x, places, axis)), places]


SORT = define(
    "sort", Kind.SORT, _infer, _evaluate,
    """(values, indices): the elements of each row along `axis` in order, and where each stood.
    Stable: equal elements keep their order, `descending` or not. NaN is larger than all.""",
    arity=1, attributes=("axis", "descending"), cost=64,
)  # fmt: skip
