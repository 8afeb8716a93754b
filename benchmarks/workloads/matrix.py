"""Matrix products; operands are not packed beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..workload import Workload
from .functions import floats, function

_GROUP = "matrix products"


def _product(m: int, k: int, n: int) -> Workload:
    name = f"product {m}x{k}x{n}" if len({m, k, n}) > 1 else f"product {m}³"
    small = [min(size, 29) for size in (m, k, n)]
    return function(
        name, _GROUP, floats((m, k), (k, n), tiny=[(small[0], small[1]), (small[1], small[2])]),
        lambda library, a, b: a @ b, lambda jax, a, b: a @ b, lambda a, b: a @ b,
        flops=2 * m * k * n, nbytes=4 * (m * k + k * n + m * n), tolerance=1e-4, exported=True,
    )  # fmt: skip


def _batched(batch: int, m: int, k: int, n: int) -> Workload:
    return function(
        f"product {batch} times {m}x{k}x{n}", _GROUP,
        floats((batch, m, k), (batch, k, n), tiny=[(3, 17, 5), (3, 5, 19)]),
        lambda library, a, b: a @ b, lambda jax, a, b: a @ b, lambda a, b: a @ b,
        flops=2 * batch * m * k * n, nbytes=4 * batch * (m * k + k * n + m * n), tolerance=1e-4,
        exported=True,
    )  # fmt: skip


def _linear(rows: int, inputs: int, outputs: int) -> Workload:
    """A layer with exact gelu: x wᵀ + b, then an epilogue."""
    return function(
        f"linear with gelu {rows}x{inputs}x{outputs}", _GROUP,
        floats((rows, inputs), (outputs, inputs), (outputs,), tiny=[(3, 17), (19, 17), (19,)]),
        lambda library, x, w, b: library.functional.gelu(library.functional.linear(x, w, b)),
        lambda jax, x, w, b: jax.nn.gelu(x @ w.T + b, approximate=False),
        flops=2 * rows * inputs * outputs, tolerance=1e-4, exported=True,
        nbytes=4 * (rows * inputs + inputs * outputs + rows * outputs),
    )  # fmt: skip


def _gradients(rows: int, inputs: int, outputs: int) -> Workload:
    return function(
        f"linear {rows}x{inputs}x{outputs}, forward and backward", _GROUP,
        floats(
            (rows, inputs), (outputs, inputs), (rows, outputs), tiny=[(3, 17), (19, 17), (3, 19)]
        ),
        lambda library, x, w: library.functional.linear(x, w), lambda jax, x, w: x @ w.T,
        gradients=2, flops=6 * rows * inputs * outputs, tolerance=1e-4,
    )  # fmt: skip


def _transposed(size: int) -> tuple[Workload, ...]:
    forms: list[tuple[str, Callable[[Any, Any], Any]]] = [
        ("aᵀb", lambda a, b: a.T @ b),
        ("abᵀ", lambda a, b: a @ b.T),
    ]
    return tuple(
        function(
            f"product {size}³, {name}", _GROUP, floats((size, size), (size, size)),
            lambda library, a, b, of=of: of(a, b), lambda jax, a, b, of=of: of(a, b), of,
            flops=2 * size**3, tolerance=1e-4, exported=True,
        )
        for name, of in forms
    )  # fmt: skip


def _matrix_vector(m: int, n: int) -> Workload:
    return function(
        f"matrix-vector {m}x{n}", _GROUP, floats((m, n), (n,)), lambda library, a, x: a @ x,
        lambda jax, a, x: a @ x, lambda a, x: a @ x, nbytes=4 * (m * n + m + n), tolerance=1e-4,
        exported=True,
    )  # fmt: skip


WORKLOADS = (
    _product(32, 32, 32),
    _product(64, 64, 64),
    _product(128, 128, 128),
    _product(256, 256, 256),
    _product(384, 384, 384),
    _product(511, 511, 511),
    _product(1000, 1000, 1000),
    _product(1024, 1024, 1024),
    _product(2048, 2048, 2048),
    _product(768, 3072, 512),
    _product(1001, 77, 333),
    _product(4096, 64, 4096),
    _product(16, 4096, 4096),
    _product(4096, 4096, 16),
    _product(64, 65536, 64),
    _batched(48, 512, 64, 512),
    _batched(1000, 31, 33, 29),
    *_transposed(1024),
    _matrix_vector(4096, 4096),
    _product(1, 4096, 4096),
    _linear(512, 768, 3072),
    _linear(1, 1024, 1024),
    _gradients(512, 768, 3072),
)
