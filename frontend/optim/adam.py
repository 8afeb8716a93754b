"""Adam and its relatives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..apply import elementwise
from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, State, check_number, step_count, zeros_like


class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015): averages of the gradient and its square, corrected for their
    start at 0; `weight_decay` is added to the gradient.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: learning rate, >= 0.
        betas: decay of the two averages, each in [0, 1).
        eps: added to the root in the denominator.
        weight_decay: of the parameters.
        amsgrad: divide by the largest average so far (Reddi et al., ICLR 2018).
        maximize: climb instead.

    Raises:
        ArgumentError: a number out of range.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_number(name, value)
        if len(betas) != 2:
            raise ArgumentError(f"betas is a pair, got {betas}")
        for beta in betas:
            check_number("a beta", beta, 0.0, 1.0)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def make_state(self, param: Tensor, group: ParamGroup) -> State:
        state = {
            "step": step_count(),
            "exp_avg": zeros_like(param),
            "exp_avg_sq": zeros_like(param),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(param)
        return state

    def update(self, param: Tensor, grad: Tensor, state: State, group: ParamGroup) -> None:
        if group["maximize"]:
            grad = -grad
        lr, (beta1, beta2) = group["lr"], group["betas"]
        if group.uses("weight_decay"):
            if self.decoupled:
                param.mul_(1.0 - lr * group["weight_decay"])
            else:
                grad = grad + param * group["weight_decay"]
        step, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
        step.add_(1.0)
        mean.copy_(mean * beta1 + grad * (1.0 - beta1))
        square.copy_(square * beta2 + grad * grad * (1.0 - beta2))
        if group["amsgrad"]:
            state["max_exp_avg_sq"].copy_(elementwise("maximum", state["max_exp_avg_sq"], square))
            square = state["max_exp_avg_sq"]
        correction1 = 1.0 - beta1**step
        correction2 = elementwise("sqrt", 1.0 - beta2**step)
        root = elementwise("sqrt", square) / correction2 + group["eps"]
        param.sub_(mean / root * (lr / correction1))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019):
    p -= lr * weight_decay * p before the step. Arguments and errors as `Adam`."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
