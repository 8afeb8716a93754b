"""Copies, pickles and files of tensors on a GPU."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
from sley import nn, optim
from sley.runtime.cuda import device as devices
from sley.runtime.cuda.errors import NoDeviceError

CPU, CUDA = sley.device("cpu"), sley.device("cuda", 0)


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


@pytest.fixture
def gone(gpu, monkeypatch):
    """From its call on, a machine without a GPU."""

    def missing(number=0):
        raise NoDeviceError("no NVIDIA driver was found")

    return lambda: monkeypatch.setattr(devices, "device", missing)


def drawn(*shape: int) -> sley.Tensor:
    return sley.tensor(np.random.default_rng(0).normal(size=shape), device="cuda")


def trained(device: str, kind=optim.AdamW) -> tuple[nn.Module, optim.Optimizer]:
    sley.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(device)
    optimizer = kind(model.parameters(), lr=0.1)
    train(model, optimizer, device)
    return model, optimizer


def train(model: nn.Module, optimizer: optim.Optimizer, device: str) -> float:
    x = sley.arange(15.0, device=device).reshape(5, 3) / 10
    optimizer.zero_grad()
    loss = (model(x) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


# Copies


def test_a_copy_shares_memory_and_a_deep_one_does_not():
    x = drawn(3, 4).requires_grad_()
    (x * 2).sum().backward()
    other, deep = copy.copy(x), copy.deepcopy(x)
    assert other.storage is x.storage and other.requires_grad
    assert deep.device == deep.grad.device == CUDA and deep.storage is not x.storage
    assert sley.equal(deep, x) and sley.equal(deep.grad, x.grad)


def test_views_of_one_memory_stay_views():
    x = drawn(3, 4)
    for made in (copy.deepcopy([x, x.T, x[1]]), pickle.loads(pickle.dumps([x, x.T, x[1]]))):
        whole, turned, row = made
        assert {t.device for t in made} == {CUDA} and turned.stride() == x.T.stride()
        assert sley.equal(whole, x) and sley.equal(turned, x.T)
        whole[1] = 7
        assert row.tolist() == turned[:, 1].tolist() == [7] * 4


def test_models_and_optimizers_go_through_pickles():
    model, optimizer = trained("cuda")
    same, again = pickle.loads(pickle.dumps((model, optimizer)))
    assert {p.device for p in same.parameters()} == {CUDA}
    assert train(same, again, "cuda") == train(model, optimizer, "cuda")


def test_a_pickle_needs_the_device(gone):
    text = pickle.dumps(drawn(2))
    gone()
    with pytest.raises(sley.ArgumentError, match=r"'cuda:0'.*no NVIDIA driver"):
        pickle.loads(text)


# Files


def saved() -> bytes:
    x = drawn(3, 4)
    file = io.BytesIO()
    parts = {"x": x, "turned": x.T, "cpu": sley.ones(2), "deep": [nn.Parameter(drawn(2))]}
    sley.save({**parts, "row": x[1], "complex": sley.view_as_complex(drawn(2, 2))}, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "where, expected, of_cpu",
    [
        (None, CUDA, CPU),
        ("cpu", CPU, CPU),
        ("cuda", CUDA, CUDA),
        (sley.device("cuda", 0), CUDA, CUDA),
        ({"cuda:0": "cpu"}, CPU, CPU),
        ({"cpu": "cuda:0"}, CUDA, CUDA),
        (lambda storage, name: storage, CPU, CPU),
        (lambda storage, name: storage.cuda(0), CUDA, CUDA),
        (lambda storage, name: None, CUDA, CPU),
        (lambda storage, name: {"cuda:0": "cpu", "cpu": "cuda"}[name], CPU, CUDA),
    ],
)
def test_files_tell_the_device_and_map_location_another(where, expected, of_cpu):
    found = sley.load(io.BytesIO(saved()), where)
    parts = [found["x"], found["turned"], found["row"], found["deep"][0], found["complex"]]
    assert [t.device for t in parts] == [expected] * 5 and found["cpu"].device == of_cpu
    x = drawn(3, 4)
    assert sley.equal(found["turned"].cpu(), x.T.cpu()) and found["turned"].stride() == (1, 4)
    assert sley.equal(found["complex"].cpu(), sley.view_as_complex(drawn(2, 2)).cpu())
    found["x"][1] = 5
    assert found["row"].tolist() == [5] * 4 and isinstance(found["deep"][0], nn.Parameter)


def test_a_file_of_a_gpu_on_a_machine_without_one(gone):
    data = saved()
    gone()
    with pytest.raises(sley.LoadError, match=r"'cuda:0'.*no NVIDIA driver[\s\S]*map_location"):
        sley.load(io.BytesIO(data))
    with pytest.raises(sley.ArgumentError, match="no device 'cuda:0'"):
        sley.load(io.BytesIO(data), "cuda")
    assert sley.load(io.BytesIO(data), "cpu")["x"].device == CPU


def test_a_function_that_gives_no_place():
    with pytest.raises(sley.ArgumentError, match="returned a int"):
        sley.load(io.BytesIO(saved()), lambda storage, name: 3)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_formats_of_others_have_no_devices(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    sley.save({"x": drawn(3, 4).T}, path)
    assert sley.load(path)["x"].device == CPU
    found = sley.load(path, map_location="cuda")["x"]
    assert found.device == CUDA and sley.equal(found, drawn(3, 4).T)


# State


def test_parameters_stay_where_they_are(tmp_path):
    model, _ = trained("cuda")
    other, _ = trained("cpu")
    for given in (
        other.state_dict(),
        {name: t.numpy() for name, t in other.state_dict().items()},
    ):
        for parameter in model.parameters():
            parameter.data.zero_()
        model.load_state_dict(given)
        assert {t.device for t in model.state_dict().values()} == {CUDA}
        assert sley.equal(model[0].weight.cpu(), other[0].weight)
    model[0].bias.data.fill_(3)
    other.load_state_dict(model.state_dict())
    assert other[0].bias.device == CPU and other[0].bias.tolist() == [3] * 4
    sley.save(model.state_dict(), tmp_path / "model.sley")
    other[0].bias.data.zero_()
    other.load_state_dict(str(tmp_path / "model.sley"))
    assert other[0].bias.device == CPU and other[0].bias.tolist() == [3] * 4


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW, optim.RMSprop, optim.Adagrad])
def test_the_state_of_an_optimizer_goes_where_its_parameters_are(kind):
    here, there = trained("cpu", kind), trained("cuda", kind)
    there[0].load_state_dict(here[0].state_dict())
    there[1].load_state_dict(here[1].state_dict())
    for state in there[1].state.values():
        assert all(t.device == CUDA for t in state.values() if t.ndim)
    expected = [train(*here, "cpu") for _ in range(2)]
    np.testing.assert_allclose([train(*there, "cuda") for _ in range(2)], expected, rtol=1e-4)


def test_gradients_lie_beside_their_tensor():
    x = drawn(3).requires_grad_()
    with pytest.raises(sley.DeviceError, match=r"on cuda:0 cannot lie on cpu[\s\S]*x.to\(\"cuda:0"):
        x.grad = sley.zeros(3, dtype=sley.float64)
    assert x.grad is None
