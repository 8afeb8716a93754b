"""Moving data: transposes, gathers, scatters, concatenation; cumulative ops, sorting, choosing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..workload import Arrays
from .functions import floats, function

_GROUP = "data movement and sorting"


def _with_indices(
    shape: tuple[int, int], count: int, updates: bool = False
) -> Callable[[bool], Arrays]:
    """A table, row numbers, and rows to be added where asked for."""

    def make(tiny: bool) -> Arrays:
        rng = np.random.default_rng(0)
        (rows, columns), n = ((11, 7), 5) if tiny else (shape, count)
        table = rng.standard_normal((rows, columns), np.float32)
        indices = rng.integers(0, rows, n)
        return [table, indices, *[rng.standard_normal((n, columns), np.float32)] * updates]

    return make


def _along(rows: int, columns: int) -> Callable[[bool], Arrays]:
    def make(tiny: bool) -> Arrays:
        rng = np.random.default_rng(0)
        m, n = (5, 7) if tiny else (rows, columns)
        return [rng.standard_normal((m, n), np.float32), rng.integers(0, n, (m, n))]

    return make


def _added(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = x.copy()
    np.add.at(out, indices, updates)
    return out


def _top(x: np.ndarray, k: int) -> np.ndarray:
    return -np.sort(np.partition(-x, k - 1, axis=-1)[..., :k], axis=-1)


WORKLOADS = (
    function(
        "transpose 4096²", _GROUP, floats((4096, 4096)), lambda library, x: x.t().contiguous(),
        lambda jax, x: x.T, lambda x: np.ascontiguousarray(x.T), nbytes=8 * 4096**2,
    ),
    function(
        "transpose 1001x777", _GROUP, floats((1001, 777)), lambda library, x: x.t().contiguous(),
        lambda jax, x: x.T, lambda x: np.ascontiguousarray(x.T), nbytes=8 * 1001 * 777,
    ),
    function(
        "permute 8x512x12x64 to heads", _GROUP, floats((8, 512, 12, 64)),
        lambda library, x: x.permute(0, 2, 1, 3).contiguous(),
        lambda jax, x: x.transpose(0, 2, 1, 3),
        lambda x: np.ascontiguousarray(x.transpose(0, 2, 1, 3)), nbytes=8 * 8 * 512 * 12 * 64,
    ),
    function(
        "channels last 8x64x112x112", _GROUP, floats((8, 64, 112, 112)),
        lambda library, x: x.permute(0, 2, 3, 1).contiguous(),
        lambda jax, x: x.transpose(0, 2, 3, 1),
        lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)), nbytes=8 * 8 * 64 * 112 * 112,
    ),
    function(
        "embedding of 8192 in 50000x512", _GROUP, _with_indices((50_000, 512), 8192),
        lambda library, x, i: library.functional.embedding(i, x), lambda jax, x, i: x[i],
        lambda x, i: x[i], nbytes=8 * 8192 * 512,
    ),
    function(
        "gather along rows 4096x1024", _GROUP, _along(4096, 1024),
        lambda library, x, i: library.module.gather(x, 1, i),
        lambda jax, x, i: jax.numpy.take_along_axis(x, i, 1),
        lambda x, i: np.take_along_axis(x, i, 1), nbytes=16 * 4096 * 1024,
    ),
    function(
        "add 8192 rows into 4096x512", _GROUP, _with_indices((4096, 512), 8192, updates=True),
        lambda library, x, i, u: x.index_add(0, i, u), lambda jax, x, i, u: x.at[i].add(u), _added,
        nbytes=4 * 512 * (2 * 4096 + 8192),
    ),
    function(
        "concat of 3 along columns 2048x512", _GROUP, floats(*[(2048, 512)] * 3),
        lambda library, *t: library.module.cat(t, 1), lambda jax, *a: jax.numpy.concatenate(a, 1),
        lambda *a: np.concatenate(a, 1), nbytes=8 * 3 * 2048 * 512,
    ),
    function(
        "cumulative sum of rows 1024x4096", _GROUP, floats((1024, 4096)),
        lambda library, x: x.cumsum(1), lambda jax, x: jax.numpy.cumsum(x, 1),
        lambda x: x.cumsum(1), nbytes=8 * 1024 * 4096, tolerance=1e-4,
    ),
    function(
        "cumulative sum of columns 1024x4096", _GROUP, floats((1024, 4096)),
        lambda library, x: x.cumsum(0), lambda jax, x: jax.numpy.cumsum(x, 0),
        lambda x: x.cumsum(0), nbytes=8 * 1024 * 4096, tolerance=1e-4,
    ),
    function(
        "sort of 1M", _GROUP, floats((1_000_000,)), lambda library, x: library.module.sort(x)[0],
        lambda jax, x: jax.numpy.sort(x), np.sort, nbytes=8_000_000,
    ),
    function(
        "sort and argsort of rows 1000x1000", _GROUP, floats((1000, 1000)),
        lambda library, x: tuple(library.module.sort(x, stable=True)),
        lambda jax, x: (jax.numpy.sort(x), jax.numpy.argsort(x, stable=True)),
        lambda x: (np.sort(x), np.argsort(x, stable=True)), nbytes=16 * 1_000_000,
    ),
    function(
        "top 10 of rows 1000x10000", _GROUP, floats((1000, 10_000)),
        lambda library, x: library.module.topk(x, 10)[0], lambda jax, x: jax.lax.top_k(x, 10)[0],
        lambda x: _top(x, 10), nbytes=4 * 10_000_000,
    ),
    function(
        "argmax of rows 4096x1024", _GROUP, floats((4096, 1024)), lambda library, x: x.argmax(1),
        lambda jax, x: x.argmax(1), lambda x: x.argmax(1), nbytes=4 * 4096 * 1024,
    ),
    function(
        "argmax of columns 4096x1024", _GROUP, floats((4096, 1024)), lambda library, x: x.argmax(0),
        lambda jax, x: x.argmax(0), lambda x: x.argmax(0), nbytes=4 * 4096 * 1024,
    ),
)  # fmt: skip
