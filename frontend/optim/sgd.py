"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..composite import updates
from ..errors import ArgumentError
from ..functions.arguments import cast
from ..functions.math import add, eq, mul, sub, where
from ..functions.reduction import wide
from ..tensor import Tensor, here, of_array
from .formulas import decay, like, parts
from .group import ParamGroup
from .optimizer import Optimizer


class SGD(Optimizer):
    """p -= lr * (gradient + weight_decay * p), with momentum:
    buffer = momentum * buffer + (1 - dampening) * gradient, at the first step the gradient itself
    (Sutskever et al., 2013, in PyTorch's form). `foreach` and `fused` are accepted without effect.

    Raises:
        ArgumentError: a negative number, or nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("SGD: nesterov needs a momentum and no dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        if not group.uses("momentum"):
            return
        if group.uses("dampening") and "step" not in state:
            # A buffer that is older than the count has had its first step.
            first = 1.0 if "momentum_buffer" in state else 0.0
            state["step"] = of_array(np.array(first, np.float32))
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = like(parameter)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        numbers = (group.number("lr"), decay(group))
        factors: tuple[Tensor | None, ...] = (None, None)
        if group.uses("momentum"):
            damps = group.uses("dampening")
            factors = group.number("momentum"), group.number("dampening") if damps else None
        for parameter in parameters:
            state, grad = self.state[parameter], parameter.grad
            assert grad is not None
            buffer = state["momentum_buffer"] if group.uses("momentum") else None
            step = state["step"] if factors[1] is not None else None
            _move(
                parts(parameter), None if buffer is None else parts(buffer), parts(grad), step,
                *numbers, *factors, group.option("maximize"), group.option("nesterov"),
            )  # fmt: skip
            if step is not None:
                step.add_(1)

    def _load_entries(self, own: dict[str, Tensor], entries: Mapping[str, Any]) -> None:
        super()._load_entries(own, entries)
        if "step" in own and "step" not in entries and "momentum_buffer" in entries:
            own["step"].fill_(1)  # PyTorch's have no count: a buffer has had its first step


@updates
def _move(
    parameter: Tensor, buffer: Tensor | None, grad: Tensor, step: Tensor | None, lr: Tensor,
    decay: Tensor | None, momentum: Tensor | None, dampening: Tensor | None, maximize: bool,
    nesterov: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The parameter and the buffer after a step."""
    value, change = wide(parameter), wide(-grad if maximize else grad)
    if decay is not None:
        change = add(change, mul(value, decay))
    new: tuple[Tensor, ...] = ()
    if buffer is not None and momentum is not None:
        moved = mul(wide(buffer), momentum)
        if dampening is None or step is None:
            moved = add(moved, change)
        else:
            damped = add(moved, mul(change, sub(1, dampening)))
            moved = where(eq(step, 0), change, damped)
        new = (cast(moved, here(buffer).spec.dtype),)
        change = add(change, mul(moved, momentum)) if nesterov else moved
    moved = sub(value, mul(change, cast(lr, here(change).spec.dtype)))
    return cast(moved, here(parameter).spec.dtype), *new
