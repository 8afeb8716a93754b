"""Elementwise chains, and reductions of rows and columns: memory is the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..workload import Arrays, Call, Library, Workload

_ROOT = np.float32(np.sqrt(2 / np.pi))


def _inputs(shape: tuple[int, ...]) -> Callable[[bool], Arrays]:
    def make(tiny: bool) -> Arrays:
        sizes = tuple(min(n, 37) for n in shape) if tiny else shape
        return [np.random.default_rng(0).standard_normal(sizes).astype(np.float32)]

    return make


def _workload(
    name: str,
    shape: tuple[int, ...],
    numpy: Callable[[np.ndarray], np.ndarray],
    torch_like: Callable[[Library, Any], Any],
    jax: Callable[[Any, Any], Any],
    written: int,
    tolerance: float = 1e-5,
) -> Workload:
    def bind_numpy(arrays: Arrays) -> Call:
        (x,) = arrays
        return lambda: numpy(x)

    def bind_torch_like(library: Library, tensors: Sequence[Any]) -> Call:
        (x,) = tensors
        function = library.compile(lambda x: torch_like(library, x))
        return lambda: function(x)

    def bind_jax(module: Any, arrays: Sequence[Any]) -> Call:
        (x,) = arrays
        function = module.jit(lambda x: jax(module, x))
        return lambda: function(x).block_until_ready()

    nbytes = 4 * (int(np.prod(shape)) + written)
    return Workload(
        name, "rows and elementwise", _inputs(shape), bind_numpy, bind_torch_like, bind_jax,
        nbytes=nbytes, tolerance=tolerance,
    )  # fmt: skip


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _layer_norm(x: np.ndarray) -> np.ndarray:
    centered = x - x.mean(1, keepdims=True)
    return centered / np.sqrt(np.square(centered).mean(1, keepdims=True) + np.float32(1e-5))


def _jax_layer_norm(jax: Any, x: Any) -> Any:
    centered = x - x.mean(1, keepdims=True)
    return centered * jax.lax.rsqrt((centered**2).mean(1, keepdims=True) + 1e-5)


def _gelu(x: np.ndarray) -> np.ndarray:
    half, one, cubic = np.float32(0.5), np.float32(1), np.float32(0.044715)
    return half * x * (one + np.tanh(_ROOT * (x + cubic * x * x * x)))


def _softmax_at(rows: int, columns: int) -> Workload:
    return _workload(
        f"softmax {rows}x{columns}",
        (rows, columns),
        _softmax,
        lambda library, x: library.functional.softmax(x, dim=1),
        lambda jax, x: jax.nn.softmax(x, axis=1),
        written=rows * columns,
    )


def _layer_norm_at(rows: int, columns: int) -> Workload:
    return _workload(
        f"layer norm {rows}x{columns}",
        (rows, columns),
        _layer_norm,
        lambda library, x: library.functional.layer_norm(x, (x.shape[1],)),
        _jax_layer_norm,
        written=rows * columns,
    )


def _column_sum_at(rows: int, columns: int) -> Workload:
    return _workload(
        f"column sum {rows}x{columns}",
        (rows, columns),
        lambda x: x.sum(0),
        lambda library, x: x.sum(0),
        lambda jax, x: x.sum(0),
        written=columns,
    )


WORKLOADS = (
    _softmax_at(4096, 1024),
    _softmax_at(1000, 1003),
    _layer_norm_at(4096, 1024),
    _layer_norm_at(777, 3001),
    _workload(
        "tanh-gelu chain of 4M",
        (1 << 22,),
        _gelu,
        lambda library, x: (
            0.5 * x * (1 + library.module.tanh(float(_ROOT) * (x + 0.044715 * x * x * x)))
        ),
        lambda jax, x: 0.5 * x * (1 + jax.numpy.tanh(_ROOT * (x + 0.044715 * x * x * x))),
        written=1 << 22,
    ),
    _column_sum_at(4096, 1024),
    _column_sum_at(1001, 333),
)
