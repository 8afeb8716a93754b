"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..functions.math import add, eq, maximum, mul, pow, sub, true_divide, where
from ..tensor import Tensor
from .formulas import decayed, like, number, put, reals
from .group import ParamGroup
from .optimizer import Optimizer


class ASGD(Optimizer):
    """p *= 1 - lambd * eta, then p -= eta * gradient, with eta = lr / (1 + lambd * lr * t) ** alpha
    of the steps t before; the state "ax" is the mean of the parameters from step `t0` on (Polyak
    and Juditsky, 1992)."""

    _counts = True

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        if "ax" not in state:
            state["ax"] = like(parameter)
            state["eta"], state["mu"] = number(float(group["lr"])), number(1.0)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        lr, shrink = group.number("lr"), group.number("lambd")
        for step, counted in self._counted(group, parameters):
            slowed = pow(add(mul(mul(shrink, lr), step), 1), group.number("alpha"))
            eta = true_divide(lr, slowed)
            share = true_divide(1, maximum(sub(step, group.number("t0")), 1))
            for parameter in counted:
                state = self.state[parameter]
                value, grad = decayed(group, parameter)
                value = mul(value, sub(1, mul(state["eta"], shrink)))
                value = sub(value, mul(grad, state["eta"]))
                before = reals(state["ax"])
                moved = add(before, mul(sub(value, before), state["mu"]))
                put(state["ax"], where(eq(state["mu"], 1), value, moved))
                put(parameter, value)
                put(state["eta"], eta)
                put(state["mu"], share)
