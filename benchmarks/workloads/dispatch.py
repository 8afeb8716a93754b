"""The time around the arithmetic: calls of warm functions with next to nothing to compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..workload import Arrays, Call, Library, Workload

_TENSORS = 50


def _pair(tiny: bool) -> Arrays:
    return [np.arange(8, dtype=np.float32), np.ones(8, np.float32)]


def _many(tiny: bool) -> Arrays:
    return [np.full(8, k, np.float32) for k in range(1 + _TENSORS)]


def _total(x: Any, others: Sequence[Any]) -> Any:
    for other in others:
        x = x + other
    return x


def _numpy_add(arrays: Arrays) -> Call:
    a, b = arrays
    return lambda: a + b


def _torch_like_add(library: Library, tensors: Sequence[Any]) -> Call:
    a, b = tensors
    add = library.compile(lambda a, b: a + b)
    return lambda: add(a, b)


def _jax_add(jax: Any, arrays: Sequence[Any]) -> Call:
    a, b = arrays
    add = jax.jit(lambda a, b: a + b)
    return lambda: add(a, b).block_until_ready()


def _numpy_total(arrays: Arrays) -> Call:
    x, *others = arrays
    return lambda: _total(x, others)


def _torch_like_total(library: Library, tensors: Sequence[Any]) -> Call:
    x, *others = tensors
    function = library.compile(lambda x: _total(x, others))
    return lambda: function(x)


def _jax_total(jax: Any, arrays: Sequence[Any]) -> Call:
    # As arguments: jax would make constants of what a function captures.
    x, *others = arrays
    function = jax.jit(_total)
    return lambda: function(x, others).block_until_ready()


WORKLOADS = (
    Workload(
        "add of 8 floats", "dispatch", _pair, _torch_like_add, _jax_add, _numpy_add, threads=(1,)
    ),
    Workload(
        f"sum of {_TENSORS} captured tensors", "dispatch", _many, _torch_like_total,
        _jax_total, _numpy_total, threads=(1,),
    ),
)  # fmt: skip
