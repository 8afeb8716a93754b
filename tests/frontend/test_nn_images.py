"""Images resized, sampled, folded and pooled against loops in numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import dynamic

import sley
import sley.nn as nn
import sley.nn.functional as F
from sley import ArgumentError, ShapeError

R = np.random.default_rng(8)


def _draw(*shape):
    return R.standard_normal(shape).astype(np.float32)


# Adaptive pooling


def _parts(size, wanted):
    return [(i * size // wanted, -(-(i + 1) * size // wanted)) for i in range(wanted)]


def _pooled(x, wanted, reduce):
    """Each part of the last axes reduced, by the definition."""
    axes = len(wanted)
    result = np.zeros((*x.shape[:-axes], *wanted), x.dtype)
    edges = [_parts(n, w) for n, w in zip(x.shape[-axes:], wanted)]
    for place in itertools.product(*(range(w) for w in wanted)):
        window = tuple(slice(*edges[k][i]) for k, i in enumerate(place))
        result[(..., *place)] = reduce(x[(..., *window)], axis=tuple(range(-axes, 0)))
    return result


ADAPTIVE = [((2, 3, 7), 3), ((2, 3, 8), 4), ((2, 3, 7), 9), ((3, 7), 1), ((2, 3, 7, 5), (3, 2)),
            ((2, 3, 7, 5), (None, 2)), ((1, 2, 5, 4, 3), (2, 3, 3))]  # fmt: skip


@pytest.mark.parametrize(("shape", "wanted"), ADAPTIVE, ids=str)
def test_adaptive_pooling(shape, wanted):
    axes = len(wanted) if isinstance(wanted, tuple) else 1
    x = _draw(*shape)
    sizes = wanted if isinstance(wanted, tuple) else (wanted,)
    sizes = [n if w is None else w for w, n in zip(sizes, shape[-axes:])]
    mean = getattr(F, f"adaptive_avg_pool{axes}d")
    largest = getattr(F, f"adaptive_max_pool{axes}d")
    agree(lambda x: mean(x, wanted), lambda x: _pooled(x, sizes, np.mean), x, rtol=1e-5, atol=1e-6)
    agree(lambda x: largest(x, wanted), lambda x: _pooled(x, sizes, np.max), x)
    differentiates(lambda x: mean(x, wanted), x)
    values, places = largest(sley.tensor(x), wanted, return_indices=True)
    flat = x.reshape(*shape[:-axes], -1)
    found = np.take_along_axis(flat, places.numpy().reshape(*shape[:-axes], -1), -1)
    np.testing.assert_array_equal(found.reshape(values.shape), values.numpy())


def test_adaptive_pooling_keeps_windows_apart():
    x = np.array([[[np.inf, 1, 2, 3, 4, 5, 6, np.nan]]], np.float32)
    for wanted in (3, 4):
        expected = _pooled(x, [wanted], np.mean)
        for function in (F.adaptive_avg_pool1d, sley.compile(F.adaptive_avg_pool1d)):
            np.testing.assert_array_equal(function(sley.tensor(x), wanted).numpy(), expected)


def test_pooling_to_one_has_symbolic_sizes():
    recorded, (result,) = dynamic(
        lambda x: F.adaptive_avg_pool2d(x, 1), [("N", 2, "H", "W")], {"N": 3, "H": 5, "W": 4}
    )
    assert [str(n) for n in result.spec.shape] == ["N", "2", "1", "1"]
    assert recorded.trace.guards == []


def test_pooling_refuses():
    with pytest.raises(ShapeError, match="axes"):
        F.adaptive_avg_pool2d(sley.zeros(3, 4), 2)
    with pytest.raises(ArgumentError, match="negative"):
        F.adaptive_max_pool1d(sley.zeros(3, 4), -1)


# Other sizes


def _keys(d, a):
    d = abs(d)
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((d - 5) * d + 8) * d * a - 4 * a
    return near if d <= 1 else far if d < 2 else 0.0


def _resized_row(row, count, mode, align, factor=None):
    """One row, element by element."""
    size, result = len(row), []
    step = size / count if factor is None else 1 / factor
    for k in range(count):
        if mode in ("nearest", "nearest-exact"):
            place = math.floor((k + (0.5 if mode == "nearest-exact" else 0)) * step)
            result.append(row[min(place, size - 1)])
            continue
        x = k * (size - 1) / (count - 1) if align else (k + 0.5) * step - 0.5
        if mode == "linear":
            x = max(x, 0)
            taps = [
                (math.floor(x), 1 - (x - math.floor(x))),
                (math.floor(x) + 1, x - math.floor(x)),
            ]
        else:
            low = math.floor(x)
            taps = [(low + j, _keys(x - low - j, -0.75)) for j in (-1, 0, 1, 2)]
        result.append(sum(row[min(max(i, 0), size - 1)] * w for i, w in taps))
    return np.array(result)


def _resized(x, counts, mode, align=False, factor=None):
    for axis, count in enumerate(counts, start=2):

        def row(r, count=count):
            return _resized_row(r, count, mode, align, factor)

        x = np.apply_along_axis(row, axis, x.astype(np.float64))
    return x


@pytest.mark.parametrize("align", [None, False, True])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(6, 3), (4, 9)], ids=str)
def test_interpolate_to_a_size(mode, align, size):
    if align is not None and mode.startswith("nearest"):
        with pytest.raises(ArgumentError, match="align_corners"):
            F.interpolate(sley.zeros(1, 1, 4, 4), size, mode=mode, align_corners=align)
        return
    x = _draw(2, 2, 4, 5)
    plain = "linear" if mode == "bilinear" else mode
    agree(
        lambda x: F.interpolate(x, size, mode=mode, align_corners=align),
        lambda x: _resized(x, size, plain, bool(align)), x, rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    differentiates(lambda x: F.interpolate(x, size, mode=mode, align_corners=align), x)


def test_interpolate_by_a_factor():
    x = _draw(1, 2, 7)
    for mode in ("nearest", "linear"):
        given = F.interpolate(sley.tensor(x), scale_factor=1.6, mode=mode).numpy()
        expected = _resized(x, [11], mode, factor=1.6)
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
        again = F.interpolate(
            sley.tensor(x), scale_factor=1.6, mode=mode, recompute_scale_factor=True
        )
        np.testing.assert_allclose(again.numpy(), _resized(x, [11], mode), rtol=1e-4, atol=1e-5)
    area = F.interpolate(sley.tensor(x), 3, mode="area").numpy()
    np.testing.assert_allclose(area, _pooled(x, [3], np.mean), rtol=1e-5)
    volume = _draw(1, 1, 3, 4, 2)
    agree(lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"),
          lambda x: _resized(x, (6, 8, 4), "linear"), volume, rtol=1e-4, atol=1e-5)  # fmt: skip
    assert F.upsample(sley.tensor(x), scale_factor=2).shape == (1, 2, 14)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiasing_is_a_mean_with_the_stretched_kernel(mode):
    x = _draw(1, 1, 9, 1)
    count, step = 4, 9 / 4
    reach = step * (1 if mode == "bilinear" else 2)
    expected = []
    for k in range(count):
        centre = (k + 0.5) * step
        low, high = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), 9)
        d = [(i + 0.5 - centre) / step for i in range(low, high)]
        w = [max(1 - abs(v), 0) if mode == "bilinear" else _keys(v, -0.5) for v in d]
        expected.append((x[0, 0, low:high, 0] * np.array(w)).sum() / sum(w))
    found = F.interpolate(sley.tensor(x), (count, 1), mode=mode, antialias=True)
    np.testing.assert_allclose(found.numpy()[0, 0, :, 0], expected, rtol=1e-4, atol=1e-6)
    differentiates(lambda x: F.interpolate(x, (count, 1), mode=mode, antialias=True), x)


# Sampling


def _sampled(image, grid, mode, padding, align):
    """Pixel by pixel; image [C, H, W], grid [..., 2]."""
    channels, *sizes = image.shape
    result = np.zeros((channels, *grid.shape[:-1]))

    def inside(x, size):
        if padding == "zeros":
            return x
        if padding == "reflection":
            low, span = (0, size - 1) if align else (-0.5, size)
            x = abs(x - low) % (2 * span)
            x = min(x, 2 * span - x) + low
        return min(max(x, 0), size - 1)

    def pixel(y, x):
        y, x = int(y), int(x)
        if 0 <= y < sizes[0] and 0 <= x < sizes[1]:
            return image[:, y, x]
        return np.zeros(channels)

    for place in np.ndindex(*grid.shape[:-1]):
        at = []
        for size, g in zip(sizes, grid[place][::-1]):
            at.append((g + 1) / 2 * (size - 1) if align else ((g + 1) * size - 1) / 2)
        total = np.zeros(channels)
        if mode == "bicubic":
            lows = [math.floor(v) for v in at]
            for dy, dx in itertools.product((-1, 0, 1, 2), repeat=2):
                w = _keys(at[0] - lows[0] - dy, -0.75) * _keys(at[1] - lows[1] - dx, -0.75)
                total += w * pixel(inside(lows[0] + dy, sizes[0]), inside(lows[1] + dx, sizes[1]))
        else:
            at = [inside(v, size) for v, size in zip(at, sizes)]
            if mode == "nearest":
                total = pixel(*(round(v) for v in at))
            else:
                lows = [math.floor(v) for v in at]
                for dy, dx in itertools.product((0, 1), repeat=2):
                    w = (1 - abs(at[0] - lows[0] - dy)) * (1 - abs(at[1] - lows[1] - dx))
                    total = total + w * pixel(lows[0] + dy, lows[1] + dx)
        result[(slice(None), *place)] = total
    return result


SAMPLES = [
    ("bilinear", "zeros", False), ("bilinear", "border", True), ("bilinear", "reflection", False),
    ("nearest", "zeros", True), ("nearest", "reflection", True), ("bicubic", "border", False),
    ("bicubic", "reflection", True),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "padding", "align"), SAMPLES)
def test_grid_sample(mode, padding, align):
    images, grid = _draw(2, 3, 4, 5), (_draw(2, 3, 2, 2) * 0.8).astype(np.float32)
    agree(
        lambda x, g: F.grid_sample(x, g, mode, padding, align),
        lambda x, g: np.stack([_sampled(a, b, mode, padding, align) for a, b in zip(x, g)]),
        images, grid, rtol=1e-3, atol=1e-4,
    )  # fmt: skip
    if mode == "nearest":
        still = sley.tensor(grid.astype(np.float64))
        differentiates(lambda x: F.grid_sample(x, still, mode, padding, align), images)
    else:
        differentiates(lambda x, g: F.grid_sample(x, g, mode, padding, align), images, grid,
                       rtol=1e-4, atol=1e-6)  # fmt: skip


def test_sampling_at_the_pixels_gives_the_image():
    image = _draw(2, 3, 4, 5)
    same = np.tile(np.eye(2, 3, dtype=np.float32), (2, 1, 1))
    for align in (False, True):
        grid = F.affine_grid(sley.tensor(same), image.shape, align)
        found = F.grid_sample(sley.tensor(image), grid, align_corners=align)
        np.testing.assert_allclose(found.numpy(), image, rtol=1e-4, atol=1e-5)
    volume = _draw(1, 2, 3, 4, 2)
    grid = F.affine_grid(sley.tensor(np.eye(3, 4, dtype=np.float32)[None]), volume.shape)
    found = F.grid_sample(sley.tensor(volume), grid).numpy()
    np.testing.assert_allclose(found, volume, rtol=1e-4, atol=1e-5)
    theta = _draw(2, 2, 3)
    differentiates(lambda t: F.affine_grid(t, (2, 1, 3, 4), False), theta)
    corners = F.affine_grid(sley.tensor(theta), (2, 1, 3, 4), True).numpy()
    np.testing.assert_allclose(corners[1, 0, 3], theta[1] @ [1, -1, 1], rtol=1e-5)


def test_sampling_refuses():
    image, grid = sley.zeros(1, 1, 3, 3), sley.zeros(1, 2, 2, 2)
    with pytest.raises(ArgumentError, match="mode"):
        F.grid_sample(image, grid, "linear")
    with pytest.raises(ArgumentError, match="padding_mode"):
        F.grid_sample(image, grid, padding_mode="wrap")
    with pytest.raises(ShapeError, match="grid"):
        F.grid_sample(image, sley.zeros(1, 2, 2, 3))
    with pytest.raises(sley.DTypeError):
        F.grid_sample(image, grid.double())
    with pytest.raises(ShapeError, match="affine_grid"):
        F.affine_grid(sley.zeros(1, 2, 2), (1, 1, 3, 3))


# Windows and channels


def test_fold_is_the_transpose_of_unfold():
    options = {"kernel_size": (2, 3), "padding": 1, "stride": 2, "dilation": (2, 1)}
    x = _draw(2, 3, 7, 6)
    columns = F.unfold(sley.tensor(x), **options)
    y = _draw(*columns.shape)
    folded = F.fold(sley.tensor(y), (7, 6), **options)
    assert folded.shape == (2, 3, 7, 6)
    left, right = (columns.numpy() * y).sum(), (folded.numpy() * x).sum()
    assert left == pytest.approx(right, rel=1e-3)
    count = F.fold(F.unfold(sley.ones(1, 1, 4, 4), 2), (4, 4), 2).numpy()[0, 0]
    np.testing.assert_array_equal(count, np.outer([1, 2, 2, 1], [1, 2, 2, 1]))
    agree(lambda y: nn.Fold((7, 6), **options)(y), lambda y: folded.numpy(), y, rtol=1e-5)
    differentiates(lambda y: F.fold(y, (7, 6), **options), y)
    with pytest.raises(ShapeError, match="columns"):
        F.fold(sley.zeros(1, 4, 5), (4, 4), 2)


def test_channels_are_shuffled():
    x = _draw(2, 6, 3)
    agree(lambda x: F.channel_shuffle(x, 3), lambda x: x[:, [0, 2, 4, 1, 3, 5]], x)
    with pytest.raises(ShapeError, match="groups"):
        F.channel_shuffle(sley.zeros(1, 5, 2), 2)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling(axes):
    shape = (2, 3, 6, 4, 5)[: axes + 2]
    x = _draw(*shape)
    values, places = getattr(F, f"max_pool{axes}d")(sley.tensor(x), 2, return_indices=True)
    module = getattr(nn, f"MaxUnpool{axes}d")(2)
    back = module(values, places, output_size=shape).numpy()
    flat = np.zeros((6, math.prod(shape[2:])), np.float32)
    np.put_along_axis(flat, places.numpy().reshape(6, -1), values.numpy().reshape(6, -1), 1)
    np.testing.assert_array_equal(back, flat.reshape(shape))
    differentiates(lambda v: module(v, places, output_size=shape), values.numpy())
    with pytest.raises(ArgumentError, match="output_size"):
        module(values, places, output_size=[9] * axes)


def test_pooling_by_powers():
    x = abs(_draw(2, 3, 6, 5)) + 0.1
    expected = (x[:, :, :, :4].reshape(2, 3, 3, 2, 2, 2) ** 3.0).sum((3, 5)) ** (1 / 3)
    agree(nn.LPPool2d(3, 2), lambda x: expected, x, rtol=1e-4)
    differentiates(nn.LPPool2d(3, 2), x)


PADDINGS = {
    "Zero": {"mode": "constant"}, "Reflection": {"mode": "reflect"},
    "Replication": {"mode": "edge"}, "Circular": {"mode": "wrap"},
}  # fmt: skip


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", PADDINGS)
def test_paddings(kind, axes):
    x = _draw(*(2, 3, 4, 5, 4)[: axes + 2])
    sides = [1, 2, 0, 1, 2, 0][: 2 * axes]
    pairs = [(0, 0)] * 2 + [tuple(sides[2 * k : 2 * k + 2]) for k in reversed(range(axes))]
    module = getattr(nn, f"{kind}Pad{axes}d")
    agree(module(tuple(sides)), lambda x: np.pad(x, pairs, **PADDINGS[kind]), x)
    assert module(1)(sley.tensor(x)).shape[2] == x.shape[2] + 2
    with pytest.raises(ShapeError, match="axes"):
        module(1)(sley.zeros(2))
    constant = getattr(nn, f"ConstantPad{axes}d")(tuple(sides), 7.0)
    agree(constant, lambda x: np.pad(x, pairs, constant_values=7), x)
