"""Images of a batch mixed with each other, and their labels in the same shares."""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...functions.creation import one_hot
from ...tensor import Tensor, of_array
from .basic import Transform
from .image import generator, planes_of


class _Mixing(Transform):
    """What both have in common.

    Args:
        alpha: of the distribution Beta(alpha, alpha) that the share is drawn from.
        num_classes: how many there are, unless the labels are probabilities already.
    """

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None) -> None:
        if alpha <= 0:
            raise ArgumentError(f"{type(self).__name__}: alpha={alpha}")
        self.alpha = alpha
        self.num_classes = num_classes

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        name = type(self).__name__
        planes = planes_of(images, name)
        if planes.ndim != 4 or len(planes) != labels.shape[0]:
            raise ShapeError(f"{name} of images {images.spec} and labels {labels.spec}")
        if planes.dtype.kind != "f":
            raise ArgumentError(f"{name} of {planes.dtype} images", hint="make them floats before")
        targets = self._probabilities(labels)
        random = generator()
        mixed, share = self._mixed(planes, random.beta(self.alpha, self.alpha), random)
        other = np.roll(targets, 1, axis=0)
        return of_array(mixed), of_array(_between(targets, other, share))

    def _probabilities(self, labels: Tensor) -> np.ndarray:
        if labels.ndim == 2:
            return labels.numpy()
        if self.num_classes is None:
            raise ArgumentError(f"{type(self).__name__} of class numbers needs num_classes")
        return one_hot(labels, self.num_classes).numpy().astype(np.float32)

    def _mixed(
        self, planes: np.ndarray, share: float, random: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """The images with those before them, and the share that is left of their own."""
        raise NotImplementedError


class MixUp(_Mixing):
    """Each image, and its label as probabilities, averaged with the one before it in the batch, in
    shares drawn from Beta(alpha, alpha).

    Reference: H. Zhang et al., mixup: Beyond Empirical Risk Minimization, 2017, arXiv:1710.09412.

    >>> images, labels = of_array(np.ones((4, 1, 2, 2))), of_array(np.array([0, 1, 2, 0]))
    >>> images, labels = MixUp(num_classes=3)(images, labels)
    >>> images.shape, labels.shape
    (sley.Size([4, 1, 2, 2]), sley.Size([4, 3]))
    """

    def _mixed(
        self, planes: np.ndarray, share: float, random: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        return _between(planes, np.roll(planes, 1, axis=0), share), share


class CutMix(_Mixing):
    """A box of each image replaced by that of the image before it in the batch, and the labels
    mixed in the shares of the areas. The area of the box is 1 - Beta(alpha, alpha) of the image.

    Reference: S. Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features, 2019, arXiv:1905.04899.
    """

    def _mixed(
        self, planes: np.ndarray, share: float, random: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        height, width = planes.shape[-2:]
        y, x = random.integers(0, (height, width))
        half = 0.5 * np.sqrt(1 - share)
        rows = slice(max(0, int(y - half * height)), min(height, int(y + half * height)))
        columns = slice(max(0, int(x - half * width)), min(width, int(x + half * width)))
        mixed = planes.copy()
        mixed[..., rows, columns] = np.roll(planes, 1, axis=0)[..., rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return mixed, 1 - area / (height * width)


def _between(own: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return (share * own + (1 - share) * other).astype(own.dtype)
