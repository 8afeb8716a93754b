"""A function against numpy, eager and recorded, and its gradient against central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from recording import check

import sley
from sley.frontend.tensor import Tensor


def arrays_of(result: Any) -> list[np.ndarray]:
    """The elements of a tensor, or of each in a sequence."""
    parts = result if isinstance(result, (list, tuple)) else [result]
    return [np.asarray(p.detach().array if isinstance(p, Tensor) else p) for p in parts]


def agree(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    *arrays: Any,
    rtol: float = 2e-6,
    atol: float = 1e-7,
) -> None:
    """`function` of tensors gives what `reference` of arrays does (in values and shapes), eager,
    recorded and compiled."""
    expected = arrays_of(reference(*(np.array(a) for a in arrays)))
    tensors = [sley.tensor(np.array(a)) for a in arrays]
    found = arrays_of(function(*tensors))
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x.astype(np.float64), y.astype(np.float64), rtol=rtol, atol=atol)
    check(function, *arrays)
    for x, y in zip(arrays_of(sley.compile(function)(*tensors)), found, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(
            x.astype(np.float64), y.astype(np.float64), rtol=5 * rtol, atol=max(atol, 1e-6)
        )


def differentiates(
    function: Callable[..., Any], *arrays: Any, rtol: float = 1e-5, atol: float = 1e-7
) -> None:
    """The gradient of `function`, in float64 along a random direction, is the central difference;
    recorded it is the same."""
    random = np.random.default_rng(7)
    given = [np.asarray(a, np.float64 if np.asarray(a).dtype.kind == "f" else None) for a in arrays]
    moving = [k for k, a in enumerate(given) if a.dtype.kind == "f"]

    def outputs(values: list[np.ndarray]) -> list[Tensor]:
        found = function(*(sley.tensor(v, requires_grad=k in moving) for k, v in enumerate(values)))
        parts = found if isinstance(found, (list, tuple)) else [found]
        return [p for p in parts if p.dtype.is_float]

    seeds = [random.standard_normal(tuple(p.shape)) for p in outputs(given)]

    def value(values: list[np.ndarray]) -> float:
        parts = zip(outputs(values), seeds, strict=True)
        return float(sum((p.detach().array * s).sum() for p, s in parts))

    directions = {k: random.standard_normal(given[k].shape) for k in moving}
    step = 1e-6

    def moved(sign: int) -> list[np.ndarray]:
        return [a + sign * step * directions.get(k, 0) if k in moving else a
                for k, a in enumerate(given)]  # fmt: skip

    expected = (value(moved(1)) - value(moved(-1))) / (2 * step)
    tensors = [sley.tensor(a, requires_grad=k in moving) for k, a in enumerate(given)]
    found = function(*tensors)
    parts = list(found) if isinstance(found, (list, tuple)) else [found]
    parts = [p for p in parts if p.dtype.is_float]
    total = sum((p * sley.tensor(s)).sum() for p, s in zip(parts, seeds, strict=True))
    total.backward()
    slopes = [
        (tensors[k].grad.array * directions[k]).sum() for k in moving if tensors[k].grad is not None
    ]
    np.testing.assert_allclose(sum(slopes), expected, rtol=rtol, atol=atol)

    def with_gradients(*inputs: Tensor) -> Tensor:
        result = function(*inputs)
        pieces = result if isinstance(result, (list, tuple)) else [result]
        loss = sum((p * p).sum() for p in pieces if p.dtype.is_float)
        loss.backward()
        return loss

    check(with_gradients, *given, requires_grad=True)
