"""Optimizers with a step size for each element: RMSprop, Adagrad, Adadelta, Rprop."""

from __future__ import annotations

from typing import Any

from ..functions.math import add, clamp, mul, ne, sign, sqrt, sub, true_divide, where
from ..tensor import Tensor
from .formulas import decayed, gradient, like, mean, put, reals
from .group import ParamGroup
from .optimizer import Optimizer


class RMSprop(Optimizer):
    """p -= lr * gradient / (sqrt(v) + eps), with v the running mean of its square; `centered`
    subtracts the square of the running mean; with momentum the steps are accumulated (Hinton,
    2012; Graves, 2013)."""

    _counts = True

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        names = ["square_avg"]
        names += ["momentum_buffer"] if group.uses("momentum") else []
        names += ["grad_avg"] if group.option("centered") else []
        for name in names:
            if name not in state:
                state[name] = like(parameter)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        lr, alpha = group.number("lr"), group.number("alpha")
        for _, counted in self._counted(group, parameters):
            for parameter in counted:
                state = self.state[parameter]
                value, grad = decayed(group, parameter)
                square = mean(state["square_avg"], mul(grad, grad), alpha)
                put(state["square_avg"], square)
                if group.option("centered"):
                    centre = mean(state["grad_avg"], grad, alpha)
                    put(state["grad_avg"], centre)
                    square = sub(square, mul(centre, centre))
                change = true_divide(grad, add(sqrt(square), group.number("eps")))
                if group.uses("momentum"):
                    change = add(
                        mul(reals(state["momentum_buffer"]), group.number("momentum")), change
                    )
                    put(state["momentum_buffer"], change)
                put(parameter, sub(value, mul(change, lr)))


class Adagrad(Optimizer):
    """p -= lr / (1 + (step - 1) * lr_decay) * gradient / (sqrt(sum of its squares) + eps) (Duchi et
    al., 2011)."""

    _counts = True

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        if "sum" not in state:
            start = group["initial_accumulator_value"]
            state["sum"] = like(parameter, start)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        for step, counted in self._counted(group, parameters):
            slowed = add(mul(sub(step, 1), group.number("lr_decay")), 1)
            size = true_divide(group.number("lr"), slowed)
            for parameter in counted:
                state = self.state[parameter]
                value, grad = decayed(group, parameter)
                total = add(reals(state["sum"]), mul(grad, grad))
                put(state["sum"], total)
                scale = add(sqrt(total), group.number("eps"))
                put(parameter, sub(value, mul(true_divide(grad, scale), size)))


class Adadelta(Optimizer):
    """p -= lr * gradient * sqrt(d + eps) / sqrt(v + eps), with v and d the running means of the
    squares of gradients and of changes (Zeiler, 2012)."""

    _counts = True

    def __init__(
        self,
        params: Any,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        for name in ("square_avg", "acc_delta"):
            if name not in state:
                state[name] = like(parameter)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        lr, rho, eps = (group.number(name) for name in ("lr", "rho", "eps"))
        for _, counted in self._counted(group, parameters):
            for parameter in counted:
                state = self.state[parameter]
                value, grad = decayed(group, parameter)
                square = mean(state["square_avg"], mul(grad, grad), rho)
                before = sqrt(add(reals(state["acc_delta"]), eps))
                change = mul(true_divide(before, sqrt(add(square, eps))), grad)
                put(state["acc_delta"], mean(state["acc_delta"], mul(change, change), rho))
                put(state["square_avg"], square)
                put(parameter, sub(value, mul(change, lr)))


class Rprop(Optimizer):
    """Each element has a step size of its own, which grows by etas[1] while the sign of the
    gradient stays, and shrinks by etas[0] when it turns; then the element rests for a step
    (Riedmiller and Braun, 1993)."""

    _counts = True

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "etas": tuple(etas), "step_sizes": tuple(step_sizes), "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        if "prev" not in state:
            state["prev"] = like(parameter)
            state["step_size"] = like(parameter, float(group["lr"]))

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        (shrink, grow), (least, most) = group.numbers("etas"), group.numbers("step_sizes")
        for _, counted in self._counted(group, parameters):
            for parameter in counted:
                state, value = self.state[parameter], reals(parameter)
                grad = gradient(parameter, group)
                turn = sign(mul(grad, reals(state["prev"])))
                factor = where(turn > 0, grow, where(turn < 0, shrink, 1.0))
                size = clamp(mul(reals(state["step_size"]), factor), least, most)
                kept = where(ne(turn, -1), grad, 0)
                put(state["prev"], kept)
                put(state["step_size"], size)
                put(parameter, sub(value, mul(sign(kept), size)))
