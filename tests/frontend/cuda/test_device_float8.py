"""Floats of 8 bits in a GPU's memory, and the texts of the kernels that cast them."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_device import as_cuda
from interpreted_gpu import InterpretedGpu
from triton_texts import needs_triton

import sley
from sley.backends.triton.compile import CompiledText, Compiler
from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.target import gpu_target
from sley.passes.schedule_blocks import schedule_blocks

pytestmark = needs_triton
BOTH = pytest.mark.parametrize(
    "dtype", [sley.float8_e4m3fn, sley.float8_e5m2], ids=lambda d: d.public
)


@pytest.fixture
def gpu():
    with as_cuda(InterpretedGpu()) as gpu:
        yield gpu


def both(array: np.ndarray) -> tuple[sley.Tensor, sley.Tensor]:
    host = sley.tensor(array)
    return host, host.to("cuda")


def bits(x: sley.Tensor) -> np.ndarray:
    return x.cpu().numpy().view(np.uint8)


@BOTH
def test_memory_keeps_the_bits(gpu, dtype):
    host, device = both(np.arange(256).astype(np.uint8).view(dtype.numpy))
    assert device.dtype is dtype and device.device.type == "cuda"
    np.testing.assert_array_equal(bits(device), bits(host))
    device[3:5] = 500.0
    host[3:5] = 500.0
    for move in (lambda x: x[1::3], lambda x: sley.cat([x, x[:5]]), lambda x: x.view(16, 16).T):
        np.testing.assert_array_equal(bits(move(device).clone()), bits(move(host).clone()))


@BOTH
def test_every_number_as_another_dtype(gpu, dtype):
    host, device = both(np.arange(256).astype(np.uint8).view(dtype.numpy))
    names = ("float16", "bfloat16", "float32", "float64", "bool")

    def cast(x):
        return [x.to(getattr(sley, name)) for name in names]

    for found, wanted in zip(sley.compile(cast)(device), cast(host), strict=True):
        assert found.dtype is wanted.dtype
        np.testing.assert_array_equal(found.cpu().double().numpy(), wanted.double().numpy())


@BOTH
def test_every_half_rounds_to_the_nearest(gpu, dtype):
    for source in (np.float16, sley.bfloat16.numpy):
        host, device = both(np.arange(1 << 16).astype(np.uint16).view(source))
        found = sley.compile(lambda x: x.to(dtype))(device)
        np.testing.assert_array_equal(bits(found), bits(host.to(dtype)))
    host, device = both(np.arange(-1000, 1000))
    np.testing.assert_array_equal(
        bits(sley.compile(lambda x: x.to(dtype))(device)), bits(host.to(dtype))
    )


def scaled(x8: sley.Tensor, w8: sley.Tensor, scale: sley.Tensor) -> sley.Tensor:
    return (x8.to(sley.bfloat16) @ w8.to(sley.bfloat16).T) * scale


@BOTH
@pytest.mark.parametrize("shape", [(5, 7, 3), (33, 65, 17)], ids=str)
def test_a_scaled_linear(gpu, dtype, shape):
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    _, x = both(rng.standard_normal((rows, inner)).astype(dtype.numpy))
    _, w = both(rng.standard_normal((columns, inner)).astype(dtype.numpy))
    found = sley.compile(scaled)(x, w, sley.tensor(0.03).to("cuda"))
    exact = x.cpu().double().numpy() @ w.cpu().double().numpy().T * 0.03
    np.testing.assert_allclose(found.cpu().double().numpy(), exact, 2e-2, 2e-2)


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_texts_become_machine_code_on_every_gpu(target):
    """Also where there are no instructions for these floats."""

    def casts(x):
        return x.to(sley.float8_e4m3fn).float(), x.to(sley.float8_e5m2).bfloat16()

    graph = sley.compile(casts).lower(sley.ones(300)).kernels[0].graph
    target = gpu_target(target)
    text = kernel_text(graph, schedule_blocks(graph, target), "casts")
    compiler = Compiler(1)
    try:
        assert isinstance(compiler.compile(text, target), CompiledText)
    finally:
        compiler.close()
