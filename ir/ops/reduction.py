"""Reductions over axes, and their prefixes: monoids."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dims import Dim
from ..dtypes import DType, i64, is_half, of_numpy
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, Monoid, Op, TypeRule, define, need


def _zero(dtype: DType) -> float | bool:
    return False if dtype.kind == "bool" else 0


def _one(dtype: DType) -> float | bool:
    return True if dtype.kind == "bool" else 1


def lowest(dtype: DType) -> float | int | bool:
    """The neutral element of max: -inf, the smallest integer, or False."""
    if dtype.kind == "bool":
        return False
    return -math.inf if dtype.is_float else int(np.iinfo(dtype.numpy).min)


def highest(dtype: DType) -> float | int | bool:
    """The neutral element of min: inf, the largest integer, or True."""
    if dtype.kind == "bool":
        return True
    return math.inf if dtype.is_float else int(np.iinfo(dtype.numpy).max)


def kept_axes(ndim: int, axes: Sequence[int]) -> tuple[int, ...]:
    """The axes that a reduction over `axes` leaves, in order."""
    return tuple(a for a in range(ndim) if a not in axes)


def _check_axes(type: TensorType, axes: Sequence[int]) -> None:
    need(
        all(0 <= a < type.ndim for a in axes) and list(axes) == sorted(set(axes)),
        f"axes {tuple(axes)} of {type} must be distinct, ascending and in range",
    )


def _infer_reduce(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x,) = types
    _check_axes(x, attrs["axes"])
    return (x.with_shape(tuple(x.shape[a] for a in kept_axes(x.ndim, attrs["axes"]))),)


def _infer_number(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(types[0].dtype.kind != "bool", "sums and products of bool are taken after a cast")
    return _infer_reduce(types, attrs)


def _need_order(type: TensorType, name: str) -> None:
    need(not type.dtype.is_complex, f"{name} does not take {type.dtype.public}")


def _infer_extreme(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_order(types[0], "an extreme")
    need(attrs["ties"] in ("even", "first"), f"ties={attrs['ties']!r} is neither even nor first")
    return _infer_reduce(types, attrs)


def _infer_arg(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    need(len(attrs["axes"]) > 0, "argmax and argmin need an axis")
    _need_order(types[0], "argmax and argmin")
    (result,) = _infer_reduce(types, attrs)
    for a in attrs["axes"]:
        need(types[0].shape[a] != 0, f"argmax and argmin of {types[0]}, which has no elements")
    return (result.with_dtype(i64),)


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if is_half(x.dtype) else x


def _evaluate_sum(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,), reduced = arrays, tuple(attrs["axes"])
    moved, axes = _wide(x), reduced
    if x.size and reduced != (x.ndim - 1,):
        # numpy sums pairwise only along the last axis: put the reduced axes there.
        kept = kept_axes(x.ndim, reduced)
        moved, axes = moved.transpose(kept + reduced), (-1,)
        moved = moved.reshape(moved.shape[: len(kept)] + (-1,))
    return [
        np.asarray(np.add.reduce(moved, axis=axes, dtype=moved.dtype)).astype(x.dtype, copy=False)
    ]


def _prepare_sum(types: Sequence[TensorType], attrs: Attrs) -> Callable[..., Any] | None:
    """As `_evaluate_sum`."""
    (x,), reduced = types, tuple(attrs["axes"])
    if is_half(x.dtype.numpy) or not x.size:
        return None
    if reduced == (x.ndim - 1,):
        return functools.partial(np.add.reduce, axis=reduced, dtype=x.dtype.numpy)
    kept = kept_axes(x.ndim, reduced)
    order, shape = kept + reduced, (*(x.shape[a] for a in kept), -1)
    return lambda array: np.add.reduce(
        array.transpose(order).reshape(shape), axis=-1, dtype=array.dtype
    )


def _evaluate_prod(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    return [np.asarray(np.prod(_wide(x), axis=tuple(attrs["axes"]))).astype(x.dtype)]


def _evaluate_max(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    if x.size:
        return [np.asarray(np.maximum.reduce(x, axis=tuple(attrs["axes"])))]
    initial = np.asarray(lowest(_dtype(x))).astype(x.dtype)
    return [np.asarray(np.maximum.reduce(x, axis=tuple(attrs["axes"]), initial=initial))]


def _evaluate_min(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    (x,) = arrays
    if x.size:
        return [np.asarray(np.minimum.reduce(x, axis=tuple(attrs["axes"])))]
    initial = np.asarray(highest(_dtype(x))).astype(x.dtype)
    return [np.asarray(np.minimum.reduce(x, axis=tuple(attrs["axes"]), initial=initial))]


def _dtype(x: np.ndarray) -> DType:
    found = of_numpy(x.dtype)
    assert found is not None
    return found


def _evaluate_arg(function: str):
    def evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
        (x,), axes = arrays, tuple(attrs["axes"])
        kept = kept_axes(x.ndim, axes)
        moved = _wide(x).transpose(kept + axes)
        flat = moved.reshape(
            tuple(x.shape[a] for a in kept) + (math.prod(x.shape[a] for a in axes),)
        )
        return [np.asarray(getattr(np, function)(flat, axis=-1)).astype(np.int64)]

    return evaluate


SUM = Monoid("add", _zero)
PROD = Monoid("mul", _one)
MAX = Monoid("maximum", lowest)
MIN = Monoid("minimum", highest)

REDUCE_SUM = define(
    "reduce_sum", Kind.REDUCTION, _infer_number, _evaluate_sum,
    "The sum over `axes`, which leave the shape; f16 and bf16 are summed in f32.",
    arity=1, attributes=("axes",), monoid=SUM, prepare=_prepare_sum,
)  # fmt: skip
REDUCE_PROD = define(
    "reduce_prod", Kind.REDUCTION, _infer_number, _evaluate_prod,
    "The product over `axes`.", arity=1, attributes=("axes",), monoid=PROD,
)  # fmt: skip
REDUCE_MAX = define(
    "reduce_max", Kind.REDUCTION, _infer_extreme, _evaluate_max,
    """The largest over `axes`, NaN if one is, -inf (or the smallest integer) of none. `ties` says
    where the gradient goes among equal ones: "even" (an equal share each) or "first".""",
    arity=1, attributes=("axes", "ties"), monoid=MAX,
)  # fmt: skip
REDUCE_MIN = define(
    "reduce_min", Kind.REDUCTION, _infer_extreme, _evaluate_min,
    "The smallest over `axes`; else as `reduce_max`.",
    arity=1, attributes=("axes", "ties"), monoid=MIN,
)  # fmt: skip
ARGMAX = define(
    "argmax", Kind.REDUCTION, _infer_arg, _evaluate_arg("argmax"),
    """The index, counted over the flattened `axes`, of the first largest element; of the first
    NaN where there is one.""",
    arity=1, attributes=("axes",), monoid=Monoid("gt", lowest, arg=True),
)  # fmt: skip
ARGMIN = define(
    "argmin", Kind.REDUCTION, _infer_arg, _evaluate_arg("argmin"),
    "As `argmax`, for the smallest.",
    arity=1, attributes=("axes",), monoid=Monoid("lt", highest, arg=True),
)  # fmt: skip


def _infer_cumulative(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (x,) = types
    need(x.dtype.kind != "bool", "cumulative ops of bool are taken after a cast")
    need(0 <= attrs["axis"] < x.ndim, f"axis {attrs['axis']} of {x}")
    return (x,)


def _infer_cummax(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    _need_order(types[0], "cummax")
    return _infer_cumulative(types, attrs)


def _evaluate_cumulative(function: np.ufunc):
    def evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
        (x,) = arrays
        axis = attrs["axis"]
        turned = np.flip(x, axis) if attrs["reverse"] else x
        result = function.accumulate(_wide(turned), axis=axis, dtype=_wide(x).dtype)
        result = np.flip(result, axis) if attrs["reverse"] else result
        return [np.ascontiguousarray(result.astype(x.dtype))]

    return evaluate


def _cumulative(
    name: str, function: np.ufunc, monoid: Monoid, doc: str, infer: TypeRule = _infer_cumulative
) -> Op:
    return define(
        name, Kind.CUMULATIVE, infer, _evaluate_cumulative(function), doc,
        arity=1, attributes=("axis", "reverse"), monoid=monoid,
    )  # fmt: skip


CUMSUM = _cumulative("cumsum", np.add, SUM, "All prefix sums along `axis`; `reverse`: suffixes.")
CUMPROD = _cumulative("cumprod", np.multiply, PROD, "All prefix products along `axis`.")
CUMMAX = _cumulative(
    "cummax", np.maximum, MAX, "The largest of each prefix along `axis`.", _infer_cummax
)


def reduced(type: TensorType, axes: Sequence[int]) -> TensorType:
    """The type that a reduction of `type` over `axes` has."""
    return tensor_type(type.dtype, tuple(type.shape[a] for a in kept_axes(type.ndim, axes)))


def extents(type: TensorType, axes: Sequence[int]) -> tuple[Dim, ...]:
    """The sizes of `axes`."""
    return tuple(type.shape[a] for a in axes)
