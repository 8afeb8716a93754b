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


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0) -> Tensor:
    """The p-norm of all elements of the tensors together, 0-d."""
    parts = [norm(t, norm_type) for t in tensors]
    return norm(stack(parts), norm_type) if parts else zeros(())


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale the gradients so that their common p-norm is at most `max_norm`; returns that norm.

    Raises:
        ArgumentError: `error_if_nonfinite` and the norm is inf or NaN (eager only).
    """
    with setting(grad_enabled=False):
        gradients = _gradients(parameters)
        total = get_total_norm(gradients, norm_type)
        if error_if_nonfinite and not float(total) < float("inf"):
            raise ArgumentError("clip_grad_norm_: the norm of the gradients is not finite")
        factor = clamp(true_divide(max_norm, add(total, 1e-6)), max=1.0)
        for gradient in gradients:
            gradient.copy_(mul(gradient, factor))
    return total


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Bring every element of the gradients into [-clip_value, clip_value]."""
    with setting(grad_enabled=False):
        for gradient in _gradients(parameters):
            gradient.copy_(clamp(gradient, -clip_value, clip_value))
