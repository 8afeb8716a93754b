"""Modules: attributes, walking, saving, hooks, what a trace sees of them; layers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from recording import record

import sley
import sley.nn as nn
from sley import ArgumentError, DTypeError, LoadError
from sley.frontend.epoch import epoch
from sley.frontend.trace import MISSING, Trace


class Block(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.scale = nn.Parameter(sley.ones(width))
        self.register_buffer("mean", sley.zeros(width))
        self.register_buffer("scratch", sley.zeros(1), persistent=False)
        self.factor = 2.0

    def forward(self, x):
        return self.linear(x) * self.scale * self.factor + self.mean


def test_attributes_find_their_tables():
    block = Block()
    assert [n for n, _ in block.named_parameters()] == ["scale", "linear.weight", "linear.bias"]
    assert [n for n, _ in block.named_buffers()] == ["mean", "scratch"]
    assert [n for n, _ in block.named_modules()] == ["", "linear"]
    assert list(block.children()) == [block.linear]
    assert "linear" in dir(block) and "scale" in dir(block)
    block.linear = None
    assert block.linear is None and len(list(block.parameters())) == 1
    del block.scale
    with pytest.raises(AttributeError, match="scale"):
        print(block.scale)
    block.other = nn.Buffer(sley.ones(2), persistent=False)
    assert dict(block.named_buffers())["other"].shape == (2,) and "other" not in block.state_dict()
    block.factor = nn.Linear(2, 2)
    assert "factor" not in vars(block) and block.factor.in_features == 2


def test_attributes_refuse():
    block = Block()
    with pytest.raises(DTypeError, match="cannot replace"):
        block.scale = sley.ones(3)
    with pytest.raises(DTypeError):
        block.register_parameter("p", sley.ones(1))
    with pytest.raises(ArgumentError):
        block.register_buffer("a.b", sley.ones(1))
    with pytest.raises(ArgumentError, match="already"):
        block.register_buffer("factor", sley.ones(1))

    class Early(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(sley.ones(1))

    with pytest.raises(ArgumentError, match="super"):
        Early()
    with pytest.raises(NotImplementedError):
        nn.Module()(1)


def test_shared_parts_are_found_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert len(list(model.parameters())) == 2 and len(list(model.modules())) == 3
    assert len(model.state_dict()) == 4


def test_state_dict_goes_and_comes_back():
    one, two = Block(), Block()
    assert list(one.state_dict()) == ["scale", "mean", "linear.weight", "linear.bias"]
    before = {n: p.storage for n, p in two.named_parameters()}
    assert repr(two.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
    x = sley.ones(1, 3)
    assert one(x).tolist() == two(x).tolist()
    assert {n: p.storage for n, p in two.named_parameters()} == before
    part = {"scale": np.full(3, 5.0, np.float32), "new": sley.ones(1)}
    with pytest.raises(LoadError, match=r'(?s)Missing key.*"mean".*Unexpected key.*"new"'):
        two.load_state_dict(part)
    keys = two.load_state_dict(part, strict=False)
    assert keys.unexpected_keys == ["new"] and two.scale.tolist() == [5, 5, 5]
    with pytest.raises(LoadError, match="shape"):
        two.load_state_dict({"scale": sley.ones(2)}, strict=False)


def test_modes_gradients_and_dtypes():
    model = nn.Sequential(Block(), nn.Dropout(0.9))
    model.eval()
    assert not model[0].linear.training
    x = sley.ones(2, 3)
    assert model(x).tolist() == model[0](x).tolist()
    model.train()(x).sum().backward()
    assert model[0].scale.grad is not None
    model.zero_grad(set_to_none=False)
    assert model[0].scale.grad.abs().sum().item() == 0
    model.zero_grad()
    assert model[0].scale.grad is None
    model.requires_grad_(False)
    assert not model(x).requires_grad
    model.double()
    assert {p.dtype for p in model.parameters()} == {sley.float64}
    assert model[0].mean.dtype is sley.float64 and model(x.double()).dtype is sley.float64
    assert model.to("cpu", sley.float32) is model
    with pytest.raises(DTypeError):
        model.to(sley.int64)
    seen = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Block", "Dropout", "Sequential"]
    assert model.get_submodule("0.linear") is model[0].linear
    assert model.get_parameter("0.scale") is model[0].scale


def test_hooks():
    layer = nn.Linear(2, 2)
    calls = []
    before = layer.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    after = layer.register_forward_hook(lambda m, args, out: calls.append(out) or out + 1)
    expected = [b + 1 for b in layer.bias.tolist()]
    assert layer(sley.ones(1, 2)).tolist()[0] == pytest.approx(expected)
    before.remove()
    after.remove()
    assert len(calls) == 1 and layer(sley.ones(1, 2)).requires_grad
    assert len(calls) == 1


def test_repr_copy_and_pickle():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))
    assert repr(model) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )
    assert repr(nn.Conv2d(1, 2, 3, padding=1, bias=False)) == (
        "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)"
    )
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other[0].weight.tolist() == model[0].weight.tolist()
        assert other[0].weight is not model[0].weight and isinstance(other[0].weight, nn.Parameter)


def test_containers():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers.append(nn.ReLU()).extend([nn.Tanh()]).insert(0, nn.Identity())
    assert [type(m).__name__ for m in layers] == ["Identity", "Linear", "ReLU", "Tanh"]
    assert len(layers[1:3]) == 2 and isinstance(layers[-1], nn.Tanh)
    del layers[0]
    layers[0] = nn.Linear(2, 2)
    assert len(layers) == 3 and len(list(layers.parameters())) == 2
    with pytest.raises(IndexError):
        layers[3]
    table = nn.ModuleDict({"a": nn.Linear(1, 1)})
    table["b"] = nn.ReLU()
    assert list(table) == ["a", "b"] and "a" in table and isinstance(table.pop("b"), nn.ReLU)
    values = nn.ParameterList([sley.ones(2)])
    values.append(nn.Parameter(sley.zeros(1)))
    assert len(list(values.parameters())) == 2 and values[0].requires_grad
    named = nn.ParameterDict({"w": sley.ones(2)})
    assert dict(named.named_parameters())["w"].tolist() == [1, 1]
    chain = nn.Sequential({"first": nn.Linear(2, 2), "second": nn.ReLU()})
    assert chain.first is chain[0] and isinstance(chain[1:], nn.Sequential)


# What a trace sees


def test_writes_move_the_epoch():
    block = Block()
    count = epoch.count
    block.factor = 3.0
    block.eval()
    block.extra = nn.Linear(1, 1)
    del block.extra
    assert epoch.count >= count + 4
    count = epoch.count
    block(sley.ones(1, 3))
    with sley.no_grad():
        block.scale.mul_(2)
    assert epoch.count == count


def test_reads_are_noted_and_writes_undone():
    block = Block()
    weight, scale = block.linear.weight, block.scale
    with Trace() as trace:
        block(sley.ones(1, 3))
        block.factor = 7.0
        block.fresh = 1
        block.scale = nn.Parameter(sley.zeros(3))
        del block.mean
        trace.undo_attribute_writes()
    reads = {(id(r.owner), r.name): r.value for r in trace.reads}
    assert reads[id(block), "factor"] == 2.0
    assert reads[id(block.linear), "weight"] is weight
    assert block.factor == 2.0 and block.scale is scale and block.mean is not None
    assert not hasattr(block, "fresh") and "scale" not in vars(block)
    assert MISSING not in vars(block).values()


def test_buffers_move_in_a_recorded_call():
    layer = nn.BatchNorm1d(2)
    x = sley.tensor(np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32))
    recorded = record(layer, x)
    written = {c.storage for c in recorded.trace.captures.values() if c.is_written}
    assert written == {layer.running_mean.storage, layer.running_var.storage,
                       layer.num_batches_tracked.storage}  # fmt: skip
    assert layer.num_batches_tracked.item() == 0 and layer.running_mean.tolist() == [0, 0]


# Layers


LAYERS = [
    (nn.Linear(3, 4), (2, 3), (2, 4)), (nn.Identity(), (2,), (2,)),
    (nn.Conv1d(2, 4, 3, padding="same"), (1, 2, 7), (1, 4, 7)),
    (nn.Conv2d(2, 4, (3, 2), 2, 1, groups=2), (1, 2, 7, 6), (1, 4, 4, 4)),
    (nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), (1, 2, 5, 5), (1, 4, 5, 5)),
    (nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3), (1, 2, 2, 2, 2)),
    (nn.ConvTranspose1d(2, 3, 4, 2, 1), (1, 2, 5), (1, 3, 10)),
    (nn.ConvTranspose2d(4, 2, 2, 2, groups=2), (1, 4, 3, 3), (1, 2, 6, 6)),
    (nn.MaxPool1d(2), (1, 2, 5), (1, 2, 2)), (nn.MaxPool2d(3, 2, 1), (1, 2, 5, 5), (1, 2, 3, 3)),
    (nn.AvgPool2d(2), (1, 2, 4, 4), (1, 2, 2, 2)), (nn.AvgPool1d(2), (1, 2, 4), (1, 2, 2)),
    (nn.AdaptiveAvgPool2d(1), (1, 2, 4, 4), (1, 2, 1, 1)),
    (nn.AdaptiveMaxPool2d((2, 1)), (1, 2, 4, 4), (1, 2, 2, 1)),
    (nn.BatchNorm1d(3), (4, 3), (4, 3)), (nn.BatchNorm2d(3), (4, 3, 2, 2), (4, 3, 2, 2)),
    (nn.LayerNorm(3), (2, 3), (2, 3)), (nn.RMSNorm((2, 3)), (4, 2, 3), (4, 2, 3)),
    (nn.GroupNorm(2, 4), (2, 4, 3), (2, 4, 3)), (nn.InstanceNorm2d(3), (2, 3, 4, 4), (2, 3, 4, 4)),
    (nn.LocalResponseNorm(3), (2, 4, 3), (2, 4, 3)), (nn.Dropout(0.5), (2, 3), (2, 3)),
    (nn.Flatten(), (2, 3, 4), (2, 12)), (nn.Unflatten(1, (3, 4)), (2, 12), (2, 3, 4)),
    (nn.PixelShuffle(2), (1, 8, 2, 2), (1, 2, 4, 4)),
    (nn.Upsample(scale_factor=2), (1, 1, 2), (1, 1, 4)),
    (nn.ZeroPad2d(1), (1, 1, 2, 2), (1, 1, 4, 4)),
    (nn.ConstantPad2d((1, 0, 0, 2), 3.0), (1, 1, 2, 2), (1, 1, 4, 3)),
    (nn.ReflectionPad2d(1), (1, 1, 3, 3), (1, 1, 5, 5)), (nn.Unfold(2), (1, 2, 3, 3), (1, 8, 4)),
    (nn.PReLU(3), (2, 3), (2, 3)), (nn.Softmax(dim=0), (2, 3), (2, 3)),
    (nn.GELU("tanh"), (2,), (2,)),
    (nn.LeakyReLU(0.2), (2,), (2,)), (nn.GLU(), (2, 4), (2, 2)),
    (nn.Threshold(0.1, 2.0), (2,), (2,)),
]  # fmt: skip


@pytest.mark.parametrize("case", LAYERS, ids=lambda c: type(c[0]).__name__)
def test_layers(case):
    layer, shape, expected = case
    x = sley.randn(*shape, requires_grad=True)
    y = layer(x)
    assert tuple(y.shape) == expected
    (y * y).sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad is not None and p.grad.shape == p.shape for p in layer.parameters())
    assert type(layer).__name__ in repr(layer)


LOSSES = [
    nn.L1Loss(), nn.MSELoss(), nn.SmoothL1Loss(), nn.HuberLoss(delta=0.5), nn.BCEWithLogitsLoss(),
    nn.CrossEntropyLoss(label_smoothing=0.1), nn.KLDivLoss("batchmean"), nn.PoissonNLLLoss(),
    nn.SoftMarginLoss(),
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=lambda x: type(x).__name__)
def test_losses(loss):
    x = sley.randn(3, 4, requires_grad=True)
    loss(x, sley.rand(3, 4)).backward()
    assert x.grad.abs().sum().item() > 0


def test_loss_weights_are_buffers():
    loss = nn.CrossEntropyLoss(weight=sley.tensor([1.0, 3.0]))
    assert "weight" in loss.state_dict()
    with pytest.raises(TypeError):
        nn.MSELoss(beta=1.0)


def test_first_values():
    sley.manual_seed(0)
    layer = nn.Linear(400, 300)
    bound = 1 / np.sqrt(400)
    weight = layer.weight.detach().array
    assert abs(weight).max() <= bound and abs(weight.std() - bound / np.sqrt(3)) < 1e-3
    assert abs(layer.bias.detach().array).max() <= bound
    conv = nn.Conv2d(4, 8, 3)
    assert abs(conv.weight.detach().array).max() <= 1 / 6
    table = nn.Embedding(50, 20, padding_idx=-1)
    assert (
        table.weight[49].abs().sum().item() == 0 and abs(table.weight[:49].std().item() - 1) < 0.1
    )
    w = sley.empty(60, 40)
    for fill, std in (
        (nn.init.xavier_normal_, np.sqrt(2 / 100)), (nn.init.xavier_uniform_, np.sqrt(2 / 100)),
        (nn.init.kaiming_normal_, np.sqrt(2 / 40)), (nn.init.normal_, 1),
    ):  # fmt: skip
        assert abs(fill(w).std().item() / std - 1) < 0.06
    q = nn.init.orthogonal_(w)
    np.testing.assert_allclose((q.T @ q).array, np.eye(40), atol=1e-5)
    cut = nn.init.trunc_normal_(w, std=2.0)
    assert cut.abs().max().item() <= 2
    assert nn.init.calculate_gain("tanh") == 5 / 3
    assert (nn.init.sparse_(sley.empty(10, 3), 0.4) == 0).sum(0).tolist() == [4, 4, 4]


def test_running_statistics_of_a_layer():
    layer = nn.BatchNorm1d(2, momentum=None)
    xs = [sley.randn(6, 2) for _ in range(3)]
    for x in xs:
        layer(x)
    means = np.mean([x.array.mean(0) for x in xs], 0)
    np.testing.assert_allclose(layer.running_mean.array, means, rtol=1e-4, atol=1e-6)
    assert layer.num_batches_tracked.item() == 3
    layer.eval()
    y = layer(xs[0])
    assert layer.num_batches_tracked.item() == 3 and y.shape == (6, 2)


def test_clipping_and_vectors():
    layer = nn.Linear(3, 2)
    (layer(sley.ones(1, 3)) * 100).sum().backward()
    before = np.concatenate([p.grad.array.ravel() for p in layer.parameters()])
    total = nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    assert total.item() == pytest.approx(np.linalg.norm(before), rel=1e-5)
    after = np.concatenate([p.grad.array.ravel() for p in layer.parameters()])
    np.testing.assert_allclose(after, before / (np.linalg.norm(before) + 1e-6), rtol=1e-5)
    nn.utils.clip_grad_value_(layer.parameters(), 0.01)
    assert all(p.grad.abs().max().item() <= 0.01 for p in layer.parameters())
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(vector * 0 + 1, layer.parameters())
    assert vector.shape == (8,) and layer.weight.detach().sum().item() == 6
