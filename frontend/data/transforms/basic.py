"""Transforms of transforms, and into tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....ir.dtypes import f32
from ...errors import ArgumentError, DTypeError, ShapeError
from ...functions.arguments import cast
from ...tensor import Tensor, of_array
from .image import alike, as_dtype, generator, planes_of

Function = Callable[[Any], Any]


class Transform:
    """A function of an image: subclasses define `__call__`."""

    def __call__(self, image: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define __call__()")

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({inside})"


class Compose(Transform):
    """One transform after the other.

    >>> Compose([Lambda(lambda x: x + 1), Lambda(lambda x: x * 2)])(3)
    8
    """

    def __init__(self, transforms: Sequence[Function]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


class Lambda(Transform):
    """Any function of an image."""

    def __init__(self, lambd: Function) -> None:
        if not callable(lambd):
            raise ArgumentError(f"Lambda of a {type(lambd).__name__}: give a function")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        return self.lambd(image)


class RandomApply(Transform):
    """All of the transforms with probability `p`, else none."""

    def __init__(self, transforms: Sequence[Function], p: float = 0.5) -> None:
        self.transforms = list(transforms)
        self.p = p

    def __call__(self, image: Any) -> Any:
        if generator().random() >= self.p:
            return image
        for transform in self.transforms:
            image = transform(image)
        return image


class RandomChoice(Transform):
    """One of the transforms, drawn with the weights `p` (equal ones unless given)."""

    def __init__(self, transforms: Sequence[Function], p: Sequence[float] | None = None) -> None:
        self.transforms = list(transforms)
        self.p = [1.0] * len(self.transforms) if p is None else list(p)
        if len(self.p) != len(self.transforms):
            raise ArgumentError(f"RandomChoice: {len(self.p)} weights")

    def __call__(self, image: Any) -> Any:
        weights = np.array(self.p) / np.sum(self.p)
        return self.transforms[generator().choice(len(weights), p=weights)](image)


class ToTensor(Transform):
    """An array [height, width] or [height, width, channels] as a tensor [channels, height, width]:
    of uint8 as float32 in [0, 1], of other dtypes as it is.

    >>> ToTensor()(np.full((2, 2), 255, np.uint8))
    tensor([[[1., 1.],
             [1., 1.]]])
    """

    def __call__(self, image: Any) -> Tensor:
        if not isinstance(image, np.ndarray):
            raise DTypeError(f"ToTensor of a {type(image).__name__}: give an array")
        planes = planes_of(image, "ToTensor")
        planes = np.ascontiguousarray(planes[None] if planes.ndim == 2 else planes)
        if planes.dtype == np.uint8:
            return of_array(planes.astype(np.float32) / np.float32(255))
        return of_array(planes.copy() if planes.base is not None else planes)


class ConvertImageDtype(Transform):
    """A tensor in another dtype, scaled so that black and white stay black and white."""

    def __init__(self, dtype: Any = f32) -> None:
        self.dtype = dtype

    def __call__(self, image: Tensor) -> Tensor:
        planes = planes_of(image, "ConvertImageDtype")
        wanted = self.dtype.numpy
        if self.dtype.is_float:
            scale = 255.0 if planes.dtype == np.uint8 else 1.0
            return cast(of_array(planes / np.float32(scale)), self.dtype)
        if planes.dtype.kind == "f":
            planes = planes.astype(np.float64) * np.iinfo(wanted).max
        return of_array(as_dtype(planes, np.dtype(wanted)))


class Normalize(Transform):
    """(image - mean) / std, channel by channel, of floats.

    >>> Normalize([0.5], [0.25])(of_array(np.array([[[0.0, 1.0]]], np.float32)))
    tensor([[[-2.,  2.]]])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        if any(value == 0 for value in std):
            raise ArgumentError(f"Normalize: std={list(std)} has a zero")
        self.mean, self.std, self.inplace = list(mean), list(std), inplace

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "Normalize")
        if planes.dtype.kind in "uib":
            raise DTypeError(f"Normalize of {planes.dtype}", hint="put ToTensor() before it")
        if planes.ndim < 3 or any(len(v) not in (1, planes.shape[-3]) for v in self._values()):
            raise ShapeError(f"Normalize by {len(self.mean)} means of {list(planes.shape)}")
        mean, std = (np.asarray(v, planes.dtype)[:, None, None] for v in self._values())
        if not self.inplace:
            return alike(image, (planes - mean) / std)
        planes -= mean
        planes /= std
        return image

    def _values(self) -> tuple[list[float], list[float]]:
        return self.mean, self.std
