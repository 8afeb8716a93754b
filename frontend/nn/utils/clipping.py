"""Gradients kept within bounds, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...context import setting
from ...errors import ArgumentError
from ...functions.creation import zeros
from ...functions.joining import stack
from ...functions.math import add, clamp, mul, true_divide
from ...functions.statistics import norm
from ...tensor import Tensor


def _gradients(parameters: Any) -> list[Tensor]:
    given: Iterable[Tensor] = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]


def get_total_norm(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The p-norm of all elements of the tensors together, 0-d. `foreach` has no effect.

    Raises:
        ArgumentError: `error_if_nonfinite` and the norm is inf or NaN (eager only).
    """
    given = [tensors] if isinstance(tensors, Tensor) else tensors
    parts = [norm(t, norm_type) for t in given]
    total = norm(stack(parts), norm_type) if parts else zeros(())
    if error_if_nonfinite and not float(total) < float("inf"):
        raise ArgumentError("the norm of the gradients is not finite")
    return total


def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by max_norm / total_norm, if that is less than 1."""
    with setting(grad_enabled=False):
        factor = clamp(true_divide(max_norm, add(total_norm, 1e-6)), max=1.0)
        for gradient in _gradients(parameters):
            gradient.copy_(mul(gradient, factor))


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients so that their common p-norm is at most `max_norm`; returns that norm.

    Raises:
        ArgumentError: `error_if_nonfinite` and the norm is inf or NaN (eager only).
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with setting(grad_enabled=False):
        total = get_total_norm(_gradients(given), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Bring every element of the gradients into [-clip_value, clip_value]."""
    with setting(grad_enabled=False):
        for gradient in _gradients(parameters):
            gradient.copy_(clamp(gradient, -clip_value, clip_value))
