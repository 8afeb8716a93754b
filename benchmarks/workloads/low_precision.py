"""Products of bfloat16, and a training step by autocast to it. The limit stays that of float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..workload import Arrays, Call, Library, Workload
from .functions import Shapes, floats

_GROUP = "matrix products"
_WIDTHS = (784, 512, 512, 10)
_RATE = 0.01


def _of_halves(
    name: str, shapes: Shapes, tiny: Shapes, product: Callable[..., Any], flops: int, gradients: int
) -> Workload:
    """`product(*tensors)`, all of bfloat16; with `gradients` as for `function`."""

    def torch_like(library: Library, tensors: Sequence[Any]) -> Call:
        halves = [tensor.bfloat16() for tensor in tensors]
        for half in halves[:gradients]:
            half.requires_grad_()

        def with_gradients(*given: Any) -> Any:
            out = product(*given[:-1])
            return (out, *library.module.autograd.grad(out, given[:gradients], given[-1]))

        run = library.compile(with_gradients if gradients else product)
        return lambda: run(*halves)

    def jax_like(jax: Any, arrays: Sequence[Any]) -> Call:
        halves = [array.astype(jax.numpy.bfloat16) for array in arrays]

        def with_gradients(*given: Any) -> Any:
            out, pull = jax.vjp(product, *given[:gradients])
            return (out, *pull(given[-1]))

        run = jax.jit(with_gradients if gradients else product)
        return lambda: jax.block_until_ready(run(*halves))

    nbytes = 2 * sum(a * b for a, b in shapes)
    return Workload(
        name, _GROUP, floats(*shapes, tiny=tiny), torch_like, jax_like, flops=flops, nbytes=nbytes,
        tolerance=1e-2,
    )  # fmt: skip


def _product(m: int, k: int, n: int) -> Workload:
    name = f"product {m}x{k}x{n}" if len({m, k, n}) > 1 else f"product {m}³"
    return _of_halves(
        f"bfloat16 {name}", [(m, k), (k, n)], [(29, 27), (27, 19)], lambda a, b: a @ b,
        2 * m * k * n, 0,
    )  # fmt: skip


def _linear(rows: int, inputs: int, outputs: int) -> Workload:
    """A layer without bias: x wᵀ."""
    return _of_halves(
        f"bfloat16 linear {rows}x{inputs}x{outputs}", [(rows, inputs), (outputs, inputs)],
        [(3, 17), (19, 17)], lambda x, w: x @ w.T, 2 * rows * inputs * outputs, 0,
    )  # fmt: skip


def _gradients(rows: int, inputs: int, outputs: int) -> Workload:
    return _of_halves(
        f"bfloat16 linear {rows}x{inputs}x{outputs}, forward and backward",
        [(rows, inputs), (outputs, inputs), (rows, outputs)], [(3, 17), (19, 17), (3, 19)],
        lambda x, w: x @ w.T, 6 * rows * inputs * outputs, 2,
    )  # fmt: skip


def _autocast_step(batch: int) -> Workload:
    """A step of gradient descent of three layers."""

    def make(tiny: bool) -> Arrays:
        rng = np.random.default_rng(0)
        rows, widths = (3, (13, 17, 19, 10)) if tiny else (batch, _WIDTHS)
        weights = [
            (rng.standard_normal((b, a)) / a**0.5).astype(np.float32) for a, b in pairwise(widths)
        ]
        x = rng.standard_normal((rows, widths[0])).astype(np.float32)
        return [x, rng.integers(0, widths[-1], rows), *weights]

    def torch_like(library: Library, tensors: Sequence[Any]) -> Call:
        module, functional = library.module, library.functional
        x, y, *weights = tensors
        for weight in weights:
            weight.requires_grad_()
        optimizer = module.optim.SGD(weights, lr=_RATE)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            with module.autocast("cpu", module.bfloat16):
                for weight in weights[:-1]:
                    x = functional.relu(functional.linear(x, weight))
                scores = functional.linear(x, weights[-1])
                loss = functional.cross_entropy(scores, y)
            loss.backward()
            optimizer.step()
            return loss

        run = library.compile(step)
        return lambda: run(x, y)

    sizes = sum(a * b for a, b in pairwise(_WIDTHS))
    return Workload(
        f"step of three layers, batch {batch}, autocast to bfloat16", "training", make, torch_like,
        flops=6 * batch * sizes - 2 * batch * _WIDTHS[0] * _WIDTHS[1], nbytes=12 * sizes,
        tolerance=1e-2, checked_calls=3,
    )  # fmt: skip


WORKLOADS = (
    _product(64, 64, 64),
    _product(256, 256, 256),
    _product(1000, 1000, 1000),
    _product(1024, 1024, 1024),
    _linear(1, 4096, 4096),
    _linear(16, 4096, 4096),
    _linear(512, 768, 3072),
    _gradients(512, 768, 3072),
    _autocast_step(512),
)
