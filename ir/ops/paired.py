"""What programs without complex numbers call in place of an op that takes or gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import TensorType, tensor_type
from .base import OPS, Attrs, Kind, Op, define, need

PARTS = 2  # the size of the last axis of a pair: real, imaginary


def pairs_type(type: TensorType) -> TensorType:
    """The type of a complex buffer seen as real numbers: c64[N] is f32[N, 2]."""
    if not type.dtype.is_complex:
        return type
    return tensor_type(type.dtype.to_real(), (*type.shape, PARTS))


def _joined_type(type: TensorType) -> TensorType:
    fits = type.dtype.name in ("f32", "f64") and type.ndim > 0 and type.shape[-1] == PARTS
    need(fits, f"{type} is no buffer of pairs")
    return tensor_type(type.dtype.to_complex(), type.shape[:-1])


def _call(attrs: Attrs) -> tuple[Op, dict]:
    need(attrs["op"] in OPS, f"paired of {attrs['op']!r}, which is no op")
    return OPS[attrs["op"]], dict(zip(attrs["names"], attrs["values"], strict=True))


def _infer(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    op, given = _call(attrs)
    need(len(attrs["complex"]) == len(types), f"{attrs['complex']} for {len(types)} operands")
    joined = [
        _joined_type(t) if pair else t for t, pair in zip(types, attrs["complex"], strict=True)
    ]
    return [pairs_type(t) for t in op.infer(joined, given)]


def _evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> list[np.ndarray]:
    op, given = _call(attrs)
    joined = [_join(a) if pair else a for a, pair in zip(arrays, attrs["complex"], strict=True)]
    return [_split(a) for a in op.evaluate(joined, given)]


def _join(array: np.ndarray) -> np.ndarray:
    wanted = np.complex64 if array.dtype == np.float32 else np.complex128
    return np.ascontiguousarray(array).view(wanted)[..., 0]


def _split(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "c":
        return array
    return np.ascontiguousarray(array[..., None]).view(array.real.dtype)


PAIRED = define(
    "paired", Kind.HOST, _infer, _evaluate,
    """The op named `op` with the attributes `names` and `values`, its complex operands (those that
    `complex` marks) and results as real buffers with a last axis (real, imaginary).""",
    attributes=("op", "complex", "names", "values"),
)  # fmt: skip
