"""Elementwise chains, and reductions of rows and columns: memory is the limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..workload import Arrays, Workload
from .functions import floats, function

_GROUP = "rows and elementwise"
_ROOT = np.float32(np.sqrt(2 / np.pi))
_M4 = 1 << 22


def _workload(
    name: str,
    shape: tuple[int, ...],
    torch_like: Callable[..., Any],
    jax: Callable[..., Any],
    numpy: Callable[..., Any] | None,
    written: int,
    tolerance: float = 1e-5,
    **options: Any,
) -> Workload:
    """Of one array, which is read once; `written` elements are."""
    return function(
        name, _GROUP, floats(shape), torch_like, jax, numpy,
        nbytes=4 * (int(np.prod(shape)) + written), tolerance=tolerance, **options,
    )  # fmt: skip


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _layer_norm(x: np.ndarray) -> np.ndarray:
    centered = x - x.mean(1, keepdims=True)
    return centered / np.sqrt(np.square(centered).mean(1, keepdims=True) + np.float32(1e-5))


def _jax_layer_norm(jax: Any, x: Any, *affine: Any) -> Any:
    centered = x - x.mean(-1, keepdims=True)
    normal = centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
    return normal * affine[0] + affine[1] if affine else normal


def _gelu(x: np.ndarray) -> np.ndarray:
    half, one, cubic = np.float32(0.5), np.float32(1), np.float32(0.044715)
    return half * x * (one + np.tanh(_ROOT * (x + cubic * x * x * x)))


def _softmax_at(rows: int, columns: int) -> Workload:
    return _workload(
        f"softmax {rows}x{columns}",
        (rows, columns),
        lambda library, x: library.functional.softmax(x, dim=1),
        lambda jax, x: jax.nn.softmax(x, axis=1),
        _softmax,
        written=rows * columns,
    )


def _layer_norm_at(rows: int, columns: int) -> Workload:
    return _workload(
        f"layer norm {rows}x{columns}",
        (rows, columns),
        lambda library, x: library.functional.layer_norm(x, (x.shape[1],)),
        _jax_layer_norm,
        _layer_norm,
        written=rows * columns,
    )


def _column_sum_at(rows: int, columns: int) -> Workload:
    return _workload(
        f"column sum {rows}x{columns}",
        (rows, columns),
        lambda library, x: x.sum(0),
        lambda jax, x: x.sum(0),
        lambda x: x.sum(0),
        written=columns,
    )


def _row_sum_at(rows: int, columns: int) -> Workload:
    return _workload(
        f"row sum {rows}x{columns}",
        (rows, columns),
        lambda library, x: x.sum(1),
        lambda jax, x: x.sum(1),
        lambda x: x.sum(1, dtype=np.float64).astype(np.float32),
        written=rows,
    )


def _logits(rows: int, classes: int) -> Callable[[bool], Arrays]:
    def make(tiny: bool) -> Arrays:
        m, n = (7, 19) if tiny else (rows, classes)
        rng = np.random.default_rng(0)
        return [rng.standard_normal((m, n), np.float32), rng.integers(0, n, m)]

    return make


def _jax_cross_entropy(jax: Any, x: Any, y: Any) -> Any:
    scores = jax.nn.log_softmax(x)
    return -jax.numpy.take_along_axis(scores, y[:, None], 1).mean()


def _cross_entropy(rows: int, classes: int, gradients: int) -> Workload:
    return function(
        f"cross entropy {rows}x{classes}{', forward and backward' if gradients else ''}",
        _GROUP,
        _logits(rows, classes),
        lambda library, x, y: library.functional.cross_entropy(x, y),
        _jax_cross_entropy,
        gradients=gradients,
        scalar=True,
        nbytes=4 * rows * classes * (1 + gradients),
        tolerance=1e-4,
    )


def _torch_like_adam(library: Any, p: Any, g: Any, m: Any, v: Any) -> Any:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p * (1 - 1e-5) - 1e-3 * m / (library.module.sqrt(v.abs()) + 1e-8), m, v


def _jax_adam(jax: Any, p: Any, g: Any, m: Any, v: Any) -> Any:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p * (1 - 1e-5) - 1e-3 * m / (jax.numpy.sqrt(abs(v)) + 1e-8), m, v


def _layer_norm_gradients(rows: int, columns: int) -> Workload:
    shape = (rows, columns)
    return function(
        f"layer norm {rows}x{columns}, forward and backward",
        _GROUP,
        floats(shape, (columns,), (columns,), shape, tiny=[(7, 19), (19,), (19,), (7, 19)]),
        lambda library, x, w, b: library.functional.layer_norm(x, (x.shape[1],), w, b),
        _jax_layer_norm,
        gradients=3,
        nbytes=16 * rows * columns,
        tolerance=1e-4,
    )


WORKLOADS = (
    _softmax_at(4096, 1024),
    _softmax_at(1000, 1003),
    _softmax_at(100_000, 10),
    _softmax_at(4, 1_000_003),
    _layer_norm_at(4096, 1024),
    _layer_norm_at(777, 3001),
    _layer_norm_gradients(2048, 768),
    _workload(
        "tanh-gelu chain of 4M",
        (_M4,),
        lambda library, x: (
            0.5 * x * (1 + library.module.tanh(float(_ROOT) * (x + 0.044715 * x * x * x)))
        ),
        lambda jax, x: 0.5 * x * (1 + jax.numpy.tanh(_ROOT * (x + 0.044715 * x * x * x))),
        _gelu,
        written=_M4,
    ),
    _workload(
        "exp of 4M", (_M4,), lambda library, x: x.exp(), lambda jax, x: jax.numpy.exp(x), np.exp,
        written=_M4,
    ),
    _workload(
        "exact gelu of 100k", (100_003,), lambda library, x: library.functional.gelu(x),
        lambda jax, x: jax.nn.gelu(x, approximate=False), None, written=100_003, exported=True,
    ),
    function(
        "row and column added to 4096x1024", _GROUP,
        floats((4096, 1024), (4096, 1), (1024,), tiny=[(5, 19), (5, 1), (19,)]),
        lambda library, x, a, b: x * a + b, lambda jax, x, a, b: x * a + b,
        lambda x, a, b: x * a + b, nbytes=8 * 4096 * 1024,
    ),
    function(
        "AdamW update of 4M", _GROUP, floats((_M4,), (_M4,), (_M4,), (_M4,)),
        _torch_like_adam, _jax_adam, nbytes=28 * _M4, tolerance=1e-4,
    ),
    _column_sum_at(4096, 1024),
    _column_sum_at(1001, 333),
    _row_sum_at(4096, 1024),
    _row_sum_at(1_000_000, 7),
    _row_sum_at(3, 1_000_003),
    _workload(
        "variance of rows 4096x1024", (4096, 1024), lambda library, x: x.var(1),
        lambda jax, x: x.var(1, ddof=1), lambda x: x.var(1, ddof=1), written=4096,
    ),
    _cross_entropy(2048, 32000, 0),
    _cross_entropy(2048, 32000, 1),
    _cross_entropy(8192, 10, 1),
)  # fmt: skip
