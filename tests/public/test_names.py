"""Public names that are no functions of tensors, and that no other file uses."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sley
from sley import data, nn


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("half", "float16"), ("double", "float64"), ("float", "float32"), ("short", "int16"),
        ("int", "int32"), ("long", "int64"), ("cfloat", "complex64"), ("cdouble", "complex128"),
    ],
)  # fmt: skip
def test_two_names_of_a_dtype(name: str, other: str) -> None:
    assert getattr(sley, name) is getattr(sley, other)


@pytest.mark.parametrize("name", ["int8", "int16", "uint16", "uint32", "uint64"])
def test_integers_wrap_around_at_their_limits(name: str) -> None:
    dtype = getattr(sley, name)
    limits = sley.iinfo(dtype)
    assert (limits.min, limits.max) == (np.iinfo(name).min, np.iinfo(name).max)
    top = sley.from_numpy(np.array([limits.max], name))
    assert top.dtype is dtype and (top + 1).tolist() == [limits.min]


def test_limits_of_floats() -> None:
    for name in ("float16", "float32", "float64"):
        assert sley.finfo(getattr(sley, name)).eps == np.finfo(name).eps


def test_constants() -> None:
    assert (sley.pi, sley.e, sley.inf) == (math.pi, math.e, math.inf) and math.isnan(sley.nan)
    assert sley.ones(2)[sley.newaxis].shape == (1, 2)


def test_errors_are_pythons_and_the_projects() -> None:
    for error, kind in (
        (sley.AutogradError, RuntimeError), (sley.LinAlgError, RuntimeError),
        (sley.TraceError, RuntimeError), (sley.UnsupportedError, NotImplementedError),
    ):  # fmt: skip
        assert issubclass(error, sley.SleyError) and issubclass(error, kind), error
    assert issubclass(sley.LoadError, sley.SleyError)


def test_integers_like_a_tensor() -> None:
    sley.manual_seed(0)
    drawn = sley.randint_like(sley.zeros(500), 2, 5)
    assert drawn.dtype is sley.float32 and set(drawn.tolist()) == {2.0, 3.0, 4.0}
    assert set(sley.zeros(500).random_(3).tolist()) == {0.0, 1.0, 2.0}


def test_the_seed_is_known() -> None:
    sley.manual_seed(12)
    assert sley.initial_seed() == 12
    assert sley.seed() == sley.initial_seed()


def test_modes_of_gradients() -> None:
    x = sley.ones(1, requires_grad=True)
    with sley.no_grad(), sley.enable_grad():
        assert (x * 2).requires_grad
    with sley.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    sley.use_deterministic_algorithms(True)
    assert sley.get_default_dtype() is sley.float32


def test_parts_of_autograd() -> None:
    x = sley.ones(2, requires_grad=True)
    y = (x * 3).sum()
    assert isinstance(y.grad_fn, sley.autograd.GradFn)
    handle = x.register_hook(lambda g: g * 2)
    assert isinstance(handle, sley.autograd.Handle)
    sley.autograd.tensor_backward(y)
    assert x.grad is not None and x.grad.tolist() == [6.0, 6.0]
    part = (x * 3).detach_()
    assert not part.requires_grad and part.is_leaf


def test_bases_of_layers() -> None:
    assert isinstance(nn.LSTM(2, 3), nn.RNNBase) and isinstance(nn.GRUCell(2, 3), nn.RNNCellBase)
    lazy = nn.LazyLinear(3)
    assert isinstance(lazy.weight, nn.UninitializedParameter)
    assert isinstance(nn.LazyBatchNorm1d().running_mean, nn.UninitializedBuffer)
    lazy(sley.ones(2, 4))
    assert lazy.weight.shape == (3, 4) and type(lazy.weight) is nn.Parameter


def test_initialisers_that_are_exact() -> None:
    weight = sley.empty(3, 4)
    for name, after, expected in (
        ("constant_", (2.5,), np.full((3, 4), 2.5)), ("ones_", (), np.ones((3, 4))),
        ("zeros_", (), np.zeros((3, 4))), ("eye_", (), np.eye(3, 4)),
    ):  # fmt: skip
        assert getattr(nn.init, name)(weight, *after) is weight
        np.testing.assert_array_equal(weight.numpy(), expected)
    assert nn.init.fans(sley.empty(6, 4, 3, 3)) == (36, 54)


def test_initialisers_within_bounds() -> None:
    sley.manual_seed(0)
    weight = sley.empty(64, 32)
    for name, after, bound in (
        ("uniform_", (-2.0, 2.0), 2.0), ("kaiming_uniform_", (), math.sqrt(6 / 32)),
    ):  # fmt: skip
        getattr(nn.init, name)(weight, *after)
        assert 0.95 * bound < weight.abs().max().item() <= bound


def test_vectors_of_parameters() -> None:
    layer = nn.Linear(2, 3)
    flat = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(flat * 0 + 1, layer.parameters())
    assert flat.shape == (9,) and layer.weight.sum().item() == 6.0
    layer(sley.ones(1, 2)).sum().backward()
    nn.utils.clip_grad_value_(layer.parameters(), 0.5)
    assert layer.weight.grad is not None and layer.weight.grad.max().item() == 0.5


def test_sequences_without_their_padding() -> None:
    found = nn.utils.rnn.unpad_sequence(sley.arange(6).reshape(3, 2), sley.tensor([3, 1]))
    assert [t.tolist() for t in found] == [[0, 2, 4], [1]]


def test_groups_and_bases_of_optimizers() -> None:
    optimizer = sley.optim.SGD([sley.ones(1, requires_grad=True)], lr=0.5)
    assert isinstance(optimizer, sley.optim.Optimizer)
    assert isinstance(optimizer.param_groups[0], sley.optim.ParamGroup)

    class Halved(sley.optim.lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base * 0.5**self.last_epoch for base in self.base_lrs]

    schedule = Halved(optimizer)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_datasets_one_after_the_other() -> None:
    joined = data.ConcatDataset([[1, 2], [3]])
    assert isinstance(joined, data.Dataset) and [joined[k] for k in range(len(joined))] == [1, 2, 3]
    with pytest.raises(IndexError):
        joined[3]
    info = data.WorkerInfo(1, 4, 7, joined)
    assert (info.id, info.num_workers, info.seed, info.dataset) == (1, 4, 7, joined)


def test_changes_of_examples_have_one_base() -> None:
    for name in ("RandomCrop", "Normalize", "Cutout", "Resize"):
        assert issubclass(getattr(data.transforms, name), data.transforms.Transform)


def test_what_a_tensor_says_of_itself() -> None:
    x = sley.ones(2, 3)
    assert x.nelement() == 6 and x.itemsize == 4 and x.is_floating_point() and not x.is_complex()
