"""Where pixels lie: crops, flips, sizes, rotations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from .basic import Transform
from .image import alike, generator, pair, planes_of

_PADDING_MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect",
                  "symmetric": "symmetric"}  # fmt: skip
_INTERPOLATIONS = ("nearest", "bilinear")


class Pad(Transform):
    """More pixels around: `padding` is one number, (left and right, top and bottom), or (left, top,
    right, bottom)."""

    def __init__(
        self, padding: int | Sequence[int], fill: float = 0, padding_mode: str = "constant"
    ) -> None:
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(f"padding_mode={padding_mode!r} is none of {[*_PADDING_MODES]}")
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "Pad")
        return alike(image, padded(planes, self.padding, self.fill, self.padding_mode))


class CenterCrop(Transform):
    """The middle of an image, `size` or (height, width); zeros around a smaller image."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pair(size, "CenterCrop")

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "CenterCrop")
        planes = _at_least(planes, self.size, 0, "constant")
        top, left = (round((n - m) / 2) for n, m in zip(planes.shape[-2:], self.size, strict=True))
        return alike(image, _cut(planes, top, left, self.size))


class RandomCrop(Transform):
    """A part at a random place, `size` or (height, width), of the image with `padding` around it.

    Raises:
        ShapeError: the image is smaller, and `pad_if_needed` is not set.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(f"padding_mode={padding_mode!r} is none of {[*_PADDING_MODES]}")
        self.size = pair(size, "RandomCrop")
        self.padding, self.pad_if_needed = padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "RandomCrop")
        if self.padding is not None:
            planes = padded(planes, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            planes = _at_least(planes, self.size, self.fill, self.padding_mode)
        room = [n - m for n, m in zip(planes.shape[-2:], self.size, strict=True)]
        if min(room) < 0:
            raise ShapeError(f"RandomCrop of {self.size} from an image of {planes.shape[-2:]}")
        top, left = generator().integers(0, room, endpoint=True)
        return alike(image, _cut(planes, int(top), int(left), self.size))


class RandomResizedCrop(Transform):
    """A part of random area (a share of the image within `scale`) and shape (width by height within
    `ratio`), at a random place, brought to `size`."""

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
        antialias: bool = True,
    ) -> None:
        self.size = pair(size, "RandomResizedCrop")
        self.scale, self.ratio = scale, ratio
        self.interpolation, self.antialias = _known(interpolation), antialias

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "RandomResizedCrop")
        random = generator()
        sizes = random_box(planes.shape[-2:], self.scale, self.ratio, random)
        if sizes is None:  # the largest middle part of an allowed shape
            height, width = planes.shape[-2:]
            sizes = (
                min(height, round(width / self.ratio[0])),
                min(width, round(height * self.ratio[1])),
            )
        room = [n - m for n, m in zip(planes.shape[-2:], sizes, strict=True)]
        top, left = random.integers(0, room, endpoint=True)
        part = _cut(planes, int(top), int(left), sizes)
        return alike(image, resized(part, self.size, self.interpolation, self.antialias))


class Resize(Transform):
    """An image of `size` (height, width); one number is the length of the shorter side. Bilinear,
    where it becomes smaller over all pixels that fall together (`antialias`); or "nearest"."""

    def __init__(
        self, size: int | Sequence[int], interpolation: str = "bilinear", antialias: bool = True
    ) -> None:
        self.size = size
        self.interpolation, self.antialias = _known(interpolation), antialias

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "Resize")
        height, width = planes.shape[-2:]
        if not isinstance(self.size, int):
            sizes = pair(self.size, "Resize")
        elif height <= width:
            sizes = (self.size, int(self.size * width / height))
        else:
            sizes = (int(self.size * height / width), self.size)
        return alike(image, resized(planes, sizes, self.interpolation, self.antialias))


class RandomHorizontalFlip(Transform):
    """Left and right exchanged, with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "RandomHorizontalFlip")
        return alike(image, planes[..., ::-1]) if generator().random() < self.p else image


class RandomVerticalFlip(Transform):
    """Top and bottom exchanged, with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "RandomVerticalFlip")
        return alike(image, planes[..., ::-1, :]) if generator().random() < self.p else image


class RandomRotation(Transform):
    """Turned counter-clockwise by an angle drawn from `degrees` (low, high), or from -degrees to
    degrees, about the middle or `center` (x, y); `fill` where there is no pixel."""

    def __init__(
        self,
        degrees: float | tuple[float, float],
        interpolation: str = "nearest",
        center: tuple[float, float] | None = None,
        fill: float = 0,
    ) -> None:
        self.degrees = (-degrees, degrees) if isinstance(degrees, (int, float)) else degrees
        if self.degrees[0] > self.degrees[1]:
            raise ArgumentError(f"RandomRotation: degrees={degrees}")
        self.interpolation, self.center, self.fill = _known(interpolation), center, fill

    def __call__(self, image: Any) -> Any:
        planes = planes_of(image, "RandomRotation")
        angle = float(generator().uniform(*self.degrees))
        bilinear = self.interpolation == "bilinear"
        return alike(image, rotated(planes, angle, bilinear, self.center, self.fill))


# Of planes ---------------------------------------------------------------------------------------


def padded(planes: np.ndarray, padding: int | Sequence[int], fill: float, mode: str) -> np.ndarray:
    """With more pixels around, as `Pad` says."""
    values = [padding] if isinstance(padding, int) else list(padding)
    if len(values) not in (1, 2, 4):
        raise ArgumentError(f"padding={padding!r}: give 1, 2 or 4 numbers")
    left, top, right, bottom = values * (4 // len(values))
    widths = [(0, 0)] * (planes.ndim - 2) + [(top, bottom), (left, right)]
    options: dict[str, Any] = {"constant_values": fill} if mode == "constant" else {}
    return np.pad(planes, widths, _PADDING_MODES[mode], **options)  # type: ignore[call-overload]


def resized(
    planes: np.ndarray, sizes: tuple[int, int], interpolation: str, antialias: bool
) -> np.ndarray:
    """The planes with other sizes."""
    if min(sizes) < 1 or min(planes.shape[-2:]) < 1:
        raise ShapeError(f"an image of {planes.shape[-2:]} cannot become one of {sizes}")
    if interpolation == "nearest":
        rows, columns = (
            np.floor(np.arange(m) * (n / m)).astype(np.int64)
            for n, m in zip(planes.shape[-2:], sizes, strict=True)
        )
        return planes[..., rows[:, None], columns]
    down, across = (
        _weights(n, m, antialias) for n, m in zip(planes.shape[-2:], sizes, strict=True)
    )
    return down @ planes.astype(np.float64) @ across.T


def _weights(size: int, wanted: int, antialias: bool) -> np.ndarray:
    """[wanted, size]: how much each pixel counts in each new one: a triangle about its middle."""
    scale = size / wanted
    width = max(scale, 1.0) if antialias else 1.0
    middles = (np.arange(wanted) + 0.5) * scale - 0.5
    if not antialias:
        middles = np.clip(middles, 0, size - 1)
    weights = np.maximum(0.0, 1 - np.abs(np.arange(size) - middles[:, None]) / width)
    return weights / weights.sum(axis=1, keepdims=True)


def rotated(
    planes: np.ndarray,
    degrees: float,
    bilinear: bool,
    center: tuple[float, float] | None = None,
    fill: float = 0,
) -> np.ndarray:
    """The planes turned counter-clockwise: each new pixel looks up where it was."""
    height, width = planes.shape[-2:]
    x0, y0 = center or ((width - 1) / 2, (height - 1) / 2)
    if center is not None:
        x0, y0 = x0 - 0.5, y0 - 0.5  # given in lengths, of which a pixel's middle is a half
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    y, x = np.mgrid[:height, :width]
    from_x = cos * (x - x0) - sin * (y - y0) + x0
    from_y = sin * (x - x0) + cos * (y - y0) + y0
    if not bilinear:
        return _looked_up(planes, np.rint(from_y), np.rint(from_x), fill)
    low_y, low_x = np.floor(from_y), np.floor(from_x)
    part_y, part_x = from_y - low_y, from_x - low_x
    result = np.zeros(planes.shape)
    for dy, weight_y in ((0, 1 - part_y), (1, part_y)):
        for dx, weight_x in ((0, 1 - part_x), (1, part_x)):
            result += weight_y * weight_x * _looked_up(planes, low_y + dy, low_x + dx, fill)
    return result


def _looked_up(planes: np.ndarray, y: np.ndarray, x: np.ndarray, fill: float) -> np.ndarray:
    height, width = planes.shape[-2:]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    rows = np.clip(y, 0, height - 1).astype(np.int64)
    columns = np.clip(x, 0, width - 1).astype(np.int64)
    return np.where(inside, planes[..., rows, columns], np.asarray(fill, planes.dtype))


def random_box(
    sizes: tuple[int, ...],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    random: np.random.Generator,
) -> tuple[int, int] | None:
    """(height, width) of a part of random area and shape; None if ten draws do not fit."""
    height, width = sizes
    for _ in range(10):
        area = height * width * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            return h, w
    return None


def _cut(planes: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    return planes[..., top : top + size[0], left : left + size[1]]


def _at_least(planes: np.ndarray, size: tuple[int, int], fill: float, mode: str) -> np.ndarray:
    """Padded on both sides where it is smaller than `size`."""
    lack = [max(0, m - n) for n, m in zip(planes.shape[-2:], size, strict=True)]
    if not any(lack):
        return planes
    (y, x), (more_y, more_x) = (n // 2 for n in lack), (-(-n // 2) for n in lack)
    return padded(planes, (x, y, more_x, more_y), fill, mode)


def _known(interpolation: str) -> str:
    if interpolation not in _INTERPOLATIONS:
        raise ArgumentError(f"interpolation={interpolation!r} is none of {_INTERPOLATIONS}")
    return interpolation
