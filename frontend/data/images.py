"""Images with labels: what the datasets of images share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LoadError, UnsupportedError
from ..tensor import of_array
from .dataset import Dataset
from .digits import load_digits, split

Transform = Callable[[Any], Any]


class ImageDataset(Dataset):
    """Example i is (image, label): the image a uint8 array [height, width] or [height, width,
    channels], or what `transform` makes of it; the label an int, or what `target_transform` makes.

    Attributes:
        classes: their names, by label.
    """

    classes: list[str]

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        self._images = images
        self._labels = labels
        self.transform = transform
        self.target_transform = target_transform

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = self._images[index].copy()
        label: Any = int(self._labels[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def __len__(self) -> int:
        return len(self._labels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images {self._images.shape[1:]})"


class Digits(ImageDataset):
    """The UCI handwritten digits that ship with sley: 1,797 images of 8 x 8, from 0 (paper) to 16
    (ink). A fifth, drawn with `seed`, is held out; `train=None` gives all.

    Attributes:
        data: uint8[n, 8, 8]. targets: int64[n].

    >>> image, label = Digits(train=None)[0]
    >>> image.shape, label
    ((8, 8), 0)
    """

    classes = [str(digit) for digit in range(10)]

    def __init__(
        self,
        train: bool | None = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        images, labels = load_digits()
        if train is not None:
            kept = split(len(labels), 0.2, seed)[0 if train else 1]
            images, labels = images[kept], labels[kept]
        super().__init__(images, labels, transform, target_transform)
        self.data, self.targets = of_array(images), of_array(labels)


def checked(path: Path, checksum: str) -> bytes:
    """The bytes of a file whose MD5 checksum is the published one.

    Raises:
        LoadError: it is another.
    """
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != checksum:
        raise LoadError(
            f"{path} has the MD5 checksum {found}, the published one is {checksum}",
            hint="the file is damaged or another version: get it again",
        )
    return content


def missing(name: str, root: Path, wanted: list[str]) -> LoadError:
    """The error that tells which files a dataset looks for."""
    return LoadError(
        f"{name}: none of {', '.join(wanted)} is in {root}",
        hint=f"put the published files of {name} there; sley downloads nothing",
    )


def refuse_download(name: str, download: bool) -> None:
    """`download=True` is understood, and not done."""
    if download:
        raise UnsupportedError(
            f"{name}(download=True)", hint="get the published files; sley downloads nothing"
        )
