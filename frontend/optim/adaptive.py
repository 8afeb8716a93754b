"""Optimizers that scale by past squares of the gradient, without a corrected mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..apply import elementwise
from ..tensor import Tensor, of_array
from .optimizer import Optimizer, ParamGroup, State, check_number, step_count, zeros_like


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012), optionally
    centred (Graves, arXiv:1308.0850) and with momentum.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr, alpha, eps, weight_decay, momentum: numbers >= 0; `alpha` is the decay of the squares.
        centered: subtract the square of the mean gradient.
        maximize: climb instead.

    Raises:
        ArgumentError: a number out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        numbers = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
        }
        for name, value in numbers.items():
            check_number(name, value)
        super().__init__(params, {**numbers, "centered": centered, "maximize": maximize})

    def make_state(self, param: Tensor, group: ParamGroup) -> State:
        state = {"square_avg": zeros_like(param)}
        if group.uses("momentum"):
            state["momentum_buffer"] = zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = zeros_like(param)
        return state

    def update(self, param: Tensor, grad: Tensor, state: State, group: ParamGroup) -> None:
        if group["maximize"]:
            grad = -grad
        if group.uses("weight_decay"):
            grad = grad + param * group["weight_decay"]
        alpha, square = group["alpha"], state["square_avg"]
        square.copy_(square * alpha + grad * grad * (1.0 - alpha))
        spread = square
        if group["centered"]:
            mean = state["grad_avg"]
            mean.copy_(mean * alpha + grad * (1.0 - alpha))
            spread = square - mean * mean
        scaled = grad / (elementwise("sqrt", spread) + group["eps"])
        if "momentum_buffer" in state:
            buffer = state["momentum_buffer"]
            buffer.copy_(buffer * group["momentum"] + scaled)
            scaled = buffer
        param.sub_(scaled * group["lr"])


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., JMLR 2011): divides by the root of the sum of all squares.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr, lr_decay, weight_decay, initial_accumulator_value, eps: numbers >= 0.
        maximize: climb instead.

    Raises:
        ArgumentError: a number out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        numbers = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
        }
        for name, value in numbers.items():
            check_number(name, value)
        super().__init__(params, {**numbers, "maximize": maximize})

    def make_state(self, param: Tensor, group: ParamGroup) -> State:
        start = group["initial_accumulator_value"].item()
        total = np.full(param.type.shape, start, param.type.dtype.numpy)
        return {"step": step_count(), "sum": of_array(total)}

    def update(self, param: Tensor, grad: Tensor, state: State, group: ParamGroup) -> None:
        if group["maximize"]:
            grad = -grad
        if group.uses("weight_decay"):
            grad = grad + param * group["weight_decay"]
        rate = group["lr"] / (1.0 + state["step"] * group["lr_decay"])
        state["step"].add_(1.0)
        total = state["sum"]
        total.add_(grad * grad)
        param.sub_(grad / (elementwise("sqrt", total) + group["eps"]) * rate)
