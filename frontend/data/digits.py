"""The UCI handwritten digits that ship with the package (source and licence: digits.README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ArgumentError

_FILE = Path(__file__).with_name("digits.npz")


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the 1,797 images and their labels, as fresh arrays in the published order.

    Returns:
        images: uint8[1797, 8, 8], values 0 (paper) to 16 (ink).
        labels: int64[1797], values 0 to 9.

    Reference: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49.

    >>> images, labels = load_digits()
    >>> images.shape, labels.shape
    ((1797, 8, 8), (1797,))
    """
    with np.load(_FILE) as arrays:
        return arrays["images"], arrays["labels"].astype(np.int64)


def split(n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide the indices 0..n-1 by a seeded permutation into those to train on and those held out.

    The same arguments give the same indices on every machine and with every numpy.

    Args:
        n: how many indices, at least 0.
        fraction: the part held out, 0 to 1; `round(n * fraction)` indices.
        seed: of the permutation, 0 to 2**32 - 1.

    Returns:
        train: int64[n - held], held_out: int64[held]; both in permuted order, together all of
        0..n-1 once.

    Raises:
        ValueError: n is negative, fraction is outside 0..1, or seed is out of range.

    >>> train, held_out = split(10, 0.2, seed=0)
    >>> train.tolist(), held_out.tolist()
    ([4, 9, 1, 6, 7, 3, 0, 5], [2, 8])
    """
    if n < 0:
        raise ArgumentError(f"split: n is {n}; give the number of examples, 0 or more")
    if not 0 <= fraction <= 1:
        raise ArgumentError(f"split: fraction is {fraction}; give the part to hold out, 0 to 1")
    # RandomState's streams are frozen for good; those of default_rng may change with numpy.
    order = np.random.RandomState(seed).permutation(n).astype(np.int64)
    held = round(n * fraction)
    return order[held:], order[:held]
