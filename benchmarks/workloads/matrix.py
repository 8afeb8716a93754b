"""Matrix products; operands are not packed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..workload import Arrays, Call, Library, Workload


def _product(m: int, k: int, n: int) -> Workload:
    def inputs(tiny: bool) -> Arrays:
        a, b, c = (min(size, 29) if tiny else size for size in (m, k, n))
        rng = np.random.default_rng(0)
        return [rng.standard_normal(s).astype(np.float32) for s in ((a, b), (b, c))]

    name = f"product {m}x{k}x{n}" if len({m, k, n}) > 1 else f"product {m}³"
    return Workload(name, "matrix products", inputs, _numpy, _torch_like, _jax, flops=2 * m * k * n)


def _numpy(arrays: Arrays) -> Call:
    a, b = arrays
    return lambda: a @ b


def _torch_like(library: Library, tensors: Sequence[Any]) -> Call:
    a, b = tensors
    function = library.compile(lambda a, b: a @ b)
    return lambda: function(a, b)


def _jax(jax: Any, arrays: Sequence[Any]) -> Call:
    a, b = arrays
    function = jax.jit(lambda a, b: a @ b)
    return lambda: function(a, b).block_until_ready()


WORKLOADS = (
    _product(256, 256, 256),
    _product(384, 384, 384),
    _product(511, 511, 511),
    _product(1000, 1000, 1000),
    _product(1024, 1024, 1024),
    _product(768, 3072, 512),
)
