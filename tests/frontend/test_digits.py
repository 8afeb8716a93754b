"""The handwritten digits: their bytes and their split."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sley.frontend.data.digits import load_digits, split

# Of the published test set, as its description counts them.
PER_CLASS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]

# Of the arrays' bytes, as data/digits.README.md states them.
IMAGES_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
LABELS_SHA256 = "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"


def test_the_arrays_have_the_documented_types():
    images, labels = load_digits()
    assert (images.dtype, images.shape) == (np.uint8, (1797, 8, 8))
    assert (labels.dtype, labels.shape) == (np.int64, (1797,))
    assert images.min() == 0 and images.max() == 16


def test_the_values_are_the_published_ones():
    images, labels = load_digits()
    assert hashlib.sha256(images.tobytes()).hexdigest() == IMAGES_SHA256
    assert hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest() == LABELS_SHA256
    assert np.bincount(labels).tolist() == PER_CLASS


def test_the_first_image_is_a_zero():
    images, labels = load_digits()
    assert labels[0] == 0
    assert images[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert images[0, 3:5, 3:5].max() == 0  # the hole


def test_the_caller_owns_the_arrays():
    images, labels = load_digits()
    images[:] = 0
    labels[:] = 0
    again, labels_again = load_digits()
    assert again.any() and labels_again.any()


def test_the_file_is_small():
    from sley.frontend.data import digits

    assert digits._FILE.stat().st_size <= 100_000


@given(n=st.integers(0, 300), fraction=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_split_is_a_partition(n, fraction, seed):
    train, held_out = split(n, fraction, seed)
    assert train.dtype == held_out.dtype == np.int64
    assert len(held_out) == round(n * fraction)
    assert sorted([*train, *held_out]) == list(range(n))


def test_split_depends_on_the_seed_and_on_nothing_else():
    first = split(1797, 0.2, seed=0)
    np.random.seed(1)
    same = split(1797, 0.2, seed=0)
    other = split(1797, 0.2, seed=1)
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert (first[1] != other[1]).any()


def test_split_gives_these_very_indices():
    train, held_out = split(1797, 0.2, seed=0)
    assert (len(train), len(held_out)) == (1438, 359)
    assert held_out[:8].tolist() == [1081, 1707, 927, 713, 262, 182, 303, 895]


@pytest.mark.parametrize("n, fraction", [(-1, 0.2), (10, -0.1), (10, 1.5), (10, float("nan"))])
def test_split_refuses_what_is_out_of_range(n, fraction):
    with pytest.raises(ValueError, match="split: "):
        split(n, fraction, seed=0)
