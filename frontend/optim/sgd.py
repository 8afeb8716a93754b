"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ..errors import ArgumentError
from ..functions.arguments import cast
from ..functions.math import where
from ..tensor import Tensor, here, of_array
from .formulas import decayed, like, put, reals
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
        lr, moves = group.number("lr"), group.uses("momentum")
        rates: dict[DType, Tensor] = {}  # the rate in each dtype, cast once for all parameters
        for parameter in parameters:
            value, change = decayed(group, parameter)
            if moves:
                change = self._with_momentum(group, parameter, change)
            dtype = here(change).spec.dtype
            if dtype not in rates:
                rates[dtype] = cast(lr, dtype)
            put(parameter, value - change * rates[dtype])

    def _with_momentum(self, group: ParamGroup, parameter: Tensor, change: Tensor) -> Tensor:
        state, momentum = self.state[parameter], group.number("momentum")
        kept = reals(state["momentum_buffer"]) * momentum
        if group.uses("dampening"):
            step = state["step"]
            damped = kept + change * (1 - group.number("dampening"))
            buffer = where(step == 0, change, damped)
            step.add_(1)
        else:
            buffer = kept + change
        put(state["momentum_buffer"], buffer)
        return change + buffer * momentum if group.option("nesterov") else buffer

    def _load_entries(self, own: dict[str, Tensor], entries: Mapping[str, Any]) -> None:
        super()._load_entries(own, entries)
        if "step" in own and "step" not in entries and "momentum_buffer" in entries:
            own["step"].fill_(1)  # PyTorch's have no count: a buffer has had its first step
