"""What images are here, and where the transforms' random numbers come from.

An image is a tensor [..., channels, height, width] (or [..., height, width]) or an array [height,
width] or [height, width, channels]; a transform gives one of the same kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError
from ...random_state import next_draw
from ...tensor import Tensor, of_array


def planes_of(image: Any, name: str) -> np.ndarray:
    """The elements with height and width as the last axes, a view of the image's memory.

    Raises:
        DTypeError: it is neither a tensor nor an array.
        ShapeError: it has too few axes, or too many of an array.
    """
    if isinstance(image, Tensor):
        if image.ndim < 2:
            raise ShapeError(f"{name}: a tensor {image.spec} is no image")
        return image.detach().numpy()
    if not isinstance(image, np.ndarray):
        raise DTypeError(f"{name} of a {type(image).__name__}: give a tensor or an array")
    if image.ndim not in (2, 3):
        raise ShapeError(f"{name}: an array {list(image.shape)} is no [height, width, channels]")
    return image if image.ndim == 2 else image.transpose(2, 0, 1)


def alike(image: Any, planes: np.ndarray) -> Any:
    """`planes` as an image of the kind of `image`, of its dtype."""
    planes = as_dtype(planes, planes_of(image, "").dtype)
    if isinstance(image, Tensor):
        return of_array(np.ascontiguousarray(planes))
    return np.ascontiguousarray(planes if planes.ndim == 2 else planes.transpose(1, 2, 0))


def as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Computed values in the dtype of the image: whole ones rounded, and kept in range."""
    if values.dtype == dtype:
        return values
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)


def full_value(planes: np.ndarray) -> float:
    """What white is: 255 of uint8, 1 of floats."""
    return float(np.iinfo(planes.dtype).max) if planes.dtype.kind in "ui" else 1.0


def generator() -> np.random.Generator:
    """Random numbers of one application: a stream named by sley's next draw, so that
    `sley.manual_seed` and the seeds of workers decide them."""
    draw = next_draw()
    key = np.array([draw.seed.item(), draw.offset.item()], np.int64).view(np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def pair(value: Any, name: str) -> tuple[int, int]:
    """(height, width) of a number or of two."""
    if isinstance(value, int):
        return value, value
    if len(value) != 2:
        raise ShapeError(f"{name}: the size {value!r} is no number and no (height, width)")
    return int(value[0]), int(value[1])
