"""Functions of neural networks against numpy and scipy and by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import dynamic
from scipy import special

import sley
import sley.nn.functional as F
from sley import ArgumentError, IndexingError, ShapeError

R = np.random.default_rng(2)
X = (R.standard_normal((3, 5)) * 2).astype(np.float32)


def _draw(*shape):
    return R.standard_normal(shape).astype(np.float32)


def _softplus(x):
    return np.logaddexp(x, 0)


ACTIVATIONS = {
    "relu": (F.relu, lambda x: np.maximum(x, 0)),
    "relu6": (F.relu6, lambda x: np.clip(x, 0, 6)),
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": (F.elu, lambda x: np.where(x > 0, x, np.expm1(x))),
    "selu": (F.selu, lambda x: 1.0507009873554805
             * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    "celu": (lambda x: F.celu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
    "gelu": (F.gelu, lambda x: x * special.ndtr(x)),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), lambda x: 0.5 * x * (
        1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    "silu": (F.silu, lambda x: x * special.expit(x)),
    "mish": (F.mish, lambda x: x * np.tanh(_softplus(x))),
    "softplus": (F.softplus, _softplus),
    "softsign": (F.softsign, lambda x: x / (1 + abs(x))),
    "tanhshrink": (F.tanhshrink, lambda x: x - np.tanh(x)),
    "softshrink": (F.softshrink, lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0)),
    "hardshrink": (F.hardshrink, lambda x: np.where(abs(x) > 0.5, x, 0)),
    "hardtanh": (F.hardtanh, lambda x: np.clip(x, -1, 1)),
    "hardsigmoid": (F.hardsigmoid, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "hardswish": (F.hardswish, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "threshold": (lambda x: F.threshold(x, 0.1, 20), lambda x: np.where(x > 0.1, x, 20)),
    "logsigmoid": (F.logsigmoid, special.log_expit),
    "softmax": (F.softmax, lambda x: special.softmax(x, -1)),
    "softmax 0": (lambda x: F.softmax(x, 0), lambda x: special.softmax(x, 0)),
    "log_softmax": (F.log_softmax, lambda x: special.log_softmax(x, -1)),
    "softmin": (F.softmin, lambda x: special.softmax(-x, -1)),
    "glu": (lambda x: F.glu(x[:, :4]), lambda x: x[:, :2] * special.expit(x[:, 2:4])),
    "normalize": (F.normalize, lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    function, reference = ACTIVATIONS[name]
    agree(function, reference, X, rtol=1e-5, atol=1e-6)
    differentiates(function, X)


def test_values_and_gradients_at_corners():
    x = sley.tensor([0.0, np.nan, -1.0], requires_grad=True)
    y = F.relu(x)
    assert np.isnan(y[1].item()) and y[0].item() == 0
    y[0].backward()
    assert x.grad[0].item() == 0
    assert F.softmax(sley.tensor([1e4, 0.0])).tolist() == [1, 0]
    assert F.softplus(sley.tensor(100.0)).item() == 100
    assert F.relu(sley.tensor([-1.0]), inplace=True).item() == 0
    half = F.softmax(sley.tensor([[1.0, 2.0]], dtype=sley.float16))
    assert half.dtype is sley.float16
    with pytest.raises(ArgumentError):
        F.gelu(sley.tensor(1.0), "fast")


# Losses of classes


def _nll(logits, target, weight=None, ignore=-100, smoothing=0.0):
    """Sum of losses and sum of weights, by the definition."""
    logp = special.log_softmax(logits.astype(np.float64), axis=1)
    count = logits.shape[1]
    weight = np.ones(count) if weight is None else weight
    total = scale = 0.0
    for place in np.ndindex(*target.shape):
        t = target[place]
        if t == ignore:
            continue
        row = logp[(place[0], slice(None), *place[1:])]
        total -= (1 - smoothing) * weight[t] * row[t]
        total -= smoothing / count * (weight * row).sum()
        scale += weight[t]
    return total, scale


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3)], ids=str)
def test_cross_entropy(shape, weighted, smoothing):
    logits = _draw(*shape)
    target = R.integers(0, 4, (shape[0], *shape[2:]))
    target.flat[1] = -100
    weight = np.array([0.5, 2, 1, 3], np.float32) if weighted else None
    total, scale = _nll(logits, target, weight, -100, smoothing)

    def loss(x, reduction="mean"):
        w = None if weight is None else sley.tensor(weight, dtype=x.dtype)
        return F.cross_entropy(x, sley.tensor(target), w, reduction=reduction,
                               label_smoothing=smoothing)  # fmt: skip

    assert loss(sley.tensor(logits)).item() == pytest.approx(total / scale, rel=1e-5)
    assert loss(sley.tensor(logits), "sum").item() == pytest.approx(total, rel=1e-5)
    assert loss(sley.tensor(logits), "none").shape == target.shape
    differentiates(loss, logits)


def test_cross_entropy_of_probabilities():
    logits, target = _draw(3, 4), special.softmax(_draw(3, 4), 1).astype(np.float32)
    expected = -(special.log_softmax(logits, 1) * target).sum(1).mean()
    found = F.cross_entropy(sley.tensor(logits), sley.tensor(target))
    assert found.item() == pytest.approx(expected, rel=1e-5)
    differentiates(F.cross_entropy, logits, target)
    hot = F.cross_entropy(sley.tensor(logits[0]), sley.tensor(2))
    assert hot.item() == pytest.approx(-special.log_softmax(logits[0])[2], rel=1e-5)


def test_cross_entropy_refuses():
    x = sley.zeros(2, 3)
    with pytest.raises(IndexingError, match="class 3"):
        F.cross_entropy(x, sley.tensor([0, 3]))
    with pytest.raises(ShapeError, match="target"):
        F.cross_entropy(x, sley.tensor([0, 1, 2]))
    with pytest.raises(ArgumentError):
        F.cross_entropy(x, sley.tensor([0, 1]), reduction="max")
    with pytest.raises(sley.DTypeError):
        F.cross_entropy(x, sley.tensor([True, False]))


def test_other_losses():
    x, y = _draw(4, 3), _draw(4, 3)
    p, t = special.expit(x), (y > 0).astype(np.float32)
    one, two = sley.tensor(x), sley.tensor(y)
    agree(F.mse_loss, lambda a, b: np.mean((a - b) ** 2), x, y, rtol=1e-5)
    agree(F.l1_loss, lambda a, b: np.mean(abs(a - b)), x, y, rtol=1e-5)
    gap = abs(x - y)
    smooth = np.where(gap < 0.5, gap**2, gap - 0.25).mean()
    assert F.smooth_l1_loss(one, two, beta=0.5).item() == pytest.approx(smooth, rel=1e-5)
    huber = np.where(gap <= 0.5, gap**2 / 2, 0.5 * (gap - 0.25)).mean()
    assert F.huber_loss(one, two, delta=0.5).item() == pytest.approx(huber, rel=1e-5)
    bce = -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean()
    assert F.binary_cross_entropy(sley.tensor(p), sley.tensor(t)).item() == pytest.approx(
        bce, rel=1e-5
    )
    logits = F.binary_cross_entropy_with_logits(one, sley.tensor(t))
    assert logits.item() == pytest.approx(bce, rel=1e-5)
    extreme = F.binary_cross_entropy_with_logits(sley.tensor([1000.0]), sley.tensor([0.0]))
    assert extreme.item() == 1000
    q = special.softmax(y, 1)
    kl = (q * (np.log(q) - special.log_softmax(x, 1))).sum() / 4
    found = F.kl_div(F.log_softmax(one), sley.tensor(q), reduction="batchmean")
    assert found.item() == pytest.approx(kl, rel=1e-4)
    agree(lambda a: F.nll_loss(F.log_softmax(a), sley.tensor([0, 2, 1, 0])),
          lambda a: -special.log_softmax(a, 1)[range(4), [0, 2, 1, 0]].mean(), x,
          rtol=1e-5)  # fmt: skip
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.gaussian_nll_loss):
        extra = (np.ones((4, 3)) * 0.7,) if loss is F.gaussian_nll_loss else ()
        differentiates(loss, x, y, *extra)
    differentiates(F.triplet_margin_loss, x, y, _draw(4, 3))
    differentiates(F.cosine_similarity, x, y)


# Convolution and pooling


def _conv2d(x, w, stride, padding, dilation, groups):
    """By the definition, in float64."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    n, _, height, width = x.shape
    out, inner, kh, kw = w.shape
    rows = (height - dilation * (kh - 1) - 1) // stride + 1
    columns = (width - dilation * (kw - 1) - 1) // stride + 1
    result = np.zeros((n, out, rows, columns))
    for o in range(out):
        g = o // (out // groups)
        for a in range(rows):
            for b in range(columns):
                part = x[:, g * inner : (g + 1) * inner,
                         a * stride : a * stride + dilation * (kh - 1) + 1 : dilation,
                         b * stride : b * stride + dilation * (kw - 1) + 1 : dilation]  # fmt: skip
                result[:, o, a, b] = (part * w[o]).sum((1, 2, 3))
    return result


@pytest.mark.parametrize("case", [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (1, 1, 1, 2)])
def test_conv2d(case):
    stride, padding, dilation, groups = case
    x, w, b = _draw(2, 4, 6, 7), _draw(6, 4 // groups, 3, 2), _draw(6)

    def function(x, w, b):
        return F.conv2d(x, w, b, stride, padding, dilation, groups)

    def reference(x, w, b):
        return _conv2d(x, w, stride, padding, dilation, groups) + b[:, None, None]

    agree(function, reference, x, w, b, rtol=1e-4, atol=1e-5)
    differentiates(function, x, w, b)


def test_conv_of_other_axes_and_paddings():
    x, w = _draw(2, 3, 8), _draw(4, 3, 3)
    line = F.conv1d(sley.tensor(x), sley.tensor(w), padding=1).array
    plane = _conv2d(x[:, :, None], w[:, :, None], 1, 0, 1, 1)[:, :, 0]
    np.testing.assert_allclose(line[..., 1:-1], plane, rtol=1e-4, atol=1e-5)
    same = F.conv1d(sley.tensor(x), sley.tensor(_draw(4, 3, 4)), padding="same", dilation=2)
    assert same.shape == (2, 4, 8)
    assert F.conv1d(sley.tensor(x[0]), sley.tensor(w), padding="valid").shape == (4, 6)
    cube = F.conv3d(sley.ones(1, 1, 3, 3, 3), sley.ones(2, 1, 2, 2, 2), stride=(1, 1, 2))
    assert cube.shape == (1, 2, 2, 2, 1) and cube[0, 0, 0, 0, 0].item() == 8
    with pytest.raises(ArgumentError):
        F.conv1d(sley.tensor(x), sley.tensor(w), padding="same", stride=2)
    with pytest.raises(ShapeError, match="channels"):
        F.conv1d(sley.tensor(x), sley.zeros(4, 2, 3))


@pytest.mark.parametrize("case", [(1, 0, 0, 1, 1), (2, 1, 1, 1, 1), (3, 0, 2, 2, 2)])
def test_transposed_conv_is_the_adjoint(case):
    stride, padding, extra, groups, dilation = case
    x, w = sley.tensor(_draw(2, 4, 5, 6)), sley.tensor(_draw(4, 6 // groups, 3, 2))
    up = F.conv_transpose2d(x, w, None, stride, padding, extra, groups, dilation)
    y = sley.tensor(_draw(*up.shape))
    down = F.conv2d(y, w, None, stride, padding, dilation, groups)
    assert down.shape == x.shape
    assert (up * y).sum().item() == pytest.approx((down * x).sum().item(), rel=1e-4)


def test_max_pool():
    x = R.permutation(60).reshape(1, 2, 5, 6).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 3), (2, 3))
    agree(lambda x: F.max_pool2d(x, (2, 3)), lambda x: windows[:, :, ::2, ::3].max((4, 5)), x)
    agree(lambda x: F.max_pool2d(x, (2, 3), stride=1), lambda x: windows.max((4, 5)), x)
    values, places = F.max_pool2d(sley.tensor(x), 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(x.reshape(1, 2, -1)[0, 1][places.array[0, 1]], values.array[0, 1])
    assert F.max_pool2d(sley.tensor(x), 2, ceil_mode=True).shape == (1, 2, 3, 3)
    assert F.max_pool1d(sley.tensor(x[0]), 2, 1, 1).shape == (2, 5, 7)
    assert F.max_pool1d(sley.ones(1, 3), 2, 4, ceil_mode=True).shape == (1, 1)
    assert F.max_pool3d(sley.tensor(x[None]), 2).shape == (1, 1, 1, 2, 3)
    differentiates(lambda x: F.max_pool2d(x, 3, 2, 1), x)
    tie = sley.ones(1, 1, 2, 2, requires_grad=True)
    F.max_pool2d(tie, 2).sum().backward()
    assert tie.grad.flatten().tolist() == [1, 0, 0, 0]
    with pytest.raises(ShapeError):
        F.max_pool2d(sley.tensor(x), 2, padding=2)


def test_avg_pool():
    x = _draw(2, 3, 6, 6)
    agree(lambda x: F.avg_pool2d(x, 2), lambda x: x.reshape(2, 3, 3, 2, 3, 2).mean((3, 5)), x,
          rtol=1e-5, atol=1e-6)  # fmt: skip
    ones = sley.ones(1, 1, 4)
    assert F.avg_pool1d(ones, 2, 2, 1).flatten().tolist() == [0.5, 1, 0.5]
    assert F.avg_pool1d(ones, 2, 2, 1, count_include_pad=False).flatten().tolist() == [1, 1, 1]
    assert F.avg_pool1d(sley.ones(1, 1, 5), 2, 2, ceil_mode=True).flatten().tolist() == [1, 1, 1]
    assert F.avg_pool2d(sley.ones(1, 1, 2, 2), 2, divisor_override=3).item() == pytest.approx(4 / 3)
    differentiates(lambda x: F.avg_pool2d(x, 3, 2, 1), x)


def test_adaptive_pooling():
    x = _draw(2, 3, 7, 6)
    agree(lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: x.mean((2, 3), keepdims=True), x,
          rtol=1e-5, atol=1e-6)  # fmt: skip

    def by_parts(x, rows, columns, function):
        out = np.empty((*x.shape[:2], rows, columns), x.dtype)
        for a in range(rows):
            for b in range(columns):
                top, left = a * 7 // rows, b * 6 // columns
                bottom, right = -(-(a + 1) * 7 // rows), -(-(b + 1) * 6 // columns)
                out[:, :, a, b] = function(x[:, :, top:bottom, left:right], axis=(2, 3))
        return out

    agree(lambda x: F.adaptive_avg_pool2d(x, (3, 4)), lambda x: by_parts(x, 3, 4, np.mean), x,
          rtol=1e-5, atol=1e-6)  # fmt: skip
    agree(lambda x: F.adaptive_max_pool2d(x, (3, 4)), lambda x: by_parts(x, 3, 4, np.max), x)
    assert F.adaptive_avg_pool2d(sley.tensor(x), (None, 2)).shape == (2, 3, 7, 2)


# Normalisation, dropout, lookups, attention


def test_normalisations():
    x, w, b = _draw(4, 6, 5), _draw(5), _draw(5)
    centred = x - x.mean(-1, keepdims=True)
    agree(lambda x, w, b: F.layer_norm(x, (5,), w, b),
          lambda x, w, b: centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w + b, x, w, b,
          rtol=1e-4, atol=1e-5)  # fmt: skip
    differentiates(lambda x, w, b: F.layer_norm(x, (5,), w, b), x, w, b)
    agree(lambda x, w: F.rms_norm(x, (5,), w, 1e-6),
          lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w, x, w,
          rtol=1e-4, atol=1e-5)  # fmt: skip
    grouped = x.reshape(4, 2, 15)
    normal = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(
        grouped.var(2, keepdims=True) + 1e-5
    )
    agree(lambda x: F.group_norm(x, 2), lambda x: normal.reshape(x.shape), x, rtol=1e-4, atol=1e-5)
    differentiates(lambda x: F.group_norm(x, 3), x)
    agree(lambda x: F.instance_norm(x), lambda x: centred / np.sqrt(
        x.var(-1, keepdims=True) + 1e-5), x, rtol=1e-4, atol=1e-5)  # fmt: skip
    differentiates(lambda x: F.local_response_norm(x, 3, k=2.0), x)
    with pytest.raises(ShapeError):
        F.layer_norm(sley.tensor(x), (4,))


def test_batch_norm_moves_the_running_statistics():
    x, mean, var = _draw(8, 3, 4), sley.zeros(3), sley.ones(3)
    y = F.batch_norm(sley.tensor(x), mean, var, training=True, momentum=0.25)
    m, v = x.mean((0, 2)), x.var((0, 2))
    expected = (x - m[:, None]) / np.sqrt(v[:, None] + 1e-5)
    np.testing.assert_allclose(y.array, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean.array, 0.25 * m, rtol=1e-5)
    np.testing.assert_allclose(var.array, 0.75 + 0.25 * x.var((0, 2), ddof=1), rtol=1e-5)
    z = F.batch_norm(sley.tensor(x), mean, var)
    again = (x - mean.array[:, None]) / np.sqrt(var.array[:, None] + 1e-5)
    np.testing.assert_allclose(z.array, again, rtol=1e-4, atol=1e-5)
    differentiates(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), x, _draw(3), _draw(3))
    with pytest.raises(ShapeError):
        F.batch_norm(sley.zeros(1, 3), None, None, training=True)


def test_dropout():
    sley.manual_seed(0)
    x = sley.ones(4000, requires_grad=True)
    y = F.dropout(x, 0.25)
    kept = (y > 0).sum().item()
    assert abs(kept / 4000 - 0.75) < 0.03 and y.max().item() == pytest.approx(4 / 3)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, y.detach().array)
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 1.0).abs().sum().item() == 0
    whole = F.dropout2d(sley.ones(5, 8, 3, 3), 0.5).array.reshape(40, 9)
    assert set(whole.sum(1).tolist()) == {0.0, 18.0}
    alpha = F.alpha_dropout(sley.randn(20000), 0.3, True)
    assert abs(alpha.mean().item()) < 0.04 and abs(alpha.std().item() - 1) < 0.04
    with pytest.raises(ArgumentError):
        F.dropout(x, 1.5)


def test_embedding():
    table, numbers = _draw(5, 3), np.array([[0, 4], [2, 2]])
    agree(F.embedding, lambda i, w: w[i], numbers, table)
    weight = sley.tensor(table, requires_grad=True)
    F.embedding(sley.tensor([1, 2, 1]), weight, padding_idx=2).sum().backward()
    assert weight.grad.array[:, 0].tolist() == [0, 2, 0, 0, 0]
    with pytest.raises(IndexingError):
        F.embedding(sley.tensor([5]), weight)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode):
    numpy_mode = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    x = _draw(2, 3, 4)
    agree(lambda x: F.pad(x, (1, 2, 2, 0), mode),
          lambda x: np.pad(x, ((0, 0), (2, 0), (1, 2)), numpy_mode), x)  # fmt: skip
    differentiates(lambda x: F.pad(x, (1, 2, 2, 0), mode), x)


def test_pad_cuts_and_refuses():
    x = sley.ones(2, 4)
    assert F.pad(x, (-1, 1), value=5.0).tolist() == [[1, 1, 1, 5]] * 2
    with pytest.raises(ArgumentError):
        F.pad(x, (1, 2, 3))
    with pytest.raises(ArgumentError):
        F.pad(x, (4, 0), "reflect")


def test_attention():
    q, k, v = _draw(2, 2, 3, 4), _draw(2, 2, 5, 4), _draw(2, 2, 5, 6)
    allowed = R.random((3, 5)) > 0.3
    allowed[:, 0] = True
    function = F.scaled_dot_product_attention

    def reference(q, k, v, mask=0.0):
        return special.softmax(q @ k.swapaxes(-1, -2) / 2 + mask, -1) @ v

    agree(function, reference, q, k, v, rtol=1e-4, atol=1e-5)
    masked = function(*map(sley.tensor, (q, k, v)), sley.tensor(allowed))
    barrier = np.where(allowed, 0, -np.inf)
    np.testing.assert_allclose(masked.array, reference(q, k, v, barrier), rtol=1e-4, atol=1e-5)
    causal = function(*map(sley.tensor, (q, k, v)), is_causal=True)
    barrier = np.where(np.tril(np.ones((3, 5))) > 0, 0, -np.inf)
    np.testing.assert_allclose(causal.array, reference(q, k, v, barrier), rtol=1e-4, atol=1e-5)
    differentiates(lambda q, k, v: function(q, k, v, is_causal=True), q, k, v)
    grouped = function(sley.tensor(_draw(1, 4, 3, 4)), *map(sley.tensor, (k[:1], v[:1])),
                       enable_gqa=True)  # fmt: skip
    assert grouped.shape == (1, 4, 3, 6)


def test_images():
    x = _draw(1, 8, 2, 3)
    up = F.pixel_shuffle(sley.tensor(x), 2)
    assert up.shape == (1, 2, 4, 6) and up[0, 0, 1, 0].item() == x[0, 2, 0, 0]
    np.testing.assert_array_equal(F.pixel_unshuffle(up, 2).array, x)
    columns = F.unfold(sley.tensor(x), 2)
    np.testing.assert_array_equal(columns.array[0, :4, 0], x[0, 0, :2, :2].ravel())
    big = F.interpolate(sley.tensor(x), scale_factor=2)
    np.testing.assert_array_equal(big.array, x.repeat(2, 2).repeat(2, 3))


def test_resized_images():
    x = sley.tensor(np.arange(4, dtype=np.float32).reshape(1, 1, 4))
    assert F.interpolate(x, size=7)[0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert F.interpolate(x, scale_factor=0.5)[0, 0].tolist() == [0, 2]
    half = F.interpolate(x, scale_factor=2, mode="linear")[0, 0]
    assert half.tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    kept = F.interpolate(x, size=7, mode="linear", align_corners=True)[0, 0]
    assert kept.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    image = _draw(1, 2, 3, 5)
    rows, columns = np.linspace(0, 2, 5), np.linspace(0, 4, 9)
    along = np.apply_along_axis(lambda r: np.interp(columns, range(5), r), 3, image)
    wide = np.apply_along_axis(lambda r: np.interp(rows, range(3), r), 2, along)
    arguments = {"size": (5, 9), "mode": "bilinear", "align_corners": True}
    for function in (F.interpolate, sley.compile(F.interpolate)):
        found = function(sley.tensor(image), **arguments)
        np.testing.assert_allclose(found.numpy(), wide, rtol=1e-5, atol=1e-6)
    for wrong in ({"mode": "linear"}, {"mode": "cubic"}):
        with pytest.raises(ArgumentError, match="mode="):
            F.interpolate(sley.tensor(image), scale_factor=2, **wrong)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.cross_entropy(x.flatten(1), x.flatten(1).argmax(1)),
        lambda x: F.cross_entropy(x.flatten(1), x.flatten(1).argmax(1), label_smoothing=0.1),
        lambda x: F.conv2d(x, sley.ones(3, 2, 3, 3), padding=1, stride=2),
        lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2, 1, 1),
        lambda x: F.adaptive_avg_pool2d(x, 2), lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.layer_norm(x, (4, 4)), lambda x: F.group_norm(x, 2), lambda x: F.pad(x, (1, 1)),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: F.mse_loss(x, x * 2), lambda x: F.pixel_unshuffle(x, 2), lambda x: F.unfold(x, 2),
    ],
)  # fmt: skip
def test_symbolic_batches(function):
    recorded, _ = dynamic(function, [("N", 2, 4, 4)], {"N": 3})
    for size in (2, 5):
        x = np.random.default_rng(size).standard_normal((size, 2, 4, 4)).astype(np.float32)
        (found,) = recorded.run({recorded.graph.params[0]: x})
        np.testing.assert_allclose(found, function(sley.tensor(x)).array, rtol=1e-5, atol=1e-6)
