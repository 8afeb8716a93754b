"""Lazy layers, hooks, parametrizations, names and texts of layers."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
from function_checks import agree, differentiates

import sley
import sley.nn as nn
import sley.nn.functional as F
from sley import ArgumentError, ShapeError, TraceError
from sley.nn.utils import parametrizations, parametrize

R = np.random.default_rng(10)


def _draw(*shape):
    return sley.tensor(R.standard_normal(shape).astype(np.float32))


# Lazy layers

LAZY = [
    (lambda: nn.LazyLinear(3), (2, 5), "Linear(in_features=5, out_features=3, bias=True)"),
    (lambda: nn.LazyConv2d(4, 3, groups=2), (1, 2, 5, 5),
     "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), groups=2)"),
    (lambda: nn.LazyConvTranspose1d(4, 3, bias=False), (2, 5),
     "ConvTranspose1d(2, 4, kernel_size=(3,), stride=(1,), bias=False)"),
    (lambda: nn.LazyBatchNorm2d(), (2, 3, 4, 4),
     "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"),
    (lambda: nn.LazyInstanceNorm1d(), (3, 4),
     "InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, "
     "track_running_stats=True)"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shape", "text"), LAZY, ids=lambda v: str(v)[:20])
def test_lazy_layers(make, shape, text):
    one, two = make(), make()
    x = _draw(*shape)
    names = list(one.state_dict())
    expected = one(x)
    assert repr(one) == text and list(one.state_dict()) == names
    assert all(type(p) is nn.Parameter for p in one.parameters())
    two.load_state_dict(one.state_dict())
    assert repr(two) == text
    one.eval(), two.eval()
    assert sley.equal(one(x), two(x)) and expected.shape == one(x).shape


def test_lazy_layers_refuse():
    with pytest.raises(ArgumentError, match="shape"):
        sley.optim.SGD(nn.LazyLinear(3).parameters(), 0.1)
    with pytest.raises(TraceError, match="once before"):
        sley.compile(nn.LazyLinear(3))(sley.ones(2, 2))
    with pytest.raises(ShapeError):
        nn.LazyConv2d(3, 3)(sley.ones(2, 2))
    layer = nn.LazyLinear(3)
    with pytest.raises(sley.SleyError, match="weight"):
        layer.load_state_dict({"bias": sley.ones(3)})
    assert isinstance(layer, nn.LazyLinear)


# Hooks


def _hooked():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    net.load_state_dict({
        n: np.linspace(-1, 1, p.numel()).reshape(tuple(p.shape)).astype(np.float32)
        for n, p in net.state_dict().items()
    })  # fmt: skip
    return net


def test_backward_hooks_see_and_change_gradients():
    x, seen = _draw(5, 3), []

    def gradients(net):
        net.zero_grad()
        (net(x) ** 2).sum().backward()
        return [p.grad.numpy().copy() for p in net.parameters()]

    plain, net = gradients(_hooked()), _hooked()
    net[1].register_full_backward_hook(lambda m, i, o: (seen.append((i[0], o[0])), (i[0] * 2,))[1])
    net[0].register_full_backward_hook(lambda m, i, o: seen.append((i, o[0])))
    handle = net[2].register_full_backward_pre_hook(lambda m, o: (o[0] * 3,))
    changed = gradients(net)
    for k, factor in enumerate((6, 6, 3, 3)):
        np.testing.assert_allclose(changed[k], plain[k] * factor, rtol=1e-5)
    (inner, outer), (nothing, last) = seen
    hidden = np.tanh((x.numpy() @ net[0].weight.detach().numpy().T) + net[0].bias.detach().numpy())
    np.testing.assert_allclose(inner.numpy(), outer.numpy() * (1 - hidden**2), rtol=1e-4, atol=1e-6)
    assert nothing == (None,)
    np.testing.assert_allclose(last.numpy(), inner.numpy() * 2, rtol=1e-6)
    handle.remove()
    np.testing.assert_allclose(gradients(net)[2], plain[2], rtol=1e-5)

    @sley.compile
    def step(x):
        net.zero_grad()
        loss = (net(x) ** 2).sum()
        loss.backward()
        return loss

    step(x)
    np.testing.assert_allclose(net[0].weight.grad.numpy(), plain[0] * 2, rtol=1e-4)


def test_backward_hooks_of_several_inputs_and_outputs():
    class Both(nn.Module):
        def forward(self, x, y):
            return x * y, (x * x).sum(0)

    seen, module = [], Both()
    module.register_full_backward_pre_hook(lambda m, o: (o[0] * 2, o[1]))
    module.register_full_backward_hook(lambda m, i, o: (seen.append(len(o)), (i[0], i[1] * 10))[1])
    x, y = _draw(3, 2).requires_grad_(), _draw(3, 2).requires_grad_()

    def backward(x, y):
        product, squares = module(x, y)
        (product.sum() + 3 * squares.sum()).backward()
        return product

    for function in (backward, sley.compile(backward)):
        x.grad = y.grad = None
        function(x, y)
        expected = 2 * y.detach().numpy() + 6 * x.detach().numpy()
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(y.grad.numpy(), 20 * x.detach().numpy(), rtol=1e-5)
    assert set(seen) == {2}


def test_forward_hooks_with_keywords():
    class Scale(nn.Module):
        def forward(self, x, *, by=1.0):
            if by < 0:
                raise ValueError("negative")
            return x * by

    module, order = Scale(), []
    module.register_forward_hook(lambda m, a, k, o: o + k["by"], with_kwargs=True)
    module.register_forward_hook(lambda m, a, o: order.append("first"), prepend=True)
    module.register_forward_pre_hook(lambda m, a, k: (a, {"by": k["by"] * 2}), with_kwargs=True)
    module.register_forward_hook(lambda m, a, o: order.append(o is None), always_call=True)
    assert module(sley.tensor(1.0), by=3.0).item() == 12 and order == ["first", False]
    with pytest.raises(ValueError, match="negative"):
        module(sley.tensor(1.0), by=-1.0)
    assert order == ["first", False, True]


def test_submodules_are_set_by_their_dotted_name():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    net.set_submodule("0.0", nn.Tanh())
    assert isinstance(net[0][0], nn.Tanh) and len(list(net.modules())) == 3
    with pytest.raises(AttributeError):
        net.set_submodule("0.1", nn.Tanh(), strict=True)
    shared = nn.Tanh()
    both = nn.Sequential(shared, shared)
    assert len(list(both.modules())) == 2 and len(list(both.modules(remove_duplicate=False))) == 3


# Parametrizations


def _normed(weight, dim=0):
    axes = tuple(a for a in range(weight.ndim) if a != dim)
    return np.sqrt((weight**2).sum(axes, keepdims=True))


@pytest.mark.parametrize("old", [False, True])
def test_weight_norm(old):
    layer = nn.Linear(3, 4)
    before = layer.weight.detach().numpy().copy()
    if old:
        nn.utils.weight_norm(layer)
        names = ["bias", "weight_g", "weight_v"]
    else:
        parametrizations.weight_norm(layer)
        names = [f"parametrizations.weight.original{k}" for k in (0, 1)]
        names.insert(0, "bias")
    assert list(layer.state_dict()) == names
    np.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-5)
    g, v = (layer.get_parameter(name) for name in names[1:])
    g.data = g.detach() * 2
    np.testing.assert_allclose(layer.weight.detach().numpy(), 2 * before, rtol=1e-5)
    x = _draw(5, 3)
    agree(layer, lambda x: x @ (2 * before).T + layer.bias.detach().numpy(), x.numpy(), rtol=1e-4,
          atol=1e-5)  # fmt: skip
    layer(x).sum().backward()
    slope = np.outer(np.ones(4), x.numpy().sum(0))
    np.testing.assert_allclose(g.grad.numpy(), (slope * before / _normed(before)).sum(1)[:, None],
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    assert v.grad.shape == (4, 3)
    other = copy.deepcopy(layer)
    if old:
        nn.utils.remove_weight_norm(layer)
    else:
        parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and set(layer.state_dict()) == {"bias", "weight"}
    assert sley.equal(layer(x), other(x)) and list(other.state_dict()) == names


@pytest.mark.parametrize("old", [False, True])
def test_spectral_norm(old):
    layer = nn.Linear(3, 4)
    matrix = layer.weight.detach().numpy().copy()
    make = nn.utils.spectral_norm if old else parametrizations.spectral_norm
    make(layer, n_power_iterations=30)
    names = ["parametrizations.weight.original", *(f"parametrizations.weight.0._{n}" for n in "uv")]
    assert list(layer.state_dict())[1:] == (
        ["weight_orig", "weight_u", "weight_v"] if old else names
    )
    expected = matrix / np.linalg.svd(matrix)[1][0]
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-4, atol=1e-6)
    x = _draw(5, 3)
    bias = layer.bias.detach().numpy()
    np.testing.assert_allclose(sley.compile(layer)(x).detach().numpy(),
                               x.numpy() @ expected.T + bias, rtol=1e-3, atol=1e-5)  # fmt: skip
    layer.eval()
    before = {n: t.numpy().copy() for n, t in layer.state_dict().items()}
    layer(x)
    assert all(np.array_equal(before[n], t.numpy()) for n, t in layer.state_dict().items())
    if old:
        nn.utils.remove_spectral_norm(layer)
    else:
        parametrize.remove_parametrizations(layer, "weight")
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-4, atol=1e-6)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, x):
        return x.triu()


def test_own_parametrizations():
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    weight = layer.weight.detach().numpy()
    np.testing.assert_array_equal(weight, weight.T)
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    layer.weight = sley.eye(3)
    assert layer.weight.tolist() == np.eye(3).tolist()
    parametrize.register_parametrization(layer, "weight", nn.Tanh())
    np.testing.assert_allclose(layer.weight.detach().numpy(), np.tanh(np.eye(3)), rtol=1e-6)
    optimizer = sley.optim.SGD(layer.parameters(), 0.1)

    @sley.compile
    def step(x):
        optimizer.zero_grad()
        loss = (layer(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(sley.ones(2, 3)).item() for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert type(layer) is nn.Linear and layer.weight.detach().numpy()[2, 0] == 0
    with pytest.raises(ArgumentError, match="not parametrized"):
        parametrize.remove_parametrizations(layer, "weight")
    with pytest.raises(ArgumentError, match="no parameter"):
        parametrize.register_parametrization(layer, "kernel", Symmetric())
    with pytest.raises(ShapeError, match="unsafe"):
        parametrize.register_parametrization(nn.Linear(2, 3), "weight", nn.Flatten(0))


# Names, texts, signatures

MADE = {
    "Softmax2d()": lambda: nn.Softmax2d(),
    "RReLU(lower=0.125, upper=0.3333333333333333)": lambda: nn.RReLU(),
    "Hardshrink(0.5)": lambda: nn.Hardshrink(),
    "PixelUnshuffle(downscale_factor=2)": lambda: nn.PixelUnshuffle(2),
    "ChannelShuffle(groups=2)": lambda: nn.ChannelShuffle(2),
    "CircularPad1d((1, 1))": lambda: nn.CircularPad1d(1),
    "ConstantPad3d(padding=(1, 1, 1, 1, 1, 1), value=0.5)": lambda: nn.ConstantPad3d(1, 0.5),
    "FeatureAlphaDropout(p=0.2, inplace=False)": lambda: nn.FeatureAlphaDropout(0.2),
    "MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))": lambda: nn.MaxUnpool2d(2),
    "CTCLoss()": lambda: nn.CTCLoss(),
    "Unfold(kernel_size=2, dilation=1, padding=0, stride=1)": lambda: nn.Unfold(2),
    "Upsample(scale_factor=2.0, mode='nearest')": lambda: nn.Upsample(scale_factor=2),
    "MultiLabelMarginLoss()": lambda: nn.MultiLabelMarginLoss(),
    "ConvTranspose1d(2, 2, kernel_size=(3,), stride=(2,), output_padding=(1,))": lambda: (
        nn.ConvTranspose1d(2, 2, 3, 2, output_padding=1)
    ),
    "Embedding(4, 3, padding_idx=1, max_norm=1.0)": lambda: nn.Embedding(4, 3, 1, 1.0),
    "LSTMCell(3, 4)": lambda: nn.LSTMCell(3, 4),
    "Threshold(threshold=0.1, value=2)": lambda: nn.Threshold(0.1, 2),
    "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)": lambda: nn.ModuleList(
        [nn.ReLU(), nn.ReLU(), nn.Tanh()]
    ),
}


@pytest.mark.parametrize("text", MADE)
def test_texts(text):
    assert repr(MADE[text]()) == text


def test_layers_tell_what_they_take():
    assert str(inspect.signature(nn.GELU)) == "(approximate='none')"
    assert list(inspect.signature(nn.CrossEntropyLoss).parameters) == [
        "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing",
    ]  # fmt: skip
    with pytest.raises(TypeError, match="threshold"):
        nn.Threshold()
    with pytest.raises(TypeError, match="ReLU"):
        nn.ReLU(alpha=1)


# Small functions


def test_random_slopes_and_dropped_channels():
    x = _draw(50, 40)
    slopes = (F.rrelu(x, 0.1, 0.3, training=True) / x).numpy()
    low = x.numpy() < 0
    assert (slopes[~low] == 1).all() and slopes[low].min() >= 0.1 and slopes[low].max() < 0.3
    assert slopes[low].std() > 0.05
    middle = nn.RReLU(0.1, 0.3).eval()(x).numpy()
    np.testing.assert_allclose(middle[low], 0.2 * x.numpy()[low], rtol=1e-6)
    with pytest.raises(ArgumentError, match="upper"):
        F.rrelu(x, 0.3, 0.1)
    sley.manual_seed(0)
    dropped = nn.FeatureAlphaDropout(0.5)(sley.ones(20, 30, 4)).numpy()
    assert (dropped == dropped[:, :, :1]).all() and len(np.unique(dropped)) == 2
    one = F.gumbel_softmax(sley.zeros(5, 4), hard=True).numpy()
    np.testing.assert_allclose(np.sort(one, 1), [[0, 0, 0, 1]] * 5, atol=1e-6)


def test_functions_written_back():
    x = sley.tensor([-1.0, 2.0])
    assert F.relu_(x) is x and x.tolist() == [0, 2]
    assert F.threshold_(x, 1.0, 5.0).tolist() == [5, 2] == x.tolist()


def test_a_dirac_weight_hands_channels_on():
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    nn.init.dirac_(layer.weight, 2)
    x = _draw(2, 4, 5, 5)
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy(), rtol=1e-6)
    with pytest.raises(ShapeError, match="dirac_"):
        nn.init.dirac_(sley.zeros(2, 2))


@pytest.mark.parametrize("axes", [1, 3])
def test_instance_norms(axes):
    x = _draw(*(2, 3, 4, 5, 2)[: axes + 2])
    inner = tuple(range(2, axes + 2))
    norm = getattr(nn, f"InstanceNorm{axes}d")(3)

    def expected(x):
        gap = x - x.mean(inner, keepdims=True)
        return gap / np.sqrt((gap**2).mean(inner, keepdims=True) + 1e-5)

    agree(norm, expected, x.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm(x[0]).numpy(), expected(x.numpy())[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ShapeError, match="3 channels"):
        norm(_draw(*(2, 5, 4, 5, 2)[: axes + 2]))
    without = nn.BatchNorm1d(3, bias=False)
    assert list(without.state_dict()) == [
        "weight", "running_mean", "running_var", "num_batches_tracked",
    ]  # fmt: skip


def test_output_size_of_a_transposed_convolution():
    layer = nn.ConvTranspose1d(2, 3, 3, stride=2)
    x = _draw(1, 2, 5)
    assert layer(x).shape == (1, 3, 11) and layer(x, output_size=[12]).shape == (1, 3, 12)
    with pytest.raises(ArgumentError, match="12"):
        layer(x, output_size=[13])


def test_norms_of_gradients():
    p = [sley.zeros(2, requires_grad=True), sley.zeros(3, requires_grad=True)]
    for parameter, value in zip(p, (3.0, 4.0)):
        parameter.grad = sley.full(tuple(parameter.shape), value)
    total = nn.utils.get_total_norm([q.grad for q in p])
    assert total.item() == pytest.approx(np.sqrt(18 + 48))
    nn.utils.clip_grads_with_norm_(p, 1.0, total)
    assert nn.utils.get_total_norm([q.grad for q in p]).item() == pytest.approx(1, rel=1e-4)
    p[0].grad = sley.tensor([np.inf, 0.0])
    with pytest.raises(ArgumentError, match="finite"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)


# Second derivatives and narrow dtypes


def _attention():
    module = nn.MultiheadAttention(4, 2).double()
    return (lambda x: module(x, x, x)[0]), (3, 2, 4)


def _lstm():
    module = nn.LSTM(3, 2, bidirectional=True).double()
    return (lambda x: module(x)[0]), (3, 2, 3)


def _ctc():
    def loss(x):
        targets = sley.tensor([[1, 2], [2, 2]])
        return F.ctc_loss(F.log_softmax(x, -1), targets, [5, 4], [2, 1], reduction="none")

    return loss, (5, 2, 3)


SMOOTH = {
    "attention": _attention, "lstm": _lstm, "ctc": _ctc,
    "grid_sample": lambda: (lambda x: F.grid_sample(x, x.movedim(1, -1).tanh()), (1, 2, 3, 4)),
    "adaptive": lambda: (lambda x: F.adaptive_avg_pool1d(x, 3) ** 2, (2, 2, 7)),
    "bicubic": lambda: (lambda x: F.interpolate(x, 5, mode="bicubic") ** 2, (1, 2, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives(name):
    sley.manual_seed(0)
    function, shape = SMOOTH[name]()

    def slope(x):
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        (found,) = sley.autograd.grad((function(x) ** 2).sum(), [x], create_graph=True)
        return found

    differentiates(slope, R.standard_normal(shape), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("make", [
    lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
    lambda: nn.LSTM(8, 4, 2, batch_first=True, bidirectional=True),
    lambda: nn.GRU(8, 4), lambda: nn.AdaptiveAvgPool1d(3), lambda: nn.Upsample(5, mode="linear"),
], ids=["transformer", "lstm", "gru", "pooling", "resizing"])  # fmt: skip
def test_other_dtypes(make, dtype):
    sley.manual_seed(0)
    kind, module = getattr(sley, dtype), make()
    x = _draw(2, 5, 8)

    def run(x):
        found = module(x)
        return found[0] if isinstance(found, tuple) else found

    expected = run(x).detach().numpy()
    module.to(kind)
    for function in (run, sley.compile(run)):
        found = function(x.to(kind))
        assert found.dtype is kind
        np.testing.assert_allclose(found.detach().double().numpy(), expected, atol=0.06, rtol=0.06)
