"""What pixels look like: colours, and parts that are wiped out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from .basic import Transform
from .geometry import random_box
from .image import alike, full_value, generator, pair, planes_of

Range = float | tuple[float, float]
_LUMA = np.array([0.2989, 0.587, 0.114])  # ITU-R BT.601, as in PyTorch


class Grayscale(Transform):
    """The luminance of an image with three channels, in one channel or in three equal ones."""

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ArgumentError(f"Grayscale: num_output_channels={num_output_channels}")
        self.num_output_channels = num_output_channels

    def __call__(self, image: Any) -> Any:
        planes = _three(planes_of(image, "Grayscale"), "Grayscale")
        gray = np.repeat(_luminance(planes), self.num_output_channels, axis=-3)
        return alike(image, gray)


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed at random, in random order.

    A number x of the first three means a factor from max(0, 1 - x) to 1 + x; of hue a turn of -x to
    x, at most 0.5. A pair gives the range itself. Images of one channel have no saturation and hue.
    """

    def __init__(
        self,
        brightness: Range = 0,
        contrast: Range = 0,
        saturation: Range = 0,
        hue: Range = 0,
    ) -> None:
        self.brightness = _range(brightness, "brightness")
        self.contrast = _range(contrast, "contrast")
        self.saturation = _range(saturation, "saturation")
        self.hue = (-hue, hue) if isinstance(hue, (int, float)) else hue
        if not -0.5 <= self.hue[0] <= self.hue[1] <= 0.5:
            raise ArgumentError(f"ColorJitter: hue={hue} is not within -0.5 to 0.5")

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "ColorJitter")
        top = full_value(planes)
        values = planes.astype(np.float64) / top
        random = generator()
        changes = [
            (adjusted_brightness, self.brightness),
            (adjusted_contrast, self.contrast),
            (adjusted_saturation, self.saturation),
            (adjusted_hue, self.hue),
        ]
        amounts = [random.uniform(low, high) for _, (low, high) in changes]
        for k in random.permutation(len(changes)):
            values = changes[k][0](values, amounts[k])
        return alike(image, values * top)


class RandomErasing(Transform):
    """With probability `p`, a box of random area (a share within `scale`) and shape (width by
    height within `ratio`) filled with `value`, or with "random" normal numbers.

    Reference: Z. Zhong et al., Random Erasing Data Augmentation, 2017, arXiv:1708.04896.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float | str = 0,
        inplace: bool = False,
    ) -> None:
        if isinstance(value, str) and value != "random":
            raise ArgumentError(f"RandomErasing: value={value!r}")
        self.p, self.scale, self.ratio = p, scale, ratio
        self.value, self.inplace = value, inplace

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "RandomErasing")
        random = generator()
        if random.random() >= self.p:
            return image
        sizes = random_box(planes.shape[-2:], self.scale, self.ratio, random)
        if sizes is None:
            return image
        room = [n - m for n, m in zip(planes.shape[-2:], sizes, strict=True)]
        top, left = random.integers(0, room, endpoint=True)
        target = planes if self.inplace else planes.copy()
        box = target[..., top : top + sizes[0], left : left + sizes[1]]
        box[...] = random.standard_normal(box.shape) if self.value == "random" else self.value
        return image if self.inplace else alike(image, target)


class Cutout(Transform):
    """A box of `size` about a random pixel filled with `fill`; what lies outside is cut off.

    Reference: T. DeVries and G. W. Taylor, Improved Regularization of Convolutional Neural Networks
    with Cutout, 2017, arXiv:1708.04552.
    """

    def __init__(self, size: int | tuple[int, int], fill: float = 0, p: float = 1.0) -> None:
        self.size, self.fill, self.p = pair(size, "Cutout"), fill, p

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "Cutout")
        random = generator()
        if random.random() >= self.p:
            return image
        y, x = random.integers(0, planes.shape[-2:])
        top, left = (int(n) - m // 2 for n, m in zip((y, x), self.size, strict=True))
        target = planes.copy()
        rows = slice(max(0, top), max(0, top + self.size[0]))
        target[..., rows, max(0, left) : max(0, left + self.size[1])] = self.fill
        return alike(image, target)


# Of planes from 0 to 1 ---------------------------------------------------------------------------


def adjusted_brightness(planes: np.ndarray, factor: float) -> np.ndarray:
    """Black for 0, the image for 1."""
    return np.clip(planes * factor, 0, 1)


def adjusted_contrast(planes: np.ndarray, factor: float) -> np.ndarray:
    """The mean luminance for 0, the image for 1."""
    gray = _luminance(planes) if _has_colours(planes) else planes
    mean = gray.mean(axis=(-3, -2, -1) if planes.ndim > 2 else None, keepdims=True)
    return np.clip(mean + factor * (planes - mean), 0, 1)


def adjusted_saturation(planes: np.ndarray, factor: float) -> np.ndarray:
    """Gray for 0, the image for 1."""
    if not _has_colours(planes):
        return planes
    gray = _luminance(planes)
    return np.clip(gray + factor * (planes - gray), 0, 1)


def adjusted_hue(planes: np.ndarray, turn: float) -> np.ndarray:
    """The colours turned around the circle by `turn` of it."""
    if turn == 0 or not _has_colours(planes):
        return planes
    high, low = planes.max(axis=-3), planes.min(axis=-3)
    span = high - low
    safe = np.where(span == 0, 1, span)
    red, green, blue = (planes[..., k, :, :] for k in range(3))
    sector = np.where(
        high == red,
        (green - blue) / safe,
        np.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = np.where(span == 0, 0, sector) / 6 + turn
    # Each channel falls from the highest to the lowest value away from its own place on the circle.
    away = [np.abs((hue - place + 0.5) % 1 - 0.5) * 6 for place in (0, 1 / 3, 2 / 3)]
    return np.stack([low + span * np.clip(2 - distance, 0, 1) for distance in away], axis=-3)


def _luminance(planes: np.ndarray) -> np.ndarray:
    return np.tensordot(_LUMA, np.moveaxis(planes, -3, 0), 1)[..., None, :, :]


def _has_colours(planes: np.ndarray) -> bool:
    return planes.ndim > 2 and planes.shape[-3] == 3


def _three(planes: np.ndarray, name: str) -> np.ndarray:
    if not _has_colours(planes):
        raise ShapeError(f"{name} of {list(planes.shape)}: there are no three channels")
    return planes


def _range(value: Range, name: str) -> tuple[float, float]:
    low, high = (max(0.0, 1 - value), 1.0 + value) if isinstance(value, (int, float)) else value
    if not 0 <= low <= high or (isinstance(value, (int, float)) and value < 0):
        raise ArgumentError(f"ColorJitter: {name}={value}")
    return low, high
