"""Which tensors on a GPU have memory of their own."""

from __future__ import annotations

import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


@pytest.mark.parametrize("shape", [(4, 3), (12,), (2, 6)])
def test_gradients_of_one_sum_are_apart(shape):
    a = sley.ones(4, 3, device="cuda", requires_grad=True)
    b = sley.ones(shape, device="cuda", requires_grad=True)
    ((a + b.reshape(4, 3)) * (sley.ones(4, 3, device="cuda") * 2)).sum().backward()
    a.grad.zero_()
    assert b.grad.sum().item() == 24


def test_gradients_of_views_of_one_leaf_are_apart():
    a = sley.ones(6, device="cuda", requires_grad=True)
    b = sley.ones(6, device="cuda", requires_grad=True)
    found = sley.autograd.grad(((a.view(2, 3) + b.view(2, 3)) ** 2).sum(), [a, b])
    found[0].mul_(0)
    assert found[1].tolist() == [4] * 6


def test_what_a_rule_reads_is_known_to_be_overwritten():
    x = sley.linspace(0.1, 1, 12, device="cuda").requires_grad_()
    y = sley.einsum("i,j->ij", x, x).exp().flatten()
    y.zero_()
    with pytest.raises(sley.AutogradError, match="overwritten"):
        y.sum().backward()


def test_numbers_of_the_processor_are_written_at_indices():
    rows, five = sley.tensor([1, 3], device="cuda"), sley.tensor(5.0)
    x = sley.zeros(4, 2, device="cuda")
    x[rows] = five
    x[[0, 2], 1] = five
    x.index_fill_(0, rows, five * 2)
    x.index_put_((rows,), five, accumulate=True)
    assert x.tolist() == [[0, 5], [15, 15], [0, 5], [15, 15]]
    with pytest.raises(sley.DeviceError, match="lies on cpu"):
        x[rows] = sley.ones(2)
