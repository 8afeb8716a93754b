"""Reads and writes at indices that are data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..dims import Dim
from ..dtypes import is_half
from ..types import TensorType
from .base import Attrs, IndexedMap, Kind, define, need, refuse_float8

Types = Sequence[TensorType]
# How several updates of one place meet: by the elementwise op of this name, or the last wins.
COMBINES: dict[str, np.ufunc | None] = {
    "set": None,
    "add": np.add,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def _infer_gather(types: Types, attrs: Attrs) -> Types:
    x, indices = types
    axis = attrs["axis"]
    need(0 <= axis < x.ndim, f"axis {axis} of {x}")
    need(indices.dtype.kind in ("int", "uint"), f"indices are {indices}, not integers")
    return (x.with_shape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :]),)


def _check_range(indices: np.ndarray, size: int, name: str) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        bad = indices[(indices < 0) | (indices >= size)].flat[0]
        raise IndexError(f"{name}: index {bad} is out of range for an axis of size {size}")


def _eval_gather(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    x, indices = arrays
    _check_range(indices, x.shape[attrs["axis"]], "gather")
    return [np.asarray(np.take(x, indices, axis=attrs["axis"]))]


def _infer_scatter(types: Types, attrs: Attrs) -> Types:
    base, indices, updates = types
    axis = attrs["axis"]
    need(0 <= axis < base.ndim, f"axis {axis} of {base}")
    need(indices.dtype.kind in ("int", "uint"), f"indices are {indices}, not integers")
    need(attrs["combine"] in COMBINES, f"combine={attrs['combine']!r} is not of {list(COMBINES)}")
    ordered = attrs["combine"] in ("maximum", "minimum")
    need(
        not (ordered and base.dtype.is_complex),
        f"scatter by {attrs['combine']} does not take {base.dtype.public}",
    )
    if attrs["combine"] != "set":
        refuse_float8(f"scatter by {attrs['combine']}", base)
    expected = base.with_shape(base.shape[:axis] + indices.shape + base.shape[axis + 1 :])
    need(updates == expected, f"updates are {updates}, expected {expected}")
    return (base,)


def _eval_scatter(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    base, indices, updates = arrays
    axis = attrs["axis"]
    _check_range(indices, base.shape[axis], "scatter")
    wide = is_half(base.dtype) and attrs["combine"] != "set"
    out = base.astype(np.float32) if wide else np.array(base)
    place = (slice(None),) * axis + (indices,)
    combine = COMBINES[attrs["combine"]]
    if combine is None:
        out[place] = updates
    else:
        combine.at(out, place, updates.astype(out.dtype, copy=False))
    return [out.astype(base.dtype, copy=False)]


def _gather_map(types: Types, attrs: Attrs, index: tuple[Dim, ...]) -> IndexedMap:
    axis, end = attrs["axis"], attrs["axis"] + types[1].ndim

    def place(found: Dim) -> tuple[Dim, ...]:
        return (*index[:axis], found, *index[end:])

    return IndexedMap((1, index[axis:end]), (0, place), types[0].shape[axis])


GATHER = define(
    "gather", Kind.INDEXED, _infer_gather, _eval_gather,
    """x[.., indices[j], ..] along `axis`, which the axes of `indices` replace. An index outside
    [0, size) is an IndexError in evaluation and reads 0 in a kernel.""",
    arity=2, attributes=("axis",), indexed_map=_gather_map,
)  # fmt: skip
SCATTER = define(
    "scatter", Kind.INDEXED, _infer_scatter, _eval_scatter,
    """The base with updates set, or combined by "add", "mul", "maximum" or "minimum", at `indices`
    along `axis`; where several meet, "set" keeps the last in row-major order.""",
    arity=3, attributes=("axis", "combine"), indexed_map=_gather_map,
)  # fmt: skip
