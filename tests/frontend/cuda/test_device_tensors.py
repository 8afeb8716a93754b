"""Tensors in a GPU's memory: what they hold is what the processor's would."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
from sley.frontend.accelerator import dense_address


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


def both(array: np.ndarray) -> tuple[sley.Tensor, sley.Tensor]:
    """The same elements on both devices."""
    host = sley.tensor(array)
    return host, host.to("cuda")


def assert_same(device: sley.Tensor, host: sley.Tensor) -> None:
    assert device.device == sley.device("cuda", 0) and host.device == sley.device("cpu")
    assert (device.dtype, device.shape) == (host.dtype, host.shape)
    np.testing.assert_array_equal(device.cpu().numpy(), host.numpy())


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


VIEWS = {
    "row": lambda x: x[1],
    "rows": lambda x: x[1:3],
    "column": lambda x: x[:, 1],
    "steps": lambda x: x[::2, 1::3],
    "transposed": lambda x: x.T,
    "transposed part": lambda x: x.T[1:3],
    "expanded": lambda x: x[:, None].expand(4, 3, 5),
    "reshaped": lambda x: x.view(2, 2, 5),
    "diagonal": lambda x: x.diagonal(),
    "strided": lambda x: x.as_strided((2, 3), (5, 2), 1),
    "none": lambda x: x[4:],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory(name):
    host, device = both(draw(4, 5))
    view, expected = VIEWS[name](device), VIEWS[name](host)
    assert view.storage is device.storage
    assert view.stride() == expected.stride() and view.is_contiguous() == expected.is_contiguous()
    assert_same(view, expected)
    assert_same(view * 2 + view, expected * 2 + expected)
    assert_same(view.sum(0), expected.sum(0))
    device.mul_(3)
    host.mul_(3)
    assert_same(view, expected)


@pytest.mark.parametrize("name", sorted(set(VIEWS) - {"expanded"}))
def test_writes_through_views(name):
    host, device = both(draw(4, 5))
    for x in (host, device):
        view = VIEWS[name](x)
        view.add_(1)
        view.copy_(view * 2)
        view.fill_(7) if name == "column" else view.clamp_(max=1)
    assert_same(device, host)


def test_writes_that_read_what_they_write():
    host, device = both(draw(6, 5))
    for x in (host, device):
        x[1:] = x[:-1].clone()
        x[:3] = x[3:]
        x[:, 1:] = x[:, :-1].clone()
        x.copy_(x.flip(0))
        x += x.sum(0)
        x[0] -= x[0]
    assert_same(device, host)


def test_overlapping_writes_are_read_before():
    """Both sides are views of one memory."""
    array = draw(5, 5)
    host, device = both(array)
    device[1:] = device[:-1]
    np.testing.assert_array_equal(device.cpu().numpy()[1:], array[:-1])
    device.copy_(host)
    device.copy_(device.T)
    np.testing.assert_array_equal(device.cpu().numpy(), array.T)


def test_rows_without_gaps_are_pieces_of_memory():
    _, device = both(draw(4, 5))
    assert dense_address(device[2].storage, device[2].path) == device.storage.pointer + 40
    assert dense_address(device.storage, device[:, 1].path) is None
    parts = sley.view_as_real(sley.ones(2, 3, dtype=sley.complex64, device="cuda")[1])
    assert dense_address(parts.storage, parts.path) == parts.storage.pointer + 24


def test_programs_are_shared_by_rows_and_sizes(gpu):
    _, device = both(draw(64, 5))
    for row in range(3):
        device[row] + 1
    before = len(gpu.compiler.compiled)
    for row in range(3, 60):
        device[row] + 1
    assert len(gpu.compiler.compiled) == before
    bias = sley.ones(5, device="cuda")
    for rows in (7, 8):
        device[:rows] * bias
    before = len(gpu.compiler.compiled)
    for rows in range(9, 60):
        device[:rows] * bias
    assert len(gpu.compiler.compiled) == before


def test_numbers_need_no_program_of_their_own(gpu):
    _, device = both(draw(3))
    device * 1.5
    before = len(gpu.compiler.compiled)
    for number in range(20):
        device * (number + 0.25)
    assert len(gpu.compiler.compiled) == before


def test_moves():
    host, device = both(draw(3, 4))
    assert device.to("cuda") is device and device.cuda() is device and host.cpu() is host
    assert device.to("cuda:0") is device and device.to(device) is device
    assert device.is_cuda and not device.is_cpu and host.is_cpu
    assert_same(device.to(sley.float64), host.to(sley.float64))
    assert_same(host.to("cuda", sley.float16), host.to(sley.float16))
    back = device.T.cpu()
    assert back.device.type == "cpu"
    np.testing.assert_array_equal(back.numpy(), host.T.numpy())


def test_gradients_go_through_moves():
    host = sley.tensor(draw(3, 4)).requires_grad_()
    weight = sley.tensor(draw(4, 2, seed=1)).to("cuda").requires_grad_()
    assert weight.is_leaf and weight.device.type == "cuda"
    (host.to("cuda") @ weight).square().cpu().sum().backward()
    assert host.grad is not None and host.grad.device.type == "cpu"
    assert weight.grad is not None and weight.grad.device.type == "cuda"
    expected = sley.tensor(draw(3, 4)).requires_grad_()
    (expected @ weight.detach().cpu()).square().sum().backward()
    np.testing.assert_allclose(host.grad.numpy(), expected.grad.numpy(), rtol=1e-5)


def test_numbers_of_the_processor_take_part():
    host, device = both(draw(3))
    scale = sley.tensor(2.5)
    assert_same(device * scale, host * scale)
    scale.requires_grad_()
    (device * scale).sum().backward()
    assert scale.grad.device.type == "cpu"
    assert scale.grad.item() == pytest.approx(host.sum().item(), rel=1e-6)


def test_devices_do_not_mix():
    host, device = both(draw(3, 4))
    with pytest.raises(sley.SleyError, match="lies on cpu, another one on cuda:0") as caught:
        device + host
    assert isinstance(caught.value, sley.DeviceError)
    assert 'x.to("cuda:0")' in str(caught.value) and "test_device_tensors.py" in str(caught.value)
    with pytest.raises(sley.SleyError, match="on cuda:0 is no numpy array"):
        device.numpy()
    with pytest.raises(sley.SleyError, match=r"x\.cpu\(\)"):
        np.asarray(device)
    device.copy_(host + 1)  # a copy may
    assert_same(device, host + 1)
    host.copy_(device)
    assert_same(device, host)


def test_no_other_gpu():
    with pytest.raises(sley.ArgumentError, match="no device 'cuda:1'"):
        sley.zeros(3, device="cuda:1")


def test_what_is_read():
    _, device = both(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert device[1, 2].item() == 5.0 and float(device[0, 1]) == 1.0 and bool(device[1, 1])
    assert device.tolist() == [[0, 1, 2], [3, 4, 5]] and 4 in device and 9 not in device
    assert repr(device[0]) == "tensor([0., 1., 2.], device='cuda:0')"
    assert f"{device[0, 2]:.1f}" == "2.0" and len(device) == 2


def test_index_errors_are_told_at_once():
    _, device = both(draw(4, 5))
    with pytest.raises(sley.IndexingError, match="index 4 is out of range"):
        device[sley.tensor([0, 4], device="cuda")]
    with pytest.raises(sley.IndexingError, match="out of range"):
        device.gather(1, sley.tensor([[5]], device="cuda"))


MAKERS = {
    "zeros": lambda **k: sley.zeros(2, 3, **k),
    "full": lambda **k: sley.full((2, 3), 1.5, **k),
    "empty": lambda **k: sley.empty(0, 3, **k),
    "arange": lambda **k: sley.arange(5, **k),
    "linspace": lambda **k: sley.linspace(0, 1, 5, **k),
    "eye": lambda **k: sley.eye(3, **k),
    "tensor": lambda **k: sley.tensor([[1, 2], [3, 4]], **k),
    "rand": lambda **k: sley.rand(3, 5, **k),
    "randn": lambda **k: sley.randn(3, 5, **k),
    "randint": lambda **k: sley.randint(0, 9, (7,), **k),
    "randperm": lambda **k: sley.randperm(9, **k),
    "hann": lambda **k: sley.hann_window(6, **k),
}


@pytest.mark.filterwarnings("ignore:.*runs on the host")
@pytest.mark.parametrize("name", MAKERS)
def test_new_tensors(name):
    made = []
    for device in ("cpu", "cuda"):
        sley.manual_seed(3)
        made.append(MAKERS[name](device=device))
    sley.manual_seed(3)
    with sley.device("cuda"):
        made.append(MAKERS[name]())
    host, device, inside = made
    for other in (device, inside):
        assert other.device.type == "cuda" and other.dtype == host.dtype
        np.testing.assert_allclose(other.cpu().numpy(), host.numpy(), rtol=1e-6)
    assert MAKERS[name]().device.type == "cpu"


def test_likenesses():
    _, device = both(draw(2, 3))
    for made in (
        sley.zeros_like(device), sley.rand_like(device), device.new_ones(4), device.new_tensor([1]),
        sley.full_like(device, 2), sley.nn.functional.dropout(device), device.bernoulli(0.5),
        sley.nn.functional.one_hot(sley.tensor([0, 2], device="cuda")), sley.nonzero(device),
        device.unique(), device[device > 0], device.sort()[1], sley.tril(device),
    ):  # fmt: skip
        assert made.device.type == "cuda"


def test_a_default_device():
    sley.set_default_device("cuda")
    try:
        assert sley.ones(2).device.type == "cuda" and sley.tensor([1.0]).device.type == "cuda"
        assert sley.nn.Linear(2, 3).weight.device.type == "cuda"
        with sley.device("cpu"):
            assert sley.ones(2).device.type == "cpu"
        assert sley.get_default_device() == sley.device("cuda", 0)
    finally:
        sley.set_default_device(None)
    assert sley.ones(2).device.type == "cpu"


def test_memory_comes_back():
    sley.ones(1 << 16, device="cuda")
    before = sley.cuda.memory_allocated()
    x = sley.ones(1 << 16, device="cuda")
    view = x[5:10]
    del x
    assert sley.cuda.memory_allocated() == before + (1 << 18)
    del view
    assert sley.cuda.memory_allocated() == before


def test_no_memory_left():
    with pytest.raises(sley.OutOfMemoryError, match="the GPU has no memory left") as caught:
        sley.ones(1 << 26, device="cuda")
    assert "test_device_tensors.py" in str(caught.value) and "256.00 MiB asked for" in str(
        caught.value
    )
