"""Memory of a GPU shared with other libraries: DLPack and `__cuda_array_interface__`."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
from sley.frontend import dlpack

CUDA = sley.device("cuda", 0)
DTYPES = [
    "bool",
    "uint8",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


class Library:
    """An array of another library: memory that it has on the GPU."""

    def __init__(self, tensor: sley.Tensor, **changes) -> None:
        self._tensor = tensor  # its memory stands for that of the library
        self._changes = changes
        self.streams: list = []

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, *, stream=None, max_version=None):
        self.streams.append(stream)
        return self._tensor.__dlpack__(stream=-1, max_version=max_version)

    @property
    def __cuda_array_interface__(self):
        return {**self._tensor.__cuda_array_interface__, **self._changes}


def drawn(*shape: int) -> sley.Tensor:
    return sley.tensor(np.random.default_rng(0).normal(size=shape), device="cuda")


def exported() -> int:
    gc.collect()
    return len(dlpack._exported)


# Handing over


@pytest.mark.parametrize("dtype", DTYPES)
def test_capsules_tell_device_strides_and_place(dtype):
    x = sley.arange(12, device="cuda").reshape(3, 4).to(getattr(sley, dtype))
    for view in (x, x.T, x[1], x[:, 1::2], x[1:].T):
        taken = dlpack.take(view.__dlpack__(max_version=(1, 0), stream=1))
        assert (taken.gpu, taken.dtype, taken.shape) == (0, view.dtype, tuple(view.shape))
        assert taken.strides == view.stride() and taken.address == view.data_ptr()
        assert taken.writable and taken.array is None
    assert x[1].data_ptr() - x.data_ptr() == 4 * x.itemsize
    assert x.__dlpack_device__() == (2, 0) and x.cpu().__dlpack_device__() == (1, 0)


def test_memory_lives_as_long_as_the_capsule(gpu):
    before, x = exported(), drawn(3, 4)
    address, capsule = x.data_ptr(), x.__dlpack__()
    held = sley.cuda.memory_allocated()
    del x
    assert sley.cuda.memory_allocated() == held and exported() == before + 1
    taken = dlpack.take(capsule)
    assert taken.address == address
    del taken, capsule
    assert exported() == before and sley.cuda.memory_allocated() < held


def test_the_streams_of_takers_wait(gpu):
    x = drawn(3)
    sley.cuda.synchronize()
    gpu.driver.ordered.clear()
    for stream in (None, 1, 77, -1):
        x.__dlpack__(stream=stream, max_version=(1, 0))
    sley.cuda.synchronize()
    assert gpu.driver.ordered == [(0, 1), (0, 1), (0, 77)]
    with pytest.raises(BufferError, match="stream=0"):
        x.__dlpack__(stream=0)


def test_a_copy_is_apart():
    x = drawn(3)
    assert dlpack.take(x.__dlpack__(stream=1, copy=True)).address != x.data_ptr()
    array = np.from_dlpack(x, device="cpu")
    np.testing.assert_array_equal(array, x.cpu().numpy())
    with pytest.raises(BufferError, match="the memory is that of cuda:0"):
        x.__dlpack__(dl_device=(1, 0), copy=False)
    with pytest.raises(BufferError, match="the memory is that of cpu"):
        x.cpu().__dlpack__(dl_device=(2, 0))


def test_readers_that_know_no_gpus():
    x = drawn(3)
    for read in (np.from_dlpack, np.asarray, lambda x: x.numpy(), lambda x: x.__array_interface__):
        with pytest.raises(sley.SleyError, match=r"on cuda:0 is no[\s\S]*x\.cpu\(\)"):
            read(x)
    with pytest.raises(BufferError, match="requires grad"):
        drawn(2).requires_grad_().__dlpack__(stream=1)


def test_the_interface_of_cuda_arrays(gpu):
    x = drawn(3, 4)
    sley.cuda.synchronize()
    gpu.driver.ordered.clear()
    found = x.T.__cuda_array_interface__
    sley.cuda.synchronize()
    assert gpu.driver.ordered == [(0, 1)]
    assert found == {
        "version": 3, "shape": (4, 3), "typestr": "<f8", "data": (x.data_ptr(), False),
        "strides": (8, 32), "stream": 1,
    }  # fmt: skip
    assert x.__cuda_array_interface__["strides"] is None
    assert sley.ones(3, device="cuda").expand(2, 3).__cuda_array_interface__["data"][1]
    for absent in (x.cpu(), x.bfloat16(), x.clone().requires_grad_()):
        assert not hasattr(absent, "__cuda_array_interface__")


# Taking


@pytest.mark.parametrize("take", [sley.from_dlpack, sley.as_tensor])
def test_memory_of_others_is_shared(take):
    x = drawn(4, 6)
    for view in (x, x.T, x[1], x[:, 1::2], x[2:4, 1:3].T, x[:0]):
        found = take(Library(view))
        assert found.device == CUDA and found.shape == view.shape
        assert sley.equal(found * 2, view * 2) and (found.storage is not x.storage)
        if view.numel():
            assert found.data_ptr() == view.data_ptr() and found.stride() == view.stride()
    found[...], take(Library(x[1]))[2:4] = 1, -1
    assert x[1].tolist()[2:4] == [-1, -1] and x[1, 1].item() != -1


def test_a_taken_tensor_is_a_tensor_like_others():
    x = drawn(3, 4)
    w = sley.from_dlpack(Library(x.T)).requires_grad_()
    step = sley.compile(lambda a, b: (a @ b).sum())
    step(x, w).backward()
    assert sley.allclose(w.grad, x.sum(0)[:, None].expand(4, 3))
    assert sley.from_dlpack(Library(x), device="cpu").device == sley.device("cpu")
    assert sley.from_dlpack(Library(x), copy=True).data_ptr() != x.data_ptr()
    with pytest.raises(BufferError, match="needs a copy"):
        sley.from_dlpack(Library(x), device="cpu", copy=False)


def test_owners_are_let_go_after_the_work_that_reads(gpu):
    before, x = exported(), drawn(3)
    library = Library(x)
    found = sley.from_dlpack(library)
    assert library.streams == [1] and exported() == before + 1
    twice = found * 2
    sley.cuda.synchronize()
    assert gpu.driver.ordered[-1] == (1, 0), "what the library has issued comes first"
    del found
    assert exported() == before + 1
    twice + 1
    sley.cuda.synchronize()
    assert exported() == before and gpu.driver.ordered[-1] == (0, 1)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": (0, True)}, "read-only"),
        ({"mask": object()}, "mask"),
        ({"typestr": "<M8[s]"}, "which sley has not"),
        ({"strides": (7,)}, r"strides of \[7\] bytes"),
        ({"strides": (-8,)}, "strides"),
    ],
)
def test_memory_that_is_not_taken(changes, message):
    with pytest.raises(BufferError, match=message):
        sley.as_tensor(Library(drawn(3), **changes))


def test_other_devices():
    class Other(Library):
        kind = (2, 7)

        def __dlpack_device__(self):
            return self.kind

    with pytest.raises(BufferError, match=r"\(2, 7\) of DLPack: there is no device 'cuda:7'"):
        sley.from_dlpack(Other(drawn(2)))
    Other.kind = (8, 0)
    with pytest.raises(BufferError, match=r"\(8, 0\) of DLPack, which sley does not use"):
        sley.from_dlpack(Other(drawn(2)))
    outside = drawn(2)
    with pytest.raises(sley.TraceError, match="while a function is recorded"):
        sley.compile(lambda x: x + sley.from_dlpack(Library(outside)))(drawn(2))


def test_the_standard_tells_the_devices():
    info = sley.xp.__array_namespace_info__()
    assert info.devices() == [sley.device("cpu"), CUDA]
    assert info.default_device() == sley.device("cpu")
    with sley.device("cuda"):
        assert info.default_device() == CUDA
    assert sley.xp.asarray([1.0, 2.0], device=CUDA).to_device("cpu").device == sley.device("cpu")
