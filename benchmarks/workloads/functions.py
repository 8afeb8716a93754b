"""Workloads that are one function of arrays, and its gradients where these are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..workload import Arrays, Call, Library, Workload

Shapes = Sequence[tuple[int, ...]]


def floats(*shapes: tuple[int, ...], tiny: Shapes | None = None) -> Callable[[bool], Arrays]:
    """Normally distributed float32; `tiny` has the shapes for tests, else no size is above 19."""

    def make(is_tiny: bool) -> Arrays:
        small = tiny or [tuple(min(n, 19) for n in shape) for shape in shapes]
        rng = np.random.default_rng(0)
        return [rng.standard_normal(s).astype(np.float32) for s in (small if is_tiny else shapes)]

    return make


def function(
    name: str,
    group: str,
    inputs: Callable[[bool], Arrays],
    torch_like: Callable[..., Any],
    jax: Callable[..., Any] | None,
    numpy: Callable[..., Any] | None = None,
    gradients: int = 0,
    scalar: bool = False,
    **options: Any,
) -> Workload:
    """A workload of functions `torch_like(library, *tensors)`, `jax(jax, *arrays)` and
    `numpy(*arrays)`. With `gradients` its result is also the gradients of the first so many
    inputs; the last input is the cotangent of the result, if this is not `scalar`."""

    def bind_torch_like(library: Library, tensors: Sequence[Any]) -> Call:
        for tensor in tensors[:gradients]:
            tensor.requires_grad_()

        def with_gradients(*tensors: Any) -> Any:
            given = tensors if scalar else tensors[:-1]
            out = torch_like(library, *given)
            cotangent = None if scalar else tensors[-1]
            found = library.module.autograd.grad(out, tensors[:gradients], cotangent)
            return (out, *found)

        def plain(*tensors: Any) -> Any:
            return torch_like(library, *tensors)

        run = library.compile(with_gradients if gradients else plain)
        return lambda: run(*tensors)

    def bind_jax(module: Any, arrays: Sequence[Any]) -> Call:
        assert jax is not None
        of_inputs: Callable[..., Any] = lambda *arrays: jax(module, *arrays)

        def with_gradients(*arrays: Any) -> Any:
            given, cotangent = (arrays, None) if scalar else (arrays[:-1], arrays[-1])
            rest = given[gradients:]
            out, pull = module.vjp(lambda *first: of_inputs(*first, *rest), *given[:gradients])
            return (out, *pull(module.numpy.ones_like(out) if cotangent is None else cotangent))

        run = module.jit(with_gradients if gradients else of_inputs)
        return lambda: module.block_until_ready(run(*arrays))

    def bind_numpy(arrays: Arrays) -> Call:
        assert numpy is not None
        return lambda: numpy(*arrays)

    return Workload(
        name, group, inputs, bind_torch_like, bind_jax if jax else None,
        bind_numpy if numpy else None, **options,
    )  # fmt: skip
