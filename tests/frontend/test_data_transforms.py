"""Transforms of images: tensors and arrays alike, against straight renderings and colorsys."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

import sley
from sley.data import transforms as T
from sley.frontend.data.transforms import color, geometry

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
PLANES = np.ascontiguousarray(PHOTO.transpose(2, 0, 1))

EVERY = [
    T.CenterCrop(4), T.CenterCrop((9, 3)), T.Pad(2), T.Pad((1, 2), 7),
    T.Pad([1, 2, 3, 0], padding_mode="reflect"),
    T.RandomCrop(5), T.RandomCrop((3, 8), padding=2), T.RandomCrop(12, pad_if_needed=True),
    T.RandomResizedCrop(4), T.Resize(3), T.Resize((12, 5)), T.Resize((2, 2), "nearest"),
    T.RandomHorizontalFlip(1.0), T.RandomVerticalFlip(1.0), T.RandomHorizontalFlip(),
    T.RandomRotation(30), T.RandomRotation((10, 80), "bilinear", fill=3),
    T.ColorJitter(0.4, 0.4, 0.4, 0.1),
    T.Grayscale(3), T.RandomErasing(1.0), T.Cutout(3), T.RandomApply([T.Cutout(3)]),
    T.RandomChoice([T.Pad(1), T.Pad(2)]), T.Compose([T.RandomCrop(4), T.RandomVerticalFlip()]),
]  # fmt: skip


@pytest.mark.parametrize("transform", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays_and_tensors_alike_and_by_seed(transform, dtype) -> None:
    scale = 1 if dtype is np.uint8 else dtype(255)
    photo, planes = (PHOTO / scale).astype(dtype), (PLANES / scale).astype(dtype)
    before = photo.copy()
    sley.manual_seed(4)
    of_array = transform(photo)
    sley.manual_seed(4)
    of_tensor = transform(sley.tensor(planes))
    assert type(of_array) is np.ndarray and of_array.dtype == dtype
    assert isinstance(of_tensor, sley.Tensor) and of_tensor.numpy().dtype == dtype
    np.testing.assert_array_equal(of_array.transpose(2, 0, 1), of_tensor.numpy())
    np.testing.assert_array_equal(photo, before, "the image is not changed")
    sley.manual_seed(4)
    batch = transform(sley.tensor(np.stack([planes, planes])))
    np.testing.assert_allclose(batch[1].numpy(), of_tensor.numpy(), rtol=1e-6)


def test_random_ones_differ_from_draw_to_draw() -> None:
    sley.manual_seed(0)
    crops = {T.RandomCrop(3)(PHOTO).tobytes() for _ in range(40)}
    assert 12 < len(crops) <= 4 * 6
    flips = [np.array_equal(T.RandomHorizontalFlip(0.25)(PHOTO), PHOTO) for _ in range(400)]
    assert 260 < sum(flips) < 340


def test_to_tensor_and_normalize() -> None:
    tensor = T.ToTensor()(PHOTO)
    assert tensor.dtype is sley.float32 and tensor.shape == (3, 6, 8)
    np.testing.assert_array_equal(tensor.numpy(), PLANES / np.float32(255))
    assert T.ToTensor()(np.ones((2, 3))).dtype is sley.float64
    mean, std = [0.5, 0.4, 0.3], [0.1, 0.2, 0.3]
    want = (tensor.numpy() - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    np.testing.assert_allclose(T.Normalize(mean, std)(tensor).numpy(), want, rtol=1e-5, atol=1e-6)
    T.Normalize(mean, std, inplace=True)(tensor)
    np.testing.assert_allclose(tensor.numpy(), want, rtol=1e-5, atol=1e-6)
    half = T.ConvertImageDtype(sley.float32)(sley.tensor(PLANES))
    np.testing.assert_allclose(half.numpy(), PLANES / 255, rtol=1e-6)
    assert sley.equal(T.ConvertImageDtype(sley.uint8)(half), sley.tensor(PLANES))


def test_crops_and_padding() -> None:
    np.testing.assert_array_equal(T.CenterCrop((2, 4))(PHOTO), PHOTO[2:4, 2:6])
    np.testing.assert_array_equal(T.CenterCrop(8)(PHOTO)[1:7], PHOTO)
    np.testing.assert_array_equal(T.RandomCrop((6, 8))(PHOTO), PHOTO)
    padded = T.Pad((1, 2, 3, 4), fill=9)(PHOTO)
    assert padded.shape == (12, 12, 3) and padded[0, 0, 0] == 9
    np.testing.assert_array_equal(padded[2:8, 1:9], PHOTO)
    with pytest.raises(sley.ShapeError, match="from an image"):
        T.RandomCrop(7)(PHOTO)


def test_resizing() -> None:
    ramp = np.arange(8.0)[None].repeat(2, 0)
    np.testing.assert_allclose(T.Resize((2, 4))(ramp)[0, 1:3], [2.5, 4.5])  # means about pairs
    plain = geometry.resized(ramp, (2, 16), "bilinear", antialias=False)
    np.testing.assert_allclose(plain[0, :4], [0, 0.25, 0.75, 1.25])
    np.testing.assert_array_equal(T.Resize((2, 4), "nearest")(ramp)[0], [0, 2, 4, 6])
    assert (
        T.Resize(3)(PHOTO).shape == (3, 4, 3)
        and T.Resize(3)(PHOTO.transpose(1, 0, 2)).shape[0] == 4
    )
    flat = np.full((5, 7), 200, np.uint8)
    assert (T.Resize((3, 11))(flat) == 200).all()


def test_rotation() -> None:
    square = RNG.random((3, 5, 5))
    for bilinear in (False, True):
        quarter = geometry.rotated(square, 90, bilinear)
        np.testing.assert_allclose(quarter, np.rot90(square, axes=(1, 2)), atol=1e-12)
    same = geometry.rotated(square, 0, True)
    np.testing.assert_array_equal(same, square)
    assert (geometry.rotated(np.ones((9, 9)), 45, False, fill=-1)[0, [0, -1]] == -1).all()


def test_hue_against_colorsys() -> None:
    colours = RNG.random((3, 5, 4))
    colours[:, 0, 0] = 0.3
    for turn in (0.2, -0.4):
        got = color.adjusted_hue(colours, turn)
        for place in np.ndindex(5, 4):
            h, s, v = colorsys.rgb_to_hsv(*colours[(slice(None), *place)])
            want = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
            np.testing.assert_allclose(got[(slice(None), *place)], want, atol=1e-12)


def test_jitter() -> None:
    colours = RNG.random((3, 5, 4))
    np.testing.assert_array_equal(color.adjusted_brightness(colours, 0), 0 * colours)
    for adjusted in (color.adjusted_brightness, color.adjusted_contrast, color.adjusted_saturation):
        np.testing.assert_allclose(adjusted(colours, 1.0), colours, atol=1e-12)
    gray = np.tensordot([0.2989, 0.587, 0.114], colours, 1)
    np.testing.assert_allclose(color.adjusted_saturation(colours, 0)[1], gray)
    np.testing.assert_allclose(color.adjusted_contrast(colours, 0), gray.mean())
    assert T.ColorJitter(0.5, hue=0.1)(PHOTO[..., 0]).shape == (6, 8), "one channel has no hue"
    assert (
        T.ColorJitter(brightness=(2.0, 2.0))(np.full((2, 2), 100, np.uint8)).tolist()
        == [[200, 200]] * 2
    )


def test_erasing_and_cutout() -> None:
    sley.manual_seed(0)
    for _ in range(50):
        erased = T.RandomErasing(1.0, (0.1, 0.3), value=0)(np.ones((20, 20)))
        assert 0.04 < (erased == 0).mean() < 0.36
        cut = T.Cutout(6)(np.ones((20, 20)))
        assert 9 <= (cut == 0).sum() <= 36
    noise = T.RandomErasing(1.0, value="random")(np.ones((20, 20)))
    assert len(np.unique(noise)) > 5
    assert T.RandomErasing(0.0)(PHOTO) is PHOTO


def test_mixing() -> None:
    sley.manual_seed(1)
    images = sley.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 10, 10)
    labels = sley.tensor([0, 1, 2, 0])
    mixed, shares = T.MixUp(alpha=0.4, num_classes=3)(images, labels)
    share = shares[1, 1].item()
    np.testing.assert_allclose(shares.sum(1).numpy(), 1, rtol=1e-6)
    np.testing.assert_allclose(mixed[1].numpy(), share * 1 + (1 - share) * 0, rtol=1e-5)
    np.testing.assert_allclose(
        shares[0].tolist(), [1, 0, 0], rtol=1e-6
    )  # with the last one: 0, too
    for _ in range(20):
        mixed, shares = T.CutMix(num_classes=3)(images, labels)
        own = (mixed[2] == 2).double().mean().item()
        np.testing.assert_allclose(shares[2].tolist(), [0, 1 - own, own], atol=1e-6)
    again, _ = T.MixUp()(images, shares)
    assert again.shape == images.shape


@pytest.mark.parametrize(
    "call",
    [
        lambda: T.ToTensor()(sley.ones(2, 2)),
        lambda: T.Normalize([0.5], [0.0]),
        lambda: T.Normalize([0.5], [0.1])(sley.ones(1, 2, 2, dtype=sley.uint8)),
        lambda: T.Normalize([0.5, 0.5], [0.1, 0.1])(sley.ones(3, 2, 2)),
        lambda: T.Resize(4, "cubic"),
        lambda: T.Pad([1, 2, 3])(PHOTO),
        lambda: T.Pad(1, padding_mode="wrong"),
        lambda: T.ColorJitter(hue=0.6),
        lambda: T.ColorJitter(brightness=-1),
        lambda: T.Grayscale()(sley.ones(1, 2, 2)),
        lambda: T.CenterCrop(2)("text"),
        lambda: T.CenterCrop(2)(sley.ones(3)),
        lambda: T.CenterCrop(2)(np.ones((1, 2, 3, 4))),
        lambda: T.MixUp()(sley.ones(2, 1, 2, 2), sley.tensor([0, 1])),
        lambda: T.MixUp(num_classes=2)(sley.ones(2, 2), sley.tensor([0, 1])),
        lambda: T.Lambda(3),
    ],
)
def test_errors(call) -> None:
    with pytest.raises(sley.SleyError):
        call()
