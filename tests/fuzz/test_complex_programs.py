"""Random programs of complex tensors with writes through views: eager against compiled, with their
gradients."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import sley
import sley.fft
from sley import Tensor


def parts_written(z: Tensor) -> Tensor:
    z = z.clone()
    z.real.mul_(0.5)
    z.imag[:, 0] = 1
    sley.view_as_real(z)[..., 1].add_(0.25)
    return z


def rows_written(z: Tensor) -> Tensor:
    z = z * 1
    z[:, 1].mul_(1j)
    z[0] = 2
    return z


ONE: list[Callable[[Tensor], Tensor]] = [
    sley.exp, sley.sin, sley.tanh, sley.sqrt, sley.conj, sley.sgn, parts_written, rows_written,
    lambda z: 1 / (z + 2),
    lambda z: z.T.flip(0).T,
    lambda z: z.cumsum(0) - z.mean(0),
    lambda z: z.cumprod(1),
    lambda z: sley.complex(z.imag, z.real),
    lambda z: sley.view_as_complex(sley.view_as_real(z) * 2),
    lambda z: sley.fft.fft(z, dim=1) / 3,
    lambda z: z.abs() + 0j * z,
    lambda z: sley.where(z.real > 0, z, -z),
    lambda z: z[:, [2, 0, 1]],
    lambda z: sley.log(z + 3),
    lambda z: sley.cat([z[:, 1:], z[:, :1]], 1),
    lambda z: z @ z[:3].mH,
]  # fmt: skip
TWO: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda a, b: a * b,
    lambda a, b: a / (b + 3),
    lambda a, b: sley.where(a.abs() > b.abs(), a, b),
    lambda a, b: a**2 - b.real,
]


@pytest.mark.parametrize("seed", range(10))
def test_a_random_program(seed: int) -> None:
    chosen = random.Random(seed)
    steps = [(chosen.choice(ONE), chosen.choice([None, *TWO])) for _ in range(5)]
    sley.manual_seed(seed)
    start = sley.randn(4, 3, dtype=sley.complex128)

    def program(z: Tensor) -> tuple[Tensor, Tensor]:
        leaf = z.detach().requires_grad_()
        value = leaf * 1
        for one, two in steps:
            value = one(value) if two is None else two(one(value), leaf)
        value.abs().sum().backward()
        assert leaf.grad is not None
        return value.detach(), leaf.grad

    for found, expected in zip(sley.compile(program)(start), program(start), strict=True):
        size = np.nanmax(np.abs(np.nan_to_num(expected.numpy(), posinf=0, neginf=0)))
        np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-8, 1e-10 * (1 + size))
