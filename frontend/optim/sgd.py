"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..apply import elementwise
from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, State, check_number, step_count, zeros_like


class SGD(Optimizer):
    """p -= lr * g, with momentum (Sutskever et al., ICML 2013, in PyTorch's form):
    b = momentum * b + (1 - dampening) * g (the first step: b = g), and g is replaced by b, or with
    `nesterov` by g + momentum * b.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: learning rate, >= 0.
        momentum: 0 keeps no buffer.
        dampening: of the gradient in the buffer.
        weight_decay: added to the gradient times the parameter.
        nesterov: needs a momentum, and no dampening.
        maximize: climb instead.

    Raises:
        ArgumentError: a number out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            check_number(name, value)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("nesterov needs a momentum and no dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def make_state(self, param: Tensor, group: ParamGroup) -> State:
        if not group.uses("momentum"):
            return {}
        state = {"momentum_buffer": zeros_like(param)}
        if group.uses("dampening"):
            state["step"] = step_count()
        return state

    def update(self, param: Tensor, grad: Tensor, state: State, group: ParamGroup) -> None:
        if group["maximize"]:
            grad = -grad
        if group.uses("weight_decay"):
            grad = grad + param * group["weight_decay"]
        if "momentum_buffer" in state:
            grad = self._with_momentum(grad, state, group)
        param.sub_(grad * group["lr"])

    def _with_momentum(self, grad: Tensor, state: State, group: ParamGroup) -> Tensor:
        buffer, momentum = state["momentum_buffer"], group["momentum"]
        if "step" in state:
            later = buffer * momentum + grad * (1.0 - group["dampening"])
            buffer.copy_(elementwise("where", state["step"] == 0, grad, later))
            state["step"].add_(1.0)
        else:
            buffer.copy_(buffer * momentum + grad)
        return grad + buffer * momentum if group["nesterov"] else buffer
